//! Watches: what changed after a version, as a stream of events.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use http::{Response, StatusCode};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::backend::SharedBackend;
use super::body::{self, Body};
use super::negotiate::Format;
use super::read::write_one;
use super::route::Query;
use super::selector::Selector;
use super::status::Status;
use super::table::{self, TableStyle};
use crate::kube_store::json::Json;
use crate::kube_store::manifest::write_type;
use crate::kube_store::{Change, Expired, Kind, Stored};

/// Changes are taken from the history in portions of this size; a watcher that cannot keep up loses its place in the
/// history, not the server its memory.
const PORTION: usize = 512;

/// What one watch asked for.
pub(crate) struct WatchRequest {
    pub(crate) kind: Kind,
    pub(crate) selector: Selector,
    pub(crate) format: Format,
    pub(crate) style: TableStyle,
    pub(crate) bookmark_interval: Duration,
    pub(crate) default_timeout: Duration,
    /// An expired start is answered with HTTP 410 instead of an ERROR event.
    pub(crate) gone_over_http: bool,
}

/// Starts a watch.
pub(crate) fn start(backend: SharedBackend, request: WatchRequest, query: &Query) -> Result<Response<Body>, Status> {
    let kube = backend.kube();
    let initial_events = query.flag("sendInitialEvents");
    if initial_events && query.get("resourceVersionMatch") != Some("NotOlderThan") {
        let problem =
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Status::invalid("meta.k8s.io", "ListOptions", "", problem));
    }
    let from = match query.get("resourceVersion") {
        None | Some("0") => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            Status::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a non-negative integer"))
        })?),
    };
    let bookmarks = query.flag("allowWatchBookmarks");
    let changed = kube.subscribe(request.kind);
    let mut ready = VecDeque::new();
    let cursor = match from {
        Some(version) if !initial_events => {
            let expired = kube.changes_since(request.kind, version, 0).err();
            if let Some(expired) = expired.filter(|_| request.gone_over_http) {
                return Err(Status::expired(expired.to_string()));
            }
            version
        }
        _ => {
            let (version, all) = kube.list(request.kind, None);
            let selected = all.into_iter().filter(|stored| request.selector.matches(&stored.object));
            ready.extend(selected.map(|stored| WatchEvent::Object("ADDED", stored)));
            if initial_events && bookmarks {
                ready.push_back(WatchEvent::Bookmark { version, ends_initial_events: true });
            }
            version
        }
    };
    let now = Instant::now();
    let timeout = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let watcher = Watcher {
        deadline: now + timeout.unwrap_or(request.default_timeout),
        next_bookmark: bookmarks.then(|| now + request.bookmark_interval),
        backend,
        request,
        changed,
        cursor,
        ready,
        ended: false,
    };
    Ok(body::with_type(StatusCode::OK, "application/json", body::stream(watcher.into_stream())))
}

enum WatchEvent {
    Object(&'static str, Stored),
    Bookmark { version: u64, ends_initial_events: bool },
    Error(Expired),
}

struct Watcher {
    backend: SharedBackend,
    request: WatchRequest,
    changed: Receiver<u64>,
    /// Everything up to this version is in `ready` or sent.
    cursor: u64,
    ready: VecDeque<WatchEvent>,
    deadline: Instant,
    next_bookmark: Option<Instant>,
    ended: bool,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        // No first piece is needed for the headers: hyper sends them while the body is still waiting.
        stream::unfold(self, |mut watcher| async move {
            let text = watcher.next_portion().await?;
            Some((Ok(Bytes::from(text)), watcher))
        })
    }

