//! Sample lines added up to a [`NodeSample`].

use std::borrow::Cow;

use super::error::LineErrorKind;
use super::labels::unescape;
use super::name::Series;
use super::name::well_known_api;
use crate::catalogue::Family;
use crate::model::{FOLLOWED_APIS, FamilySample, LatencySample, NodeSample};

/// What one line adds, found sound by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contribution<'p> {
    /// To a family's sum.
    Sum(Family, f64),
    /// To an API's `_sum`.
    LatencySum(&'p [u8], f64),
    /// To an API's `_count`.
    LatencyCount(&'p [u8], f64),
    /// An API's 0.99 quantile; NaN is "no observation".
    P99(&'p [u8], Option<f64>),
    /// A quantile that nobody reads.
    OtherQuantile,
    /// The process' start, seconds.
    ProcessStart(f64),
}

impl<'p> Contribution<'p> {
    /// Checks what the catalogue lets this series be.
    #[inline]
    pub(super) fn new(
        series: Series,
        api: Option<&'p [u8]>,
        quantile: Option<&'p [u8]>,
        value: f64,
    ) -> Result<Self, LineErrorKind> {
        match series {
            Series::Family(Family::AwsApiLatencyMs) => {
                let quantile = quantile.ok_or(LineErrorKind::MissingLabel("quantile"))?;
                let value = if value.is_nan() { None } else { Some(not_negative(value)?) };
                let is_p99 = quantile == b"0.99";
                if is_p99 { Ok(Self::P99(named(api)?, value)) } else { Ok(Self::OtherQuantile) }
            }
            Series::Family(family) if family.is_counter() => Ok(Self::Sum(family, not_negative(value)?)),
            Series::Family(family) => Ok(Self::Sum(family, finite(value)?)),
            Series::LatencySum => Ok(Self::LatencySum(named(api)?, not_negative(value)?)),
            Series::LatencyCount => Ok(Self::LatencyCount(named(api)?, not_negative(value)?)),
            Series::ProcessStart => Ok(Self::ProcessStart(not_negative(value)?)),
        }
    }
}

fn named(api: Option<&[u8]>) -> Result<&[u8], LineErrorKind> {
    api.ok_or(LineErrorKind::MissingLabel("api"))
}

fn finite(value: f64) -> Result<f64, LineErrorKind> {
    if value.is_finite() { Ok(value) } else { Err(LineErrorKind::NotFinite) }
}

fn not_negative(value: f64) -> Result<f64, LineErrorKind> {
    if finite(value)? < 0.0 { Err(LineErrorKind::Negative) } else { Ok(value) }
}

/// The sums so far.
#[derive(Debug, Default)]
pub(super) struct Fold<'p> {
    sample: NodeSample,
    /// One entry a run of lines with the same API; runs are joined at the end.
    latency: Vec<Latency<'p>>,
    /// As many APIs as are followed were met: from then on no run is begun twice.
    crowded: bool,
    /// Over all APIs, so that an overflow is found at its line. `_sum`'s is the family's own sum.
    latency_count: f64,
}

#[derive(Debug)]
struct Latency<'p> {
    api: &'p [u8],
    sum_ms: f64,
    count: f64,
    p99_ms: Option<f64>,
}

