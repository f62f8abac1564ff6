//! What a careful agent knows only in part, and therefore keeps.

use std::net::IpAddr;

use crate::id::EniId;
use crate::input::CheckpointEntry;
use crate::rare::Empty;

/// What is kept.
#[derive(Debug)]
pub(crate) struct Held<K> {
    /// ENIs whose subnets are unknown.
    pub(crate) enis: Vec<EniId>,
    /// ENIs of which it is unknown whether they are ours to use: they give nothing whatever the others do.
    pub(crate) doubted: Vec<EniId>,
    /// When subnets were looked up for ENIs that are held.
    pub(crate) asked_ms: Option<i64>,
    /// ENIs that the last pass did not meet.
    pub(crate) missing: Vec<EniId>,
    /// Addresses in use by interfaces that no allocation names, by the interface's index.
    pub(crate) occupied: Vec<(u32, IpAddr)>,
    /// Allocations of the checkpoint whose addresses no ENI is known to have.
    pub(crate) orphans: Vec<CheckpointEntry<K>>,
}

impl<K> Held<K> {
    const fn new() -> Self {
        Self {
            enis: Vec::new(),
            doubted: Vec::new(),
            asked_ms: None,
            missing: Vec::new(),
            occupied: Vec::new(),
            orphans: Vec::new(),
        }
    }
}

impl<K: 'static> Empty for Held<K> {
    const EMPTY: &'static Self = &Self::new();

    fn empty() -> Self {
        Self::new()
    }
}
