//! The delivery rules under any order of rounds, flushes, answers and evictions: nothing is lost unless counted,
//! nothing is sent twice, order is kept.

#![expect(clippy::float_cmp, reason = "values are passed on, not computed")]

use std::collections::{BTreeMap, BTreeSet};

use cni_metrics_core::catalogue::METRICS;
use cni_metrics_core::model::UnixMillis;
use cni_metrics_helper::publish::cloudwatch::buffer::{Kept, Point};
use cni_metrics_helper::publish::cloudwatch::delivery::{Delivery, Refusal};
use cni_metrics_helper::publish::selection::ROWS;
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
            self.books.evicted += self.delivery.failed();
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
            .flat_map(|kept| kept.values().map(|(row, _)| (kept.at.0, row.metric as usize)).collect::<Vec<_>>())
            .collect();
        prop_assert_eq!(unsent.len() as u64, self.delivery.points());
        let books = &self.books;
        let accounted = books.accepted.len() + books.bad.len() + books.evicted + unsent.len();
        prop_assert_eq!(accounted, books.pushed.len());
        prop_assert!(unsent.iter().all(|key| books.pushed.contains(key) && !books.accepted.contains_key(key)));
        Ok(())
    }
}

fn world(most_data: usize, limit_bytes: u64, is_bad: fn(Key) -> bool) -> World {
    let delivery = Delivery::new(limit_bytes, most_data);
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
