//! From the start of the process to the open page.
//!
//! What fails for good ends the process with its reason. `init_enis` takes the attached ENIs into the store, `init_restore`
//! the allocations of the checkpoint.

use super::init_enis::InitEnis;
use super::init_restore::{self, Restore};
use super::leak;
use crate::agent::attached::Attached;
use crate::agent::cx::Cx;
use crate::agent::lane::Lane;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::input::{BadInput, Identity, ImdsError, ImdsReply, KubeReply};
use crate::metrics::Action;
use crate::output::{Ec2Call, HostCall, ImdsRead, KubeCall};
use crate::settings::Mode;
use crate::steps::describe::DescribeAll;
use crate::steps::groups::Refreshing;
use crate::steps::grow::{self, Growing};
use crate::steps::replay::Replaying;
use crate::steps::trunk;
use cni_types::limits::InstanceLimits;

/// Pods that a node takes when neither its object nor the list of the image says.
const DEFAULT_MAX_PODS: u32 = 110;
/// The feature of a node with custom networking.
const CUSTOM_NETWORKING: &str = "CustomNetworking";
/// The `ENIConfig` that is no choice of the node's.
const DEFAULT_CONFIG: &str = "default";

/// The lane.
#[derive(Debug)]
pub(crate) enum Init {
    /// Who the instance is.
    Identity,
    /// Limits of a type that is in no table.
    Limits,
    /// CIDRs of the VPC.
    VpcCidrs,
    /// Rules of the whole host.
    Host,
    /// All attached ENIs.
    Describe(Box<DescribeAll>),
    /// They are taken into the store.
    Enis(Box<InitEnis>),
    /// The checkpoint's allocations are taken over, and CIDRs given back that are of no use.
    Restore(Box<Restore>),
    /// Security groups.
    Groups(Box<Refreshing>),
    /// The node object.
    Node,
    /// Custom networking is announced.
    Custom,
    /// Security groups for pods are announced.
    Announce,
    /// Careful: what an earlier life had begun is ended.
    Replay(Box<Replaying>),
    /// The pool grows by one step.
    Prescale(Box<Growing>),
}

/// The page opens, or the process ends for this reason.
type End = Flow<Init, Result<(), Box<str>>>;

fn fatal(text: impl Into<Box<str>>) -> End {
    Flow::Done(Err(text.into()))
}

fn unreadable(what: &str, error: &ImdsError) -> End {
    fatal(format!("{what} could not be read from the instance metadata service: {error}"))
}

impl Init {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        cx.metrics.progress(Action::Init, 1);
        cx.imds(ImdsRead::Identity);
        Self::Identity
    }

    /// Careful: what follows the open page. It is tried again where it fails.
    pub(crate) fn settle<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        if cx.facts.limits.is_some_and(|limits| limits.listed) {
            return described(cx, DescribeAll::begin);
        }
        cx.ec2(Ec2Call::DescribeInstanceType, Count::Plain);
        Flow::Wait(Self::Limits)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Identity => match wake.imds() {
                Ok(ImdsReply::Identity(identity)) => identified(cx, *identity),
                Ok(_) => fatal("the instance metadata service does not say who the instance is"),
                Err(error) => unreadable("the instance's identity", &error),
            },
            Self::Limits => match wake.limits() {
                Ok(limits) => limited(cx, limits),
                Err(trouble) => {
                    let name = cx.facts.identity.as_ref().map(|identity| identity.instance_type.clone());
                    let bad = BadInput::UnknownInstanceType(name.unwrap_or_default());
                    let text = format!("{bad}, and DescribeInstanceTypes failed: {}", trouble.text());
                    cx.bad.add(bad);
                    fatal(text)
                }
            },
            Self::VpcCidrs => match wake.imds() {
                Ok(ImdsReply::VpcCidrs(cidrs)) => {
                    cx.facts.vpc_cidrs = Vec::from(&*cidrs);
                    let primary = cx.node_address();
                    cx.host(HostCall::SetUpHost { vpc_cidrs: cidrs, primary });
                    Flow::Wait(Self::Host)
                }
                Ok(_) => fatal("the instance metadata service does not say the VPC's CIDRs"),
                Err(error) => unreadable("the VPC's CIDRs", &error),
            },
            Self::Host => match wake.host() {
                Ok(_) => {
                    if cx.facts.mode != Mode::Ipv6 {
                        cx.metrics.connmark = [0, 1];
                    }
                    described(cx, DescribeAll::begin)
                }
                Err(error) => fatal(format!("the host's network could not be set up: {error}")),
            },
            Self::Describe(step) => described(cx, |cx| step.resume(cx, wake)),
            Self::Enis(step) => taken_in(cx, |cx| step.resume(cx, wake)),
            Self::Restore(step) => restored(cx, |cx| step.resume(cx, wake)),
            Self::Groups(step) => refreshed(cx, |cx| step.resume(cx, wake)),
            Self::Node => node_seen(cx, wake),
            Self::Custom => match wake.kube() {
                Ok(_) => announce(cx),
                Err(error) => {
                    fatal(format!("the CNINode object could not be given the feature {CUSTOM_NETWORKING}: {error}"))
                }
            },
            Self::Announce => {
                trunk::announced(cx, wake);
                prescale(cx)
            }
            Self::Replay(step) => replayed(cx, |cx| step.resume(cx, wake)),
            Self::Prescale(step) => grown(cx, |cx| step.resume(cx, wake)),
        }
    }
}

