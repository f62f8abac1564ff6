//! Giving up one ENI that no target needs. It leaves the store before EC2 is asked.

use super::free::{FreeError, Freeing};
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::Intent;
use crate::metrics::IpamdError;
use crate::output::HostCall;
use crate::store::Ledger;

/// The step.
#[derive(Debug)]
pub(crate) enum Sparing {
    /// Careful: that it is about to be given up is written down.
    Intend(EniId),
    /// It is being freed.
    Free(EniId, Freeing),
    /// Its rules are removed from the host.
    Rules(EniId),
}

type End = Flow<Sparing, ()>;

impl Sparing {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        if cx.growth_suspended() {
            return Flow::Done(());
        }
        let (targets, now_ms) = (cx.targets(), cx.ms());
        // Careful: only what was made here is detached and deleted, and nothing that is growing.
        if cx.is_careful() {
            return match cx.spare_of_ours() {
                Some(eni) => {
                    cx.intend(Intent::Free { eni });
                    let lane = cx.lane;
                    cx.ask_to_write(lane);
                    Flow::Wait(Self::Intend(eni))
                }
                None => Flow::Done(()),
            };
        }
        let agent = &mut *cx.agent;
        let mut ledger = Ledger { pool: &mut agent.pool, metrics: &mut agent.metrics };
        let spare = ledger.remove_unused_eni(&targets, now_ms, &mut *agent.chooser);
        let Some(eni) = spare else { return Flow::Done(()) };
        freed(cx, eni, |cx| Freeing::begin(cx, eni))
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Intend(eni) => intended(cx, eni, wake),
            Self::Free(eni, step) => freed(cx, eni, |cx| step.resume(cx, wake)),
            Self::Rules(eni) => {
                if wake.host().is_err() {
                    cx.metrics.ipamd_error(IpamdError::FreeEniRules);
                }
                cx.links.retain(|link| link.eni != eni);
                Flow::Done(())
            }
        }
    }
}

/// A pod may have got an address of the ENI meanwhile, and the file may not have been written: then it stays.
fn intended<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, wake: Wake) -> End {
    let spare = cx.pool.spare_enis(&cx.targets(), cx.ms()).contains(&eni) && !cx.is_growing(eni);
    if wake.store().is_err() || !spare || cx.growth_suspended() {
        cx.eni_is_settled(eni);
        return Flow::Done(());
    }
    cx.ledger().retire_eni(eni);
    cx.file_changed();
    freed(cx, eni, |cx| Freeing::begin(cx, eni))
}

fn freed<K: PodKey>(
    cx: &mut Cx<'_, K>,
    eni: EniId,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Freeing, Result<(), FreeError>>,
) -> End {
    let result = match go_on(cx) {
        Flow::Wait(step) => return Flow::Wait(Sparing::Free(eni, step)),
        Flow::Done(result) => result,
    };
    if let Err(error) = result {
        cx.metrics.ipamd_error(IpamdError::FreeEniFailed);
        if matches!(error, FreeError::Attached(_)) {
            return Flow::Done(());
        }
    }
    let primary = cx.link(eni).and_then(|link| link.primary);
    cx.host(HostCall::DropEniRules { primary });
    Flow::Wait(Sparing::Rules(eni))
}
