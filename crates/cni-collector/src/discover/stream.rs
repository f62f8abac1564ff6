//! List, then watch: every change of one kind of object, and whether the connection is alive.
//!
//! The server is asked to end each watch after [`WATCH`] and to send bookmarks, so that a connection on which
//! nothing arrives for longer than [`SILENCE`] is dead, even in a quiet cluster. A new watch continues where the
//! last one ended;
//! only a version that the server has forgotten (410) leads to a new list.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use crate::client_error::causes;
use cni_runtime::backoff::Backoff;
use cni_runtime::text::excerpt;

/// How long the server is to keep a watch open, seconds.
const WATCH: u32 = 60;
/// A watch on which nothing arrives for longer has a dead connection: the server would have ended it before.
const SILENCE: Duration = Duration::from_secs(75);
/// One page of a list, or the head of a watch's answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Objects in one page of a list.
const PAGE: u32 = 500;
/// After a watch that ended sooner and without an event, the next one starts after a pause.
const SHORT: Duration = Duration::from_secs(5);

/// What happened next.
#[derive(Debug)]
pub(super) enum Seen<K> {
    /// A complete list begins.
    Listing,
    /// An object of that list.
    Item(K),
    /// The list is complete.
    Listed,
    /// The server has accepted a watch.
    Watching,
    /// A bookmark: nothing has changed.
    Bookmark,
    /// An object is new, or has changed.
    Applied(K),
    /// An object is gone.
    Deleted(K),
    /// A request failed; the next call tries again, after a pause.
    Failed(WatchFailure),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchFailure {
    pub(super) cause: Cause,
    /// One printable line.
    pub(super) text: String,
}

/// The kinds of failures that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// 401 or 403.
    Denied,
    /// 410: the version is too old. A new list follows; it is not logged as a failure.
    Expired,
    /// 404: the API server does not know the kind.
    NoKind,
    /// Another answer that is an error.
    Refused,
    /// No answer in time, or an open watch that has gone silent.
    Silent,
    /// One object, or one page, is not what it should be.
    Unreadable,
    /// No connection, or it broke.
    Unreachable,
}

/// Lists and watches one kind of object until it is dropped.
pub(super) struct ListWatch<K> {
    api: Api<K>,
    selector: Option<String>,
    fields: Option<String>,
    step: WatchStep<K>,
    backoff: Backoff,
    /// The next request waits.
    pauses: bool,
}

enum WatchStep<K> {
    Begin,
    Page { token: Option<String> },
    Items { items: std::vec::IntoIter<K>, then: After },
    Connect { version: String },
    Open { version: String, events: BoxStream<'static, kube::Result<WatchEvent<K>>>, since: Instant, said: bool },
}

/// What follows a page of a list.
enum After {
    Token(String),
    Version(String),
}

impl<K> ListWatch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    pub(super) fn new(api: Api<K>, selector: Option<&str>) -> Self {
        Self {
            api,
            selector: selector.map(str::to_owned),
            fields: None,
            step: WatchStep::Begin,
            backoff: Backoff::new(Duration::from_millis(800), Duration::from_secs(30)),
            pauses: false,
        }
    }

    /// The same for the object of one name.
    pub(super) fn of_name(mut self, name: &str) -> Self {
        self.fields = Some(format!("metadata.name={name}"));
        self
    }

    /// Waits for the next event. Dropping the call before it returns leads to a new list at the next call.
    pub(super) async fn next(&mut self) -> Seen<K> {
        loop {
            if std::mem::take(&mut self.pauses) {
                sleep(self.backoff.pause()).await;
            }
            let (seen, step) = match std::mem::replace(&mut self.step, WatchStep::Begin) {
                WatchStep::Begin => (Some(Seen::Listing), WatchStep::Page { token: None }),
                WatchStep::Page { token } => self.page(token).await,
                WatchStep::Items { mut items, then } => match (items.next(), then) {
                    (Some(item), then) => (Some(Seen::Item(item)), WatchStep::Items { items, then }),
                    (None, After::Token(token)) => (None, WatchStep::Page { token: Some(token) }),
                    (None, After::Version(version)) => (Some(Seen::Listed), WatchStep::Connect { version }),
                },
                WatchStep::Connect { version } => self.connect(version).await,
                WatchStep::Open { version, events, since, said } => self.event(version, events, since, said).await,
            };
            self.step = step;
            if let Some(seen) = seen {
                self.pauses = matches!(seen, Seen::Failed(_));
                return seen;
            }
        }
    }

