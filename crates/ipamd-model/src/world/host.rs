//! The host's network: links of ENIs that appear some time after the attach, and the interfaces of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cni_types::random::Random;
use ipamd_core::id::InstanceId;
use ipamd_core::input::{HostError, HostPod, HostReply, Mac, PodName};
use ipamd_core::output::HostCall;
use ipamd_core::small_ip::SmallIp;
use ipamd_core::small_map::SmallMap;

use super::ec2::Ec2;
use super::faults::{Faults, Target};

/// A link is looked for this often at most ...
const LINK_TRIES: i64 = 5;
/// ... with this pause in between, milliseconds.
const LINK_PAUSE_MS: i64 = 3_000;

/// The table of the primary ENI: the main one.
const MAIN_TABLE: u32 = 254;

/// What the host is like.
#[derive(Debug, Clone, Copy)]
pub struct HostSpec {
    /// How long after an attach the link is there, milliseconds, from and to.
    pub link_ms: (i64, i64),
    /// How long a call takes, milliseconds, from and to.
    pub latency_ms: (i64, i64),
    /// Connections of pods that are gone stay known, by their addresses.
    pub tracks_connections: bool,
}

impl Default for HostSpec {
    fn default() -> Self {
        Self { link_ms: (100, 900), latency_ms: (5, 60), tracks_connections: true }
    }
}

/// The interface of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Veth {
    pod: u64,
    name: VethName,
    ifindex: u32,
    address: SmallIp,
}

/// The name of the host's end of a pod's interface: `eni` and these 44 bits as 11 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct VethName(u64);

impl VethName {
    /// Pods of one name share it; a pod without a name has one of its own.
    fn of(pod: u64, name: &PodName) -> Self {
        let named = || u64::from_str_radix(&ipamd_core::veth_suffix(name), 16).unwrap_or(0);
        Self(if name.name.is_empty() { pod & 0xfff_ffff_ffff } else { named() })
    }

    fn text(self) -> Box<str> {
        format!("eni{:011x}", self.0).into()
    }
}

/// The host of one instance.
#[derive(Debug)]
pub struct Host {
    spec: Arc<HostSpec>,
    who: InstanceId,
    /// When the link of each attached ENI is there.
    links: SmallMap<Mac, i64>,
    /// Interfaces of pods, by name.
    veths: Vec<Veth>,
    traces: Option<Box<Traces>>,
    boots: u32,
    next_ifindex: u32,
    random: Random,
}

/// What most hosts never have.
#[derive(Debug, Default)]
struct Traces {
    /// Addresses whose rules the agent wrote anew last.
    rules: Vec<IpAddr>,
    /// Addresses of pods that are gone, of which the kernel still tracks connections.
    tracked: BTreeSet<IpAddr>,
    /// Pods that got such an address.
    inherited: u64,
}

impl Host {
    /// The host of an instance that is being launched: the primary ENI's link is there.
    pub fn new(spec: impl Into<Arc<HostSpec>>, who: InstanceId, now_ms: i64, ec2: &Ec2, seed: u64) -> Self {
        let mut links = SmallMap::new();
        for eni in ec2.attached(now_ms, who) {
            links.insert(eni.mac, now_ms);
        }
        let (spec, veths, random) = (spec.into(), Vec::new(), Random::stream(seed, 5));
        Self { spec, who, links, veths, traces: None, boots: 1, next_ifindex: 10, random }
    }

    /// Takes notice of the ENIs that are attached now; the answer holds links that will appear, each with its time.
    pub fn observe(&mut self, now_ms: i64, ec2: &Ec2) -> Vec<(i64, Mac)> {
        let attached: BTreeMap<Mac, i64> = ec2
            .attached(now_ms, self.who)
            .into_iter()
            .map(|eni| (eni.mac, eni.attachment.as_ref().map_or(now_ms, |at| at.attached_ms)))
            .collect();
        self.links.retain(|mac, _| attached.contains_key(mac));
        let mut appear = Vec::new();
        for (mac, attached_ms) in attached {
            if !self.links.contains_key(&mac) {
                let (from_ms, to_ms) = self.spec.link_ms;
                let at_ms = attached_ms.saturating_add(self.random.between(from_ms, to_ms)).max(now_ms);
                self.links.insert(mac, at_ms);
                appear.push((at_ms, mac));
            }
        }
        appear
    }

