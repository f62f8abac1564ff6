//! Very many events: nothing grows, and each is cheap.

use std::net::Ipv4Addr;
use std::time::Duration;

use cni_types::random::Random;
use ipamd_core::block::Block;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{EniId, SubnetId};
use ipamd_core::input::EniKind;
use ipamd_core::metrics::Metrics;
use ipamd_core::settings::Mode;
use ipamd_core::store::{Ledger, Pool, PoolEni, Targets};

/// Events of the run, in each mode.
fn wanted_events() -> u64 {
    std::env::var("DATASTORE_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

/// What an event may take of the processor: a microsecond as it is shipped, and three times that without optimisation.
pub(crate) const LIMIT: Duration = Duration::from_micros(if cfg!(debug_assertions) { 3 } else { 1 });

/// Processor time of this thread.
pub(crate) fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// A node with three ENIs and nine slots each, as an m5.large has.
struct Lab {
    pool: Pool<u64>,
    metrics: Metrics,
    mode: Mode,
    chooser: Seeded,
    random: Random,
    now_ms: i64,
}

fn eni_id(eni: u8) -> EniId {
    EniId::from_bits(eni.into())
}

fn block(mode: Mode, eni: u8, slot: u8) -> Block {
    match mode {
        Mode::Secondary => Block::Address(Ipv4Addr::new(10, 0, eni, slot)),
        Mode::Prefix | Mode::Ipv6 => Block::Prefix(Ipv4Addr::new(10, 1, eni, slot * 16)),
    }
}

impl Lab {
    fn new(mode: Mode) -> Self {
        let (chooser, random) = (Seeded::random(1), Random::new(2));
        let mut lab =
            Self { pool: Pool::new(30_000), metrics: Metrics::new(0, false), mode, chooser, random, now_ms: 0 };
        (0..3).for_each(|eni| lab.add_eni(eni));
        lab
    }

    fn ledger(&mut self) -> Ledger<'_, u64> {
        Ledger { pool: &mut self.pool, metrics: &mut self.metrics }
    }

    fn add_eni(&mut self, eni: u8) {
        let (mode, subnet) = (self.mode, SubnetId::from_bits(0));
        let made = PoolEni::new(eni_id(eni), self.now_ms, EniKind::Interface, eni == 0, subnet);
        if self.ledger().add_eni(made).is_ok() {
            (0..9).for_each(|slot| self.ledger().add_block(eni_id(eni), block(mode, eni, slot)).unwrap());
        }
    }

    /// Mostly pods that come and go, at times a change of the pool, as a busy node has it.
    fn event(&mut self) {
        self.now_ms += self.random.between(0, 400);
        let (mode, now_ms) = (self.mode, self.now_ms);
        let pod = self.random.below(150);
        match self.random.below(1_000) {
            0..450 => {
                let mut ledger = Ledger { pool: &mut self.pool, metrics: &mut self.metrics };
                if let Ok(given) = ledger.assign(pod, mode, now_ms, &mut self.chooser)
                    && !given.repeated
                {
                    ledger.assign_written(given.place);
                }
            }
            450..900 => {
                if let Ok(place) = self.ledger().unassign(&pod, now_ms) {
                    self.ledger().unassign_written(place);
                }
            }
            900..960 => {
                let stats = self.pool.stats(mode, now_ms);
                assert!(stats.assigned <= stats.total);
            }
            960..980 => {
                let (eni, slot) = (u8::try_from(pod % 3).unwrap(), u8::try_from(pod % 9).unwrap());
                // What is in use stays, what was released before comes back.
                if self.ledger().remove_block(eni_id(eni), block(mode, eni, slot), false).is_err() {
                    let _known = self.ledger().add_block(eni_id(eni), block(mode, eni, slot));
                }
            }
            980..985 => self.add_eni(u8::try_from(pod % 3).unwrap()),
            985..990 => {
                let prefix_mode = mode == Mode::Prefix;
                let targets = Targets {
                    prefix_mode,
                    warm_ip: 1,
                    minimum_ip: 0,
                    warm_eni: 0,
                    warm_prefix: 0,
                    slots: 9,
                    max_pods: 150,
                };
                let mut ledger = Ledger { pool: &mut self.pool, metrics: &mut self.metrics };
                ledger.remove_unused_eni(&targets, now_ms, &mut self.chooser);
            }
            990..995 => {
                let excluded = pod.is_multiple_of(4);
                let _gone = self.ledger().exclude(eni_id(2), excluded);
            }
            _ => self.pool.clean_up(now_ms),
        }
    }

    /// Everything that is kept.
    fn kept(&self) -> usize {
        let enis = self.pool.enis().iter().map(|eni| 1 + eni.slots_used() + eni.freed().count()).sum::<usize>();
        enis + self.pool.owners().len() + self.metrics.per_cidr.len() + self.metrics.per_eni.len()
    }
}

#[test(serial = "processor time")]
fn millions_of_events_leave_no_more_than_is_attached() {
    for mode in [Mode::Secondary, Mode::Prefix] {
        let mut lab = Lab::new(mode);
        let bound = 3 + 27 + 432 + 150 + 27 + 3;
        let (began, events) = (cpu_time(), wanted_events());
        for _ in 0..events {
            lab.event();
        }
        // `.ci/release` writes it down.
        let each = cpu_time().saturating_sub(began) / u32::try_from(events).unwrap_or(u32::MAX);
        assert!(lab.kept() <= bound, "{} things are kept", lab.kept());
        println!("{mode:?}: {each:?} of processor time for an event, {} things kept", lab.kept());
        assert!(each <= LIMIT, "{mode:?}: {each:?} of processor time for an event, at most {LIMIT:?} are allowed");
    }
}
