//! The cluster as EC2 and `GET /state` show it.

use super::cloud::subnet_index;
use super::slot::Slot;
use super::state::SimulatedCluster;
use crate::aws::identity::Identity;
use crate::ec2::view::{Attachment, Ec2View, Instance, NetworkInterface, Subnet as Ec2Subnet, Tags};
use crate::scenario::Role;
use cni_types::random::mix;
use ipamd_model::ec2::{AttachedEni, EniKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// Clock, nodes, subnets and faults in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// Name of the scenario.
    pub scenario: String,
    /// What the clock showed at the beginning, Unix ms.
    pub start_ms: i64,
    /// What it shows now.
    pub now_ms: i64,
    /// Instances that run.
    pub nodes: u32,
    /// Agents that serve their page.
    pub serving: u32,
    /// Pods with an address.
    pub pods: u64,
    /// Subnets.
    pub subnets: Vec<SubnetStatus>,
    /// Faults that hold now: their numbers and what they do.
    pub faults: BTreeMap<usize, String>,
    /// Pages handed over.
    pub pages: u64,
}

/// One subnet in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetStatus {
    /// The scenario's name for it.
    pub name: String,
    /// All addresses, the five reserved ones included.
    pub size: u32,
    /// Addresses that EC2 would still give out.
    pub free: u32,
    /// /28 blocks that it would still give out.
    pub free_prefixes: u32,
    /// Addresses assigned to the nodes.
    pub lent: u32,
}

impl SimulatedCluster {
    /// Clock, nodes, subnets and faults in short.
    pub fn status(&self) -> ClusterStatus {
        let engine = self.engine();
        let faults = self.active();
        ClusterStatus {
            scenario: self.scenario.name.clone(),
            start_ms: self.start_ms,
            now_ms: self.now_ms(),
            nodes: engine.alive,
            serving: engine.serving,
            pods: engine.drivers.iter().map(|driver| driver.pods.len() as u64).sum(),
            subnets: engine
                .subnets
                .iter()
                .map(|subnet| SubnetStatus {
                    name: subnet.name.clone(),
                    size: subnet.cidr.size(),
                    free: subnet.free(),
                    free_prefixes: subnet.free_prefixes(),
                    lent: subnet.lent(),
                })
                .collect(),
            faults: faults.list.iter().map(|active| (active.fault, format!("{:?}", active.kind))).collect(),
            pages: self.truth.pages(),
        }
    }

    /// Addresses that the nodes' ENIs hold, by subnet index: the other side of [`SubnetStatus::lent`].
    pub fn held_by_nodes(&self) -> Vec<u32> {
        let mut held = vec![0; self.scenario.subnets.len()];
        for slot in self.slots() {
            let cell = slot.lock();
            for eni in cell.node.iter().flat_map(|node| &node.instance().enis) {
                if let Some(sum) = held.get_mut(subnet_index(eni.subnet)) {
                    let own = 1 + eni.addresses.len() + 16 * eni.prefixes.len();
                    *sum += u32::try_from(own).unwrap_or(u32::MAX);
                }
            }
        }
        held
    }

    /// Whom the helper's own metadata service describes: the first node that runs.
    pub fn identity(&self) -> Identity {
        let base = Identity {
            region: self.scenario.cluster.region.clone(),
            account_id: self.scenario.cluster.account_id.clone(),
            ..Identity::default()
        };
        let Some(slot) = self.slots().into_iter().find(|slot| slot.alive()) else { return base };
        Identity {
            availability_zone: slot.zone.to_string(),
            instance_id: slot.instance_id.clone(),
            instance_type: self.objects.instance_type(slot.group).to_owned(),
            private_ip: slot.primary_ip.to_string(),
            tags: self.instance_tags(&slot),
            ..base
        }
    }

    fn vpc_id(&self) -> String {
        format!("vpc-0{:016x}", mix(self.seed ^ 0x0076_7063))
    }

    fn instance_tags(&self, slot: &Slot) -> Tags {
        let cluster = self.objects.cluster();
        let mut tags = self.scenario.cluster.instance_tags.clone();
        if self.scenario.cluster.tag_cluster_name {
            tags.insert("eks:cluster-name".to_owned(), cluster.to_owned());
        }
        let group = self.scenario.node_groups.get(slot.group).map_or("", |group| group.name.as_str());
        tags.insert("eks:nodegroup-name".to_owned(), group.to_owned());
        tags.insert(format!("kubernetes.io/cluster/{cluster}"), "owned".to_owned());
        tags
    }