    /// Does what it is asked: the answer, and how long it takes, milliseconds.
    pub fn execute(
        &mut self,
        now_ms: i64,
        call: &HostCall,
        ec2: &Ec2,
        faults: &mut Faults,
    ) -> (i64, Result<HostReply, HostError>) {
        let took_ms = self.random.between(self.spec.latency_ms.0, self.spec.latency_ms.1);
        let result = match call {
            HostCall::SetUpEni { mac, device, card, .. } => {
                let waited_ms = self.wait_for_link(now_ms, *mac, ec2, faults);
                let Some(waited_ms) = waited_ms else {
                    return (took_ms + (LINK_TRIES - 1) * LINK_PAUSE_MS, Err(HostError::NoLink));
                };
                return (took_ms + waited_ms, Ok(HostReply::EniReady { table: table(*device, *card) }));
            }
            HostCall::ListPods => Ok(HostReply::Pods(self.pods())),
            HostCall::ListLinks => {
                self.observe(now_ms, ec2);
                let there = self.links.iter().filter(|(_, at_ms)| **at_ms <= now_ms);
                Ok(HostReply::Links(there.map(|(mac, _)| *mac).collect()))
            }
            HostCall::ListHostAddrs => Ok(HostReply::HostAddrs(self.addresses(now_ms, ec2))),
            HostCall::RefreshPodRules { ips } => {
                if self.rules() != &**ips {
                    self.traces.get_or_insert_default().rules.clone_from(ips);
                }
                Ok(HostReply::Done)
            }
            HostCall::ForgetConnections { address } => {
                self.forget_connections(*address);
                Ok(HostReply::Done)
            }
            HostCall::SetUpHost { .. } | HostCall::UpdateSnat { .. } | HostCall::DropEniRules { .. } => {
                Ok(HostReply::Done)
            }
        };
        (took_ms, result)
    }

    /// How long it takes until the link is found; `None` if it is not in time.
    fn wait_for_link(&mut self, now_ms: i64, mac: Mac, ec2: &Ec2, faults: &mut Faults) -> Option<i64> {
        self.observe(now_ms, ec2);
        if faults.fails(Target::Link, now_ms) {
            return None;
        }
        let missing_ms = self.links.get(&mac)?.saturating_sub(now_ms).max(0);
        let pauses = (missing_ms + LINK_PAUSE_MS - 1) / LINK_PAUSE_MS;
        (pauses < LINK_TRIES).then_some(pauses * LINK_PAUSE_MS)
    }

    /// A plugin made a pod's interface with the route to its address: its index. One of the same name is replaced: its name and
    /// index.
    pub fn add_pod(&mut self, pod: u64, name: &PodName, address: IpAddr) -> (u32, Option<(Box<str>, u32)>) {
        let ifindex = self.next_ifindex;
        self.next_ifindex = self.next_ifindex.wrapping_add(1).max(10);
        if let Some(traces) = &mut self.traces {
            traces.inherited += u64::from(traces.tracked.contains(&address));
        }
        let veth = Veth { pod, name: VethName::of(pod, name), ifindex, address: address.into() };
        match self.veths.binary_search_by_key(&veth.name, |known| known.name) {
            Ok(index) => {
                let replaced = self.veths.get_mut(index).map(|known| std::mem::replace(known, veth));
                let replaced = replaced.inspect(|replaced| self.track(replaced.address.get()));
                (ifindex, replaced.map(|replaced| (replaced.name.text(), replaced.ifindex)))
            }
            Err(index) => {
                self.veths.reserve_exact(1);
                self.veths.insert(index, veth);
                (ifindex, None)
            }
        }
    }

    /// The interface of this pod goes, if it is there: its name and index.
    pub fn remove_pod(&mut self, pod: u64) -> Option<(Box<str>, u32)> {
        let index = self.veths.iter().position(|veth| veth.pod == pod)?;
        let gone = self.veths.remove(index);
        self.track(gone.address.get());
        Some((gone.name.text(), gone.ifindex))
    }

    fn track(&mut self, address: IpAddr) {
        if self.spec.tracks_connections {
            self.traces.get_or_insert_default().tracked.insert(address);
        }
    }

    /// The kernel forgets connections of an address.
    pub fn forget_connections(&mut self, address: IpAddr) {
        if let Some(traces) = &mut self.traces {
            traces.tracked.remove(&address);
        }
    }

    /// How often the instance started.
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// Pods that got an address while the kernel tracked connections of the pod that had it before.
    pub fn inherited(&self) -> u64 {
        self.traces.as_ref().map_or(0, |traces| traces.inherited)
    }

    /// The instance starts anew: no interface of a pod is left.
    pub fn reboot(&mut self) {
        self.veths.clear();
        if let Some(traces) = &mut self.traces {
            traces.rules.clear();
        }
        self.boots = self.boots.saturating_add(1);
    }

    /// Addresses whose rules were written anew last.
    pub fn rules(&self) -> &[IpAddr] {
        self.traces.as_ref().map_or(&[], |traces| &traces.rules)
    }

