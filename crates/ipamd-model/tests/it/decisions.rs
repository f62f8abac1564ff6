//! The arithmetic of the warm targets, row by row, and the choice of the ENI that may go.

use ipamd_core::store::{Need, Stats, Targets};

const SECONDARY: Targets =
    Targets { prefix_mode: false, warm_ip: 0, minimum_ip: 0, warm_eni: 1, warm_prefix: 0, slots: 14, max_pods: 500 };
const PREFIX: Targets = Targets { prefix_mode: true, ..SECONDARY };

fn addresses(total: u32, assigned: u32) -> Stats {
    Stats { total, assigned, ..Stats::default() }
}

fn prefixes(count: u32, free: u32, assigned: u32) -> Stats {
    Stats { total: count * 16, assigned, cooling: 0, prefixes: count, free_prefixes: free }
}

#[test]
fn when_secondary_addresses_are_too_few() {
    let targets = |slots, warm_eni, warm_ip, max_pods| Targets { slots, warm_eni, warm_ip, max_pods, ..SECONDARY };
    let rows = [
        (addresses(0, 0), targets(14, 1, 0, 500), true),
        (addresses(0, 0), targets(14, 0, 0, 500), true),
        (addresses(0, 0), targets(14, 0, 3, 500), true),
        (addresses(3, 0), targets(3, 1, 1, 500), false),
        (addresses(3, 1), targets(3, 1, 0, 500), true),
        (addresses(3, 1), targets(3, 0, 0, 500), false),
        (addresses(3, 3), targets(3, 1, 0, 500), true),
        (addresses(3, 3), targets(3, 0, 0, 500), true),
        (addresses(3, 3), targets(3, 0, 5, 3), false),
        // Exactly one ENI's worth free is enough for a target of one; one address less is not.
        (addresses(28, 14), targets(14, 1, 0, 500), false),
        (addresses(28, 15), targets(14, 1, 0, 500), true),
        (addresses(28, 1), targets(14, 2, 0, 500), true),
        // The pod capacity ends growth the moment it is reached.
        (addresses(499, 499), targets(14, 1, 0, 500), true),
        (addresses(500, 500), targets(14, 1, 0, 500), false),
    ];
    for (stats, targets, low) in rows {
        assert_eq!(targets.too_low(&stats), low, "{stats:?} {targets:?}");
    }
}

#[test]
fn when_prefixes_are_too_few() {
    let targets = |warm_prefix, max_pods| Targets { warm_prefix, max_pods, ..PREFIX };
    let rows = [
        (prefixes(0, 0, 0), targets(1, 500), true),
        (prefixes(0, 0, 0), targets(0, 500), true),
        (prefixes(1, 1, 0), targets(1, 500), false),
        (prefixes(1, 0, 1), targets(1, 500), true),
        (prefixes(1, 0, 1), targets(0, 500), false),
        (prefixes(1, 0, 3), targets(1, 500), true),
        (prefixes(1, 0, 3), targets(0, 500), false),
        (prefixes(1, 0, 3), targets(1, 4), false),
        (prefixes(1, 0, 16), targets(0, 500), true),
        (prefixes(3, 1, 17), targets(2, 500), true),
        (prefixes(3, 1, 16), targets(2, 500), false),
    ];
    for (stats, targets, low) in rows {
        assert_eq!(targets.too_low(&stats), low, "{stats:?} {targets:?}");
    }
}

#[test]
fn how_far_a_secondary_pool_is_from_its_ip_targets() {
    let targets = |warm_ip, minimum_ip| Targets { warm_ip, minimum_ip, ..SECONDARY };
    let rows = [
        (addresses(0, 0), targets(5, 0), (5, 0)),
        (addresses(2, 0), targets(5, 0), (3, 0)),
        (addresses(5, 0), targets(5, 0), (0, 0)),
        (addresses(9, 2), targets(5, 0), (0, 2)),
        // Two ENIs with two addresses and one pod each.
        (addresses(4, 2), targets(1, 0), (0, 1)),
        // The minimum asks for more, and keeps more.
        (addresses(5, 0), targets(2, 8), (3, 0)),
        (addresses(9, 0), targets(2, 8), (0, 1)),
        (addresses(8, 0), targets(2, 8), (0, 0)),
        (addresses(8, 7), targets(2, 8), (1, 0)),
        // A minimum alone: no growth beyond it, however few are free.
        (addresses(8, 8), targets(0, 8), (0, 0)),
        (addresses(10, 3), targets(0, 8), (0, 2)),
    ];
    for (stats, targets, (short, over)) in rows {
        assert_eq!(targets.need(&stats), Some(Need { short, over }), "{stats:?} {targets:?}");
        assert_eq!(targets.surplus(&stats), over);
    }
    assert_eq!(SECONDARY.need(&addresses(0, 0)), None);
    assert_eq!(SECONDARY.surplus(&addresses(100, 0)), 0);
}

