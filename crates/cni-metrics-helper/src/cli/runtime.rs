//! What commands that run for a while begin with: the runtime, and the warnings about settings.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

/// One line for each combination of settings that works worse than meant.
pub(super) fn warn_of(warnings: &[String]) {
    for warning in warnings {
        warn!("{warning}");
    }
}

/// The runtime of the helper itself: one thread. Connections and the round on different threads wake each other for every
/// answer, which was a quarter of what a page costs; and one core is what the pod is given.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    started(Builder::new_current_thread())
}

/// The runtime of commands that play the cluster too: a thread a core.
pub(super) fn wide_runtime() -> anyhow::Result<Runtime> {
    started(Builder::new_multi_thread())
}

/// Connections are files: the soft limit on them is raised as far as it goes, as Go programs do by themselves.
fn started(mut builder: Builder) -> anyhow::Result<Runtime> {
    let files = rustix::process::Resource::Nofile;
    let limits = rustix::process::getrlimit(files);
    // Without it there are fewer connections, which is no reason not to start.
    let _kept = rustix::process::setrlimit(files, rustix::process::Rlimit { current: limits.maximum, ..limits });
    builder.enable_all().build().context("the runtime cannot be started")
}
