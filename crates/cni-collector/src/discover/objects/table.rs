//! One kind's objects by name, as its watch last showed them, and what the watch is worth.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use cni_insight::evidence::SourceState;
use cni_types::rights::ObjectRight;
use kube::Resource;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::discover::health::by_age;
use crate::discover::stream::{Cause, ListWatch, Seen};
use crate::discover::watch_log::{Role, WatchLog};

/// The pause after the API server denied a watch, or does not know the kind: each attempt is a line in its audit log.
const PAUSE: Duration = Duration::from_mins(1);

/// What a watch showed is used for this long after it last heard from the API server. (It lags before, see [`by_age`].)
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// Objects of one kind.
#[derive(Debug)]
pub(super) struct ObjectTable<V>(watch::Sender<Contents<V>>);

#[derive(Debug)]
struct Contents<V> {
    objects: HashMap<Box<str>, V>,
    is_listed: bool,
    /// The start, then the last time that the API server sent something.
    last_word: Instant,
    /// Why it does not work now.
    trouble: Option<Cause>,
}

impl<V> Default for ObjectTable<V> {
    fn default() -> Self {
        let contents = Contents { objects: HashMap::new(), is_listed: false, last_word: Instant::now(), trouble: None };
        Self(watch::Sender::new(contents))
    }
}

impl<V> Contents<V> {
    fn state(&self) -> SourceState {
        match self.trouble {
            Some(Cause::Denied) => SourceState::NotGranted,
            Some(Cause::NoKind) => SourceState::NoKind,
            _ if !self.is_listed => SourceState::Failed,
            _ => by_age(self.last_word.elapsed()),
        }
    }
}

impl<V> ObjectTable<V> {
    /// What the source is worth now.
    pub(super) fn state(&self) -> SourceState {
        self.read().0.state()
    }

    /// The objects, until this is dropped.
    pub(super) fn read(&self) -> Objects<'_, V> {
        Objects(self.0.borrow())
    }

    /// Waits for the first list, or the first failure.
    pub(super) async fn settled(&self) {
        let mut contents = self.0.subscribe();
        // The sender is a part of this table.
        let _settled = contents.wait_for(|contents| contents.is_listed || contents.trouble.is_some()).await.is_ok();
    }

    /// Keeps what `keep` makes of each object, for ever.
    pub(super) async fn follow<K>(&self, mut watch: ListWatch<K>, right: ObjectRight, keep: impl Fn(K) -> Option<V>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut log = WatchLog::new(right.full_name(), Role::Source(right));
        let mut listed = HashMap::new();
        loop {
            match watch.next().await {
                Seen::Listing => listed.clear(),
                Seen::Item(object) => {
                    let name = name_of(&object);
                    if let Some(value) = keep(object) {
                        listed.insert(name, value);
                    }
                }
                Seen::Failed(failure) => {
                    self.failed(failure.cause);
                    log.failed(&failure);
                    if matches!(failure.cause, Cause::Denied | Cause::NoKind) {
                        sleep(PAUSE).await;
                    }
                }
                seen => {
                    log.works();
                    if matches!(seen, Seen::Listed) {
                        log.synced(listed.len());
                    }
                    self.changed(seen, &mut listed, &keep);
                }
            }
        }
    }

    /// Takes in what the API server sent.
    fn changed<K: Resource>(&self, seen: Seen<K>, listed: &mut HashMap<Box<str>, V>, keep: &impl Fn(K) -> Option<V>) {
        self.0.send_modify(|contents| {
            (contents.last_word, contents.trouble) = (Instant::now(), None);
            match seen {
                Seen::Listed => {
                    contents.objects = std::mem::take(listed);
                    contents.is_listed = true;
                }
                Seen::Applied(object) => {
                    let name = name_of(&object);
                    match keep(object) {
                        Some(value) => contents.objects.insert(name, value),
                        None => contents.objects.remove(&name),
                    };
                }
                Seen::Deleted(object) => {
                    contents.objects.remove(&name_of(&object));
                }
                Seen::Listing | Seen::Item(_) | Seen::Watching | Seen::Bookmark | Seen::Failed(_) => {}
            }
        });
    }

    fn failed(&self, cause: Cause) {
        self.0.send_modify(|contents| {
            contents.trouble = (cause != Cause::Expired).then_some(cause);
            if cause == Cause::NoKind {
                contents.objects.clear();
            }
        });
    }
}

fn name_of<K: Resource>(object: &K) -> Box<str> {
    object.meta().name.as_deref().unwrap_or_default().into()
}

/// The objects of a kind while they are read.
#[derive(Debug)]
pub(super) struct Objects<'a, V>(watch::Ref<'a, Contents<V>>);

impl<V> Objects<'_, V> {
    /// It is known which objects there are, or were when the source last answered. The kind may be missing.
    pub(super) fn is_known(&self) -> bool {
        self.is_without_kind() || (self.0.is_listed && self.0.last_word.elapsed() <= FORGET_AFTER)
    }

    /// The cluster has no such kind.
    pub(super) fn is_without_kind(&self) -> bool {
        self.0.trouble == Some(Cause::NoKind)
    }

    /// The object of this name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.0.objects.get(name).filter(|_| self.is_known())
    }
}
