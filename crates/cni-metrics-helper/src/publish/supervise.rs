//! What a sink's task that ends too early leaves behind: its name and the reason, for whoever supervises the sinks.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::watch;

use super::Orders;
use super::stats::{StatsCell, TroubleKind};

/// A sink's task has ended although the program goes on: from now on this sink delivers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkEnded {
    /// `cloudwatch`, `prometheus` or `log`.
    pub name: &'static str,
    /// A panic's message, or that the task returned.
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

    /// See [`super::Publisher::failed`].
    pub async fn failed(&mut self) -> SinkEnded {
        let first = self.0.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match first {
            Some(ended) => ended,
            // The publisher and all sinks are gone, in order.
            None => std::future::pending().await,
        }
    }
}

/// Runs a sink's task; one that ends without having been told to is logged, shown as the sink's trouble and reported.
pub(super) async fn supervised(
    task: impl Future<Output = ()>,
    orders: watch::Receiver<Orders>,
    stats: StatsCell,
    ended: watch::Sender<Option<SinkEnded>>,
) {
    let outcome = AssertUnwindSafe(task).catch_unwind().await;
    // Told to stop, or the publisher was dropped.
    let was_told = orders.borrow().stop_by.is_some() || orders.has_changed().is_err();
    let reason = match outcome {
        Ok(()) if was_told => return,
        Ok(()) => "its task returned while the program still runs".to_owned(),
        Err(panic) => format!("its task panicked: {}", message(&*panic)),
    };
    let report = SinkEnded { name: stats.name(), reason };
    tracing::error!(sink = report.name, "{report}; its rounds are dropped and counted from now on");
    stats.change(|stats| {
        stats.set_trouble(TroubleKind::Task, Some(report.to_string()));
    });
    if !was_told {
        ended.send_if_modified(|first| first.is_none() && first.replace(report).is_none());
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
