//! Random worlds: answers late, lost, doubled, partial and refused, metadata that lags, agents that are killed, pods that come
//! and go. Afterwards everything heals.

use std::collections::BTreeSet;

use cni_types::ec2::Ec2Operation;
use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, GroupId, SubnetId, VpcId};
use ipamd_core::input::{CheckpointEntry, ImdsErrorKind, KubeError, PodName};
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core, Policy};
use ipamd_model::world::disk::Content;
use ipamd_model::world::ec2::Ec2Spec;
use ipamd_model::world::ec2::eni::EniState;
use ipamd_model::world::faults::{Fault, How, ImdsPath, Target};
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::KubeletSpec;
use ipamd_model::world::node::WorldNode;
use ipamd_model::world::subnet::{SubnetFacts, SubnetSpace};
use ipamd_model::world::wire::WireSpec;
use ipamd_model::world::{World, WorldNodeSpec};

type Make = Box<dyn FnMut(Epoch) -> Core<u64>>;

const MINUTE_MS: i64 = 60_000;

const SETTINGS: [&[(&str, &str)]; 5] = [
    &[],
    &[("WARM_IP_TARGET", "2")],
    &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "5"), ("IP_COOLDOWN_PERIOD", "0")],
    &[("ENABLE_PREFIX_DELEGATION", "true")],
    &[("ENABLE_SUBNET_DISCOVERY", "false"), ("WARM_ENI_TARGET", "2")],
];

fn name(pod: u64) -> PodName {
    PodName { namespace: "default".into(), name: format!("pod-{pod}").into() }
}

fn world(seed: u64, random: &mut Random, policy: Policy) -> World<Make> {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), [10, 0, 0, 0].into(), 22);
    let mut ec2 = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], seed);
    ec2.lag_ms = random.between(0, 2_000);
    let wire = WireSpec { mutations: Some((50, 5)), reads: Some((100, 20)), ..WireSpec::default() };
    let mut world = World::new(ec2, wire);
    let mut limits = InstanceLimits::custom(4, 6);
    limits.listed = true;
    let mut imds = ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]);
    (imds.lag_ms, imds.partial) = ((0, random.between(0, 5_000)), random.fraction() / 2.0);
    let env = SETTINGS[random.index(SETTINGS.len())];
    for index in 0..2_u64 {
        let settings = Settings::manifest_with(env.iter().copied());
        let config = Config { policy, ..Config::upstream(settings) };
        let agents: Make = Box::new(move |epoch| {
            Core::new(config.clone(), Box::new(Seeded::random(seed ^ u64::from(epoch.0) << 8 ^ index)))
        });
        let spec = WorldNodeSpec {
            instance_type: "m5.large".into(),
            limits,
            subnet: SubnetId::from_bits(1),
            imds: imds.clone(),
            host: HostSpec::default(),
            kubelet: KubeletSpec { broken_namespaces: 0.02, ..KubeletSpec::default() },
            controller: Controller::Silent,
            max_pods: Some(30),
        };
        world.launch(spec, agents).unwrap();
    }
    world
}

fn fault(random: &mut Random, now_ms: i64) -> Fault {
    let operation = Target::Ec2(Ec2Operation::ALL[random.index(Ec2Operation::ALL.len())]);
    let target = if random.below(3) == 0 { Target::EveryEc2 } else { operation };
    let path = Target::Imds(ImdsPath::ALL[random.index(ImdsPath::ALL.len())]);
    let (target, how) = match random.below(10) {
        0 => (target, How::Code("RequestLimitExceeded".into())),
        1 => (target, How::Code("UnauthorizedOperation".into())),
        2 => (target, How::Lost { executed: true }),
        3 => (target, How::Lost { executed: false }),
        4 => (target, How::Late(random.between(0, 60_000))),
        5 => (target, How::Doubled),
        6 => (target, How::NotSent),
        7 => (path, How::Imds(ImdsErrorKind::Status(500))),
        8 => (Target::Kube, How::Kube(KubeError::Timeout)),
        _ => (Target::DiskWrite, How::Fails),
    };
    let until_ms = now_ms.saturating_add(random.between(1_000, 180_000));
    Fault { share: 0.1 + random.fraction() * 0.9, ..Fault::new(target, how, now_ms, until_ms) }
}

/// Attempts that arrived at EC2 so far.
fn calls(world: &World<Make>) -> u64 {
    Ec2Operation::ALL.into_iter().map(|operation| world.account.wire.arrived(operation)).sum()
}

/// Twenty minutes of trouble; the answer has the most calls of any minute beside the world.
fn play(seed: u64, record: bool) -> (World<Make>, u64) {
    play_as(seed, record, Policy::Upstream)
}

