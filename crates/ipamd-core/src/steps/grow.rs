//! One step of growth: addresses on an ENI that is there, or one more ENI.

use cni_types::ec2::Ec2Code;

use super::alloc::Allocating;
use crate::agent::cx::Cx;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Assigned, Flow, Wake};
use crate::block::Block;
use crate::chooser::Purpose;
use crate::id::EniId;
use crate::input::Ec2Eni;
use crate::metrics::{Action, IpamdError};
use crate::output::{Ec2Call, Want};
use crate::settings::Mode;
use crate::store::PoolEni;

/// Pause of growth after a subnet had no more addresses.
const INSUFFICIENT_REST_MS: i64 = 120_000;

/// The step.
#[derive(Debug)]
pub(crate) enum Growing {
    /// An ENI gets addresses.
    Assign(Extending),
    /// EC2 says that the ENI is full, or did not answer: what it has is looked up.
    LookUp(Extending),
    /// An ENI more.
    Allocate(Allocating),
}

/// ENIs that can hold more, and what each still can hold.
#[derive(Debug)]
pub(crate) struct Extending {
    eni: EniId,
    second_try: bool,
    /// An assignment was not answered: what the ENI has decides whether it was done.
    unknown: bool,
    /// Careful: what the ENI had when it was asked for more. A comparison may have found the rest meanwhile.
    had: Vec<Block>,
    left: Vec<(EniId, u32)>,
}

/// Only an error of addresses for an ENI that is there is one; a start cannot go on with it.
pub(crate) type End = Flow<Growing, Result<(), Trouble>>;

impl<K: PodKey> Agent<K> {
    fn extensible(&self) -> Vec<(EniId, u32)> {
        let (targets, stats) = (self.targets(), self.pool.stats(self.facts.mode, self.ms()));
        let can = self.pool.allocatable(self.slots(), self.config.settings.custom_networking);
        let wanted = can.into_iter().filter_map(|eni| self.pool.eni(eni)).map(|eni| {
            let have = u32::try_from(eni.slots_used()).unwrap_or(u32::MAX);
            let count = match self.facts.mode {
                Mode::Prefix => targets.prefixes_wanted(&stats).min(targets.slots.saturating_sub(have)),
                _ => targets.addresses_wanted(&stats, have),
            };
            (eni.id, count)
        });
        wanted.filter(|(_, count)| *count > 0).collect()
    }
}

impl Growing {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        cx.metrics.progress(Action::Increase, 1);
        let rests = |since_ms: i64| cx.ms().saturating_sub(since_ms) <= INSUFFICIENT_REST_MS;
        let end = if cx.growth_suspended() || cx.times.insufficient.is_some_and(rests) {
            Flow::Done(Ok(()))
        } else {
            let left = cx.extensible();
            next_eni(cx, left)
        };
        closing(cx, end)
    }

    /// Careful: this number of addresses or prefixes more on this ENI.
    pub(crate) fn extend<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, count: u32) -> End {
        cx.metrics.progress(Action::Increase, 1);
        let had = cx.pool.eni(eni).into_iter().flat_map(PoolEni::blocks).collect();
        Extending { eni, second_try: false, unknown: false, had, left: Vec::new() }.ask(cx, count)
    }

    /// Careful: one more ENI with this number.
    pub(crate) fn allocate<K: PodKey>(cx: &mut Cx<'_, K>, count: u32) -> End {
        cx.metrics.progress(Action::Increase, 1);
        let end = allocated(cx, |cx| Allocating::begin_with(cx, count));
        closing(cx, end)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        let end = match self {
            Self::Assign(extending) => extending.answered(cx, wake.assigned()),
            Self::LookUp(extending) => extending.looked_up(cx, wake.described()),
            Self::Allocate(step) => allocated(cx, |cx| step.resume(cx, wake)),
        };
        closing(cx, end)
    }
}

/// The gauge of steps in progress goes down with the end of this one.
fn closing<K: PodKey>(cx: &mut Cx<'_, K>, end: End) -> End {
    if matches!(end, Flow::Done(_)) {
        cx.metrics.progress(Action::Increase, -1);
    }
    end
}

fn next_eni<K: PodKey>(cx: &mut Cx<'_, K>, mut left: Vec<(EniId, u32)>) -> End {
    if left.is_empty() {
        return if cx.has_room() { allocated(cx, Allocating::begin) } else { Flow::Done(Ok(())) };
    }
    let candidates: Vec<_> = left.iter().map(|(eni, _)| *eni).collect();
    let index = cx.chooser.eni(Purpose::Extend, &candidates);
    let (eni, count) = left.remove(if index < left.len() { index } else { 0 });
    Extending { eni, second_try: false, unknown: false, had: Vec::new(), left }.ask(cx, count)
}

