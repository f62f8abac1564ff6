//! Each finding is named in time, alone, for the nodes that have it, and counts the requests that are refused for it.

use std::collections::{BTreeMap, BTreeSet};

use cni_insight::catalogue::FindingId as Id;
use cni_insight::finding::Conclusion;
use cni_sim::truth::TrueCause;

use super::play::{Play, Round};
use super::rows::{NOT_SHOWN_YET, ROWS, Row};

const SEED: u64 = 7;
const INTERVAL_S: i64 = 30;

/// How long what a finding is about must last before it has its severity, milliseconds.
fn hold_ms(id: Id, interval_s: i64) -> i64 {
    let interval_ms = interval_s * 1_000;
    match id {
        // Refusals that pause have lasted when they fill half of five minutes.
        Id::CooldownOnFullNode | Id::PoolCappedByMaxPods | Id::WarmTargetsZero | Id::WarmPoolTooSmall => 300_000,
        // The agent waits this long for an ENI to appear.
        Id::EniAttachStuck => 190_000,
        // The rows name the time of the third event.
        Id::AgentRestarting | Id::PoolOutOfStep => 0,
        _ => id.hold().rounds_of(interval_ms).saturating_mul(interval_ms),
    }
}

/// The findings that name a true cause. Whether a pool that is behind its pods is still growing or too small is a question of time.
pub(super) fn names(cause: TrueCause) -> &'static [Id] {
    match cause {
        TrueCause::MetadataDown => &[Id::InstanceMetadataFailing],
        TrueCause::ProvisioningOff => &[Id::ProvisioningDisabled],
        TrueCause::NoIpv6Prefix => &[Id::Ipv6PrefixMissing],
        TrueCause::MaxEni => &[Id::MaxEniSetting],
        TrueCause::SubnetExcluded => &[Id::SubnetExcludedByTag],
        TrueCause::MorePodsThanAddresses => &[Id::MaxPodsTooHigh, Id::NodeFull],
        TrueCause::AddressesRest => &[Id::CooldownOnFullNode],
        TrueCause::PodLimitReached => &[Id::PoolCappedByMaxPods],
        TrueCause::Cordoned => &[Id::NodeCordoned],
        TrueCause::MinimumReached => &[Id::MinimumWithoutWarm],
        TrueCause::CredentialsRefused => &[Id::IamRoleUnusable],
        TrueCause::ActionNotAllowed => &[Id::IamPermissionMissing],
        TrueCause::NoFreeBlock => &[Id::SubnetFragmented],
        TrueCause::NoFreeAddress => &[Id::SubnetExhausted],
        TrueCause::SlotsTaken => &[Id::EniSlotsTaken],
        TrueCause::QuotaUsedUp => &[Id::EniQuotaReached],
        TrueCause::EniConfigMissing => &[Id::CauseUnknown, Id::WarmPoolTooSmall],
        TrueCause::EniConfigWrong => &[Id::EniconfigInvalid],
        TrueCause::Throttled => &[Id::Ec2Throttled],
        TrueCause::NoAnswer => &[Id::Ec2Unreachable],
        TrueCause::OtherCode => &[Id::Ec2RefusesOtherwise],
        TrueCause::AnswerLate => &[Id::PoolLoopStalled],
        TrueCause::NewEniHidden => &[Id::EniAttachStuck],
        TrueCause::TargetsZero => &[Id::WarmTargetsZero],
        TrueCause::PoolBehindPods => &[Id::PoolGrowing, Id::WarmPoolTooSmall],
    }
}

impl Row {
    /// Its agents count refused requests: those from v1.16.
    fn counts_refusals(&self) -> bool {
        !self.version.is_some_and(|version| version.starts_with("v1.12")) && !self.group.contains("v1.12")
    }

    /// The same in this row's cluster.
    fn names(&self, cause: TrueCause) -> Vec<Id> {
        let is_its_own = self.causes.contains(&cause) && cause != TrueCause::PoolBehindPods;
        if is_its_own { vec![self.id] } else { names(cause).to_vec() }
    }
}

