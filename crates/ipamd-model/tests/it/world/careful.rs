//! A careful agent in the histories from the field.

use cni_types::ec2::Ec2Operation;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::Epoch;
use ipamd_core::input::KubeError;
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core};
use ipamd_model::world::World;
use ipamd_model::world::cases::{Case, CaseOutcome};

type Make = Box<dyn FnMut(Epoch) -> Core<u64>>;

fn play(case: &Case, env: &[(&str, &str)]) -> (World<Make>, CaseOutcome) {
    play_with(case, &Config::careful(Settings::manifest_with(env.iter().copied())))
}

fn play_with(case: &Case, config: &Config) -> (World<Make>, CaseOutcome) {
    case.play(5, |index| -> Make {
        let config = config.clone();
        Box::new(move |epoch| Core::new(config.clone(), Box::new(Seeded::random(u64::from(epoch.0) ^ index as u64))))
    })
}

/// Six pods of eight addresses are replaced by eight: the original refuses for half a minute, until addresses have rested.
#[test]
fn pods_that_replace_others_wait_for_growth_and_none_is_refused() {
    let (world, outcome) = play(&Case::Replacement, &[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "8")]);
    assert!(outcome.harm.is_none() && outcome.refused == 0, "{outcome:?}");
    assert!(outcome.all_run_ms.is_some_and(|ms| ms <= 15_000), "{outcome:?}");
    let waits = world.node(0).unwrap().agent().unwrap().waits();
    assert!(waits.served >= 6 && waits.refused == 0 && waits.waiting == 0, "{waits:?}");
}

/// A client's packet for a pod that is gone went to another pod: the kernel tracks a connection that was never answered for two
/// minutes, and addresses rest for half a minute.
#[test]
fn no_pod_inherits_the_connections_of_another() {
    let inherited = |config: &Config| {
        let (world, outcome) = play_with(&Case::SameName, config);
        assert!(outcome.harm.is_none() && outcome.serves, "{outcome:?}");
        world.node(0).unwrap().host.inherited()
    };
    assert!(inherited(&Config::upstream(Settings::manifest())) > 20);
    assert_eq!(inherited(&Config::careful(Settings::manifest())), 0);
}

/// Pods deleted by force and made again under their names, DELs late, twice or never: the original keeps the address of a
/// sandbox for as long as a pod has its name.
#[test]
fn an_allocation_ends_with_the_interface_it_was_made_for() {
    let (world, outcome) = play(&Case::SameName, &[]);
    assert!(outcome.serves && outcome.harm.is_none(), "{outcome:?}");
    assert_eq!(outcome.unlike_checkpoint, (0, 0), "{outcome:?}");
    let (bound, ended) = world.node(0).unwrap().agent().unwrap().links();
    assert!(bound == 3 && ended > 20, "{bound} {ended}");
}

/// A pod that runs has its address in its annotation.
fn annotated(world: &World<Make>) -> (usize, usize) {
    let node = world.node(0).unwrap();
    let name = |pod: u64| (Box::from("default"), format!("pod-{pod}").into());
    let right = node
        .kubelet
        .running()
        .filter(|(pod, address)| node.kube.pods.get(&name(*pod)).is_some_and(|pod| pod.annotation == Some(*address)));
    (right.count(), node.kubelet.running().count())
}

/// A slow or refusing API server, or a webhook, refused pods for want of an annotation.
#[test]
fn an_annotation_follows_the_reply_and_no_request_fails_for_it() {
    for error in [KubeError::Forbidden, KubeError::Timeout, KubeError::Conflict, KubeError::Other, KubeError::NotFound]
    {
        let (world, outcome) = play(&Case::Api(error), &[("ANNOTATE_POD_IP", "true")]);
        assert!(outcome.serves && outcome.harm.is_none() && outcome.refused == 0, "{error:?}: {outcome:?}");
        let core = world.node(0).unwrap().agent().unwrap();
        assert_eq!(core.annotations(), (0, 0), "{error:?}");
        let (right, running) = annotated(&world);
        // A pod that is not found is not annotated.
        assert!(running == 5 && (right == 5 || error == KubeError::NotFound), "{error:?}: {right} of {running}");
    }
}

/// An ENI that somebody attached by hand was tagged after 46 s, detached and deleted.
#[test]
fn an_eni_that_somebody_attached_is_never_detached_or_deleted() {
    for env in [&[("WARM_IP_TARGET", "2")][..], &[("WARM_IP_TARGET", "2"), ("MANAGE_UNTAGGED_ENI", "false")]] {
        let (_, outcome) = play(&Case::ForeignEni, env);
        assert!(outcome.serves && outcome.harm.is_none() && outcome.foreign_stays == Some(true), "{outcome:?}");
        let removes = [Ec2Operation::DetachNetworkInterface, Ec2Operation::DeleteNetworkInterface];
        assert!(!outcome.calls.iter().any(|(op, _)| removes.contains(op)), "{outcome:?}");
    }
}

/// A roll-out over a fleet throttled the account: one look at the subnets for each ENI, all at the same time.
#[test]
fn a_fleet_that_restarts_reads_its_enis_once_a_node_and_no_subnets() {
    let nodes = 40_usize;
    let (world, outcome) = play(&Case::Fleet(nodes), &[]);
    assert!(outcome.serves && outcome.harm.is_none(), "{outcome:?}");
    let calls =
        |operation| outcome.calls.iter().find(|(called, _)| *called == operation).map_or(0, |(_, count)| *count);
    assert_eq!(calls(Ec2Operation::DescribeSubnets), 0, "{outcome:?}");
    // One description of all ENIs and one search for leaks a start; a few comparisons meet metadata that lags.
    let described = calls(Ec2Operation::DescribeNetworkInterfaces);
    assert!(described <= 2 * nodes as u64 + nodes as u64 / 4, "{outcome:?}");
    assert!(world.nodes().iter().all(|node| node.agent().unwrap().bad_inputs().next().is_none()));
}
