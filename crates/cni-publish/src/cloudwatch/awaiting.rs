//! Before the cluster's name is known: rounds are taken in and kept within the buffer's bound, and nothing is sent.

use std::sync::Arc;

use cni_metrics_core::model::UnixMillis;
use tokio::time::{Instant, sleep_until};

use super::books::Books;
use super::deadline::leave_time;
use super::settings::CloudWatchSettings;
use crate::delivery::buffer::{Buffer, Kept};
use crate::stats::{DropReason, TroubleKind};
use crate::{Intake, Published};
use cni_aws::identity::{Identity, IdentityReader, IdentityState};
use cni_runtime::gate::Span;

/// What was taken in until the name was known.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The rounds, oldest first.
    pub(super) rounds: Vec<Kept>,
    /// The baselines that belong to the newest of them, and its time.
    pub(super) counters: Option<(Arc<[u8]>, UnixMillis)>,
}

/// Reads rounds until the identity is known. `None` if the program ends before: what was kept is lost then, and counted.
pub(super) async fn identity(
    settings: &CloudWatchSettings,
    mut identity: IdentityReader,
    intake: &mut Intake,
) -> Option<(Arc<Identity>, Held)> {
    let mut buffer = Buffer::new(settings.buffer_bytes);
    let mut books = Books::new(intake.stats.clone(), settings.namespace.clone());
    let mut not_ours_seen = 0;
    let mut counters = None;
    loop {
        let state = identity.borrow_and_update().clone();
        if let Some(identity) = state.known() {
            forget_not_ours(&mut buffer, &books, &mut not_ours_seen, intake);
            intake.stats.change(|stats| {
                stats.set_trouble(TroubleKind::Identity, None);
            });
            return Some((
                identity,
                Held { rounds: buffer.rounds().map(|(_, kept)| kept.clone()).collect(), counters },
            ));
        }
        let is_trouble = !matches!(state, IdentityState::Awaiting(_));
        intake.stats.change(|stats| {
            stats.set_trouble(TroubleKind::Identity, state.awaited().filter(|_| is_trouble));
        });
        let stop_by = intake.orders.borrow().stop_by;
        tokio::select! {
            changed = identity.changed() => if changed.is_err() {
                // The search has ended without a name: what comes is kept until the program ends, too.
                identity = never_changing(&state);
            },
            round = intake.rounds.next() => {
                let Some(round) = round else { break };
                forget_not_ours(&mut buffer, &books, &mut not_ours_seen, intake);
                hold(settings, &mut buffer, &mut books, &round, intake);
                counters = round.counters.map(|bytes| (bytes, round.snapshot.at)).or(counters);
            }
            () = sleep_until(stop_by.map_or_else(Instant::now, leave_time)), if stop_by.is_some() => break,
            changed = intake.orders.changed() => if changed.is_err() { break },
        }
    }
    give_up(&buffer, intake);
    None
}

/// A reader of this state whose sender stays alive with the process.
fn never_changing(state: &IdentityState) -> IdentityReader {
    let (sender, reader) = tokio::sync::watch::channel(state.clone());
    tokio::spawn(async move { sender.closed().await });
    reader
}

/// Of the lapses of the lease only the last few are remembered, so this does not wait for the name.
fn forget_not_ours(buffer: &mut Buffer, books: &Books, seen: &mut u64, intake: &Intake) {
    for span in intake.leadership.rounds_not_ours(seen) {
        books.not_ours(buffer.forget_between(span), span);
    }
}

fn hold(settings: &CloudWatchSettings, buffer: &mut Buffer, books: &mut Books, round: &Published, intake: &Intake) {
    let snapshot = &round.snapshot;
    let mut good = books.good_values(settings, snapshot);
    if intake.leadership.is_not_ours(snapshot.round) {
        books.not_ours(good.len(), Span { from: snapshot.at, to: snapshot.at });
        good.clear();
    }
    let full = buffer.push(Kept::new(snapshot.at, good));
    books.overflow(full, settings.buffer_bytes);
    intake.stats.change(|stats| {
        stats.buffered_points = buffer.points();
        stats.buffered_bytes = buffer.bytes();
        stats.oldest_point = buffer.oldest();
        stats.rounds = stats.rounds.saturating_add(1);
    });
}

/// The program ends. What a replica holds that stands by is not its own to lose: the leader publishes it.
fn give_up(buffer: &Buffer, intake: &Intake) {
    let stood_by = intake.leadership.published_by_others().is_some() && !intake.leadership.is_leading();
    let points = buffer.points();
    if points == 0 || stood_by {
        return;
    }
    intake.stats.change(|stats| stats.drop_points(DropReason::Shutdown, points));
    tracing::warn!(points, "unsent points are lost with this process: the cluster's name was not known");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_config::SdkConfig;
    use cni_types::catalogue::Metric;
    use tokio::sync::{oneshot, watch};

    use super::*;
    use crate::{Publisher, Selection, SinkStats};
    use cni_aws::identity::{CredentialKind, Found};
    use cni_runtime::gate::Leadership;
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
        let mut snapshot = Arc::unwrap_or_clone(crate::tests::round(number));
        snapshot.at = UnixMillis(i64::try_from(number).unwrap() * 30_000);
        snapshot.metrics.set(Metric::NodesExpected, Some(3.0));
        Published { snapshot: Arc::new(snapshot), counters: Some(Arc::from(number.to_le_bytes())) }
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

    struct Stand {
        publisher: Publisher,
        state: watch::Sender<IdentityState>,
        outcome: oneshot::Receiver<Option<(Arc<Identity>, Held)>>,
        stats: watch::Receiver<SinkStats>,
    }

    fn stand(buffer_bytes: u64) -> Stand {
        stand_led_by(buffer_bytes, Leadership::always())
    }

    fn stand_led_by(buffer_bytes: u64, leadership: Leadership) -> Stand {
        let mut publisher = Publisher::led_by(leadership);
        let state = watch::Sender::new(IdentityState::Awaiting("a test".to_owned()));
        let (reader, (sender, outcome)) = (state.subscribe(), oneshot::channel());
        publisher.spawn("cloudwatch", |mut intake| async move {
            let _ = sender.send(identity(&settings(buffer_bytes), reader, &mut intake).await);
            std::future::pending::<()>().await;
        });
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
