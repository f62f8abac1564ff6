//! Effects that wait for their answers, lanes that sleep, and outputs not yet handed out.

use cni_types::ec2::Ec2Operation;

use super::gate::{Deferred, Gate};
use super::lane::Lane;
use crate::id::{EniId, Epoch, OpId};
use crate::input::{Ec2Reply, HostReply, ImdsReply, KubeReply};
use crate::output::{Ec2Call, Effect, HostCall, ImdsRead, KubeCall, Output, StoreCall};
use crate::small_map::make_room;

/// How the answer to a call of EC2 is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// In all four families.
    Always,
    /// The same, but an ENI that is not there is no error of the request families.
    ExceptMissing,
    /// As a request only, without latency and code.
    Plain,
    /// A failure only: the lane counts the request when it has all pages.
    FailureOnly,
}

/// What an effect asked, as far as its answer needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A call of EC2.
    Ec2(Ec2Operation, Ec2Answer, Count),
    /// A read of the metadata service.
    Imds(ImdsRead),
    /// A call of the API server.
    Kube(KubeAnswer),
    /// Something of the host.
    Host(HostAnswer),
    /// Reading the checkpoint.
    ReadCheckpoint,
    /// Writing it.
    WriteCheckpoint,
    /// Reading the second file.
    ReadSecond,
    /// Writing it.
    WriteSecond,
}

/// Kind of an answer of EC2: each is the variant of `Ec2Reply` of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ec2Answer {
    Subnets,
    Enis,
    Devices,
    Limits,
    Created,
    Attached,
    Assigned,
    Done,
}

/// Kind of an answer of the API server: each is the variant of `KubeReply` of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KubeAnswer {
    Node,
    EniConfig,
    Pod,
    CniNodePatched,
    Annotated,
}

/// Kind of an answer of the host: each is the variant of `HostReply` of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostAnswer {
    Done,
    EniReady,
    Pods,
    HostAddrs,
    Links,
}

impl Ec2Answer {
    /// Only reads are answered so.
    pub(crate) const fn is_read(self) -> bool {
        matches!(self, Self::Subnets | Self::Enis | Self::Devices | Self::Limits)
    }

    fn to(call: &Ec2Call) -> Self {
        match call {
            Ec2Call::DescribeSubnets => Self::Subnets,
            Ec2Call::DescribeEnis { .. } | Ec2Call::DescribeLeaked { .. } => Self::Enis,
            Ec2Call::DescribeInstance => Self::Devices,
            Ec2Call::DescribeInstanceType => Self::Limits,
            Ec2Call::CreateEni { .. } => Self::Created,
            Ec2Call::Attach { .. } => Self::Attached,
            Ec2Call::Assign { .. } => Self::Assigned,
            Ec2Call::SetDeleteOnTermination { .. }
            | Ec2Call::SetGroups { .. }
            | Ec2Call::Detach { .. }
            | Ec2Call::Delete { .. }
            | Ec2Call::Tag { .. }
            | Ec2Call::Unassign { .. }
            | Ec2Call::UnassignIpv6 { .. } => Self::Done,
        }
    }

    fn of(reply: &Ec2Reply) -> Self {
        match reply {
            Ec2Reply::Subnets(_) => Self::Subnets,
            Ec2Reply::Enis { .. } => Self::Enis,
            Ec2Reply::Devices(_) => Self::Devices,
            Ec2Reply::Limits(_) => Self::Limits,
            Ec2Reply::Created(_) => Self::Created,
            Ec2Reply::Attached(_) => Self::Attached,
            Ec2Reply::Assigned { .. } => Self::Assigned,
            Ec2Reply::Done => Self::Done,
        }
    }
}

