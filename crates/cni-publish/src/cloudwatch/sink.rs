//! The sink: first until the cluster's name is known, then what sends.

use std::mem;

use aws_config::SdkConfig;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::awaiting::Awaiting;
use super::client::{AwsCloudWatch, MetricClient};
use super::settings::CloudWatchSettings;
use super::task::Task;
use crate::delivery::spool::Opened;
use crate::messages::Published;
use crate::sink::Sink;
use crate::stats::Stats;
use cni_aws::identity::{Identity, IdentityReader};
use cni_runtime::clock::Clock;
use cni_runtime::gate::Leadership;

/// Delivers every point to CloudWatch.
pub struct CloudWatchSink<S> {
    stats: Stats,
    stage: Stage<S>,
}

enum Stage<S> {
    /// The cluster's name is not known yet: rounds are kept.
    Awaiting(Box<Prepared<S>>),
    /// It is known, and it is being decided whose the spool's points are.
    Opening(BoxFuture<'static, Box<Task<S>>>),
    Sending(Box<Task<S>>),
}

/// All that a [`Task`] needs, but for the cluster's name.
struct Prepared<S> {
    awaiting: Awaiting,
    settings: CloudWatchSettings,
    connect: fn(&SdkConfig, &CloudWatchSettings) -> S,
    clock: Clock,
    leadership: Leadership,
    opened: Opened,
}

impl<S: MetricClient> CloudWatchSink<S> {
    /// For a cluster whose name is known. `opened` is what [`open`](crate::delivery::spool::open) found in the spool.
    pub fn new(settings: CloudWatchSettings, client: S, clock: Clock, leadership: Leadership, opened: Opened) -> Self {
        let stats = Stats::new("cloudwatch");
        let task = Task::new(settings, client, clock, leadership, stats.clone(), opened);
        Self { stats, stage: Stage::Sending(Box::new(task)) }
    }

    /// The same with pauses that this number determines, so that a run can be repeated.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        if let Stage::Sending(task) = &mut self.stage {
            task.seed(seed);
        }
        self
    }

    /// What sends; `None` while the cluster's name is not known. Cancelling it loses nothing.
    async fn task(&mut self) -> Option<&mut Task<S>> {
        if let Stage::Opening(opened) = &mut self.stage {
            let task = opened.as_mut().await;
            self.stage = Stage::Sending(task);
        }
        match &mut self.stage {
            Stage::Sending(task) => Some(task),
            Stage::Awaiting(_) | Stage::Opening(_) => None,
        }
    }
}

impl CloudWatchSink<AwsCloudWatch> {
    /// Before the cluster's name is known: `settings` have everything but that. Until it is, rounds are kept.
    pub fn when_known(
        settings: CloudWatchSettings,
        identity: IdentityReader,
        clock: Clock,
        leadership: Leadership,
        opened: Opened,
    ) -> Self {
        let stats = Stats::new("cloudwatch");
        let awaiting = Awaiting::new(&settings, identity, leadership.clone(), stats.clone());
        let connect = AwsCloudWatch::new;
        let prepared = Prepared { awaiting, settings, connect, clock, leadership, opened };
        Self { stats, stage: Stage::Awaiting(Box::new(prepared)) }
    }
}

impl<S: MetricClient> Prepared<S> {
    fn named(&mut self, identity: &Identity, stats: Stats) -> BoxFuture<'static, Box<Task<S>>> {
        let held = self.awaiting.held();
        let settings = CloudWatchSettings { cluster_id: identity.cluster_id.value.clone(), ..self.settings.clone() };
        let client = (self.connect)(&identity.sdk, &settings);
        let (clock, leadership, opened) = (self.clock.clone(), self.leadership.clone(), mem::take(&mut self.opened));
        Box::pin(async move {
            let opened = opened.named(&settings.spool(), &clock).await;
            let mut task = Box::new(Task::new(settings, client, clock, leadership, stats, opened));
            task.hold(held);
            task
        })
    }
}

impl<S: MetricClient> Sink for CloudWatchSink<S> {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Stage::Awaiting(prepared) = &mut self.stage {
                prepared.awaiting.accept(&round);
            } else if let Some(task) = self.task().await {
                task.accept(&round);
            }
        })
    }

    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            if let Stage::Awaiting(prepared) = &mut self.stage {
                let identity = prepared.awaiting.identity().await;
                self.stage = Stage::Opening(prepared.named(&identity, self.stats.clone()));
            }
            match self.task().await {
                Some(task) => task.work().await,
                None => Ok(()),
            }
        })
    }

    fn stop(&mut self, by: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Stage::Awaiting(prepared) = &self.stage {
                prepared.awaiting.give_up();
            } else if let Some(task) = self.task().await {
                task.stop(by).await;
            }
        })
    }
}
