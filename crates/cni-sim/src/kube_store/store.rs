//! The store itself: tables of objects, their versions and the changes that watchers ask for.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use super::kinds::{Kind, Object, Stored};
use super::objects::{DaemonSetObject, NamespaceObject, NodeObject, ObjectKey, PodObject, Uid};

/// How many changes of each kind a new store keeps for watchers.
pub const DEFAULT_HISTORY: usize = 16_384;

/// One change, as a watcher sees it. `before` is what a watcher with a selector needs: an object that stops matching
/// is a deletion to it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resourceVersion of the change.
    pub resource_version: u64,
    /// The object before, with the resourceVersion it had; none for a creation.
    pub before: Option<Stored>,
    /// The object after; none for a deletion.
    pub after: Option<Object>,
}

/// The asked resourceVersion is older than the history (`410 Gone` to a client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: u64,
    /// The oldest version that can still be answered.
    pub oldest: u64,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The version it is consistent at.
    pub version: u64,
    /// Its objects in key order.
    pub items: Vec<Stored>,
    /// Nothing that is wanted follows.
    pub is_last: bool,
}

/// A write refused for optimistic concurrency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteConflict {
    /// Creation of what is there already.
    #[error("the object exists already")]
    Exists,
    /// Update or deletion of what is not there.
    #[error("the object does not exist")]
    Missing,
    /// The object was changed by another writer.
    #[error("the object has been modified")]
    Modified,
}

/// What a conditional write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: a creation.
    Absent,
    /// Any version.
    Present,
    /// Exactly this version.
    Version(u64),
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<ObjectKey, Stored>,
    history: VecDeque<Change>,
    /// Changes up to here are no longer kept.
    forgotten_to: u64,
}

#[derive(Debug)]
struct State {
    resource_version: u64,
    tables: [Table; Kind::ALL.len()],
}

/// The store. Cheap to share behind an `Arc`; all methods take `&self`.
#[derive(Debug)]
pub struct KubeStore {
    state: RwLock<State>,
    history_limit: usize,
    changed: [watch::Sender<u64>; Kind::ALL.len()],
}

impl Default for KubeStore {
    fn default() -> Self {
        Self::new(DEFAULT_HISTORY)
    }
}

impl KubeStore {
    /// An empty store that keeps the last `history_limit` changes of each kind.
    pub fn new(history_limit: usize) -> Self {
        // Not 0: "0" means "any version" to clients, and 1 is etcd's empty store.
        let first = 1;
        Self {
            state: RwLock::new(State { resource_version: first, tables: Default::default() }),
            history_limit,
            changed: std::array::from_fn(|_| watch::Sender::new(first)),
        }
    }

    /// Creates or replaces a pod; returns its resourceVersion. Writing an equal object changes nothing.
    pub fn upsert_pod(&self, pod: PodObject) -> u64 {
        self.upsert(Object::Pod(Arc::new(pod)))
    }

    /// Creates or replaces a node; see [`Self::upsert_pod`].
    pub fn upsert_node(&self, node: NodeObject) -> u64 {
        self.upsert(Object::Node(Arc::new(node)))
    }

    /// Creates or replaces a namespace; see [`Self::upsert_pod`].
    pub fn upsert_namespace(&self, namespace: NamespaceObject) -> u64 {
        self.upsert(Object::Namespace(Arc::new(namespace)))
    }

    /// Creates or replaces a `DaemonSet`; see [`Self::upsert_pod`].
    pub fn upsert_daemon_set(&self, daemon_set: DaemonSetObject) -> u64 {
        self.upsert(Object::DaemonSet(Arc::new(daemon_set)))
    }

    /// Deletes a pod; false if there was none.
    pub fn delete_pod(&self, key: &ObjectKey) -> bool {
        self.delete(Kind::Pod, key, Expect::Present).is_ok()
    }

    /// Deletes a node by name; false if there was none.
    pub fn delete_node(&self, name: &str) -> bool {
        self.delete(Kind::Node, &ObjectKey::new("", name), Expect::Present).is_ok()
    }

    /// Deletes a namespace by name (not what is in it); false if there was none.
    pub fn delete_namespace(&self, name: &str) -> bool {
        self.delete(Kind::Namespace, &ObjectKey::new("", name), Expect::Present).is_ok()
    }

    /// Deletes a `DaemonSet`; false if there was none.
    pub fn delete_daemon_set(&self, key: &ObjectKey) -> bool {
        self.delete(Kind::DaemonSet, key, Expect::Present).is_ok()
    }

