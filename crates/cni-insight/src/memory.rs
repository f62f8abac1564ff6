//! What is remembered of a node between rounds. A calm node costs some hundred bytes; what only nodes in trouble have is boxed.

use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::is_growth_api;

use crate::evidence::{Counting, NodeEvidence, PageEvidence};
use crate::verdict::{NodeCause, NodeTroubles};

/// Errors and growth explain refusals for this long, milliseconds: an agent that EC2 refused addresses asks again after two
/// minutes, and one that waits for an ENI to appear after three.
pub(crate) const WINDOW_MS: i64 = 300_000;

/// A pool action that goes on makes that longer, at most by this, milliseconds: detaching, deleting and waiting stall the loop.
const MOST_EXTENSION_MS: i64 = 900_000;

/// Refusals are judged in steps of this length, or of a round where rounds are longer.
const SLOT_MS: i64 = 30_000;

/// A cause that must last is more than info after this time without a step without refusals...
const LASTING_MS: i64 = 120_000;
/// ... or after this much of [`WINDOW_MS`].
const OFTEN_MS: i64 = 150_000;

/// Label sets that are remembered of a node in trouble. Those whose last increase is longest ago make room.
const MOST_MARKS: usize = 64;

/// Times that are remembered of restarts and of passes of reconciliation: more than any rule asks for.
const MOST_TIMES: usize = 8;

/// A node in one round, in the time of [`crate::insight`], which never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Milliseconds.
    pub(crate) now_ms: i64,
    /// From round to round, milliseconds; at least 1.
    pub(crate) interval_ms: i64,
    /// What the counters count.
    pub(crate) counting: Counting,
}

/// The figures of a node's last good page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastPage {
    pub(crate) at_ms: i64,
    pub(crate) assigned: Option<f64>,
    pub(crate) held: Option<f64>,
    pub(crate) enis: Option<f64>,
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

/// A label set that increased lately.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    pub(crate) family: LabelledFamily,
    pub(crate) first: Box<str>,
    pub(crate) second: Box<str>,
    /// Its last increase.
    pub(crate) at_ms: i64,
    /// Its increases without a pause of [`WINDOW_MS`].
    pub(crate) sum: f64,
}

/// What only nodes in trouble have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) marks: Vec<Mark>,
    /// Times of restarts.
    pub(crate) restarts: Vec<i64>,
    /// Times of passes in which reconciliation changed the datastore.
    pub(crate) passes: Vec<i64>,
    pub(crate) forced_enis: Option<Forced>,
    pub(crate) forced_addresses: Option<Forced>,
    /// Since when its agent is not ready.
    pub(crate) unready_since_ms: Option<i64>,
    /// The cause of its refusals.
    pub(crate) cause: Option<NodeCause>,
    /// What else is wrong.
    pub(crate) troubles: NodeTroubles,
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
    /// The last round in which it was observed.
    pub(crate) seen: u64,
    pub(crate) last: Option<LastPage>,
    /// When it last got addresses or ENIs.
    pub(crate) grew_ms: Option<i64>,
    /// Since when it gives no page.
    pub(crate) silent_since_ms: Option<i64>,
    /// How often its container had been restarted.
    restarts: Option<u32>,
    slots: Slots,
    /// One bit per page, the newest first: two or more addresses are held that no pod has.
    pub(crate) idle: u8,
    pub(crate) given_back: u8,
    /// Calls of growth failed without an answer.
    pub(crate) unanswered: u8,
    /// Rounds without a page, in a row.
    pub(crate) silent_rounds: u16,
    /// Good pages in a row on which a pool action runs.
    pub(crate) busy_pages: u16,
    /// Good pages.
    pub(crate) pages: u16,
    pub(crate) rare: Option<Box<Rare>>,
}

impl NodeMemory {
    pub(crate) fn new(seen: u64) -> Self {
        Self {
            seen,
            last: None,
            grew_ms: None,
            silent_since_ms: None,
            restarts: None,
            slots: Slots::default(),
            idle: 0,
            given_back: 0,
            unanswered: 0,
            silent_rounds: 0,
            busy_pages: 0,
            pages: 0,
            rare: None,
        }
    }

    /// What only nodes in trouble have.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes in that there is no page.
    pub(crate) fn note_silence(&mut self, now: Moment) {
        self.silent_since_ms.get_or_insert(now.now_ms);
        self.silent_rounds = self.silent_rounds.saturating_add(1);
    }

    /// Takes in a page, and says what is new on it.
    pub(crate) fn note_page(&mut self, page: &PageEvidence<'_>, now: Moment) -> Change {
        let change = self.change(page, now);
        (self.silent_since_ms, self.silent_rounds) = (None, 0);
        self.pages = self.pages.saturating_add(1);
        if change.grew {
            self.grew_ms = Some(now.now_ms);
        }
        let is_idle = page.assigned.zip(page.held).is_some_and(|(assigned, held)| assigned <= held - 2.0);
        push(&mut self.idle, is_idle);
        push(&mut self.given_back, change.given_back.is_some_and(|number| number > 0.0));
        push(&mut self.unanswered, is_unanswered(page));
        let is_busy = page.in_progress.is_some_and(|actions| actions >= 1.0);
        self.busy_pages = if is_busy && !change.is_after_gap { self.busy_pages.saturating_add(1) } else { 0 };
        if now.counting == Counting::Increases {
            self.note_counts(page, now);
        }
        let PageEvidence { assigned, held, enis, .. } = *page;
        self.last = Some(LastPage { at_ms: now.now_ms, assigned, held, enis });
        change
    }

    /// Takes in whether requests were refused.
    pub(crate) fn note_refusal(&mut self, is_refusing: bool, now: Moment) {
        self.slots.note(is_refusing, now);
    }

