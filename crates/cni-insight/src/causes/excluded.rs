//! A node whose own subnet is excluded: its primary ENI's addresses are given to no pod.

use cni_types::agent_settings as settings;

use super::settings::{minimum_without_warm, node_cordoned};
use crate::catalogue::FindingId;
use crate::evidence::{Counting, Source};
use crate::verdict::Verdict;
use crate::view::{RESPECTS_TAG, View};

/// Pages of which is remembered whether addresses were free and given back.
const KNOWN_PAGES: i64 = 8;

/// The agent leaves the primary ENI's addresses alone if its subnet is tagged `kubernetes.io/role/cni=0`. Nothing on the page says
/// so: the node has all ENIs and one ENI's addresses too few, or addresses that are free for ever and that no pod gave back.
pub(super) fn subnet_excluded_by_tag(view: &View<'_>) -> Option<Verdict> {
    let has_it = view.node.version.is_some_and(|version| version >= RESPECTS_TAG);
    let may_be = has_it
        && view.env().is_some()
        && view.is_on(&settings::ENABLE_SUBNET_DISCOVERY)
        && !view.is_on(&settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG)
        && view.now.counting == Counting::Increases
        && view.past.has_lasted(view.now)
        && view.errors.is_empty()
        && !grew_just_now(view);
    if !may_be || !(is_one_eni_short(view) || is_idle_for_ever(view)) {
        return None;
    }
    // Both stop a pool as well, and are known.
    if node_cordoned(view).is_some() || minimum_without_warm(view).is_some() {
        return None;
    }
    let verdict = Verdict::new(FindingId::SubnetExcludedByTag, view).likely(Source::Subnets);
    Some(verdict.needs(Source::AgentPods, view).needs(Source::Nodes, view))
}

/// A pool that can grow does so within this time, milliseconds: its loop runs every 5 s, and an ENI takes about 30 s.
const GROWS_MS: i64 = 60_000;

fn grew_just_now(view: &View<'_>) -> bool {
    view.past.grew_within(GROWS_MS, view.now)
}

/// All ENIs are attached and idle of work, and one ENI's addresses or more are missing.
fn is_one_eni_short(view: &View<'_>) -> bool {
    let (Some(enis), Some(most_enis), Some(most)) = (view.page.enis, view.page.most_enis, view.page.most) else {
        return false;
    };
    let Some((held, usable)) = view.page.held.zip(view.usable()) else { return false };
    most_enis >= 2.0 && enis >= most_enis && held > 0.0 && held <= usable - most / most_enis && view.is_used_up()
}

/// The node is full, and on all pages for longer than addresses cool down some were free, without one being given back.
fn is_idle_for_ever(view: &View<'_>) -> bool {
    let cooldown_s = view.env().map_or(settings::IP_COOLDOWN_PERIOD.default, |env| {
        crate::evidence::ReadSetting::of(&settings::IP_COOLDOWN_PERIOD, env)
    });
    let needed_ms = cooldown_s.max(0).saturating_add(30).saturating_mul(1000);
    let interval_ms = view.now.interval_ms.max(1);
    let pages = needed_ms.saturating_add(interval_ms - 1).div_euclid(interval_ms).max(4);
    if pages > KNOWN_PAGES || !view.has_pages(u16::try_from(pages).unwrap_or(u16::MAX)) {
        return false;
    }
    let newest = u8::MAX >> (KNOWN_PAGES - pages);
    view.is_full() == Some(true) && view.past.idle & newest == newest && view.past.given_back & newest == 0
}

#[cfg(test)]
mod tests {
    use crate::catalogue::FindingId as Id;
    use crate::evidence::Source;
    use crate::finding::Certainty;
    use crate::play::{Node, Play, named};

    /// The only cause after this many rounds.
    fn cause(rounds: usize, seconds: i64, node: impl Fn(usize) -> Node) -> Option<(Id, Certainty, Vec<Source>)> {
        let mut play = Play::every(seconds);
        play.round(&[Node { ..node(0).refusing(0.0) }]);
        let conclusion = play.rounds(rounds, node);
        assert!(named(&conclusion).len() <= 1, "{:?}", named(&conclusion));
        let finding = conclusion.findings.first()?;
        Some((finding.identity.id, finding.certainty, finding.lacks.clone()))
    }

    /// The tag came while the agent ran: the node holds all, and pods that have left the first ENI leave it idle.
    fn full() -> Node {
        Node::new("n").pool(20.0, 27.0, 27).refusing(3.0)
    }

    #[test]
    fn addresses_that_are_free_for_ever_are_told_from_those_that_cool_down() {
        let expected = Some((Id::SubnetExcludedByTag, Certainty::Likely, vec![Source::Subnets]));
        for seconds in [10, 30, 60] {
            assert_eq!(cause(14, seconds, |_| full()), expected, "every {seconds} s");
        }
        let releasing = |round: usize| {
            let mut node = full();
            node.page.requests = Some(if round.is_multiple_of(3) { 5.0 } else { 3.0 });
            node
        };
        assert_eq!(cause(14, 30, releasing).map(|found| found.0), Some(Id::CooldownOnFullNode));
        // Addresses that rest for five minutes look the same on all pages that are remembered.
        let resting = |_| full().env("IP_COOLDOWN_PERIOD", "300");
        assert_eq!(cause(14, 30, resting).map(|found| found.0), Some(Id::CooldownOnFullNode));
    }

    #[test]
    fn agents_that_do_not_respect_the_tag_and_settings_that_forbid_it_are_no_case_of_it() {
        let older = |_| Node { version: Some(cni_types::version::AgentVersion::new(1, 21, 9)), ..full() };
        let apart = |name: &'static str, value: &'static str| move |_: usize| full().env(name, value);
        assert_eq!(cause(8, 30, older).map(|found| found.0), Some(Id::CooldownOnFullNode));
        for (name, value) in [("ENABLE_SUBNET_DISCOVERY", "false"), ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")] {
            assert_eq!(cause(8, 30, apart(name, value)).map(|found| found.0), Some(Id::CooldownOnFullNode), "{name}");
        }
        // A minimum without a warm target stops the pool as well.
        let short = |_| {
            let mut node = Node::new("n").pool(18.0, 18.0, 27).refusing(3.0).env("MINIMUM_IP_TARGET", "12");
            node.page.enis = Some(3.0);
            node
        };
        assert_eq!(cause(8, 30, short).map(|found| found.0), Some(Id::MinimumWithoutWarm));
    }
}
