//! The interface of the host that an allocation was made for.

/// The interface of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Its index, once it is known.
    pub(crate) ifindex: Option<u32>,
    /// When the pod was told its address, or the host was looked at for it last.
    pub(crate) since_ms: i64,
}