/// What a play came to.
pub(super) struct Played {
    pub(super) rounds: Vec<Round>,
    pub(super) nodes: BTreeSet<String>,
}

/// Plays a row for as long as its finding may take, and ten minutes more.
pub(super) fn play(row: &Row, (seed, interval_s): (u64, i64)) -> Played {
    let mut play = Play::of(&row.scenario(), (seed, interval_s), row.rights);
    let length_ms = match row.id {
        // The agent gives a call up after five minutes, and makes it again.
        Id::PoolLoopStalled => 300_000,
        _ => row.from_s * 1_000 + hold_ms(row.id, interval_s) + 480_000,
    };
    let rounds = (0..=length_ms / (interval_s * 1_000)).map(|_| play.round()).collect();
    Played { rounds, nodes: play.nodes_of(Some("all")) }
}

impl Played {
    /// One line for each round.
    pub(super) fn log(&self) -> String {
        let line = |round: &Round| {
            let found = round.conclusion.findings.iter();
            let found: Vec<String> = found
                .map(|finding| format!("{} {} ({})", finding.severity, finding.identity.id, finding.nodes))
                .collect();
            let truth: Vec<String> = round
                .truth
                .iter()
                .fold(BTreeMap::<TrueCause, u64>::new(), |mut sums, part| {
                    *sums.entry(part.cause).or_default() += part.count;
                    sums
                })
                .into_iter()
                .map(|(cause, count)| format!("{cause:?} {count}"))
                .collect();
            format!("{:>5} s: {} | true: {}\n", round.at_ms / 1000, found.join(", "), truth.join(", "))
        };
        self.rounds.iter().map(line).collect()
    }

    /// The round in which the finding has its severity at last, and has it from then on.
    fn named(&self, id: Id) -> Option<usize> {
        let is_named = |round: &Round| round.finding(id).is_some_and(|finding| finding.severity == id.facts().severity);
        let unnamed = self.rounds.iter().rposition(|round| !is_named(round)).map_or(0, |at| at + 1);
        (unnamed < self.rounds.len()).then_some(unnamed)
    }

    /// When the evidence begins: the first refusal for a cause of the row, or the time that the row names. What a node counted before its
    /// first page is not known to be new.
    fn begins_ms(&self, row: &Row) -> i64 {
        if row.causes.is_empty() {
            return row.from_s * 1_000;
        }
        let is_it = |round: &&Round| row.causes.iter().any(|cause| round.true_causes().contains(cause));
        self.rounds.iter().skip(1).find(is_it).map_or(i64::MAX, |round| round.at_ms)
    }

    /// Says what is wrong with the play of a row.
    pub(super) fn check(&self, row: &Row, interval_s: i64) -> Result<(), String> {
        let within_ms = hold_ms(row.id, interval_s) + 2 * interval_s * 1_000;
        let named = if row.ends() { self.named_once(row.id) } else { self.named(row.id) };
        let named = named.ok_or_else(|| format!("{} is not named", row.id))?;
        let (at_ms, begins_ms) = (self.rounds[named].at_ms, self.begins_ms(row));
        if at_ms.saturating_sub(begins_ms) > within_ms {
            return Err(format!("{} is named at {at_ms} ms, its evidence began at {begins_ms} ms", row.id));
        }
        if row.ends() && self.rounds.last().is_some_and(|round| round.finding(row.id).is_some()) {
            return Err(format!("{} is not over in the end", row.id));
        }
        if !row.ends() && row.counts_refusals() {
            self.check_counts(row, named)?;
        }
        self.check_nodes(row)?;
        self.check_alone(row)?;
        if row.counts_refusals() { check_sums(&self.rounds) } else { Ok(()) }
    }

    /// The first round in which all nodes have the finding.
    fn named_once(&self, id: Id) -> Option<usize> {
        let has_all = |round: &Round| round.finding(id).is_some_and(|finding| finding.nodes == self.nodes.len());
        self.rounds.iter().position(has_all)
    }

