//! Choices that the original makes by the order of Go's maps, read from its calls and replies and made the same way here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipamd_core::block::Block;
use ipamd_core::chooser::{Chooser, Purpose};
use ipamd_core::id::EniId;

/// A call of the original that shows a choice.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) start_ms: i64,
    /// None while it is under way.
    pub(crate) end_ms: Option<i64>,
    pub(crate) eni: EniId,
    pub(crate) what: What,
}

/// What a call shows.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The ENI gets addresses or prefixes.
    Assign,
    /// It loses these.
    Unassign(Vec<Block>),
    /// It alone is described: it is given up or compared.
    Describe,
    /// It is tagged.
    Tag,
}

/// What is known of the original's choices.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Calls, in the order in which they began, by the world's clock.
    pub(crate) calls: Vec<Shown>,
    /// The CIDRs of its store after the step.
    pub(crate) held: BTreeMap<EniId, Vec<Block>>,
    /// When its ENIs came into the store.
    pub(crate) created_ms: BTreeMap<EniId, i64>,
    /// The address that was taken for the pod that asks now, with its ENI and CIDR.
    pub(crate) given: Option<(EniId, Block, IpAddr)>,
    /// Pods' addresses at the end of the original's start, in the order of the checkpoint here, with the ENI that it restored
    /// each on.
    pub(crate) restored: Vec<(IpAddr, EniId)>,
    /// The same of those that the core has restored where it had the choice.
    restored_here: Vec<(IpAddr, EniId)>,
    /// The time of the input that the core takes.
    pub(crate) now_ms: i64,
    /// A choice that the core did not have.
    pub(crate) inadmissible: Option<String>,
    /// How often there was a choice, by its kind.
    pub(crate) followed: BTreeMap<&'static str, u64>,
}

/// Shared by a world, its core and the comparison.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Choices>>);

impl Script {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Choices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Choices {
    fn index<T: PartialEq + std::fmt::Debug>(
        &mut self,
        kind: &'static str,
        wanted: Option<T>,
        candidates: &[T],
    ) -> usize {
        let Some(wanted) = wanted else { return 0 };
        *self.followed.entry(kind).or_default() += u64::from(candidates.len() > 1);
        let index = candidates.iter().position(|candidate| *candidate == wanted);
        if index.is_none() {
            self.refuse(&format!("{kind}: the original chose {wanted:?}, here there are {candidates:?}"));
        }
        index.unwrap_or(0)
    }

    fn refuse(&mut self, text: &str) {
        let now_ms = self.now_ms;
        self.inadmissible.get_or_insert(format!("at {now_ms} ms: {text}"));
    }

    fn now(&self) -> impl Iterator<Item = &Shown> {
        self.calls.iter().filter(|call| call.start_ms == self.now_ms)
    }

    /// The described ENI that the original works on now. One that came without a call was before one that was called about. One
    /// without trace may be taken at any time, as the steps of these histories do not end before all have been.
    fn next(&self, candidates: &[EniId]) -> Option<EniId> {
        let named = |call: &&Shown| matches!(call.what, What::Describe | What::Tag);
        let named: Vec<_> = self.now().filter(named).map(|call| call.eni).collect();
        let came = candidates.iter().find(|eni| self.created_ms.get(eni) == Some(&self.now_ms));
        came.or_else(|| candidates.iter().find(|eni| named.contains(eni))).copied()
    }

    /// A life begins: the pods that the original restores are not known yet.
    pub(crate) fn begin_life(&mut self) {
        self.restored.clear();
        self.restored_here.clear();
    }

    /// The ENI that the original restored the next pod with this address on. One that it did not restore met another pod's.
    fn restores_on(&mut self, address: IpAddr) -> Option<EniId> {
        let next = self.restored.iter().position(|(known, _)| *known == address);
        let next = next.map(|at| self.restored.remove(at));
        let met = || self.restored_here.iter().find(|(known, _)| *known == address).copied();
        let eni = next.or_else(met)?.1;
        self.restored_here.push((address, eni));
        Some(eni)
    }

