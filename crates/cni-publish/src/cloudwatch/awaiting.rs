//! Before the cluster's name is known: rounds are taken in and kept within the buffer's bound, and nothing is sent.

use std::sync::Arc;

use cni_metrics_core::model::UnixMillis;

use super::books::Books;
use super::settings::CloudWatchSettings;
use crate::delivery::buffer::{Buffer, Kept};
use crate::messages::Published;
use crate::stats::{DropReason, Stats};
use cni_aws::identity::{Identity, IdentityReader, IdentityState};
use cni_runtime::gate::{Leadership, Span};

/// What was taken in until the name was known.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The rounds, oldest first.
    pub(super) rounds: Vec<Kept>,
    /// The baselines that belong to the newest of them, and its time.
    pub(super) counters: Option<(Arc<[u8]>, UnixMillis)>,
}

/// Keeps rounds until the cluster's name is known.
pub(super) struct Awaiting {
    settings: CloudWatchSettings,
    identity: IdentityReader,
    leadership: Leadership,
    buffer: Buffer,
    books: Books,
    /// Lapses of the lease up to this tenure were dealt with.
    not_ours_seen: u64,
    counters: Option<(Arc<[u8]>, UnixMillis)>,
}

impl Awaiting {
    pub(super) fn new(
        settings: &CloudWatchSettings,
        identity: IdentityReader,
        leadership: Leadership,
        stats: Stats,
    ) -> Self {
        Self {
            settings: settings.clone(),
            identity,
            leadership,
            buffer: Buffer::new(settings.buffer_bytes),
            books: Books::new(stats, settings.namespace.clone()),
            not_ours_seen: 0,
            counters: None,
        }
    }

