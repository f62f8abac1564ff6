//! Whole worlds under a plain agent: what they do, and that they do it again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use cni_types::limits::InstanceLimits;
use ipamd_core::id::{Epoch, GroupId, SubnetId, VpcId};
use ipamd_core::input::{EniKind, ImdsErrorKind, PodName};
use ipamd_core::output::KubeCall;
use ipamd_model::world::disk::Content;
use ipamd_model::world::ec2::Ec2Spec;
use ipamd_model::world::faults::{Fault, How, Target};
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::KubeletSpec;
use ipamd_model::world::subnet::{SubnetFacts, SubnetSpace};
use ipamd_model::world::wire::WireSpec;
use ipamd_model::world::{World, WorldNodeSpec};

use super::agent::PlainAgent;

type Plain = World<fn(Epoch) -> PlainAgent>;

/// A world of so many nodes with three ENIs of four addresses.
fn world(seed: u64, nodes: usize) -> Plain {
    fleet(seed, nodes, 24)
}

/// The same in a subnet of this size.
fn fleet(seed: u64, nodes: usize, bits: u8) -> Plain {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), bits);
    let mut ec2 = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], seed);
    ec2.lag_ms = 500;
    let mut world = Plain::new(ec2, WireSpec { mutations: Some((20, 5)), ..WireSpec::default() });
    let mut limits = InstanceLimits::custom(3, 4);
    limits.listed = true;
    let mut imds = ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]);
    (imds.lag_ms, imds.partial) = ((0, 5_000), 0.3);
    for _ in 0..nodes {
        let spec = WorldNodeSpec {
            instance_type: "m5.tiny".into(),
            limits,
            subnet: SubnetId::from_bits(1),
            imds: imds.clone(),
            host: HostSpec::default(),
            kubelet: KubeletSpec::default(),
            controller: Controller::Attaches(5_000, 120_000),
            max_pods: Some(20),
        };
        world.launch(spec, PlainAgent::new).unwrap();
    }
    world
}

fn name(pod: u64) -> PodName {
    PodName { namespace: "default".into(), name: format!("pod-{pod}").into() }
}

/// Twenty minutes with pods that come and go, an agent that is killed, and calls that go wrong.
fn busy(seed: u64) -> Plain {
    let mut world = world(seed, 3);
    world.history.record();
    let every = |how, from_s: i64, share| Fault {
        share,
        ..Fault::new(Target::EveryEc2, how, from_s * 1_000, (from_s + 200) * 1_000)
    };
    world.account.faults.add(every(How::Lost { executed: true }, 100, 0.2));
    world.account.faults.add(every(How::Code("RequestLimitExceeded".into()), 300, 0.5));
    world.account.faults.add(every(How::Doubled, 500, 0.5));
    world.account.faults.add(every(How::Late(30_000), 600, 0.3));
    for step in 0..240_u64 {
        let index = usize::try_from(step % 3).unwrap();
        world.start_pod(index, step, name(step));
        if step >= 18 {
            world.stop_pod(index, step - 18);
        }
        if step % 50 == 49 {
            world.kill(index);
        }
        world.pass(5_000);
    }
    world
}

