//! The way between an agent and EC2: latency, the SDK's attempts, throttling, and answers that are late, lost or doubled.
//!
//! A call is an [`Exchange`]. It is executed when an attempt arrives at EC2, and answered at another moment, if at all: the
//! owner of the clock hands an exchange in at the time that [`Arrival::Again`] or [`Wire::send`] names.

use cni_types::ec2::{EC2_OPERATIONS, Ec2Operation};
use cni_types::random::Random;
use ipamd_core::id::{InstanceId, OpId};
use ipamd_core::input::{Answer, Ec2Failure, Ec2Reply, Fate};
use ipamd_core::output::{Ec2Call, Want};

use super::ec2::Ec2;
use super::ec2::refusal::{Refusal, detach_without_attachment, no_answer};
use super::faults::{Faults, How};
use super::throttle::Bucket;

/// An attempt is given up after this without an answer.
const ATTEMPT_MS: i64 = 10_000;

/// The SDK's longest pause between attempts.
const PAUSE_LIMIT_MS: i64 = 20_000;

/// What the way is like.
#[derive(Debug, Clone)]
pub struct WireSpec {
    /// Attempts of the SDK for one call. Retried are throttling, EC2's own faults and silence.
    pub attempts: u32,
    /// Share of the usual latency, percent, from and to.
    pub latency_percent: (i64, i64),
    /// The account's bucket for calls that change something: size and tokens a second. `None`: no throttling.
    pub mutations: Option<(u32, u32)>,
    /// The account's bucket for calls that read.
    pub reads: Option<(u32, u32)>,
}

impl Default for WireSpec {
    fn default() -> Self {
        Self { attempts: 3, latency_percent: (55, 145), mutations: None, reads: None }
    }
}

/// A call under way.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The effect that it is.
    pub op: OpId,
    /// The life of the agent that sent it.
    pub epoch: ipamd_core::id::Epoch,
    /// The instance whose agent sent it.
    pub who: InstanceId,
    /// What it is.
    pub call: Ec2Call,
    sent_ms: i64,
    attempt: u32,
}

/// An answer, and when it arrives.
pub type Ec2Answer = (i64, Answer<Ec2Reply, Ec2Failure>);

/// What comes of an attempt.
#[derive(Debug)]
pub enum Arrival {
    /// The next attempt arrives at EC2 at this time.
    Again(i64, Exchange),
    /// Answers arrive: one, or the same twice. None: never.
    Answered(Vec<Ec2Answer>),
}

/// The way.
#[derive(Debug)]
pub struct Wire {
    spec: WireSpec,
    mutations: Option<Bucket>,
    reads: Option<Bucket>,
    /// Attempts that arrived, by operation.
    arrived: [u64; EC2_OPERATIONS],
    random: Random,
}

impl Wire {
    /// A way with full buckets.
    pub fn new(spec: WireSpec, seed: u64) -> Self {
        let bucket = |of: Option<(u32, u32)>| of.map(|(size, per_second)| Bucket::new(size, per_second));
        let (mutations, reads) = (bucket(spec.mutations), bucket(spec.reads));
        Self { spec, mutations, reads, arrived: [0; EC2_OPERATIONS], random: Random::stream(seed, 3) }
    }

    /// Attempts of an operation that arrived at EC2.
    pub fn arrived(&self, operation: Ec2Operation) -> u64 {
        self.arrived.get(operation as usize).copied().unwrap_or(0)
    }

    /// An agent sends a call: when its first attempt arrives at EC2.
    pub fn send(
        &mut self,
        now_ms: i64,
        who: InstanceId,
        (op, epoch): (OpId, ipamd_core::id::Epoch),
        call: Ec2Call,
    ) -> (i64, Exchange) {
        let arrives_ms = now_ms.saturating_add(self.latency_ms(call.operation()) / 2);
        (arrives_ms, Exchange { op, epoch, who, call, sent_ms: now_ms, attempt: 1 })
    }

