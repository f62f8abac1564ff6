//! Inputs that contradict themselves or what is known.

use std::net::Ipv4Addr;

use super::second::SecondFileTrouble;
use crate::id::{BadId, EniId};

/// An input that contradicts itself or what is known: it is counted under this name, and otherwise ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// No effect of this number waits for an answer.
    #[error("answer to operation {0}, which is unknown or was answered before")]
    UnknownOperation(u64),
    /// The effect was sent by an earlier life of the process: its answer completes nothing.
    #[error("answer to operation {0} of an earlier life of the process")]
    EarlierLife(u64),
    /// The answer is of another kind than the question.
    #[error("answer to operation {0} is of another kind than the operation")]
    WrongKind(u64),
    /// A second start in one life.
    #[error("the core was started twice")]
    SecondBoot,
    /// Something came before the start.
    #[error("input before the start of the core")]
    BeforeBoot,
    /// Two RPCs of one number at a time: the second is answered, but not done.
    #[error("RPC {0} was begun twice")]
    DuplicateRpc(u64),
    /// More RPCs wait than a node can have pods: the last is answered, but not done.
    #[error("RPC {0} came while too many others wait")]
    TooManyRpcs(u64),
    /// The instance type is in no table, and EC2 was not asked.
    #[error("no limits are known for the instance type {0}")]
    UnknownInstanceType(Box<str>),
    /// The second file is of no use: the start waits for the metadata service.
    #[error("the second file {0}; the start waits for the metadata service")]
    SecondFile(SecondFileTrouble),
    /// A text is no id.
    #[error(transparent)]
    Id(#[from] BadId),
    /// Two ENIs hold the same address.
    #[error("{address} is an address of {first} and of {second}")]
    DoubleAddress {
        /// Which.
        address: Ipv4Addr,
        /// The ENI that had it.
        first: EniId,
        /// The ENI that is said to have it.
        second: EniId,
    },
    /// More ENIs than an instance can have: those from this one on are ignored.
    #[error("{found} attached ENIs are listed, {limit} are possible; {eni} and those after it are ignored")]
    TooManyEnis {
        /// The first beyond the limit.
        eni: EniId,
        /// How many.
        found: usize,
        /// How many are possible.
        limit: usize,
    },
    /// More addresses than the instance type can have on an ENI.
    #[error("{eni} is said to have {found} addresses and prefixes, {limit} are possible")]
    TooMany {
        /// Which.
        eni: EniId,
        /// How many.
        found: usize,
        /// How many are possible.
        limit: usize,
    },
    /// An address or prefix that no CIDR of the VPC has.
    #[error("{address} of {eni} is in no CIDR of the VPC")]
    OutsideVpc {
        /// The address, or the prefix's first.
        address: Ipv4Addr,
        /// The ENI that is said to have it.
        eni: EniId,
    },
    /// A prefix whose base is not a multiple of its size.
    #[error("{0} is not the base of a /28 prefix")]
    PrefixBase(Ipv4Addr),
}

impl BadInput {
    /// The name under which it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownOperation(_) => "unknown_operation",
            Self::EarlierLife(_) => "earlier_life",
            Self::WrongKind(_) => "wrong_kind",
            Self::SecondBoot => "second_boot",
            Self::BeforeBoot => "before_boot",
            Self::DuplicateRpc(_) => "duplicate_rpc",
            Self::TooManyRpcs(_) => "too_many_rpcs",
            Self::UnknownInstanceType(_) => "unknown_instance_type",
            Self::SecondFile(SecondFileTrouble::Damaged) => "second_file_damaged",
            Self::SecondFile(SecondFileTrouble::Version) => "second_file_version",
            Self::SecondFile(SecondFileTrouble::Foreign) => "second_file_foreign",
            Self::Id(_) => "bad_id",
            Self::DoubleAddress { .. } => "double_address",
            Self::TooManyEnis { .. } => "too_many_enis",
            Self::TooMany { .. } => "too_many_addresses",
            Self::OutsideVpc { .. } => "outside_vpc",
            Self::PrefixBase(_) => "prefix_base",
        }
    }
}