    /// The next events as text; none at the end of the watch.
    async fn next_portion(&mut self) -> Option<String> {
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            self.collect();
            if self.ready.is_empty() {
                self.wait().await?;
            }
        }
        let mut text = String::new();
        while let Some(event) = self.ready.pop_front() {
            text.push_str(&self.write(&event));
            text.push('\n');
            if text.len() > 64 * 1024 {
                break;
            }
        }
        Some(text)
    }

    /// Takes the next changes from the history.
    fn collect(&mut self) {
        match self.backend.kube().changes_since(self.request.kind, self.cursor, PORTION) {
            Err(expired) => {
                self.ready.push_back(WatchEvent::Error(expired));
                self.ended = true;
            }
            Ok((now, changes)) => {
                self.cursor = match changes.last() {
                    Some(last) if changes.len() >= PORTION => last.resource_version,
                    // A client may start from a version of the future; it stays there.
                    _ => now.max(self.cursor),
                };
                self.ready.extend(changes.into_iter().filter_map(|change| event_of(change, &self.request.selector)));
            }
        }
    }

    /// Waits for a change, a bookmark's time or the end.
    async fn wait(&mut self) -> Option<()> {
        let bookmark_at = self.next_bookmark.unwrap_or(self.deadline);
        tokio::select! {
            changed = self.changed.changed() => changed.ok(),
            () = sleep_until(self.deadline) => None,
            () = sleep_until(bookmark_at), if self.next_bookmark.is_some() => {
                self.next_bookmark = Some(bookmark_at + self.request.bookmark_interval);
                self.ready.push_back(WatchEvent::Bookmark { version: self.cursor, ends_initial_events: false });
                Some(())
            }
        }
    }

    fn write(&self, event: &WatchEvent) -> String {
        let (format, style) = (self.request.format, TableStyle { now_ms: self.backend.now_ms(), ..self.request.style });
        let mut json = Json::new();
        json.object(|json| match event {
            WatchEvent::Object(kind, stored) => {
                json.str_at("type", kind);
                json.member("object", |json| write_one(json, stored, format, style));
            }
            WatchEvent::Bookmark { version, ends_initial_events } => {
                json.str_at("type", "BOOKMARK");
                json.member("object", |json| {
                    write_bookmark(json, self.request.kind, *version, *ends_initial_events, format, style);
                });
            }
            WatchEvent::Error(expired) => {
                json.str_at("type", "ERROR");
                json.raw_at("object", &Status::expired(expired.to_string()).to_json().to_string());
            }
        });
        json.finish()
    }
}

/// What a change is to a watcher with a selector: an object that begins to match is new to it, one that stops is gone.
fn event_of(change: Change, selector: &Selector) -> Option<WatchEvent> {
    let version = change.resource_version;
    let before = change.before.filter(|stored| selector.matches(&stored.object));
    let after = change.after.filter(|object| selector.matches(object));
    let stored = |object| Stored { resource_version: version, object };
    match (before, after) {
        (None, Some(object)) => Some(WatchEvent::Object("ADDED", stored(object))),
        (Some(_), Some(object)) => Some(WatchEvent::Object("MODIFIED", stored(object))),
        // The last state, with the version of the deletion.
        (Some(before), None) => Some(WatchEvent::Object("DELETED", stored(before.object))),
        (None, None) => None,
    }
}

fn write_bookmark(json: &mut Json, kind: Kind, version: u64, end: bool, format: Format, style: TableStyle) {
    let metadata = |json: &mut Json| {
        json.str_at("resourceVersion", &version.to_string());
        json.raw_at("creationTimestamp", "null");
        if end {
            let mark = [(Arc::from("k8s.io/initial-events-end"), Arc::from("true"))];
            json.pairs_at("annotations", &mark);
        }
    };
    json.object(|json| match format {
        Format::Full => {
            write_type(json, kind.name(), kind.api_version());
            json.object_at("metadata", metadata);
            match kind {
                Kind::Pod => {
                    json.object_at("spec", |json| json.raw_at("containers", "null"));
                    json.object_at("status", |_| {});
                }
                _ => json.object_at("spec", |_| {}),
            }
        }
        Format::Partial(api) => {
            write_type(json, "PartialObjectMetadata", &format!("meta.k8s.io/{api}"));
            json.object_at("metadata", metadata);
        }
        Format::Table(_) => {
            table::write_head(json, kind, style, |json| json.str_at("resourceVersion", &version.to_string()));
            json.array_at("rows", |_| {});
        }
    });
}
