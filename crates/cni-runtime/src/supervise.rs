//! Tasks that must not end while the program runs: who watches each of them, and what its end leads to.
//!
//! | task | when it ends by itself (it returned, or panicked) |
//! |---|---|
//! | round loop | the program ends with exit code 1 and the reason, after the sinks were drained and the lease released |
//! | round loop that hangs | `/livez` fails after three intervals and the kubelet restarts the program; with an election the lease is released |
//! | sinks: CloudWatch, Prometheus with its listener, log | as the round loop: a program that publishes nothing must not look healthy |
//! | admin listener | as the round loop |
//! | election | as the round loop; the lease expires and another replica takes over |
//! | watch of pods, watch of nodes | as the round loop: figures over a list that no longer follows the cluster look right and are not |
//! | API server's clock, one per round | ends with its round; a panic is one measurement less |
//! | a connection of a listener | that connection is closed |
//! | writing the spool | a failed write of the spool, which the CloudWatch sink reports |
//! | threads `signals` and `end` | an end of `signals` leaves `end` waiting; an end of `end` drops the trigger, which ends the program |
//! | thread `log` | log lines are lost and counted |
//! | search for region and cluster id | ends once both are known; without a region the program ends with exit code 1 and the reason |
//! | demo: the helper | the demo ends with the reason |
//!
//! A panic of any of them is one line in the log, whatever follows.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A task that ended although the program goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("task {task} ended unexpectedly: {reason}")]
pub struct TaskEnded {
    /// Which task.
    pub task: &'static str,
    /// It returned, or the panic's message.
    pub reason: String,
}

/// Learns of tasks that must not end.
#[derive(Debug, Clone)]
pub struct Supervisor(watch::Sender<Option<TaskEnded>>);

impl Default for Supervisor {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Supervisor {
    /// Starts a task whose end is the end of the program. Aborting it is no failure.
    pub fn spawn(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.spawn_until(task, work, || false)
    }

    /// The same for a task that returns once it was asked to: `is_asked` says so.
    pub fn spawn_until(
        &self,
        task: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
        is_asked: impl FnOnce() -> bool + Send + 'static,
    ) -> JoinHandle<()> {
        let supervisor = self.clone();
        tokio::spawn(async move {
            let ended = caught(work).await;
            if ended.is_ok() && is_asked() {
                return;
            }
            supervisor.ended(TaskEnded { task, reason: ended.err().unwrap_or_else(returned) });
        })
    }

    /// A task ended; the first one is the one that is reported.
    pub fn ended(&self, ended: TaskEnded) {
        self.0.send_if_modified(|first| first.is_none() && first.replace(ended).is_none());
    }

    /// Waits for the first task that ends.
    pub async fn failed(&self) -> TaskEnded {
        let mut ended = self.0.subscribe();
        let first = ended.wait_for(Option::is_some).await.map(|first| first.clone());
        match first {
            Ok(Some(first)) => first,
            // The sender is ours: it cannot be gone.
            _ => std::future::pending().await,
        }
    }
}

fn returned() -> String {
    "it returned".to_owned()
}

/// Runs `work`; a panic becomes its message.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| panicked(payload.as_ref()))
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    format!("panic: {}", panic_message(payload))
}

/// What a panic says.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_task_that_ends_is_named_with_its_reason() {
        let supervisor = Supervisor::default();
        assert!(tokio::time::timeout(Duration::from_hours(1), supervisor.failed()).await.is_err());
        let hostile: Result<u8, _> = "256".parse();
        let _task = supervisor.spawn("sink x", async move { assert_eq!(hostile.expect("a number"), 1) });
        let ended = supervisor.failed().await;
        assert_eq!(
            ended,
            TaskEnded { task: "sink x", reason: "panic: a number: ParseIntError { kind: PosOverflow }".to_owned() }
        );
        supervisor.spawn("later", async {}).await.unwrap();
        assert_eq!(supervisor.failed().await, ended);
        let other = Supervisor::default();
        supervisor.spawn("aborted", std::future::pending()).abort();
        other.spawn("quiet", async {}).await.unwrap();
        assert_eq!(other.failed().await.to_string(), "task quiet ended unexpectedly: it returned");
    }
}
