//! Scripted misbehaviour of a service: which requests fail, how, and when. Same seed and same requests, same faults.

use cni_types::random::Random;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to one request instead of, or before, its normal answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing: the service answers.
    None,
    /// `Throttling`, HTTP 400 (`RequestLimitExceeded`, HTTP 503, in EC2).
    Throttle,
    /// `AccessDenied`, HTTP 403 (`UnauthorizedOperation` in EC2).
    AccessDenied,
    /// `ExpiredToken`, HTTP 403.
    ExpiredToken,
    /// `InvalidParameterValue`, HTTP 400: the request is refused as wrong, whatever is in it.
    Invalid,
    /// `ServiceUnavailable`, HTTP 503.
    Unavailable,
    /// `InternalServiceError`, HTTP 500.
    Internal,
    /// The request is taken and never answered.
    Hang,
    /// The connection is reset without an answer.
    Reset,
    /// The request is carried out, but its answer is lost: the connection is reset afterwards.
    ResetAfter,
    /// The request is carried out and never answered.
    HangAfter,
    /// Answered normally, this many milliseconds of wall time late.
    Delay(u64),
}

/// One line of a fault script.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// What the rule does.
    pub fault: Fault,
    /// Share of matching requests it hits, 0 to 1.
    pub probability: f64,
    /// When it holds, Unix milliseconds of the service's clock; `None` is always.
    pub window_ms: Option<Range<i64>>,
    /// Only this operation (`PutMetricData`); `None` is all.
    pub operation: Option<String>,
}

impl FaultRule {
    /// A rule that hits every request at any time.
    pub fn always(fault: Fault) -> Self {
        Self { fault, probability: 1.0, window_ms: None, operation: None }
    }

    /// The same with a probability.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// The same within a window of the service's clock only.
    #[must_use]
    pub fn during(mut self, window_ms: Range<i64>) -> Self {
        self.window_ms = Some(window_ms);
        self
    }

    /// The same for one operation only.
    #[must_use]
    pub fn on(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    fn matches(&self, now_ms: i64, operation: &str) -> bool {
        self.window_ms.as_ref().is_none_or(|window| window.contains(&now_ms))
            && self.operation.as_ref().is_none_or(|only| only == operation)
    }
}

/// A further source of faults asked for each request, such as the cluster's own fault plan.
pub type FaultSource = Arc<dyn Fn(&str) -> Fault + Send + Sync>;

/// A service's fault script; a cheap handle whose clones share one script, so it can be changed while serving.
#[derive(Clone)]
pub struct Faults {
    inner: Arc<Mutex<Script>>,
}

struct Script {
    random: Random,
    rules: Vec<FaultRule>,
    limit: Option<TokenBucket>,
    source: Option<FaultSource>,
}

/// Token bucket over the service's clock: one second's worth may come at once.
struct TokenBucket {
    per_second: f64,
    tokens: f64,
    filled_at_ms: i64,
}

impl Faults {
    /// No faults; `seed` decides which requests a probability hits.
    pub fn new(seed: u64) -> Self {
        let script = Script { random: Random::new(seed), rules: Vec::new(), limit: None, source: None };
        Self { inner: Arc::new(Mutex::new(script)) }
    }

    /// Replaces all rules. The first rule that matches and hits decides.
    pub fn set(&self, rules: Vec<FaultRule>) {
        self.lock().rules = rules;
    }

    /// Removes rules and rate limit; a source stays.
    pub fn clear(&self) {
        let mut script = self.lock();
        script.rules.clear();
        script.limit = None;
    }

    /// Requests above this rate are throttled. `None` lifts the limit.
    pub fn set_rate_limit(&self, per_second: Option<f64>) {
        self.lock().limit =
            per_second.map(|rate| TokenBucket { per_second: rate, tokens: rate.max(1.0), filled_at_ms: i64::MIN });
    }

    /// Asks `source` too, after the script's own rules.
    pub fn set_source(&self, source: Option<FaultSource>) {
        self.lock().source = source;
    }

    /// What happens to a request for `operation` that arrives now.
    pub fn decide(&self, now_ms: i64, operation: &str) -> Fault {
        let mut script = self.lock();
        let Script { random, rules, limit, source } = &mut *script;
        for rule in rules.iter().filter(|rule| rule.matches(now_ms, operation)) {
            if random.fraction() < rule.probability {
                return rule.fault.clone();
            }
        }
        if limit.as_mut().is_some_and(|bucket| !bucket.take(now_ms)) {
            return Fault::Throttle;
        }
        let source = source.clone();
        drop(script);
        source.map_or(Fault::None, |ask| ask(operation))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenBucket {
    fn take(&mut self, now_ms: i64) -> bool {
        if self.filled_at_ms != i64::MIN {
            let elapsed_s = now_ms.saturating_sub(self.filled_at_ms).max(0) as f64 / 1000.0;
            self.tokens = (self.tokens + elapsed_s * self.per_second).min(self.per_second.max(1.0));
        }
        self.filled_at_ms = now_ms;
        let permitted = self.tokens >= 1.0;
        if permitted {
            self.tokens -= 1.0;
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_hits_its_share_and_repeats_with_the_seed() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.set(vec![FaultRule::always(Fault::Throttle).with_probability(0.3)]);
            (0..10_000).map(|_| faults.decide(0, "PutMetricData") == Fault::Throttle).collect::<Vec<_>>()
        };
        let first = run(7);
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((2_800..3_200).contains(&hits), "{hits} of 10,000");
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
    }

    #[test]
    fn window_and_operation_limit_a_rule() {
        let faults = Faults::new(1);
        faults.set(vec![FaultRule::always(Fault::Internal).during(100..200).on("PutMetricData")]);
        assert_eq!(faults.decide(99, "PutMetricData"), Fault::None);
        assert_eq!(faults.decide(100, "PutMetricData"), Fault::Internal);
        assert_eq!(faults.decide(150, "ListMetrics"), Fault::None);
        assert_eq!(faults.decide(200, "PutMetricData"), Fault::None);
    }

    #[test]
    fn rate_limit_permits_exactly_its_rate() {
        let faults = Faults::new(1);
        faults.set_rate_limit(Some(2.0));
        let permitted = (0..100).filter(|i| faults.decide(i * 100, "PutMetricData") == Fault::None).count();
        // Ten seconds at two a second, and the two that a full bucket holds at the start.
        assert!((20..=22).contains(&permitted), "{permitted}");
        faults.set_rate_limit(None);
        assert_eq!(faults.decide(10_000, "PutMetricData"), Fault::None);
    }

    #[test]
    fn the_source_is_asked_after_the_rules() {
        let faults = Faults::new(1);
        faults.set_source(Some(Arc::new(|operation| if operation == "X" { Fault::Hang } else { Fault::None })));
        assert_eq!(faults.decide(0, "X"), Fault::Hang);
        faults.set(vec![FaultRule::always(Fault::Reset)]);
        assert_eq!(faults.decide(0, "X"), Fault::Reset);
    }
}
