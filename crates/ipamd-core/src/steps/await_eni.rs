//! Waiting for a new ENI to appear in the metadata service with its addresses.

use crate::agent::backoff::Backoff;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::ImdsEni;
use crate::metrics::Timed;
use crate::output::ImdsRead;
use crate::settings::Mode;

/// The step: a look waits for its answer, or the next for its time.
#[derive(Debug)]
pub(crate) struct AwaitEni {
    /// Which; none for the ENI that was made, failed and was cleaned up: the original then waits for one without a name.
    eni: Option<EniId>,
    wanted: usize,
    backoff: Backoff,
    began_ms: i64,
}

type End = Flow<AwaitEni, Option<Box<ImdsEni>>>;

impl AwaitEni {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: Option<EniId>, wanted: usize) -> End {
        cx.imds(ImdsRead::Enis);
        Flow::Wait(Self { eni, wanted, backoff: Backoff::AWAIT, began_ms: cx.ms() })
    }

    pub(crate) fn resume<K: PodKey>(mut self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        if matches!(wake, Wake::Timer) {
            cx.imds(ImdsRead::Enis);
            return Flow::Wait(self);
        }
        let listed = wake.listed().unwrap_or_default();
        let seen = listed.into_iter().find(|eni| Some(eni.id) == self.eni);
        let mode = cx.facts.mode;
        if let Some(eni) = seen.as_ref()
            && brought(eni, mode) >= self.wanted.max(1)
        {
            self.observe(cx, true);
            return Flow::Done(seen.map(Box::new));
        }
        if let Some(pause_ms) = self.backoff.failed(&mut *cx.chooser) {
            cx.sleep(pause_ms);
            return Flow::Wait(self);
        }
        self.observe(cx, false);
        // What the last look showed in part is taken: with prefixes only from the second on.
        let enough = |eni: &ImdsEni| brought(eni, mode) > usize::from(mode != Mode::Secondary);
        Flow::Done(seen.filter(enough).map(Box::new))
    }

    fn observe<K: PodKey>(&self, cx: &mut Cx<'_, K>, complete: bool) {
        let ms = u32::try_from(cx.ms().saturating_sub(self.began_ms)).unwrap_or(u32::MAX);
        let at_ms = cx.now.unix_ms();
        cx.metrics.observe((Timed::WaitAttached, (!complete).then_some("")), ms, at_ms);
    }
}

/// Addresses or prefixes that the ENI brings for pods.
fn brought(eni: &ImdsEni, mode: Mode) -> usize {
    match mode {
        Mode::Secondary => eni.ipv4.as_ref().map_or(0, |addresses| addresses.len().saturating_sub(1)),
        Mode::Prefix => eni.ipv4_prefixes.len(),
        Mode::Ipv6 => eni.ipv6.len(),
    }
}