    async fn page(&mut self, token: Option<String>) -> (Option<Seen<K>>, WatchStep<K>) {
        let params = ListParams {
            label_selector: self.selector.clone(),
            field_selector: self.fields.clone(),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let failed = |failure| (Some(Seen::Failed(failure)), WatchStep::Begin);
        let list = match timeout(ANSWER, self.api.list(&params)).await {
            Err(_) => return failed(silent("a list", ANSWER)),
            Ok(Err(error)) => return failed(failure(&error)),
            Ok(Ok(list)) => list,
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let then = match (given(list.metadata.continue_), given(list.metadata.resource_version)) {
            (Some(token), _) => After::Token(token),
            (None, Some(version)) => After::Version(version),
            (None, None) => {
                let text = "the list has no resourceVersion".to_owned();
                return failed(WatchFailure { cause: Cause::Unreadable, text });
            }
        };
        (None, WatchStep::Items { items: list.items.into_iter(), then })
    }

    async fn connect(&mut self, version: String) -> (Option<Seen<K>>, WatchStep<K>) {
        let params = WatchParams {
            label_selector: self.selector.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH),
            bookmarks: true,
            ..WatchParams::default()
        };
        let failure = match timeout(ANSWER, self.api.watch(&params, &version)).await {
            Ok(Ok(events)) => {
                let open = WatchStep::Open { version, events: events.boxed(), since: Instant::now(), said: false };
                return (Some(Seen::Watching), open);
            }
            Ok(Err(error)) => failure(&error),
            Err(_) => silent("a watch", ANSWER),
        };
        let begins_anew = matches!(failure.cause, Cause::Expired | Cause::NoKind);
        let step = if begins_anew { WatchStep::Begin } else { WatchStep::Connect { version } };
        (Some(Seen::Failed(failure)), step)
    }

    async fn event(
        &mut self,
        version: String,
        mut events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
        since: Instant,
        said: bool,
    ) -> (Option<Seen<K>>, WatchStep<K>) {
        let event = match timeout(SILENCE, events.next()).await {
            Err(_) => {
                let text = format!("nothing received for {} s, connection closed", SILENCE.as_secs());
                let failure = WatchFailure { cause: Cause::Silent, text };
                return (Some(Seen::Failed(failure)), WatchStep::Connect { version });
            }
            Ok(None) => {
                self.pauses = !said && since.elapsed() < SHORT;
                return (None, WatchStep::Connect { version });
            }
            Ok(Some(event)) => event,
        };
        let (seen, newer) = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let version = object.meta().resource_version.clone();
                (Seen::Applied(object), version)
            }
            Ok(WatchEvent::Deleted(object)) => {
                let version = object.meta().resource_version.clone();
                (Seen::Deleted(object), version)
            }
            Ok(WatchEvent::Bookmark(bookmark)) => (Seen::Bookmark, Some(bookmark.metadata.resource_version)),
            Ok(WatchEvent::Error(status)) => {
                let failure = answer(status.code, &status.message);
                let step =
                    if failure.cause == Cause::Expired { WatchStep::Begin } else { WatchStep::Connect { version } };
                return (Some(Seen::Failed(failure)), step);
            }
            Err(error) => {
                let failure = failure(&error);
                // An object that cannot be decoded is skipped, and the watch continues.
                let step = match failure.cause {
                    Cause::Unreadable => WatchStep::Open { version, events, since, said },
                    Cause::Expired => WatchStep::Begin,
                    _ => WatchStep::Connect { version },
                };
                return (Some(Seen::Failed(failure)), step);
            }
        };
        self.backoff.reset();
        let version = newer.filter(|version| !version.is_empty()).unwrap_or(version);
        (Some(seen), WatchStep::Open { version, events, since, said: true })
    }
}

fn silent(what: &str, limit: Duration) -> WatchFailure {
    WatchFailure { cause: Cause::Silent, text: format!("no answer to {what} within {} s", limit.as_secs()) }
}

fn failure(error: &kube::Error) -> WatchFailure {
    match error {
        // What is no event and no error either reads as a status without a code.
        kube::Error::Api(status) if status.code == 0 => {
            WatchFailure { cause: Cause::Unreadable, text: "neither an event nor an error".to_owned() }
        }
        kube::Error::Api(status) => answer(status.code, &status.message),
        kube::Error::SerdeError(_) => WatchFailure { cause: Cause::Unreadable, text: causes(error) },
        _ => WatchFailure { cause: Cause::Unreachable, text: causes(error) },
    }
}

/// The API server's own words.
fn answer(code: u16, message: &str) -> WatchFailure {
    let cause = match code {
        401 | 403 => Cause::Denied,
        404 => Cause::NoKind,
        410 => Cause::Expired,
        _ => Cause::Refused,
    };
    let text = if message.trim().is_empty() { format!("HTTP status {code}") } else { excerpt(message) };
    WatchFailure { cause, text }
}
