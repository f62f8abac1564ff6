//! What a core is told.

mod bad;
mod ec2;
mod host;
mod imds;
mod kube;
mod second;

use crate::id::{EniId, Epoch, OpId, RpcId};

pub use crate::id::Mac;
pub use bad::BadInput;
pub use ec2::{Ec2Attachment, Ec2Eni, Ec2Failure, Ec2Reply, Ec2Subnet, EniKind, Fate, SubnetRole};
pub use host::{CheckpointEntry, HostError, HostPod, HostReply, PodName, StoreError, StoreReply};
pub use imds::{Identity, ImdsEni, ImdsError, ImdsErrorKind, ImdsReply};
pub use kube::{BranchEni, KubeError, KubeReply, NodeSeen};
pub use second::{Intent, KnownEni, SECOND_FILE_VERSION, SecondFile, SecondFileTrouble};

/// One thing that happened. `K` names a pod's attachment: network, container and interface for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<K> {
    /// The process started: the first input of each life.
    Boot(Boot),
    /// The time of `deadline()` came; it may be handed in early or late, the core compares times itself.
    Tick,
    /// The process is asked to end within this time, milliseconds.
    Terminate {
        /// Milliseconds.
        grace_ms: i64,
    },
    /// The API server can be reached from now on, or cannot.
    ApiServer {
        /// It can.
        reachable: bool,
    },
    /// The node object was seen, by a watch.
    NodeSeen(NodeSeen),
    /// Answers [`crate::output::Effect::Kube`].
    Kube(Answer<KubeReply, KubeError>),
    /// Answers [`crate::output::Effect::Imds`].
    Imds(Answer<ImdsReply, ImdsError>),
    /// Answers [`crate::output::Effect::Ec2`].
    Ec2(Answer<Ec2Reply, Ec2Failure>),
    /// Answers [`crate::output::Effect::Host`].
    Host(Answer<HostReply, HostError>),
    /// Answers [`crate::output::Effect::Store`].
    Store(Answer<StoreReply<K>, StoreError>),
    /// A link with this MAC appeared: shortens the wait for an ENI.
    LinkSeen {
        /// Lower case, with colons.
        mac: Mac,
    },
    /// The link of an attached ENI changed.
    LinkChanged {
        /// Its ENI.
        eni: EniId,
        /// It is up.
        up: bool,
        /// It has its primary address.
        has_primary: bool,
    },
    /// A pod's host interface is gone.
    VethGone {
        /// Its name.
        name: Box<str>,
        /// Its index: a later interface of the same name has another one.
        ifindex: u32,
    },
    /// A plugin made a pod's interface.
    Bound {
        /// The attachment that it was made for.
        key: K,
        /// Its index.
        ifindex: u32,
    },
    /// A plugin asks for an address.
    Add(AddRequest<K>),
    /// A plugin gives an address back.
    Del(DelRequest<K>),
    /// The caller of this RPC is gone: the reply is dropped, what the RPC did stays.
    RpcGone {
        /// Which.
        rpc: RpcId,
    },
}

/// What a process knows when it starts, besides its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// The life that begins.
    pub epoch: Epoch,
    /// Its node's name.
    pub node_name: Box<str>,
    /// The API server answered when the process asked.
    pub api_server_reachable: bool,
    /// How long ago the process started, milliseconds: it may have waited for the API server.
    pub waited_ms: i64,
    /// The boot of the host (`/proc/sys/kernel/random/boot_id`); empty if it could not be read: then no second file is trusted.
    pub boot_id: Box<str>,
    /// The host's `nf_conntrack_tcp_timeout_syn_sent`, seconds, where it could be read.
    pub syn_sent_timeout_s: Option<u32>,
}

/// The answer to one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<R, E> {
    /// The effect that is answered. An id that is unknown or was answered before is counted and otherwise ignored.
    pub op: OpId,
    /// The life in which the effect was sent.
    pub epoch: Epoch,
    /// How long it took, milliseconds.
    pub took_ms: u32,
    /// What came of it.
    pub result: Result<R, E>,
}

/// A plugin asks for an address. The same key may come again, also while the first request waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest<K> {
    /// The RPC that asks.
    pub rpc: RpcId,
    /// Whose.
    pub key: K,
    /// Its pod.
    pub pod: PodName,
    /// The pod's UID, where the plugin knows it.
    pub uid: Box<str>,
    /// How long the caller waits, milliseconds, where it says: a careful agent answers before that.
    pub limit_ms: Option<i64>,
}

/// A plugin gives an address back. It may overtake the request for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelRequest<K> {
    /// The RPC that asks.
    pub rpc: RpcId,
    /// Whose.
    pub key: K,
    /// Its pod.
    pub pod: PodName,
    /// The pod's UID, where the plugin knows it.
    pub uid: Box<str>,
    /// Why, in the plugin's word.
    pub reason: DelReason,
}

/// Why an address is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DelReason {
    /// The pod is gone.
    PodDeleted,
    /// The plugin undoes a failed request.
    SetupNsFailed,
}
