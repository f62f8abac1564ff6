//! The delivery rules under any order of rounds, flushes, answers and evictions: nothing is lost unless counted,
//! nothing is sent twice, order is kept; what is on disk in any moment is what a restart must know; and ten thousand
//! rounds of anything stay within their bounds.

#![expect(clippy::float_cmp, reason = "values are passed on, not computed")]

use std::collections::{BTreeMap, BTreeSet};

use cni_metrics_core::model::UnixMillis;
use cni_publish::cloudwatch::limits;
use cni_publish::delivery::buffer::{Kept, Point, metrics_by_round};
use cni_publish::delivery::requests::{Delivery, Refusal, RequestLimits};
use cni_publish::delivery::spool::{self, Image, Origin};
use cni_publish::selection::ROWS;
use cni_types::catalogue::{Kind, METRICS};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Round {
        metrics: usize,
    },
    Flush,
    /// One request, answered like this.
    Request(Answer),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    /// As the data deserve: refused if one of them is bad.
    Honest,
    Failed,
    RefusedWhatever,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..=METRICS).prop_map(|metrics| Step::Round { metrics }),
        2 => Just(Step::Flush),
        4 => Just(Step::Request(Answer::Honest)),
        2 => Just(Step::Request(Answer::Failed)),
        1 => Just(Step::Request(Answer::RefusedWhatever)),
    ];
    proptest::collection::vec(step, 1..200)
}

type Key = (i64, usize);

fn key(point: &Point) -> Key {
    (point.at.0, point.row.metric as usize)
}

#[derive(Default)]
struct Books {
    pushed: BTreeSet<Key>,
    accepted: BTreeMap<Key, f64>,
    bad: BTreeSet<Key>,
    evicted: usize,
}

struct World {
    delivery: Delivery,
    books: Books,
    next_at: i64,
    most_data: usize,
    is_bad: fn(Key) -> bool,
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Round { metrics } => {
                self.next_at += 30_000;
                let at = self.next_at;
                let values = ROWS.iter().take(*metrics).map(|row| (row, (at + row.metric as i64) as f64));
                self.books.pushed.extend((0..*metrics).map(|metric| (at, metric)));
                self.books.evicted += self.delivery.push(Kept::new(UnixMillis(at), values));
                Ok(())
            }
            Step::Flush => {
                self.delivery.flush();
                Ok(())
            }
            Step::Request(answer) => self.request(*answer).map(|_| ()),
        }
    }

    fn request(&mut self, answer: Answer) -> Result<bool, TestCaseError> {
        let (points, dropped) = self.delivery.next(UnixMillis(self.next_at));
        prop_assert!(dropped.0.is_empty());
        let Some(points) = points else { return Ok(false) };
        prop_assert!(!points.is_empty() && points.len() <= self.most_data);
        let in_rounds = points.iter().map(key).collect::<BTreeSet<_>>();
        prop_assert_eq!(in_rounds.len(), points.len(), "a point twice in one request");
        let has_bad = points.iter().any(|point| (self.is_bad)(key(point)));
        if answer == Answer::Failed {
            self.books.evicted += self.delivery.failed(true);
        } else if has_bad || answer == Answer::RefusedWhatever {
            let (refusal, evicted) = self.delivery.refused();
            self.books.evicted += evicted;
            if let Refusal::Bad(point) = refusal {
                prop_assert!(self.books.bad.insert(key(&point)));
            }
        } else {
            prop_assert_eq!(self.delivery.accepted(), points.len());
            for point in &points {
                prop_assert_eq!(point.value, (point.at.0 + point.row.metric as i64) as f64);
                prop_assert!(self.books.accepted.insert(key(point), point.value).is_none(), "accepted twice");
            }
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let unsent: Vec<Key> = self
            .delivery
            .unsent()
            .rounds()
            .flat_map(|(_, kept)| kept.values().map(|(row, _)| (kept.at.0, row.metric as usize)).collect::<Vec<_>>())
            .collect();
        prop_assert_eq!(unsent.len() as u64, self.delivery.points());
        let books = &self.books;
        let accounted = books.accepted.len() + books.bad.len() + books.evicted + unsent.len();
        prop_assert_eq!(accounted, books.pushed.len());
        prop_assert!(unsent.iter().all(|key| books.pushed.contains(key) && !books.accepted.contains_key(key)));
        Ok(())
    }
}

