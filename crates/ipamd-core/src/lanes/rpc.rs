//! What the plugin asks: an address for a pod, and its return.
//!
//! An RPC takes its turn at the store (`rpc_store`), and does the rest on its own.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::id::{EniId, RpcId};
use crate::input::{
    AddRequest, BadInput, BranchEni, DelReason, DelRequest, ImdsEni, ImdsError, ImdsReply, KubeError, KubeReply,
    PodName,
};
use crate::output::{ImdsRead, KubeCall, Output, Reply};
use crate::rare::Empty;
use crate::small_map::SmallMap;
use crate::steps::unassign::Unassigning;
use crate::store::Place;

/// More RPCs than this do not wait at a time: a node has fewer pods.
const MOST: usize = 1_024;

/// RPCs under way.
#[derive(Debug)]
pub(crate) struct Rpcs<K> {
    pub(crate) open: SmallMap<RpcId, Rpc<K>>,
    /// Those that wait for their turn at the store.
    pub(crate) queue: VecDeque<RpcId>,
    /// The one that waits for the checkpoint that is being written.
    pub(crate) writing: Option<RpcId>,
    /// The checkpoint is being written.
    pub(crate) busy: bool,
    /// Careful: it lacks something, and is written again after a pause.
    pub(crate) stale: bool,
}

/// One RPC.
#[derive(Debug)]
pub(crate) struct Rpc<K> {
    pub(crate) key: K,
    pub(crate) pod: PodName,
    /// The pod's UID, where the plugin knows it.
    pub(crate) uid: Box<str>,
    /// Its caller is gone: nothing is replied.
    pub(crate) gone: bool,
    /// Its caller waits no longer than this, milliseconds of the steady clock.
    pub(crate) limit_ms: Option<i64>,
    pub(crate) state: State,
}

/// Where an RPC is.
#[derive(Debug)]
pub(crate) enum State {
    /// An ADD reads its pod, which may want a branch ENI.
    AddPod,
    /// It looks for the trunk's link.
    AddTrunk(Option<BranchEni>),
    /// It waits for its turn at the store.
    AddTurn,
    /// Careful: it waits for an address.
    AddWait,
    /// Its address is being written down.
    AddWrite(Given),
    /// It reads the VPC's CIDRs.
    AddCidrs(Given),
    /// It annotates its pod.
    AddAnnotate(Given, Vec<Box<str>>),
    /// A DEL waits for its turn at the store.
    DelTurn(Box<str>),
    /// That its pod has no address any more is being written down.
    DelWrite,
    /// Prefixes that are of no use any more are given back.
    DelPrefixes(Given, Unassigning),
    /// It clears its pod's annotation.
    DelAnnotate(Given),
    /// The pool does not know the pod: the API server may, by this UID.
    DelPod(Box<str>),
}

/// What a pod has.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// An address of the pool.
    Address(Place),
    /// A branch ENI.
    Branch(Box<BranchEni>),
}

impl<K> Rpcs<K> {
    const fn new() -> Self {
        Self { open: SmallMap::new(), queue: VecDeque::new(), writing: None, busy: false, stale: false }
    }

    /// No RPC is under way and nothing is to be written: nothing need be remembered.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.queue.is_empty() && self.writing.is_none() && !self.busy && !self.stale
    }
}

impl<K: 'static> Empty for Rpcs<K> {
    const EMPTY: &'static Self = &Self::new();

    fn empty() -> Self {
        Self::new()
    }
}

/// What becomes of an RPC.
pub(crate) enum Next {
    /// It waits in this state.
    Wait(State),
    /// It is answered.
    Reply(Reply),
    /// It takes its turn at the store.
    Turn(State),
}

