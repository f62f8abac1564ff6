//! The turn of an RPC at the store: what it changes is written down before the next has its turn.

use super::rpc::{Given, Next, Rpcs, State, clear_annotation, read_cidrs};
use crate::agent::cx::Cx;
use crate::agent::lane::Lane;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::wake::{Flow, Wake};
use crate::block::Block;
use crate::id::RpcId;
use crate::output::{KubeCall, Reply, StoreCall};
use crate::settings::Mode;
use crate::steps::unassign::Unassigning;
use crate::store::Assignment;

/// Careful: pause before a checkpoint that could not be written is written again.
const WRITE_AGAIN_MS: i64 = 1_000;

impl<K: PodKey> Rpcs<K> {
    /// Lets RPCs have their turns until one writes.
    pub(crate) fn take_turns(&mut self, cx: &mut Cx<'_, K>) {
        while !self.busy
            && let Some(id) = cx.next_served().or_else(|| self.queue.pop_front())
        {
            let mut own = Cx { agent: &mut *cx.agent, lane: Lane::Rpc(id) };
            let Some(rpc) = self.open.get_mut(&id) else { continue };
            let state = std::mem::replace(&mut rpc.state, State::AddTurn);
            let (key, pod) = (rpc.key.clone(), rpc.pod.clone());
            let (next, writes) = match state {
                State::DelTurn(uid) => {
                    // Careful: the pod is gone, and with it what it waits for.
                    self.end_waits(&mut own, &key);
                    begin_del(&mut own, &key, &pod, uid)
                }
                // Careful: without an address it waits, behind those that do.
                State::AddTurn if own.must_wait() && own.has_nothing(&key) => (self.wait(&mut own, id), false),
                _ => begin_add(&mut own, &key, &pod),
            };
            if writes {
                self.writing = matches!(next, Next::Wait(State::AddWrite(_) | State::DelWrite)).then_some(id);
                self.write(cx);
            }
            self.conclude(cx, id, next);
        }
    }

    fn write(&mut self, cx: &mut Cx<'_, K>) {
        self.busy = true;
        let generation = cx.next_generation();
        Cx { agent: &mut *cx.agent, lane: Lane::Store }.store(StoreCall::WriteCheckpoint { generation });
    }

    /// The checkpoint is to be written, and no request waits for it: pods lost their addresses, or were freed.
    pub(crate) fn rewrite(&mut self, cx: &mut Cx<'_, K>) {
        if self.stale {
            return;
        }
        if self.busy {
            self.stale = true;
            cx.sleep(WRITE_AGAIN_MS);
        } else {
            self.write(cx);
        }
    }

    /// As `follow`, for an RPC whose turn is over: it does not want another.
    fn conclude(&mut self, cx: &mut Cx<'_, K>, id: RpcId, next: Next) {
        debug_assert!(!matches!(next, Next::Turn(_)), "an RPC has one turn");
        self.follow(&mut Cx { agent: &mut *cx.agent, lane: Lane::Rpc(id) }, id, next);
    }

    /// The checkpoint is written, or is not.
    pub(crate) fn written(&mut self, cx: &mut Cx<'_, K>, wake: Wake) {
        if matches!(wake, Wake::Timer) {
            if self.busy && self.stale {
                cx.sleep(WRITE_AGAIN_MS);
            } else if std::mem::take(&mut self.stale) {
                self.write(cx);
            }
            return;
        }
        self.busy = false;
        let result = wake.store();
        // Careful: what was freed stays free, and is written down as soon as that works.
        if result.is_err() && cx.is_careful() && !self.stale {
            self.stale = true;
            cx.sleep(WRITE_AGAIN_MS);
        }
        if let Some(id) = self.writing.take()
            && let Some(rpc) = self.open.get_mut(&id)
        {
            let state = std::mem::replace(&mut rpc.state, State::AddTurn);
            let mut own = Cx { agent: &mut *cx.agent, lane: Lane::Rpc(id) };
            let next = match (state, result) {
                (State::AddWrite(Given::Address(place)), Ok(())) => {
                    own.ledger().assign_written(place);
                    read_cidrs(&mut own, Given::Address(place))
                }
                (State::DelWrite, Ok(())) => freed(&mut own, &rpc.key, &rpc.pod),
                (State::AddWrite(_), Err(_)) => {
                    own.withdraw(&rpc.key);
                    Next::Reply(Reply::AddRefused)
                }
                (_, Err(error)) => {
                    own.releasing = None;
                    Next::Reply(Reply::Failed { text: format!("the checkpoint could not be written: {error}").into() })
                }
                (state, Ok(())) => Next::Wait(state),
            };
            self.conclude(cx, id, next);
        }
        self.take_turns(cx);
    }
}

