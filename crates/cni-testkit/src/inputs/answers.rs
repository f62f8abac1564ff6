//! Any answers, of the kind that was asked for or of another.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::ec2::Ec2Code;
use cni_types::limits::{Hypervisor, InstanceLimits};
use ipamd_core::id::{AttachmentId, EniId, Epoch, GroupId, InstanceId, OpId, SubnetId, VpcId};
use ipamd_core::input::{
    Answer, BranchEni, CheckpointEntry, Ec2Attachment, Ec2Eni, Ec2Failure, Ec2Reply, Ec2Subnet, EniKind, Fate,
    HostError, HostPod, HostReply, Identity, ImdsEni, ImdsError, ImdsErrorKind, ImdsReply, Input, Intent, KnownEni,
    KubeError, KubeReply, Mac, NodeSeen, PodName, SECOND_FILE_VERSION, SecondFile, StoreError, StoreReply, SubnetRole,
};
use ipamd_core::output::{Ec2Call, Effect, HostCall, ImdsRead, KubeCall, StoreCall};

use super::bytes::Bytes;

/// Kinds of the answers of EC2.
const EC2_KINDS: u8 = 8;

pub(super) fn eni_id(bytes: &mut Bytes<'_>) -> EniId {
    EniId::from_bits(u128::from(bytes.below(12)) + 1)
}

fn subnet(bytes: &mut Bytes<'_>) -> SubnetId {
    SubnetId::from_bits(u128::from(bytes.below(4)) + 5)
}

fn groups(bytes: &mut Bytes<'_>) -> Vec<GroupId> {
    bytes.list(|bytes, _| GroupId::from_bits(bytes.below(8).into()))
}

/// Mostly few addresses of one VPC, so that lists overlap; at times one of elsewhere.
fn ipv4(bytes: &mut Bytes<'_>, place: usize) -> Ipv4Addr {
    let low = u8::try_from(place % 256).unwrap_or(0).wrapping_add(bytes.byte());
    match bytes.below(16) {
        0 => Ipv4Addr::new(192, 168, 1, low),
        1 => Ipv4Addr::UNSPECIFIED,
        2 => Ipv4Addr::BROADCAST,
        3 => Ipv4Addr::new(10, 0, 1, low & 0xf0),
        high => Ipv4Addr::new(10, 0, high & 3, low),
    }
}

/// Mostly the base of a /28, at times of none, or one at the end of all addresses.
fn prefix(bytes: &mut Bytes<'_>, place: usize) -> Ipv4Addr {
    let address = ipv4(bytes, place.wrapping_mul(16));
    if bytes.seldom(8) { address } else { Ipv4Addr::from(u32::from(address) & !15) }
}

fn ipv6(bytes: &mut Bytes<'_>, place: usize) -> Ipv6Addr {
    let high = u128::from(bytes.below(4)) << 48 | 0x2001_0db8 << 96;
    let low = if bytes.seldom(4) { u128::from(bytes.byte()) } else { 0 };
    Ipv6Addr::from(high + ((place as u128) << 48) + low)
}

fn mac(bytes: &mut Bytes<'_>) -> Mac {
    Mac([2, 0, 0, 0, 0, bytes.below(12)])
}

pub(super) fn pod(bytes: &mut Bytes<'_>) -> PodName {
    PodName { namespace: bytes.text(), name: bytes.text() }
}

pub(super) fn limits(bytes: &mut Bytes<'_>) -> InstanceLimits {
    let any = bytes.seldom(4);
    InstanceLimits {
        max_enis: if any { bytes.u16() } else { 1 + u16::from(bytes.below(8)) },
        ipv4_per_eni: if any { bytes.u16() } else { 1 + u16::from(bytes.below(50)) },
        hypervisor: [Hypervisor::Nitro, Hypervisor::Xen, Hypervisor::Unknown][bytes.index(3)],
        bare_metal: bytes.flag(),
        network_cards: bytes.byte(),
        trunk_compatible: bytes.flag(),
        branch_enis: bytes.u16(),
        listed: bytes.flag(),
    }
}

pub(super) fn node(bytes: &mut Bytes<'_>) -> NodeSeen {
    NodeSeen {
        max_pods: bytes.maybe(|bytes| if bytes.seldom(8) { u32::MAX } else { u32::from(bytes.byte()) }),
        unschedulable: bytes.seldom(3),
        eni_config: bytes.maybe(Bytes::text),
        version: u64::from(bytes.byte()),
    }
}