    /// One pod.
    pub fn pod(&self, key: &ObjectKey) -> Option<Arc<PodObject>> {
        match self.get(Kind::Pod, key)?.object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<Arc<NodeObject>> {
        match self.get(Kind::Node, &ObjectKey::new("", name))?.object {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }

    /// All pods, in key order.
    pub fn pods(&self) -> Vec<Arc<PodObject>> {
        let pods = self.read();
        let objects = pods.table(Kind::Pod).objects.values();
        objects
            .filter_map(|stored| if let Object::Pod(pod) = &stored.object { Some(Arc::clone(pod)) } else { None })
            .collect()
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.read().table(kind).objects.len()
    }

    /// Creates or replaces an object of any kind; returns its resourceVersion.
    pub fn upsert(&self, object: Object) -> u64 {
        let mut state = self.write();
        let key = object.meta().key();
        let before = state.table(object.kind()).objects.get(&key).cloned();
        self.put(&mut state, key, before, object)
    }

    /// A conditional write, for clients: returns the object as it is now.
    pub fn write_if(&self, object: Object, expect: Expect) -> Result<Stored, WriteConflict> {
        let mut state = self.write();
        let (kind, key) = (object.kind(), object.meta().key());
        let before = state.table(kind).objects.get(&key).cloned();
        check(before.as_ref(), expect)?;
        self.put(&mut state, key.clone(), before, object);
        state.table(kind).objects.get(&key).cloned().ok_or(WriteConflict::Missing)
    }

    /// Deletes an object; returns it as it was.
    pub fn delete(&self, kind: Kind, key: &ObjectKey, expect: Expect) -> Result<Stored, WriteConflict> {
        let mut state = self.write();
        check(state.table(kind).objects.get(key), expect)?;
        let before = state.table_mut(kind).objects.remove(key).ok_or(WriteConflict::Missing)?;
        let version = state.next_version();
        self.record(&mut state, kind, Change { resource_version: version, before: Some(before.clone()), after: None });
        Ok(before)
    }

    /// One object with its resourceVersion.
    pub fn get(&self, kind: Kind, key: &ObjectKey) -> Option<Stored> {
        self.read().table(kind).objects.get(key).cloned()
    }

    /// The resourceVersion of the last write to anything.
    pub fn resource_version(&self) -> u64 {
        self.read().resource_version
    }

    /// All objects of a kind (of one namespace, if given) in key order, with the version they are consistent at.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> (u64, Vec<Stored>) {
        let state = self.read();
        let from = ObjectKey::new(namespace.unwrap_or_default(), "");
        let range = state.table(kind).objects.range((Bound::Included(from), Bound::Unbounded));
        let objects = range
            .take_while(|(key, _)| namespace.is_none_or(|wanted| &*key.namespace == wanted))
            .map(|(_, stored)| stored.clone())
            .collect();
        (state.resource_version, objects)
    }

    /// One chunk of a list in key order: what is `wanted` after `after`, at most `limit` of it. The cost is that of the
    /// chunk and of what it passes over, not of the whole list. With `at`, the chunk is of that version, and `None` means
    /// that something of the kind has changed since, so that [`Self::list_at`] has to undo it.
    pub fn chunk(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
        at: Option<u64>,
        limit: usize,
        wanted: impl Fn(&Object) -> bool,
    ) -> Option<Chunk> {
        let state = self.read();
        let table = state.table(kind);
        let changed_since = |version: u64| {
            let newest = table.history.back().map_or(table.forgotten_to, |change| change.resource_version);
            newest > version || version < table.forgotten_to || version > state.resource_version
        };
        if at.is_some_and(changed_since) {
            return None;
        }
        let from = after
            .cloned()
            .map_or_else(|| Bound::Included(ObjectKey::new(namespace.unwrap_or_default(), "")), Bound::Excluded);
        let mut rest = table
            .objects
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| namespace.is_none_or(|namespace| &*key.namespace == namespace))
            .map(|(_, stored)| stored)
            .filter(|stored| wanted(&stored.object));
        let items: Vec<Stored> = rest.by_ref().take(limit).cloned().collect();
        let is_last = rest.next().is_none();
        Some(Chunk { version: at.unwrap_or(state.resource_version), items, is_last })
    }

    /// How many objects of a kind (of one namespace, if given) come after `after`.
    pub fn count_after(&self, kind: Kind, namespace: Option<&str>, after: &ObjectKey) -> usize {
        let state = self.read();
        let range = state.table(kind).objects.range((Bound::Excluded(after), Bound::Unbounded));
        range.take_while(|(key, _)| namespace.is_none_or(|wanted| &*key.namespace == wanted)).count()
    }