impl<K: PodKey> Agent<K> {
    /// The pod has no address, and none that no ENI is known to have yet.
    fn has_nothing(&self, key: &K) -> bool {
        !self.pool.owners().contains_key(key) && !self.held.orphans.iter().any(|orphan| orphan.key == *key)
    }

    /// The number of the next write of the checkpoint.
    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generation = self.generation.saturating_add(1);
        self.generation
    }
}

/// A pod that has an address keeps it; one that gets one has it written down.
fn begin_add<K: PodKey>(cx: &mut Cx<'_, K>, key: &K, pod: &crate::input::PodName) -> (Next, bool) {
    // Careful: the pod has an address that no ENI is known to have yet.
    if cx.held.orphans.iter().any(|orphan| orphan.key == *key) {
        return (Next::Reply(Reply::AddRefused), false);
    }
    let Ok(Assignment { place, repeated }) = cx.assign(key.clone(), pod.clone()) else {
        return (Next::Reply(Reply::AddRefused), false);
    };
    if repeated {
        return (read_cidrs(cx, Given::Address(place)), false);
    }
    (Next::Wait(State::AddWrite(Given::Address(place))), true)
}

/// The address is free when it is written down that it is.
fn begin_del<K: PodKey>(cx: &mut Cx<'_, K>, key: &K, pod: &crate::input::PodName, uid: Box<str>) -> (Next, bool) {
    if cx.pool.owners().contains_key(key) {
        // Careful: a DEL does not wait for the disk; a crash before the write leaves an allocation without an interface, which
        // the next start drops.
        if cx.is_careful() {
            return (freed(cx, key, pod), true);
        }
        cx.releasing = Some(key.clone());
        return (Next::Wait(State::DelWrite), true);
    }
    // Careful: the pod's address is one that no ENI is known to have.
    let orphans = cx.held.orphans.len();
    cx.held.when_there(|held| held.orphans.retain(|orphan| orphan.key != *key));
    if cx.held.orphans.len() < orphans {
        return (Next::Reply(Reply::Gone), false);
    }
    if cx.config.settings.pod_eni {
        cx.kube(KubeCall::GetPod(pod.clone()));
        return (Next::Wait(State::DelPod(uid)), false);
    }
    (Next::Reply(Reply::UnknownPod), false)
}

fn freed<K: PodKey>(cx: &mut Cx<'_, K>, key: &K, pod: &crate::input::PodName) -> Next {
    cx.releasing = None;
    // A comparison may have swept the address in the meantime.
    let Ok(place) = cx.free_address(key) else { return Next::Reply(Reply::UnknownPod) };
    let given = Given::Address(place);
    // The pod had an address of the time when prefix delegation was on: the ENI's free prefixes go.
    if cx.facts.mode == Mode::Secondary && matches!(place.block, Block::Prefix(_)) {
        let mut free = cx.pool.unused_blocks(place.eni, true);
        // Careful: what the host shows in use stays, and what somebody else assigned.
        free.retain(|block| cx.may_give_back(place.eni, *block));
        let gone = cx.take_blocks_out(place.eni, free);
        if let Flow::Wait(call) = Unassigning::begin(cx, place.eni, gone) {
            return Next::Wait(State::DelPrefixes(given, call));
        }
    }
    clear_annotation(cx, pod, given)
}
