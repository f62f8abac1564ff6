//! Steps, as the original's program takes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use ipamd_core::input::EniKind;
use ipamd_core::settings::Mode;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The first number of the pods that a checkpoint knows.
const RESTORED: u32 = 1_000;

/// The number of the CIDRs that all ENIs may have.
const SHARED: u8 = 3;

/// A kind of CIDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Address,
    Prefix,
    Ipv6,
}

/// A CIDR, by numbers: no two of an ENI have an address in common, and one of each kind of IPv4 is the same on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    pub(crate) eni: u8,
    pub(crate) family: Family,
    pub(crate) index: u8,
}

/// An entry of a checkpoint: an address of a CIDR, and whether its pod's link is still there.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) cidr: Cidr,
    pub(crate) offset: u8,
    pub(crate) linked: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Pass(i64),
    AddEni {
        eni: u8,
        kind: EniKind,
        primary: bool,
    },
    RemoveEni {
        eni: u8,
        force: bool,
    },
    Exclude {
        eni: u8,
        excluded: bool,
    },
    AddCidr(Cidr),
    DelCidr {
        cidr: Cidr,
        force: bool,
    },
    Assign(u8),
    Unassign(u8),
    /// One of the pods that checkpoints brought so far.
    UnassignRestored(prop::sample::Index),
    RemoveUnused {
        warm_ip: u32,
        minimum_ip: u32,
        warm_prefix: u32,
    },
    Freeable(u8),
    FreeableEni,
    Allocatable {
        slots: u32,
        custom: bool,
    },
    Targets {
        warm_eni: u32,
        warm_ip: u32,
        minimum_ip: u32,
        warm_prefix: u32,
        slots: u32,
        max_pods: u32,
    },
    /// The checkpoint cannot be written from now on, or can again.
    FailWrites(bool),
    Restore(Vec<Entry>),
}

impl Cidr {
    pub(crate) fn block(self) -> Block {
        let Self { mut eni, family, index } = self;
        if index == SHARED && family != Family::Ipv6 {
            eni = 0;
        }
        match family {
            Family::Address => Block::Address(Ipv4Addr::new(10, 0, eni, index)),
            Family::Prefix => Block::Prefix(Ipv4Addr::new(10, 1 + eni, index / 16, index % 16 * 16)),
            Family::Ipv6 => Block::Ipv6Prefix(Ipv6Addr::new(0x2001, 0xdb8, eni.into(), index.into(), 0, 0, 0, 0)),
        }
    }
}

impl Entry {
    pub(crate) fn address(&self) -> IpAddr {
        match self.cidr.block() {
            Block::Address(address) => address.into(),
            Block::Prefix(base) => Ipv4Addr::from(u32::from(base) + u32::from(self.offset)).into(),
            Block::Ipv6Prefix(base) => Ipv6Addr::from(u128::from(base) + u128::from(self.offset)).into(),
        }
    }
}

pub(crate) fn eni_id(eni: u8) -> EniId {
    EniId::from_bits(eni.into())
}

pub(crate) fn cidr_text(block: Block) -> String {
    match block {
        Block::Address(address) => format!("{address}/32"),
        Block::Prefix(base) => format!("{base}/28"),
        Block::Ipv6Prefix(base) => format!("{base}/80"),
    }
}

impl Step {
    /// The command's name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::AddEni { .. } => "add_eni",
            Self::RemoveEni { .. } => "remove_eni",
            Self::Exclude { .. } => "exclude",
            Self::AddCidr(_) => "add_cidr",
            Self::DelCidr { .. } => "del_cidr",
            Self::Assign(_) => "assign",
            Self::Unassign(_) | Self::UnassignRestored(_) => "unassign",
            Self::RemoveUnused { .. } => "remove_unused",
            Self::Freeable(_) => "freeable",
            Self::FreeableEni => "freeable_eni",
            Self::Allocatable { .. } => "allocatable",
            Self::Targets { .. } => "targets",
            Self::FailWrites(_) => "checkpoint",
            Self::Restore(_) => "restore",
        }
    }

    pub(crate) fn begin(mode: Mode) -> Value {
        json!({"new": {"prefixes": mode != Mode::Secondary}})
    }
}