impl<K: PodKey> Rpcs<K> {
    /// A plugin asks for an address.
    pub(crate) fn add(&mut self, cx: &mut Cx<'_, K>, request: AddRequest<K>) {
        cx.metrics.add_requests = cx.metrics.add_requests.saturating_add(1);
        if !self.admit(cx, request.rpc) {
            return;
        }
        let next = if cx.config.settings.pod_eni {
            cx.kube(KubeCall::GetPod(request.pod.clone()));
            Next::Wait(State::AddPod)
        } else {
            Next::Turn(State::AddTurn)
        };
        let limit_ms = request.limit_ms.map(|limit_ms| cx.ms().saturating_add(limit_ms));
        let rpc =
            Rpc { key: request.key, pod: request.pod, uid: request.uid, gone: false, limit_ms, state: State::AddTurn };
        self.open.insert(request.rpc, rpc);
        self.follow(cx, request.rpc, next);
    }

    /// A plugin gives an address back.
    pub(crate) fn del(&mut self, cx: &mut Cx<'_, K>, request: DelRequest<K>) {
        let [deleted, undone] = &mut cx.agent.metrics.del_requests;
        let count = match request.reason {
            DelReason::PodDeleted => deleted,
            DelReason::SetupNsFailed => undone,
        };
        *count = count.saturating_add(1);
        if !self.admit(cx, request.rpc) {
            return;
        }
        let rpc = Rpc {
            key: request.key,
            pod: request.pod,
            uid: request.uid.clone(),
            gone: false,
            limit_ms: None,
            state: State::AddTurn,
        };
        self.open.insert(request.rpc, rpc);
        self.follow(cx, request.rpc, Next::Turn(State::DelTurn(request.uid)));
    }

    fn admit(&mut self, cx: &mut Cx<'_, K>, rpc: RpcId) -> bool {
        let bad = if self.open.contains_key(&rpc) {
            BadInput::DuplicateRpc(rpc.0)
        } else if self.open.len() >= MOST {
            BadInput::TooManyRpcs(rpc.0)
        } else {
            return true;
        };
        let reply = Reply::Failed { text: bad.to_string().into() };
        cx.bad.add(bad);
        cx.operations.put(Output::Reply { rpc, reply });
        false
    }

    /// The caller is gone. An RPC that was answered in the meantime is not here any more.
    pub(crate) fn gone(&mut self, cx: &mut Cx<'_, K>, rpc: RpcId) {
        // Careful: a request that waits ends here.
        if self.caller_left(cx, rpc) {
            return;
        }
        if let Some(rpc) = self.open.get_mut(&rpc) {
            rpc.gone = true;
        }
    }

    /// An RPC's lane is woken.
    pub(crate) fn resume(&mut self, cx: &mut Cx<'_, K>, id: RpcId, wake: Wake) {
        let Some(rpc) = self.open.get_mut(&id) else { return };
        let state = std::mem::replace(&mut rpc.state, State::AddTurn);
        let (key, pod) = (rpc.key.clone(), rpc.pod.clone());
        let next = match step(cx, &pod, state, wake) {
            // Careful: a DEL that came in the meantime has freed what was given.
            Next::Reply(Reply::Added { address, .. })
                if cx.is_careful() && cx.pool.owners().get(&key) != Some(&address) =>
            {
                Next::Reply(Reply::AddRefused)
            }
            next => next,
        };
        self.follow(cx, id, next);
    }

    /// Does with an RPC what comes next.
    pub(crate) fn follow(&mut self, cx: &mut Cx<'_, K>, id: RpcId, next: Next) {
        match next {
            Next::Wait(state) => self.set(id, state),
            Next::Reply(reply) => {
                let answered = self.open.remove(&id);
                if let Some(rpc) = answered.as_ref().filter(|_| cx.is_careful()) {
                    told(cx, rpc, &reply);
                }
                if answered.is_some_and(|rpc| !rpc.gone) {
                    cx.operations.put(Output::Reply { rpc: id, reply });
                }
            }
            Next::Turn(state) => {
                self.set(id, state);
                self.queue.push_back(id);
                self.take_turns(cx);
            }
        }
    }

