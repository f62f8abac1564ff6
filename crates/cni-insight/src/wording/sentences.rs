//! One sentence per finding.

use cni_types::ec2::CodeMeaning;

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::finding::{Certainty, Identity};
use crate::grouped::Group;

/// The sentence.
pub(super) fn sentence(identity: &Identity, group: &Group) -> String {
    let facts = identity.id.facts();
    let who = group.who(identity);
    if !facts.is_cause {
        return trouble(identity.id, group, &who);
    }
    let verb = match (group.counting_totals, group.nodes) {
        (true, _) => "refused",
        (false, 1) => "has refused",
        (false, _) => "have refused",
    };
    let requests = match group.refused {
        refused if refused < 1.0 => "requests for a pod address".to_owned(),
        refused if refused < 2.0 => "1 request for a pod address".to_owned(),
        refused => format!("{refused} requests for a pod address"),
    };
    let when = match (group.counting_totals, group.nodes) {
        (false, _) => "",
        (true, 1) => " since its agent's start; whether it still does takes a second page",
        (true, _) => " since the agents' start; whether they still do takes a second page",
    };
    let perhaps = if group.certainty() == Certainty::Likely { "likely: " } else { "" };
    format!("{who} {verb} {requests}{when}; {perhaps}{}.", cause(identity.id, group))
}

/// Why, after "refuse requests; ".
fn cause(id: FindingId, group: &Group) -> String {
    use FindingId as Id;
    match id {
        Id::InstanceMetadataFailing => {
            "the instance metadata service does not answer the agent, so requests fail before an address is looked for"
                .to_owned()
        }
        Id::ProvisioningDisabled => {
            format!("{}=true keeps the agent from attaching addresses", group.word().unwrap_or("a setting"))
        }
        Id::Ipv6PrefixMissing => "an IPv6 node without a prefix has no address for pods".to_owned(),
        Id::SubnetExcludedByTag => format!(
            "the node's own subnet is excluded by the tag kubernetes.io/role/cni, so the addresses of its first ENI are given to no \
             pod ({} of {} held, {} assigned)",
            group.held.text(),
            group.usable.text(),
            group.assigned.text()
        ),
        Id::NodeCordoned => {
            format!("the agent does not grow the pool of a cordoned node ({} addresses held)", group.held.text())
        }
        Id::MinimumWithoutWarm => format!(
            "MINIMUM_IP_TARGET={} without WARM_IP_TARGET: the agent holds {} addresses and asks for no more",
            group.setting.text(),
            group.held.text()
        ),
        Id::WarmTargetsZero => "WARM_ENI_TARGET=0 without WARM_IP_TARGET and MINIMUM_IP_TARGET: the agent asks for \
             addresses only once a pod was refused"
            .to_owned(),
        Id::PoolCappedByMaxPods | Id::MaxEniSetting | Id::CooldownOnFullNode | Id::MaxPodsTooHigh | Id::NodeFull => {
            full(id, group)
        }
        Id::PoolLoopStalled | Id::EniAttachStuck | Id::PoolGrowing | Id::WarmPoolTooSmall | Id::CauseUnknown => {
            pace(id, group)
        }
        _ => call(id, group),
    }
}

fn full(id: FindingId, group: &Group) -> String {
    let (held, usable, pods) = (group.held.text(), group.usable.text(), group.max_pods.text());
    match id {
        FindingId::PoolCappedByMaxPods => format!(
            "the agent holds {held} addresses and asks for no more, as the node may have {pods} pods; {usable} would fit"
        ),
        FindingId::MaxEniSetting => format!(
            "all {usable} addresses are held, and MAX_ENI={} allows no more ENIs; the type has {}",
            group.setting.text(),
            group.type_enis.text()
        ),
        FindingId::CooldownOnFullNode => format!(
            "all {usable} addresses that the node can use are held, and those of ended pods cool down before they are given \
             again ({} assigned)",
            group.assigned.text()
        ),
        FindingId::MaxPodsTooHigh => {
            format!("the node may have {pods} pods, but has addresses for {usable}, all of them held")
        }
        _ => format!("all {usable} addresses that the node can use are held ({} assigned)", group.assigned.text()),
    }
}

