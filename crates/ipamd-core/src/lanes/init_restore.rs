//! The checkpoint's allocations are taken over, then CIDRs given back that are of no use: those of excluded ENIs, and those of
//! the other mode.

use std::net::IpAddr;

use crate::agent::bindings::BIND_MS;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::veth;
use crate::agent::wake::{Flow, Wake};
use crate::chooser::{Chooser, Purpose};
use crate::id::EniId;
use crate::input::{CheckpointEntry, HostPod, StoreError};
use crate::output::{HostCall, StoreCall};
use crate::settings::Mode;
use crate::steps::unassign::Unassigning;
use crate::store::Refused;

/// The step.
#[derive(Debug)]
pub(crate) enum Restore {
    /// The checkpoint is read.
    Read,
    /// The host lists the interfaces of pods.
    Pods,
    /// What is left of the checkpoint is written.
    Write,
    /// CIDRs without pods are given back.
    Clean(Cleaning),
    /// Rules of pods are written anew.
    Rules,
}

/// Which CIDRs of which ENI leave.
#[derive(Debug)]
pub(crate) struct Cleaning {
    /// The ENI, and whether its prefixes or its addresses leave.
    left: Vec<(EniId, bool)>,
    call: Unassigning,
}

type End = Flow<Restore, Result<(), Box<str>>>;

impl Restore {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        cx.store(StoreCall::ReadCheckpoint);
        Self::Read
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Read => match wake.store() {
                Ok(()) => {
                    cx.host(HostCall::ListPods);
                    Flow::Wait(Self::Pods)
                }
                Err(StoreError::Missing) => clean(cx),
                Err(error) => Flow::Done(Err(format!("the checkpoint could not be read: {error}").into())),
            },
            Self::Pods => match wake.host_pods() {
                Ok(pods) => match take_over(cx, &pods) {
                    Ok(()) => {
                        let generation = cx.next_generation();
                        cx.store(StoreCall::WriteCheckpoint { generation });
                        Flow::Wait(Self::Write)
                    }
                    Err(reason) => Flow::Done(Err(reason)),
                },
                Err(error) => Flow::Done(Err(format!("the interfaces of pods could not be listed: {error}").into())),
            },
            // That it could not be written is only a line of the log.
            Self::Write => clean(cx),
            Self::Clean(Cleaning { left, call }) => match call.resume(cx, wake) {
                Flow::Wait(call) => Flow::Wait(Self::Clean(Cleaning { left, call })),
                Flow::Done(()) => clean_next(cx, left),
            },
            Self::Rules => Flow::Done(Ok(())),
        }
    }
}

/// Allocations of pods whose interface is gone are dropped, and those whose address no CIDR holds.
pub(super) fn take_over<K: PodKey>(cx: &mut Cx<'_, K>, pods: &[HostPod]) -> Result<(), Box<str>> {
    let ipv6 = cx.facts.mode == Mode::Ipv6;
    let now_ns = cx.now.unix_ns;
    // Careful: the interface of a pod that was told its address a moment ago is still to come.
    let young = |entry: &CheckpointEntry<K>| now_ns.saturating_sub(entry.allocated_ns) < BIND_MS * 1_000_000;
    for entry in std::mem::take(&mut cx.restored) {
        let address = if ipv6 { entry.ipv6.map(IpAddr::from) } else { entry.ipv4.map(IpAddr::from) };
        let Some(address) =
            address.filter(|address| is_alive(&entry, *address, pods) || cx.is_careful() && young(&entry))
        else {
            continue;
        };
        // Careful: the second file may have been written after the pod's DEL, and the checkpoint not; or before its ADD.
        if cx.is_careful() {
            cx.pool.end_rest(address);
        }
        match cx.recover(entry.key.clone(), address, entry.pod.clone(), entry.allocated_ns) {
            // Careful: a listing may be old, and the address is the pod's when it comes.
            Err(Refused::UnknownAddress) if cx.is_careful() => cx.held.orphans.push(entry),
            // An address that no CIDR here holds is forgotten with its pod.
            Ok(_) | Err(Refused::UnknownAddress) => {}
            Err(refused) => return Err(format!("the checkpoint cannot be taken over: {address}: {refused}").into()),
        }
    }
    if cx.is_careful() {
        let keys: Vec<K> =
            cx.pool.owners().keys().chain(cx.held.orphans.iter().map(|entry| &entry.key)).cloned().collect();
        for key in keys {
            cx.expect_link(key, None);
        }
        cx.rest_as_before();
        cx.see_links(pods);
        cx.see_traces(pods);
    }
    Ok(())
}

/// An interface on the host bears the pod's name. For an allocation without a name the address decides: it is kept if the host
/// routes it to a pod, or shows no routes at all.
fn is_alive<K>(entry: &CheckpointEntry<K>, address: IpAddr, pods: &[HostPod]) -> bool {
    if entry.pod.name.is_empty() {
        let routed = pods.iter().any(|pod| pod.routes.contains(&address));
        return routed || pods.iter().all(|pod| pod.routes.is_empty());
    }
    let suffix = veth::suffix(&entry.pod);
    pods.iter().any(|pod| pod.name.ends_with(&suffix))
}

/// Gives back what is of no use, and has the rules of pods written.
pub(super) fn clean<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
    let mode = cx.facts.mode;
    let mut jobs = Vec::new();
    if mode != Mode::Ipv6 {
        let prefixes = mode == Mode::Prefix;
        let excluded = cx.pool.enis().iter().filter(|eni| eni.excluded).map(|eni| (eni.id, prefixes));
        jobs.extend(excluded);
        jobs.extend(cx.pool.enis().iter().map(|eni| (eni.id, !prefixes)));
    }
    clean_next(cx, jobs)
}

/// Excluded ENIs come first, then all for CIDRs of the other mode; within each the original keeps no order.
fn take_next(left: &mut Vec<(EniId, bool)>, chooser: &mut dyn Chooser) -> Option<(EniId, bool)> {
    let (_, prefixes) = *left.first()?;
    let same = left.iter().take_while(|(_, kind)| *kind == prefixes);
    let candidates: Vec<_> = same.map(|(eni, _)| *eni).collect();
    let index = if candidates.len() > 1 { chooser.eni(Purpose::CleanUp, &candidates) } else { 0 };
    Some(left.remove(if index < candidates.len() { index } else { 0 }))
}

/// These releases are not remembered: a comparison takes back at once what EC2 did not take.
fn clean_next<K: PodKey>(cx: &mut Cx<'_, K>, mut left: Vec<(EniId, bool)>) -> End {
    while let Some((eni, prefixes)) = take_next(&mut left, &mut *cx.chooser) {
        let mut blocks = cx.pool.unused_blocks(eni, prefixes);
        // Careful: what the host shows in use stays, and what somebody else assigned.
        blocks.retain(|block| cx.may_give_back(eni, *block));
        if blocks.is_empty() {
            continue;
        }
        let gone = cx.take_blocks_out(eni, blocks);
        if let Flow::Wait(call) = Unassigning::begin(cx, eni, gone) {
            return Flow::Wait(Restore::Clean(Cleaning { left, call }));
        }
    }
    // The original writes none of IPv6 pods.
    let ips = cx.pool.owners().values().copied().filter(IpAddr::is_ipv4).collect();
    cx.host(HostCall::RefreshPodRules { ips });
    Flow::Wait(Restore::Rules)
}
