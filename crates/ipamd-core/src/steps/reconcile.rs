//! One pass over all attached ENIs: those of the store are compared, others adopted, and those that are gone swept.

use super::compare::{Comparing, Half, stored};
use super::describe::DescribeAll;
use super::set_up::{SetUp, SetUpError};
use super::tag::Tagging;
use crate::agent::attached::Attached;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::block::Block;
use crate::id::EniId;
use crate::input::{EniKind, ImdsEni};
use crate::metrics::{Action, IpamdError, Reconcile};
use crate::output::ImdsRead;

/// The step.
#[derive(Debug)]
pub(crate) enum Reconciling {
    /// The metadata service lists the ENIs.
    List,
    /// One is not in the store: EC2 describes all.
    Describe(DescribeAll),
    /// An ENI's addresses are compared; its prefixes come next, as the store had them.
    Addresses(Pass, Box<ImdsEni>, Vec<Block>, Comparing),
    /// An ENI's prefixes are compared.
    Prefixes(Pass, Comparing),
    /// An ENI that was met gets its tags.
    Tag(Pass, Box<ImdsEni>, Tagging),
    /// It is set up.
    SetUp(Pass, SetUp),
}

/// What is left of a pass.
#[derive(Debug)]
pub(crate) struct Pass {
    left: Vec<ImdsEni>,
    /// ENIs of the store that were not met.
    unmet: Vec<EniId>,
    attached: Attached,
}

type End = Flow<Reconciling, ()>;

impl Reconciling {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        cx.metrics.progress(Action::Reconcile, 1);
        cx.listing();
        cx.imds(ImdsRead::Enis);
        Flow::Wait(Self::List)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        let end = match self {
            Self::List => listed(cx, wake),
            Self::Describe(step) => described(cx, |cx| step.resume(cx, wake)),
            Self::Addresses(pass, eni, prefixes, step) => {
                addresses(cx, pass, eni, prefixes, |cx| step.resume(cx, wake))
            }
            Self::Prefixes(pass, step) => prefixes(cx, pass, |cx| step.resume(cx, wake)),
            Self::Tag(pass, eni, step) => tagged(cx, pass, eni, |cx| step.resume(cx, wake)),
            Self::SetUp(pass, step) => set_up(cx, pass, |cx| step.resume(cx, wake)),
        };
        if matches!(end, Flow::Done(())) {
            cx.metrics.progress(Action::Reconcile, -1);
        }
        end
    }
}

fn listed<K: PodKey>(cx: &mut Cx<'_, K>, wake: Wake) -> End {
    let Ok(enis) = wake.listed() else {
        cx.metrics.ipamd_error(IpamdError::ReconcileList);
        return Flow::Done(());
    };
    let enis = cx.filter_managed(enis);
    if enis.iter().any(|eni| cx.pool.eni(eni.id).is_none() && !cx.is_changing(eni.id)) {
        cx.listing();
        return described(cx, DescribeAll::begin);
    }
    begin_pass(cx, enis, Attached::default())
}

/// Which ENIs are EFA-only is not learned again: one that was attached since the start is taken for an ordinary one.
fn described<K: PodKey>(
    cx: &mut Cx<'_, K>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<DescribeAll, Result<Attached, Trouble>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Reconciling::Describe(step)),
        // The pass breaks off, and is due again.
        Flow::Done(Err(_)) => Flow::Done(()),
        Flow::Done(Ok(mut attached)) => {
            cx.set_unmanaged(&attached);
            let enis = cx.filter_managed(std::mem::take(&mut attached.enis));
            begin_pass(cx, enis, attached)
        }
    }
}

fn begin_pass<K: PodKey>(cx: &mut Cx<'_, K>, enis: Vec<ImdsEni>, attached: Attached) -> End {
    let mut unmet: Vec<_> = cx.pool.enis().iter().map(|eni| eni.id).collect();
    let mut left = enis;
    // Careful: what is being changed, or was changed since the listing was read, is compared the next time.
    if cx.is_careful() {
        left.retain(|eni| !cx.is_changing(eni.id));
        unmet.retain(|eni| !cx.is_changing(*eni));
    }
    Pass { left, unmet, attached }.next(cx)
}

