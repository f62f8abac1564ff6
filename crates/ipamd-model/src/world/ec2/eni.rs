//! An ENI as EC2 keeps it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipamd_core::id::{AttachmentId, EniId, GroupId, InstanceId, SubnetId};
use ipamd_core::input::{Ec2Attachment, Ec2Eni, EniKind, Mac};
use ipamd_core::small_map::SmallMap;

use crate::world::subnet::PREFIX_SIZE;

/// An attachment, from the call that makes it to the end of its detaching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The instance.
    pub instance: InstanceId,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// The state `attached` is reached at this time, milliseconds.
    pub attached_ms: i64,
    /// The ENI is available again at this time, where it is being detached.
    pub detached_ms: Option<i64>,
    /// It goes with the instance.
    pub delete_on_termination: bool,
}

/// What an ENI is doing. It is in exactly one of these states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EniState {
    /// Not attached.
    Available,
    /// Being attached.
    Attaching,
    /// Attached.
    Attached,
    /// Being detached.
    Detaching,
}

/// An ENI that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eni {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Kind.
    pub kind: EniKind,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its primary address; an `efa-only` one has none.
    pub primary: Option<Ipv4Addr>,
    /// Its other addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
    /// Bases of its /80 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
    /// Its attachment.
    pub attachment: Option<Attachment>,
    /// Its tags.
    pub tags: SmallMap<Arc<str>, Arc<str>>,
    /// Its description.
    pub description: Box<str>,
    /// Its security groups.
    pub groups: Arc<[GroupId]>,
    /// When it was created, milliseconds.
    pub created_ms: i64,
}

impl Eni {
    /// What it is doing at this time.
    pub fn state(&self, now_ms: i64) -> EniState {
        match &self.attachment {
            None => EniState::Available,
            Some(Attachment { detached_ms: Some(at_ms), .. }) if *at_ms <= now_ms => EniState::Available,
            Some(Attachment { detached_ms: Some(_), .. }) => EniState::Detaching,
            Some(Attachment { attached_ms, .. }) if *attached_ms > now_ms => EniState::Attaching,
            Some(_) => EniState::Attached,
        }
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| ***known == *key).map(|(_, value)| &**value)
    }

    /// It has an attachment whose detaching has ended.
    pub fn has_left(&self, now_ms: i64) -> bool {
        self.attachment.is_some() && self.state(now_ms) == EniState::Available
    }

    /// Every IPv4 address that it holds, those of prefixes one by one.
    pub fn every_ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        let of_prefixes = self.ipv4_prefixes.iter().flat_map(|base| {
            let base = u32::from(*base);
            (base..base.saturating_add(PREFIX_SIZE)).map(Ipv4Addr::from)
        });
        self.primary.iter().chain(&self.ipv4).copied().chain(of_prefixes)
    }

    /// Addresses and prefixes beside the primary address: each takes a slot.
    pub fn slots_used(&self) -> usize {
        self.ipv4.len() + self.ipv4_prefixes.len()
    }

    /// Its attachment to this instance, if it is or becomes attached to it.
    pub fn attached_to(&self, instance: InstanceId) -> Option<&Attachment> {
        self.attachment.as_ref().filter(|attachment| attachment.instance == instance)
    }

    /// What `DescribeNetworkInterfaces` says about it.
    pub fn described(&self, now_ms: i64) -> Ec2Eni {
        let state = self.state(now_ms);
        let attachment = self.attachment.as_ref().filter(|_| state != EniState::Available);
        Ec2Eni {
            id: self.id,
            mac: self.mac,
            kind: self.kind,
            subnet: self.subnet,
            vpc: None,
            zone: None,
            primary: self.primary,
            ipv4: self.ipv4.clone(),
            ipv4_prefixes: self.ipv4_prefixes.clone(),
            ipv6_prefixes: self.ipv6_prefixes.clone(),
            attachment: attachment.map(|attachment| Ec2Attachment {
                id: attachment.id,
                device: attachment.device,
                card: attachment.card,
                attached: state == EniState::Attached,
                delete_on_termination: attachment.delete_on_termination,
            }),
            tags: self.tags.iter().map(|(key, value)| ((&**key).into(), (&**value).into())).collect(),
            description: self.description.clone(),
            groups: self.groups.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_takes_its_time_in_both_directions() {
        let instance = InstanceId::from_bits(1);
        let mut eni = Eni {
            id: EniId::from_bits(1),
            mac: Mac::default(),
            kind: EniKind::Interface,
            subnet: SubnetId::from_bits(1),
            primary: None,
            ipv4: Vec::new(),
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            attachment: Some(Attachment {
                id: AttachmentId::from_bits(1),
                instance,
                device: 1,
                card: 0,
                attached_ms: 100,
                detached_ms: None,
                delete_on_termination: false,
            }),
            tags: SmallMap::new(),
            description: "".into(),
            groups: Arc::default(),
            created_ms: 0,
        };
        assert_eq!([99, 100].map(|now_ms| eni.state(now_ms)), [EniState::Attaching, EniState::Attached]);
        assert_eq!([99, 100].map(|now_ms| eni.described(now_ms).attachment.unwrap().attached), [false, true]);
        eni.attachment.as_mut().unwrap().detached_ms = Some(500);
        assert_eq!([499, 500].map(|now_ms| eni.state(now_ms)), [EniState::Detaching, EniState::Available]);
        assert!(eni.described(500).attachment.is_none() && eni.attached_to(instance).is_some());
        assert_eq!([499, 500].map(|now_ms| eni.has_left(now_ms)), [false, true]);
        eni.attachment = None;
        assert!(!eni.has_left(500), "it was not attached");
    }
}
