//! Careful: ADDs wait for an address, the first before the others, while one may be had in time.
//!
//! The original refuses at once, and the runtime asks again some ten seconds later; two pods replaced by two others at once
//! have waited half a minute so while the node could have grown.

use std::collections::VecDeque;

use super::rpc::{Next, Rpcs, State};
use crate::agent::careful::{WAIT_MS, Waiter};
use crate::agent::cx::Cx;
use crate::agent::lane::Lane;
use crate::agent::memory::{Agent, PodKey};
use crate::id::RpcId;
use crate::output::Reply;

/// An answer needs this to reach its caller, milliseconds.
const REPLY_MS: i64 = 1_000;

impl<K: PodKey> Agent<K> {
    /// Addresses that can be given now.
    fn usable(&self) -> u32 {
        self.pool.usable(self.facts.mode, self.ms())
    }

    /// The request that waits longest, if there is an address for it; it waits no longer.
    pub(super) fn next_served(&mut self) -> Option<RpcId> {
        let waits = self.own.as_ref().is_some_and(|own| !own.line.is_empty());
        if !waits || self.usable() == 0 {
            return None;
        }
        let now_ms = self.ms();
        let own = self.own.as_mut()?;
        let Waiter { rpc: served, since_ms, .. } = own.line.pop_front()?;
        own.waits.longest_ms = own.waits.longest_ms.max(now_ms.saturating_sub(since_ms));
        own.waits.served = own.waits.served.saturating_add(1);
        Some(served)
    }

    /// An ADD whose turn it is has to wait: others do, or there is no address.
    pub(super) fn must_wait(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.line.is_empty() || self.usable() == 0)
    }
}

impl<K: PodKey> Rpcs<K> {
    /// An ADD waits from now on, or is refused because there is nothing to wait for.
    pub(super) fn wait(&mut self, cx: &mut Cx<'_, K>, id: RpcId) -> Next {
        let since_ms = cx.ms();
        let Some(rpc) = self.open.get(&id) else { return refused(cx) };
        let caller_ms = rpc.limit_ms.map_or(i64::MAX, |limit_ms| limit_ms.saturating_sub(REPLY_MS));
        let until_ms = since_ms.saturating_add(WAIT_MS).min(caller_ms);
        if !cx.may_hope(until_ms) {
            return refused(cx);
        }
        let again = self.waits_for(cx, &rpc.key);
        if let Some(own) = &mut cx.own {
            own.line.push_back(Waiter { rpc: id, since_ms, until_ms, caller_ms, again });
            own.waits.begun = own.waits.begun.saturating_add(1);
        }
        Next::Wait(State::AddWait)
    }

    fn waits_for(&self, cx: &Cx<'_, K>, key: &K) -> bool {
        let line = cx.own.iter().flat_map(|own| &own.line);
        line.filter_map(|waiter| self.open.get(&waiter.rpc)).any(|rpc| rpc.key == *key)
    }

    /// The pod is deleted: its ADDs wait no longer.
    pub(super) fn end_waits(&mut self, cx: &mut Cx<'_, K>, key: &K) {
        let ended: Vec<RpcId> =
            self.leave(cx, |rpcs, waiter| rpcs.open.get(&waiter.rpc).is_some_and(|rpc| rpc.key == *key));
        for rpc in ended {
            if let Some(own) = &mut cx.own {
                own.waits.deleted = own.waits.deleted.saturating_add(1);
            }
            self.answer(cx, rpc, Reply::AddRefused);
        }
    }

    /// The caller is gone: nothing is looked for any more. False if the request does not wait.
    pub(super) fn caller_left(&mut self, cx: &mut Cx<'_, K>, id: RpcId) -> bool {
        let left = self.leave(cx, |_, waiter| waiter.rpc == id);
        if left.is_empty() {
            return false;
        }
        if let Some(own) = &mut cx.own {
            own.waits.gone = own.waits.gone.saturating_add(1);
        }
        self.open.remove(&id);
        true
    }

    /// Serves those that wait, as far as there are addresses, and refuses those that have waited long enough.
    pub(crate) fn serve(&mut self, cx: &mut Cx<'_, K>) {
        if cx.own.as_ref().is_none_or(|own| own.line.is_empty()) {
            return;
        }
        self.take_turns(cx);
        let now_ms = cx.ms();
        let latest_ms = cx.own.iter().flat_map(|own| &own.line).map(|waiter| waiter.until_ms).max();
        let hope = latest_ms.is_some_and(|latest_ms| cx.may_hope(latest_ms));
        let over = self.leave(cx, |_, waiter| !hope || waiter.until_ms <= now_ms);
        for rpc in over {
            if let Next::Reply(reply) = refused(cx) {
                self.answer(cx, rpc, reply);
            }
        }
    }

    fn leave(&mut self, cx: &mut Cx<'_, K>, leaves: impl Fn(&Self, &Waiter) -> bool) -> Vec<RpcId> {
        let now_ms = cx.ms();
        let Some(own) = &mut cx.agent.own else { return Vec::new() };
        let line = std::mem::take(&mut own.line);
        let (left, kept): (VecDeque<_>, VecDeque<_>) = line.into_iter().partition(|waiter| leaves(self, waiter));
        own.line = kept;
        let waited = left.iter().map(|waiter| now_ms.saturating_sub(waiter.since_ms)).max();
        own.waits.longest_ms = own.waits.longest_ms.max(waited.unwrap_or(0));
        left.into_iter().map(|waiter| waiter.rpc).collect()
    }

    fn answer(&mut self, cx: &mut Cx<'_, K>, id: RpcId, reply: Reply) {
        self.follow(&mut Cx { agent: &mut *cx.agent, lane: Lane::Rpc(id) }, id, Next::Reply(reply));
    }
}

fn refused<K: PodKey>(cx: &mut Cx<'_, K>) -> Next {
    cx.metrics.no_available = cx.metrics.no_available.saturating_add(1);
    if let Some(own) = &mut cx.own {
        own.waits.refused = own.waits.refused.saturating_add(1);
    }
    Next::Reply(Reply::AddRefused)
}
