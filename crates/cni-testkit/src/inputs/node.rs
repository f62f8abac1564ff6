//! A small node that answers as it should, so that any bytes get beyond the start.

use std::net::Ipv4Addr;

use cni_types::limits::InstanceLimits;
use ipamd_core::id::{AttachmentId, EniId, Epoch, GroupId, InstanceId, OpId, SubnetId, VpcId};
use ipamd_core::input::{
    Answer, CheckpointEntry, Ec2Attachment, Ec2Eni, Ec2Reply, Ec2Subnet, EniKind, HostReply, Identity, ImdsEni,
    ImdsReply, Input, KubeReply, Mac, NodeSeen, StoreError, StoreReply, SubnetRole,
};
use ipamd_core::output::{Ec2Call, Effect, HostCall, ImdsRead, KubeCall, StoreCall, Want};

const SUBNET: SubnetId = SubnetId::from_bits(5);

/// What EC2, the metadata service, the host and the disk of one node hold.
#[derive(Debug)]
pub(super) struct AnsweringNode {
    limits: InstanceLimits,
    enis: Vec<Ec2Eni>,
    /// ENIs and addresses that were made.
    made: u32,
    file: Vec<CheckpointEntry<u64>>,
}

impl AnsweringNode {
    pub(super) fn new(limits: InstanceLimits) -> Self {
        let mut node = Self { limits, enis: Vec::new(), made: 0, file: Vec::new() };
        let mut primary = node.make_eni(EniId::from_bits(1));
        primary.attachment = Some(attachment(0));
        node.enis.push(primary);
        node
    }

    fn address(&mut self) -> Ipv4Addr {
        self.made = self.made.wrapping_add(1);
        Ipv4Addr::from(0x0a00_0000 | (self.made & 0xffff))
    }

    /// A prefix lies above every address.
    fn prefix(&mut self) -> Ipv4Addr {
        self.made = self.made.wrapping_add(1);
        Ipv4Addr::from(0x0a10_0000 | ((self.made << 4) & 0xf_ffff))
    }

    fn make_eni(&mut self, id: EniId) -> Ec2Eni {
        Ec2Eni {
            id,
            mac: Mac([2, 1, 0, 0, 0, u8::try_from(id.bits() & 0xff).unwrap_or(0)]),
            kind: EniKind::Interface,
            subnet: SUBNET,
            vpc: None,
            zone: None,
            primary: Some(self.address()),
            ipv4: Vec::new(),
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            attachment: None,
            tags: vec![("node.k8s.amazonaws.com/instance_id".into(), InstanceId::from_bits(0x1a).to_string().into())],
            description: "aws-K8S-i-0000000000000001a".into(),
            groups: vec![GroupId::from_bits(9)],
        }
    }

