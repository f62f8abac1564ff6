//! Growth of the pool that is under way.

use crate::id::{EniId, SubnetId};

/// Growth under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    /// The number of its lane.
    pub(crate) lane: u8,
    /// The ENI that gets addresses, or the new one once it is made.
    pub(crate) eni: Option<EniId>,
    /// The ENI is new.
    pub(crate) new: bool,
    /// Its subnet, where it is known.
    pub(crate) subnet: Option<SubnetId>,
    /// Addresses or prefixes that it is to bring.
    pub(crate) count: u32,
    /// The device number that the new ENI is to have.
    pub(crate) device: Option<u8>,
    /// It brought something.
    pub(crate) done: bool,
}