/// What CloudWatch takes, with this number of data in a request.
fn takes(data: usize) -> RequestLimits {
    RequestLimits { data, ..limits::requests_of(&"prod".parse().unwrap()) }
}

fn world(most_data: usize, limit_bytes: u64, is_bad: fn(Key) -> bool) -> World {
    let delivery = Delivery::new(limit_bytes, takes(most_data));
    World { delivery, books: Books::default(), next_at: 1_767_225_600_000, most_data, is_bad }
}

fn some_are_bad((at, metric): Key) -> bool {
    (at / 30_000) % 5 == 0 && metric == 2
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn every_point_is_accepted_dropped_or_still_there(
        steps in steps(),
        most_data in 1_usize..60,
        rounds_that_fit in 2_u64..200,
    ) {
        let mut world = world(most_data, rounds_that_fit * 280, some_are_bad);
        for step in &steps {
            world.step(step)?;
            world.check()?;
        }
    }

    #[test]
    fn once_the_service_works_all_but_the_bad_data_arrive(steps in steps(), most_data in 1_usize..200) {
        let mut world = world(most_data, u64::MAX, some_are_bad);
        for step in &steps {
            // Refusing good data while accepting others is not something a service does.
            if !matches!(step, Step::Request(Answer::RefusedWhatever)) {
                world.step(step)?;
            }
        }
        // What is doubtful at the end of one pass is settled by the good data of the next.
        for _ in 0..3 {
            world.next_at = (world.next_at / 150_000 + 1) * 150_000;
            world.step(&Step::Round { metrics: 1 })?;
            world.step(&Step::Flush)?;
            let mut requests = 0;
            while world.request(Answer::Honest)? {
                requests += 1;
                prop_assert!(requests < 20_000, "does not come to an end");
            }
            world.check()?;
        }
        let bad: BTreeSet<Key> = world.books.pushed.iter().copied().filter(|key| some_are_bad(*key)).collect();
        prop_assert_eq!(&world.books.bad, &bad, "exactly the bad data were dropped");
        prop_assert_eq!(world.books.accepted.len() + bad.len(), world.books.pushed.len());
    }

    #[test]
    fn the_backlog_goes_oldest_first(rounds in 1_usize..60, most_data in 1_usize..100) {
        let mut world = world(most_data, u64::MAX, |_| false);
        for _ in 0..rounds {
            world.step(&Step::Round { metrics: METRICS })?;
        }
        world.step(&Step::Flush)?;
        world.step(&Step::Flush)?;
        let mut order = Vec::new();
        while let (Some(points), _) = world.delivery.next(UnixMillis(world.next_at)) {
            order.extend(points.iter().map(key));
            world.delivery.accepted();
        }
        prop_assert_eq!(order.len(), rounds * METRICS);
        prop_assert!(order.is_sorted());
        prop_assert!(world.delivery.is_empty());
    }
}

/// A long life: rounds, answers of every kind, clocks that jump, other replicas, and a disk that is written as the
/// program writes it.
struct Life {
    delivery: Delivery,
    rng: fastrand::Rng,
    now: i64,
    rounds: u64,
    limit_bytes: u64,
    /// Points by what became of them.
    pushed: u64,
    accepted: u64,
    in_doubt: u64,
    dropped: u64,
    /// Counters that were accepted or may have been: by round and metric. Forgotten once their round is long over.
    sent: BTreeSet<(u64, usize)>,
    newest_sent: Option<u64>,
    image: Vec<u8>,
    journal: Vec<u8>,
    dir: tempfile::TempDir,
}

