//! The loop of an IPv4 node: half a pause, a check of the pool, the other half, a comparison when it is due.

use crate::agent::cx::Cx;
use crate::agent::lane::Lane;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::operations::Count;
use crate::agent::wake::{Flow, Wake};
use crate::input::Ec2Subnet;
use crate::output::Ec2Call;
use crate::steps::grow::{self, Growing};
use crate::steps::reconcile::Reconciling;
use crate::steps::shrink::Shrinking;
use crate::steps::spare::Sparing;
use crate::steps::subnets::is_excluded;
use crate::steps::trunk;
use crate::store::Stats;

/// The loop sleeps this long before each of its halves.
const HALF_MS: i64 = 2_500;
/// Between two checks, where no comparison is due.
const PAUSE_MS: i64 = 2 * HALF_MS;
/// A comparison is due when more than this has passed since the pool was changed or compared.
const RECONCILE_MS: i64 = 60_000;
/// More than this lies between two releases.
const DECREASE_MS: i64 = 30_000;

/// The loop.
#[derive(Debug)]
pub(crate) enum PoolLoop {
    /// It sleeps before a check.
    BeforeCheck,
    /// Checks would do nothing, the first of them after a pause from then: they are left out up to a time at which one is due.
    Rest(i64),
    /// Subnets are looked up for ENIs that are held.
    Unhold,
    /// It announces security groups for pods.
    Announce,
    /// The pool grows; these numbers were true before.
    Grow(Box<(Growing, Stats)>),
    /// The pool shrinks.
    Shrink(Box<(Shrinking, Stats)>),
    /// An ENI is given up, after a release or not.
    Spare(Box<Sparing>, bool),
    /// It sleeps before a comparison.
    BeforeReconcile,
    /// It compares.
    Reconcile(Box<Reconciling>),
}

impl PoolLoop {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        cx.sleep(HALF_MS);
        if cx.config.settings.provisioning { Self::BeforeCheck } else { Self::BeforeReconcile }
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> Self {
        match self {
            Self::BeforeCheck | Self::Rest(_) => {
                // Careful: ENIs whose subnets were unknown are looked at again.
                if cx.is_careful() && cx.holds_are_due() {
                    cx.held.asked_ms = Some(cx.ms());
                    let Some(subnets) = cx.known_subnets() else {
                        cx.ec2(Ec2Call::DescribeSubnets, Count::Always);
                        return Self::Unhold;
                    };
                    unhold(cx, &subnets);
                }
                if cx.config.settings.pod_eni && !cx.has_trunk() && trunk::announce(cx) {
                    return Self::Announce;
                }
                check(cx)
            }
            Self::Unhold => {
                let subnets = wake.subnets().ok();
                cx.note_subnets(subnets.as_deref());
                if let Some(subnets) = subnets {
                    unhold(cx, &subnets);
                }
                check(cx)
            }
            Self::Announce => {
                trunk::announced(cx, wake);
                check(cx)
            }
            Self::Grow(state) => {
                let (step, stats) = *state;
                grown(cx, stats, |cx| step.resume(cx, wake))
            }
            Self::Shrink(state) => {
                let (step, stats) = *state;
                shrunk(cx, stats, |cx| step.resume(cx, wake))
            }
            Self::Spare(step, released) => spared(cx, released, |cx| step.resume(cx, wake)),
            Self::BeforeReconcile => {
                if cx.reconcile_is_due(0) {
                    return reconciled(cx, Reconciling::begin);
                }
                Self::begin(cx)
            }
            Self::Reconcile(step) => reconciled(cx, |cx| step.resume(cx, wake)),
        }
    }

    /// The pool or the node may have changed: if a check would do something now, the next one is not left out.
    pub(crate) fn rouse<K: PodKey>(&mut self, cx: &mut Cx<'_, K>) {
        let Self::Rest(since_ms) = *self else { return };
        if !cx.check_does_nothing() && cx.operations.rouse(Lane::Pool) {
            let rested_ms = cx.ms().saturating_sub(since_ms).rem_euclid(PAUSE_MS);
            cx.sleep(PAUSE_MS - rested_ms);
            *self = Self::BeforeCheck;
        }
    }

    /// Checks are left out.
    pub(crate) fn rests(&self) -> bool {
        matches!(self, Self::Rest(_))
    }
}

impl<K: PodKey> Agent<K> {
    /// A check would change nothing and make no call, until the pool or the node changes.
    pub(crate) fn check_does_nothing(&self) -> bool {
        let (targets, stats) = (self.targets(), self.pool.stats(self.facts.mode, self.ms()));
        self.own.is_none()
            && !self.config.settings.pod_eni
            && !targets.too_low(&stats)
            && targets.surplus(&stats) == 0
            && !targets.enis_to_spare(&stats, self.pool.has_idle_eni())
    }