fn pace(id: FindingId, group: &Group) -> String {
    match id {
        FindingId::PoolLoopStalled => {
            "a pool action runs on and on, and the node gets neither addresses nor ENIs".to_owned()
        }
        FindingId::EniAttachStuck => "an ENI was attached, and did not appear in the instance metadata".to_owned(),
        FindingId::PoolGrowing => {
            format!(
                "the pool grows ({} of {} addresses held), and pods wait a moment",
                group.held.text(),
                group.usable.text()
            )
        }
        FindingId::WarmPoolTooSmall => format!(
            "pods start faster than the warm pool grows ({} of {} addresses held, {} assigned), and no call fails",
            group.held.text(),
            group.usable.text(),
            group.assigned.text()
        ),
        _ if group.counting_totals => "nothing on one page says why".to_owned(),
        _ => "the nodes are not full, no call of growth failed, and nothing else that was read explains it".to_owned(),
    }
}

/// Failed calls: `AssignPrivateIpAddresses failed with InsufficientFreeAddressesInSubnet: …`.
fn call(id: FindingId, group: &Group) -> String {
    let why = match id {
        FindingId::IamRoleUnusable => "the agents' credentials are refused",
        FindingId::IamPermissionMissing => "the agents' role lacks the permission",
        FindingId::SubnetFragmented => "no /28 block of the subnet is free: it is fragmented, or full",
        FindingId::SubnetExhausted if group.certainty() == Certainty::Certain => "the subnet has no free address",
        FindingId::SubnetExhausted => "the subnet has fewer free addresses than a new ENI asks for",
        FindingId::EniSlotsTaken => "the instance has as many ENIs as its type may have, and not all are the agent's",
        FindingId::EniQuotaReached => "the account's quota of network interfaces in the region is used up",
        FindingId::EniconfigInvalid => "the ENIConfig names a subnet or a security group that does not fit",
        FindingId::Ec2Throttled => "EC2 throttles the account",
        FindingId::Ec2Unreachable => "the agents do not reach EC2",
        _ => {
            group.errors.keys().next().and_then(|(_, code)| CodeMeaning::of(code)).map_or("", |meaning| match meaning {
                CodeMeaning::ServiceFault => "EC2 has a fault, and the agents try again",
                CodeMeaning::WrongReference => "a subnet or a security group does not exist",
                CodeMeaning::InvalidValue => "EC2 refuses a value, such as a security group of another VPC",
                _ => "",
            })
        }
    };
    let word = group.word().filter(|_| id == FindingId::EniconfigInvalid);
    if let Some(name) = word.filter(|_| group.errors.is_empty()) {
        return format!("with custom networking ENIs are made by the ENIConfig {name}, and there is none of this name");
    }
    let named = word.map(|name| format!("the ENIConfig {name} names a subnet or a security group that does not fit"));
    let why = named.as_deref().unwrap_or(why);
    let calls: Vec<String> = group.errors.keys().map(|(api, code)| format!("{api} with {code}")).collect();
    match (calls.is_empty(), why.is_empty()) {
        (true, _) => format!("{why}: their calls fail without an answer"),
        (false, true) => format!("EC2 answered {}", calls.join(", ")),
        (false, false) => format!("{why} (EC2 answered {})", calls.join(", ")),
    }
}

