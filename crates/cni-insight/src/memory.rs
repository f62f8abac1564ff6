//! What is remembered of a node between rounds: a calm node costs about 150 bytes, and one that refuses requests about 250 more. What
//! only nodes in trouble have is boxed, and what many nodes have in common is shared ([`crate::shared`]).

mod key;
mod moment;
mod slots;

use std::num::NonZeroI64;
use std::ops::Deref;
use std::sync::Arc;

use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::is_growth_api;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, NodeEvidence, PageEvidence};
use crate::shared::{Figure, KeptCause, Labels, Shared};
use crate::verdict::{NodeCause, NodeTrouble};

pub(crate) use self::key::NodeKey;
use self::moment::Stamp;
pub(crate) use self::moment::{Moment, WINDOW_MS};
use self::slots::Slots;

/// A pool action that goes on makes that longer, at most by this, milliseconds: detaching, deleting and waiting stall the loop.
const MOST_EXTENSION_MS: i64 = 900_000;

/// Label sets that are remembered of a node in trouble. Those whose last increase is longest ago make room.
const MOST_MARKS: usize = 64;

/// What happened to an agent is forgotten after this time, milliseconds: no rule looks further back.
pub(crate) const INCIDENT_MS: i64 = 1_800_000;

/// Times that are remembered of restarts and of passes of reconciliation: more than any rule asks for.
const MOST_TIMES: usize = 8;

/// The figures of a node's last good page.
#[derive(Debug, Clone, Copy)]
struct LastPage {
    at: Stamp,
    assigned: Figure,
    held: Figure,
    enis: Figure,
}

/// What a page says beside the page before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    /// Since the node's last good page, milliseconds; an interval for the first.
    pub(crate) since_ms: i64,
    /// More than two intervals.
    pub(crate) is_after_gap: bool,
    /// The node got addresses or ENIs.
    pub(crate) grew: bool,
    /// Addresses that pods gave back: (requests - refused) - (assigned now - assigned before).
    pub(crate) given_back: Option<f64>,
    /// All held addresses are assigned, as many as on the page before.
    pub(crate) stays_used_up: bool,
}

/// A label set that increased lately. Its labels are those of [`Labels`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    labels: Arc<Labels>,
    /// Its last increase.
    pub(crate) at_ms: i64,
    /// Its increases without a pause of [`WINDOW_MS`].
    pub(crate) sum: f64,
}

impl Deref for Mark {
    type Target = Labels;

    fn deref(&self) -> &Labels {
        &self.labels
    }
}

/// What only nodes in trouble have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) marks: Vec<Mark>,
    /// The cause of its refusals.
    cause: Option<Box<KeptCause>>,
    /// What else is wrong, whether it is only info, and since when.
    troubles: Vec<(FindingId, bool, i64)>,
    /// Since when its agent is not ready. The time of the engine is above 0.
    pub(crate) unready_since_ms: Option<NonZeroI64>,
    incidents: Option<Box<Incidents>>,
}

/// What happened to a node's agent that should not happen.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    /// Times of restarts.
    pub(crate) restarts: Vec<i64>,
    /// Times of passes in which reconciliation changed the datastore.
    pub(crate) passes: Vec<i64>,
    pub(crate) forced_enis: Option<Forced>,
    pub(crate) forced_addresses: Option<Forced>,
}

impl Incidents {
    fn newest_ms(&self) -> i64 {
        let forced = [self.forced_enis, self.forced_addresses].into_iter().flatten().map(|forced| forced.at_ms);
        self.restarts.iter().chain(&self.passes).copied().chain(forced).max().unwrap_or(i64::MIN)
    }
}

/// No incidents.
static NONE: Incidents =
    Incidents { restarts: Vec::new(), passes: Vec::new(), forced_enis: None, forced_addresses: None };

impl Rare {
    /// What happened to its agent.
    pub(crate) fn incidents(&self) -> &Incidents {
        self.incidents.as_deref().unwrap_or(&NONE)
    }

    /// This trouble was there in the round before, and not only as info.
    pub(crate) fn has_trouble(&self, id: FindingId) -> bool {
        self.troubles.iter().any(|(known, is_info, _)| *known == id && !is_info)
    }
}

