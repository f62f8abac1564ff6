//! Get and list. Lists are written in pieces while they are sent, and chunked lists (`limit`, `continue`) show one
//! consistent version.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::body::{self, Body};
use super::negotiate::Format;
use super::route::Query;
use super::selector::Selector;
use super::status::Status;
use super::table::{self, TableStyle};
use crate::kube_store::json::Json;
use crate::kube_store::manifest::{write_object, write_partial, write_type};
use crate::kube_store::{Chunk, Expired, Kind, KubeStore, ObjectKey, Stored};

/// Pieces of a list are about this big.
const PIECE_BYTES: usize = 64 * 1024;

/// One object.
pub(crate) fn get(kube: &KubeStore, kind: Kind, key: &ObjectKey, format: Format, style: TableStyle) -> Response<Body> {
    match kube.get(kind, key) {
        Some(stored) => one(StatusCode::OK, &stored, format, style),
        None => Status::not_found(kind.group(), kind.plural(), &key.name).into_response(),
    }
}

/// An answer with one object.
pub(crate) fn one(code: StatusCode, stored: &Stored, format: Format, style: TableStyle) -> Response<Body> {
    let mut json = Json::new();
    write_one(&mut json, stored, format, style);
    body::json(code, json.finish())
}

/// One object in the asked format, as the answer to a get or inside a watch event.
pub(crate) fn write_one(json: &mut Json, stored: &Stored, format: Format, style: TableStyle) {
    match format {
        Format::Full => write_object(json, stored, true),
        Format::Partial(version) => write_partial(json, stored, version),
        Format::Table(_) => json.object(|json| {
            let version = stored.resource_version.to_string();
            table::write_head(json, stored.object.kind(), style, |json| json.str_at("resourceVersion", &version));
            json.array_at("rows", |json| table::write_row(json, stored, style));
        }),
    }
}

/// Where a chunked list goes on: everything after `after`, as it was at `version`.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "rv")]
    version: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn encoded(&self) -> String {
        // Cannot fail: two strings and a number; an empty token would end the list early and be seen.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(token: &str) -> Result<Self, Status> {
        let broken = || Status::bad_request("continue key is not valid: could not be decoded");
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| broken())?;
        serde_json::from_slice(&bytes).map_err(|_| broken())
    }
}

/// A list's content, decided but not written yet.
#[derive(Debug)]
struct Page {
    version: u64,
    items: Vec<Stored>,
    continue_token: Option<String>,
    remaining: Option<usize>,
}

/// A list.
pub(crate) fn list(
    kube: &KubeStore,
    kind: Kind,
    selector: &Selector,
    query: &Query,
    (format, style): (Format, TableStyle),
    namespace: Option<&str>,
) -> Result<Response<Body>, Status> {
    let page = page(kube, kind, selector, query, namespace)?;
    Ok(body::with_type(StatusCode::OK, "application/json", written(page, kind, format, style)))
}

fn page(
    kube: &KubeStore,
    kind: Kind,
    selector: &Selector,
    query: &Query,
    namespace: Option<&str>,
) -> Result<Page, Status> {
    let asked = match query.get("resourceVersion") {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a non-negative integer"))
        })?),
    };
    // A list from the watch cache (version 0) ignores the limit, as the real one does.
    let token = query.get("continue").map(Continue::decode).transpose()?;
    let limit = query.get("limit").and_then(|text| text.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let limit = if asked == Some(0) && token.is_none() { None } else { limit }.unwrap_or(usize::MAX);
    let exact = asked.filter(|_| query.get("resourceVersionMatch") == Some("Exact"));
    let at = token.as_ref().map(|token| token.version).or(exact);
    let after = token.as_ref().map(|token| ObjectKey::new(token.namespace.as_str(), token.name.as_str()));
    let (chunk, past_remaining) =
        match kube.chunk(kind, namespace, after.as_ref(), at, limit, |object| selector.matches(object)) {
            Some(chunk) => (chunk, None),
            None => chunk_at(kube, kind, selector, namespace, (at.unwrap_or_default(), after.as_ref(), limit))
                .map_err(|expired| match &token {
                    Some(token) => expired_chunk(kube, token),
                    None => Status::expired(expired.to_string()),
                })?,
        };
    if let (None, Some(asked)) = (at, asked.filter(|asked| *asked > chunk.version)) {
        let message = format!("Too large resource version: {asked}, current: {}", chunk.version);
        return Err(Status::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message));
    }
    let last = chunk.items.last().filter(|_| !chunk.is_last).map(|stored| stored.object.meta());
    let continue_token = last.map(|meta| {
        Continue { version: chunk.version, namespace: meta.namespace.to_string(), name: meta.name.to_string() }
            .encoded()
    });
    let remaining = last.filter(|_| !selector.is_narrow());
    let remaining =
        remaining.map(|meta| past_remaining.unwrap_or_else(|| kube.count_after(kind, namespace, &meta.key())));
    Ok(Page { version: chunk.version, items: chunk.items, continue_token, remaining })
}

