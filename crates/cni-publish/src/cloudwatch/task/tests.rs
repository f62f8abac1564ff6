use cni_types::catalogue::Metric;

use tokio::sync::watch;

use super::*;
use crate::cloudwatch::sink::CloudWatchSink;
use crate::delivery::spool::Spool;
use crate::publisher::Publisher;
use crate::publisher::tests::round;
use crate::selection::Selection;

/// Takes requests and never answers them.
struct Silent(watch::Sender<usize>);

impl MetricClient for Silent {
    async fn put(&self, _points: Vec<Point>) -> Result<(), PutError> {
        self.0.send_modify(|requests| *requests += 1);
        std::future::pending().await
    }
}

fn settings() -> CloudWatchSettings {
    CloudWatchSettings {
        namespace: "Kubernetes".to_owned(),
        cluster_id: "prod".parse().unwrap(),
        shard: None,
        selection: Selection::all(),
        resolution_seconds: 60,
        flush_every: Duration::from_mins(1),
        buffer_bytes: 1 << 20,
        spool_dir: None,
    }
}

fn spawned(publisher: &mut Publisher, leadership: Leadership, opened: Opened) -> watch::Receiver<usize> {
    let (sender, requests) = watch::channel(0);
    let clock = Clock::scaled(UnixMillis(0), 1.0);
    publisher.add(Box::new(CloudWatchSink::new(settings(), Silent(sender), clock, leadership, opened)));
    requests
}

fn round_with_a_counter() -> Published {
    let mut snapshot = Arc::unwrap_or_clone(round(1));
    snapshot.metrics.set(Metric::AddReqCount, Some(3.0));
    Published::from(Arc::new(snapshot))
}

#[tokio::test(start_paused = true)]
async fn a_request_in_doubt_is_counted_also_by_a_replica_that_no_longer_leads() {
    let (appointment, leadership) = Leadership::manual(true);
    appointment.appoint(Some(Instant::now() + Duration::from_hours(1)));
    let mut publisher = Publisher::new();
    let mut requests = spawned(&mut publisher, leadership, Opened::none());
    publisher.publish(round_with_a_counter());
    requests.wait_for(|requests| *requests == 1).await.unwrap();
    appointment.others_published(UnixMillis(-1));
    appointment.appoint(None);
    let stats = publisher.stats_receivers().remove(0);
    publisher.drain(Duration::from_secs(5)).await;
    assert_eq!(stats.borrow().dropped_points.get(&DropReason::InDoubt), Some(&1));
}

#[tokio::test]
async fn counters_of_a_lapse_are_not_sent_by_a_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::scaled(UnixMillis(0), 1.0);
    let settings = CloudWatchSettings { spool_dir: Some(folder.path().to_owned()), ..settings() };
    let (appointment, leadership) = Leadership::manual(false);
    let mut publisher = Publisher::new();
    let opened = spool::open(&settings.spool(), &clock).await;
    spawned(&mut publisher, leadership.clone(), opened);
    let mut stats = publisher.stats_receivers().remove(0);
    leadership.measured_in_lapse(0, 1, UnixMillis(0));
    publisher.publish(round_with_a_counter());
    stats.wait_for(|stats| stats.rounds == 1).await.unwrap();
    // The process does not measure while another leads, so it does not write again by itself.
    appointment.taken_by_another();
    publisher.drain(Duration::from_secs(20)).await;
    let left = spool::look(folder.path()).unwrap().unwrap();
    assert_eq!((left.rounds.len(), left.in_doubt.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_its_spools_task_the_sink_ends_before_it_sends() {
    let mut publisher = Publisher::new();
    let mut opened = Opened::none();
    opened.spool = Some(Spool::ended());
    let requests = spawned(&mut publisher, Leadership::always(), opened);
    publisher.publish(round_with_a_counter());
    let ended = tokio::time::timeout(Duration::from_hours(1), publisher.failed()).await.unwrap();
    assert_eq!((ended.name, *requests.borrow()), ("cloudwatch", 0));
}

/// Refuses every request at once.
struct Down;

impl MetricClient for Down {
    async fn put(&self, _points: Vec<Point>) -> Result<(), PutError> {
        Err(PutError::Unavailable { retry_after: None, detail: "a test".to_owned() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_refused_again_and_again_stops_in_time_to_count_what_is_left() {
    let mut publisher = Publisher::new();
    // Pauses between requests are milliseconds by this clock.
    let clock = Clock::scaled(UnixMillis(0), 600.0);
    publisher.add(Box::new(CloudWatchSink::new(settings(), Down, clock, Leadership::always(), Opened::none())));
    let mut stats = publisher.stats_receivers().remove(0);
    publisher.publish(round_with_a_counter());
    stats.wait_for(|stats| stats.rounds == 1).await.unwrap();
    let began = Instant::now();
    publisher.drain(Duration::from_secs(10)).await;
    assert_eq!(stats.borrow().dropped_points.get(&DropReason::Shutdown), Some(&1));
    assert!(began.elapsed() < Duration::from_millis(9_900), "{:?}", began.elapsed());
}
