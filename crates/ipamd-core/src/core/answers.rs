//! Answers to effects: each is held against its question, counted, and wakes the lane that waits for it.

use super::Core;
use crate::agent::lane::Lane;
use crate::agent::memory::PodKey;
use crate::agent::operations::{Asked, Open};
use crate::agent::wake::{Wake, no_answer};
use crate::id::{Epoch, OpId};
use crate::input::{
    Answer, BadInput, Ec2Failure, Ec2Reply, HostError, HostReply, ImdsError, ImdsErrorKind, ImdsReply, KubeError,
    KubeReply, StoreError, StoreReply,
};

impl<K: PodKey> Core<K> {
    /// The effect that an answer is for; one that is for none is counted.
    fn question(&mut self, op: OpId, epoch: Epoch, takes: impl FnOnce(Asked) -> bool) -> Option<Open> {
        let found = self.agent.operations.find(op);
        let bad = match found {
            _ if epoch != self.agent.epoch() => BadInput::EarlierLife(op.0),
            None => BadInput::UnknownOperation(op.0),
            Some(open) if takes(open.asked) => {
                self.agent.operations.close(op, self.agent.now.mono_ms);
                return found;
            }
            // The effect waits on: its own answer may still come.
            Some(_) => BadInput::WrongKind(op.0),
        };
        self.agent.bad.add(bad);
        None
    }

    pub(super) fn ec2(&mut self, answer: Answer<Ec2Reply, Ec2Failure>) {
        let reply = answer.result.as_ref().ok();
        if let Some(open) = self.question(answer.op, answer.epoch, |asked| asked.takes_ec2(reply)) {
            self.agent.count_ec2(open.asked, answer.result.as_ref().err(), answer.took_ms);
            self.agent.see_throttling(open.asked, answer.result.as_ref().err());
            if matches!(open.lane, Lane::Job(_)) && reply.is_some() {
                self.agent.growth_answered();
            }
            self.wake(open.lane, Wake::Ec2(answer.result));
        }
    }

    pub(super) fn imds(&mut self, answer: Answer<ImdsReply, ImdsError>) {
        let reply = answer.result.as_ref().ok();
        if let Some(open) = self.question(answer.op, answer.epoch, |asked| asked.takes_imds(reply)) {
            if let (Asked::Imds(read), Err(failure)) = (open.asked, &answer.result) {
                self.agent.count_imds(read, failure);
            }
            self.wake(open.lane, Wake::Imds(answer.result));
        }
    }

    pub(super) fn kube(&mut self, answer: Answer<KubeReply, KubeError>) {
        let reply = answer.result.as_ref().ok();
        if let Some(open) = self.question(answer.op, answer.epoch, |asked| asked.takes_kube(reply)) {
            self.wake(open.lane, Wake::Kube(answer.result));
        }
    }

    pub(super) fn host(&mut self, answer: Answer<HostReply, HostError>) {
        let reply = answer.result.as_ref().ok();
        if let Some(open) = self.question(answer.op, answer.epoch, |asked| asked.takes_host(reply)) {
            self.wake(open.lane, Wake::Host(answer.result));
        }
    }

    pub(super) fn store(&mut self, answer: Answer<StoreReply<K>, StoreError>) {
        let result = &answer.result;
        let takes = |asked| match asked {
            Asked::ReadCheckpoint => matches!(result, Ok(StoreReply::Checkpoint(_)) | Err(_)),
            Asked::ReadSecond => matches!(result, Ok(StoreReply::Second(_)) | Err(_)),
            Asked::WriteCheckpoint | Asked::WriteSecond => matches!(result, Ok(StoreReply::Written) | Err(_)),
            _ => false,
        };
        if let Some(open) = self.question(answer.op, answer.epoch, takes) {
            let result = answer.result.map(|reply| match reply {
                StoreReply::Checkpoint(entries) => self.agent.restored = entries,
                StoreReply::Second(file) => {
                    if let Some(own) = &mut self.agent.own {
                        own.file.read = Some(file);
                    }
                }
                StoreReply::Written => {}
            });
            self.wake(open.lane, Wake::Store(result));
        }
    }

    /// The time of an effect is over: whether it was done is unknown.
    pub(super) fn unanswered(&mut self, open: Open) {
        self.agent.operations.close(open.op, self.agent.now.mono_ms);
        let wake = match open.asked {
            Asked::Ec2(..) => {
                let (failure, took_ms) = (no_answer(), open.due_ms.saturating_sub(open.asked_ms));
                self.agent.count_ec2(open.asked, Some(&failure), u32::try_from(took_ms).unwrap_or(u32::MAX));
                Wake::Ec2(Err(failure))
            }
            Asked::Imds(read) => {
                let failure = ImdsError { path: "".into(), kind: ImdsErrorKind::Timeout };
                self.agent.count_imds(read, &failure);
                Wake::Imds(Err(failure))
            }
            Asked::Kube(_) => Wake::Kube(Err(KubeError::Timeout)),
            Asked::Host(_) => Wake::Host(Err(HostError::Other("the host did not answer in time".into()))),
            Asked::ReadCheckpoint | Asked::WriteCheckpoint | Asked::ReadSecond | Asked::WriteSecond => {
                Wake::Store(Err(StoreError::Io("the disk did not answer in time".into())))
            }
        };
        self.wake(open.lane, wake);
    }
}
