//! What the original says, read once as it changes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use serde_json::Value;

/// An address that a pod has, or had and when it left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    By(u32),
    FreedAt(i64),
}

/// An ENI of a store.
#[expect(clippy::struct_excessive_bools, reason = "each is one of the store's own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EniState {
    pub(crate) created_ms: i64,
    pub(crate) primary: bool,
    pub(crate) trunk: bool,
    pub(crate) efa: bool,
    pub(crate) excluded: bool,
    pub(crate) cidrs: BTreeMap<Block, BTreeMap<IpAddr, Held>>,
}

/// The gauges and counters that a store moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gauges {
    pub(crate) single: BTreeMap<String, i64>,
    pub(crate) per_cidr: BTreeMap<Block, i32>,
    pub(crate) per_eni: BTreeMap<EniId, i32>,
}

/// Counters and statistics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    pub(crate) total: i64,
    pub(crate) assigned: i64,
    pub(crate) prefixes: i64,
    /// Of IPv4: total, assigned, cooling.
    pub(crate) ipv4: [i64; 3],
    /// Of IPv6: total, assigned.
    pub(crate) ipv6: [i64; 2],
    pub(crate) free_prefixes: i64,
    pub(crate) trunk: String,
}

#[derive(Debug, Default)]
pub(crate) struct Theirs {
    pub(crate) at_us: i64,
    pub(crate) enis: BTreeMap<EniId, EniState>,
    pub(crate) numbers: Numbers,
    pub(crate) gauges: Gauges,
}

pub(crate) fn block(text: &str) -> Block {
    let (base, length) = text.split_once('/').unwrap();
    match length {
        "32" => Block::Address(base.parse().unwrap()),
        "28" => Block::Prefix(base.parse().unwrap()),
        "80" => Block::Ipv6Prefix(base.parse().unwrap()),
        _ => panic!("not a CIDR of these tests: {text}"),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn eni_state(eni: &Value) -> EniState {
    let on = |name: &str| eni[name].as_bool().unwrap();
    let cidrs = list(&eni["v4"]).iter().chain(list(&eni["v6"]));
    let cidrs = cidrs.map(|cidr| {
        let held = list(&cidr["addresses"]).iter().map(|entry| {
            let by = entry["key"].as_str().map(|key| Held::By(pod(key)));
            (
                entry["ip"].as_str().unwrap().parse().unwrap(),
                by.unwrap_or_else(|| Held::FreedAt(ms(&entry["freed_us"]))),
            )
        });
        (block(cidr["cidr"].as_str().unwrap()), held.collect())
    });
    EniState {
        created_ms: ms(&eni["created_us"]),
        primary: on("primary"),
        trunk: on("trunk"),
        efa: on("efa"),
        excluded: on("excluded"),
        cidrs: cidrs.collect(),
    }
}

fn ms(micros: &Value) -> i64 {
    let micros = number(micros);
    assert_eq!(micros % 1_000, 0, "times of these tests are whole milliseconds");
    micros / 1_000
}

/// The pod's number in `aws-cni/c12/eth0`.
fn pod(key: &str) -> u32 {
    key.split('/').nth(1).unwrap().trim_start_matches('c').parse().unwrap()
}

fn label(series: &str) -> &str {
    series.split('"').nth(1).unwrap()
}

impl Theirs {
    pub(crate) fn merge(&mut self, answer: &Value) {
        self.at_us = number(&answer["at_us"]);
        let store = &answer["store"];
        for id in list(&store["gone"]) {
            self.enis.remove(&EniId::parse(id.as_str().unwrap()).unwrap());
        }
        for eni in list(&store["enis"]) {
            self.enis.insert(EniId::parse(eni["id"].as_str().unwrap()).unwrap(), eni_state(eni));
        }
        let counter = |name: &str| number(&store["counters"][name]);
        let stat = |family: &str, name: &str| number(&store["stats"][family][name]);
        assert_eq!(stat("v4", "prefixes"), counter("prefixes"));
        self.numbers = Numbers {
            total: counter("total"),
            assigned: counter("assigned"),
            prefixes: counter("prefixes"),
            ipv4: ["total", "assigned", "cooling"].map(|name| stat("v4", name)),
            ipv6: ["total", "assigned"].map(|name| stat("v6", name)),
            free_prefixes: number(&store["free_prefixes"]),
            trunk: store["trunk"].as_str().unwrap().to_owned(),
        };
        let changed = answer["metrics"]["changed"].as_object().into_iter().flatten();
        for (series, value) in changed {
            let value = number_of(value);
            let small = i32::try_from(value).unwrap_or(i32::MAX);
            if series.starts_with("awscni_assigned_ip_per_cidr{") {
                self.gauges.per_cidr.insert(block(label(series)), small);
            } else if series.starts_with("awscni_assigned_ip_per_eni{") {
                self.gauges.per_eni.insert(EniId::parse(label(series)).unwrap(), small);
            } else {
                self.gauges.single.insert(series.clone(), value);
            }
        }
        for series in list(&answer["metrics"]["gone"]) {
            let series = series.as_str().unwrap();
            if series.starts_with("awscni_assigned_ip_per_cidr{") {
                self.gauges.per_cidr.remove(&block(label(series)));
            } else {
                self.gauges.per_eni.remove(&EniId::parse(label(series)).unwrap());
            }
        }
    }
}

/// A metric: all of these are whole.
#[expect(clippy::cast_possible_truncation, reason = "gauges of these tests are whole and below 2^53")]
fn number_of(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| value.as_f64().unwrap() as i64)
}