fn identity(bytes: &mut Bytes<'_>) -> Identity {
    Identity {
        region: bytes.text(),
        zone: bytes.text(),
        instance: InstanceId::from_bits(0x1a),
        instance_type: bytes.text(),
        limits: bytes.maybe(limits),
        vpc: VpcId::from_bits(1),
        subnet: subnet(bytes),
        primary_eni: eni_id(bytes),
        primary_mac: mac(bytes),
        ipv4: bytes.maybe(|bytes| ipv4(bytes, 0)),
        ipv6: bytes.maybe(|bytes| ipv6(bytes, 0)),
    }
}

fn imds_eni(bytes: &mut Bytes<'_>) -> ImdsEni {
    ImdsEni {
        id: eni_id(bytes),
        mac: mac(bytes),
        device: bytes.byte(),
        card: if bytes.seldom(4) { bytes.byte() } else { 0 },
        subnet: subnet(bytes),
        ipv4: bytes.maybe(|bytes| bytes.list(ipv4)),
        ipv4_prefixes: bytes.list(prefix),
        ipv6: bytes.list(ipv6),
        ipv6_prefixes: bytes.list(ipv6),
    }
}

fn tags(bytes: &mut Bytes<'_>) -> Vec<(Box<str>, Box<str>)> {
    bytes.list(|bytes, _| {
        let key = match bytes.below(4) {
            0 => "node.k8s.amazonaws.com/instance_id".into(),
            1 => "node.k8s.amazonaws.com/createdAt".into(),
            2 => "node.k8s.amazonaws.com/no_manage".into(),
            _ => bytes.text(),
        };
        let value = if bytes.flag() { InstanceId::from_bits(0x1a).to_string().into() } else { bytes.text() };
        (key, value)
    })
}

fn ec2_eni(bytes: &mut Bytes<'_>) -> Ec2Eni {
    Ec2Eni {
        id: eni_id(bytes),
        mac: mac(bytes),
        kind: [EniKind::Interface, EniKind::Trunk, EniKind::Efa, EniKind::EfaOnly][bytes.index(4)],
        subnet: subnet(bytes),
        vpc: bytes.seldom(8).then(|| VpcId::from_bits(u128::from(bytes.byte()))),
        zone: bytes.seldom(8).then(|| bytes.text()),
        primary: bytes.maybe(|bytes| ipv4(bytes, 0)),
        ipv4: bytes.list(ipv4),
        ipv4_prefixes: bytes.list(prefix),
        ipv6_prefixes: bytes.list(ipv6),
        attachment: bytes.maybe(|bytes| Ec2Attachment {
            id: AttachmentId::from_bits(bytes.byte().into()),
            device: bytes.byte(),
            card: bytes.below(3),
            attached: bytes.flag(),
            delete_on_termination: bytes.flag(),
        }),
        tags: tags(bytes),
        description: if bytes.flag() { "aws-K8S-i-00000000000000001".into() } else { bytes.text() },
        groups: groups(bytes),
    }
}

fn ec2_reply(bytes: &mut Bytes<'_>, kind: u8) -> Ec2Reply {
    let roles = [SubnetRole::Untagged, SubnetRole::Off, SubnetRole::On];
    match kind % EC2_KINDS {
        0 => Ec2Reply::Subnets(bytes.list(|bytes, _| Ec2Subnet {
            id: subnet(bytes),
            free: if bytes.seldom(4) { u32::MAX } else { bytes.byte().into() },
            role: roles[bytes.index(3)],
            cluster_fits: bytes.flag(),
        })),
        1 => {
            let found = bytes.list(|bytes, _| ec2_eni(bytes));
            Ec2Reply::Enis { found, next: if bytes.seldom(3) { Some(bytes.text()) } else { None } }
        }
        2 => {
            Ec2Reply::Devices(bytes.list(|bytes, place| {
                (bytes.below(3), u8::try_from(place % 256).unwrap_or(0).wrapping_add(bytes.byte()))
            }))
        }
        3 => Ec2Reply::Limits(limits(bytes)),
        4 => Ec2Reply::Created(Box::new(ec2_eni(bytes))),
        5 => Ec2Reply::Attached(AttachmentId::from_bits(bytes.byte().into())),
        6 => Ec2Reply::Assigned {
            ipv4: bytes.list(ipv4),
            ipv4_prefixes: bytes.list(prefix),
            ipv6_prefixes: bytes.list(ipv6),
        },
        _ => Ec2Reply::Done,
    }
}