    /// An attempt arrives at EC2.
    pub fn arrive(&mut self, now_ms: i64, exchange: Exchange, ec2: &mut Ec2, faults: &mut Faults) -> Arrival {
        let operation = exchange.call.operation();
        if matches!(exchange.call, Ec2Call::Detach { attachment: None, .. }) {
            return Self::answered(&exchange, now_ms, Err(detach_without_attachment()), false);
        }
        let how = faults.ec2(exchange.who, operation, now_ms);
        if how == Some(How::NotSent) {
            return Self::answered(&exchange, now_ms, Err(no_answer(operation, Fate::NotSent)), false);
        }
        if let Some(arrived) = self.arrived.get_mut(operation as usize) {
            *arrived = arrived.saturating_add(1);
        }
        if let Some(How::Lost { executed }) = how {
            if executed {
                let _answer_that_is_lost = ec2.execute(now_ms, exchange.who, &exchange.call);
            }
            return self.silence(now_ms, exchange);
        }
        let mut result = match &how {
            Some(How::Code(code)) => Err(Refusal::of_code(code)),
            _ if !self.admits(now_ms, &exchange.call) => Err(Refusal::of_code("RequestLimitExceeded")),
            Some(How::Partial) => ec2.execute(now_ms, exchange.who, &half(&exchange.call)),
            _ => ec2.execute(now_ms, exchange.who, &exchange.call),
        };
        if let (Some(How::Partial), Ok(Ec2Reply::Enis { found, .. })) = (&how, &mut result) {
            found.truncate(found.len().div_ceil(2));
        }
        if let Err(refusal) = &result
            && refusal.is_retried_by_the_sdk()
            && exchange.attempt < self.spec.attempts
        {
            return self.again(now_ms, exchange);
        }
        let back_ms = self.latency_ms(operation) / 2 + if let Some(How::Late(by_ms)) = how { by_ms } else { 0 };
        let request = (self.random.bits(), self.random.bits());
        let attempts = exchange.attempt;
        let result = result.map_err(|refusal| refusal.failure(operation, request, attempts));
        Self::answered(&exchange, now_ms.saturating_add(back_ms), result, how == Some(How::Doubled))
    }

    /// No answer: the SDK tries again, and at last says so.
    fn silence(&mut self, now_ms: i64, exchange: Exchange) -> Arrival {
        let given_up_ms = now_ms.saturating_add(ATTEMPT_MS);
        if exchange.attempt < self.spec.attempts {
            return self.again(given_up_ms, exchange);
        }
        let failure = no_answer(exchange.call.operation(), Fate::Unknown);
        Self::answered(&exchange, given_up_ms, Err(failure), false)
    }

    fn again(&mut self, now_ms: i64, mut exchange: Exchange) -> Arrival {
        let limit_ms = (500_i64 << exchange.attempt.min(10)).min(PAUSE_LIMIT_MS);
        exchange.attempt += 1;
        let pause_ms = self.random.between(0, limit_ms) + self.latency_ms(exchange.call.operation());
        Arrival::Again(now_ms.saturating_add(pause_ms), exchange)
    }

    fn answered(exchange: &Exchange, at_ms: i64, result: Result<Ec2Reply, Ec2Failure>, twice: bool) -> Arrival {
        let Exchange { op, epoch, sent_ms, .. } = *exchange;
        let took_ms = u32::try_from(at_ms.saturating_sub(sent_ms)).unwrap_or(0);
        let answer = (at_ms, Answer { op, epoch, took_ms, result });
        Arrival::Answered(if twice { vec![answer.clone(), answer] } else { vec![answer] })
    }

    fn admits(&mut self, now_ms: i64, call: &Ec2Call) -> bool {
        let bucket = if call.is_mutation() { &mut self.mutations } else { &mut self.reads };
        bucket.as_mut().is_none_or(|bucket| bucket.take(now_ms))
    }

    fn latency_ms(&mut self, operation: Ec2Operation) -> i64 {
        let (from, to) = self.spec.latency_percent;
        operation.typical_ms().saturating_mul(self.random.between(from, to)) / 100
    }
}

/// A call that wants half as much, rounded up.
fn half(call: &Ec2Call) -> Ec2Call {
    let halved = |want: Want| match want {
        Want::Ipv4(count) => Want::Ipv4(count.div_ceil(2)),
        Want::Ipv4Prefixes(count) => Want::Ipv4Prefixes(count.div_ceil(2)),
        other @ Want::Ipv6Prefixes(_) => other,
    };
    let mut call = call.clone();
    if let Ec2Call::CreateEni { want, .. } | Ec2Call::Assign { want, .. } = &mut call {
        *want = halved(*want);
    }
    call
}

#[cfg(test)]
mod tests;