impl<'p> Fold<'p> {
    /// Adds a line's contribution.
    #[inline]
    pub(super) fn add(&mut self, contribution: Contribution<'p>) -> Result<(), LineErrorKind> {
        match contribution {
            Contribution::Sum(family, value) => self.add_sum(family, value)?,
            Contribution::LatencySum(api, value) => {
                let at = self.latency_of(api)?;
                self.add_sum(Family::AwsApiLatencyMs, value)?;
                if let Some(latency) = self.latency.get_mut(at) {
                    latency.sum_ms += value;
                }
            }
            Contribution::LatencyCount(api, value) => {
                let at = self.latency_of(api)?;
                self.add_sum(Family::AwsApiLatencyMs, 0.0)?;
                self.latency_count = finite(self.latency_count + value).map_err(|_| LineErrorKind::Overflow)?;
                if let Some(latency) = self.latency.get_mut(at) {
                    latency.count += value;
                }
            }
            Contribution::P99(api, value) => {
                let at = self.latency_of(api)?;
                self.add_sum(Family::AwsApiLatencyMs, 0.0)?;
                self.sample.has_quantiles = true;
                if let Some(latency) = self.latency.get_mut(at) {
                    latency.p99_ms = highest(latency.p99_ms, value);
                }
            }
            Contribution::OtherQuantile => self.add_sum(Family::AwsApiLatencyMs, 0.0)?,
            Contribution::ProcessStart(seconds) => self.sample.process_start_seconds = Some(seconds),
        }
        Ok(())
    }

    /// Notes that a line of the family is lost.
    pub(super) fn damage(&mut self, family: Family) {
        if let Some(slot) = self.sample.families.get_mut(family as usize) {
            slot.get_or_insert_default().damaged = true;
        }
    }

    /// True while no line of the catalogue's families was met, readable or not.
    pub(super) fn is_empty(&self) -> bool {
        self.sample.families.iter().all(Option::is_none)
    }

    /// The page's sample.
    pub(super) fn finish(mut self) -> NodeSample {
        self.join();
        let named = self.latency.into_iter().map(|run| LatencySample {
            api: match well_known_api(run.api) {
                Some(known) => Cow::Borrowed(known),
                None => Cow::Owned(unescape(run.api).into_owned()),
            },
            sum_ms: run.sum_ms,
            count: run.count,
            p99_ms: run.p99_ms,
        });
        let mut joined: Vec<LatencySample> = named.collect();
        // Escapes may order differently from what they stand for.
        joined.sort_by(|a, b| a.api.cmp(&b.api));
        self.sample.latency = joined;
        self.sample
    }

    #[inline]
    fn add_sum(&mut self, family: Family, value: f64) -> Result<(), LineErrorKind> {
        let Some(slot) = self.sample.families.get_mut(family as usize) else { return Ok(()) };
        let sum = slot.map_or(0.0, |sample| sample.sum) + value;
        if !sum.is_finite() {
            return Err(LineErrorKind::Overflow);
        }
        slot.get_or_insert(FamilySample::default()).sum = sum;
        Ok(())
    }

    /// One entry an API, in the order of their spellings.
    fn join(&mut self) {
        // Stable, and free where the page has its APIs in order.
        self.latency.sort_by(|a, b| a.api.cmp(b.api));
        self.latency.dedup_by(|run, same| {
            let is_same = run.api == same.api;
            if is_same {
                same.sum_ms += run.sum_ms;
                same.count += run.count;
                same.p99_ms = highest(same.p99_ms, run.p99_ms);
            }
            is_same
        });
    }

    /// Where the API's entry is.
    #[inline]
    fn latency_of(&mut self, api: &'p [u8]) -> Result<usize, LineErrorKind> {
        match self.latency.last() {
            Some(last) if std::ptr::eq(last.api, api) || last.api == api => Ok(self.latency.len() - 1),
            _ => self.begin(api),
        }
    }

    fn begin(&mut self, api: &'p [u8]) -> Result<usize, LineErrorKind> {
        if self.latency.is_empty() {
            self.latency.reserve(16);
        }
        if !self.crowded && self.latency.len() == FOLLOWED_APIS {
            self.join();
            self.crowded = true;
        }
        if self.crowded {
            if let Some(at) = self.latency.iter().position(|own| own.api == api) {
                return Ok(at);
            }
            if self.latency.len() == FOLLOWED_APIS {
                return Err(LineErrorKind::TooManyApis);
            }
        }
        self.latency.push(Latency { api, sum_ms: 0.0, count: 0.0, p99_ms: None });
        Ok(self.latency.len() - 1)
    }
}

fn highest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, None) | (None, one) => one,
    }
}
