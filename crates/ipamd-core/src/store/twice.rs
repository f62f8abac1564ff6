//! Addresses that CIDRs of several ENIs have: the original takes each, and pods of each may use the same address.

use std::net::IpAddr;

use super::pool::{Place, Pool, PoolEni};
use crate::id::EniId;

impl PoolEni {
    /// A pod uses the IPv4 address as one of this ENI.
    pub(super) fn uses(&self, address: IpAddr) -> Option<Place> {
        let IpAddr::V4(v4) = address else { return None };
        let address = v4.into();
        let used = self.cidrs.iter().find(|cidr| cidr.contains(address) && cidr.used & cidr.bit(address) != 0);
        used.map(|cidr| Place { address: v4.into(), eni: self.id, block: cidr.block() })
    }
}

impl<K: Ord + Clone> Pool<K> {
    /// Where a pod's address lies.
    pub fn place_of(&self, key: &K) -> Option<Place> {
        let remembered = self.twice.get(key).copied();
        remembered.or_else(|| self.place(*self.owners.get(key)?, true))
    }

    /// A pod has the address as one of this ENI.
    pub fn is_used_on(&self, eni: EniId, address: IpAddr) -> bool {
        self.eni(eni).is_some_and(|eni| eni.uses(address).is_some())
    }

    /// A pod owns an address. Where pods of other ENIs use it, too, each one's place is remembered.
    pub(super) fn own(&mut self, key: K, place: Place) {
        let others = self.enis.iter().filter(|eni| eni.id != place.eni).filter_map(|eni| eni.uses(place.address));
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            self.remember(&others);
            self.twice.insert(key.clone(), place);
        }
        self.owners.insert(key, place.address);
    }

    /// The one pod whose place is not remembered has the one place that is not.
    fn remember(&mut self, places: &[Place]) {
        let free = places.iter().find(|place| !self.twice.values().any(|known| known == *place));
        let Some(place) = free.copied() else { return };
        let mut owners = self.owners.iter().filter(|(_, address)| **address == place.address);
        let owner = owners.find(|(key, _)| !self.twice.contains_key(key)).map(|(key, _)| key.clone());
        if let Some(owner) = owner {
            self.twice.insert(owner, place);
        }
    }

    /// An address that one pod uses needs no place to be remembered, nor does a pod that owns nothing.
    pub(super) fn forget_places(&mut self) {
        if !self.twice.is_empty() {
            let (owners, enis) = (&self.owners, &self.enis);
            let uses = |place: &Place| enis.iter().filter(|eni| eni.uses(place.address).is_some()).count();
            self.twice.retain(|key, place| owners.contains_key(key) && uses(place) > 1);
        }
    }
}
