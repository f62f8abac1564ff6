//! What a node that serves takes of memory.

use ipamd_core::Core;
use ipamd_core::chooser::Seeded;
use ipamd_core::store::PoolEni;
use peak_alloc::PeakAlloc;

use crate::world::World;

/// It counts for the whole process, so these tests have a process each: others would be counted too.
#[global_allocator]
pub(crate) static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a node takes, bytes, and what it may take. A configuration is shared by the nodes of a cluster and is not counted.
fn taken(mut world: World) -> (usize, usize) {
    let before = ALLOCATOR.current_usage();
    let other = Core::new(world.config.clone(), Box::new(Seeded::first_fit(1)));
    let fresh = ALLOCATOR.current_usage() - before;
    let config = fresh - size_of::<Seeded>();
    let core = std::mem::replace(&mut world.core, other);
    let pool = core.pool();
    let cidrs: usize = pool.enis().iter().map(PoolEni::slots_used).sum();
    let resting: usize = pool.enis().iter().map(|eni| eni.freed().count()).sum();
    let allowed = NODE
        + 112 * pool.enis().len()
        + 13 * cidrs
        + 9 * core.metrics().per_cidr.len()
        + 33 * pool.owners().len()
        + 18 * resting
        + 36 * core.released().0;
    let before = ALLOCATOR.current_usage();
    drop(core);
    (size_of::<Core<u64>>() + before - ALLOCATOR.current_usage() - config, allowed)
}

/// Beside its ENIs, CIDRs and pods, the series of CIDRs that pods ever used, the addresses that pods left, and the CIDRs that
/// were released.
const NODE: usize = 2_320;

fn busy(variables: &[(&str, &str)], (enis, addresses): (u16, u16), pods: u64, turns: u64) -> World {
    let mut world = World::serving(variables, enis, addresses);
    for key in 0..pods {
        let has_room = |world: &World| {
            let stats = world.core.pool().stats(world.core.mode(), world.now_ms);
            stats.total > stats.assigned + stats.cooling
        };
        assert!(world.run_until(60_000, has_room) && world.add(key).is_some(), "pod {key}");
    }
    for turn in 0..turns {
        world.del(turn % pods);
        world.run_ms(5_000);
        world.add(turn % pods);
    }
    world.run_ms(3_600_000);
    world
}

#[test(own_process)]
fn a_calm_node_takes_little() {
    println!("{} bytes of these inline", size_of::<Core<u64>>());
    for (what, world) in [
        ("9 pods", busy(&[], (3, 10), 9, 0)),
        ("9 pods that came and went", busy(&[], (3, 10), 9, 200)),
        ("9 pods and a small pool", busy(&[("WARM_IP_TARGET", "3")], (3, 10), 9, 200)),
        ("100 pods", busy(&[], (8, 30), 100, 0)),
        ("100 pods in prefixes", busy(&[("ENABLE_PREFIX_DELEGATION", "true")], (4, 15), 100, 0)),
    ] {
        let (taken, allowed) = taken(world);
        println!("{what}: {taken} bytes, {allowed} are allowed");
        assert!(taken <= allowed, "{what}: {taken} bytes, {allowed} are allowed");
    }
}
