//! Where a new ENI is made: its subnets, best first, and its security groups.

use super::subnets::{for_new_eni, is_excluded};
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::{GroupId, SubnetId};
use crate::input::KubeReply;
use crate::output::{Ec2Call, KubeCall};

/// Name of the `ENIConfig` of a node that names none.
const DEFAULT_CONFIG: &str = "default";

/// The step.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The node's `ENIConfig` is read.
    Config,
    /// The subnets are listed. The groups from before hold if they cannot be.
    Discover(Vec<GroupId>),
    /// They could not be, and the primary ENI's subnet is looked up.
    Fallback(Vec<GroupId>),
    /// The primary ENI's subnet is looked up, without discovery.
    Primary(Vec<GroupId>),
}

/// Where.
#[derive(Debug)]
pub(crate) struct Site {
    /// Subnets to try.
    pub(crate) subnets: Vec<SubnetId>,
    /// Security groups; without any named, those that the primary ENI has at each try.
    pub(crate) groups: Option<Vec<GroupId>>,
}

/// Why nowhere.
#[derive(Debug)]
pub(crate) enum PlanError {
    /// There is no `ENIConfig` to read: the original gives up without counting anything.
    NoConfig,
    /// No subnet.
    NoSubnet(Trouble),
}

type End = Flow<Plan, Result<Site, PlanError>>;

impl Plan {
    /// Reads the node's `ENIConfig`, with custom networking.
    pub(crate) fn config<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        let name = cx.facts.eni_config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
        cx.kube(KubeCall::GetEniConfig { name });
        Self::Config
    }

    /// Looks for subnets, without custom networking.
    pub(crate) fn subnets<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        cx.ec2(Ec2Call::DescribeSubnets, Count::Always);
        let groups = cx.facts.groups.clone();
        if cx.config.settings.subnet_discovery { Self::Discover(groups) } else { Self::Primary(groups) }
    }

    /// Careful: where, without custom networking, by subnets that were read a short while ago.
    pub(crate) fn known<K: PodKey>(cx: &Cx<'_, K>) -> Option<Site> {
        let subnets = cx.known_subnets().filter(|_| !cx.config.settings.custom_networking)?;
        let primary = cx.facts.identity.as_ref().map(|identity| identity.subnet)?;
        let discovers = cx.config.settings.subnet_discovery;
        let valid = if discovers { for_new_eni(subnets, primary) } else { vec![primary] };
        (!valid.is_empty()).then_some(Site { subnets: valid, groups: None })
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        let site = |subnets, groups| Flow::Done(Ok(Site { subnets, groups }));
        let none = |text: &str| Flow::Done(Err(PlanError::NoSubnet(Trouble::plain(text))));
        let primary = cx.facts.identity.as_ref().map(|identity| identity.subnet);
        let Some(primary) = primary else { return none("the primary ENI's subnet is unknown") };
        match self {
            Self::Config => match wake.kube() {
                Ok(KubeReply::EniConfig { subnet, groups }) => {
                    let groups = if groups.is_empty() { cx.facts.groups.clone() } else { groups };
                    site(vec![subnet], Some(groups))
                }
                _ => Flow::Done(Err(PlanError::NoConfig)),
            },
            Self::Discover(groups) => {
                let Ok(subnets) = wake.subnets() else {
                    cx.ec2(Ec2Call::DescribeSubnets, Count::Always);
                    return Flow::Wait(Self::Fallback(groups));
                };
                cx.note_subnets(Some(&subnets));
                let valid = for_new_eni(subnets, primary);
                if valid.is_empty() { none("no subnet is tagged for new ENIs") } else { site(valid, None) }
            }
            Self::Fallback(groups) => match wake.subnets() {
                Ok(subnets) if is_excluded(&subnets, primary) => none("the primary ENI's subnet is excluded"),
                Ok(_) => site(vec![primary], Some(groups)),
                Err(trouble) => Flow::Done(Err(PlanError::NoSubnet(trouble.without_code()))),
            },
            Self::Primary(groups) => match wake.subnets() {
                Ok(subnets) if is_excluded(&subnets, primary) => none("the primary ENI's subnet is excluded"),
                _ => site(vec![primary], Some(groups)),
            },
        }
    }
}