    /// The list as it was at an earlier version, undone from the history: what the later pages of a chunked list show.
    pub fn list_at(&self, kind: Kind, namespace: Option<&str>, version: u64) -> Result<Vec<Stored>, Expired> {
        // The list first: changes that slip in between are in the history too, and undoing one that the list does not
        // show yet leaves the same object.
        let (_, objects) = self.list(kind, None);
        let (_, changes) = self.changes_since(kind, version, usize::MAX)?;
        // The first change of an object after that version knows how it was then.
        let mut then: BTreeMap<ObjectKey, Option<Stored>> = BTreeMap::new();
        for Change { before, after, .. } in changes {
            let changed = before.as_ref().map(|stored| &stored.object).or(after.as_ref());
            if let Some(key) = changed.map(|object| object.meta().key()) {
                then.entry(key).or_insert(before);
            }
        }
        let wanted = |stored: &Stored| namespace.is_none_or(|wanted| &*stored.object.meta().namespace == wanted);
        let mut at: Vec<Stored> = objects.into_iter().filter(wanted).collect();
        if !then.is_empty() {
            at.retain(|stored| !then.contains_key(&stored.object.meta().key()));
            at.extend(then.into_values().flatten().filter(wanted));
            at.sort_by_cached_key(|stored| stored.object.meta().key());
        }
        Ok(at)
    }

    /// At most `limit` changes of a kind after a version, and the version of the last write to anything: a reader that
    /// got fewer than `limit` changes knows everything up to there.
    pub fn changes_since(&self, kind: Kind, version: u64, limit: usize) -> Result<(u64, Vec<Change>), Expired> {
        let state = self.read();
        let table = state.table(kind);
        if version < table.forgotten_to {
            return Err(Expired { asked: version, oldest: table.forgotten_to });
        }
        let first = table.history.partition_point(|change| change.resource_version <= version);
        Ok((state.resource_version, table.history.iter().skip(first).take(limit).cloned().collect()))
    }

    /// Tells when the kind changes; the value is the version of its last change.
    pub fn subscribe(&self, kind: Kind) -> watch::Receiver<u64> {
        self.changed[kind as usize].subscribe()
    }

    /// Forgets all history, as an etcd compaction or an API server restart does: watchers that were behind, and new
    /// ones that start from an older version, get 410 Gone.
    pub fn forget_history(&self) {
        let mut state = self.write();
        let version = state.resource_version;
        for table in &mut state.tables {
            table.history.clear();
            table.forgotten_to = version;
        }
    }

    fn put(&self, state: &mut State, key: ObjectKey, before: Option<Stored>, mut object: Object) -> u64 {
        let kind = object.kind();
        let uid = object.meta().uid;
        if uid == Uid(0) {
            // A replacement is the same object and keeps its UID.
            let kept = before.as_ref().map(|stored| stored.object.meta().uid);
            object.meta_mut().uid = kept.unwrap_or_else(|| Uid::derived(kind.name(), &key, object.meta().created_ms));
        }
        if let Some(same) = before.as_ref().filter(|stored| stored.object == object) {
            return same.resource_version;
        }
        if let Some(before) = &before {
            object.share(&before.object);
        }
        let version = state.next_version();
        state.table_mut(kind).objects.insert(key, Stored { resource_version: version, object: object.clone() });
        self.record(state, kind, Change { resource_version: version, before, after: Some(object) });
        version
    }

    fn record(&self, state: &mut State, kind: Kind, change: Change) {
        let version = change.resource_version;
        let table = state.table_mut(kind);
        table.history.push_back(change);
        while table.history.len() > self.history_limit {
            if let Some(forgotten) = table.history.pop_front() {
                table.forgotten_to = forgotten.resource_version;
            }
        }
        self.changed[kind as usize].send_replace(version);
    }

    // A writer that panicked leaves whole objects behind (every write is one insert), so a poisoned lock is usable.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(before: Option<&Stored>, expect: Expect) -> Result<(), WriteConflict> {
    match (expect, before) {
        (Expect::Absent, None) | (Expect::Present, Some(_)) => Ok(()),
        (Expect::Absent, Some(_)) => Err(WriteConflict::Exists),
        (_, None) => Err(WriteConflict::Missing),
        (Expect::Version(version), Some(stored)) if stored.resource_version == version => Ok(()),
        (Expect::Version(_), Some(_)) => Err(WriteConflict::Modified),
    }
}

impl State {
    fn table(&self, kind: Kind) -> &Table {
        &self.tables[kind as usize]
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        &mut self.tables[kind as usize]
    }

    fn next_version(&mut self) -> u64 {
        self.resource_version += 1;
        self.resource_version
    }
}
