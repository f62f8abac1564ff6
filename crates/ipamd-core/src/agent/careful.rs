//! What only a careful agent knows. An agent that decides as the original does has none of it.

pub(crate) mod binding;
pub(crate) mod file;
pub(crate) mod growth;
pub(crate) mod notes;
pub(crate) mod reads;

use std::collections::{BTreeMap, VecDeque};

use self::binding::Binding;
use self::file::File;
use self::growth::Growth;
use self::notes::Notes;
use self::reads::Reads;
use crate::block::Block;
use crate::id::{EniId, RpcId, SubnetId};
use crate::input::Identity;

/// An ADD waits no longer than this for an address, milliseconds ...
pub(crate) const WAIT_MS: i64 = 10_000;
/// ... or no longer than this, once EC2 has answered growth since it began to wait. Container runtimes give a plugin minutes.
pub(crate) const WAIT_FOR_EC2_MS: i64 = 25_000;

/// Requests that wait for an address, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many wait now.
    pub waiting: usize,
    /// How many began to wait.
    pub begun: u64,
    /// Of these, how many were given an address.
    pub served: u64,
    /// How many were refused: the time was over, or no address could come any more.
    pub refused: u64,
    /// How many ended because the caller was gone.
    pub gone: u64,
    /// How many ended because the pod's DEL came.
    pub deleted: u64,
    /// The longest that one has waited, milliseconds.
    pub longest_ms: i64,
}

/// An ADD that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    /// Which.
    pub(crate) rpc: RpcId,
    /// Since when.
    pub(crate) since_ms: i64,
    /// It is refused then.
    pub(crate) until_ms: i64,
    /// The caller's own limit.
    pub(crate) caller_ms: i64,
    /// An earlier one waits for the same key: one address serves both.
    pub(crate) again: bool,
}

/// The state of a careful agent.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each belongs to another part of the agent")]
pub(crate) struct Careful<K> {
    /// ADDs that wait, the first before the others.
    pub(crate) line: VecDeque<Waiter>,
    /// Their numbers.
    pub(crate) waits: Waits,
    /// The start is over: security groups, pods of the node and ENIs that are not ours are known.
    pub(crate) settled: bool,
    /// Growth under way.
    pub(crate) growing: Vec<Growth>,
    /// The pool's loop wants the warm targets looked at.
    pub(crate) look: bool,
    /// Growth failed: it is not tried again before this time.
    pub(crate) again_ms: Option<i64>,
    /// How often in a row it failed.
    pub(crate) failures: u8,
    /// Subnets that had no more addresses when they were asked last, and when that was.
    pub(crate) short: Vec<(SubnetId, i64)>,
    /// The interfaces of allocations whose pods were told their addresses.
    pub(crate) bindings: BTreeMap<K, Binding>,
    /// The look at interfaces waits for its time or its answer.
    pub(crate) watches_links: bool,
    /// Allocations that ended with their interfaces.
    pub(crate) links_ended: u64,
    /// The second file.
    pub(crate) file: File,
    /// What was read of EC2.
    pub(crate) reads: Reads,
    /// Annotations of pods.
    pub(crate) notes: Notes,
    /// Attached ENIs that this agent made, or an earlier life of it.
    pub(crate) proven: Vec<EniId>,
    /// What the second file said of the instance is being asked for.
    pub(crate) confirms: bool,
    /// When the listing was read that the pool is compared with.
    pub(crate) listed_ms: i64,
    /// CIDRs that this agent assigned to ENIs that it did not make.
    pub(crate) lent: Vec<(EniId, Block)>,
    /// What the metadata service said about the instance.
    pub(crate) identity: Option<Identity>,
}

impl<K> Default for Careful<K> {
    fn default() -> Self {
        Self {
            line: VecDeque::new(),
            waits: Waits::default(),
            settled: false,
            growing: Vec::new(),
            look: false,
            again_ms: None,
            failures: 0,
            short: Vec::new(),
            bindings: BTreeMap::new(),
            watches_links: false,
            links_ended: 0,
            file: File::default(),
            reads: Reads::default(),
            notes: Notes::default(),
            proven: Vec::new(),
            confirms: false,
            listed_ms: 0,
            lent: Vec::new(),
            identity: None,
        }
    }
}