/// Makes commands of steps. Each entry of a checkpoint is of a pod of its own, so pods are numbered along the history.
pub(crate) struct Commands {
    mode: Mode,
    restored: u32,
}

/// The pods of a checkpoint, the first one's number being `restored` above that of all before.
pub(crate) fn restored_pod(restored: u32) -> u32 {
    RESTORED + restored
}

/// A number of a pod that a checkpoint brought, or one that none brought.
pub(crate) fn pick_restored(index: prop::sample::Index, restored: u32) -> u32 {
    restored_pod(u32::try_from(index.index(restored as usize + 1)).unwrap())
}

impl Commands {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, restored: 0 }
    }

    pub(crate) fn next(&mut self, step: &Step) -> Value {
        let id = |eni: u8| eni_id(eni).to_string();
        match step {
            Step::Pass(ms) => json!({"pass": ms}),
            Step::AddEni { eni, kind, primary } => json!({"add_eni": {
                "eni": id(*eni), "device": eni, "primary": primary, "trunk": *kind == EniKind::Trunk, "efa": *kind == EniKind::Efa,
            }}),
            Step::RemoveEni { eni, force } => json!({"remove_eni": {"eni": id(*eni), "force": force}}),
            Step::Exclude { eni, excluded } => json!({"exclude": {"eni": id(*eni), "excluded": excluded}}),
            Step::AddCidr(cidr) => json!({"add_cidr": {
                "eni": id(cidr.eni), "cidr": cidr_text(cidr.block()), "prefix": cidr.family != Family::Address,
            }}),
            Step::DelCidr { cidr, force } => {
                json!({"del_cidr": {"eni": id(cidr.eni), "cidr": cidr_text(cidr.block()), "force": force}})
            }
            Step::Assign(pod) => {
                json!({"assign": {"key": format!("c{pod}"), "family": if self.mode == Mode::Ipv6 { 6 } else { 4 }}})
            }
            Step::Unassign(pod) => json!({"unassign": {"key": format!("c{pod}")}}),
            Step::UnassignRestored(index) => {
                json!({"unassign": {"key": format!("c{}", pick_restored(*index, self.restored))}})
            }
            Step::RemoveUnused { warm_ip, minimum_ip, warm_prefix } => {
                json!({"remove_unused": {"warm_ip": warm_ip, "minimum_ip": minimum_ip, "warm_prefix": warm_prefix}})
            }
            Step::Freeable(eni) => json!({"freeable": {"eni": id(*eni)}}),
            Step::FreeableEni => json!({"freeable_eni": {}}),
            Step::Allocatable { slots, custom } => json!({"allocatable": {"max": slots, "skip_primary": custom}}),
            Step::Targets { warm_eni, warm_ip, minimum_ip, warm_prefix, slots, max_pods } => json!({"targets": {
                "warm_eni": warm_eni, "warm_ip": warm_ip, "minimum_ip": minimum_ip, "warm_prefix": warm_prefix,
                "ips_per_eni": if self.mode == Mode::Secondary { *slots } else { slots * 16 },
                "prefixes_per_eni": if self.mode == Mode::Secondary { 0 } else { *slots }, "max_pods": max_pods,
            }}),
            Step::FailWrites(true) => json!({"checkpoint": {"fail": "no space left on device"}}),
            Step::FailWrites(false) => json!({"checkpoint": {}}),
            Step::Restore(entries) => self.restore(entries),
        }
    }

    fn restore(&mut self, entries: &[Entry]) -> Value {
        let (mut listed, mut links) = (Vec::new(), Vec::new());
        for entry in entries {
            let (key, pod) = (format!("c{}", restored_pod(self.restored)), format!("default/p{}", self.restored));
            let family = if entry.address().is_ipv4() { "ipv4" } else { "ipv6" };
            listed.push(json!({"key": key, family: entry.address(), "pod": pod}));
            if entry.linked {
                links.push(pod);
            }
            self.restored += 1;
        }
        json!({"restore": {"entries": listed, "veths": links, "ipv6": self.mode == Mode::Ipv6}})
    }
}

