//! The instance metadata service, the API server, the host and the disk.

use std::net::IpAddr;

use ipamd_core::id::VpcId;
use ipamd_core::input::{
    HostError, HostPod, HostReply, Identity, ImdsEni, ImdsError, ImdsErrorKind, ImdsReply, KubeError, KubeReply, Mac,
    StoreError, StoreReply,
};
use ipamd_core::output::{HostCall, ImdsRead, KubeCall, StoreCall};

use super::{Due, INSTANCE, PRIMARY, SUBNET, World, ec2};

impl World {
    pub(super) fn read_imds(&self, read: ImdsRead) -> Result<ImdsReply, ImdsError> {
        if self.imds_down {
            return Err(ImdsError { path: "".into(), kind: ImdsErrorKind::Timeout });
        }
        Ok(match read {
            ImdsRead::Identity => ImdsReply::Identity(Box::new(self.identity())),
            ImdsRead::Enis => {
                let mut enis = match self.exact_ms {
                    Some(_) => self.ec2.shown(self.now_ms, self.imds_lag_ms),
                    None => self.ec2.listed(self.now_ms - self.imds_lag_ms),
                };
                enis.extend(self.stale.iter().map(ec2::imds_eni));
                enis.retain(|eni| !self.imds_hides.contains(&eni.id));
                for eni in &mut enis {
                    if self.unreadable.contains(&eni.id) {
                        eni.ipv4 = None;
                    }
                    self.show_wrongly(eni);
                    let most = self.imds_shows_at_most.unwrap_or(usize::MAX);
                    eni.ipv4_prefixes.truncate(most);
                    eni.ipv4.iter_mut().for_each(|addresses| addresses.truncate(most.saturating_add(1)));
                }
                ImdsReply::Enis(enis)
            }
            ImdsRead::Groups => ImdsReply::Groups(self.groups.clone()),
            ImdsRead::VpcCidrs => ImdsReply::VpcCidrs(self.cidrs.clone()),
        })
    }

    /// Hides addresses and prefixes, and shows addresses that are not there.
    fn show_wrongly(&self, eni: &mut ImdsEni) {
        eni.ipv4_prefixes.retain(|base| !self.imds_hidden.contains(&(eni.id, *base)));
        if let Some(addresses) = &mut eni.ipv4 {
            let primary = addresses.first().copied();
            addresses.retain(|address| Some(*address) == primary || !self.imds_hidden.contains(&(eni.id, *address)));
            addresses.extend(self.imds_added.iter().filter(|(id, _)| *id == eni.id).map(|(_, address)| *address));
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            region: "eu-west-1".into(),
            zone: "eu-west-1a".into(),
            instance: INSTANCE,
            instance_type: "m5.large".into(),
            limits: Some(self.limits),
            vpc: VpcId::from_bits(0x77),
            subnet: SUBNET,
            primary_eni: PRIMARY,
            primary_mac: Mac([2, 0, 0, 0, 0, 1]),
            ipv4: self.ec2.primary_address(),
            ipv6: self.primary6,
        }
    }

    pub(super) fn ask_kube(&mut self, call: &KubeCall) -> Result<KubeReply, KubeError> {
        if !self.api_server {
            return Err(KubeError::Timeout);
        }
        match call {
            KubeCall::GetNode => self.node.clone().map(KubeReply::Node).ok_or(KubeError::NotFound),
            KubeCall::GetEniConfig { name } => self.pods.get(name).cloned().ok_or(KubeError::NotFound),
            KubeCall::GetPod(pod) => {
                // In a comparison a pod that was not named exists and wants nothing.
                let plain = || KubeReply::Pod { uid: "".into(), branch: None, wants_branch: vec![false] };
                let known = self.pods.get(&pod.name).cloned();
                known.or_else(|| self.exact_ms.map(|_| plain())).ok_or(KubeError::NotFound)
            }
            KubeCall::PatchCniNode { feature, .. } => {
                let result = self.cni_node.map(|()| KubeReply::CniNodePatched);
                if let Some(after_ms) =
                    self.trunk_after_ms.take_if(|_| result.is_ok() && *feature == "SecurityGroupsForPods")
                {
                    self.pending.push_back((self.now_ms + after_ms, Due::Trunk));
                }
                result
            }
            KubeCall::AnnotatePod { .. } | KubeCall::WarnMissingPermission { .. } => Ok(KubeReply::Annotated),
        }
    }

    pub(super) fn ask_host(&self, call: &HostCall) -> Result<HostReply, HostError> {
        match call {
            HostCall::SetUpEni { eni, .. } if self.no_link.contains(eni) => Err(HostError::NoLink),
            HostCall::SetUpEni { device, .. } => Ok(HostReply::EniReady { table: u32::from(*device) + 1 }),
            HostCall::ListPods => {
                self.lists_of_pods.set(self.lists_of_pods.get() + 1);
                Ok(HostReply::Pods(self.host_pods()))
            }
            HostCall::ListHostAddrs => Ok(HostReply::HostAddrs(Vec::new())),
            HostCall::ListLinks => {
                let linked = self.ec2.attached().filter(|eni| !self.no_link.contains(&eni.id));
                Ok(HostReply::Links(linked.map(|eni| eni.mac).collect()))
            }
            HostCall::SetUpHost { .. }
            | HostCall::UpdateSnat { .. }
            | HostCall::DropEniRules { .. }
            | HostCall::ForgetConnections { .. }
            | HostCall::RefreshPodRules { .. } => Ok(HostReply::Done),
        }
    }

    pub(super) fn ask_disk(&mut self, call: StoreCall) -> Result<StoreReply<u64>, StoreError> {
        match call {
            StoreCall::ReadCheckpoint => self.file.clone().map(StoreReply::Checkpoint).ok_or(StoreError::Missing),
            StoreCall::ReadSecond => match self.second_error.clone() {
                Some(error) => Err(error),
                None => self.second.clone().map(StoreReply::Second).ok_or(StoreError::Missing),
            },
            StoreCall::WriteCheckpoint { .. } | StoreCall::WriteSecond { .. } if self.disk_full => {
                Err(StoreError::Io("no space left".into()))
            }
            StoreCall::WriteSecond { .. } => {
                self.second = self.core.second_file().map(Box::new);
                Ok(StoreReply::Written)
            }
            StoreCall::WriteCheckpoint { .. } => {
                self.file = Some(self.core.checkpoint().collect());
                Ok(StoreReply::Written)
            }
        }
    }

    fn host_pods(&self) -> Vec<HostPod> {
        if let Some(links) = &self.links {
            return links.clone();
        }
        let Some(veths) = &self.veths else { return Vec::new() };
        if self.exact_ms.is_some() {
            let named = veths.iter().zip(1..).map(|((key, route), ifindex)| HostPod {
                name: format!("eni{}", ipamd_core::veth_suffix(&self.pod_name(*key))).into(),
                ifindex,
                routes: vec![*route],
            });
            return named.collect();
        }
        // Something else on the host has an interface, too, so that there are routes to look at.
        let routes = veths.values().copied().chain([IpAddr::from([192, 0, 2, 1])]);
        let pods = routes.zip(1..).map(|(route, ifindex)| HostPod {
            name: format!("eni{ifindex}").into(),
            ifindex,
            routes: vec![route],
        });
        pods.collect()
    }
}
