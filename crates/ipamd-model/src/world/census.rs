//! What a world looks like at a moment, and what it must never look like.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipamd_core::id::EniId;

use super::agent::Agents;
use super::disk::Content;
use super::ec2::eni::EniState;
use super::run::World;

/// What is wrong with the pods of one node. Nothing of it may ever happen to a pod that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harm {
    /// Addresses that two pods have.
    pub shared: BTreeSet<IpAddr>,
    /// Pods whose address is on no ENI of their instance.
    pub stranded: BTreeSet<u64>,
}

impl Harm {
    /// Nothing is wrong.
    pub fn is_none(&self) -> bool {
        self.shared.is_empty() && self.stranded.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.shared.extend(other.shared);
        self.stranded.extend(other.stranded);
    }
}

impl<F: Agents> World<F> {
    /// What is wrong with the pods of a node now.
    pub fn harm(&self, index: usize) -> Harm {
        let mut harm = Harm::default();
        let Some(node) = self.node(index) else { return harm };
        let own = |state| matches!(state, EniState::Attached | EniState::Attaching);
        let enis = self.account.ec2.bound(node.instance).filter(|eni| own(eni.state(self.now_ms())));
        let held: BTreeSet<IpAddr> =
            enis.flat_map(|eni| eni.every_ipv4().map(IpAddr::from).collect::<Vec<_>>()).collect();
        let mut seen = BTreeSet::new();
        for (pod, address) in node.kubelet.running() {
            if !seen.insert(address) {
                harm.shared.insert(address);
            }
            if address.is_ipv4() && !held.contains(&address) {
                harm.stranded.insert(pod);
            }
        }
        harm
    }

    /// Lets this much time pass and looks at a node every second: all that was ever wrong with its pods.
    pub fn watch(&mut self, index: usize, ms: i64) -> Harm {
        let until_ms = self.now_ms().saturating_add(ms);
        let mut harm = self.harm(index);
        while self.now_ms() < until_ms {
            self.run_to(until_ms.min(self.now_ms().saturating_add(1_000)));
            harm.add(self.harm(index));
        }
        harm
    }

    /// Lets time pass, second by second, until something is so; false if it is not in time.
    pub fn until(&mut self, limit_ms: i64, so: impl Fn(&Self) -> bool) -> bool {
        let until_ms = self.now_ms().saturating_add(limit_ms);
        while !so(self) {
            if self.now_ms() >= until_ms {
                return false;
            }
            self.pass(1_000);
        }
        true
    }

    /// Sandboxes that run on a node but are not in its checkpoint, and the other way round.
    pub fn unlike_checkpoint(&self, index: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let Some(node) = self.node(index) else { return (BTreeSet::new(), BTreeSet::new()) };
        let live: BTreeSet<u64> = node.kubelet.running().filter_map(|(pod, _)| node.kubelet.sandbox(pod)).collect();
        let kept: BTreeSet<u64> = match node.disk.content() {
            Content::Entries(entries) => entries.iter().map(|entry| entry.key).collect(),
            _ => BTreeSet::new(),
        };
        (live.difference(&kept).copied().collect(), kept.difference(&live).copied().collect())
    }

    /// How many pods of a node have their address on which ENI.
    pub fn pods_by_eni(&self, index: usize) -> BTreeMap<EniId, usize> {
        let Some(node) = self.node(index) else { return BTreeMap::new() };
        let addresses: BTreeSet<IpAddr> = node.kubelet.running().map(|(_, address)| address).collect();
        let attached = self.account.ec2.attached(self.now_ms(), node.instance);
        let count = |eni: &super::ec2::eni::Eni| {
            eni.every_ipv4().filter(|address| addresses.contains(&IpAddr::from(*address))).count()
        };
        attached.into_iter().map(|eni| (eni.id, count(eni))).collect()
    }
}
