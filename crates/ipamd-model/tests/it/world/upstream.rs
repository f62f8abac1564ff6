//! One node whose agent decides as the original does, over minutes of its time.

use std::net::Ipv4Addr;

use cni_types::ec2::Ec2Operation;
use cni_types::limits::InstanceLimits;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, GroupId, SubnetId, VpcId};
use ipamd_core::input::{Input, KubeError, NodeSeen, PodName};
use ipamd_core::metrics::{Metrics, PageFlavour, Shown};
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core};
use ipamd_model::world::ec2::Ec2Spec;
use ipamd_model::world::faults::{Fault, How, Target};
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::KubeletSpec;
use ipamd_model::world::subnet::SubnetFacts;
use ipamd_model::world::wire::WireSpec;
use ipamd_model::world::{World, WorldNodeSpec};

type Make = Box<dyn FnMut(Epoch) -> Core<u64>>;

const SUBNET: SubnetId = SubnetId::from_bits(1);

/// ENIs of the node, and addresses of each.
const ENIS: u16 = 3;
const ADDRESSES: u16 = 10;

fn config(env: &[(&str, &str)]) -> Config {
    Config::upstream(Settings::manifest_with(env.iter().copied()))
}

/// A world of one node, before its agent has started.
fn node(config: Config) -> World<Make> {
    let mut limits = InstanceLimits::custom(ENIS, ADDRESSES);
    limits.listed = true;
    node_of(limits, config)
}

fn node_of(limits: InstanceLimits, config: Config) -> World<Make> {
    let subnet = SubnetFacts::new(SUBNET, Ipv4Addr::new(10, 0, 0, 0), 22);
    let mut world = World::new(Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], 3), WireSpec::default());
    let spec = WorldNodeSpec {
        instance_type: "m5.small".into(),
        limits,
        subnet: SUBNET,
        imds: ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]),
        host: HostSpec::default(),
        kubelet: KubeletSpec::default(),
        controller: Controller::Silent,
        max_pods: Some(1_000),
    };
    let make: Make = Box::new(move |epoch| Core::new(config.clone(), Box::new(Seeded::random(u64::from(epoch.0)))));
    world.launch(spec, make).unwrap();
    world
}

fn start(world: &mut World<Make>, pods: std::ops::Range<u64>) {
    for pod in pods {
        world.start_pod(0, pod, PodName { namespace: "default".into(), name: format!("pod-{pod}").into() });
    }
}

fn metrics(world: &World<Make>) -> &Metrics {
    world.node(0).unwrap().agent().unwrap().metrics()
}

fn pool_size(world: &World<Make>) -> i64 {
    world.node(0).unwrap().agent().unwrap().pool().total()
}

/// A series of the page; 0 where it is not there.
fn series(world: &World<Make>, name: &str) -> u64 {
    let mut page = Vec::new();
    let now_ms = world.account.unix_start_ms + world.now_ms();
    metrics(world).render(Shown { now_ms, seed: 0, nftables: false }, PageFlavour::V1_23, &mut page);
    let page = String::from_utf8(page).unwrap();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map_or(0, |text| text.parse().unwrap())
}

/// The leak test that the agent's own repository runs on a real cluster: half of what the node can hold comes and goes,
/// and within six minutes ENIs and addresses are back where they were, with nothing left in EC2.
#[test]
fn after_half_the_node_came_and_went_nothing_is_held_or_leaked() {
    let mut world = node(config(&[("WARM_IP_TARGET", "3"), ("WARM_ENI_TARGET", "0")]));
    world.pass(120_000);
    let state = |world: &World<Make>| {
        let ec2 = &world.account.ec2;
        (metrics(world).eni_allocated, pool_size(world), ec2.enis().count(), ec2.subnet(SUBNET).unwrap().free())
    };
    let before = state(&world);
    // ENIs times slots, less the one node and one more, halved.
    let pods = u64::from(ENIS * (ADDRESSES - 1) - 1 - 1) / 2;
    start(&mut world, 0..pods);
    world.pass(120_000);
    let full = state(&world);
    assert_eq!(world.node(0).unwrap().kubelet.running().count() as u64, pods);
    assert!(full.0 > before.0 && full.3 < before.3, "{before:?} {full:?}");
    for pod in 0..pods {
        world.stop_pod(0, pod);
    }
    world.pass(360_000);
    assert_eq!((state(&world), metrics(&world).assigned), (before, 0));
}