/// Pods that run, with their addresses, over all nodes.
fn running(world: &Plain) -> Vec<(u64, IpAddr)> {
    world.nodes().iter().flat_map(|node| node.kubelet.running().collect::<Vec<_>>()).collect()
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() {
    let (one, again, other) = (busy(11), busy(11), busy(12));
    assert!(one.history.text().lines().count() > 5_000, "{}", one.history.text().lines().count());
    assert_eq!(one.history.text(), again.history.text());
    assert_ne!(one.history.text(), other.history.text());
}

#[test]
fn pods_get_addresses_that_their_own_instance_holds() {
    let mut world = busy(3);
    world.pass(120_000);
    let pods = running(&world);
    assert!(pods.len() >= 12, "{} pods run", pods.len());
    let addresses: BTreeSet<IpAddr> = pods.iter().map(|(_, address)| *address).collect();
    assert_eq!(addresses.len(), pods.len(), "an address has one pod");
    for node in world.nodes() {
        let attached = world.account.ec2.attached(world.now_ms(), node.instance);
        let held: BTreeSet<IpAddr> =
            attached.iter().flat_map(|eni| eni.ipv4.iter().copied().map(IpAddr::from)).collect();
        assert!(node.kubelet.running().all(|(_, address)| held.contains(&address)));
        // What the host shows is what runs.
        let shown: BTreeSet<IpAddr> = node.host.pods().into_iter().flat_map(|pod| pod.routes).collect();
        assert_eq!(shown, node.kubelet.running().map(|(_, address)| address).collect());
        assert!(node.serving_since_ms().is_some() && attached.len() > 1);
    }
    assert!(world.account.ec2.subnets().all(SubnetSpace::adds_up));
    assert!(world.planned() < 100, "{} events are planned", world.planned());
}

#[test]
fn refused_adds_are_followed_by_dels_that_reach_the_agent() {
    let mut world = world(1, 1);
    world.account.faults.add(Fault::new(Target::EveryEc2, How::Code("UnauthorizedOperation".into()), 0, i64::MAX));
    world.pass(10_000);
    world.start_pod(0, 1, name(1));
    world.pass(120_000);
    let node = world.node(0).unwrap();
    let (tally, seen) = (node.kubelet.tally(), &node.agent().unwrap().seen);
    assert!(tally.refused >= 8 && tally.refused == tally.deleted && tally.lost == 0, "{tally:?}");
    assert_eq!((u64::from(seen["add"]), u64::from(seen["del"])), (tally.adds, tally.deleted));
}

#[test]
fn a_del_while_the_agent_is_down_is_lost_and_the_veth_goes() {
    let mut world = world(1, 1);
    world.pass(60_000);
    world.start_pod(0, 1, name(1));
    world.pass(10_000);
    assert_eq!((running(&world).len(), world.node(0).unwrap().host.pods().len()), (1, 1));
    let (now_ms, kind) = (world.now_ms(), ImdsErrorKind::Status(500));
    world.account.faults.add(Fault::new(Target::EveryImds, How::Imds(kind), now_ms, now_ms + 30_000));
    world.kill(0);
    world.pass(5_000);
    world.stop_pod(0, 1);
    assert!(world.node(0).unwrap().host.pods().is_empty());
    world.pass(60_000);
    let node = world.node(0).unwrap();
    assert_eq!((node.kubelet.tally().lost, node.serving_since_ms().is_some()), (1, true));
    assert!(!node.agent().unwrap().seen.contains_key("del"), "it is not repeated");
    let Content::Entries(entries) = node.disk.content() else { panic!("no checkpoint") };
    assert_eq!(entries.len(), 1, "the checkpoint still has what the agent was not told");
    // At once after the kill, then after 10 s, then after 20 s.
    assert_eq!((node.container.restarts(), node.fatal().len()), (3, 2));
}

/// An agent that never does anything, and whose deadline has always passed.
struct Silent;

impl ipamd_model::world::Agent for Silent {
    fn handle(&mut self, _: ipamd_core::id::Now, _: ipamd_core::Input<u64>) -> Vec<ipamd_core::Output> {
        Vec::new()
    }

    fn deadline(&self) -> Option<i64> {
        Some(0)
    }

    fn checkpoint(&self) -> Vec<ipamd_core::input::CheckpointEntry<u64>> {
        Vec::new()
    }
}

#[test]
fn an_agent_that_never_serves_is_killed_by_its_probe() {
    let mut world = world(1, 1);
    world.account.faults.add(Fault::new(Target::EveryImds, How::Absent, 0, i64::MAX));
    // A read that nothing answers ends this agent by itself: it takes five seconds.
    world.pass(20_000);
    assert!(world.node(0).unwrap().container.restarts() >= 1);
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), 24);
    let mut world = World::new(Ec2Spec::new(vec![subnet], Vec::new(), 1), WireSpec::default());
    let spec = WorldNodeSpec {
        instance_type: "m5.tiny".into(),
        limits: InstanceLimits::custom(3, 4),
        subnet: SubnetId::from_bits(1),
        imds: ImdsSpec::new(VpcId::from_bits(1), Vec::new()),
        host: HostSpec::default(),
        kubelet: KubeletSpec::default(),
        controller: Controller::Silent,
        max_pods: None,
    };
    let index = world.launch(spec, |_: Epoch| Silent).unwrap();
    world.run_to(79_999);
    assert_eq!(world.node(index).unwrap().epoch(), Epoch(1));
    // The first probe comes after 60 s, the third after 80 s; the first restart is immediate.
    let events = world.run_to(80_200);
    assert_eq!(world.node(index).unwrap().epoch(), Epoch(2));
    assert!(events < 500, "a deadline that has passed is told once a millisecond: {events}");
}

