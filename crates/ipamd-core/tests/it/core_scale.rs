//! The whole core under very many inputs: each is cheap, and nothing grows.

use std::time::Duration;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::random::Random;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::Now;
use ipamd_core::{Core, Input};

use crate::memory::ALLOCATOR;
use crate::scale::{LIMIT, cpu_time};
use crate::world::{SUBNET, World};

/// A number of the environment; without one, that of each change.
fn wanted(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The inputs of a node in an hour: it starts, nine pods come, and then one pod goes and one comes every 15 s.
fn an_hour() -> (World, Vec<(Now, Input<u64>)>) {
    let mut world = World::new(&[], cni_types::limits::InstanceLimits::custom(3, 10));
    world.record = Some(Vec::new());
    world.restart_same_life();
    world.run_ms(20_000);
    for key in 0..9 {
        world.add(key);
    }
    for turn in 0..240 {
        world.del(turn % 9);
        world.add(turn % 9);
        world.run_ms(14_300);
    }
    let inputs = world.record.take().unwrap();
    (world, inputs)
}

#[test(serial = "processor time")]
fn a_core_takes_a_million_inputs_a_second() {
    let (world, inputs) = an_hour();
    let (rounds, mut took) = (wanted("CORE_INPUTS", 200_000) / inputs.len() as u64, Duration::ZERO);
    for _ in 0..rounds {
        let mut core = Core::new(world.config.clone(), Box::new(Seeded::first_fit(7)));
        let copies = inputs.clone();
        let began = cpu_time();
        for (now, input) in copies {
            core.handle(now, input);
        }
        took += cpu_time().saturating_sub(began);
        // What was measured is what happened.
        assert_eq!(core.pool().owners().len(), 9);
        assert_eq!(format!("{:?}", core.metrics()), format!("{:?}", world.core.metrics()));
    }
    let count = rounds * inputs.len() as u64;
    let each = took / u32::try_from(count).unwrap();
    // `.ci/release` writes it down.
    println!("core: {each:?} of processor time for an input, {count} inputs");
    assert!(each <= LIMIT, "{each:?} of processor time for an input, at most {LIMIT:?} are allowed");
}

/// Calls that fail at times. Each series that a failure makes stays for the rest of a life.
const FAILING: [Ec2Operation; 4] = [
    Ec2Operation::AssignPrivateIpAddresses,
    Ec2Operation::CreateNetworkInterface,
    Ec2Operation::DescribeNetworkInterfaces,
    Ec2Operation::UnassignPrivateIpAddresses,
];

/// Pods that come and go, growth, releases, failing calls, a metadata service and a disk that fail, for this many inputs.
fn play(world: &mut World, random: &mut Random, inputs: u64) {
    let end = world.inputs + inputs;
    while world.inputs < end {
        match random.below(100) {
            0..45 => {
                world.begin_add(random.below(27));
            }
            45..85 => {
                world.begin_del(random.below(27));
            }
            85..92 => {
                world.fail(FAILING[random.index(FAILING.len())], Ec2Code::RequestLimitExceeded, 2);
            }
            92 => world.imds_down = !world.imds_down,
            93 => world.disk_full = !world.disk_full,
            94 => end_pods(world),
            95 => world.run_ms(180_000),
            _ => world.run_ms(30_000),
        }
        world.run_ms(random.between(0, 4_000));
        (world.imds_down, world.disk_full) =
            (world.imds_down && random.below(4) > 0, world.disk_full && random.below(4) > 0);
        world.faults.retain(|fault| fault.times > 0);
        world.log.clear();
        world.replies.clear();
    }
}

fn end_pods(world: &mut World) {
    for key in 0..27 {
        world.begin_del(key);
    }
}

/// What a life holds at its end, when its pods are gone and its pool has settled, bytes. Another one starts.
fn end_life(world: &mut World) -> usize {
    (world.imds_down, world.disk_full) = (false, false);
    world.faults.clear();
    end_pods(world);
    world.run_ms(1_800_000);
    assert!(world.fatal.is_none() && world.core.open_rpcs() == 0, "{:?}", world.fatal);
    assert_eq!(world.core.pool().owners().len(), 0);
    let other = Core::new(world.config.clone(), Box::new(Seeded::first_fit(1)));
    let core = std::mem::replace(&mut world.core, other);
    let before = ALLOCATOR.current_usage();
    drop(core);
    let held = before - ALLOCATOR.current_usage();
    world.restart();
    world.run_ms(60_000);
    held
}

#[test(own_process, serial = "processor time")]
fn millions_of_inputs_over_many_lives_leave_no_more_memory() {
    let (events, mut random) = (wanted("CORE_EVENTS", 400_000), Random::new(5));
    let mut world = World::serving(&[("WARM_IP_TARGET", "4")], 3, 10);
    // Few addresses: each is used in every life.
    if let Some(subnet) = world.ec2.subnets.get_mut(&SUBNET) {
        subnet.free.retain(|address| u32::from(*address) < 0x0a00_0000 + 60);
    }
    // The later lives are four times as long as the first ones.
    let mut levels = |lives: u64, inputs: u64| -> Vec<usize> {
        let mut life = || {
            play(&mut world, &mut random, inputs);
            end_life(&mut world)
        };
        (0..lives).map(|_| life()).collect()
    };
    let (short, long) = (levels(8, events / 40), levels(8, events / 10));
    let [least, most] = [&short, &long].map(|levels| levels.iter().copied().max().unwrap());
    println!("lives: {least} bytes at most after {} inputs, {most} after {}", events / 40, events / 10);
    assert!(most * 100 <= least * 101, "short lives end with {short:?} bytes, long ones with {long:?}");
}
