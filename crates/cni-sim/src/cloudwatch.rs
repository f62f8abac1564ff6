//! CloudWatch, as far as metrics are put and read back: `PutMetricData`, `GetMetricData`, `GetMetricStatistics`,
//! `ListMetrics`, in every protocol that current and older AWS SDKs speak.
//!
//! What real CloudWatch does and this does not: signatures are not verified, old points are visible at once (AWS
//! takes up to two days), nothing is rolled up or forgotten with age, and no alarms or dashboards are kept.

mod datum;
mod limits;
mod math;
mod put;
mod query;
mod read;
mod statistic;
pub mod store;
mod wire;

use crate::aws::error::AwsError;
use crate::aws::fault::{Fault, Faults};
use crate::aws::{Clock, FaultEffect, apply_delay, auth, body, doc::Doc, serve};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;
pub use store::CloudWatchStore;
use store::{Outcome, RequestRecord};
use wire::{Call, Wire};

/// CloudWatch's fault script.
pub type CloudWatchFaults = Faults;

/// The name CloudWatch requests are signed under.
const SIGNING_NAME: &str = "monitoring";

/// One simulated CloudWatch: a clock, a store, a fault script. Clones share all three.
#[derive(Clone)]
pub struct CloudWatch {
    clock: Arc<dyn Clock>,
    store: Arc<CloudWatchStore>,
    faults: CloudWatchFaults,
}

impl CloudWatch {
    /// An empty service on `clock`; `seed` decides which requests a fault's probability hits.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, store: Arc::new(CloudWatchStore::default()), faults: Faults::new(seed) }
    }

    /// What was accepted, and every request's record.
    pub fn store(&self) -> Arc<CloudWatchStore> {
        Arc::clone(&self.store)
    }

    /// The script of faults; may be changed while serving.
    pub fn faults(&self) -> CloudWatchFaults {
        self.faults.clone()
    }
}

/// The service as a router; serve it with [`serve::serve`] so that scripted resets are real ones.
pub fn router(cloudwatch: CloudWatch) -> Router {
    // The body is bounded by the API's own limit, with the API's own error.
    Router::new().fallback(handle).layer(axum::extract::DefaultBodyLimit::disable()).with_state(cloudwatch)
}

async fn handle(State(cloudwatch): State<CloudWatch>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let wire = Wire::of(&parts);
    let mut record = RequestRecord::begun(cloudwatch.clock.now_ms(), wire.name());
    record.user_agent =
        parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let payload = match body::read(&parts.headers, body, limits::MAX_BODY_BYTES).await {
        Ok(payload) => payload,
        Err(error) => return cloudwatch.finish(record, &wire, Err(error)),
    };
    record.wire_bytes = payload.wire_bytes;
    record.body_bytes = payload.content.len();
    let call = match wire.call(&parts, &payload.content) {
        Ok(call) => call,
        Err(error) => return cloudwatch.finish(record, &wire, Err(error)),
    };
    record.operation.clone_from(&call.operation);
    // A request that hangs is in the log while it hangs, or a test could not wait for it.
    let fault = cloudwatch.faults.decide(record.at_ms, &call.operation);
    if fault == Fault::Hang {
        record.outcome = Outcome::Hung;
        cloudwatch.store.log(record.clone());
    }
    match apply_delay(fault).await {
        FaultEffect::Reset => {
            record.outcome = Outcome::Reset;
            cloudwatch.store.log(record);
            serve::reset_response()
        }
        FaultEffect::Refuse(fault) => {
            let error = AwsError::of_fault(&fault, &format!("cloudwatch:{}", call.operation));
            let error = error.unwrap_or_else(|| AwsError::new(500, "InternalFailure", "unscripted fault"));
            cloudwatch.finish(record, &wire, Err(error))
        }
        verdict => {
            let answer = cloudwatch.answer(&parts.headers, &call, &mut record);
            record.handling_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            if verdict == FaultEffect::ServeThenReset {
                record.outcome = if answer.is_ok() { Outcome::AcceptedThenReset } else { Outcome::Reset };
                cloudwatch.store.log(record);
                return serve::reset_response();
            }
            if verdict == FaultEffect::ServeThenHang {
                record.outcome = if answer.is_ok() { Outcome::AcceptedThenHung } else { Outcome::Hung };
                cloudwatch.store.log(record);
                return std::future::pending().await;
            }
            cloudwatch.finish(record, &wire, answer)
        }
    }
}

impl CloudWatch {
    fn answer(
        &self,
        headers: &http::HeaderMap,
        call: &Call,
        record: &mut RequestRecord,
    ) -> Result<Option<Doc>, AwsError> {
        let now_ms = self.clock.now_ms();
        let caller = auth::check(headers, SIGNING_NAME, now_ms)?;
        record.access_key_id = caller.access_key_id;
        record.session_token = caller.session_token;
        match call.operation.as_str() {
            "PutMetricData" => {
                let put = put::Put::decode(&call.input)?;
                record.data_count = put.data.len();
                limits::check(&put, now_ms)?;
                self.store.accept(put, now_ms, record.sequence(&self.store));
                Ok(None)
            }
            "GetMetricData" => read::get_metric_data(&self.store, &call.input).map(Some),
            "GetMetricStatistics" => read::get_metric_statistics(&self.store, &call.input).map(Some),
            "ListMetrics" => read::list_metrics(&self.store, &call.input, now_ms).map(Some),
            other => Err(wire::unknown_operation(other)),
        }
    }

    fn finish(&self, mut record: RequestRecord, wire: &Wire, answer: Result<Option<Doc>, AwsError>) -> Response {
        record.outcome = match &answer {
            Ok(_) => Outcome::Accepted,
            Err(error) => Outcome::Rejected { status: error.status, code: error.code.to_owned() },
        };
        let operation = record.operation.clone();
        self.store.log(record);
        match answer {
            Ok(output) => wire.success(&operation, output.as_ref()),
            Err(error) => wire.failure(&error),
        }
    }
}