    fn change(&self, page: &PageEvidence<'_>, now: Moment) -> Change {
        let Some(last) = self.last else { return Change { since_ms: now.interval_ms, ..Change::default() } };
        let since_ms = now.now_ms.saturating_sub(last.at_ms).max(1);
        let rose = |before: Option<f64>, after: Option<f64>| before.zip(after).is_some_and(|(one, next)| next > one);
        let served = page.requests.zip(page.refused).map(|(requests, refused)| requests - refused);
        let more = page.assigned.zip(last.assigned).map(|(assigned, before)| assigned - before);
        let is_used_up = |assigned: Option<f64>, held: Option<f64>| {
            assigned.zip(held).is_some_and(|(assigned, held)| held > 0.0 && assigned >= held)
        };
        Change {
            since_ms,
            is_after_gap: since_ms > 2 * now.interval_ms,
            grew: rose(last.held, page.held) || rose(last.enis, page.enis),
            given_back: served.zip(more).map(|(served, more)| (served - more).max(0.0)),
            stays_used_up: is_used_up(page.assigned, page.held)
                && is_used_up(last.assigned, last.held)
                && more.is_some_and(|more| more.abs() < 1.0),
        }
    }

    /// Remembers errors, passes of reconciliation and what vanished.
    fn note_counts(&mut self, page: &PageEvidence<'_>, now: Moment) {
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
                    self.rare().mark(count.family, (count.first, count.second), count.value, now_ms);
                }
                _ => {}
            }
        }
        if is_pass {
            push_time(&mut self.rare().passes, now_ms);
        }
        for (value, place) in [(page.forced_enis, 0), (page.forced_addresses, 1)] {
            if let Some(more) = value.filter(|more| *more >= 1.0) {
                let rare = self.rare();
                let forced = if place == 0 { &mut rare.forced_enis } else { &mut rare.forced_addresses };
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
            self.rare().unready_since_ms.get_or_insert(now.now_ms);
        } else if let Some(rare) = &mut self.rare {
            rare.unready_since_ms = None;
        }
        let before = self.restarts.replace(agent.restarts).unwrap_or(agent.restarts);
        for _ in (before..agent.restarts).take(MOST_TIMES) {
            push_time(&mut self.rare().restarts, now.now_ms);
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
        self.grew_ms.map_or(window, |grew| grew.max(window))
    }

    /// The node got addresses or ENIs lately.
    pub(crate) fn grew_lately(&self, now: Moment) -> bool {
        self.grew_ms.is_some_and(|grew| now.now_ms.saturating_sub(grew) <= self.window_ms(now))
    }

    /// Refusals have lasted: two minutes without a pause, or half of the last five minutes.
    pub(crate) fn has_lasted(&self, now: Moment) -> bool {
        self.slots.has_lasted(now)
    }

    /// Drops what is empty.
    pub(crate) fn shrink(&mut self) {
        let is_empty = |rare: &Rare| {
            let Rare { marks, restarts, passes, forced_enis, forced_addresses, unready_since_ms, cause, troubles } =
                rare;
            marks.is_empty()
                && restarts.is_empty()
                && passes.is_empty()
                && forced_enis.is_none()
                && forced_addresses.is_none()
                && unready_since_ms.is_none()
                && cause.is_none()
                && troubles.is_empty()
        };
        if self.rare.as_deref().is_some_and(is_empty) {
            self.rare = None;
        }
    }
}

impl Rare {
    fn mark(&mut self, family: LabelledFamily, (first, second): (&str, &str), value: f64, now_ms: i64) {
        let is_it = |mark: &&mut Mark| mark.family == family && *mark.first == *first && *mark.second == *second;
        if let Some(known) = self.marks.iter_mut().find(is_it) {
            (known.at_ms, known.sum) = (now_ms, known.sum + value);
            return;
        }
        if self.marks.len() >= MOST_MARKS {
            let oldest = self.marks.iter().enumerate().min_by_key(|(_, mark)| mark.at_ms).map(|(place, _)| place);
            oldest.map(|place| self.marks.swap_remove(place));
        }
        self.marks.push(Mark { family, first: first.into(), second: second.into(), at_ms: now_ms, sum: value });
    }
}

/// Steps of [`SLOT_MS`], or of a round, with and without refusals.
#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    /// When the newest began; `None` before the first.
    began_ms: Option<i64>,
    /// The newest first.
    refused: u16,
}

impl Slots {
    fn length(now: Moment) -> i64 {
        now.interval_ms.max(SLOT_MS)
    }

    fn note(&mut self, is_refusing: bool, now: Moment) {
        let length = Self::length(now);
        let passed = self.began_ms.map_or(length, |began| now.now_ms.saturating_sub(began));
        // A round may come a little early or late.
        if passed + now.interval_ms / 2 >= length {
            let steps = passed.saturating_add(length / 2).div_euclid(length).max(1);
            self.refused = u32::try_from(steps).ok().and_then(|steps| self.refused.checked_shl(steps)).unwrap_or(0);
            self.began_ms = Some(now.now_ms);
        }
        self.refused |= u16::from(is_refusing);
    }

    fn has_lasted(self, now: Moment) -> bool {
        let steps = |time: i64| {
            let steps = time.saturating_add(Self::length(now) - 1).div_euclid(Self::length(now));
            u32::try_from(steps).unwrap_or(1).clamp(1, 15)
        };
        let newest = |steps: u32| self.refused & ((1_u16 << steps) - 1);
        let lasting = steps(LASTING_MS);
        newest(lasting).count_ones() == lasting || newest(steps(WINDOW_MS)).count_ones() >= steps(OFTEN_MS)
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
