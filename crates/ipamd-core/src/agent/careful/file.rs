//! What an agent remembers of the second file and of its writes.

use std::net::IpAddr;

use crate::id::{EniId, Mac};
use crate::input::{Intent, SecondFile};

/// The second file, as far as the agent has a part in it.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// The boot of the host.
    pub(crate) boot_id: Box<str>,
    /// What was read, until it is used.
    pub(crate) read: Option<Box<SecondFile>>,
    /// The start trusted it.
    pub(crate) trusted: bool,
    /// It lacks something.
    pub(crate) changed: bool,
    /// What its lane does.
    pub(crate) state: FileState,
    /// Changes of EC2 that have begun.
    pub(crate) intents: Vec<Intent>,
    /// MAC and network card of each ENI.
    pub(crate) macs: Vec<(EniId, Mac, u8)>,
    /// Addresses that rested, until the checkpoint is taken over, and since when, nanoseconds since 1970.
    pub(crate) left: Vec<(IpAddr, i64)>,
    /// ENIs of which the file says that they serve pods.
    pub(crate) serving: Vec<EniId>,
}

/// What the lane of the second file does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// It waits for a change.
    #[default]
    Idle,
    /// The file is being written.
    Writes,
    /// A write failed, and the next waits for its time.
    Rests,
}
