//! What a step does: EC2 calls with their latencies, and effects at the times at which they are felt.

use crate::ec2::{Block, EniId};
use crate::metrics::{Action, Call, IpamdError, PodEniError, UtilsError};
use crate::pool::PoolEni;

/// A step under way: its own clock, and what it leaves behind.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) at_ms: i64,
    pub(super) effects: Vec<(i64, Effect)>,
}

/// Something that changes counters or store when its time comes.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Call(Call<'static>),
    PlainRequest(Call<'static>),
    /// The wait for a new ENI in IMDS ended.
    Waited {
        ms: u32,
        seen: bool,
    },
    ApiError(&'static str, &'static str),
    Ipamd(IpamdError),
    PodEni(PodEniError),
    Utils(UtilsError, String),
    Progress(Action, i32),
    AddEni(Box<PoolEni>),
    Exclude(EniId),
    AddBlocks(EniId, Vec<Block>),
    /// The time of the last pool action, which holds reconciles back.
    Acted,
    /// The time of the last decrease, likewise.
    Decreased,
    /// EC2 had no address left: no growth for a while.
    Insufficient,
}

/// Repeated attempts: how many, first pause, growth of the pause, ceiling, and jitter in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) tries: u8,
    pub(super) first_ms: i64,
    pub(super) limit_ms: i64,
    pub(super) jitter_percent: i64,
}

impl Script {
    pub(super) fn new(at_ms: i64) -> Self {
        Self { at_ms, effects: Vec::new() }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push((self.at_ms, effect));
    }
}