    /// Adds what is wanted to an ENI, and says what it was.
    fn assign(&mut self, eni: EniId, want: Want) -> Ec2Reply {
        let (mut ipv4, mut ipv4_prefixes, mut ipv6_prefixes) = (Vec::new(), Vec::new(), Vec::new());
        let full = |known: &Ec2Eni| known.id == eni && known.ipv4.len() + known.ipv4_prefixes.len() > 300;
        if self.enis.iter().any(full) {
            return Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes };
        }
        match want {
            Want::Ipv4(count) => ipv4.extend((0..count.min(100)).map(|_| self.address())),
            Want::Ipv4Prefixes(count) => ipv4_prefixes.extend((0..count.min(100)).map(|_| self.prefix())),
            Want::Ipv6Prefixes(count) => {
                let prefix = |low: u32| std::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(low) << 48);
                ipv6_prefixes.extend((0..count.min(3)).map(prefix));
            }
        }
        if let Some(known) = self.enis.iter_mut().find(|known| known.id == eni) {
            known.ipv4.extend(&ipv4);
            known.ipv4_prefixes.extend(&ipv4_prefixes);
            known.ipv6_prefixes.extend(&ipv6_prefixes);
        }
        Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes }
    }

    fn create(&mut self, want: Want) -> Ec2Reply {
        self.made = self.made.wrapping_add(1);
        let id = EniId::from_bits(0x1000 + u128::from(self.made));
        let eni = self.make_eni(id);
        self.enis.push(eni.clone());
        self.assign(id, want);
        Ec2Reply::Created(Box::new(self.enis.last().cloned().unwrap_or(eni)))
    }

    fn ec2(&mut self, call: &Ec2Call) -> Ec2Reply {
        match call {
            Ec2Call::DescribeSubnets => {
                let role = SubnetRole::Untagged;
                Ec2Reply::Subnets(vec![Ec2Subnet { id: SUBNET, free: 1_000, role, cluster_fits: true }])
            }
            Ec2Call::DescribeEnis { ids } => {
                let found = self.enis.iter().filter(|eni| ids.contains(&eni.id)).cloned().collect();
                Ec2Reply::Enis { found, next: None }
            }
            Ec2Call::DescribeLeaked { .. } => Ec2Reply::Enis { found: Vec::new(), next: None },
            Ec2Call::DescribeInstance => {
                let attached = self.enis.iter().filter_map(|eni| eni.attachment);
                Ec2Reply::Devices(attached.map(|attachment| (attachment.card, attachment.device)).collect())
            }
            Ec2Call::DescribeInstanceType => Ec2Reply::Limits(self.limits),
            Ec2Call::CreateEni { want, .. } => self.create(*want),
            Ec2Call::Attach { eni, device, .. } => {
                let attached = attachment(*device);
                if let Some(known) = self.enis.iter_mut().find(|known| known.id == *eni) {
                    known.attachment = Some(attached);
                }
                Ec2Reply::Attached(attached.id)
            }
            Ec2Call::Assign { eni, want } => self.assign(*eni, *want),
            Ec2Call::Unassign { eni, ipv4, ipv4_prefixes } => {
                if let Some(known) = self.enis.iter_mut().find(|known| known.id == *eni) {
                    known.ipv4.retain(|address| !ipv4.contains(address));
                    known.ipv4_prefixes.retain(|base| !ipv4_prefixes.contains(base));
                }
                Ec2Reply::Done
            }
            Ec2Call::Detach { eni, .. } | Ec2Call::Delete { eni } => {
                self.enis.retain(|known| known.id != *eni);
                Ec2Reply::Done
            }
            _ => Ec2Reply::Done,
        }
    }

    fn imds(&self, read: ImdsRead) -> ImdsReply {
        match read {
            ImdsRead::Identity => ImdsReply::Identity(Box::new(Identity {
                region: "eu-west-1".into(),
                zone: "eu-west-1a".into(),
                instance: InstanceId::from_bits(0x1a),
                instance_type: "m5.large".into(),
                limits: Some(self.limits),
                vpc: VpcId::from_bits(0x77),
                subnet: SUBNET,
                primary_eni: EniId::from_bits(1),
                primary_mac: Mac([2, 1, 0, 0, 0, 1]),
                ipv4: Some(Ipv4Addr::new(10, 0, 0, 1)),
                ipv6: None,
            })),
            ImdsRead::Enis => ImdsReply::Enis(self.enis.iter().filter_map(listed).collect()),
            ImdsRead::Groups => ImdsReply::Groups(vec![GroupId::from_bits(9)]),
            ImdsRead::VpcCidrs => ImdsReply::VpcCidrs(vec!["10.0.0.0/8".into()]),
        }
    }

    /// What comes of an effect.
    pub(super) fn answer(
        &mut self,
        op: OpId,
        epoch: Epoch,
        effect: &Effect,
        file: impl FnOnce() -> Vec<CheckpointEntry<u64>>,
    ) -> Input<u64> {
        let took_ms = 5;
        match effect {
            Effect::Ec2(call) => Input::Ec2(Answer { op, epoch, took_ms, result: Ok(self.ec2(call)) }),
            Effect::Imds(read) => Input::Imds(Answer { op, epoch, took_ms, result: Ok(self.imds(*read)) }),
            Effect::Kube(call) => Input::Kube(Answer { op, epoch, took_ms, result: Ok(kube(call)) }),
            Effect::Host(call) => Input::Host(Answer { op, epoch, took_ms, result: Ok(host(call)) }),
            Effect::Store(call) => {
                let result = match call {
                    StoreCall::ReadCheckpoint => Ok(StoreReply::Checkpoint(self.file.clone())),
                    StoreCall::ReadSecond => Err(StoreError::Missing),
                    StoreCall::WriteSecond { .. } => Ok(StoreReply::Written),
                    StoreCall::WriteCheckpoint { .. } => {
                        self.file = file();
                        Ok(StoreReply::Written)
                    }
                };
                Input::Store(Answer { op, epoch, took_ms, result })
            }
        }
    }
}

fn attachment(device: u8) -> Ec2Attachment {
    let id = AttachmentId::from_bits(device.into());
    Ec2Attachment { id, device, card: 0, attached: true, delete_on_termination: true }
}

fn listed(eni: &Ec2Eni) -> Option<ImdsEni> {
    let attachment = eni.attachment?;
    Some(ImdsEni {
        id: eni.id,
        mac: eni.mac,
        device: attachment.device,
        card: attachment.card,
        subnet: eni.subnet,
        ipv4: Some(eni.primary.into_iter().chain(eni.ipv4.iter().copied()).collect()),
        ipv4_prefixes: eni.ipv4_prefixes.clone(),
        ipv6: Vec::new(),
        ipv6_prefixes: eni.ipv6_prefixes.clone(),
    })
}

fn kube(call: &KubeCall) -> KubeReply {
    match call {
        KubeCall::GetNode => KubeReply::Node(NodeSeen { max_pods: Some(110), version: 1, ..NodeSeen::default() }),
        KubeCall::GetEniConfig { .. } => KubeReply::EniConfig { subnet: SUBNET, groups: Vec::new() },
        KubeCall::GetPod(_) => KubeReply::Pod { uid: "uid".into(), branch: None, wants_branch: vec![false] },
        KubeCall::PatchCniNode { .. } => KubeReply::CniNodePatched,
        KubeCall::AnnotatePod { .. } | KubeCall::WarnMissingPermission { .. } => KubeReply::Annotated,
    }
}

fn host(call: &HostCall) -> HostReply {
    match call {
        HostCall::SetUpEni { .. } => HostReply::EniReady { table: 2 },
        HostCall::ListPods => HostReply::Pods(Vec::new()),
        HostCall::ListHostAddrs => HostReply::HostAddrs(Vec::new()),
        HostCall::ListLinks => HostReply::Links((0..=u8::MAX).map(|last| Mac([2, 1, 0, 0, 0, last])).collect()),
        _ => HostReply::Done,
    }
}
