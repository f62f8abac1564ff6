//! Releasing CIDRs without pods beyond the targets.

use super::unassign::Unassigning;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::chooser::Purpose;
use crate::id::EniId;
use crate::metrics::Action;

/// The step: what one ENI gives back is being unassigned.
#[derive(Debug)]
pub(crate) struct Shrinking {
    over: u32,
    left: Vec<EniId>,
    call: Unassigning,
}

type End = Flow<Shrinking, ()>;

impl Shrinking {
    /// Releases `over` CIDRs, of whatever kind they are.
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, over: u32) -> End {
        cx.metrics.progress(Action::Decrease, 1);
        let left = cx.pool.enis().iter().map(|eni| eni.id).collect();
        next_eni(cx, over, left)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        let Self { over, left, call } = self;
        match call.resume(cx, wake) {
            Flow::Wait(call) => Flow::Wait(Self { over, left, call }),
            Flow::Done(()) => next_eni(cx, over, left),
        }
    }
}

fn next_eni<K: PodKey>(cx: &mut Cx<'_, K>, mut over: u32, mut left: Vec<EniId>) -> End {
    while over > 0 && !left.is_empty() {
        let index = cx.chooser.eni(Purpose::Release, &left);
        let eni = left.remove(if index < left.len() { index } else { 0 });
        let mut free = cx.pool.free_blocks(eni);
        // Careful: what the host shows in use stays, and what somebody else assigned.
        free.retain(|block| cx.may_give_back(eni, *block));
        let chosen = cx.chooser.blocks(eni, free, over as usize);
        let gone = cx.take_blocks_out(eni, chosen);
        let now_ms = cx.ms();
        for block in &gone {
            cx.released.add(*block, now_ms);
        }
        over = over.saturating_sub(u32::try_from(gone.len()).unwrap_or(u32::MAX));
        if let Flow::Wait(call) = Unassigning::begin(cx, eni, gone) {
            return Flow::Wait(Shrinking { over, left, call });
        }
    }
    cx.metrics.progress(Action::Decrease, -1);
    Flow::Done(())
}