fn play_as(seed: u64, record: bool, policy: Policy) -> (World<Make>, u64) {
    let mut random = Random::new(seed);
    let mut world = world(seed, &mut random, policy);
    if record {
        world.history.record();
    }
    world.pass(2 * MINUTE_MS);
    let (mut next, mut live): (u64, [Vec<u64>; 2]) = (0, [Vec::new(), Vec::new()]);
    let mut counts = vec![calls(&world)];
    for _ in 0..120 {
        let index = random.index(2);
        if random.below(3) == 0 {
            let row = fault(&mut random, world.now_ms());
            world.account.faults.add(row);
        }
        if random.below(40) == 0 {
            world.kill(index);
        }
        for _ in 0..random.below(3) {
            if live[index].len() < 10 {
                world.start_pod(index, next, name(next));
                live[index].push(next);
                next += 1;
            }
        }
        if random.below(2) == 0 && !live[index].is_empty() {
            let turn = random.index(live[index].len());
            let pod = live[index].swap_remove(turn);
            if random.below(10) == 0 { world.leak_pod(index, pod) } else { world.stop_pod(index, pod) }
        }
        world.pass(10_000);
        assert!(world.account.ec2.subnets().all(SubnetSpace::adds_up), "seed {seed}");
        counts.push(calls(&world));
        if policy == Policy::Careful {
            check_careful(&world, seed);
        }
    }
    let most = counts.windows(7).map(|minute| minute[6] - minute[0]).max().unwrap_or(0);
    (world, most)
}

/// Entries of the checkpoint that are no pod's that runs. (An earlier sandbox of a pod that runs is kept: it has its name.)
fn strangers(node: &WorldNode<Make>) -> Vec<CheckpointEntry<u64>> {
    let Content::Entries(entries) = node.disk.content() else { panic!("no checkpoint") };
    let running: Vec<PodName> = node.kubelet.running().map(|(pod, _)| name(pod)).collect();
    entries.iter().filter(|entry| !running.contains(&entry.pod)).cloned().collect()
}

#[test]
fn random_worlds_heal() {
    for seed in 0..40 {
        let (mut world, most) = play(seed, false);
        // Two nodes whose calls fail, each with up to twelve tries of a call and three attempts of a try.
        assert!(most <= 150, "seed {seed}: {most} calls in a minute");
        // The last fault ends, and a restart frees what was leaked or could not be written.
        world.pass(20 * MINUTE_MS);
        (0..2).for_each(|index| world.roll_out(index));
        world.pass(20 * MINUTE_MS);
        let calm = calls(&world);
        world.pass(80 * MINUTE_MS);
        assert!(calls(&world) - calm <= 40, "seed {seed}: calls of a calm world");
        for index in 0..2 {
            let node = world.node(index).unwrap();
            let told = format!("seed {seed}, node {index}: {:?} {:?}", node.kubelet.tally(), node.fatal());
            let core = node.agent().unwrap();
            assert!(node.serving_since_ms().is_some() && node.kubelet.waiting() == 0, "{told}");
            assert_eq!(world.unlike_checkpoint(index).0, BTreeSet::new(), "{told}");
            assert_eq!(strangers(node), Vec::new(), "{told}");
            assert_eq!((core.open_effects(), core.open_rpcs()), (0, 0), "{told}");
            assert!(core.bad_inputs().all(|(kind, _)| kind == "unknown_operation"), "{told}");
        }
        // What was left behind is found by the search of some node.
        check_no_eni_is_left_behind(&world, seed);
    }
}

#[test]
fn a_random_world_repeats_byte_for_byte() {
    let [one, again] = [0, 0].map(|_| play(4, true).0);
    assert!(one.history.text().len() > 100_000);
    assert_eq!(one.history.text(), again.history.text());
}

fn check_no_eni_is_left_behind(world: &World<Make>, seed: u64) {
    let loose = world.account.ec2.enis().filter(|eni| eni.state(world.now_ms()) == EniState::Available);
    assert_eq!(loose.count(), 0, "seed {seed}: ENIs are left behind");
}

/// What holds of careful agents at every moment.
fn check_careful(world: &World<Make>, seed: u64) {
    for index in 0..2 {
        assert!(world.harm(index).is_none(), "seed {seed}, node {index}: {:?}", world.harm(index));
        let Some(core) = world.node(index).unwrap().agent() else { continue };
        assert!(core.lanes_are_single(), "seed {seed}, node {index}: a lane waits for two answers");
        assert!(core.waits().longest_ms <= 25_000, "seed {seed}, node {index}: {:?}", core.waits());
    }
}

#[test]
fn random_worlds_of_careful_agents_harm_no_pod_and_heal_without_a_restart() {
    for seed in 0..30 {
        let (mut world, most) = play_as(seed, false, Policy::Careful);
        assert!(most <= 150, "seed {seed}: {most} calls in a minute");
        world.pass(40 * MINUTE_MS);
        let calm = calls(&world);
        world.pass(80 * MINUTE_MS);
        check_careful(&world, seed);
        assert!(calls(&world) - calm <= 40, "seed {seed}: calls of a calm world");
        for index in 0..2 {
            let node = world.node(index).unwrap();
            let told = format!("seed {seed}, node {index}: {:?} {:?}", node.kubelet.tally(), node.fatal());
            let core = node.agent().unwrap();
            assert!(node.serving_since_ms().is_some() && node.kubelet.waiting() == 0, "{told}");
            // What was leaked ends with its interface, and what could not be written is written.
            assert_eq!(world.unlike_checkpoint(index), (BTreeSet::new(), BTreeSet::new()), "{told}");
            assert_eq!((core.open_effects(), core.open_rpcs(), core.waits().waiting), (0, 0, 0), "{told}");
            assert_eq!(node.disk.second().map(|file| file.intents.len()), Some(0), "{told}");
        }
        check_no_eni_is_left_behind(&world, seed);
    }
}