    /// Waits until the identity is known. Cancelling it loses nothing.
    pub(super) async fn identity(&mut self) -> Arc<Identity> {
        loop {
            let state = self.identity.borrow_and_update().clone();
            if let Some(identity) = state.known() {
                self.books.identity(None);
                return identity;
            }
            let is_trouble = !matches!(state, IdentityState::Awaiting(_));
            self.books.identity(state.awaited().filter(|_| is_trouble));
            if self.identity.changed().await.is_err() {
                // The search has ended without a name: what comes is kept until the program ends, too.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Keeps a round.
    pub(super) fn accept(&mut self, round: &Published) {
        self.forget_not_ours();
        let snapshot = &round.snapshot;
        let mut good = self.books.good_values(&self.settings, snapshot);
        if self.leadership.is_not_ours(snapshot.round) {
            self.books.not_ours(good.len(), Span { from: snapshot.at, to: snapshot.at });
            good.clear();
        }
        let full = self.buffer.push(Kept::new(snapshot.at, good));
        self.books.overflow(full, self.settings.buffer_bytes);
        self.books.waiting(self.buffer.points(), self.buffer.bytes(), self.buffer.oldest());
        if let Some(bytes) = &round.counters {
            self.counters = Some((Arc::clone(bytes), snapshot.at));
        }
    }

    /// What was kept.
    pub(super) fn held(&mut self) -> Held {
        self.forget_not_ours();
        let rounds = self.buffer.rounds().map(|(_, kept)| kept.clone()).collect();
        Held { rounds, counters: self.counters.take() }
    }

    /// The program ends without the name: what was kept is dropped and counted. What a standby holds is not its
    /// own to lose: the leader publishes it.
    pub(super) fn give_up(&self) {
        let stood_by = self.leadership.published_by_others().is_some() && !self.leadership.is_leading();
        let points = self.buffer.points();
        if points == 0 || stood_by {
            return;
        }
        self.books.count_dropped(DropReason::Shutdown, points);
        tracing::warn!(points, "unsent data points are lost: the program ends, and the cluster's name is not known");
    }

    /// Of the lapses of the lease only the last few are remembered, so this does not wait for the name.
    fn forget_not_ours(&mut self) {
        for span in self.leadership.rounds_not_ours(&mut self.not_ours_seen) {
            self.books.not_ours(self.buffer.forget_between(span), span);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_config::SdkConfig;
    use cni_types::catalogue::Metric;
    use futures::future::BoxFuture;
    use tokio::sync::{oneshot, watch};
    use tokio::time::Instant;

    use super::*;
    use crate::{Publisher, Selection, Sink, SinkStats};
    use cni_aws::identity::{CredentialKind, Found};
    use cni_types::cluster_id::ClusterId;

    fn settings(buffer_bytes: u64) -> CloudWatchSettings {
        CloudWatchSettings {
            namespace: "Kubernetes".to_owned(),
            cluster_id: ClusterId::fallback(),
            shard: None,
            selection: Selection::all(),
            resolution_seconds: 60,
            flush_every: Duration::from_mins(1),
            buffer_bytes,
            spool_dir: None,
        }
    }

    /// A round with one value, and the baselines that belong to it.
    fn round(number: u64) -> Published {
        let mut snapshot = Arc::unwrap_or_clone(crate::publisher::tests::round(number));
        snapshot.at = UnixMillis(i64::try_from(number).unwrap() * 30_000);
        snapshot.metrics.set(Metric::NodesExpected, Some(3.0));
        Published { snapshot: Arc::new(snapshot), counters: Some(Arc::from(number.to_le_bytes())), conclusion: None }
    }

    fn known() -> IdentityState {
        let found = |value: &str| Found { value: value.to_owned(), source: "a test".to_owned() };
        IdentityState::Known(Arc::new(Identity {
            region: Some(found("eu-west-1")),
            cluster_id: Found { value: "prod".parse().unwrap(), source: "a test".to_owned() },
            credentials: CredentialKind::Environment,
            sdk: SdkConfig::builder().build(),
        }))
    }

    type Outcome = Option<(Arc<Identity>, Held)>;

    /// A sink that only waits for the name.
    struct Waiting {
        stats: Stats,
        awaiting: Awaiting,
        outcome: Option<oneshot::Sender<Outcome>>,
    }

    impl Waiting {
        fn over(&mut self, outcome: Outcome) {
            if let Some(sender) = self.outcome.take() {
                let _ = sender.send(outcome);
            }
        }
    }

    impl Sink for Waiting {
        fn stats(&self) -> &Stats {
            &self.stats
        }

        fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
            self.awaiting.accept(&round);
            Box::pin(std::future::ready(()))
        }

        fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(async {
                let identity = self.awaiting.identity().await;
                let held = self.awaiting.held();
                self.over(Some((identity, held)));
                std::future::pending().await
            })
        }

        fn stop(&mut self, _by: Instant) -> BoxFuture<'_, ()> {
            self.awaiting.give_up();
            self.over(None);
            Box::pin(std::future::ready(()))
        }
    }

    struct Stand {
        publisher: Publisher,
        state: watch::Sender<IdentityState>,
        outcome: oneshot::Receiver<Outcome>,
        stats: watch::Receiver<SinkStats>,
    }

    fn stand(buffer_bytes: u64) -> Stand {
        stand_led_by(buffer_bytes, Leadership::always())
    }

    fn stand_led_by(buffer_bytes: u64, leadership: Leadership) -> Stand {
        let mut publisher = Publisher::new();
        let state = watch::Sender::new(IdentityState::Awaiting("a test".to_owned()));
        let (reader, (sender, outcome)) = (state.subscribe(), oneshot::channel());
        let stats = Stats::new("cloudwatch");
        let awaiting = Awaiting::new(&settings(buffer_bytes), reader, leadership, stats.clone());
        publisher.add(Box::new(Waiting { stats, awaiting, outcome: Some(sender) }));
        let stats = publisher.stats_receivers().remove(0);
        Stand { publisher, state, outcome, stats }
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_before_the_name_are_kept_within_the_bound_and_the_oldest_are_dropped_and_counted() {
        // A round with one value takes 104 bytes.
        let mut stand = stand(1040);
        for number in 1..=10_000 {
            stand.publisher.publish(round(number));
            stand.stats.wait_for(|stats| stats.rounds == number).await.unwrap();
        }
        assert_eq!(stand.stats.borrow().trouble, None, "waiting is no trouble");
        stand.state.send_replace(IdentityState::Refused("no source".to_owned()));
        let refused = stand.stats.wait_for(|stats| stats.trouble.is_some()).await.unwrap().trouble.clone().unwrap();
        assert!(refused.contains("CLUSTER_ID_FALLBACK is refuse"), "{refused}");
        stand.state.send_replace(known());
        let (identity, held) = stand.outcome.await.unwrap().unwrap();
        assert_eq!(identity.cluster_id.value, "prod");
        let times: Vec<i64> = held.rounds.iter().map(|kept| kept.at.0).collect();
        assert_eq!(times, (9_991..=10_000).map(|number| number * 30_000).collect::<Vec<i64>>());
        assert_eq!(held.counters, Some((Arc::from(10_000_u64.to_le_bytes()), UnixMillis(300_000_000))));
        let stats = stand.stats.borrow();
        assert_eq!(stats.dropped_points.get(&DropReason::BufferFull), Some(&9_990));
        assert_eq!((stats.buffered_points, stats.trouble.clone()), (10, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_when_the_program_ends_before_is_counted_as_lost() {
        let mut stand = stand(1 << 20);
        for number in 1..=3 {
            stand.publisher.publish(round(number));
            stand.stats.wait_for(|stats| stats.rounds == number).await.unwrap();
        }
        stand.publisher.drain(Duration::from_secs(5)).await;
        assert!(stand.outcome.await.unwrap().is_none());
        assert_eq!(stand.stats.borrow().dropped_points.get(&DropReason::Shutdown), Some(&3));
    }
    #[tokio::test(start_paused = true)]
    async fn rounds_of_any_number_of_lapses_that_were_anothers_are_left_out_before_the_name_is_known() {
        let (appointment, leadership) = Leadership::manual(false);
        let mut stand = stand_led_by(1 << 20, leadership.clone());
        for number in 1..=12 {
            let published = round(number);
            leadership.measured_in_lapse(leadership.tenure(), number, published.snapshot.at);
            stand.publisher.publish(published);
            stand.stats.wait_for(|stats| stats.rounds == number).await.unwrap();
            appointment.taken_by_another();
        }
        stand.state.send_replace(known());
        let (_identity, held) = stand.outcome.await.unwrap().unwrap();
        assert_eq!(held.rounds, []);
        assert_eq!(stand.stats.borrow().dropped_points.get(&DropReason::NotLeading), Some(&12));
    }
}
