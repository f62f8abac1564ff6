//! Why the store refuses a change.

/// Why the store refuses a change. It is then as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refused {
    /// The ENI is in the store already.
    #[error("the ENI is in the store already")]
    DuplicateEni,
    /// The ENI is not in the store.
    #[error("the ENI is not in the store")]
    UnknownEni,
    /// Pods use addresses of the ENI.
    #[error("pods use addresses of the ENI")]
    EniInUse,
    /// The CIDR is on this ENI already.
    #[error("the CIDR is on this ENI already")]
    DuplicateCidr,
    /// The CIDR is not on this ENI.
    #[error("the CIDR is not on this ENI")]
    UnknownCidr,
    /// Pods use addresses of the CIDR.
    #[error("pods use addresses of the CIDR")]
    CidrInUse,
    /// No address is free and rested.
    #[error("no address is free")]
    NoAddress,
    /// The key owns no address.
    #[error("the pod has no address")]
    UnknownPod,
    /// No CIDR holds the address.
    #[error("no CIDR of the store holds the address")]
    UnknownAddress,
    /// A pod has the address, or had it since the process started.
    #[error("the address is in use, or was since the start")]
    AddressInUse,
    /// The key owns another address.
    #[error("the pod has another address")]
    KeyInUse,
}