fn identified<K: PodKey>(cx: &mut Cx<'_, K>, identity: Identity) -> End {
    let limits = identity.limits;
    cx.identified(identity);
    if cx.config.settings.leak_cleanup {
        let until_ms = cx.ms() + leak::delay_ms(cx);
        cx.operations.sleep(Lane::Leak, until_ms);
    }
    match limits {
        Some(limits) if limits.listed => limited(cx, limits),
        _ => {
            cx.ec2(Ec2Call::DescribeInstanceType, Count::Plain);
            Flow::Wait(Init::Limits)
        }
    }
}

fn limited<K: PodKey>(cx: &mut Cx<'_, K>, limits: InstanceLimits) -> End {
    cx.facts.limits = Some(limits);
    if cx.is_careful() {
        return described(cx, DescribeAll::begin);
    }
    match cx.config.settings.mode(&limits) {
        Ok(mode) => {
            cx.facts.mode = mode;
            cx.metrics.ipv6 = mode == Mode::Ipv6;
            cx.imds(ImdsRead::VpcCidrs);
            Flow::Wait(Init::VpcCidrs)
        }
        Err(refusal) => fatal(refusal.to_string()),
    }
}

fn described<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<DescribeAll, Result<Attached, Trouble>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Init::Describe(Box::new(step))),
        Flow::Done(Err(trouble)) => fatal(format!("the attached ENIs could not be described: {}", trouble.text())),
        Flow::Done(Ok(mut attached)) => {
            cx.set_unmanaged(&attached);
            cx.set_efa_only(&attached);
            let enis = cx.filter_managed(std::mem::take(&mut attached.enis));
            let ours: Vec<_> = enis.iter().map(|eni| eni.id).collect();
            cx.settle_doubts(&ours);
            taken_in(cx, |cx| InitEnis::begin(cx, enis, attached))
        }
    }
}

fn taken_in<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<InitEnis, Result<(), Box<str>>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Init::Enis(Box::new(step))),
        Flow::Done(Err(reason)) => Flow::Done(Err(reason)),
        // Careful: the checkpoint was taken over before the page opened.
        Flow::Done(Ok(())) if cx.is_careful() => restored(cx, init_restore::clean),
        Flow::Done(Ok(())) => Flow::Wait(Init::Restore(Box::new(Restore::begin(cx)))),
    }
}

