//! Careful: growth on lanes of its own, so that no request waits for a comparison or a release.

use crate::agent::careful::growth::Growth;
use crate::agent::cx::Cx;
use crate::agent::jobs::Step;
use crate::agent::lane::Lane;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::wake::{Flow, Wake};
use crate::steps::grow::{End, Growing};

/// Jobs at a time.
const MOST: u8 = 3;

/// The jobs under way.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    running: Vec<(u8, Growing)>,
}

impl Jobs {
    /// Starts what is wanted and possible.
    pub(crate) fn plan<K: PodKey>(&mut self, agent: &mut Agent<K>) {
        while let Some(lane) = (0..MOST).find(|lane| !self.running.iter().any(|(running, _)| running == lane))
            && let Some(step) = agent.next_growth()
        {
            let (eni, count) = match step {
                Step::Extend(eni, count) => (Some(eni), count),
                Step::Allocate(count) => (None, count),
            };
            let subnet = eni.and_then(|eni| agent.pool.eni(eni)).map(|eni| eni.subnet);
            let growth = Growth { lane, eni, new: eni.is_none(), subnet, count, device: None, done: false };
            agent.own.iter_mut().for_each(|own| own.growing.push(growth));
            let mut cx = agent.lane(Lane::Job(lane));
            let end = match step {
                Step::Extend(eni, count) => Growing::extend(&mut cx, eni, count),
                Step::Allocate(count) => Growing::allocate(&mut cx, count),
            };
            self.follow(&mut cx, lane, end);
        }
    }

    /// A job's lane is woken.
    pub(crate) fn resume<K: PodKey>(&mut self, cx: &mut Cx<'_, K>, lane: u8, wake: Wake) {
        let Some(at) = self.running.iter().position(|(running, _)| *running == lane) else { return };
        let (_, step) = self.running.swap_remove(at);
        let end = step.resume(cx, wake);
        self.follow(cx, lane, end);
    }

    fn follow<K: PodKey>(&mut self, cx: &mut Cx<'_, K>, lane: u8, end: End) {
        match end {
            Flow::Wait(step) => self.running.push((lane, step)),
            Flow::Done(_) => cx.growth_ended(lane),
        }
    }
}