/// What is wrong beside refusals.
fn trouble(id: FindingId, group: &Group, who: &str) -> String {
    use FindingId as Id;
    let (count, word) = (group.count, group.word().unwrap_or("unknown"));
    let is_one = group.nodes == 1;
    // The verb after the agents.
    let (are, were, give, end) = if is_one { ("is", "was", "gives", "ends") } else { ("are", "were", "give", "end") };
    let do_not = if is_one { "does not" } else { "do not" };
    let number = |one: &str, many: &str| if count < 2.0 { format!("{count} {one}") } else { format!("{count} {many}") };
    let agents = if is_one { format!("the agent of {who}") } else { format!("the agents of {who}") };
    match id {
        Id::BranchEniNotProvided if count < 1.0 => {
            format!("{who}: pods get no branch ENI, likely: {word}, and pods ask without being given an address.")
        }
        Id::TrunkSlotMissing => format!(
            "{who}: all ENI slots are taken, and none is left for the trunk that security groups for pods need, so the agent asks for \
             none; pods with security groups of their own are not scheduled there."
        ),
        Id::EniconfigMissing => {
            format!("{who}: custom networking is on, and there is no ENIConfig {word}: the pool cannot grow there.")
        }
        Id::BranchEniNotProvided => format!(
            "{who}: pods get no branch ENI, likely; {count} errors while the trunk was set up, and pods ask without being given \
             an address."
        ),
        Id::AgentSettingsRefused => format!("{agents} {end} at the start: {word}."),
        Id::AgentNotStarted => {
            format!("{agents} {are} not ready and {give} no metrics page ({word}); pods there get no address.")
        }
        Id::AgentNotReady => {
            let serve = if is_one { "serves" } else { "serve" };
            format!(
                "{agents} {serve} the metrics page, but {are} not ready for two minutes or longer; pods there may wait."
            )
        }
        Id::AgentSilent => {
            format!("{agents} {are} ready and {give} no metrics page ({word}), so nothing is known of the pool there.")
        }
        Id::AgentRestarting => format!("{agents} {were} restarted {count} times in 30 minutes."),
        Id::EnisForceRemoved => {
            format!("{who}: {} vanished.", number("ENI that pods used", "ENIs that pods used"))
        }
        Id::AddressesForceRemoved => {
            format!("{who}: {} vanished.", number("address in use", "addresses in use"))
        }
        Id::PoolOutOfStep if group.word().is_some() => format!(
            "{who}: {count} answers of EC2 and of instance metadata differed from the agent's datastore within the last minutes, and \
             nothing had to be repaired."
        ),
        Id::PoolOutOfStep => {
            format!("{who}: the agent's datastore and EC2 differed in {count} comparisons within 15 minutes.")
        }
        Id::IamRightMissingQuiet => format!(
            "{agents} may not call ec2:{word} (UnauthorizedOperation {count} times): no pod is refused for it, but addresses and \
             ENIs are left over."
        ),
        Id::MetricsDisabled => format!("{who}: not measured, since DISABLE_METRICS is true."),
        _ => format!(
            "{agents} {do_not} count refused requests (versions before v1.16): refusals are inferred from addresses that are all in use."
        ),
    }
}

/// Nodes that wait for their pool often, each for a moment.
pub(super) fn share(group: &Group, who: &str) -> String {
    format!(
        "{who}: in {:.1} % of the nodes' rounds of the last six hours pods waited for the warm pool to grow.",
        group.count
    )
}

/// What [`Group::count`] counts, and what says so.
pub(super) fn counted_as(id: FindingId, group: &Group) -> (&'static str, Source) {
    use FindingId as Id;
    let of_pages = match id {
        Id::SettingsDiffer | Id::AgentVersionsDiffer => return ("nodes with what most have", Source::AgentPods),
        Id::AgentNotReady => return ("agents that are not ready", Source::AgentPods),
        Id::AgentRestarting => return ("restarts in 30 minutes", Source::AgentPods),
        Id::EniconfigMissing => return ("nodes whose ENIConfig is not there", Source::EniConfigs),
        Id::TrunkSlotMissing => return ("nodes that ask for no trunk ENI", Source::CniNodes),
        Id::TargetsIgnoredOnIpv6 => return ("settings without effect, added over the nodes", Source::AgentPods),
        Id::InstanceMetadataFailing => "failed reads of instance metadata, in the newest round",
        Id::PoolLoopStalled => "pages in a row with a pool action, added over the nodes",
        Id::EniAttachStuck => "ENIs that did not appear",
        Id::EnisForceRemoved => "awscni_force_removed_enis",
        Id::AddressesForceRemoved => "awscni_force_removed_ips",
        Id::PoolOutOfStep if group.word().is_some() => "answers that showed a difference, lately",
        Id::PoolOutOfStep => "comparisons that changed something, in 15 minutes",
        Id::IamRightMissingQuiet => "calls with UnauthorizedOperation",
        Id::BranchEniNotProvided => "awscni_pod_eni_error_count",
        Id::WarmPoolOversized => "addresses held without a pod",
        Id::WarmPoolTooSmall => "rounds of nodes with waiting pods, percent",
        Id::AgentSilent | Id::AgentNotStarted | Id::AgentSettingsRefused => {
            "rounds without a page, added over the nodes"
        }
        Id::AgentTooOld => "agents before v1.16",
        _ => "events",
    };
    (of_pages, Source::Rounds)
}
