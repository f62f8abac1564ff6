//! Deleting an ENI that is not attached (any more).

use cni_types::ec2::Ec2Code;

use crate::agent::backoff::Backoff;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::output::Ec2Call;

/// The step: a try waits for its answer, or the next for its time.
#[derive(Debug)]
pub(crate) struct Deleting {
    eni: EniId,
    backoff: Backoff,
}

type End = Flow<Deleting, Result<(), Trouble>>;

impl Deleting {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId) -> End {
        Self { eni, backoff: Backoff::DELETE }.ask(cx)
    }

    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        cx.ec2(Ec2Call::Delete { eni: self.eni }, Count::ExceptMissing);
        Flow::Wait(self)
    }

    pub(crate) fn resume<K: PodKey>(mut self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        if matches!(wake, Wake::Timer) {
            return self.ask(cx);
        }
        let trouble = match wake.done() {
            Ok(()) => {
                cx.eni_is_settled(self.eni);
                return Flow::Done(Ok(()));
            }
            Err(trouble) if trouble.is(Ec2Code::InvalidNetworkInterfaceIdNotFound) => {
                cx.eni_is_settled(self.eni);
                return Flow::Done(Ok(()));
            }
            Err(trouble) => trouble,
        };
        match self.backoff.failed(&mut *cx.chooser) {
            Some(pause_ms) => {
                cx.sleep(pause_ms);
                Flow::Wait(self)
            }
            None => Flow::Done(Err(trouble.within("unable to delete ENI"))),
        }
    }
}
