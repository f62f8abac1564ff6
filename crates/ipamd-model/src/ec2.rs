//! EC2 and IMDS as the agent sees them: operations, error codes, the instance's own state, and subnets.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::random::Random;
pub use ipamd_core::block::Block;
pub use ipamd_core::id::{EniId, SubnetId};
pub use ipamd_core::input::{EniKind, SubnetRole};

mod cloud;
mod imds;
pub mod vpc;

pub use cloud::{Cloud, SubnetView};
pub use imds::ImdsRead;
pub use vpc::{SubnetSpec, Vpc};

/// An id as EC2 gives; its own begin with a zero these days.
pub(crate) fn drawn_id(random: &mut Random) -> EniId {
    EniId::from_bits(u128::from(random.bits()))
}

/// The tags that decide whether the agent manages an ENI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManagedBy {
    /// Tagged with this instance's id.
    #[default]
    Own,
    /// No tag that says anything.
    Untagged,
    /// Tagged with another instance's id, not with ours.
    Other,
    /// `no_manage=true`.
    NoManage,
    /// `no_manage` with any other value.
    Manage,
}

/// An ENI attached to the instance, as EC2 and IMDS see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedEni {
    /// Its id.
    pub id: EniId,
    /// Device index; 0 is the primary.
    pub device: u8,
    /// Kind.
    pub kind: EniKind,
    /// Tags.
    pub managed_by: ManagedBy,
    /// Carries every tag the agent wants; if not, it adds them at init.
    pub tagged: bool,
    /// Subnet.
    pub subnet: SubnetId,
    /// Primary address.
    pub primary: Ipv4Addr,
    /// Secondary addresses, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// /28 bases, ascending.
    pub prefixes: Vec<Ipv4Addr>,
    /// /80 bases.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
}

/// EC2's view of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    /// Attached ENIs by device index.
    pub enis: Vec<AttachedEni>,
}

impl AttachedEni {
    /// An ordinary ENI of this instance without secondary addresses, not yet tagged.
    pub fn new(id: EniId, device: u8, subnet: SubnetId, primary: Ipv4Addr) -> Self {
        Self {
            id,
            device,
            kind: EniKind::Interface,
            managed_by: ManagedBy::Own,
            tagged: false,
            subnet,
            primary,
            addresses: Vec::new(),
            prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
        }
    }

    /// Everything but the primary address, ascending by kind.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let addresses = self.addresses.iter().copied().map(Block::Address);
        let prefixes = self.prefixes.iter().copied().map(Block::Prefix);
        addresses.chain(prefixes).chain(self.ipv6_prefixes.iter().copied().map(Block::Ipv6Prefix))
    }

    /// Slots in use.
    pub fn used_slots(&self) -> usize {
        self.addresses.len() + self.prefixes.len()
    }

    pub(crate) fn holds(&self, block: Block) -> bool {
        match block {
            Block::Address(address) => self.addresses.binary_search(&address).is_ok(),
            Block::Prefix(base) => self.prefixes.binary_search(&base).is_ok(),
            Block::Ipv6Prefix(base) => self.ipv6_prefixes.contains(&base),
        }
    }

    pub(crate) fn add(&mut self, block: Block) {
        match block {
            Block::Address(address) => insert(&mut self.addresses, address),
            Block::Prefix(base) => insert(&mut self.prefixes, base),
            Block::Ipv6Prefix(base) => insert(&mut self.ipv6_prefixes, base),
        }
    }

    pub(crate) fn add_all(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.add(*block);
        }
    }

    /// Whether the block was there.
    pub(crate) fn remove(&mut self, block: Block) -> bool {
        let held = self.holds(block);
        match block {
            Block::Address(address) => self.addresses.retain(|kept| *kept != address),
            Block::Prefix(base) => self.prefixes.retain(|kept| *kept != base),
            Block::Ipv6Prefix(base) => self.ipv6_prefixes.retain(|kept| *kept != base),
        }
        held
    }

    /// Gives everything, the primary address included, back to the subnet.
    pub(crate) fn give_back(&self, cloud: &mut dyn Cloud) {
        for block in self.blocks().chain([Block::Address(self.primary)]) {
            cloud.give_back(self.subnet, block);
        }
    }
}

impl Instance {
    /// The attached ENI of this id.
    pub fn eni(&self, id: EniId) -> Option<&AttachedEni> {
        self.enis.iter().find(|eni| eni.id == id)
    }

    pub(crate) fn eni_mut(&mut self, id: EniId) -> Option<&mut AttachedEni> {
        self.enis.iter_mut().find(|eni| eni.id == id)
    }

    /// Lowest device index not in use.
    pub(crate) fn free_device(&self) -> u8 {
        (0..=u8::MAX).find(|index| self.enis.iter().all(|eni| eni.device != *index)).unwrap_or(u8::MAX)
    }

    pub(crate) fn attach(&mut self, eni: AttachedEni) {
        self.enis.push(eni);
        self.enis.sort_by_key(|eni| eni.device);
    }

    pub(crate) fn detach(&mut self, id: EniId) -> Option<AttachedEni> {
        let index = self.enis.iter().position(|eni| eni.id == id)?;
        Some(self.enis.remove(index))
    }
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}