fn ec2_kind(call: &Ec2Call) -> u8 {
    match call {
        Ec2Call::DescribeSubnets => 0,
        Ec2Call::DescribeEnis { .. } | Ec2Call::DescribeLeaked { .. } => 1,
        Ec2Call::DescribeInstance => 2,
        Ec2Call::DescribeInstanceType => 3,
        Ec2Call::CreateEni { .. } => 4,
        Ec2Call::Attach { .. } => 5,
        Ec2Call::Assign { .. } => 6,
        _ => 7,
    }
}

fn ec2_failure(bytes: &mut Bytes<'_>) -> Ec2Failure {
    let code = match bytes.below(4) {
        0 => None,
        1 => Some(bytes.text()),
        _ => Some(Ec2Code::ANSWERED[bytes.index(Ec2Code::ANSWERED.len())].name().into()),
    };
    let message = format!("The network interface '{}' is not what '{}' says", eni_id(bytes), bytes.text());
    let text = format!("api error {}: {message} {}", bytes.u16(), bytes.text());
    let fate = [Fate::NotSent, Fate::Refused, Fate::Unknown][bytes.index(3)];
    Ec2Failure { code, message: message.into(), text: text.into(), fate }
}

fn imds_reply(bytes: &mut Bytes<'_>, read: ImdsRead) -> ImdsReply {
    match read {
        ImdsRead::Identity => ImdsReply::Identity(Box::new(identity(bytes))),
        ImdsRead::Enis => ImdsReply::Enis(bytes.list(|bytes, _| imds_eni(bytes))),
        ImdsRead::Groups => ImdsReply::Groups(groups(bytes)),
        ImdsRead::VpcCidrs => ImdsReply::VpcCidrs(bytes.list(|bytes, _| bytes.text())),
    }
}

fn imds_error(bytes: &mut Bytes<'_>) -> ImdsError {
    let kinds = [ImdsErrorKind::NotFound, ImdsErrorKind::Timeout, ImdsErrorKind::Malformed];
    let kind = if bytes.seldom(4) { ImdsErrorKind::Status(bytes.u16()) } else { kinds[bytes.index(3)] };
    ImdsError { path: bytes.text(), kind }
}

fn kube_reply(bytes: &mut Bytes<'_>, kind: u8) -> KubeReply {
    match kind % 5 {
        0 => KubeReply::Node(node(bytes)),
        1 => KubeReply::EniConfig { subnet: subnet(bytes), groups: groups(bytes) },
        2 => KubeReply::Pod {
            uid: bytes.text(),
            branch: bytes.maybe(|bytes| BranchEni {
                eni: eni_id(bytes),
                mac: mac(bytes),
                ipv4: bytes.maybe(|bytes| ipv4(bytes, 0)),
                ipv6: bytes.maybe(|bytes| ipv6(bytes, 0)),
                vlan: bytes.u16(),
                gateway: None,
            }),
            wants_branch: bytes.list(|bytes, _| bytes.flag()),
        },
        3 => KubeReply::CniNodePatched,
        _ => KubeReply::Annotated,
    }
}

fn kube_kind(call: &KubeCall) -> u8 {
    match call {
        KubeCall::GetNode => 0,
        KubeCall::GetEniConfig { .. } => 1,
        KubeCall::GetPod(_) => 2,
        KubeCall::PatchCniNode { .. } => 3,
        KubeCall::AnnotatePod { .. } | KubeCall::WarnMissingPermission { .. } => 4,
    }
}

fn host_reply(bytes: &mut Bytes<'_>, kind: u8) -> HostReply {
    match kind % 4 {
        0 => HostReply::Done,
        1 => HostReply::EniReady { table: bytes.u16().into() },
        2 => HostReply::Pods(bytes.list(|bytes, place| HostPod {
            name: bytes.text(),
            ifindex: bytes.byte().into(),
            routes: vec![ipv4(bytes, place).into()],
        })),
        4 => HostReply::Links(bytes.list(|bytes, _| mac(bytes))),
        _ => HostReply::HostAddrs(bytes.list(ipv4)),
    }
}

fn host_kind(call: &HostCall) -> u8 {
    match call {
        HostCall::SetUpEni { .. } => 1,
        HostCall::ListPods => 2,
        HostCall::ListHostAddrs => 3,
        HostCall::ListLinks => 4,
        _ => 0,
    }
}

/// A checkpoint that may name a pod twice, an address twice, or none.
fn checkpoint(bytes: &mut Bytes<'_>) -> StoreReply<u64> {
    StoreReply::Checkpoint(bytes.list(|bytes, place| CheckpointEntry {
        key: u64::from(bytes.below(40)),
        ipv4: bytes.maybe(|bytes| ipv4(bytes, place)),
        ipv6: if bytes.seldom(3) { Some(ipv6(bytes, place)) } else { None },
        allocated_ns: bytes.extreme(),
        pod: pod(bytes),
    }))
}

