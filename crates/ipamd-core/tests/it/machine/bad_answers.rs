//! Answers about addresses that cannot be: each is counted under its name.

use std::net::Ipv4Addr;

use cni_types::limits::InstanceLimits;
use ipamd_core::Config;
use ipamd_core::settings::Settings;

use crate::world::{PRIMARY, World};

fn bad(world: &World, name: &str) -> u64 {
    world.core.bad_inputs().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
}

fn held(world: &World) -> u32 {
    world.core.pool().eni(PRIMARY).unwrap().addresses()
}

#[test]
fn addresses_beyond_the_limit_of_the_instance_type_are_counted_and_a_careful_agent_does_not_take_them() {
    for (careful, taken) in [(false, 7), (true, 3)] {
        let settings = Settings::manifest_with([("WARM_IP_TARGET", "2")]);
        let config = if careful { Config::careful(settings) } else { Config::upstream(settings) };
        let mut world = World::with(config, InstanceLimits::custom(1, 4));
        world.run_ms(60_000);
        assert_eq!((held(&world), bad(&world, "too_many_addresses")), (2, 0), "{:?}", world.fatal);
        let given = (1..=5).map(|last| Ipv4Addr::new(10, 0, 200, last));
        world.ec2.enis.get_mut(&PRIMARY).unwrap().ipv4.extend(given);
        let seen = world.run_until(130_000, |world| bad(world, "too_many_addresses") > 0);
        assert!(seen && held(&world) == taken, "careful: {careful}: {} addresses", held(&world));
    }
}

#[test]
fn an_address_outside_the_vpc_is_counted_and_a_careful_agent_does_not_take_it() {
    let outside = Ipv4Addr::new(192, 168, 0, 9);
    for (careful, taken) in [(false, 3), (true, 2)] {
        let settings = Settings::manifest_with([("WARM_IP_TARGET", "2")]);
        let config = if careful { Config::careful(settings) } else { Config::upstream(settings) };
        let mut world = World::with(config, InstanceLimits::custom(1, 6));
        world.run_ms(60_000);
        assert_eq!((held(&world), bad(&world, "outside_vpc")), (2, 0), "{:?}", world.fatal);
        world.ec2.enis.get_mut(&PRIMARY).unwrap().ipv4.push(outside);
        assert!(world.run_until(130_000, |world| bad(world, "outside_vpc") > 0));
        assert_eq!(held(&world), taken, "careful: {careful}");
        // A VPC that gets another CIDR has it.
        world.cidrs.push("192.168.0.0/24".into());
        world.run_ms(31_000);
        let before = bad(&world, "outside_vpc");
        world.run_ms(180_000);
        assert_eq!(bad(&world, "outside_vpc"), before, "careful: {careful}");
    }
}