    /// No other finding is above info in any round.
    fn check_alone(&self, row: &Row) -> Result<(), String> {
        let belongs = |id: Id| id == row.id || row.consequences().contains(&id);
        for round in &self.rounds {
            if let Some(other) = round.loud().find(|finding| !belongs(finding.identity.id)) {
                return Err(format!("{} beside {} at {} ms", other.identity.id, row.id, round.at_ms));
            }
        }
        Ok(())
    }

    /// In the last round in which it is there, or for what ends in that of the most nodes, it is at every node of the group.
    fn check_nodes(&self, row: &Row) -> Result<(), String> {
        let found = || self.rounds.iter().filter_map(|round| round.finding(row.id));
        let last = if row.ends() { found().max_by_key(|finding| finding.nodes) } else { found().next_back() };
        let last = last.ok_or("it is nowhere")?;
        let examples: BTreeSet<String> = last.examples.iter().cloned().collect();
        let fits = last.nodes == row.nodes(self.nodes.len()) && examples.is_subset(&self.nodes);
        if fits { Ok(()) } else { Err(format!("{} nodes, {examples:?} of {:?}", last.nodes, self.nodes)) }
    }

    /// From the round after that in which it was named, every refused request is counted under a name of its true cause. (Before that
    /// the evidence may be too young.)
    fn check_counts(&self, row: &Row, named: usize) -> Result<(), String> {
        if row.causes.is_empty() {
            return Ok(());
        }
        let (Some(from), Some(to)) = (self.rounds.get(named), self.rounds.last()) else {
            return Err("no rounds".into());
        };
        let mut expected: BTreeMap<Vec<Id>, f64> = BTreeMap::new();
        for refusals in self.rounds.iter().skip(named + 1).flat_map(|round| &round.truth) {
            *expected.entry(row.names(refusals.cause)).or_default() += refusals.count as f64;
        }
        for (ids, expected) in expected {
            let counted = |conclusion: &Conclusion| ids.iter().map(|id| counted(conclusion, *id)).sum::<f64>();
            let gained = counted(&to.conclusion) - counted(&from.conclusion);
            if (gained - expected).abs() > 0.5 {
                return Err(format!("{gained} requests are counted under {ids:?}, and {expected} were refused for it"));
            }
        }
        Ok(())
    }
}

/// Requests counted under a finding so far.
pub(super) fn counted(conclusion: &Conclusion, id: Id) -> f64 {
    conclusion.refused_by_cause.iter().find(|(known, _)| *known == id).map_or(0.0, |(_, number)| *number)
}

/// Whatever the causes: as many requests are counted as were refused.
pub(super) fn check_sums(rounds: &[Round]) -> Result<(), String> {
    let mut refused = 0.0;
    let mut first = None;
    for round in rounds {
        refused += round.truth.iter().map(|part| part.count as f64).sum::<f64>();
        // Those before the helper's first page of a node are not its own.
        let counted = round.conclusion.refused_by_cause.iter().map(|(_, number)| number).sum::<f64>();
        let before = *first.get_or_insert(refused - counted);
        if (refused - counted - before).abs() > 0.5 {
            return Err(format!(
                "{counted} requests are counted at {} ms, {} were refused",
                round.at_ms,
                refused - before
            ));
        }
    }
    Ok(())
}

#[test]
fn each_finding_is_named_in_time_alone_and_for_its_nodes() {
    let only = std::env::var("FINDING_ROW").ok();
    let mut failed = Vec::new();
    for row in ROWS.iter().filter(|row| only.as_deref().is_none_or(|only| row.id.name() == only)) {
        let interval_s = row.interval_s(INTERVAL_S);
        let played = play(row, (SEED, interval_s));
        if only.is_some() {
            println!("{}", played.log());
        }
        if let Err(why) = played.check(row, interval_s).map_err(|why| format!("{}: {why}\n{}", row.id, played.log())) {
            failed.push(why);
        }
    }
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn each_finding_has_a_cluster_that_shows_it() {
    for id in Id::ALL {
        let is_shown = ROWS.iter().any(|row| row.id == id);
        let is_listed = NOT_SHOWN_YET.iter().any(|(listed, _)| *listed == id);
        assert_ne!(is_shown, is_listed, "{id}: shown, and listed as not shown yet");
    }
}