    /// Interfaces of pods, by name.
    pub fn pods(&self) -> Vec<HostPod> {
        let pod =
            |veth: &Veth| HostPod { name: veth.name.text(), ifindex: veth.ifindex, routes: vec![veth.address.get()] };
        self.veths.iter().map(pod).collect()
    }

    fn addresses(&self, now_ms: i64, ec2: &Ec2) -> Vec<Ipv4Addr> {
        ec2.attached(now_ms, self.who).into_iter().filter_map(|eni| eni.primary).collect()
    }
}

/// The routing table of an ENI.
fn table(device: u8, card: u8) -> u32 {
    match (device, card) {
        (0, 0) => MAIN_TABLE,
        (device, 0) => u32::from(device) + 1,
        (device, card) => 10_000 + 100 * u32::from(card) + u32::from(device),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use cni_types::limits::InstanceLimits;
    use ipamd_core::id::{EniId, SubnetId};
    use ipamd_core::input::EniKind;

    use super::super::ec2::Ec2Spec;
    use super::super::faults::{Fault, How};
    use super::super::subnet::SubnetFacts;
    use super::*;

    fn set_up(mac: Mac, device: u8) -> HostCall {
        HostCall::SetUpEni { eni: EniId::from_bits(1), mac, device, card: 0, primary: None, trunk: false }
    }

    #[test]
    fn a_link_is_found_once_it_has_appeared() {
        let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), 24);
        let mut ec2 = Ec2::new(Ec2Spec::new(vec![subnet], Vec::new(), 1));
        let who = ec2.launch(0, "m5.large", InstanceLimits::custom(3, 10), SubnetId::from_bits(1)).unwrap();
        let spec = HostSpec { link_ms: (4_000, 4_000), latency_ms: (10, 10), tracks_connections: true };
        let mut host = Host::new(spec, who, 0, &ec2, 1);
        let mut faults = Faults::none(1);
        let primary = ec2.attached(0, who)[0].mac;
        let ready = |table| Ok(HostReply::EniReady { table });
        assert_eq!(host.execute(0, &set_up(primary, 0), &ec2, &mut faults), (10, ready(254)));
        let id = ec2.attach_foreign(1_000, who, EniKind::Interface, &[]).unwrap();
        let eni = ec2.eni(id).unwrap();
        let (mac, attached_ms) = (eni.mac, eni.attachment.as_ref().unwrap().attached_ms);
        assert_eq!(host.observe(attached_ms, &ec2), [(attached_ms + 4_000, mac)]);
        assert!(host.observe(attached_ms + 1, &ec2).is_empty(), "a link is reported once");
        // It is looked for every three seconds.
        assert_eq!(host.execute(attached_ms, &set_up(mac, 1), &ec2, &mut faults), (6_010, ready(2)));
        assert_eq!(host.execute(attached_ms + 4_000, &set_up(mac, 1), &ec2, &mut faults), (10, ready(2)));
        faults.add(Fault::new(Target::Link, How::Fails, 0, i64::MAX));
        let failed = host.execute(attached_ms + 4_000, &set_up(mac, 1), &ec2, &mut faults);
        assert_eq!(failed, (12_010, Err(HostError::NoLink)));
        assert!(ec2.lose_eni(attached_ms + 5_000, id) && host.observe(attached_ms + 5_000, &ec2).is_empty());
    }

    #[test]
    fn an_interface_belongs_to_the_last_pod_of_its_name() {
        let ec2 = Ec2::new(Ec2Spec::new(Vec::new(), Vec::new(), 1));
        let mut host = Host::new(HostSpec::default(), InstanceId::from_bits(1), 0, &ec2, 1);
        let name = PodName { namespace: "default".into(), name: "web-0".into() };
        let address = IpAddr::from([10, 0, 0, 9]);
        assert_eq!(host.add_pod(1, &name, address), (10, None));
        let replaced = host.add_pod(2, &name, address);
        assert_eq!(replaced, (11, Some(("eni0d7763386da".into(), 10))), "the interface of the first pod has gone");
        assert_eq!(host.remove_pod(1), None);
        let shown = HostPod { name: "eni0d7763386da".into(), ifindex: 11, routes: vec![address] };
        assert_eq!(host.pods(), [shown]);
        assert_eq!(host.remove_pod(2), Some(("eni0d7763386da".into(), 11)));
        // Pods without names have interfaces of their own.
        assert_eq!([3, 4].map(|pod| host.add_pod(pod, &PodName::default(), address).1), [None, None]);
        assert_eq!(host.pods().len(), 2);
    }
}
