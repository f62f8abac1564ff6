//! IPv6: one /80 prefix, addresses lowest first.

use std::net::IpAddr;

use super::pool::{Place, Pool};
use crate::block::Block;

impl<K: Ord + Clone> Pool<K> {
    pub(super) fn assign_ipv6(&mut self, key: K, now_ms: i64) -> Option<Place> {
        let cooldown_ms = self.cooldown_ms;
        let eni = self.enis.iter_mut().find(|eni| !eni.excluded && eni.ipv6.is_some())?;
        let prefix = eni.ipv6.as_mut()?;
        let address = IpAddr::V6(prefix.take(now_ms, cooldown_ms).into());
        let place = Place { address, eni: eni.id, block: Block::Ipv6Prefix(prefix.base) };
        self.owners.insert(key, address);
        Some(place)
    }

    pub(super) fn mark_ipv6(&mut self, address: IpAddr, used: bool) -> Option<Place> {
        let IpAddr::V6(v6) = address else { return None };
        let bits = u128::from(v6);
        let (id, prefix) = self.enis.iter_mut().find_map(|eni| {
            let id = eni.id;
            eni.ipv6.as_mut().filter(|prefix| prefix.contains(bits)).map(|prefix| (id, prefix))
        })?;
        if used {
            prefix.used.insert(bits);
        } else {
            prefix.used.remove(&bits);
        }
        Some(Place { address, eni: id, block: Block::Ipv6Prefix(prefix.base) })
    }

    pub(super) fn rest_ipv6(&mut self, address: IpAddr, now_ms: i64) {
        let IpAddr::V6(v6) = address else { return };
        let bits = u128::from(v6);
        let prefixes = self.enis.iter_mut().filter_map(|eni| eni.ipv6.as_mut());
        if let Some(prefix) = prefixes.into_iter().find(|prefix| prefix.contains(bits)) {
            prefix.freed.push((bits, now_ms));
        }
    }
}