/// A second file that may be another host's, name an ENI twice, or contradict itself.
fn second_file(bytes: &mut Bytes<'_>) -> Box<SecondFile> {
    let mut enis = bytes.list(|bytes, place| KnownEni {
        id: eni_id(bytes),
        mac: mac(bytes),
        device: bytes.byte(),
        card: bytes.below(3),
        subnet: subnet(bytes),
        serves: bytes.flag(),
        primary: bytes.maybe(|bytes| ipv4(bytes, place)),
        ipv4: bytes.list(ipv4),
        ipv4_prefixes: bytes.list(prefix),
    });
    let identity = identity(bytes);
    if let Some(first) = enis.first_mut().filter(|_| bytes.flag()) {
        first.id = identity.primary_eni;
    }
    let intents = bytes.list(|bytes, _| match bytes.below(3) {
        0 => Intent::Create { token: bytes.byte().into(), subnet: subnet(bytes) },
        1 => Intent::Attach { eni: eni_id(bytes) },
        _ => Intent::Free { eni: eni_id(bytes) },
    });
    Box::new(SecondFile {
        version: if bytes.seldom(8) { bytes.byte().into() } else { SECOND_FILE_VERSION },
        boot_id: "boot".into(),
        identity,
        vpc_cidrs: bytes.list(|bytes, _| bytes.text()),
        groups: groups(bytes),
        enis,
        intents,
        subnets: Vec::new(),
        subnets_ns: bytes.extreme(),
        left: bytes.list(|bytes, place| (ipv4(bytes, place).into(), bytes.extreme())),
    })
}

fn store_error(bytes: &mut Bytes<'_>) -> StoreError {
    match bytes.below(4) {
        0 => StoreError::Missing,
        1 => StoreError::Version,
        2 => StoreError::Malformed(bytes.text()),
        _ => StoreError::Io(bytes.text()),
    }
}

/// An answer to `effect`; if it is `crooked`, of any kind that its channel has.
pub(super) fn any(bytes: &mut Bytes<'_>, op: OpId, epoch: Epoch, effect: &Effect, crooked: bool) -> Input<u64> {
    let took_ms = if bytes.seldom(8) { u32::MAX } else { bytes.byte().into() };
    let shift = if crooked { 1 + bytes.below(7) } else { 0 };
    let fails = bytes.seldom(4);
    match effect {
        Effect::Ec2(call) => {
            let kind = ec2_kind(call).wrapping_add(shift);
            let result = if fails { Err(ec2_failure(bytes)) } else { Ok(ec2_reply(bytes, kind)) };
            Input::Ec2(Answer { op, epoch, took_ms, result })
        }
        Effect::Imds(read) => {
            let reads = [ImdsRead::Identity, ImdsRead::Enis, ImdsRead::Groups, ImdsRead::VpcCidrs];
            let read = if crooked { reads[usize::from(shift % 4)] } else { *read };
            let result = if fails { Err(imds_error(bytes)) } else { Ok(imds_reply(bytes, read)) };
            Input::Imds(Answer { op, epoch, took_ms, result })
        }
        Effect::Kube(call) => {
            let errors = [KubeError::NotFound, KubeError::Conflict, KubeError::Forbidden, KubeError::Timeout];
            let kind = kube_kind(call).wrapping_add(shift);
            let result = if fails { Err(errors[bytes.index(4)]) } else { Ok(kube_reply(bytes, kind)) };
            Input::Kube(Answer { op, epoch, took_ms, result })
        }
        Effect::Host(call) => {
            let kind = host_kind(call).wrapping_add(shift);
            let error = |bytes: &mut Bytes<'_>| {
                if bytes.flag() { HostError::NoLink } else { HostError::Other(bytes.text()) }
            };
            let result = if fails { Err(error(bytes)) } else { Ok(host_reply(bytes, kind)) };
            Input::Host(Answer { op, epoch, took_ms, result })
        }
        Effect::Store(call) => {
            let reads = matches!(call, StoreCall::ReadCheckpoint | StoreCall::ReadSecond) != crooked;
            let second = matches!(call, StoreCall::ReadSecond);
            let reply = |bytes: &mut Bytes<'_>| match (reads, second) {
                (true, true) => StoreReply::Second(second_file(bytes)),
                (true, false) => checkpoint(bytes),
                (false, _) => StoreReply::Written,
            };
            let result = if fails { Err(store_error(bytes)) } else { Ok(reply(bytes)) };
            Input::Store(Answer { op, epoch, took_ms, result })
        }
    }
}