/// A counter of what vanished.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forced {
    pub(crate) at_ms: i64,
    pub(crate) sum: f64,
}

/// What is remembered of a node.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    last: LastPage,
    /// When it last got addresses or ENIs.
    grew: Stamp,
    /// Since when it gives no page.
    silent_since: Stamp,
    slots: Slots,
    pub(crate) rare: Option<Box<Rare>>,
    /// The last round in which it was observed.
    pub(crate) seen: u32,
    /// How often its container had been restarted; [`UNKNOWN_RESTARTS`] where that is not known.
    restarts: u32,
    /// Rounds without a page, in a row.
    pub(crate) silent_rounds: u16,
    /// Good pages in a row on which a pool action runs.
    pub(crate) busy_pages: u16,
    /// Good pages.
    pub(crate) pages: u16,
    /// One bit per page, the newest first: two or more addresses are held that no pod has.
    pub(crate) idle: u8,
    pub(crate) given_back: u8,
    /// Calls of growth failed without an answer.
    pub(crate) unanswered: u8,
}

/// No container is restarted that often.
const UNKNOWN_RESTARTS: u32 = u32::MAX;

impl NodeMemory {
    /// `seen`: a round other than the one that it is observed in.
    pub(crate) fn new(seen: u32) -> Self {
        let unknown = Figure::new(None);
        Self {
            last: LastPage { at: None, assigned: unknown, held: unknown, enis: unknown },
            grew: None,
            silent_since: None,
            slots: Slots::default(),
            rare: None,
            seen,
            restarts: UNKNOWN_RESTARTS,
            silent_rounds: 0,
            busy_pages: 0,
            pages: 0,
            idle: 0,
            given_back: 0,
            unanswered: 0,
        }
    }

    /// What only nodes in trouble have.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes in that there is no page.
    pub(crate) fn note_silence(&mut self, now: Moment) {
        self.silent_since = self.silent_since.or(NonZeroI64::new(now.now_ms));
        self.silent_rounds = self.silent_rounds.saturating_add(1);
    }

    /// For how long it gives no page, milliseconds.
    pub(crate) fn silent_ms(&self, now: Moment) -> i64 {
        self.silent_since.map_or(0, |since| now.now_ms.saturating_sub(since.get()))
    }

    /// Takes in a page, and says what is new on it.
    pub(crate) fn note_page(&mut self, page: &PageEvidence<'_>, now: Moment, shared: &mut Shared) -> Change {
        let change = self.change(page, now);
        (self.silent_since, self.silent_rounds) = (None, 0);
        self.pages = self.pages.saturating_add(1);
        if change.grew {
            self.grew = NonZeroI64::new(now.now_ms);
        }
        let is_idle = page.assigned.zip(page.held).is_some_and(|(assigned, held)| assigned <= held - 2.0);
        push(&mut self.idle, is_idle);
        push(&mut self.given_back, change.given_back.is_some_and(|number| number > 0.0));
        push(&mut self.unanswered, is_unanswered(page));
        let is_busy = page.in_progress.is_some_and(|actions| actions >= 1.0);
        self.busy_pages = if is_busy && !change.is_after_gap { self.busy_pages.saturating_add(1) } else { 0 };
        if now.counting == Counting::Increases {
            self.note_counts(page, now, shared);
        }
        self.last = LastPage {
            at: NonZeroI64::new(now.now_ms),
            assigned: Figure::new(page.assigned),
            held: Figure::new(page.held),
            enis: Figure::new(page.enis),
        };
        change
    }

    /// Takes in whether requests were refused.
    pub(crate) fn note_refusal(&mut self, is_refusing: bool, now: Moment) {
        self.slots.note(is_refusing, now);
    }

