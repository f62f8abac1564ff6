//! The table.

use cni_types::version::AgentVersion;

use super::cell::{Cell, Knowledge, Worth};
use crate::catalogue::FindingId as Id;
use crate::evidence::Source::{self, AgentLog, AgentPods, EniConfigs, Interfaces, Nodes, Pods, Subnets};
use crate::view::{COUNTS_REFUSALS, RESPECTS_TAG};

use Knowledge::{Basic, Cluster, PagesOnly, WithoutNodes};
use Worth::{Certain, Likely, NotPossible};

/// What a finding is worth in a cell.
type Row = fn(Cell) -> Worth;

/// The first agents that count a call without an answer without a code.
const COUNTS_NO_CODE: AgentVersion = AgentVersion::new(1, 19, 4);
/// The longest time between rounds at which refusals are inferred: as long as an address cools down, seconds.
const INFERRED_S: i64 = 30;

/// The finding is not named, and this is.
const fn instead(id: Id, lacks: &'static [Source]) -> Worth {
    NotPossible { instead: Some(id), lacks }
}

/// Nothing is named in its place.
const NOTHING: Worth = NotPossible { instead: None, lacks: &[] };

/// The agent's age is named, which says that refusals must be inferred and cannot be here.
const TOO_OLD: Worth = instead(Id::AgentTooOld, &[Pods]);

fn is_counting(cell: Cell) -> bool {
    cell.version >= COUNTS_REFUSALS
}

/// Refusals are counted: otherwise the finding is not possible.
fn counted(cell: Cell, worth: Worth) -> Worth {
    if is_counting(cell) { worth } else { TOO_OLD }
}

/// Refusals are counted, or inferred from addresses that stay all in use.
fn refused(cell: Cell, worth: Worth) -> Worth {
    match worth {
        _ if is_counting(cell) => worth,
        _ if cell.interval_s > INFERRED_S => TOO_OLD,
        Certain | Likely(_) => Likely(&[Pods]),
        NotPossible { instead: Some(id), .. } => instead(id, &[Pods]),
        NotPossible { instead: None, .. } => worth,
    }
}

/// The page says it, whether or not requests are refused.
fn always(_: Cell) -> Worth {
    Certain
}

/// A failed call says it.
fn by_code(cell: Cell) -> Worth {
    refused(cell, Certain)
}

/// A setting says it; without the settings the pool is only too small.
fn by_setting(cell: Cell) -> Worth {
    let worth = match cell.knowledge {
        Cluster | Basic | WithoutNodes => Certain,
        PagesOnly => instead(Id::WarmPoolTooSmall, &[AgentPods]),
    };
    refused(cell, worth)
}

/// The node says it; without the nodes a full node is only full.
fn by_full_node(cell: Cell) -> Worth {
    let worth = match cell.knowledge {
        Cluster | Basic => Certain,
        WithoutNodes => instead(Id::NodeFull, &[Nodes]),
        PagesOnly => instead(Id::NodeFull, &[Nodes, AgentPods]),
    };
    refused(cell, worth)
}

/// The node says it; without the nodes the pool is only too small.
fn by_node(cell: Cell) -> Worth {
    match cell.knowledge {
        Cluster | Basic => Certain,
        WithoutNodes => instead(Id::WarmPoolTooSmall, &[Nodes]),
        PagesOnly => instead(Id::WarmPoolTooSmall, &[Nodes, AgentPods]),
    }
}

/// Of a node without a page its pod says it.
fn by_pod(cell: Cell) -> Worth {
    match cell.knowledge {
        Cluster | Basic | WithoutNodes => Certain,
        PagesOnly => instead(Id::AgentSilent, &[AgentPods, Nodes]),
    }
}

/// What a finding is worth in a cell; `None` for one that has no row.
pub fn worth(id: Id, cell: Cell) -> Option<Worth> {
    ROWS.iter().find(|(known, _)| *known == id).map(|(_, row)| row(cell))
}

/// What the agents' pods say by themselves.
fn by_readiness(cell: Cell) -> Worth {
    if cell.knowledge == PagesOnly { NOTHING } else { Certain }
}

/// The same of their settings.
fn by_agents(cell: Cell) -> Worth {
    by_readiness(cell)
}

/// The pages name a version; whether the agents' pods agree is not known without them.
fn by_version(cell: Cell) -> Worth {
    if cell.knowledge == PagesOnly { Likely(&[AgentPods]) } else { Certain }
}

/// The pages say it, and not what would be given up.
fn by_pool(cell: Cell) -> Worth {
    if cell.knowledge == PagesOnly { Likely(&[AgentPods]) } else { Certain }
}

/// It takes the settings, and the nodes' labels or their maximum of pods.
fn by_labels(cell: Cell) -> Worth {
    if cell.knowledge <= Basic { Certain } else { NOTHING }
}

/// Objects of the API server say it, and nothing else does.
fn by_objects(cell: Cell) -> Worth {
    if cell.knowledge == Cluster { Certain } else { NOTHING }
}

