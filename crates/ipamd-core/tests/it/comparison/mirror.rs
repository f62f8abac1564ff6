//! Our side of a history.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipamd_core::block::Block;
use ipamd_core::chooser::{Chooser, Purpose};
use ipamd_core::id::{EniId, SubnetId};
use ipamd_core::input::EniKind;
use ipamd_core::metrics::Metrics;
use ipamd_core::settings::Mode;
use ipamd_core::store::{Ledger, Pool, PoolEni, Refused, Targets};
use serde_json::{Value, json};

use super::steps::{Entry, Step, cidr_text, eni_id, pick_restored, restored_pod};
use super::theirs::{EniState, Gauges, Held, Numbers, Theirs};

/// Follows a choice of the original, and remembers if it was none of those that ours had.
#[derive(Debug, Default)]
struct Follow {
    eni: Option<EniId>,
    block: Option<Block>,
    address: Option<IpAddr>,
    inadmissible: Option<String>,
}

impl Follow {
    fn index<T: PartialEq + std::fmt::Debug>(&mut self, wanted: Option<T>, candidates: &[T]) -> usize {
        let Some(wanted) = wanted else { return 0 };
        let index = candidates.iter().position(|candidate| *candidate == wanted);
        if index.is_none() && self.inadmissible.is_none() {
            self.inadmissible = Some(format!("the original chose {wanted:?}, ours has the choice of {candidates:?}"));
        }
        index.unwrap_or(0)
    }
}

impl Chooser for Follow {
    fn eni(&mut self, _purpose: Purpose, candidates: &[EniId]) -> usize {
        self.index(self.eni, candidates)
    }

    fn block(&mut self, _eni: EniId, candidates: &[Block]) -> usize {
        self.index(self.block, candidates)
    }

    fn address(&mut self, candidates: &[IpAddr]) -> usize {
        self.index(self.address, candidates)
    }

    fn blocks(&mut self, _eni: EniId, candidates: Vec<Block>, _count: usize) -> Vec<Block> {
        candidates
    }

    fn jitter(&mut self, _below_ms: i64) -> i64 {
        0
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    mode: Mode,
    pub(crate) pool: Pool<u32>,
    pub(crate) metrics: Metrics,
    pub(crate) now_ms: i64,
    writes_fail: bool,
    restored: u32,
}

/// What a step comes to: nothing, a result, or the class of an error.
type Outcome = Result<Value, &'static str>;

fn class(refused: Refused) -> &'static str {
    match refused {
        Refused::DuplicateEni => "duplicate-eni",
        Refused::UnknownEni => "unknown-eni",
        Refused::EniInUse => "eni-in-use",
        Refused::DuplicateCidr | Refused::AddressInUse => "cidr-exists",
        Refused::UnknownCidr => "unknown-cidr",
        Refused::CidrInUse => "cidr-in-use",
        Refused::NoAddress => "no-address",
        Refused::UnknownPod => "unknown-pod",
        Refused::UnknownAddress | Refused::KeyInUse => "not an error of the original",
    }
}

fn differs(what: &str, ours: &impl std::fmt::Debug, theirs: &impl std::fmt::Debug) -> Result<(), String> {
    Err(format!("{what} differ\n  ours:   {ours:?}\n  theirs: {theirs:?}"))
}

impl Mirror {
    pub(crate) fn new(mode: Mode) -> Self {
        let metrics = Metrics::new(0, mode == Mode::Ipv6);
        Self { mode, pool: Pool::new(30_000), metrics, now_ms: 0, writes_fail: false, restored: 0 }
    }

