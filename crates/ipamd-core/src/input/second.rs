//! The second file beside the checkpoint: what an agent knew of its node when it was written. A start that may trust it serves
//! before the metadata service and EC2 have answered.

use std::net::{IpAddr, Ipv4Addr};

use super::ec2::Ec2Subnet;
use super::imds::Identity;
use crate::id::{EniId, GroupId, Mac, SubnetId};

/// The version that this agent writes, and the only one that it reads.
pub const SECOND_FILE_VERSION: u32 = 1;

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFile {
    /// [`SECOND_FILE_VERSION`] of the agent that wrote it.
    pub version: u32,
    /// The boot of the host in which it was written.
    pub boot_id: Box<str>,
    /// Who the instance was.
    pub identity: Identity,
    /// CIDRs of the VPC, as text.
    pub vpc_cidrs: Vec<Box<str>>,
    /// Security groups of the primary ENI.
    pub groups: Vec<GroupId>,
    /// ENIs that the agent worked with.
    pub enis: Vec<KnownEni>,
    /// Changes of EC2 that had begun.
    pub intents: Vec<Intent>,
    /// Subnets of the VPC and zone ...
    pub subnets: Vec<Ec2Subnet>,
    /// ... and when they were read, nanoseconds since 1970.
    pub subnets_ns: i64,
    /// Addresses that pods had left, and when, nanoseconds since 1970.
    pub left: Vec<(IpAddr, i64)>,
}

/// An ENI of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEni {
    /// Its id.
    pub id: EniId,
    /// Its MAC: a link of the host has it, or the file is not trusted.
    pub mac: Mac,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Pods were given its addresses.
    pub serves: bool,
    /// Its primary address.
    pub primary: Option<Ipv4Addr>,
    /// Its other addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
}

/// A change of EC2, written down before it begins: a later life looks what came of it, and goes on or undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// An ENI is being created with this token.
    Create {
        /// `ClientToken`.
        token: u64,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// This ENI was created and is to be attached.
    Attach {
        /// Which.
        eni: EniId,
    },
    /// This ENI is being detached and deleted.
    Free {
        /// Which.
        eni: EniId,
    },
}

/// Why a second file is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecondFileTrouble {
    /// It cannot be read, or contradicts itself.
    #[error("is damaged")]
    Damaged,
    /// Another version wrote it.
    #[error("is of another version than {SECOND_FILE_VERSION}")]
    Version,
    /// It was written in another boot of the host, or for links that are not there.
    #[error("was written in another boot or for other links")]
    Foreign,
}

impl SecondFile {
    /// Whether it can be this host's, as far as it says itself.
    pub(crate) fn judge(&self, boot_id: &str) -> Result<(), SecondFileTrouble> {
        if self.version != SECOND_FILE_VERSION {
            return Err(SecondFileTrouble::Version);
        }
        let twice = |at: usize, eni: &KnownEni| {
            self.enis.iter().skip(at + 1).any(|later| later.id == eni.id || later.mac == eni.mac)
        };
        let has_primary = self.enis.iter().any(|eni| eni.id == self.identity.primary_eni);
        if !has_primary || self.enis.iter().enumerate().any(|(at, eni)| twice(at, eni)) {
            return Err(SecondFileTrouble::Damaged);
        }
        if self.boot_id.is_empty() || *self.boot_id != *boot_id {
            return Err(SecondFileTrouble::Foreign);
        }
        Ok(())
    }
}
