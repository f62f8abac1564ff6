//! The interface of a sink.

use std::future;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::messages::Published;
use crate::stats::Stats;

/// A destination of rounds: start, accept a round, stop, statistics.
///
/// A sink is built from its settings by a constructor of its own; a setting that it cannot use is an error there. After
/// [`Publisher::add`](crate::Publisher::add) the operations are called from one task per sink: `start`; for each round
/// `accept`, with `work` in between; `stop`. The task reads from a bounded queue that drops the oldest round, so an operation
/// may take any time: what it delays are the rounds of this sink only. It must not block the thread.
///
/// A sink whose destination is shared with other replicas asks its [`Leadership`](cni_runtime::gate::Leadership) before it
/// sends. A sink that must not lose data points uses the parts of [`delivery`](crate::delivery).
pub trait Sink: Send + 'static {
    /// The sink's figures, with its name: the label `sink` of its metrics. What happens in the queue is counted in them
    /// without the sink's help.
    fn stats(&self) -> &Stats;

    /// The first step of the task. An error is the reason why the sink cannot run; it is reported as that of
    /// [`Sink::work`].
    fn start(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(future::ready(Ok(())))
    }

    /// Takes a round; rounds come in the order in which they were measured, less those that the queue had to drop.
    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()>;

    /// What the sink does while no round is there, for example requests that are under way. It returns after each step and
    /// is called again. When a round comes, the future is dropped: what must last is kept in the sink.
    ///
    /// An error is the reason why the sink cannot go on. It ends the task after [`Sink::stop`], and the program with it: a
    /// program that publishes nothing must not look healthy.
    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(future::pending())
    }

    /// The last step, after the queue was read: sends what is left, or keeps it, or counts it as dropped. At `by` the task is
    /// ended. After an error no time is left.
    fn stop(&mut self, by: Instant) -> BoxFuture<'_, ()> {
        let _ = by;
        Box::pin(future::ready(()))
    }
}
