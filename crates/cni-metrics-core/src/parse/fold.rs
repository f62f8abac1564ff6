//! Sample lines added up to a [`NodeSample`].

use super::error::LineErrorKind;
use super::kept::Values;
use super::series::Series;
use crate::labels::LabelKey;
use crate::model::{FamilySample, LARGEST_COUNT, LATEST_START_SECONDS, LatencySample, NodeSample};
use cni_types::catalogue::Family;
use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::Ec2Operation;
use cni_types::version::AgentVersion;

/// What one line adds, found sound by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contribution<'p> {
    /// To a family's sum.
    Sum(Family, f64),
    /// To an API's `_sum`.
    LatencySum(&'p [u8], f64),
    /// To an API's `_count`.
    LatencyCount(&'p [u8], f64),
    /// The process' start, seconds.
    ProcessStart(f64),
    /// Nothing that is used.
    Nothing,
}

impl<'p> Contribution<'p> {
    /// Checks what the catalogue lets this series be.
    #[inline]
    pub(super) fn new(series: Series, api: Option<&'p [u8]>, value: f64) -> Result<Self, LineErrorKind> {
        match series {
            Series::Family(family) if family.is_counter() => Ok(Self::Sum(family, count(value)?)),
            Series::Family(family) => Ok(Self::Sum(family, finite(value)?)),
            Series::LatencySum => Ok(Self::LatencySum(named(api)?, count(value)?)),
            Series::LatencyCount => Ok(Self::LatencyCount(named(api)?, count(value)?)),
            Series::ProcessStart => Ok(Self::ProcessStart(at_most(LATEST_START_SECONDS, value)?)),
            Series::LatencyQuantile | Series::BuildInfo => Ok(Self::Nothing),
        }
    }
}

fn named(api: Option<&[u8]>) -> Result<&[u8], LineErrorKind> {
    api.ok_or(LineErrorKind::MissingLabel("api"))
}

fn finite(value: f64) -> Result<f64, LineErrorKind> {
    if value.is_finite() { Ok(value) } else { Err(LineErrorKind::NotFinite) }
}

/// What counts events, or milliseconds: whole steps of it must be exact.
fn count(value: f64) -> Result<f64, LineErrorKind> {
    at_most(LARGEST_COUNT, value)
}

fn at_most(most: f64, value: f64) -> Result<f64, LineErrorKind> {
    match finite(value)? {
        value if value < 0.0 => Err(LineErrorKind::Negative),
        value if value > most => Err(LineErrorKind::OutOfRange),
        value => Ok(value),
    }
}

/// The sums so far.
#[derive(Debug, Default)]
pub(super) struct Fold<'p> {
    sample: NodeSample,
    /// The API of the last latency line, and the operation that it names: lines of one API follow each other.
    last_api: Option<(&'p [u8], Option<Ec2Operation>)>,
    /// Over all APIs, so that an overflow is found at its line. `_sum`'s is the family's own sum.
    latency_count: f64,
}

impl<'p> Fold<'p> {
    /// Adds a line's contribution.
    #[inline]
    pub(super) fn add(&mut self, contribution: Contribution<'p>) -> Result<(), LineErrorKind> {
        match contribution {
            Contribution::Sum(family, value) => self.add_sum(family, value)?,
            Contribution::LatencySum(api, value) => {
                let operation = self.operation_of(api);
                self.add_sum(Family::AwsApiLatencyMs, if operation.is_some() { value } else { 0.0 })?;
                if let Some(latency) = self.latency_of(operation) {
                    latency.sum_ms += value;
                }
            }
            Contribution::LatencyCount(api, value) => {
                self.sample.has_latency_counts = true;
                let operation = self.operation_of(api);
                self.add_sum(Family::AwsApiLatencyMs, 0.0)?;
                if operation.is_some() {
                    self.latency_count = within(Family::AwsApiLatencyMs, self.latency_count + value)?;
                }
                if let Some(latency) = self.latency_of(operation) {
                    latency.count += value;
                }
            }
            Contribution::ProcessStart(seconds) => self.sample.process_start_seconds = Some(seconds),
            Contribution::Nothing => {}
        }
        Ok(())
    }

    /// Notes by label set what was added to a counter: the values of the labels that are kept, as written.
    pub(super) fn note_labels(&mut self, family: LabelledFamily, (first, second): Values<'_>, value: f64) {
        self.sample.labels.add(family, first, second, value);
    }

    /// The same for values that are kept as they are written.
    #[inline]
    pub(super) fn note_usual_labels(&mut self, family: LabelledFamily, (first, second): Values<'_>, value: f64) {
        self.sample.labels.add_set(LabelKey { family, first, second }, value);
    }

    /// Notes that a line of the family is lost.
    pub(super) fn damage(&mut self, family: Family) {
        if let Some(slot) = self.sample.families.get_mut(family as usize) {
            slot.get_or_insert_default().damaged = true;
        }
    }

    /// Notes that a series was readable, which tells later whether the next page has the same.
    pub(super) fn note_readable(&mut self, family: Family, fingerprint: u64) {
        if let Some(Some(own)) = self.sample.families.get_mut(family as usize) {
            own.readable = own.readable.wrapping_add(fingerprint);
        }
    }

    /// Notes that a line was lost of which not even the name is known.
    pub(super) fn note_lost_line(&mut self) {
        self.sample.has_lost_lines = true;
    }

    /// Notes that the page has quantiles of the latencies.
    pub(super) fn note_quantile(&mut self) {
        self.sample.has_quantiles = true;
    }

    /// Notes what the page says of its agent's version; blank in the original's own images.
    pub(super) fn note_version(&mut self, version: Option<&[u8]>) {
        let text = version.and_then(|version| std::str::from_utf8(version).ok());
        self.sample.version = text.and_then(AgentVersion::parse);
    }

    /// True while no line of the catalogue's families was met, readable or not.
    pub(super) fn is_empty(&self) -> bool {
        self.sample.families.iter().all(Option::is_none)
    }

    /// True if a line of a counter is lost.
    pub(super) fn has_damaged_counter(&self) -> bool {
        Family::COUNTERS.into_iter().any(|family| self.sample.get(family).is_some_and(|own| own.damaged))
    }

    /// Which series could be read is of interest only where others could not.
    pub(super) fn keep_readable_of_damaged(&mut self) {
        for (family, own) in Family::ALL.into_iter().zip(&mut self.sample.families) {
            if let Some(own) = own
                && !(own.damaged && family.is_counter())
            {
                own.readable = 0;
            }
        }
    }

    /// The page's sample.
    pub(super) fn finish(self) -> NodeSample {
        self.sample
    }

    #[inline]
    fn add_sum(&mut self, family: Family, value: f64) -> Result<(), LineErrorKind> {
        let Some(slot) = self.sample.families.get_mut(family as usize) else { return Ok(()) };
        let sum = within(family, slot.map_or(0.0, |sample| sample.sum) + value)?;
        slot.get_or_insert(FamilySample::default()).sum = sum;
        Ok(())
    }

    #[inline]
    fn operation_of(&mut self, api: &'p [u8]) -> Option<Ec2Operation> {
        match self.last_api {
            Some((last, operation)) if std::ptr::eq(last, api) || last == api => operation,
            _ => {
                let operation = Ec2Operation::of_label(api);
                self.last_api = Some((api, operation));
                operation
            }
        }
    }

    #[inline]
    fn latency_of(&mut self, operation: Option<Ec2Operation>) -> Option<&mut LatencySample> {
        let slot = self.sample.latency.get_mut(operation? as usize)?;
        Some(slot.get_or_insert_default())
    }
}

/// A sum that is still one of the family's.
#[inline]
fn within(family: Family, sum: f64) -> Result<f64, LineErrorKind> {
    let most = if family.counts_events() { LARGEST_COUNT } else { f64::MAX };
    if sum <= most && sum.is_finite() { Ok(sum) } else { Err(LineErrorKind::Overflow) }
}
