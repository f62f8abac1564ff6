//! The attached ENIs, as the metadata service lists them and EC2 describes them.

use crate::chooser::{Chooser, Purpose};
use crate::id::{EniId, VpcId};
use crate::input::{Ec2Eni, EniKind, ImdsEni};

/// A tag: its key and its value.
pub(crate) type Tag = (Box<str>, Box<str>);

/// What EC2 says about one of them.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// Its id.
    pub(crate) id: EniId,
    /// Kind.
    pub(crate) kind: EniKind,
    /// The network card to which it is attached.
    pub(crate) card: Option<u8>,
    /// Its tags.
    pub(crate) tags: Vec<Tag>,
    /// Its description.
    pub(crate) description: Box<str>,
    /// Its VPC and its zone, where EC2 says.
    pub(crate) vpc: Option<VpcId>,
    pub(crate) zone: Option<Box<str>>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached {
    /// As listed, without those that EC2 does not know.
    pub(crate) enis: Vec<ImdsEni>,
    /// As described; none where EC2 was not asked.
    pub(crate) described: Vec<Described>,
    /// EC2 was asked: the original then keeps no order.
    any_order: bool,
}

impl Attached {
    /// Puts a listing and a description together.
    pub(crate) fn new(enis: Vec<ImdsEni>, described: Vec<Ec2Eni>) -> Self {
        let described = described.into_iter().map(|eni| Described {
            id: eni.id,
            kind: eni.kind,
            card: eni.attachment.map(|attachment| attachment.card),
            tags: eni.tags,
            description: eni.description,
            vpc: eni.vpc,
            zone: eni.zone,
        });
        Self { enis, described: described.collect(), any_order: true }
    }

    /// A listing alone.
    pub(crate) fn not_described(enis: Vec<ImdsEni>) -> Self {
        Self { enis, ..Self::default() }
    }

    /// Takes the ENI that is worked on next out of those that are left.
    pub(crate) fn take_next(&self, left: &mut Vec<ImdsEni>, chooser: &mut dyn Chooser) -> Option<ImdsEni> {
        if left.is_empty() {
            return None;
        }
        let index = if self.any_order && left.len() > 1 {
            let candidates: Vec<_> = left.iter().map(|eni| eni.id).collect();
            chooser.eni(Purpose::Next, &candidates)
        } else {
            0
        };
        Some(left.remove(if index < left.len() { index } else { 0 }))
    }

    fn of(&self, eni: EniId) -> Option<&Described> {
        self.described.iter().find(|described| described.id == eni)
    }

    /// As what the store takes an ENI: as an ordinary one where EC2 did not say, and also if it is EFA-only, which the start
    /// has left out.
    pub(crate) fn kind(&self, eni: EniId) -> EniKind {
        match self.of(eni).map(|described| described.kind) {
            Some(kind @ (EniKind::Trunk | EniKind::Efa)) => kind,
            _ => EniKind::Interface,
        }
    }

    /// Tags of an ENI.
    pub(crate) fn tags(&self, eni: EniId) -> &[Tag] {
        self.of(eni).map_or(&[], |described| &described.tags)
    }
}