#[test]
fn how_far_a_prefix_pool_is_from_its_ip_targets() {
    let targets = |warm_ip, minimum_ip| Targets { warm_ip, minimum_ip, ..PREFIX };
    let rows = [
        (prefixes(0, 0, 0), targets(5, 0), (1, 0)),
        (prefixes(2, 2, 0), targets(5, 0), (0, 1)),
        (prefixes(1, 1, 0), targets(5, 0), (0, 0)),
        (prefixes(1, 0, 12), targets(5, 0), (1, 0)),
        (prefixes(1, 0, 11), targets(5, 0), (0, 0)),
        (prefixes(2, 1, 11), targets(5, 0), (0, 1)),
        (prefixes(2, 1, 12), targets(5, 0), (0, 0)),
        (prefixes(0, 0, 0), targets(17, 0), (2, 0)),
        (prefixes(3, 3, 0), targets(1, 20), (0, 1)),
        (prefixes(1, 1, 0), targets(1, 20), (1, 0)),
        // Only free prefixes can go, however many too many there are.
        (prefixes(5, 1, 4), targets(1, 0), (0, 1)),
    ];
    for (stats, targets, (short, over)) in rows {
        assert_eq!(targets.need(&stats), Some(Need { short, over }), "{stats:?} {targets:?}");
        assert_eq!(targets.surplus(&stats), over);
    }
}

#[test]
fn prefixes_beyond_the_warm_ones_are_surplus() {
    let targets = Targets { warm_prefix: 1, ..PREFIX };
    for (free, surplus) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        assert_eq!(targets.surplus(&prefixes(4, free, 16)), surplus);
    }
}

#[test]
fn how_much_to_ask_for() {
    let warm_ip = |warm_ip| Targets { warm_ip, ..SECONDARY };
    assert_eq!(SECONDARY.addresses_wanted(&addresses(0, 0), 0), 14);
    assert_eq!(SECONDARY.addresses_wanted(&addresses(5, 0), 5), 9);
    assert_eq!(warm_ip(5).addresses_wanted(&addresses(2, 0), 2), 3);
    assert_eq!(warm_ip(50).addresses_wanted(&addresses(2, 0), 2), 12);
    assert_eq!(warm_ip(5).addresses_wanted(&addresses(5, 0), 5), 0);
    let prefix = |warm_prefix, warm_ip| Targets { warm_prefix, warm_ip, ..PREFIX };
    assert_eq!(prefix(3, 0).prefixes_wanted(&prefixes(1, 1, 0)), 2);
    assert_eq!(prefix(0, 0).prefixes_wanted(&prefixes(0, 0, 0)), 1);
    assert_eq!(prefix(1, 33).prefixes_wanted(&prefixes(0, 0, 0)), 3);
    assert_eq!(prefix(9, 33).prefixes_wanted(&prefixes(0, 0, 0)), 3);
}

#[test]
fn when_an_eni_may_be_too_many() {
    // Growth below one ENI's worth free, release from two on: in between nothing moves.
    assert!(!SECONDARY.enis_to_spare(&addresses(42, 15), false));
    assert!(SECONDARY.enis_to_spare(&addresses(42, 14), false));
    assert!(!SECONDARY.enis_to_spare(&addresses(42, 15), true));
    let prefix = Targets { warm_prefix: 1, ..PREFIX };
    assert!(!prefix.enis_to_spare(&prefixes(28, 27, 1), false));
    assert!(prefix.enis_to_spare(&prefixes(28, 28, 0), false));
    assert!(prefix.enis_to_spare(&prefixes(2, 1, 1), true));
    for (warm_ip, minimum_ip) in [(1, 0), (0, 1)] {
        assert!(Targets { warm_ip, minimum_ip, ..SECONDARY }.enis_to_spare(&addresses(1, 0), false));
    }
}

#[test]
fn cooling_addresses_count_as_available() {
    let stats = Stats { cooling: 5, ..addresses(9, 4) };
    assert_eq!(stats.available(), 5);
    assert!(!Targets { warm_ip: 5, ..SECONDARY }.too_low(&stats));
}
