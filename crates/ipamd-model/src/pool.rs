//! The datastore: ENIs, their addresses and who uses them.

/// Which free address a pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Fill ENIs and CIDRs in order, as the documentation's tables assume.
    FirstFit,
    /// Seeded random order, as Go's maps give.
    #[default]
    Random,
}

/// The pool of one node.
#[derive(Debug)]
pub struct Pool {}