#[test]
fn a_cordoned_node_grows_where_its_setting_says_so_and_always_gives_back() {
    for (manages, grown) in [("false", 2), ("true", 3)] {
        let env = [("WARM_IP_TARGET", "2"), ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", manages), ("IP_COOLDOWN_PERIOD", "0")];
        let mut world = node(config(&env));
        let cordon = |world: &mut World<Make>, unschedulable, version| {
            let seen = NodeSeen { max_pods: Some(1_000), unschedulable, version, ..NodeSeen::default() };
            world.node_mut(0).unwrap().kube.node = Some(seen.clone());
            world.tell(0, Input::NodeSeen(seen));
        };
        world.pass(30_000);
        cordon(&mut world, true, 2);
        start(&mut world, 0..1);
        world.pass(60_000);
        assert_eq!(pool_size(&world), grown, "{manages}");
        cordon(&mut world, false, 3);
        world.pass(60_000);
        assert_eq!(pool_size(&world), 3, "{manages}");
        cordon(&mut world, true, 4);
        world.stop_pod(0, 0);
        world.pass(60_000);
        assert_eq!(pool_size(&world), 2, "{manages}");
    }
}

/// Agents 1.22.0 to 1.23.1 try to set an ENI up again while its subnet cannot be looked up; 1.23.2 does without.
#[test]
fn an_eni_is_set_up_in_six_tries_ten_seconds_apart_where_its_subnet_has_to_be_known() {
    for (serves, tries, took_ms) in [(false, 6, 50_000..58_000), (true, 1, 0..5_000)] {
        let mut config = config(&[]);
        config.unknown_subnet_serves = serves;
        let mut world = node(config);
        let target = Target::Ec2(Ec2Operation::DescribeSubnets);
        world.account.faults.add(Fault::new(target, How::Code("UnauthorizedOperation".into()), 0, 58_000));
        world.pass(58_000);
        let since_ms = world.node(0).unwrap().serving_since_ms().unwrap();
        assert!(took_ms.contains(&since_ms), "{since_ms}");
        let gave_up = series(&world, "awscni_ipamd_error_count{fn=\"waitENIAttachedMaxRetryExceeded\"}");
        assert_eq!(gave_up, u64::from(!serves));
        assert_eq!(series(&world, "awscni_ec2api_error_count{fn=\"DescribeSubnets\"}"), tries);
    }
}

#[test]
fn the_page_says_whether_the_start_reached_the_api_server() {
    let started = |reached: bool, fails: bool| {
        let mut world = node(config(&[]));
        if fails {
            world.account.faults.add(Fault::new(Target::Kube, How::Kube(KubeError::Timeout), 0, 30_000));
        }
        world.pass(60_000);
        let labels = format!("failure_reason=\"\",success=\"true\",with_api_server=\"{reached}\"");
        series(&world, &format!("awscni_ipamd_startup_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!([started(true, false), started(false, false)], [1, 0]);
    assert_eq!([started(true, true), started(false, true)], [0, 1]);
}

#[test]
fn only_a_type_that_can_have_a_trunk_keeps_a_place_for_it() {
    for (compatible, enis) in [(true, 2), (false, 3)] {
        let mut limits = InstanceLimits::custom(ENIS, ADDRESSES);
        (limits.listed, limits.trunk_compatible) = (true, compatible);
        let mut world = node_of(limits, config(&[("ENABLE_POD_ENI", "true"), ("WARM_ENI_TARGET", "3")]));
        world.pass(300_000);
        assert_eq!(metrics(&world).eni_allocated, enis, "{compatible}");
    }
}

/// Times at which ENIs are described, to the second.
fn descriptions(world: &mut World<Make>, span_ms: i64) -> Vec<i64> {
    let asked = |world: &World<Make>| world.account.wire.arrived(Ec2Operation::DescribeNetworkInterfaces);
    let (end_ms, mut last) = (world.now_ms() + span_ms, asked(world));
    let mut times = Vec::new();
    while world.now_ms() < end_ms {
        world.pass(1_000);
        let now = asked(world);
        if now > last {
            times.push(world.now_ms());
        }
        last = now;
    }
    times
}

#[test]
fn leaked_enis_are_searched_hourly_and_up_to_five_minutes_later() {
    const HOUR_MS: i64 = 3_600_000;
    let mut world = node(config(&[]));
    world.run_to(10_000);
    let times = descriptions(&mut world, 150 * HOUR_MS);
    assert!(times.first().is_some_and(|first_ms| (10_000..=310_000).contains(first_ms)), "{times:?}");
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    // Over more than a hundred searches both ends are come close to.
    assert!((HOUR_MS..HOUR_MS + 20_000).contains(least), "{least}");
    assert!((HOUR_MS + 280_000..=HOUR_MS + 301_000).contains(most), "{most}");
    let mut off = node(config(&[("DISABLE_LEAKED_ENI_CLEANUP", "true")]));
    off.run_to(10_000);
    assert!(descriptions(&mut off, 2 * HOUR_MS).is_empty());
}