impl Life {
    fn new(seed: u64, limit_bytes: u64) -> Self {
        let mut life = Self {
            delivery: Delivery::new(limit_bytes, takes(200)),
            rng: fastrand::Rng::with_seed(seed),
            now: 1_767_225_600_000,
            rounds: 0,
            limit_bytes,
            pushed: 0,
            accepted: 0,
            in_doubt: 0,
            dropped: 0,
            sent: BTreeSet::new(),
            newest_sent: None,
            image: Vec::new(),
            journal: Vec::new(),
            dir: cni_testkit::temporary_folder(),
        };
        life.save();
        life
    }

    fn save(&mut self) {
        let origin = Origin { namespace: "ns".to_owned(), cluster_id: "prod".parse().unwrap(), shard: None };
        let unsent = self.delivery.unsent();
        self.image = spool::encode(&Image {
            origin: &origin,
            saved_at: UnixMillis(self.now),
            newest_sent: self.newest_sent,
            rounds: unsent.rounds(),
            claim: &metrics_by_round(self.delivery.sending()),
            counters: None,
        });
        self.journal.clear();
    }

    fn round(&mut self) {
        self.now = match self.rng.u16(..) {
            // Set back or forward by up to ten days.
            0..200 => self.now.saturating_add(self.rng.i64(-864_000_000..864_000_000)),
            200..210 => self.rng.i64(..) / 2,
            210..220 => 1_767_225_600_000,
            _ => self.now.saturating_add(30_000),
        };
        let metrics = self.rng.usize(0..=METRICS);
        let values = ROWS.iter().take(metrics).map(|row| (row, 1.0));
        self.pushed += metrics as u64;
        self.dropped += self.delivery.push(Kept::new(UnixMillis(self.now), values)) as u64;
        if self.rng.u8(..) < 8 {
            let until = self.now.saturating_add(self.rng.i64(-600_000..600_000));
            self.dropped += self.delivery.forget_until(UnixMillis(until)) as u64;
        }
        self.save();
        self.rounds += 1;
        // Long over: those rounds are no longer in the buffer.
        self.sent.retain(|(round, _)| round + 20_000 > self.rounds);
    }

    fn request(&mut self) {
        let (points, dropped) = self.delivery.next(UnixMillis(self.now));
        for (_, points) in &dropped.0 {
            self.dropped += points.len() as u64;
            self.journal.extend(spool::settled(&metrics_by_round(points), false));
        }
        let Some(points) = points else { return };
        self.journal.extend(spool::claim(&metrics_by_round(&points)));
        self.newest_sent = self.newest_sent.max(points.iter().map(|point| point.round).max());
        if self.rng.u8(..) < 16 {
            self.check_disk();
        }
        let counters = points.iter().filter(|point| point.is_counter());
        let keys: Vec<_> = counters.map(|point| (point.round, point.row.metric as usize)).collect();
        match self.rng.u8(0..12) {
            0..5 => {
                for key in &keys {
                    assert!(self.sent.insert(*key), "{key:?} sent twice");
                }
                let gone = metrics_by_round(self.delivery.sending());
                self.accepted += self.delivery.accepted() as u64;
                self.journal.extend(spool::settled(&gone, true));
            }
            5..7 => {
                for key in &keys {
                    assert!(self.sent.insert(*key), "{key:?} sent again after a doubt");
                }
                let (given_up, evicted) = self.delivery.in_doubt();
                assert!(given_up.iter().all(Point::is_counter) && given_up.len() == keys.len());
                self.in_doubt += given_up.len() as u64;
                self.dropped += evicted as u64;
                self.journal.extend(spool::settled(&metrics_by_round(&given_up), true));
            }
            7..9 => {
                let (refusal, evicted) = self.delivery.refused();
                self.dropped += evicted as u64;
                let bad: Vec<Point> = if let Refusal::Bad(point) = refusal { vec![point] } else { Vec::new() };
                self.dropped += bad.len() as u64;
                self.journal.extend(spool::settled(&metrics_by_round(&bad), false));
            }
            other => {
                self.dropped += self.delivery.failed(other < 10) as u64;
                self.journal.extend(spool::settled(&[], false));
            }
        }
    }

