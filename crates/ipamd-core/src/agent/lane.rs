//! Who asks for effects and sleeps.

use crate::id::RpcId;

/// A sequence of its own: at most one of its effects waits for an answer at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// From the start to the open page.
    Init,
    /// The pool's loop.
    Pool,
    /// The look at security groups.
    Groups,
    /// The look at the VPC's CIDRs.
    Cidrs,
    /// The search for leaked ENIs.
    Leak,
    /// Writes of the checkpoint.
    Store,
    /// Careful: growth.
    Job(u8),
    /// Careful: writes of the second file.
    File,
    /// Careful: annotations of pods.
    Notes,
    /// Careful: the look at interfaces of pods.
    Links,
    /// One RPC.
    Rpc(RpcId),
}