/// A chunk of the past, undone from the history, and how much follows it.
fn chunk_at(
    kube: &KubeStore,
    kind: Kind,
    selector: &Selector,
    namespace: Option<&str>,
    (version, after, limit): (u64, Option<&ObjectKey>, usize),
) -> Result<(Chunk, Option<usize>), Expired> {
    let mut rest = kube.list_at(kind, namespace, version)?.into_iter().filter(|stored| {
        after.is_none_or(|after| stored.object.meta().key() > *after) && selector.matches(&stored.object)
    });
    let items: Vec<Stored> = rest.by_ref().take(limit).collect();
    let remaining = rest.count();
    Ok((Chunk { version, items, is_last: remaining == 0 }, Some(remaining)))
}

/// 410 with a token that continues from the same place at the present version, for clients that accept an inconsistent
/// list.
fn expired_chunk(kube: &KubeStore, token: &Continue) -> Status {
    let inconsistent =
        Continue { version: kube.resource_version(), namespace: token.namespace.clone(), name: token.name.clone() };
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    Status { continue_token: Some(inconsistent.encoded()), ..Status::expired(message) }
}

/// The list's text, written piece by piece as the client reads it.
fn written(page: Page, kind: Kind, format: Format, style: TableStyle) -> Body {
    let mut head = Json::new();
    head.object(|json| write_list_head(json, &page, kind, format, style));
    let mut head = head.finish();
    // The closing brackets come last, after the items.
    head.truncate(head.len().saturating_sub(2));
    // What the next piece begins with, and whether an item precedes it.
    let state = (page.items.into_iter(), Some((head, false)));
    body::stream(stream::unfold(state, move |(mut items, begin)| async move {
        let (head, after_item) = begin?;
        let mut json = Json::continued(head, after_item);
        while json.len() < PIECE_BYTES {
            let Some(item) = items.next() else {
                let mut text = json.finish();
                text.push_str("]}\n");
                return Some((Ok(Bytes::from(text)), (items, None)));
            };
            match format {
                Format::Full => write_object(&mut json, &item, false),
                Format::Partial(version) => write_partial(&mut json, &item, version),
                Format::Table(_) => table::write_row(&mut json, &item, style),
            }
        }
        Some((Ok(Bytes::from(json.finish())), (items, Some((String::new(), true)))))
    }))
}

fn write_list_head(json: &mut Json, page: &Page, kind: Kind, format: Format, style: TableStyle) {
    let metadata = |json: &mut Json| {
        json.str_at("resourceVersion", &page.version.to_string());
        json.opt_str_at("continue", page.continue_token.as_deref());
        if let Some(remaining) = page.remaining {
            json.int_at("remainingItemCount", i64::try_from(remaining).unwrap_or(i64::MAX));
        }
    };
    match format {
        Format::Table(_) => {
            table::write_head(json, kind, style, metadata);
            json.array_at("rows", |_| {});
        }
        Format::Full | Format::Partial(_) => {
            match format {
                Format::Partial(version) => {
                    write_type(json, "PartialObjectMetadataList", &format!("meta.k8s.io/{version}"));
                }
                _ => write_type(json, &format!("{}List", kind.name()), kind.api_version()),
            }
            json.object_at("metadata", metadata);
            json.array_at("items", |_| {});
        }
    }
}
