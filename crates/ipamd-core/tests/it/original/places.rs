//! Random histories of nodes whose ENIs and pods are at other places: several subnets with tags, custom networking, security groups
//! for pods, ENIs that agents left behind.

use ipamd_core::id::{GroupId, SubnetId};
use ipamd_core::input::{KubeReply, NodeSeen};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::random::{Step, histories, play_random, steps};
use super::{Made, Pair};
use crate::world::{SUBNET, World};

const OTHER: SubnetId = SubnetId::from_bits(0x6);
const THIRD: SubnetId = SubnetId::from_bits(0x7);

/// A kind of node.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The values of the tag `kubernetes.io/role/cni` of three subnets, that of the primary ENI first.
    Tagged([&'static str; 3]),
    /// Custom networking: the node names an `ENIConfig`, this object exists, and security groups for pods are on, too.
    Custom { named: bool, exists: bool, pods: bool },
    /// Security groups for pods: a trunk comes this long after their announcement, or never.
    Branches(Option<i64>),
    /// The search for ENIs that were left behind is on.
    Leaked,
}

fn places() -> impl Strategy<Value = Place> {
    let tag = || prop::sample::select(vec!["", "", "1", "0"]);
    prop_oneof![
        3 => [tag(), tag(), tag()].prop_map(Place::Tagged),
        2 => (any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.3))
            .prop_map(|(named, exists, pods)| Place::Custom { named, exists, pods }),
        3 => prop::option::weighted(0.8, 1..40_000_i64).prop_map(Place::Branches),
        1 => Just(Place::Leaked),
    ]
}

impl Place {
    fn variables(self) -> Vec<(&'static str, &'static str)> {
        const CUSTOM: (&str, &str) = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");
        const BRANCHES: (&str, &str) = ("ENABLE_POD_ENI", "true");
        match self {
            Self::Tagged(_) => Vec::new(),
            Self::Custom { pods: true, .. } => vec![CUSTOM, BRANCHES],
            Self::Custom { .. } => vec![CUSTOM],
            Self::Branches(_) => vec![BRANCHES],
            Self::Leaked => vec![("DISABLE_LEAKED_ENI_CLEANUP", "false")],
        }
    }

    /// What the original's start says of it.
    fn boot(self) -> Value {
        let tags = if let Self::Tagged(tags) = self { tags } else { [""; 3] };
        let blocks = [(SUBNET, "10.0.0.0/16", 60), (OTHER, "10.1.0.0/16", 40), (THIRD, "10.2.0.0/16", 30)];
        let subnets = blocks.iter().zip(tags).map(|((id, cidr, free), tag)| {
            let tags = if tag.is_empty() { json!({}) } else { json!({"kubernetes.io/role/cni": tag}) };
            json!({"id": id.to_string(), "cidr": cidr, "free": free, "tags": tags})
        });
        let mut boot = json!({"subnets": subnets.collect::<Vec<_>>(), "cninode": true});
        if let Self::Custom { named, exists, .. } = self {
            let (name, groups) =
                if named { ("pods", vec![GroupId::from_bits(0xa).to_string()]) } else { ("default", vec![]) };
            boot["node"] = json!({"max_pods": 110, "eni_config": if named { name } else { "" }});
            if exists {
                boot["eni_configs"] = json!({name: {"subnet": OTHER.to_string(), "groups": groups}});
            }
        }
        if let Self::Branches(Some(after_ms)) = self {
            boot["trunk_after_ms"] = json!(after_ms);
        }
        boot
    }

    /// The same here.
    fn prepare(self, world: &mut World) {
        if let Self::Custom { named, exists, .. } = self {
            let (name, groups) = if named { ("pods", vec![GroupId::from_bits(0xa)]) } else { ("default", vec![]) };
            let eni_config = named.then(|| name.into());
            world.node = Some(NodeSeen { max_pods: Some(110), eni_config, version: 1, ..NodeSeen::default() });
            if exists {
                world.pods.insert(name.into(), KubeReply::EniConfig { subnet: OTHER, groups });
            }
        }
        if let Self::Branches(after_ms) = self {
            world.trunk_after_ms = after_ms;
        }
    }
}

fn settings() -> impl Strategy<Value = &'static [(&'static str, &'static str)]> {
    prop::sample::select(vec![
        &[][..],
        &[("WARM_IP_TARGET", "2")],
        &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "6"), ("IP_COOLDOWN_PERIOD", "0")],
        &[("ENABLE_PREFIX_DELEGATION", "true")],
        &[("ENABLE_SUBNET_DISCOVERY", "false"), ("WARM_ENI_TARGET", "0")],
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let made = prop_oneof![
        3 => (0..900_i64).prop_map(Made::Ago),
        1 => Just(Made::Unreadable),
        1 => Just(Made::Unknown),
    ];
    let left = (prop::bool::weighted(0.8), made).prop_map(|(agents, made)| Step::Leave { agents, made });
    let groups =
        prop::collection::btree_set(8..11_u8, 1..3).prop_map(|groups| Step::Groups(groups.into_iter().collect()));
    let all = [(3, left.boxed()), (2, groups.boxed()), (1, any::<bool>().prop_map(Step::Mode).boxed())];
    prop::strategy::Union::new_weighted(steps(true).into_iter().chain(all).collect())
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn random_histories_of_other_places_are_the_originals() {
    let steps = prop::collection::vec(step(), 1..40);
    let kinds = (places(), settings(), prop::bool::weighted(0.3), steps);
    let wanted = [
        "a branch ENI",
        "a search for leaked ENIs",
        "a start that failed",
        "an excluded ENI",
        "the ENI that is cleaned up",
        "DeleteNetworkInterface",
    ];
    play_random(histories() / 4, kinds, &wanted, |(place, variables, hours, steps)| {
        let all: Vec<_> = variables.iter().copied().chain(place.variables()).collect();
        let mut pair = Pair::boot_with(&all, 4, 5, &place.boot(), |world| place.prepare(world));
        pair.branch_pods((10..14).map(|pod| (pod, (pod < 13).then(|| u16::try_from(pod).unwrap()))));
        pair.pass(5_000);
        pair.play(steps);
        if hours && matches!(place, Place::Leaked) {
            pair.pass(3_700_000);
        }
        pair
    });
}