    /// How long it is until the check after which a comparison is due, in whole pauses.
    fn rest_ms(&self) -> i64 {
        let since_ms = self.times.action.map_or(i64::MAX, |since_ms| self.ms().saturating_sub(since_ms));
        let left_ms = RECONCILE_MS.saturating_sub(since_ms.saturating_add(HALF_MS));
        PAUSE_MS * (left_ms.max(0) / PAUSE_MS + 1)
    }

    fn reconcile_is_due(&self, after_ms: i64) -> bool {
        let at_ms = self.ms().saturating_add(after_ms);
        let long_ago = |since_ms: i64| at_ms.saturating_sub(since_ms) > RECONCILE_MS;
        let needs_trunk = self.config.settings.pod_eni && !self.has_trunk();
        needs_trunk || self.times.action.is_none_or(long_ago)
    }

    fn decrease_is_due(&self) -> bool {
        self.times.decrease.is_none_or(|since_ms| self.ms().saturating_sub(since_ms) > DECREASE_MS)
    }
}

/// ENIs that the metadata service shows serve pods again, as their subnets allow.
fn unhold<K: PodKey>(cx: &mut Cx<'_, K>, subnets: &[Ec2Subnet]) {
    for eni in cx.held.enis.clone() {
        let subnet = cx.pool.eni(eni).map(|eni| eni.subnet);
        if !cx.held.missing.contains(&eni) {
            cx.release_hold(eni, subnet.is_some_and(|subnet| is_excluded(subnets, subnet)));
        }
    }
}

/// Grow or shrink, then see about an ENI too many, by the numbers from before.
fn check<K: PodKey>(cx: &mut Cx<'_, K>) -> PoolLoop {
    let (targets, stats) = (cx.targets(), cx.pool.stats(cx.facts.mode, cx.ms()));
    // Careful: the pool grows on lanes of its own, and gives nothing up meanwhile.
    if let Some(own) = &mut cx.own {
        own.look = true;
        if targets.too_low(&stats) || !own.growing.is_empty() || !own.line.is_empty() {
            return checked(cx, false);
        }
    }
    if targets.too_low(&stats) {
        return grown(cx, stats, Growing::begin);
    }
    let over = targets.surplus(&stats);
    if over > 0 && cx.decrease_is_due() {
        return shrunk(cx, stats, |cx| Shrinking::begin(cx, over));
    }
    spare(cx, &stats, false)
}

/// The next cycle tries again, whatever became of this one.
fn grown<K: PodKey>(cx: &mut Cx<'_, K>, stats: Stats, go_on: impl FnOnce(&mut Cx<'_, K>) -> grow::End) -> PoolLoop {
    match go_on(cx) {
        Flow::Wait(step) => PoolLoop::Grow(Box::new((step, stats))),
        Flow::Done(_) => spare(cx, &stats, false),
    }
}

fn shrunk<K: PodKey>(
    cx: &mut Cx<'_, K>,
    stats: Stats,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Shrinking, ()>,
) -> PoolLoop {
    match go_on(cx) {
        Flow::Wait(step) => PoolLoop::Shrink(Box::new((step, stats))),
        Flow::Done(()) => spare(cx, &stats, true),
    }
}

fn spare<K: PodKey>(cx: &mut Cx<'_, K>, stats: &Stats, released: bool) -> PoolLoop {
    if cx.targets().enis_to_spare(stats, cx.pool.has_idle_eni()) {
        return spared(cx, released, Sparing::begin);
    }
    checked(cx, released)
}

fn spared<K: PodKey>(
    cx: &mut Cx<'_, K>,
    released: bool,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Sparing, ()>,
) -> PoolLoop {
    match go_on(cx) {
        Flow::Wait(step) => PoolLoop::Spare(Box::new(step), released),
        Flow::Done(()) => checked(cx, released),
    }
}

/// A release counts from the end of the whole check.
fn checked<K: PodKey>(cx: &mut Cx<'_, K>, released: bool) -> PoolLoop {
    if released {
        cx.acted();
        cx.times.decrease = Some(cx.ms());
    }
    // What makes a comparison due is changed by this loop alone: a stop at which none is due is left out.
    if cx.config.settings.pod_eni || cx.reconcile_is_due(HALF_MS) {
        cx.sleep(HALF_MS);
        return PoolLoop::BeforeReconcile;
    }
    if cx.check_does_nothing() {
        cx.sleep(cx.rest_ms());
        return PoolLoop::Rest(cx.ms());
    }
    cx.sleep(PAUSE_MS);
    PoolLoop::BeforeCheck
}

fn reconciled<K: PodKey>(cx: &mut Cx<'_, K>, go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Reconciling, ()>) -> PoolLoop {
    match go_on(cx) {
        Flow::Wait(step) => PoolLoop::Reconcile(Box::new(step)),
        Flow::Done(()) => PoolLoop::begin(cx),
    }
}
