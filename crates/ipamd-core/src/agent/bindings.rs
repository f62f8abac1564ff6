//! Which interface of the host an allocation was made for: its end, and no name, frees the allocation.
//!
//! A pod that is deleted by force and made again has its name at once, and its interface; the sandbox before it may never get
//! its DEL.

use std::net::IpAddr;

use super::careful::Careful;
use super::careful::binding::Binding;
use super::lane::Lane;
use super::memory::{Agent, PodKey};
use super::veth;
use super::wake::Wake;
use crate::input::HostPod;
use crate::output::HostCall;

/// This long after its reply, milliseconds, an allocation that is bound to no interface is looked at.
pub(crate) const BIND_MS: i64 = 60_000;

impl<K: PodKey> Agent<K> {
    /// A pod was told its address, or was found with it: its interface is expected.
    pub(crate) fn expect_link(&mut self, key: K, ifindex: Option<u32>) {
        let since_ms = self.ms();
        let Some(own) = &mut self.own else { return };
        let binding = own.bindings.entry(key).or_insert(Binding { ifindex, since_ms });
        binding.ifindex = binding.ifindex.or(ifindex);
        self.watch_links();
    }

    /// A plugin says which interface it made.
    pub(crate) fn bind(&mut self, key: &K, ifindex: u32) {
        let known = self.pool.owners().contains_key(key);
        let binding = self.own.as_mut().and_then(|own| own.bindings.get_mut(key)).filter(|_| known);
        if let Some(binding) = binding {
            binding.ifindex = Some(ifindex);
        }
    }

    /// The allocation is gone.
    pub(crate) fn unbind(&mut self, key: &K) {
        if let Some(own) = &mut self.own {
            own.bindings.remove(key);
        }
    }

    /// The lane sleeps until the next allocation without an interface is looked at.
    fn watch_links(&mut self) {
        let Some(own) = &mut self.own else { return };
        let unbound = own.bindings.values().filter(|binding| binding.ifindex.is_none());
        let first = unbound.map(|binding| binding.since_ms.saturating_add(BIND_MS)).min();
        if let Some(at_ms) = first.filter(|_| !own.watches_links) {
            own.watches_links = true;
            self.operations.sleep(Lane::Links, at_ms);
        }
    }

    /// The lane of the look at interfaces is woken; true if an allocation was freed by it.
    pub(crate) fn look_at_links(&mut self, wake: Wake) -> bool {
        if matches!(wake, Wake::Timer) {
            let now_ms = self.ms();
            let due = |own: &Careful<K>| {
                let due = |binding: &Binding| binding.since_ms.saturating_add(BIND_MS) <= now_ms;
                own.bindings.values().any(|binding| binding.ifindex.is_none() && due(binding))
            };
            if self.own.as_deref().is_some_and(due) {
                self.lane(Lane::Links).host(HostCall::ListPods);
                return false;
            }
        }
        let freed = wake.host_pods().is_ok_and(|pods| self.see_links(&pods));
        if let Some(own) = &mut self.own {
            own.watches_links = false;
            let now_ms = self.now.mono_ms;
            // What could not be decided is looked at again.
            for binding in own.bindings.values_mut().filter(|binding| binding.ifindex.is_none()) {
                if binding.since_ms.saturating_add(BIND_MS) <= now_ms {
                    binding.since_ms = now_ms;
                }
            }
        }
        self.watch_links();
        freed
    }

    /// The host shows these interfaces: allocations are bound to those that have their routes, and those without are freed when
    /// it is time. True if any was.
    pub(crate) fn see_links(&mut self, pods: &[HostPod]) -> bool {
        let Some(own) = &self.own else { return false };
        let unbound: Vec<_> = own.bindings.iter().filter(|(_, binding)| binding.ifindex.is_none()).collect();
        let unbound: Vec<(K, i64)> =
            unbound.into_iter().map(|(key, binding)| (key.clone(), binding.since_ms)).collect();
        for (key, _) in &unbound {
            let address = self.address_of(key);
            let link = pods.iter().find(|pod| address.is_some_and(|address| pod.routes.contains(&address)));
            if let (Some(link), Some(own)) = (link, &mut self.own) {
                own.bindings.entry(key.clone()).and_modify(|binding| binding.ifindex = Some(link.ifindex));
            }
        }
        let mut freed = false;
        for (key, since_ms) in unbound {
            let due = since_ms.saturating_add(BIND_MS) <= self.ms();
            if due && !self.is_bound(&key) && self.has_no_link(&key, pods) {
                freed |= self.let_go(&key);
            }
        }
        freed
    }

    fn is_bound(&self, key: &K) -> bool {
        self.own.iter().any(|own| own.bindings.get(key).is_some_and(|binding| binding.ifindex.is_some()))
    }

    fn address_of(&self, key: &K) -> Option<IpAddr> {
        let orphan = || self.held.orphans.iter().find(|orphan| orphan.key == *key);
        let held = self.pool.owners().get(key).copied();
        held.or_else(|| orphan().and_then(|orphan| orphan.ipv4.map(IpAddr::from).or(orphan.ipv6.map(IpAddr::from))))
    }

    /// No interface bears its pod's name, but for those that other allocations are bound to. Of a pod without a name the routes
    /// decide, where there are any.
    fn has_no_link(&self, key: &K, pods: &[HostPod]) -> bool {
        let pod = self.allocations.get(key).map(|allocation| &allocation.pod);
        let orphan = self.held.orphans.iter().find(|orphan| orphan.key == *key).map(|orphan| &orphan.pod);
        let Some(pod) = pod.or(orphan).filter(|pod| !pod.name.is_empty()) else {
            return pods.iter().any(|pod| !pod.routes.is_empty());
        };
        let suffix = veth::suffix(pod);
        let claimed = |ifindex: u32| {
            self.own.iter().flat_map(|own| own.bindings.values()).any(|binding| binding.ifindex == Some(ifindex))
        };
        !pods.iter().any(|pod| pod.name.ends_with(&suffix) && !claimed(pod.ifindex))
    }

    /// An interface is gone: allocations that were made for it are free. True if there were any.
    pub(crate) fn link_gone(&mut self, ifindex: u32) -> bool {
        let of_link = |(_, binding): &(&K, &Binding)| binding.ifindex == Some(ifindex);
        let bound = self.own.iter().flat_map(|own| own.bindings.iter()).filter(of_link);
        let keys: Vec<K> = bound.map(|(key, _)| key.clone()).collect();
        // Every one of them ends.
        keys.iter().filter(|key| self.let_go(key)).count() > 0
    }

    /// An allocation whose interface is gone is free.
    fn let_go(&mut self, key: &K) -> bool {
        let orphans = self.held.orphans.len();
        self.held.when_there(|held| held.orphans.retain(|orphan| orphan.key != *key));
        let freed = self.free_address(key).is_ok() || self.held.orphans.len() < orphans;
        if let Some(own) = &mut self.own {
            own.bindings.remove(key);
            own.links_ended = own.links_ended.saturating_add(u64::from(freed));
        }
        freed
    }
}
