//! What a sink's task that ends too early leaves behind: its name and the reason, for the supervisor of the sinks.

use std::fmt;
use std::future::Future;

use tokio::sync::watch;

use crate::messages::Orders;
use crate::stats::{Stats, TroubleKind};
use cni_runtime::supervise::caught;

/// A sink's task has ended although the program goes on: from now on this sink delivers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkEnded {
    /// The sink's name, for example `cloudwatch`.
    pub name: &'static str,
    /// A panic's message, or why the sink could not go on.
    pub reason: String,
}

impl fmt::Display for SinkEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} sink ended unexpectedly: {}", self.name, self.reason)
    }
}

/// Watches all sinks of one publisher.
#[derive(Debug, Clone)]
pub struct SinkWatch(watch::Receiver<Option<SinkEnded>>);

impl SinkWatch {
    pub(super) fn new(ended: watch::Receiver<Option<SinkEnded>>) -> Self {
        Self(ended)
    }

    /// See [`Publisher::failed`](crate::Publisher::failed).
    pub async fn failed(&mut self) -> SinkEnded {
        let first = self.0.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match first {
            Some(ended) => ended,
            // The publisher and all sinks are gone, in order.
            None => std::future::pending().await,
        }
    }
}

/// Runs a sink's task; one that ends without having been asked to is logged, shown as the sink's trouble and reported.
pub(super) async fn supervised(
    task: impl Future<Output = Result<(), String>>,
    orders: watch::Receiver<Orders>,
    stats: Stats,
    ended: watch::Sender<Option<SinkEnded>>,
) {
    let outcome = caught(task).await;
    // Asked to stop, or the publisher was dropped.
    let was_asked = orders.borrow().stop_by.is_some() || orders.has_changed().is_err();
    let reason = match outcome {
        Ok(_) if was_asked => return,
        Ok(Ok(())) => "its task returned while the program still runs".to_owned(),
        Ok(Err(reason)) => reason,
        Err(panic) => format!("its task ended by a {panic}"),
    };
    let report = SinkEnded { name: stats.name(), reason };
    tracing::error!(sink = report.name, "{report}; its rounds are dropped and counted from now on");
    stats.change(|stats| {
        stats.set_trouble(TroubleKind::Task, Some(report.to_string()));
    });
    if !was_asked {
        ended.send_if_modified(|first| first.is_none() && first.replace(report).is_none());
    }
}