    fn change(&self, page: &PageEvidence<'_>, now: Moment) -> Change {
        let LastPage { at, assigned, held, enis } = self.last;
        let Some(at) = at else { return Change { since_ms: now.interval_ms, ..Change::default() } };
        let (assigned_before, held_before) = (assigned.get(), held.get());
        let since_ms = now.now_ms.saturating_sub(at.get()).max(1);
        let rose = |before: Option<f64>, after: Option<f64>| before.zip(after).is_some_and(|(one, next)| next > one);
        let served = page.requests.zip(page.refused).map(|(requests, refused)| requests - refused);
        let more = page.assigned.zip(assigned_before).map(|(assigned, before)| assigned - before);
        let is_used_up = |assigned: Option<f64>, held: Option<f64>| {
            assigned.zip(held).is_some_and(|(assigned, held)| held > 0.0 && assigned >= held)
        };
        Change {
            since_ms,
            is_after_gap: since_ms > 2 * now.interval_ms,
            grew: rose(held_before, page.held) || rose(enis.get(), page.enis),
            given_back: served.zip(more).map(|(served, more)| (served - more).max(0.0)),
            stays_used_up: is_used_up(page.assigned, page.held)
                && is_used_up(assigned_before, held_before)
                && more.is_some_and(|more| more.abs() < 1.0),
        }
    }

    /// Remembers errors, passes of reconciliation and what vanished.
    fn note_counts(&mut self, page: &PageEvidence<'_>, now: Moment, shared: &mut Shared) {
        let now_ms = now.now_ms;
        let window_ms = self.window_ms(now);
        if let Some(rare) = &mut self.rare {
            rare.marks.retain(|mark| now_ms - mark.at_ms <= window_ms);
        }
        let mut is_pass = false;
        for count in page.counts.iter().filter(|count| count.value >= 1.0) {
            match count.family {
                LabelledFamily::ReconcileCount => is_pass |= is_repair(count.first),
                LabelledFamily::AwsApiErrorCount
                | LabelledFamily::IpamdErrorCount
                | LabelledFamily::PodEniErrorCount => {
                    self.rare().mark((count.family, count.first, count.second), count.value, now_ms, shared);
                }
                _ => {}
            }
        }
        if is_pass {
            push_time(&mut self.incidents().passes, now_ms);
        }
        for (value, place) in [(page.forced_enis, 0), (page.forced_addresses, 1)] {
            if let Some(more) = value.filter(|more| *more >= 1.0) {
                let incidents = self.incidents();
                let forced = if place == 0 { &mut incidents.forced_enis } else { &mut incidents.forced_addresses };
                let before =
                    forced.filter(|forced| now_ms - forced.at_ms <= WINDOW_MS).map_or(0.0, |forced| forced.sum);
                *forced = Some(Forced { at_ms: now_ms, sum: before + more });
            }
        }
    }

    /// Takes in how often the agent's container was restarted, and whether it is ready.
    pub(crate) fn note_restarts(&mut self, node: &NodeEvidence<'_>, now: Moment) {
        let Some(agent) = node.agent else { return };
        if agent.is_ready == Some(false) {
            let now_ms = NonZeroI64::new(now.now_ms);
            let since = &mut self.rare().unready_since_ms;
            *since = since.or(now_ms);
        } else if let Some(rare) = &mut self.rare {
            rare.unready_since_ms = None;
        }
        let before = std::mem::replace(&mut self.restarts, agent.restarts);
        if before == UNKNOWN_RESTARTS {
            return;
        }
        for _ in (before..agent.restarts).take(MOST_TIMES) {
            push_time(&mut self.incidents().restarts, now.now_ms);
        }
    }

    /// The label sets that increased lately.
    pub(crate) fn marks(&self) -> &[Mark] {
        self.rare.as_ref().map_or(&[], |rare| &rare.marks)
    }

    /// For how long errors and growth explain refusals, milliseconds.
    fn window_ms(&self, now: Moment) -> i64 {
        WINDOW_MS + i64::from(self.busy_pages).saturating_mul(now.interval_ms).min(MOST_EXTENSION_MS)
    }

    /// When errors begin to count: not before the node last got addresses or ENIs, and not before the window.
    pub(crate) fn errors_count_from(&self, now: Moment) -> i64 {
        let window = now.now_ms.saturating_sub(self.window_ms(now));
        self.grew.map_or(window, |grew| grew.get().max(window))
    }

    /// The node got addresses or ENIs less than this time ago, milliseconds.
    pub(crate) fn grew_within(&self, ms: i64, now: Moment) -> bool {
        self.grew.is_some_and(|grew| now.now_ms.saturating_sub(grew.get()) < ms)
    }

