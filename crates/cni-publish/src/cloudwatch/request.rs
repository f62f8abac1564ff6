//! One request: claimed on disk, then in the lease, then sent.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::time::Instant;

use super::client::{MetricClient, PutError};
use crate::delivery::buffer::Point;
use crate::delivery::spool::Claims;
use cni_runtime::gate::Leadership;

/// How a request ended.
pub(super) struct Answer {
    /// `None` if it was not sent, because this replica does not lead any more.
    pub(super) result: Option<Result<(), PutError>>,
    /// The newest round in it.
    pub(super) newest: UnixMillis,
    /// From its sending to its answer.
    pub(super) took: Duration,
}

/// A request that has no answer yet.
pub(super) struct UnderWay {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    /// The newest round in it.
    pub(super) newest: UnixMillis,
    is_sent: Arc<AtomicBool>,
}

impl UnderWay {
    /// It makes progress while [`answered`] is polled. `claim` is the record for the spool, if there is one.
    pub(super) fn begin<S: MetricClient>(
        client: Arc<S>,
        leadership: Leadership,
        claim: Option<(Claims, Vec<u8>)>,
        points: Vec<Point>,
    ) -> Self {
        let newest = points.iter().map(|point| point.at).max().unwrap_or(UnixMillis(i64::MIN));
        let is_sent = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&is_sent);
        let answer = Box::pin(async move {
            if let Some((claims, record)) = claim {
                claims.claim(record).await;
            }
            let may_send = leadership.admits(newest).await;
            let begun = Instant::now();
            let result = if may_send {
                mark.store(true, Ordering::Relaxed);
                Some(client.put(points).await)
            } else {
                None
            };
            Answer { result, newest, took: begun.elapsed() }
        });
        Self { answer, newest, is_sent }
    }

    /// It was handed to the client.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Relaxed)
    }
}

/// Waits for the answer; for ever without a request. Cancelling it loses nothing.
pub(super) async fn answered(under_way: Option<&mut UnderWay>) -> Answer {
    match under_way {
        Some(request) => request.answer.as_mut().await,
        None => pending().await,
    }
}
