//! Giving an ENI up: its attachment is looked up, it is detached and deleted.

use cni_types::ec2::Ec2Code;

use super::delete::Deleting;
use crate::agent::backoff::Backoff;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::{AttachmentId, EniId};
use crate::input::Ec2Eni;
use crate::metrics::UtilsError;
use crate::output::Ec2Call;

/// EC2 needs a moment between detach and delete.
const SETTLE_MS: i64 = 2_000;

/// The step.
#[derive(Debug)]
pub(crate) enum Freeing {
    /// Its attachment is looked up.
    Find(EniId),
    /// It is being detached: a try waits for its answer, or the next for its time.
    Detach(Detaching),
    /// It is detached, and EC2 needs a moment.
    Settle(EniId),
    /// It is being deleted.
    Delete(EniId, Deleting),
}

/// A detach, as far as it is.
#[derive(Debug)]
pub(crate) struct Detaching {
    eni: EniId,
    attachment: Option<AttachmentId>,
    backoff: Backoff,
}

/// Where it failed.
#[derive(Debug)]
pub(crate) enum FreeError {
    /// The ENI may still be attached.
    Attached(Trouble),
    /// It is detached and could not be deleted.
    Leaked(Trouble),
}

impl FreeError {
    /// What went wrong.
    pub(crate) fn into_trouble(self) -> Trouble {
        match self {
            Self::Attached(trouble) | Self::Leaked(trouble) => trouble,
        }
    }
}

type End = Flow<Freeing, Result<(), FreeError>>;

impl Freeing {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId) -> End {
        cx.ec2(Ec2Call::DescribeEnis { ids: vec![eni] }, Count::ExceptMissing);
        Flow::Wait(Self::Find(eni))
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Find(eni) => found(cx, eni, wake.described()),
            Self::Detach(detaching) if matches!(wake, Wake::Timer) => detaching.ask(cx),
            Self::Detach(detaching) => detaching.answered(cx, wake.done()),
            Self::Settle(eni) => deleting(cx, eni, |cx| Deleting::begin(cx, eni)),
            Self::Delete(eni, step) => deleting(cx, eni, |cx| step.resume(cx, wake)),
        }
    }
}

fn found<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, described: Result<Vec<Ec2Eni>, Trouble>) -> End {
    match described {
        // It is gone already.
        Err(trouble) if trouble.is(Ec2Code::InvalidNetworkInterfaceIdNotFound) => {
            cx.eni_is_settled(eni);
            Flow::Done(Ok(()))
        }
        Err(trouble) => {
            let trouble = trouble.within("failed to describe network interface");
            cx.count_utils(UtilsError::GetAttachmentId, &trouble);
            Flow::Done(Err(FreeError::Attached(trouble.without_code())))
        }
        Ok(found) => match found.into_iter().next() {
            None => Flow::Done(Err(FreeError::Attached(Trouble::plain("EC2 described no network interface")))),
            // An ENI without attachment is "detached" all the same: the SDK refuses each try.
            Some(described) => {
                let attachment = described.attachment.map(|attachment| attachment.id);
                Detaching { eni, attachment, backoff: Backoff::DETACH }.ask(cx)
            }
        },
    }
}

impl Detaching {
    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        cx.ec2(Ec2Call::Detach { eni: self.eni, attachment: self.attachment }, Count::Always);
        Flow::Wait(Freeing::Detach(self))
    }

    fn answered<K: PodKey>(mut self, cx: &mut Cx<'_, K>, result: Result<(), Trouble>) -> End {
        let Err(trouble) = result else {
            cx.sleep(SETTLE_MS);
            return Flow::Wait(Freeing::Settle(self.eni));
        };
        match self.backoff.failed(&mut *cx.chooser) {
            Some(pause_ms) => {
                cx.sleep(pause_ms);
                Flow::Wait(Freeing::Detach(self))
            }
            None => Flow::Done(Err(FreeError::Attached(trouble.without_code()))),
        }
    }
}

fn deleting<K: PodKey>(
    cx: &mut Cx<'_, K>,
    eni: EniId,
    go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Deleting, Result<(), Trouble>>,
) -> End {
    go_on(cx).then(
        |step| Freeing::Delete(eni, step),
        |deleted| {
            let Err(trouble) = deleted else { return Flow::Done(Ok(())) };
            cx.count_utils(UtilsError::FreeEniDelete, &trouble);
            Flow::Done(Err(FreeError::Leaked(trouble.within(&format!("FreeENI: failed to free ENI: {eni}")))))
        },
    )
}