    /// The node got addresses or ENIs lately.
    pub(crate) fn grew_lately(&self, now: Moment) -> bool {
        self.grew.is_some_and(|grew| now.now_ms.saturating_sub(grew.get()) <= self.window_ms(now))
    }

    /// Refusals have lasted: two minutes without a pause, or half of the last five minutes.
    pub(crate) fn has_lasted(&self, now: Moment) -> bool {
        self.slots.has_lasted(now)
    }

    /// The cause of its refusals in the round before, which is forgotten.
    pub(crate) fn take_cause(&mut self) -> Option<NodeCause> {
        self.rare.as_mut().and_then(|rare| rare.cause.take()).map(|cause| cause.cause())
    }

    /// Keeps what was found in this round, and drops what is empty.
    pub(crate) fn keep(
        &mut self,
        cause: Option<NodeCause>,
        troubles: &[NodeTrouble],
        (now, shared): (Moment, &mut Shared),
    ) {
        if cause.is_none() && troubles.is_empty() && self.rare.is_none() {
            return;
        }
        let rare = self.rare();
        rare.cause = cause.map(|cause| Box::new(KeptCause::new(cause, shared)));
        rare.troubles =
            troubles.iter().map(|trouble| (trouble.verdict.id, trouble.verdict.is_info, trouble.since_ms)).collect();
        rare.incidents =
            rare.incidents.take().filter(|incidents| incidents.newest_ms() >= now.now_ms.saturating_sub(INCIDENT_MS));
        let Rare { marks, cause, troubles, incidents, unready_since_ms } = rare;
        let is_calm = cause.is_none() && incidents.is_none() && unready_since_ms.is_none();
        if is_calm && marks.is_empty() && troubles.is_empty() {
            self.rare = None;
        }
    }

    /// Since when this trouble is there, where it was in the round before.
    pub(crate) fn trouble_since(&self, id: FindingId) -> Option<i64> {
        let rare = self.rare.as_ref()?;
        rare.troubles.iter().find(|(known, ..)| *known == id).map(|(.., since)| *since)
    }

    fn incidents(&mut self) -> &mut Incidents {
        self.rare().incidents.get_or_insert_default()
    }
}

impl Rare {
    fn mark(
        &mut self,
        (family, first, second): (LabelledFamily, &str, &str),
        value: f64,
        now_ms: i64,
        shared: &mut Shared,
    ) {
        let is_it = |mark: &&mut Mark| mark.family == family && *mark.first == *first && *mark.second == *second;
        if let Some(known) = self.marks.iter_mut().find(is_it) {
            (known.at_ms, known.sum) = (now_ms, known.sum + value);
            return;
        }
        if self.marks.len() >= MOST_MARKS {
            let oldest = self.marks.iter().enumerate().min_by_key(|(_, mark)| mark.at_ms).map(|(place, _)| place);
            oldest.map(|place| self.marks.swap_remove(place));
        }
        // Most nodes in trouble have one or two.
        self.marks.reserve_exact(1);
        self.marks.push(Mark { labels: shared.labels(family, (first, second)), at_ms: now_ms, sum: value });
    }
}

fn push(bits: &mut u8, bit: bool) {
    *bits = *bits << 1 | u8::from(bit);
}

fn push_time(times: &mut Vec<i64>, now_ms: i64) {
    if times.len() >= MOST_TIMES {
        times.remove(0);
    }
    times.push(now_ms);
}

/// True for what reconciliation counts when the datastore differed from EC2. (It also counts every address that it knows.)
fn is_repair(function: &str) -> bool {
    matches!(function, "eniReconcileAdd" | "eniReconcileDel" | "eniIPPoolReconcileDel")
}

/// More calls of growth failed than were answered with an error.
fn is_unanswered(page: &PageEvidence<'_>) -> bool {
    let grows = |name: &str| is_growth_api(name.as_bytes());
    let sum = |family: LabelledFamily| {
        let of_growth = page.counts.iter().filter(|count| count.family == family && grows(count.first));
        of_growth.map(|count| count.value).sum::<f64>()
    };
    let failed = sum(LabelledFamily::Ec2ApiErrorCount);
    failed >= 1.0 && failed > sum(LabelledFamily::AwsApiErrorCount)
}

#[cfg(test)]
mod tests;
