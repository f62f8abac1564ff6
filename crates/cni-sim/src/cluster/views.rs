//! The cluster as EC2 and `GET /state` show it.

use super::engine::Engine;
use super::slot::Slot;
use super::state::SimulatedCluster;
use crate::aws::identity::Identity;
use crate::ec2::view::{Attachment, Ec2View, Instance, NetworkInterface, Subnet as Ec2Subnet, Tags};
use ipamd_core::input::{EniKind, SubnetRole};
use ipamd_model::world::ec2::Ec2;
use ipamd_model::world::ec2::eni::{Eni, EniState};
use ipamd_model::world::subnet::SubnetSpace;
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
        let pods_of = |slot: &Slot| slot.lock().node.as_ref().map_or(0, |node| node.kubelet.running().count() as u64);
        let engine = self.engine();
        let faults = self.active();
        ClusterStatus {
            scenario: self.scenario.name.clone(),
            start_ms: self.start_ms,
            now_ms: self.now_ms(),
            nodes: engine.alive,
            serving: engine.serving,
            pods: engine.slots.iter().map(|slot| pods_of(slot)).sum(),
            subnets: self
                .spaces(&engine)
                .map(|(name, subnet)| SubnetStatus {
                    name: name.to_owned(),
                    size: subnet.size(),
                    free: subnet.free(),
                    free_prefixes: subnet.free_prefixes(),
                    lent: subnet.lent(),
                })
                .collect(),
            faults: faults.list.iter().map(|active| (active.fault, format!("{:?}", active.kind))).collect(),
            pages: self.truth.pages(),
        }
    }

    /// The subnets with the scenario's names, in its order.
    fn spaces<'a>(&'a self, engine: &'a Engine) -> impl Iterator<Item = (&'a str, &'a SubnetSpace)> {
        let names = self.scenario.subnets.iter().map(|subnet| subnet.name.as_str());
        names.zip(&engine.subnets).filter_map(|(name, id)| Some((name, engine.account.ec2.subnet(*id)?)))
    }

    /// Addresses that ENIs hold, by subnet index: the other side of [`SubnetStatus::lent`].
    pub fn held_by_nodes(&self) -> Vec<u32> {
        let engine = self.engine();
        let mut held = vec![0; engine.subnets.len()];
        for eni in engine.account.ec2.enis() {
            let index = engine.subnets.iter().position(|id| *id == eni.subnet);
            if let Some(sum) = index.and_then(|index| held.get_mut(index)) {
                *sum += u32::try_from(eni.every_ipv4().count()).unwrap_or(u32::MAX);
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
            instance_id: slot.instance.to_string(),
            instance_type: self.objects.instance_type(slot.group).to_owned(),
            private_ip: slot.primary_ip.to_string(),
            tags: self.instance_tags(&slot),
            ..base
        }
    }

    fn vpc_id(&self) -> String {
        self.vpc.to_string()
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

    fn eni(&self, eni: &Eni, ec2: &Ec2) -> NetworkInterface {
        let attached = eni.attachment.as_ref().filter(|_| eni.state(self.now_ms()) != EniState::Available);
        let mut tags: Tags = eni.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        // The primary ENI is made with its instance.
        if let Some(attachment) = attached.filter(|attachment| attachment.device == 0 && attachment.card == 0) {
            tags.insert("node.k8s.amazonaws.com/instance_id".to_owned(), attachment.instance.to_string());
            tags.insert("cluster.k8s.amazonaws.com/name".to_owned(), self.objects.cluster().to_owned());
        }
        NetworkInterface {
            network_interface_id: eni.id.to_string(),
            subnet_id: eni.subnet.to_string(),
            vpc_id: self.vpc_id(),
            availability_zone: ec2.subnet(eni.subnet).map_or_else(String::new, |subnet| subnet.spec.zone.to_string()),
            status: if attached.is_some() { "in-use" } else { "available" }.to_owned(),
            interface_type: match eni.kind {
                EniKind::Interface => "interface",
                EniKind::Efa => "efa",
                EniKind::Trunk => "trunk",
                EniKind::EfaOnly => "efa-only",
            }
            .to_owned(),
            description: eni.description.to_string(),
            attachment: attached.map(|attachment| Attachment {
                attachment_id: attachment.id.to_string(),
                instance_id: attachment.instance.to_string(),
                device_index: u32::from(attachment.device),
            }),
            private_ips: eni.primary.iter().chain(&eni.ipv4).map(ToString::to_string).collect(),
            ipv4_prefixes: eni.ipv4_prefixes.iter().map(|base| format!("{base}/28")).collect(),
            ipv6_prefixes: eni.ipv6_prefixes.iter().map(|base| format!("{base}/80")).collect(),
            tags,
        }
    }
}

impl Ec2View for SimulatedCluster {
    fn subnets(&self) -> Vec<Ec2Subnet> {
        let engine = self.engine();
        self.spaces(&engine)
            .map(|(name, subnet)| {
                let mut tags = BTreeMap::from([
                    ("Name".to_owned(), name.to_owned()),
                    (format!("kubernetes.io/cluster/{}", self.objects.cluster()), "shared".to_owned()),
                ]);
                let role = match subnet.spec.role {
                    SubnetRole::Untagged => None,
                    SubnetRole::Off => Some("0"),
                    SubnetRole::On => Some("1"),
                };
                tags.extend(role.map(|value| ("kubernetes.io/role/cni".to_owned(), value.to_owned())));
                Ec2Subnet {
                    subnet_id: subnet.spec.id.to_string(),
                    vpc_id: self.vpc_id(),
                    availability_zone: subnet.spec.zone.to_string(),
                    cidr_block: format!("{}/{}", subnet.spec.base, subnet.spec.bits),
                    available_ip_address_count: u64::from(subnet.free()),
                    tags,
                    cidr_reservations: Vec::new(),
                }
            })
            .collect()
    }

    fn instances(&self) -> Vec<Instance> {
        let running = self.slots().into_iter().filter(|slot| slot.alive());
        running
            .map(|slot| Instance {
                instance_id: slot.instance.to_string(),
                instance_type: self.objects.instance_type(slot.group).to_owned(),
                state: "running".to_owned(),
                private_ip: slot.primary_ip.to_string(),
                private_dns_name: slot.node_name.to_string(),
                subnet_id: self.plans.get(slot.group).map_or_else(String::new, |plan| plan.subnet.to_string()),
                vpc_id: self.vpc_id(),
                availability_zone: slot.zone.to_string(),
                launch_time_ms: slot.created_ms,
                tags: self.instance_tags(&slot),
            })
            .collect()
    }

    fn network_interfaces(&self) -> Vec<NetworkInterface> {
        let engine = self.engine();
        let ec2 = &engine.account.ec2;
        ec2.enis().map(|eni| self.eni(eni, ec2)).collect()
    }
}
