//! Where a process keeps its open findings for the next one: in the lease with an election, else in a file, or nowhere.

mod file;

use std::sync::Arc;

use cni_runtime::gate::Leadership;

pub use file::FindingsFile;

/// Where open findings are kept.
#[derive(Debug, Clone)]
pub enum Keeper {
    /// In an annotation of the lease.
    Lease(Leadership),
    /// In a file.
    File(Arc<FindingsFile>),
    /// Nowhere: the next process knows nothing of them.
    Nowhere,
}

impl Keeper {
    /// The place, as a person finds it.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Lease(_) => "the lease",
            Self::File(_) => "SPOOL_DIR",
            Self::Nowhere => "nowhere",
        }
    }

    /// What the process before kept. It is given again as long as this one keeps nothing.
    pub fn earlier(&self) -> Option<Arc<str>> {
        match self {
            Self::Lease(leadership) => leadership.left(),
            Self::File(file) => file.earlier(),
            Self::Nowhere => None,
        }
    }

    /// Keeps this text in place of the one before. Never waits.
    pub fn keep(&self, text: &Arc<str>) {
        match self {
            Self::Lease(leadership) => leadership.keep(Arc::clone(text)),
            Self::File(file) => file.keep(Arc::clone(text)),
            Self::Nowhere => {}
        }
    }
}