    /// What the original releases of an ENI now: prefixes and addresses go in two calls, the second when the first has ended.
    fn released(&self, eni: EniId, candidates: &[Block], count: usize) -> Vec<Block> {
        let blocks = |call: &Shown| match &call.what {
            What::Unassign(blocks) => blocks.clone(),
            What::Assign | What::Describe | What::Tag => Vec::new(),
        };
        let unassigns = |call: &&Shown| call.eni == eni && matches!(call.what, What::Unassign(_));
        let Some(first) = self.now().find(unassigns) else { return Vec::new() };
        let mut released = blocks(first);
        if released.iter().any(|block| matches!(block, Block::Prefix(_))) {
            let follows = |call: &&Shown| Some(call.start_ms) == first.end_ms && unassigns(call);
            let second = self.calls.iter().filter(follows).map(blocks).next().unwrap_or_default();
            released.extend(second.into_iter().filter(|block| matches!(block, Block::Address(_))));
        }
        if first.end_ms.is_none() {
            // The second call is still to come; its addresses have left the store.
            let held = self.held.get(&eni).map(Vec::as_slice).unwrap_or_default();
            let left = candidates.iter().filter(|block| !held.contains(block) && !released.contains(block));
            let left: Vec<_> = left.copied().take(count.saturating_sub(released.len())).collect();
            released.extend(left);
        }
        released
    }
}

/// A chooser that follows, without jitter.
#[derive(Debug)]
pub(crate) struct Follow(pub(crate) Script);

impl Chooser for Follow {
    fn eni(&mut self, purpose: Purpose, candidates: &[EniId]) -> usize {
        let mut choices = self.0.lock();
        let wanted = match purpose {
            Purpose::Assign => choices.given.map(|(eni, ..)| eni),
            // One that loses nothing leaves no trace, and may be taken at any time.
            Purpose::Release => {
                let unassigned = choices.now().find(|call| matches!(call.what, What::Unassign(_)));
                unassigned.map(|call| call.eni).filter(|eni| candidates.contains(eni))
            }
            Purpose::Extend => choices.now().find(|call| matches!(call.what, What::Assign)).map(|call| call.eni),
            Purpose::Next => choices.next(candidates),
            // One that has nothing to give back leaves no trace.
            Purpose::CleanUp => {
                let released = |call: &&Shown| matches!(call.what, What::Unassign(_)) && candidates.contains(&call.eni);
                choices.now().find(released).map(|call| call.eni)
            }
            Purpose::Restore(address) => {
                let eni = choices.restores_on(address);
                if eni.is_none() {
                    choices.refuse(&format!("{address}: the original restored no pod with it"));
                }
                eni
            }
            Purpose::Spare => {
                let described = |call: &&Shown| matches!(call.what, What::Describe) && candidates.contains(&call.eni);
                choices.now().find(described).map(|call| call.eni)
            }
        };
        let kind = match purpose {
            Purpose::Next => "the ENI that is next",
            Purpose::CleanUp => "the ENI that is cleaned up",
            Purpose::Restore(_) => "the ENI that a pod is restored on",
            Purpose::Assign => "the ENI of a pod",
            Purpose::Extend => "the ENI that grows",
            Purpose::Release => "the ENI that releases",
            Purpose::Spare => "the ENI that is given up",
        };
        choices.index(kind, wanted, candidates)
    }

    fn block(&mut self, _eni: EniId, candidates: &[Block]) -> usize {
        let mut choices = self.0.lock();
        let wanted = choices.given.map(|(_, block, _)| block);
        choices.index("the CIDR of a pod", wanted, candidates)
    }

    fn address(&mut self, candidates: &[IpAddr]) -> usize {
        let mut choices = self.0.lock();
        let wanted = choices.given.map(|(.., address)| address);
        choices.index("the address of a pod", wanted, candidates)
    }

    fn blocks(&mut self, eni: EniId, candidates: Vec<Block>, count: usize) -> Vec<Block> {
        let mut choices = self.0.lock();
        let count = count.min(candidates.len());
        if count == 0 {
            return Vec::new();
        }
        let released = choices.released(eni, &candidates, count);
        *choices.followed.entry("the CIDRs that are released").or_default() += u64::from(count < candidates.len());
        if released.len() != count || released.iter().any(|block| !candidates.contains(block)) {
            let text = format!("{eni}: the original released {released:?}, here {count} of {candidates:?} go");
            choices.refuse(&text);
        }
        released
    }

    fn jitter(&mut self, _below_ms: i64) -> i64 {
        0
    }
}

/// The CIDR that a call names: an address, or a prefix with its length.
pub(crate) fn named(text: &str) -> Block {
    match text.strip_suffix("/28") {
        Some(base) => Block::Prefix(base.parse::<Ipv4Addr>().unwrap()),
        None => Block::Address(text.parse().unwrap()),
    }
}
