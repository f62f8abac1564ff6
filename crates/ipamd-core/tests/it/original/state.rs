//! The store of both sides in one form.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni_testkit::original::View;
use ipamd_core::block::Block;
use ipamd_core::id::{EniId, SubnetId};
use ipamd_core::input::EniKind;
use serde_json::Value;

use super::calls::block;
use crate::comparison::theirs::list;
use crate::world::World;

/// Who has an address, or since when no pod has it, milliseconds since the history began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    By(u64),
    FreedAt(i64),
}

/// An ENI of the store.
#[expect(clippy::struct_excessive_bools, reason = "each is one of the store's own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EniState {
    pub(super) created_ms: i64,
    primary: bool,
    trunk: bool,
    efa: bool,
    excluded: bool,
    subnet: SubnetId,
    pub(super) cidrs: BTreeMap<Block, BTreeMap<IpAddr, Held>>,
}

/// The ENIs of a store, and its raw counters of addresses, prefixes and assigned addresses.
pub(super) type State = (BTreeMap<EniId, EniState>, [i64; 3]);

fn ms(us: &Value) -> i64 {
    us.as_i64().unwrap().div_euclid(1_000)
}

/// The original's.
pub(super) fn theirs(view: &View) -> State {
    let enis = view.enis.iter().map(|(id, eni)| (EniId::parse(id).unwrap(), their_eni(eni))).collect();
    let counters =
        if view.store.is_null() { [0; 3] } else { ["total", "prefixes", "assigned"].map(|name| view.counter(name)) };
    (enis, counters)
}

fn their_eni(eni: &Value) -> EniState {
    let on = |name: &str| eni[name].as_bool().unwrap();
    let held = |entry: &Value| {
        let pod = entry["key"].as_str().map(|key| Held::By(pod(key)));
        (entry["ip"].as_str().unwrap().parse().unwrap(), pod.unwrap_or_else(|| Held::FreedAt(ms(&entry["freed_us"]))))
    };
    let cidrs = list(&eni["v4"]).iter().chain(list(&eni["v6"]));
    EniState {
        created_ms: ms(&eni["created_us"]),
        primary: on("primary"),
        trunk: on("trunk"),
        efa: on("efa"),
        excluded: on("excluded"),
        subnet: SubnetId::parse(eni["subnet"].as_str().unwrap()).unwrap(),
        cidrs: cidrs.map(|cidr| (block(cidr), list(&cidr["addresses"]).iter().map(held).collect())).collect(),
    }
}

/// An entry of the original's checkpoint: the pod, its address, and when it got it, milliseconds since the history began.
pub(super) fn entry(entry: &Value) -> (u64, IpAddr, i64) {
    let address = entry["ipv4"].as_str().or(entry["ipv6"].as_str()).unwrap();
    (pod(entry["key"].as_str().unwrap()), address.parse().unwrap(), ms(&entry["assigned_us"]))
}

/// The pod's number in `aws-cni/c12/eth0`.
fn pod(key: &str) -> u64 {
    key.split('/').nth(1).unwrap().trim_start_matches('c').parse().unwrap()
}

/// The core's.
pub(super) fn ours(world: &World, base_ms: i64) -> State {
    let pool = world.core.pool();
    let mut enis: BTreeMap<_, _> = pool
        .enis()
        .iter()
        .map(|eni| {
            let state = EniState {
                created_ms: eni.created_ms - base_ms,
                primary: eni.primary,
                trunk: eni.kind == EniKind::Trunk,
                efa: eni.kind == EniKind::Efa,
                excluded: eni.excluded,
                subnet: eni.subnet,
                cidrs: eni.blocks().map(|block| (block, BTreeMap::new())).collect(),
            };
            (eni.id, state)
        })
        .collect();
    let freed = pool.enis().iter().flat_map(|eni| eni.freed().map(|(address, at_ms)| (eni.id, address, at_ms)));
    for (eni, address, at_ms) in freed.collect::<Vec<_>>() {
        let cidrs = &mut enis.get_mut(&eni).unwrap().cidrs;
        let block = *cidrs.keys().find(|block| contains(**block, address)).unwrap();
        cidrs.get_mut(&block).unwrap().insert(address, Held::FreedAt(at_ms - base_ms));
    }
    for pod in pool.owners().keys() {
        let place = pool.place_of(pod).unwrap();
        let addresses = enis.get_mut(&place.eni).unwrap().cidrs.get_mut(&place.block).unwrap();
        assert_eq!(addresses.insert(place.address, Held::By(*pod)), None, "{place:?} is twice in the store");
    }
    (enis, [pool.total(), pool.prefixes(), pool.assigned()])
}

/// The pods of the original's store, each with its ENI and address.
pub(super) fn owners(view: &View) -> BTreeMap<u64, (EniId, IpAddr)> {
    let enis = theirs(view).0.into_iter();
    let held =
        enis.flat_map(|(id, eni)| eni.cidrs.into_values().flatten().map(move |(address, held)| (id, address, held)));
    let owned = held.filter_map(|(id, address, held)| match held {
        Held::By(pod) => Some((pod, (id, address))),
        Held::FreedAt(_) => None,
    });
    owned.collect()
}

/// What the original took for a pod between two views: an address that changed hands, or the CIDR of one that came back at once,
/// with its first address.
pub(super) fn taken(before: &View, after: &View) -> Option<(EniId, Block, IpAddr)> {
    let (known, enis) = (theirs(before).0, theirs(after).0);
    let changed = enis.iter().find_map(|(id, eni)| {
        let known = known.get(id)?;
        eni.cidrs.iter().find_map(|(block, addresses)| {
            let known = known.cidrs.get(block)?;
            let changed = addresses.iter().find(|(address, held)| known.get(address) != Some(held));
            changed.map(|(address, _)| (*id, *block, *address))
        })
    });
    changed.or_else(|| {
        let new = after.metrics.keys().filter(|series| !before.metrics.contains_key(*series));
        let new =
            new.filter_map(|series| series.strip_prefix("awscni_assigned_ip_per_cidr{cidr=\"")?.strip_suffix("\"}"));
        let block = new.map(crate::comparison::theirs::block).next()?;
        let (id, _) = enis.iter().find(|(_, eni)| eni.cidrs.contains_key(&block))?;
        let address = match block {
            Block::Address(address) | Block::Prefix(address) => address.into(),
            Block::Ipv6Prefix(base) => base.into(),
        };
        Some((*id, block, address))
    })
}

/// Whether an address is in a CIDR.
pub(super) fn contains(block: Block, address: IpAddr) -> bool {
    match (block, address) {
        (Block::Address(held), IpAddr::V4(address)) => held == address,
        (Block::Prefix(base), IpAddr::V4(address)) => u32::from(base) >> 4 == u32::from(address) >> 4,
        (Block::Ipv6Prefix(base), IpAddr::V6(address)) => u128::from(base) >> 48 == u128::from(address) >> 48,
        _ => false,
    }
}