/// Each finding, in the order of the catalogue.
#[rustfmt::skip] // a table is read by columns
pub(super) const ROWS: &[(Id, Row)] = &[
    (Id::InstanceMetadataFailing, always),
    (Id::ProvisioningDisabled,    by_setting),
    (Id::Ipv6PrefixMissing,       |cell| counted(cell, Certain)),
    (Id::PoolCappedByMaxPods,     pool_capped_by_max_pods),
    (Id::MaxEniSetting,           by_full_node),
    (Id::SubnetExcludedByTag,     subnet_excluded_by_tag),
    (Id::CooldownOnFullNode,      |cell| counted(cell, if cell.knowledge == PagesOnly { Likely(&[AgentPods]) } else { Certain })),
    (Id::MaxPodsTooHigh,          by_full_node),
    (Id::NodeFull,                |cell| refused(cell, Likely(&[Nodes]))),
    (Id::NodeCordoned,            |cell| refused(cell, by_node(cell))),
    (Id::MinimumWithoutWarm,      by_setting),
    (Id::IamRoleUnusable,         by_code),
    (Id::IamPermissionMissing,    by_code),
    (Id::SubnetFragmented,        |cell| refused(cell, Likely(&[Subnets, Interfaces]))),
    (Id::SubnetExhausted,         by_code),
    (Id::EniSlotsTaken,           by_code),
    (Id::EniQuotaReached,         by_code),
    (Id::EniconfigInvalid,        eniconfig_invalid),
    (Id::Ec2Throttled,            by_code),
    (Id::Ec2Unreachable,          |cell| if cell.version >= COUNTS_NO_CODE { Likely(&[AgentLog]) } else { by_code(cell) }),
    (Id::Ec2RefusesOtherwise,     by_code),
    (Id::PoolLoopStalled,         by_code),
    (Id::EniAttachStuck,          by_code),
    (Id::WarmTargetsZero,         by_setting),
    (Id::PoolGrowing,             |cell| counted(cell, Certain)),
    (Id::WarmPoolTooSmall,        warm_pool_too_small),
    (Id::CauseUnknown,            |cell| counted(cell, Likely(&[AgentLog]))),
    (Id::BranchEniNotProvided,    |cell| if cell.knowledge == PagesOnly { NOTHING } else { counted(cell, Likely(&[Pods])) }),
    (Id::TrunkSlotMissing,        by_objects),
    (Id::EniconfigMissing,        by_objects),
    (Id::AgentSettingsRefused,    by_pod),
    (Id::AgentNotStarted,         by_pod),
    (Id::AgentNotReady,           by_readiness),
    (Id::AgentSilent,             agent_silent),
    (Id::AgentRestarting,         by_readiness),
    (Id::EnisForceRemoved,        always),
    (Id::AddressesForceRemoved,   always),
    (Id::PoolOutOfStep,           always),
    (Id::IamRightMissingQuiet,    always),
    (Id::MetricsDisabled,         by_pod),
    (Id::AgentTooOld,             |cell| if is_counting(cell) { NOTHING } else { Certain }),
    (Id::SettingsDiffer,          by_agents),
    (Id::AgentVersionsDiffer,     by_version),
    (Id::WarmPoolOversized,       by_pool),
    (Id::MaxPodsTooLow,           by_labels),
    (Id::WarmEniTargetIgnored,    by_agents),
    (Id::WarmIpTargetCostsPrefix, by_agents),
    (Id::TargetsIgnoredOnIpv6,    by_agents),
    (Id::PrefixesUnsupported,     by_labels),
];

/// Where refusals are not counted, the nodes show at least that few pods are admitted.
fn pool_capped_by_max_pods(cell: Cell) -> Worth {
    match cell.knowledge {
        Cluster | Basic if !is_counting(cell) => instead(Id::MaxPodsTooLow, &[]),
        _ => counted(cell, by_node(cell)),
    }
}

fn subnet_excluded_by_tag(cell: Cell) -> Worth {
    match cell.knowledge {
        _ if cell.version < RESPECTS_TAG => NOTHING,
        Cluster | Basic | WithoutNodes => Likely(&[Subnets]),
        PagesOnly => instead(Id::WarmPoolTooSmall, &[AgentPods, Nodes]),
    }
}

fn eniconfig_invalid(cell: Cell) -> Worth {
    let worth = match cell.knowledge {
        Cluster => Certain,
        Basic | WithoutNodes => Likely(&[EniConfigs]),
        PagesOnly => instead(Id::Ec2RefusesOtherwise, &[AgentPods]),
    };
    refused(cell, worth)
}

fn warm_pool_too_small(cell: Cell) -> Worth {
    let worth = match cell.knowledge {
        Cluster | Basic => Certain,
        WithoutNodes => Likely(&[Nodes]),
        PagesOnly => Likely(&[Nodes, AgentPods]),
    };
    counted(cell, worth)
}

fn agent_silent(cell: Cell) -> Worth {
    match cell.knowledge {
        Cluster | Basic => Certain,
        WithoutNodes => Likely(&[Nodes]),
        PagesOnly => Likely(&[AgentPods, Nodes]),
    }
}
