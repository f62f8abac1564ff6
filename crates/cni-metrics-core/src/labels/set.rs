//! Label sets, the rests beside them, and the bounds on their number.

use std::cmp::Ordering;

use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::{Ec2Code, GROWTH_LABELS, is_growth_api};

/// How many bytes of a label's value are kept. The longest that ipamd writes, an error code of EC2, has some 50.
pub const MAX_VALUE_BYTES: usize = 64;

/// How many label sets of `aws_api_error_count`, and how many of all other families together, have series of their own at a
/// node, from the start of its agent's process to its end. Label sets that come later count under [`Rest::Other`].
pub const MAX_NODE_SETS: usize = 64;

/// How many label sets a page's sample holds of APIs that are no growth APIs, and how many of all other families. What is
/// beyond is added up by family. More than a node's series ([`MAX_NODE_SETS`]), so that those are found on the page.
/// Growth APIs have room of their own ([`MAX_GROWTH_SETS`]).
pub const MAX_PAGE_SETS: usize = 512;

/// Error codes per growth API that a page's sample has room for. EC2 answers each operation with some 30 codes.
const CODES_PER_API: usize = 128;

/// How many label sets of growth APIs a page's sample, and so a node, has room for beside those of [`MAX_NODE_SETS`]: one for
/// each label that names such an API, with `CODES_PER_API` codes. The node's limit is the page's limit, so each label set
/// that a page shows keeps its own series.
pub const MAX_GROWTH_SETS: usize = GROWTH_LABELS * CODES_PER_API;

/// How many label sets of growth APIs each node has room for whatever the other nodes have. What a node has beyond counts
/// towards [`MAX_SHARED_SETS`].
pub const RESERVED_GROWTH_SETS: usize = 256;

/// How many label sets beyond [`RESERVED_GROWTH_SETS`] all nodes together have room for, 1 MiB: nodes whose pages make up
/// error codes cannot use up the memory.
pub const MAX_SHARED_SETS: usize = 1 << 16;

/// The bounds on a node's label sets: each has its own room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// `aws_api_error_count` of APIs by which a node gets more addresses.
    Growth,
    /// `aws_api_error_count` of all other APIs.
    Api,
    /// All other families.
    Others,
}

impl Room {
    pub(crate) const ALL: [Self; 3] = [Self::Growth, Self::Api, Self::Others];

    /// How many label sets of it a node may have.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Growth => MAX_GROWTH_SETS,
            Self::Api | Self::Others => MAX_NODE_SETS,
        }
    }

    /// How many of these do not depend on what other nodes have.
    pub(crate) const fn reserved(self) -> usize {
        match self {
            Self::Growth => RESERVED_GROWTH_SETS,
            Self::Api | Self::Others => MAX_NODE_SETS,
        }
    }

    /// How many label sets of it a page's sample may have.
    pub(super) const fn page_limit(self) -> usize {
        match self {
            Self::Growth => MAX_GROWTH_SETS,
            Self::Api | Self::Others => MAX_PAGE_SETS,
        }
    }

    /// Its bit in a set of rooms.
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A label set before it has a name of its own: its family, and the values of the labels that are kept. The second is empty
/// where the family keeps one. In the order in which pages have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LabelKey<'a> {
    pub(crate) family: LabelledFamily,
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
}

impl LabelKey<'_> {
    pub(crate) fn room(self) -> Room {
        match self.family {
            LabelledFamily::AwsApiErrorCount if is_growth_api(self.first) => Room::Growth,
            LabelledFamily::AwsApiErrorCount => Room::Api,
            _ => Room::Others,
        }
    }

    /// True for a growth API with a code of the table in [`cni_types::ec2`]. There are few, so these are bounded by nothing
    /// else.
    pub(super) fn is_listed_growth_error(self) -> bool {
        self.room() == Room::Growth && Ec2Code::ANSWERED.iter().any(|code| code.name().as_bytes() == self.second)
    }
}

/// What of a counter has no label set of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rest {
    /// Label sets beyond the bounds.
    Other,
    /// What is known of the family and not of its label sets: an increase that spans a restart of the helper, the events of
    /// lines that could not be read, of series without the label, and parts of an event.
    Unattributed,
}

impl Rest {
    /// The stable name: JSON key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Unattributed => "unattributed",
        }
    }
}

/// A label set, or the rest, of a family. One of each is shared by all nodes.
#[derive(Debug, Clone)]
pub struct LabelSet {
    pub(super) family: LabelledFamily,
    pub(super) rest: Option<Rest>,
    pub(super) first: Box<str>,
    pub(super) second: Box<str>,
    /// Its place in [`super::LabelNames`]; says nothing outside of it.
    pub(super) slot: u32,
}

impl LabelSet {
    /// The family.
    pub fn family(&self) -> LabelledFamily {
        self.family
    }

    /// What it stands for where it is no label set.
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// Names and values of the labels; none for the rest. What would act on a terminal is escaped, and a value longer than
    /// [`MAX_VALUE_BYTES`] ends with an ellipsis.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = if self.rest.is_none() { self.family.label_names() } else { &[] };
        names.iter().copied().zip([&*self.first, &*self.second])
    }

    /// The value of one of the labels that the family keeps.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// True for errors of an API by which a node gets more addresses.
    pub fn is_growth_error(&self) -> bool {
        self.rest.is_none() && self.room() == Room::Growth
    }

    fn key(&self) -> LabelKey<'_> {
        LabelKey { family: self.family, first: self.first.as_bytes(), second: self.second.as_bytes() }
    }

    pub(crate) fn room(&self) -> Room {
        self.key().room()
    }

    /// True if it is this label set of a page.
    #[inline]
    pub(crate) fn is(&self, key: LabelKey<'_>) -> bool {
        self.family == key.family
            && self.first.as_bytes() == key.first
            && self.second.as_bytes() == key.second
            && self.rest.is_none()
    }

    /// How it is ordered to a label set of a page: the rest comes after all of them.
    #[inline]
    pub(crate) fn order(&self, key: LabelKey<'_>) -> Ordering {
        if self.rest.is_some() { Ordering::Greater } else { self.key().cmp(&key) }
    }

    /// Its place in [`super::LabelNames`].
    pub(crate) fn slot(&self) -> usize {
        self.slot as usize
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for LabelSet {}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LabelSet {
    /// By family, then label sets by their values before the rest.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.family, self.rest, self.key()).cmp(&(other.family, other.rest, other.key()))
    }
}