    fn set(&mut self, id: RpcId, state: State) {
        if let Some(rpc) = self.open.get_mut(&id) {
            rpc.state = state;
        }
    }
}

/// Careful: what follows a reply.
fn told<K: PodKey>(cx: &mut Cx<'_, K>, rpc: &Rpc<K>, reply: &Reply) {
    if matches!(reply, Reply::Added { .. }) {
        cx.expect_link(rpc.key.clone(), None);
    }
    let of_branch = |branch: &BranchEni| branch.ipv4.map(IpAddr::from).or(branch.ipv6.map(IpAddr::from));
    let (address, release) = match reply {
        Reply::Added { address, .. } => (Some(*address), false),
        Reply::AddedBranch { branch, .. } => (of_branch(branch), false),
        Reply::Deleted { address, .. } => (Some(*address), true),
        Reply::DeletedBranch { branch } => (of_branch(branch), true),
        _ => (None, false),
    };
    if let Some(address) = address {
        cx.note_address(rpc.pod.clone(), rpc.uid.clone(), address, release);
    }
}

fn step<K: PodKey>(cx: &mut Cx<'_, K>, pod: &PodName, state: State, wake: Wake) -> Next {
    match state {
        State::AddPod => pod_read(cx, wake.kube()),
        State::AddTrunk(branch) => trunk_found(cx, branch, wake.listed()),
        State::AddCidrs(given) => match wake.imds() {
            Ok(ImdsReply::VpcCidrs(cidrs)) => annotate(cx, pod, given, cidrs),
            Ok(_) => failed("the VPC's CIDRs could not be read"),
            Err(error) => failed(&format!("the VPC's CIDRs could not be read: {error}")),
        },
        State::AddAnnotate(given, cidrs) => match wake.kube() {
            Ok(_) => added(cx, given, cidrs),
            Err(_) => Next::Reply(Reply::AddRefused),
        },
        State::DelPrefixes(given, call) => match call.resume(cx, wake) {
            Flow::Wait(call) => Next::Wait(State::DelPrefixes(given, call)),
            Flow::Done(()) => clear_annotation(cx, pod, given),
        },
        State::DelAnnotate(given) => match wake.kube() {
            // A pod that is gone has no annotation.
            Ok(_) | Err(KubeError::NotFound) => deleted(cx, &given),
            Err(error) => failed(&format!("the pod's annotation could not be cleared: {error}")),
        },
        State::DelPod(uid) => unknown_pod(&uid, wake.kube()),
        // These wait for the store, which wakes no RPC's lane.
        turn @ (State::AddTurn | State::AddWait | State::AddWrite(_) | State::DelTurn(_) | State::DelWrite) => {
            Next::Wait(turn)
        }
    }
}

fn failed(text: &str) -> Next {
    Next::Reply(Reply::Failed { text: text.into() })
}

/// Whether the pod wants a branch ENI. The original looks at its first container only.
fn pod_read<K: PodKey>(cx: &mut Cx<'_, K>, result: Result<KubeReply, KubeError>) -> Next {
    let Ok(KubeReply::Pod { branch, wants_branch, .. }) = result else { return Next::Reply(Reply::AddRefused) };
    // Careful: any container may be the one, and so may the annotation of a branch ENI.
    let claims = if cx.is_careful() {
        branch.is_some() || wants_branch.contains(&true)
    } else {
        wants_branch.first() == Some(&true)
    };
    if !claims {
        return Next::Turn(State::AddTurn);
    }
    if !cx.has_trunk() {
        return Next::Reply(Reply::AddRefused);
    }
    cx.imds(ImdsRead::Enis);
    Next::Wait(State::AddTrunk(branch))
}

