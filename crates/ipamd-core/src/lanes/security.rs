//! The look at the primary ENI's security groups, every 30 seconds.

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::steps::groups::Refreshing;

/// Pause between the end of a look and the next.
const PAUSE_MS: i64 = 30_000;

/// The lane.
#[derive(Debug, Default)]
pub(crate) enum Security {
    /// It sleeps, or was not begun.
    #[default]
    Rest,
    /// A look is under way.
    Look(Box<Refreshing>),
}

impl Security {
    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> Self {
        let flow = match self {
            Self::Rest => Refreshing::begin(cx),
            Self::Look(step) => step.resume(cx, wake),
        };
        match flow {
            Flow::Wait(step) => Self::Look(Box::new(step)),
            // A failed read is counted, and the next look is not far.
            Flow::Done(_) => {
                cx.sleep(PAUSE_MS);
                Self::Rest
            }
        }
    }
}