    fn eni(&self, slot: &Slot, eni: &AttachedEni, subnet_ids: &[(String, String)]) -> NetworkInterface {
        let (subnet_id, zone) = subnet_ids.get(subnet_index(eni.subnet)).cloned().unwrap_or_default();
        NetworkInterface {
            network_interface_id: eni.id.to_string(),
            subnet_id,
            vpc_id: self.vpc_id(),
            availability_zone: zone,
            status: "in-use".to_owned(),
            interface_type: match eni.kind {
                EniKind::Interface => "interface",
                EniKind::Efa => "efa",
                EniKind::Trunk => "trunk",
                EniKind::EfaOnly => "efa-only",
            }
            .to_owned(),
            description: if eni.device == 0 { String::new() } else { format!("aws-K8S-{}", slot.instance_id) },
            attachment: Some(Attachment {
                attachment_id: eni.id.to_string().replacen("eni-", "eni-attach-", 1),
                instance_id: slot.instance_id.clone(),
                device_index: u32::from(eni.device),
            }),
            private_ips: std::iter::once(&eni.primary).chain(&eni.addresses).map(ToString::to_string).collect(),
            ipv4_prefixes: eni.prefixes.iter().map(|base| format!("{base}/28")).collect(),
            ipv6_prefixes: eni.ipv6_prefixes.iter().map(|base| format!("{base}/80")).collect(),
            tags: BTreeMap::from([
                ("node.k8s.amazonaws.com/instance_id".to_owned(), slot.instance_id.clone()),
                ("cluster.k8s.amazonaws.com/name".to_owned(), self.objects.cluster().to_owned()),
            ]),
        }
    }
}

impl Ec2View for SimulatedCluster {
    fn subnets(&self) -> Vec<Ec2Subnet> {
        let engine = self.engine();
        engine
            .subnets
            .iter()
            .map(|subnet| {
                let mut tags = BTreeMap::from([
                    ("Name".to_owned(), subnet.name.clone()),
                    (format!("kubernetes.io/cluster/{}", self.objects.cluster()), "shared".to_owned()),
                ]);
                let role = match subnet.role {
                    Role::Untagged => None,
                    Role::Off => Some("0"),
                    Role::On => Some("1"),
                };
                tags.extend(role.map(|value| ("kubernetes.io/role/cni".to_owned(), value.to_owned())));
                Ec2Subnet {
                    subnet_id: subnet.id.clone(),
                    vpc_id: self.vpc_id(),
                    availability_zone: subnet.zone.clone(),
                    cidr_block: subnet.cidr.to_string(),
                    available_ip_address_count: u64::from(subnet.free()),
                    tags,
                    cidr_reservations: Vec::new(),
                }
            })
            .collect()
    }

    fn instances(&self) -> Vec<Instance> {
        let subnets: Vec<String> = self.engine().subnets.iter().map(|subnet| subnet.id.clone()).collect();
        let running = self.slots().into_iter().filter(|slot| slot.alive());
        running
            .map(|slot| Instance {
                instance_id: slot.instance_id.clone(),
                instance_type: self.objects.instance_type(slot.group).to_owned(),
                state: "running".to_owned(),
                private_ip: slot.primary_ip.to_string(),
                private_dns_name: slot.node_name.to_string(),
                subnet_id: self
                    .plans
                    .get(slot.group)
                    .and_then(|plan| subnets.get(plan.subnet as usize))
                    .cloned()
                    .unwrap_or_default(),
                vpc_id: self.vpc_id(),
                availability_zone: slot.zone.to_string(),
                launch_time_ms: slot.created_ms,
                tags: self.instance_tags(&slot),
            })
            .collect()
    }

    fn network_interfaces(&self) -> Vec<NetworkInterface> {
        let subnets =
            self.engine().subnets.iter().map(|subnet| (subnet.id.clone(), subnet.zone.clone())).collect::<Vec<_>>();
        let mut all = Vec::new();
        for slot in self.slots() {
            let cell = slot.lock();
            let enis = cell.node.iter().flat_map(|node| &node.instance().enis);
            all.extend(enis.map(|eni| self.eni(&slot, eni, &subnets)));
        }
        all
    }
}