/// A mode, and the steps of a history in it: most begin with ENIs that have CIDRs of the mode.
pub(crate) fn history(length: usize) -> impl Strategy<Value = (Mode, Vec<Step>)> {
    let begun = prop::collection::vec((0_u8..3, 0_u8..4), 0..12);
    (mode(), begun, prop::collection::vec(step(), 1..length)).prop_map(|(mode, begun, steps)| {
        let family = match mode {
            Mode::Secondary => Family::Address,
            Mode::Prefix => Family::Prefix,
            Mode::Ipv6 => Family::Ipv6,
        };
        let enis = (0_u8..3).filter(|eni| begun.iter().any(|(begun, _)| begun == eni));
        let enis = enis.map(|eni| Step::AddEni { eni, kind: EniKind::Interface, primary: eni == 0 });
        let cidrs = begun.iter().map(|(eni, index)| Step::AddCidr(Cidr { eni: *eni, family, index: *index }));
        (mode, enis.chain(cidrs).chain(steps).collect())
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Secondary), 4 => Just(Mode::Prefix), 1 => Just(Mode::Ipv6)]
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let family = prop_oneof![6 => Just(Family::Address), 5 => Just(Family::Prefix), 1 => Just(Family::Ipv6)];
    (0_u8..4, family, 0_u8..4).prop_map(|(eni, family, index)| Cidr { eni, family, index })
}

fn kind() -> impl Strategy<Value = EniKind> {
    prop_oneof![8 => Just(EniKind::Interface), 1 => Just(EniKind::Trunk), 1 => Just(EniKind::Efa)]
}

fn pass() -> impl Strategy<Value = i64> {
    let bounds = vec![1_i64, 4_999, 5_000, 5_001, 29_999, 30_000, 30_001, 59_999, 60_000];
    prop_oneof![3 => prop::sample::select(bounds), 2 => 1_i64..40_000]
}

fn target() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0_u32), 3 => 1_u32..20, 1 => 20_u32..100]
}

fn step() -> impl Strategy<Value = Step> {
    let entry = (cidr(), 0_u8..16, prop::bool::weighted(0.8));
    let entry = entry.prop_map(|(cidr, offset, linked)| Entry { cidr, offset, linked });
    let targets = (target(), target(), target(), target(), 1_u32..10, prop_oneof![Just(110_u32), 1_u32..40]);
    let targets = targets.prop_map(|(warm_eni, warm_ip, minimum_ip, warm_prefix, slots, max_pods)| Step::Targets {
        warm_eni: warm_eni.min(5),
        warm_ip,
        minimum_ip,
        warm_prefix,
        slots,
        max_pods,
    });
    let unused = (target(), target(), target());
    prop_oneof![
        8 => pass().prop_map(Step::Pass),
        4 => (0_u8..4, kind(), prop::bool::weighted(0.2))
            .prop_map(|(eni, kind, primary)| Step::AddEni { eni, kind, primary }),
        1 => (0_u8..4, any::<bool>()).prop_map(|(eni, force)| Step::RemoveEni { eni, force }),
        2 => (0_u8..4, prop::bool::weighted(0.4)).prop_map(|(eni, excluded)| Step::Exclude { eni, excluded }),
        10 => cidr().prop_map(Step::AddCidr),
        3 => (cidr(), prop::bool::weighted(0.3)).prop_map(|(cidr, force)| Step::DelCidr { cidr, force }),
        18 => (0_u8..60).prop_map(Step::Assign),
        10 => (0_u8..60).prop_map(Step::Unassign),
        1 => any::<prop::sample::Index>().prop_map(Step::UnassignRestored),
        2 => unused.prop_map(|(warm_ip, minimum_ip, warm_prefix)| Step::RemoveUnused { warm_ip, minimum_ip, warm_prefix }),
        1 => (0_u8..5).prop_map(Step::Freeable),
        1 => Just(Step::FreeableEni),
        1 => (1_u32..6, any::<bool>()).prop_map(|(slots, custom)| Step::Allocatable { slots, custom }),
        3 => targets,
        2 => prop::bool::weighted(0.15).prop_map(Step::FailWrites),
        1 => prop::collection::vec(entry, 0..6).prop_map(Step::Restore),
    ]
}