impl Pass {
    fn next<K: PodKey>(mut self, cx: &mut Cx<'_, K>) -> End {
        let Some(eni) = self.attached.take_next(&mut self.left, &mut *cx.chooser) else {
            // Careful: one listing without an ENI does not sweep it, and one with owners is only held.
            if cx.is_careful() {
                let before = std::mem::replace(&mut cx.held.missing, self.unmet.clone());
                self.unmet.retain(|eni| !cx.is_in_use(*eni) && before.contains(eni));
                for eni in cx.held.missing.clone() {
                    cx.hold(eni);
                }
            }
            for gone in self.unmet {
                if cx.drop_eni_by_force(gone) {
                    cx.metrics.reconciled(Reconcile::EniDel, 1);
                } else {
                    cx.metrics.ipamd_error(IpamdError::ReconcileDelEni);
                }
            }
            cx.acted();
            return Flow::Done(());
        };
        if cx.pool.eni(eni.id).is_some() {
            self.unmet.retain(|known| *known != eni.id);
            // Careful: an ENI that was missing is back.
            if cx.held.missing.contains(&eni.id) && !cx.config.settings.subnet_discovery {
                cx.release_hold(eni.id, false);
            }
            let (held, held_prefixes) = (stored(cx, eni.id, Half::Addresses), stored(cx, eni.id, Half::Prefixes));
            let eni = Box::new(eni);
            let first = Comparing::begin(cx, &eni, Half::Addresses, held);
            return addresses(cx, self, eni, held_prefixes, |_| first);
        }
        let trunk = self.attached.kind(eni.id) == EniKind::Trunk;
        let missing = cx.missing_tags(self.attached.tags(eni.id));
        let tags = if trunk || !cx.config.settings.provisioning { Vec::new() } else { missing };
        let id = eni.id;
        tagged(cx, self, Box::new(eni), |cx| Tagging::begin(cx, id, tags))
    }
}

fn addresses<K: PodKey>(
    cx: &mut Cx<'_, K>,
    pass: Pass,
    eni: Box<ImdsEni>,
    held_prefixes: Vec<Block>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Comparing, ()>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Reconciling::Addresses(pass, eni, held_prefixes, step)),
        Flow::Done(()) => prefixes(cx, pass, |cx| Comparing::begin(cx, &eni, Half::Prefixes, held_prefixes)),
    }
}

fn prefixes<K: PodKey>(
    cx: &mut Cx<'_, K>,
    pass: Pass,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Comparing, ()>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Reconciling::Prefixes(pass, step)),
        Flow::Done(()) => pass.next(cx),
    }
}

fn tagged<K: PodKey>(
    cx: &mut Cx<'_, K>,
    pass: Pass,
    eni: Box<ImdsEni>,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Tagging, Result<(), Trouble>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => Flow::Wait(Reconciling::Tag(pass, eni, step)),
        Flow::Done(Ok(())) => {
            let kind = pass.attached.kind(eni.id);
            set_up(cx, pass, |cx| SetUp::begin(cx, *eni, kind))
        }
        Flow::Done(Err(_)) => {
            cx.metrics.ipamd_error(IpamdError::ReconcileAddEni);
            pass.next(cx)
        }
    }
}

fn set_up<K: PodKey>(
    cx: &mut Cx<'_, K>,
    pass: Pass,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<SetUp, Result<(), SetUpError>>,
) -> End {
    match go_on(cx) {
        Flow::Wait(step) => return Flow::Wait(Reconciling::SetUp(pass, step)),
        Flow::Done(Ok(())) => cx.metrics.reconciled(Reconcile::EniAdd, 1),
        Flow::Done(Err(_)) => cx.metrics.ipamd_error(IpamdError::ReconcileAddEni),
    }
    pass.next(cx)
}