impl Extending {
    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>, count: u32) -> End {
        let want = if cx.facts.mode == Mode::Prefix { Want::Ipv4Prefixes(count) } else { Want::Ipv4(count) };
        cx.ec2(Ec2Call::Assign { eni: self.eni, want }, Count::Always);
        Flow::Wait(Growing::Assign(self))
    }

    fn answered<K: PodKey>(mut self, cx: &mut Cx<'_, K>, result: Result<Assigned, Trouble>) -> End {
        let trouble = match result {
            Ok(assigned) => return grew(cx, self.eni, blocks(&assigned)),
            Err(trouble) => trouble,
        };
        // Careful: an assignment is not idempotent, so one that may have been done is looked at before it is repeated.
        self.unknown = cx.is_careful() && trouble.is_unknown() && !self.unknown;
        if self.unknown || trouble.is(Ec2Code::PrivateIpAddressLimitExceeded) {
            cx.ec2(Ec2Call::DescribeEnis { ids: vec![self.eni] }, Count::ExceptMissing);
            return Flow::Wait(Growing::LookUp(self));
        }
        if !self.second_try {
            self.second_try = true;
            return self.ask(cx, 1);
        }
        cx.metrics.ipamd_error(IpamdError::AllocAddresses);
        // With discovery on, another ENI may lie in a subnet that has addresses.
        if cx.config.settings.subnet_discovery && trouble.is_insufficient() {
            return next_eni(cx, self.left);
        }
        if trouble.is_insufficient()
            && let Some(subnet) = cx.pool.eni(self.eni).map(|eni| eni.subnet)
        {
            cx.subnet_is_short(subnet);
        }
        gave_up(cx, trouble)
    }
}

impl Extending {
    /// What a full ENI has is taken over, of this mode's kind.
    fn looked_up<K: PodKey>(mut self, cx: &mut Cx<'_, K>, result: Result<Vec<Ec2Eni>, Trouble>) -> End {
        let described = match result {
            Ok(found) => found.into_iter().next().ok_or_else(|| Trouble::plain("EC2 described no network interface")),
            Err(trouble) if trouble.is(Ec2Code::InvalidNetworkInterfaceIdNotFound) => Err(trouble.without_code()),
            Err(trouble) => Err(trouble),
        };
        let found: Vec<_> = match described {
            Ok(described) if cx.facts.mode == Mode::Prefix => {
                described.ipv4_prefixes.into_iter().map(Block::Prefix).collect()
            }
            Ok(described) => described.ipv4.into_iter().map(Block::Address).collect(),
            Err(trouble) => {
                cx.metrics.ipamd_error(IpamdError::GetEniAddresses);
                return gave_up(cx, trouble);
            }
        };
        if self.unknown && !self.second_try && found.iter().all(|block| self.had.contains(block)) {
            self.second_try = true;
            return self.ask(cx, 1);
        }
        grew(cx, self.eni, found)
    }
}

fn blocks(assigned: &Assigned) -> Vec<Block> {
    let addresses = assigned.ipv4.iter().copied().map(Block::Address);
    addresses.chain(assigned.ipv4_prefixes.iter().copied().map(Block::Prefix)).collect()
}

fn grew<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, blocks: Vec<Block>) -> End {
    cx.lend(eni, &blocks);
    cx.take_blocks_in(eni, blocks);
    cx.has_grown();
    Flow::Done(Ok(()))
}

impl<K: PodKey> Cx<'_, K> {
    fn has_grown(&mut self) {
        let lane = self.lane;
        self.note_growth(lane, |growth| growth.done = true);
        self.acted();
    }
}

fn gave_up<K: PodKey>(cx: &mut Cx<'_, K>, trouble: Trouble) -> End {
    if trouble.is_insufficient() {
        cx.times.insufficient = Some(cx.ms());
        return Flow::Done(Ok(()));
    }
    Flow::Done(Err(trouble))
}

/// A failed allocation is no error of growth.
fn allocated<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Allocating, Result<(), ()>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Growing::Allocate(step)),
        Flow::Done(result) => {
            if result.is_ok() {
                cx.has_grown();
            }
            Flow::Done(Ok(()))
        }
    }
}
