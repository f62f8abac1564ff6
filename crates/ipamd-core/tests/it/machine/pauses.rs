//! When a careful agent tries again, and when it leaves off.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::Input;
use ipamd_core::output::Reply;

use crate::world::World;

/// The pauses double up to a minute, and end when they are over and not when the pool is looked at next.
#[test]
fn growth_that_fails_is_tried_again_after_a_pause_that_doubles() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "2")], 1, 9);
    let assign = Ec2Operation::AssignPrivateIpAddresses;
    world.log.clear();
    world.fail(assign, Ec2Code::InternalError, u32::MAX);
    assert!(world.add(1).is_some());
    world.run_ms(400_000);
    let tried: Vec<_> = world.log.iter().map(|logged| (logged.at_ms, logged.call.operation())).collect();
    let tried: Vec<_> = tried.into_iter().filter(|(_, op)| *op == assign).map(|(at_ms, _)| at_ms).collect();
    // What is refused for several is asked for one at once.
    let mut begun = vec![tried[0]];
    begun.extend(tried.windows(2).filter(|pair| pair[1] - pair[0] > 2_000).map(|pair| pair[1]));
    let gaps: Vec<_> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let took_ms = 2 * assign.typical_ms() + 50;
    for (gap, pause) in gaps.iter().zip([2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
        assert!((pause..=pause + pause / 4 + took_ms).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() >= 7, "{gaps:?}");
}

/// A look at the host's interfaces is due a minute after an allocation, unless its interface is known by then.
#[test]
fn interfaces_are_looked_at_only_for_allocations_without_one() {
    for bound in [true, false] {
        let mut world = World::careful(&[], 1, 9);
        world.run_ms(120_000);
        assert!(world.add(1_001).is_some());
        world.run_ms(30_000);
        if bound {
            world.input(Input::Bound { key: 1_001, ifindex: 12 });
        }
        let before = world.lists_of_pods.get();
        world.run_ms(60_000);
        assert_eq!(world.lists_of_pods.get() - before, u32::from(!bound));
    }
}

/// A subnet that lacked addresses is asked by one at a time until it has given some.
#[test]
fn a_subnet_that_has_addresses_again_is_asked_by_several() {
    let mut world = World::careful(&[("WARM_ENI_TARGET", "1"), ("ENABLE_SUBNET_DISCOVERY", "false")], 7, 4);
    world.run_ms(60_000);
    let (create, attach) = (Ec2Operation::CreateNetworkInterface, Ec2Operation::AttachNetworkInterface);
    world.fail(create, Ec2Code::InsufficientFreeAddressesInSubnet, u32::MAX);
    world.log.clear();
    assert!(world.add(1).is_some());
    for key in 2..=5 {
        world.add(key);
    }
    assert!(world.log.iter().any(|logged| logged.call.operation() == create));
    world.faults.clear();
    assert!(world.run_until(400_000, |world| world.core.metrics().eni_allocated > 1));
    world.run_ms(60_000);
    world.log.clear();
    let rpcs: Vec<_> = (11..=24).map(|key| world.begin_add(key)).collect();
    assert!(world.run_until(25_000, |world| rpcs.iter().all(|rpc| world.replies.contains_key(rpc))));
    let calls: Vec<_> = world.log.iter().map(|logged| logged.call.operation()).collect();
    let attached = calls.iter().position(|op| *op == attach).unwrap();
    let begun = calls[..attached].iter().filter(|op| **op == create).count();
    assert!(begun > 1, "{calls:?}");
}

/// A repeated ADD is answered at once, also where others wait for addresses.
#[test]
fn a_pod_that_has_an_address_does_not_wait_for_one() {
    let mut world = World::careful(&[], 1, 4);
    let given: Vec<_> = (1..=3).map(|key| world.add(key).unwrap()).collect();
    let again = world.begin_add(1);
    world.run_ms(10);
    assert_eq!(world.core.waits().begun, 0);
    assert!(matches!(world.reply(again), Reply::Added { address, .. } if address == given[0]));
}
