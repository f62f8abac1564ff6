//! The sequences of their own: each is in one state at a time and goes on when it is woken.

pub(crate) mod cidrs;
pub(crate) mod early;
pub(crate) mod init;
pub(crate) mod init_enis;
pub(crate) mod init_restore;
pub(crate) mod ipv6;
pub(crate) mod jobs;
pub(crate) mod leak;
pub(crate) mod pool;
pub(crate) mod rpc;
pub(crate) mod rpc_store;
pub(crate) mod security;
pub(crate) mod waiting;