    fn check(&self) {
        let sum = self.accepted + self.in_doubt + self.dropped + self.delivery.points();
        assert_eq!(self.pushed, sum, "points in = accepted + in doubt + dropped + buffered");
        // One round and one request on top of the limit, in whatever pieces.
        let slack = 4096 + 1000 * size_of::<Point>() as u64;
        assert!(self.delivery.bytes() <= self.limit_bytes + slack, "{} bytes", self.delivery.bytes());
        let file = (self.image.len() + self.journal.len()) as u64;
        assert!(file <= 2 * self.limit_bytes + slack + (64 << 10), "{file} bytes on disk");
    }

    /// A process that starts now knows what is unsent, and which counters are in doubt.
    fn check_disk(&self) {
        let path = self.dir.path().join("points.spool");
        std::fs::write(path, [self.image.as_slice(), &self.journal].concat()).unwrap();
        let left = spool::look(self.dir.path()).unwrap().unwrap();
        let keys = |rounds: &[Kept]| {
            let mut keys: Vec<_> = rounds
                .iter()
                .flat_map(|kept| kept.values().map(|(row, _)| (kept.at.0, row.metric as usize)).collect::<Vec<_>>())
                .collect();
            keys.sort_unstable();
            keys
        };
        let sending = self.delivery.sending();
        let claimed: BTreeSet<_> = sending
            .iter()
            .filter(|point| point.is_counter())
            .map(|point| (point.round, point.row.metric as usize))
            .collect();
        let (mut unsent, mut doubtful) = (Vec::new(), Vec::new());
        for (number, kept) in self.delivery.unsent().rounds() {
            for (row, _) in kept.values() {
                let key = (kept.at.0, row.metric as usize);
                let is_claimed = claimed.contains(&(number, row.metric as usize));
                if is_claimed { doubtful.push(key) } else { unsent.push(key) }
            }
        }
        unsent.sort_unstable();
        doubtful.sort_unstable();
        assert_eq!(keys(&left.rounds), unsent);
        assert_eq!(keys(&left.in_doubt), doubtful);
    }
}

#[test]
fn ten_thousand_rounds_of_anything_lose_nothing_uncounted_and_stay_within_their_bounds() {
    for (seed, limit_bytes) in [(1, 64 << 10), (2, 8 << 10)] {
        let mut life = Life::new(seed, limit_bytes);
        for _ in 0..10_000 {
            life.round();
            if life.rng.bool() {
                life.delivery.flush();
            }
            // Outages: for a while nothing is sent at all.
            let requests = if (life.rounds / 500).is_multiple_of(3) { 0 } else { life.rng.u8(0..4) };
            for _ in 0..requests {
                life.request();
            }
            life.check();
            if life.rounds.is_multiple_of(100) {
                life.check_disk();
            }
        }
        assert!(life.accepted > 1_000 && life.in_doubt > 100 && life.dropped > 1_000, "too little happened");
    }
}

#[test]
fn while_no_answer_comes_only_the_first_request_is_in_doubt() {
    let mut delivery = Delivery::new(1 << 20, takes(1000));
    let mut in_doubt = 0;
    for round in 0..1_000 {
        let at = UnixMillis(1_767_225_600_000 + round * 30_000);
        delivery.push(Kept::new(at, ROWS.iter().map(|row| (row, 1.0))));
        delivery.flush();
        let (points, _) = delivery.next(at);
        let rounds: BTreeSet<u64> = points.unwrap().iter().map(|point| point.round).collect();
        assert_eq!(rounds.len(), 1, "one round per request");
        let (given_up, _) = delivery.in_doubt();
        in_doubt += given_up.len();
    }
    let counters = ROWS.iter().filter(|row| row.kind == Kind::Counter).count();
    assert_eq!(in_doubt, counters, "of a thousand rounds");
    // An answer, be it a refusal, ends that.
    delivery.next(UnixMillis(1_767_225_600_000));
    delivery.failed(true);
    let (points, _) = delivery.next(UnixMillis(1_767_225_600_000));
    let rounds: BTreeSet<u64> = points.unwrap().iter().map(|point| point.round).collect();
    assert!(rounds.len() > 10);
}
