//! The loop of an IPv6 node: it waits for a trunk where security groups for pods want one, then looks every minute whether an
//! ENI still lacks its /80.

use crate::agent::attached::Attached;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::EniKind;
use crate::steps::describe::DescribeAll;
use crate::steps::prefix6::Prefix6;
use crate::steps::set_up::{SetUp, SetUpError};

/// Pause between two looks for a trunk.
const TRUNK_MS: i64 = 5_000;
/// Pause between two looks for a missing /80; up to half as much is added.
const HEAL_MS: i64 = 60_000;

/// The loop.
#[derive(Debug)]
pub(crate) enum Ipv6Loop {
    /// All ENIs are described: one may be a trunk.
    Describe(Box<DescribeAll>),
    /// The trunk is set up.
    SetUp(Box<SetUp>),
    /// It sleeps before the next look for a trunk.
    BeforeTrunk,
    /// It sleeps before the next look for a missing /80.
    BeforeHeal,
    /// An ENI gets its /80; these are left.
    Heal(Box<(std::vec::IntoIter<EniId>, Prefix6)>),
}

impl Ipv6Loop {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> Self {
        if cx.config.settings.pod_eni && !cx.has_trunk() {
            return described(cx, DescribeAll::begin);
        }
        rest(cx)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> Self {
        match self {
            Self::Describe(step) => described(cx, |cx| step.resume(cx, wake)),
            Self::SetUp(step) => set_up(cx, |cx| step.resume(cx, wake)),
            Self::BeforeTrunk => described(cx, DescribeAll::begin),
            Self::BeforeHeal => {
                let lacks = cx.pool.enis().iter().all(|eni| eni.excluded || eni.blocks().next().is_none());
                let enis = cx.pool.enis().iter().filter(|eni| lacks && eni.kind != EniKind::Trunk && !eni.excluded);
                let enis: Vec<_> = enis.map(|eni| eni.id).collect();
                next(cx, enis.into_iter())
            }
            Self::Heal(state) => {
                let (left, step) = *state;
                healed(cx, left, |cx| step.resume(cx, wake))
            }
        }
    }
}

fn rest<K: PodKey>(cx: &mut Cx<'_, K>) -> Ipv6Loop {
    let more_ms = cx.chooser.jitter(HEAL_MS / 2);
    cx.sleep(HEAL_MS + more_ms);
    Ipv6Loop::BeforeHeal
}

fn look_again<K: PodKey>(cx: &mut Cx<'_, K>) -> Ipv6Loop {
    cx.sleep(TRUNK_MS);
    Ipv6Loop::BeforeTrunk
}

fn described<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<DescribeAll, Result<Attached, Trouble>>,
) -> Ipv6Loop {
    let attached = match go_on(cx) {
        Flow::Wait(step) => return Ipv6Loop::Describe(Box::new(step)),
        Flow::Done(result) => result.unwrap_or_default(),
    };
    let trunk = attached.enis.iter().find(|eni| attached.kind(eni.id) == EniKind::Trunk).cloned();
    match trunk {
        Some(eni) => set_up(cx, |cx| SetUp::begin(cx, eni, EniKind::Trunk)),
        None => look_again(cx),
    }
}

fn set_up<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<SetUp, Result<(), SetUpError>>,
) -> Ipv6Loop {
    match go_on(cx) {
        Flow::Wait(step) => Ipv6Loop::SetUp(Box::new(step)),
        Flow::Done(Ok(())) => rest(cx),
        Flow::Done(Err(_)) => look_again(cx),
    }
}

fn next<K: PodKey>(cx: &mut Cx<'_, K>, mut left: std::vec::IntoIter<EniId>) -> Ipv6Loop {
    match left.next() {
        Some(eni) => healed(cx, left, |cx| Prefix6::begin(cx, eni)),
        None => rest(cx),
    }
}

fn healed<K: PodKey>(
    cx: &mut Cx<'_, K>,
    left: std::vec::IntoIter<EniId>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Prefix6, Result<(), Trouble>>,
) -> Ipv6Loop {
    match go_on(cx) {
        Flow::Wait(step) => Ipv6Loop::Heal(Box::new((left, step))),
        Flow::Done(_) => next(cx, left),
    }
}