impl Asked {
    /// What this effect asks.
    pub(crate) fn by(effect: &Effect, count: Count) -> Self {
        match effect {
            Effect::Ec2(call) => Self::Ec2(call.operation(), Ec2Answer::to(call), count),
            Effect::Imds(read) => Self::Imds(*read),
            Effect::Kube(call) => Self::Kube(match call {
                KubeCall::GetNode => KubeAnswer::Node,
                KubeCall::GetEniConfig { .. } => KubeAnswer::EniConfig,
                KubeCall::GetPod(_) => KubeAnswer::Pod,
                KubeCall::PatchCniNode { .. } => KubeAnswer::CniNodePatched,
                KubeCall::AnnotatePod { .. } | KubeCall::WarnMissingPermission { .. } => KubeAnswer::Annotated,
            }),
            Effect::Host(call) => Self::Host(match call {
                HostCall::SetUpEni { .. } => HostAnswer::EniReady,
                HostCall::ListPods => HostAnswer::Pods,
                HostCall::ListHostAddrs => HostAnswer::HostAddrs,
                HostCall::ListLinks => HostAnswer::Links,
                HostCall::SetUpHost { .. }
                | HostCall::UpdateSnat { .. }
                | HostCall::DropEniRules { .. }
                | HostCall::ForgetConnections { .. }
                | HostCall::RefreshPodRules { .. } => HostAnswer::Done,
            }),
            Effect::Store(StoreCall::ReadCheckpoint) => Self::ReadCheckpoint,
            Effect::Store(StoreCall::WriteCheckpoint { .. }) => Self::WriteCheckpoint,
            Effect::Store(StoreCall::ReadSecond) => Self::ReadSecond,
            Effect::Store(StoreCall::WriteSecond { .. }) => Self::WriteSecond,
        }
    }

    /// EC2 may answer so.
    pub(crate) fn takes_ec2(self, reply: Option<&Ec2Reply>) -> bool {
        matches!(self, Self::Ec2(_, kind, _) if reply.is_none_or(|reply| Ec2Answer::of(reply) == kind))
    }

    /// The metadata service may answer so.
    pub(crate) fn takes_imds(self, reply: Option<&ImdsReply>) -> bool {
        let Self::Imds(read) = self else { return false };
        reply.is_none_or(|reply| {
            read == match reply {
                ImdsReply::Identity(_) => ImdsRead::Identity,
                ImdsReply::Enis(_) => ImdsRead::Enis,
                ImdsReply::Groups(_) => ImdsRead::Groups,
                ImdsReply::VpcCidrs(_) => ImdsRead::VpcCidrs,
            }
        })
    }

    /// The API server may answer so.
    pub(crate) fn takes_kube(self, reply: Option<&KubeReply>) -> bool {
        let Self::Kube(kind) = self else { return false };
        reply.is_none_or(|reply| {
            kind == match reply {
                KubeReply::Node(_) => KubeAnswer::Node,
                KubeReply::EniConfig { .. } => KubeAnswer::EniConfig,
                KubeReply::Pod { .. } => KubeAnswer::Pod,
                KubeReply::CniNodePatched => KubeAnswer::CniNodePatched,
                KubeReply::Annotated => KubeAnswer::Annotated,
            }
        })
    }

    /// The host may answer so.
    pub(crate) fn takes_host(self, reply: Option<&HostReply>) -> bool {
        let Self::Host(kind) = self else { return false };
        reply.is_none_or(|reply| {
            kind == match reply {
                HostReply::Done => HostAnswer::Done,
                HostReply::EniReady { .. } => HostAnswer::EniReady,
                HostReply::Pods(_) => HostAnswer::Pods,
                HostReply::HostAddrs(_) => HostAnswer::HostAddrs,
                HostReply::Links(_) => HostAnswer::Links,
            }
        })
    }
}

/// An effect that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    /// Its number.
    pub(crate) op: OpId,
    /// Whose it is.
    pub(crate) lane: Lane,
    /// After this it counts as unanswered.
    pub(crate) due_ms: i64,
    /// When it was asked.
    pub(crate) asked_ms: i64,
    /// What it asked.
    pub(crate) asked: Asked,
}

/// Memory for this number of effects is kept while none waits.
const FEW: usize = 2;
/// An effect that waits has no end yet.
const NEVER_MS: i64 = i64::MAX;

/// Effects, sleeps and outputs of one life.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    /// The life.
    pub(crate) epoch: Epoch,
    last_op: u64,
    open: Vec<Open>,
    sleeps: Vec<(i64, Lane)>,
    outputs: Vec<Output>,
    /// Careful: calls of EC2 that wait.
    gate: Option<Box<Gate>>,
}

impl Operations {
    /// No operation is open yet.
    pub(crate) fn new(epoch: Epoch, gate: bool) -> Self {
        Self { epoch, gate: gate.then(Box::default), ..Self::default() }
    }

