//! What a calm node takes of memory, with everything around it.

use std::sync::Arc;

use cni_types::limits;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, GroupId, SubnetId, VpcId};
use ipamd_core::input::PodName;
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core};
use ipamd_model::world::ec2::Ec2Spec;
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::KubeletSpec;
use ipamd_model::world::subnet::SubnetFacts;
use ipamd_model::world::wire::WireSpec;
use ipamd_model::world::{Agents, World, WorldNodeSpec};
use peak_alloc::PeakAlloc;

/// It counts for the whole process, so these tests have a process each: others would be counted too.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Enough that what they share hardly counts.
const NODES: usize = 500;

struct Begins(Arc<Config>);

impl Agents for Begins {
    type Agent = Core<u64>;

    fn begin(&mut self, _epoch: Epoch) -> Core<u64> {
        Core::new(Arc::clone(&self.0), Box::new(Seeded::first_fit(1)))
    }
}

fn world(pods: u64) -> World<Begins> {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), [10, 0, 0, 0].into(), 16);
    let mut ec2 = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], 1);
    ec2.quota = 1_000_000;
    let mut world = World::new(ec2, WireSpec::default());
    let config = Arc::new(Config::upstream(Settings::manifest()));
    for _ in 0..NODES {
        let spec = WorldNodeSpec {
            instance_type: "m5.large".into(),
            limits: limits::find("m5.large").unwrap(),
            subnet: SubnetId::from_bits(1),
            imds: ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]),
            host: HostSpec::default(),
            kubelet: KubeletSpec::default(),
            controller: Controller::Silent,
            max_pods: Some(29),
        };
        world.launch(spec, Begins(Arc::clone(&config))).unwrap();
    }
    world.pass(60_000);
    for index in 0..NODES {
        for pod in 0..pods {
            let name = PodName { namespace: "default".into(), name: format!("pod-{index}-{pod}").into() };
            world.start_pod(index, pod, name);
        }
    }
    world.pass(3_600_000);
    world
}

#[test(own_process)]
fn a_calm_node_with_all_around_it_takes_little() {
    // A node of one ENI, and one of two ENIs and eight pods with names.
    for (pods, allowed) in [(0, 4_700), (8, 9_600)] {
        let before = ALLOCATOR.current_usage();
        let world = world(pods);
        let taken = (ALLOCATOR.current_usage() - before) / NODES;
        assert!(world.nodes().iter().all(|node| node.kubelet.running().count() as u64 == pods));
        assert!(taken <= allowed, "{pods} pods: {taken} bytes for a node, {allowed} are allowed");
    }
}