fn trunk_found<K: PodKey>(
    cx: &mut Cx<'_, K>,
    branch: Option<BranchEni>,
    listed: Result<Vec<ImdsEni>, ImdsError>,
) -> Next {
    let trunks = || cx.pool.enis().iter().filter(|eni| eni.kind == crate::input::EniKind::Trunk);
    let listed = listed.is_ok_and(|listed| trunks().any(|trunk| listed.iter().any(|eni| eni.id == trunk.id)));
    let whole = |branch: &BranchEni| branch.vlan != 0 && (branch.ipv4.is_some() || branch.ipv6.is_some());
    match branch.filter(whole) {
        Some(branch) if listed => read_cidrs(cx, Given::Branch(Box::new(branch))),
        _ => Next::Reply(Reply::AddRefused),
    }
}

/// The VPC's CIDRs are read anew for every pod, after the address is taken.
pub(crate) fn read_cidrs<K: PodKey>(cx: &mut Cx<'_, K>, given: Given) -> Next {
    // Careful: those of the last look, so that no pod waits for the metadata service.
    if cx.is_careful() && !cx.facts.vpc_cidrs.is_empty() {
        let cidrs = cx.facts.vpc_cidrs.clone();
        return added(cx, given, cidrs);
    }
    cx.imds(ImdsRead::VpcCidrs);
    Next::Wait(State::AddCidrs(given))
}

fn address(given: &Given) -> Option<IpAddr> {
    match given {
        Given::Address(place) => Some(place.address),
        Given::Branch(branch) => branch.ipv4.map(IpAddr::from).or(branch.ipv6.map(IpAddr::from)),
    }
}

fn annotate<K: PodKey>(cx: &mut Cx<'_, K>, pod: &PodName, given: Given, cidrs: Vec<Box<str>>) -> Next {
    // Careful: the annotation follows the reply.
    if !cx.config.settings.annotate_pod_ip || cx.is_careful() {
        return added(cx, given, cidrs);
    }
    cx.kube(KubeCall::AnnotatePod { pod: pod.clone(), uid: Box::default(), set: address(&given), release: None });
    Next::Wait(State::AddAnnotate(given, cidrs))
}

fn device<K: PodKey>(cx: &Cx<'_, K>, eni: EniId) -> u8 {
    cx.link(eni).map_or(0, |link| link.device)
}

fn added<K: PodKey>(cx: &Cx<'_, K>, given: Given, vpc_cidrs: Vec<Box<str>>) -> Next {
    Next::Reply(match given {
        Given::Address(place) => Reply::Added { address: place.address, device: device(cx, place.eni), vpc_cidrs },
        Given::Branch(branch) => Reply::AddedBranch { branch: *branch, vpc_cidrs },
    })
}

/// The address is free: what is left to do is the pod's annotation.
pub(crate) fn clear_annotation<K: PodKey>(cx: &mut Cx<'_, K>, pod: &PodName, given: Given) -> Next {
    // Careful: the annotation follows the reply.
    if !cx.config.settings.annotate_pod_ip || cx.is_careful() {
        return deleted(cx, &given);
    }
    cx.kube(KubeCall::AnnotatePod { pod: pod.clone(), uid: Box::default(), set: None, release: address(&given) });
    Next::Wait(State::DelAnnotate(given))
}

fn deleted<K: PodKey>(cx: &Cx<'_, K>, given: &Given) -> Next {
    Next::Reply(match given {
        Given::Address(place) => Reply::Deleted { address: place.address, device: device(cx, place.eni) },
        Given::Branch(branch) => Reply::DeletedBranch { branch: (**branch).clone() },
    })
}

/// A pod that the pool does not know may have a branch ENI.
fn unknown_pod(uid: &str, result: Result<KubeReply, KubeError>) -> Next {
    match result {
        Err(KubeError::NotFound) => Next::Reply(Reply::Gone),
        Ok(KubeReply::Pod { uid: known, .. }) if *known != *uid => failed("the pod of this name has another UID"),
        Ok(KubeReply::Pod { branch: Some(branch), .. }) => Next::Reply(Reply::DeletedBranch { branch }),
        Ok(_) => Next::Reply(Reply::UnknownPod),
        Err(error) => failed(&format!("the pod could not be read: {error}")),
    }
}