#[test]
fn a_disk_that_cannot_be_written_refuses_adds() {
    let mut world = world(1, 1);
    world.account.faults.add(Fault::new(Target::DiskWrite, How::Fails, 0, 200_000));
    world.pass(60_000);
    world.start_pod(0, 1, name(1));
    world.run_to(190_000);
    assert!(running(&world).is_empty() && world.node(0).unwrap().disk.writes().1 > 3);
    world.run_to(260_000);
    assert_eq!(running(&world).len(), 1);
}

#[test]
fn a_trunk_comes_seconds_to_minutes_after_it_was_asked_for() {
    let mut world = world(1, 1);
    world.pass(10_000);
    let ask = KubeCall::PatchCniNode { feature: "SecurityGroupsForPods", value: "".into() };
    let mut faults = ipamd_model::world::faults::Faults::none(1);
    let outcome = world.node_mut(0).unwrap().kube.execute(10_000, &ask, &mut faults);
    assert!((15_000..=131_000).contains(&outcome.trunk_ms.unwrap()), "{outcome:?}");
    let eni = world.attach_foreign(0, EniKind::Trunk, &[]).unwrap();
    world.pass(20_000);
    assert_eq!(world.account.ec2.eni(eni).unwrap().kind, EniKind::Trunk);
    let links = world.node(0).unwrap().agent().unwrap().seen["link"];
    assert!(links >= 1, "its link appears");
}

#[test]
fn a_forced_delete_leaves_a_sandbox_whose_del_comes_after_the_next_pod() {
    let mut world = world(1, 1);
    world.pass(60_000);
    world.start_pod(0, 1, name(5));
    world.pass(5_000);
    let sandbox = world.force_stop(0, 1).unwrap();
    world.start_pod(0, 2, name(5));
    world.pass(5_000);
    let node = world.node(0).unwrap();
    assert_eq!((node.kubelet.running().count(), node.host.pods().len()), (1, 1), "one interface has the name");
    assert_eq!(node.agent().unwrap().seen["veth gone"], 1);
    world.late_del(0, sandbox.clone());
    world.late_del(0, sandbox);
    world.pass(5_000);
    let node = world.node(0).unwrap();
    assert_eq!((node.kubelet.running().count(), node.host.pods().len(), node.agent().unwrap().seen["del"]), (1, 1, 2));
}

#[test]
fn a_calm_hour_of_a_hundred_nodes_plans_little() {
    let mut world = fleet(9, 100, 20);
    for index in 0..100 {
        for pod in 0..3 {
            world.start_pod(index, pod, name(pod));
        }
    }
    world.pass(3_600_000);
    assert_eq!(running(&world).len(), 300);
    assert!(world.planned() < 100 * 8, "{} events are planned", world.planned());
}