    /// Hands an effect out and remembers who waits for its answer.
    pub(crate) fn ask(&mut self, lane: Lane, asked_ms: i64, budget_ms: i64, effect: Effect, count: Count) {
        let op = self.next_op();
        let due_ms = asked_ms.saturating_add(budget_ms);
        let asked = Asked::by(&effect, count);
        make_room(&mut self.open);
        if let Some(gate) = &mut self.gate {
            if gate.holds(lane, &effect, asked_ms) {
                self.open.push(Open { op, lane, due_ms: NEVER_MS, asked_ms, asked });
                gate.defer(Deferred { op, lane, budget_ms, effect });
                return;
            }
            gate.sent(op, &effect, asked_ms);
        }
        self.open.push(Open { op, lane, due_ms, asked_ms, asked });
        self.outputs.push(Output::Effect { op, epoch: self.epoch, budget_ms, effect });
    }

    /// Careful: calls go out that waited for others.
    pub(crate) fn release(&mut self, now_ms: i64) {
        while let Some(Deferred { op, budget_ms, effect, .. }) = self.gate.as_mut().and_then(|gate| gate.next(now_ms)) {
            if let Some(gate) = &mut self.gate {
                gate.sent(op, &effect, now_ms);
            }
            if let Some(open) = self.open.iter_mut().find(|open| open.op == op) {
                (open.asked_ms, open.due_ms) = (now_ms, now_ms.saturating_add(budget_ms));
            }
            self.outputs.push(Output::Effect { op, epoch: self.epoch, budget_ms, effect });
        }
    }

    /// Careful: where EC2 throttles.
    pub(crate) fn gate(&mut self) -> Option<&mut Gate> {
        self.gate.as_deref_mut()
    }

    /// Careful: what was read of an ENI at this time may be older than its last change.
    pub(crate) fn outdates(&self, eni: EniId, read_ms: i64) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.outdates(eni, read_ms))
    }

    /// Hands an effect out that is not answered.
    pub(crate) fn tell(&mut self, effect: Effect) {
        let op = self.next_op();
        self.outputs.push(Output::Effect { op, epoch: self.epoch, budget_ms: 0, effect });
    }

    fn next_op(&mut self) -> OpId {
        self.last_op = self.last_op.saturating_add(1);
        OpId(self.last_op)
    }

    /// Hands out something that is no effect.
    pub(crate) fn put(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// What is to be done.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The effect of this number, if it waits.
    pub(crate) fn find(&self, op: OpId) -> Option<Open> {
        self.open.iter().find(|open| open.op == op).copied()
    }

    /// The effect of this number waits no longer.
    pub(crate) fn close(&mut self, op: OpId, now_ms: i64) {
        self.open.retain(|open| open.op != op);
        if self.open.is_empty() && self.open.capacity() > FEW {
            self.open = Vec::new();
        }
        if let Some(gate) = &mut self.gate {
            gate.closed(op, now_ms);
        }
    }

    /// Lets a lane sleep.
    pub(crate) fn sleep(&mut self, lane: Lane, until_ms: i64) {
        make_room(&mut self.sleeps);
        self.sleeps.push((until_ms, lane));
    }

    /// Ends a lane's sleep; false if it does not sleep.
    pub(crate) fn rouse(&mut self, lane: Lane) -> bool {
        let before = self.sleeps.len();
        self.sleeps.retain(|(_, sleeper)| *sleeper != lane);
        self.sleeps.len() < before
    }

    /// A lane whose sleep is over: the one that was to wake first.
    pub(crate) fn due_sleeper(&mut self, now_ms: i64) -> Option<Lane> {
        let (until_ms, lane) = self.sleeps.iter().min().copied()?;
        (until_ms <= now_ms).then(|| {
            self.rouse(lane);
            lane
        })
    }

    /// An effect whose time is over: the one that was to be answered first.
    pub(crate) fn overdue(&self, now_ms: i64) -> Option<Open> {
        self.open
            .iter()
            .min_by_key(|open| (open.due_ms, open.op))
            .filter(|open| open.due_ms <= now_ms && open.due_ms < NEVER_MS)
            .copied()
    }

    /// When something is to be done without an input.
    pub(crate) fn deadline(&self) -> Option<i64> {
        let open = self.open.iter().map(|open| open.due_ms).filter(|due_ms| *due_ms < NEVER_MS);
        let pause = self.gate.as_ref().and_then(|gate| gate.deadline());
        open.chain(self.sleeps.iter().map(|(until_ms, _)| *until_ms)).chain(pause).min()
    }

    /// Effects that wait, with their lanes.
    pub(crate) fn open(&self) -> &[Open] {
        &self.open
    }

    /// Forgets every effect and sleep: the process ends.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.gate = None;
        self.sleeps.clear();
    }
}
