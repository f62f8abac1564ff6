//! Saved baselines at the limits of what is written.

use super::*;

fn restored(aggregator: &Aggregator) -> Result<Aggregator, BaselinesError> {
    let mut other = helper().aggregator;
    other.import(&aggregator.export()).map(|()| other)
}

#[test]
fn numbers_take_as_few_bytes_as_they_can() {
    let length = |round: u64| {
        let mut aggregator = helper().aggregator;
        aggregator.round = round;
        assert_eq!(restored(&aggregator).unwrap().round, round);
        aggregator.export().len()
    };
    let one_byte = length(0);
    for (round, more) in [(1, 0), (0x7F, 0), (0x80, 1), (0x3FFF, 1), (0x4000, 2), (u64::MAX >> 1, 8), (u64::MAX, 9)] {
        assert_eq!(length(round), one_byte + more, "{round}");
    }
}

#[test]
fn as_many_marks_as_are_kept_are_read_and_no_more() {
    let mut aggregator = helper().aggregator;
    for number in 0..tombstones::MOST_TOMBSTONES {
        let entry = Tombstone {
            last_scraped_at: UnixMillis(i64::try_from(number).unwrap()),
            process_start_seconds: number.is_multiple_of(2).then_some(number as f64),
        };
        aggregator.tombstones.note(&PodUid::new(format!("uid-{number}")), entry);
    }
    let after = restored(&aggregator).unwrap();
    assert_eq!(after.tombstones.entries, aggregator.tombstones.entries);
    assert_eq!(after.tombstones.given_up, None);
    let (uid, entry) =
        (PodUid::new("one more"), Tombstone { last_scraped_at: UnixMillis(0), process_start_seconds: None });
    aggregator.tombstones.note(&uid, entry);
    assert_eq!(restored(&aggregator).err(), Some(BaselinesError::Damaged("more entries than are kept")));
}

#[test]
fn a_node_with_every_counter_damaged_goes_on_where_it_was() {
    let page = |add: f64| {
        let pages = Family::COUNTERS.into_iter().zip(1_u8..);
        pages.fold(Page::old(), |page, (family, number)| page.damaged(family, add * f64::from(number)))
    };
    let mut before = helper();
    before.see(page(10.0));
    before.see(page(11.0));
    let mut after = Helper { aggregator: restored(&before.aggregator).unwrap(), ..helper() };
    assert_eq!(after.aggregator.export(), before.aggregator.export());
    let snapshot = after.see(page(13.0));
    for (family, number) in Family::COUNTERS.into_iter().zip(1_u8..) {
        assert_eq!(snapshot.metrics.get(family.metric()), Some(3.0 * f64::from(number)), "{}", family.name());
    }
}

#[test]
fn a_node_that_was_missed_lately_is_restored() {
    let mut before = helper();
    before.see(Page::old().adds(10.0));
    before.round(vec![]);
    let mut after = Helper { aggregator: restored(&before.aggregator).unwrap(), ..helper() };
    assert_eq!(after.adds(Page::old().adds(13.0)), Some(3.0));
}