fn restored<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Restore, Result<(), Box<str>>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => return Flow::Wait(Init::Restore(Box::new(step))),
        Flow::Done(Err(reason)) => return Flow::Done(Err(reason)),
        Flow::Done(Ok(())) => {}
    }
    let now_ms = cx.ms();
    cx.operations.sleep(Lane::Cidrs, now_ms);
    if !cx.config.settings.provisioning {
        return ask_node(cx);
    }
    refreshed(cx, Refreshing::begin)
}

fn refreshed<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Refreshing, Result<(), ImdsError>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Init::Groups(Box::new(step))),
        // Careful: the watcher reads them again.
        Flow::Done(Err(error)) if !cx.is_careful() => unreadable("the security groups", &error),
        Flow::Done(_) => {
            let now_ms = cx.ms();
            cx.operations.sleep(Lane::Groups, now_ms);
            ask_node(cx)
        }
    }
}

/// The node object says how many pods the node takes; without the API server the list of the image does.
fn ask_node<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    if cx.facts.api_server {
        cx.kube(KubeCall::GetNode);
        return Flow::Wait(Init::Node);
    }
    listed_pods(cx)
}

fn listed_pods<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    let listed = cx.facts.limits.filter(|limits| limits.listed);
    cx.facts.max_pods = listed.map_or(DEFAULT_MAX_PODS, |limits| limits.listed_max_pods());
    announce_custom(cx)
}

fn node_seen<K: PodKey>(cx: &mut Cx<'_, K>, wake: Wake) -> End {
    match wake.kube() {
        Ok(KubeReply::Node(node)) if node.max_pods.is_some() => {
            cx.facts.max_pods = node.max_pods.unwrap_or(DEFAULT_MAX_PODS);
            cx.see_node(node);
            announce_custom(cx)
        }
        // Careful: the number of the image's list stands in until the node is seen.
        _ if cx.is_careful() => listed_pods(cx),
        Ok(_) => fatal("the node object does not say how many pods the node takes"),
        Err(error) => fatal(format!("the node object could not be read: {error}")),
    }
}

fn announce_custom<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    let settings = &cx.config.settings;
    let config = cx.facts.eni_config.clone().filter(|name| **name != *DEFAULT_CONFIG);
    match config {
        Some(value) if settings.custom_networking && settings.pod_eni => {
            cx.kube(KubeCall::PatchCniNode { feature: CUSTOM_NETWORKING, value });
            Flow::Wait(Init::Custom)
        }
        _ => announce(cx),
    }
}

fn announce<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    if cx.config.settings.pod_eni && trunk::announce(cx) {
        return Flow::Wait(Init::Announce);
    }
    prescale(cx)
}

fn prescale<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    // Careful: growth has lanes of its own.
    if cx.is_careful() {
        return replayed(cx, Replaying::begin);
    }
    let low = cx.targets().too_low(&cx.pool.stats(cx.facts.mode, cx.ms()));
    if low && cx.config.settings.provisioning && cx.facts.mode != Mode::Ipv6 {
        return grown(cx, Growing::begin);
    }
    end(cx)
}

/// Careful: the start is over, and growth has lanes of its own.
fn replayed<K: PodKey>(cx: &mut Cx<'_, K>, go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Replaying, ()>) -> End {
    if let Flow::Wait(step) = go_on(cx) {
        return Flow::Wait(Init::Replay(Box::new(step)));
    }
    if let Some(own) = &mut cx.own {
        (own.settled, own.look) = (true, true);
    }
    end(cx)
}

fn grown<K: PodKey>(cx: &mut Cx<'_, K>, go_on: impl FnOnce(&mut Cx<'_, K>) -> grow::End) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Init::Prescale(Box::new(step))),
        Flow::Done(Err(trouble)) => fatal(format!("the pool could not grow: {}", trouble.text())),
        Flow::Done(Ok(())) => {
            let empty = cx.pool.stats(cx.facts.mode, cx.ms()).total == 0;
            if cx.config.settings.custom_networking && empty {
                return fatal("custom networking yielded no address");
            }
            end(cx)
        }
    }
}

fn end<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    cx.metrics.progress(Action::Init, -1);
    Flow::Done(Ok(()))
}