    fn ledger(&mut self) -> Ledger<'_, u32> {
        Ledger { pool: &mut self.pool, metrics: &mut self.metrics }
    }

    /// Does what the original did. `answer` is its answer to this step.
    pub(crate) fn play(&mut self, step: &Step, answer: &Value, theirs: &Theirs) -> Result<(), String> {
        let ours = match step {
            Step::Assign(pod) => self.assign((*pod).into(), answer, theirs)?,
            Step::Restore(entries) => self.restore(entries, Some(theirs)),
            Step::RemoveUnused { warm_ip, minimum_ip, warm_prefix } => {
                let targets = self.targets([0, *warm_ip, *minimum_ip, *warm_prefix], 1, u32::MAX);
                self.remove_unused(&targets, answer)?
            }
            step => self.change(step),
        };
        let failed = answer["failed"]["class"].as_str();
        match ours {
            Err(class) if failed == Some(class) => Ok(()),
            Ok(ours) if failed.is_none() => {
                let result = &answer["result"];
                let same = ours.as_object().is_none_or(|ours| ours.iter().all(|(name, ours)| result[name] == *ours));
                if same { Ok(()) } else { differs("results", &ours, result) }
            }
            ours => differs("results", &ours, answer),
        }
    }

    /// Does a step at which nothing is chosen.
    fn change(&mut self, step: &Step) -> Outcome {
        let now_ms = self.now_ms;
        match step {
            Step::Pass(ms) => {
                self.now_ms += ms;
                self.pool.clean_up(self.now_ms);
                Ok(Value::Null)
            }
            Step::AddEni { eni, kind, primary } => {
                let eni = PoolEni::new(eni_id(*eni), now_ms, *kind, *primary, SubnetId::from_bits(0));
                done(self.ledger().add_eni(eni))
            }
            Step::RemoveEni { eni, force } => done(self.ledger().remove_eni(eni_id(*eni), *force)),
            Step::Exclude { eni, excluded } => done(self.ledger().exclude(eni_id(*eni), *excluded)),
            Step::AddCidr(cidr) => done(self.ledger().add_block(eni_id(cidr.eni), cidr.block())),
            Step::DelCidr { cidr, force } => {
                done(self.ledger().remove_block(eni_id(cidr.eni), cidr.block(), *force).map(|_| ()))
            }
            Step::Unassign(pod) => self.unassign((*pod).into()),
            Step::UnassignRestored(index) => self.unassign(pick_restored(*index, self.restored)),
            Step::FailWrites(fail) => {
                self.writes_fail = *fail;
                Ok(Value::Null)
            }
            Step::Restore(entries) => self.restore(entries, None),
            Step::Freeable(eni) => Ok(self.freeable(eni_id(*eni))),
            Step::FreeableEni => Ok(json!({"exists": self.pool.has_idle_eni()})),
            Step::Allocatable { slots, custom } => {
                let mut enis: Vec<_> = self.pool.allocatable(*slots, *custom).iter().map(EniId::to_string).collect();
                enis.sort();
                Ok(json!({"enis": enis}))
            }
            Step::Targets { warm_eni, warm_ip, minimum_ip, warm_prefix, slots, max_pods } => {
                Ok(self.decide(&self.targets([*warm_eni, *warm_ip, *minimum_ip, *warm_prefix], *slots, *max_pods)))
            }
            Step::Assign(_) | Step::RemoveUnused { .. } => Err("follows the original"),
        }
    }

    /// Does a step with choices of our own; the error is why nothing changed.
    pub(crate) fn play_alone(&mut self, step: &Step, chooser: &mut dyn Chooser) -> Result<(), &'static str> {
        let (mode, now_ms) = (self.mode, self.now_ms);
        match step {
            Step::Assign(pod) => {
                let pod = (*pod).into();
                let given = self.ledger().assign(pod, mode, now_ms, chooser).map_err(class)?;
                if given.repeated {
                    return Ok(());
                }
                if self.writes_fail {
                    self.ledger().withdraw(&pod);
                } else {
                    self.ledger().assign_written(given.place);
                }
                Ok(())
            }
            Step::RemoveUnused { warm_ip, minimum_ip, warm_prefix } => {
                let targets = self.targets([0, *warm_ip, *minimum_ip, *warm_prefix], 1, u32::MAX);
                let removed = self.ledger().remove_unused_eni(&targets, now_ms, chooser);
                removed.map(|_| ()).ok_or("no ENI is unused")
            }
            step => self.change(step).map(|_| ()),
        }
    }

    fn targets(&self, [warm_eni, warm_ip, minimum_ip, warm_prefix]: [u32; 4], slots: u32, max_pods: u32) -> Targets {
        let prefix_mode = self.mode != Mode::Secondary;
        Targets { prefix_mode, warm_ip, minimum_ip, warm_eni, warm_prefix, slots, max_pods }
    }

    /// The mode of IPv4 that a store is in: with prefixes, also where it serves IPv6.
    fn ipv4_mode(&self) -> Mode {
        if self.mode == Mode::Secondary { Mode::Secondary } else { Mode::Prefix }
    }

    fn decide(&self, targets: &Targets) -> Value {
        let stats = self.pool.stats(self.ipv4_mode(), self.now_ms);
        let to_allocate = if targets.prefix_mode {
            targets.prefixes_wanted(&stats).min(targets.slots)
        } else {
            targets.addresses_wanted(&stats, 0)
        };
        let need = targets.need(&stats);
        json!({
            "ip_targets": need.is_some(), "short": need.unwrap_or_default().short, "over": need.unwrap_or_default().over,
            "too_low": targets.too_low(&stats), "too_high": targets.surplus(&stats) > 0, "to_allocate": to_allocate,
            "extra_enis": targets.enis_to_spare(&stats, self.pool.has_idle_eni()),
        })
    }

    fn freeable(&self, id: EniId) -> Value {
        let texts = |mut blocks: Vec<Block>| {
            blocks.sort_by_key(|block| match block {
                Block::Address(base) | Block::Prefix(base) => (0, u128::from(u32::from(*base))),
                Block::Ipv6Prefix(base) => (1, u128::from(*base)),
            });
            blocks.into_iter().map(cidr_text).collect::<Vec<_>>()
        };
        let (addresses, prefixes) = (self.pool.unused_blocks(id, false), self.pool.unused_blocks(id, true));
        json!({"cidrs": texts(self.pool.free_blocks(id)), "addresses": texts(addresses), "prefixes": texts(prefixes)})
    }

    fn unassign(&mut self, pod: u32) -> Outcome {
        let now_ms = self.now_ms;
        let place = self.ledger().unassign(&pod, now_ms).map_err(class)?;
        if self.writes_fail {
            self.ledger().undo_unassign(pod, place);
            return Err("checkpoint");
        }
        self.ledger().unassign_written(place);
        Ok(json!({"ip": place.address, "eni": place.eni.to_string()}))
    }

    /// Of the ENIs that have an entry's address, the one that the original took. Where it took none, it came upon one on which
    /// another pod has the address.
    fn restores_on(&self, pod: u32, address: IpAddr, theirs: Option<&Theirs>) -> Option<EniId> {
        let enis = self.pool.holders(address);
        let Some(theirs) = theirs else { return enis.first().copied() };
        let has = |id: &&EniId| {
            let cidrs = theirs.enis.get(*id).into_iter().flat_map(|eni| eni.cidrs.values());
            cidrs.into_iter().any(|held| held.get(&address) == Some(&Held::By(pod)))
        };
        let taken = |id: &&EniId| self.pool.is_used_on(**id, address);
        enis.iter().find(has).or_else(|| enis.iter().find(taken)).or(enis.first()).copied()
    }

    fn restore(&mut self, entries: &[Entry], theirs: Option<&Theirs>) -> Outcome {
        let first = self.restored;
        self.restored += u32::try_from(entries.len()).unwrap();
        let ipv6 = self.mode == Mode::Ipv6;
        let here = |entry: &&Entry| entry.linked && entry.address().is_ipv6() == ipv6;
        for (pod, entry) in (first..).zip(entries).filter(|(_, entry)| here(entry)) {
            let Some(eni) = self.restores_on(restored_pod(pod), entry.address(), theirs) else { continue };
            match self.ledger().recover(restored_pod(pod), entry.address(), eni) {
                Ok(_) | Err(Refused::UnknownAddress) => {}
                Err(refused) => return Err(class(refused)),
            }
        }
        Ok(Value::Null)
    }

    fn remove_unused(&mut self, targets: &Targets, answer: &Value) -> Result<Outcome, String> {
        let theirs = answer["result"]["eni"].as_str().filter(|id| !id.is_empty());
        let mut follow = Follow { eni: theirs.map(|id| EniId::parse(id).unwrap()), ..Follow::default() };
        let now_ms = self.now_ms;
        let removed = self.ledger().remove_unused_eni(targets, now_ms, &mut follow);
        follow.inadmissible.map_or(Ok(()), Err)?;
        Ok(Ok(json!({"eni": removed.map(|id| id.to_string()).unwrap_or_default()})))
    }

    fn assign(&mut self, pod: u32, answer: &Value, theirs: &Theirs) -> Result<Outcome, String> {
        if answer["failed"]["class"] == "checkpoint" {
            return self.assign_in_vain(pod, theirs);
        }
        let address: Option<IpAddr> = answer["result"]["ip"].as_str().map(|ip| ip.parse().unwrap());
        let place = address.and_then(|address| {
            theirs.enis.iter().find_map(|(id, eni)| {
                let block = eni.cidrs.iter().find(|(_, held)| held.get(&address) == Some(&Held::By(pod)));
                block.map(|(block, _)| (*id, *block))
            })
        });
        let (eni, block) = place.unzip();
        let mut follow = Follow { eni, block, address, inadmissible: None };
        let (mode, now_ms) = (self.mode, self.now_ms);
        let mut ledger = self.ledger();
        let given = match ledger.assign(pod, mode, now_ms, &mut follow) {
            Ok(given) => given,
            Err(refused) => return Ok(Err(class(refused))),
        };
        follow.inadmissible.map_or(Ok(()), Err)?;
        if !given.repeated {
            ledger.assign_written(given.place);
        }
        Ok(Ok(json!({"ip": given.place.address})))
    }

    /// The checkpoint could not be written. The original does not say which CIDR it had chosen: it must be one of those that
    /// ours could choose, such that both sides are the same afterwards.
    fn assign_in_vain(&mut self, pod: u32, theirs: &Theirs) -> Result<Outcome, String> {
        let enis: Vec<_> = self.pool.enis().iter().map(|eni| (eni.id, eni.blocks().collect::<Vec<_>>())).collect();
        let mut last = "the original chose a CIDR, ours has none".to_owned();
        for (eni, block) in enis.into_iter().flat_map(|(id, blocks)| blocks.into_iter().map(move |block| (id, block))) {
            let mut tried = self.clone();
            let mut follow = Follow { eni: Some(eni), block: Some(block), ..Follow::default() };
            let mut ledger = Ledger { pool: &mut tried.pool, metrics: &mut tried.metrics };
            let given = ledger.assign(pod, self.mode, self.now_ms, &mut follow);
            if follow.inadmissible.is_some() || given.is_err() {
                continue;
            }
            ledger.withdraw(&pod);
            match tried.compare(theirs) {
                Ok(()) => {
                    *self = tried;
                    return Ok(Err("checkpoint"));
                }
                Err(difference) => last = difference,
            }
        }
        Err(last)
    }

    /// Everything that can be seen of the two sides.
    pub(crate) fn compare(&self, theirs: &Theirs) -> Result<(), String> {
        let numbers = self.numbers(&theirs.numbers.trunk);
        if numbers != theirs.numbers {
            return differs("counters or statistics", &numbers, &theirs.numbers);
        }
        let enis = self.enis();
        if enis != theirs.enis {
            return differs("stores", &enis, &theirs.enis);
        }
        let gauges = self.gauges();
        if gauges != theirs.gauges {
            return differs("gauges", &gauges, &theirs.gauges);
        }
        if self.now_ms * 1_000 == theirs.at_us { Ok(()) } else { differs("clocks", &self.now_ms, &theirs.at_us) }
    }

    /// `trunk` is the one that the original named: of several it names any.
    fn numbers(&self, trunk: &str) -> Numbers {
        let stats = self.pool.stats(self.ipv4_mode(), self.now_ms);
        let (total, assigned) = self.pool.ipv6_addresses();
        let trunks = self.pool.enis().iter().filter(|eni| eni.kind == EniKind::Trunk).map(|eni| eni.id.to_string());
        let trunks: Vec<_> = trunks.collect();
        let named = trunks.iter().find(|id| *id == trunk).or(trunks.first());
        Numbers {
            total: self.pool.total(),
            assigned: self.pool.assigned(),
            prefixes: self.pool.prefixes(),
            ipv4: [stats.total.into(), stats.assigned.into(), stats.cooling.into()],
            ipv6: [total, assigned.into()],
            free_prefixes: stats.free_prefixes.into(),
            trunk: named.cloned().unwrap_or_default(),
        }
    }

    fn enis(&self) -> BTreeMap<EniId, EniState> {
        let state = |eni: &PoolEni| EniState {
            created_ms: eni.created_ms,
            primary: eni.primary,
            trunk: eni.kind == EniKind::Trunk,
            efa: eni.kind == EniKind::Efa,
            excluded: eni.excluded,
            cidrs: eni.blocks().map(|block| (block, BTreeMap::new())).collect(),
        };
        let mut enis: BTreeMap<_, _> = self.pool.enis().iter().map(|eni| (eni.id, state(eni))).collect();
        let freed = self.pool.enis().iter().flat_map(|eni| eni.freed().map(|(address, at)| (eni.id, address, at)));
        let freed =
            freed.map(|(eni, address, at_ms)| (eni, block_of(&enis[&eni], address), address, Held::FreedAt(at_ms)));
        let owned = self.pool.owners().keys().map(|pod| {
            let place = self.pool.place_of(pod).unwrap();
            (place.eni, place.block, place.address, Held::By(*pod))
        });
        for (eni, block, address, held) in freed.chain(owned).collect::<Vec<_>>() {
            let addresses = enis.get_mut(&eni).unwrap().cidrs.get_mut(&block).unwrap();
            assert_eq!(addresses.insert(address, held), None, "{address} is twice in the store");
        }
        enis
    }

    fn gauges(&self) -> Gauges {
        let metrics = &self.metrics;
        let count = |count: u64| i64::try_from(count).unwrap();
        let single = [
            ("awscni_assigned_ip_addresses", metrics.assigned),
            ("awscni_eni_allocated", metrics.eni_allocated),
            ("awscni_force_removed_enis", count(metrics.force_removed_enis)),
            ("awscni_force_removed_ips", count(metrics.force_removed_ips)),
            ("awscni_no_available_ip_addresses", count(metrics.no_available)),
            ("awscni_total_ip_addresses", metrics.total),
            ("awscni_total_ipv4_prefixes", metrics.prefixes),
        ];
        Gauges {
            single: single.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            per_cidr: metrics.per_cidr.iter().collect(),
            per_eni: metrics.per_eni.iter().map(|(eni, pods)| (*eni, *pods)).collect(),
        }
    }
}

fn done(result: Result<(), Refused>) -> Outcome {
    result.map(|()| Value::Null).map_err(class)
}

/// The CIDR of an ENI that an address is in.
fn block_of(eni: &EniState, address: IpAddr) -> Block {
    let inside = |block: &&Block| match (block, address) {
        (Block::Address(held), IpAddr::V4(address)) => *held == address,
        (Block::Prefix(base), IpAddr::V4(address)) => u32::from(*base) >> 4 == u32::from(address) >> 4,
        (Block::Ipv6Prefix(base), IpAddr::V6(address)) => u128::from(*base) >> 48 == u128::from(address) >> 48,
        _ => false,
    };
    *eni.cidrs.keys().find(inside).unwrap()
}
