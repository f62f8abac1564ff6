//! Annotations of pods that are still to be written.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::input::PodName;
use crate::output::KubeCall;

/// An annotation to write or clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Its pod ...
    pub(crate) pod: PodName,
    /// ... by its UID, where that is known.
    pub(crate) uid: Box<str>,
    /// The address to write, or to clear if `release` says so.
    pub(crate) address: IpAddr,
    /// It is to be cleared.
    pub(crate) release: bool,
    /// How often it failed.
    pub(crate) failures: u8,
}

/// Annotations that are still to be written.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The first before the others.
    pub(crate) waiting: VecDeque<Note>,
    /// The one that is being written.
    pub(crate) now: Option<Note>,
    /// One failed, and the next is written after a pause.
    pub(crate) rest: bool,
    /// How many were given up.
    pub(crate) lost: u64,
}

impl Notes {
    /// How many are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.now.is_some())
    }
}

impl Note {
    /// The call that writes it.
    pub(crate) fn call(&self) -> KubeCall {
        let (set, release) = if self.release { (None, Some(self.address)) } else { (Some(self.address), None) };
        KubeCall::AnnotatePod { pod: self.pod.clone(), uid: self.uid.clone(), set, release }
    }
}
