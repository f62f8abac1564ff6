//! Sequences of calls that more than one lane takes: each is a state with its data, and goes on when its lane is woken.

pub(crate) mod alloc;
pub(crate) mod await_eni;
pub(crate) mod compare;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod free;
pub(crate) mod grow;
pub(crate) mod groups;
pub(crate) mod plan;
pub(crate) mod prefix6;
pub(crate) mod reconcile;
pub(crate) mod replay;
pub(crate) mod set_up;
pub(crate) mod shrink;
pub(crate) mod spare;
pub(crate) mod subnets;
pub(crate) mod tag;
pub(crate) mod trunk;
pub(crate) mod unassign;
