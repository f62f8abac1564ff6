//! Twelve cells of the table spool × lease × CloudWatch (`docs/ha.md`, state by state) over sockets: the whole helper on
//! a simulated cluster, with the API server's leases, CloudWatch's faults and real folders. `delivery_states.rs` runs all
//! cells of the table in process.
//!
//! | spool at the second start | lease | CloudWatch | replica |
//! |---|---|---|---|
//! | hanging | held | accepting without an answer | elected |
//! | fresh | lapsed, and no one else held it | down | elected |
//! | stale | held | up | alone |
//! | unwritable | lapsed and held by another | throttled | warm standby |
//! | full | held | down | alone |
//! | of another namespace | held | up | alone |
//! | damaged | held | refusing | alone |
//! | absent | the other's clock is ahead | up | warm standby |
//! | fresh | held | accepting without an answer | alone |
//! | full | never held | accepting without an answer | warm standby |
//! | fresh | lapsed and held by another | refusing | elected |
//! | of another cluster | the other's clock is ahead | throttled | warm standby |
//!
//! Each cell lives three lives. The first publishes, meets the cell's CloudWatch, and is killed in the middle of a
//! request. The second finds the cell's spool, has the cell's lease and the same CloudWatch, and is killed too, in a
//! request if it leads. The third finds everything well and sends what is left. Then CloudWatch's store is compared with
//! the simulator's truth.

#![expect(clippy::float_cmp, reason = "events are whole numbers, which are exact")]

mod books;
mod disk;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use cni_collector::discover::connect::{ConnectSettings, connect};
use cni_collector::lead::PUBLISHED_UNTIL;
use cni_publish::stats::DropReason;
use cni_runtime::clock::Clock;
use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::cloudwatch::store::{CloudWatchStore, Outcome};
use cni_sim::scenario::Scenario;
use cni_testkit::world::page::{wait_leader, wait_page};
use cni_testkit::world::{Helper, INTERVAL, World, text};
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::delivery_states::{Lease, Service};
use books::Books;
use disk::{Obstacle, points};

const TIMEOUT: Duration = Duration::from_mins(1);
const LEASE: &str = "cni-metrics-helper";

/// The spool that the second life finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Absent,
    Fresh,
    Stale,
    Damaged,
    Unwritable,
    Hanging,
    OfAnotherCluster,
    OfAnotherNamespace,
    Full,
}

/// Whether there is an election, and whether it is measured while another leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replica {
    Alone,
    Elected,
    Warm,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    disk: Disk,
    lease: Lease,
    service: Service,
    replica: Replica,
    /// How often counting begins anew; the very first time counts too.
    beginnings: usize,
    /// Every reason for which points are dropped, beside the requests in doubt.
    dropped: &'static [DropReason],
    /// Points are lost that no helper can count.
    loses: bool,
}

const fn cell(disk: Disk, lease: Lease, service: Service, replica: Replica) -> Cell {
    Cell { disk, lease, service, replica, beginnings: 3, dropped: &[], loses: false }
}

const CELLS: [Cell; 12] = [
    Cell { loses: true, ..cell(Disk::Hanging, Lease::Held, Service::NoAnswer, Replica::Elected) },
    cell(Disk::Fresh, Lease::LapsedUnseen, Service::Down, Replica::Elected),
    Cell { beginnings: 2, ..cell(Disk::Stale, Lease::Held, Service::Up, Replica::Alone) },
    Cell {
        loses: true,
        dropped: &[DropReason::PublishedByAnother],
        ..cell(Disk::Unwritable, Lease::HeldByAnother, Service::Throttled, Replica::Warm)
    },
    Cell { beginnings: 2, loses: true, ..cell(Disk::Full, Lease::Held, Service::Down, Replica::Alone) },
    Cell {
        beginnings: 1,
        dropped: &[DropReason::SpoolUnusable],
        ..cell(Disk::OfAnotherNamespace, Lease::Held, Service::Up, Replica::Alone)
    },
    Cell {
        beginnings: 2,
        dropped: &[DropReason::SpoolUnusable],
        ..cell(Disk::Damaged, Lease::Held, Service::Refusing, Replica::Alone)
    },
    Cell {
        loses: true,
        dropped: &[DropReason::PublishedByAnother],
        ..cell(Disk::Absent, Lease::ClockAhead, Service::Up, Replica::Warm)
    },
    Cell { beginnings: 1, ..cell(Disk::Fresh, Lease::Held, Service::NoAnswer, Replica::Alone) },
    Cell {
        loses: true,
        dropped: &[DropReason::PublishedByAnother],
        ..cell(Disk::Full, Lease::NeverHeld, Service::NoAnswer, Replica::Warm)
    },
    Cell {
        beginnings: 4,
        dropped: &[DropReason::NotLeading],
        ..cell(Disk::Fresh, Lease::HeldByAnother, Service::Refusing, Replica::Elected)
    },
    Cell {
        dropped: &[DropReason::PublishedByAnother, DropReason::SpoolUnusable],
        ..cell(Disk::OfAnotherCluster, Lease::ClockAhead, Service::Throttled, Replica::Warm)
    },
];

/// One cell while it runs.
struct Stand {
    cell: Cell,
    world: World,
    leases: Api<LeaseObject>,
    /// Keeps the folder's parent.
    _folder: tempfile::TempDir,
    dir: PathBuf,
    books: Books,
    /// Kills in a request.
    kills: usize,
}

impl Stand {
    async fn start(cell: Cell) -> Self {
        let world = World::start(Scenario::named("churn").unwrap()).await;
        let kubeconfig = Some(world.sim.kubeconfig_path().to_path_buf());
        let clients =
            connect(&ConnectSettings { kubeconfig, ..ConnectSettings::default() }, &Clock::wall()).await.unwrap();
        let folder = cni_testkit::temporary_folder();
        let dir = folder.path().join("spool");
        let leases = Api::namespaced(clients.watch, "default");
        Self { cell, world, leases, _folder: folder, dir, books: Books::default(), kills: 0 }
    }

    /// A helper as the cell has it; of another cluster or namespace if `is_foreign`.
    async fn helper(&mut self, is_foreign: bool) -> Helper {
        let dir = self.dir.clone();
        let mut flags = vec!["--spool-dir", text(&dir), "--admin-address", "127.0.0.1:0"];
        if self.cell.replica != Replica::Alone {
            flags.extend(["--leader-election", "true", "--lease-duration", "5s", "--lease-namespace", "default"]);
        }
        if self.cell.replica == Replica::Warm {
            flags.extend(["--standby-scrape", "true"]);
        }
        if is_foreign && self.cell.disk == Disk::OfAnotherNamespace {
            flags.extend(["--cloudwatch-namespace", "Another"]);
        }
        if is_foreign && self.cell.disk == Disk::OfAnotherCluster {
            return self.world.helper_of("another", &flags).await;
        }
        self.world.helper(&flags).await
    }

    /// Starts a helper, and waits until it leads and has measured once.
    async fn leader(&mut self, is_foreign: bool) -> Helper {
        let mut helper = self.helper(is_foreign).await;
        match self.cell.replica {
            Replica::Alone => self.round(&mut helper).await,
            Replica::Elected => {
                wait_leader(&helper, true).await;
                self.round(&mut helper).await;
            }
            Replica::Warm => {
                self.round(&mut helper).await;
                wait_leader(&helper, true).await;
            }
        }
        helper
    }

    async fn round(&mut self, helper: &mut Helper) {
        let snapshot = helper.round().await;
        let truth = self.world.truth(snapshot.coverage.scraped).await;
        self.books.measured(snapshot, truth);
    }

    async fn rounds(&mut self, helper: &mut Helper, count: usize) {
        for _ in 0..count {
            self.world.advance(&[helper]).await;
            self.round(helper).await;
        }
    }

    fn set(&self, service: Service) {
        let always = FaultRule::always;
        self.world.sim.cloudwatch_service().faults().set(match service {
            Service::Up => vec![],
            Service::Throttled => vec![always(Fault::Throttle).with_probability(0.6)],
            Service::Down => vec![always(Fault::Unavailable).with_probability(0.5), always(Fault::Internal)],
            Service::Refusing => vec![always(Fault::Invalid)],
            Service::NoAnswer => vec![always(Fault::ResetAfter)],
        });
    }

    /// Kills the helper while a request that CloudWatch has taken is not answered, and never will be. The spool has the last
    /// round before that request begins, so that only its claim tells what was sent.
    async fn kill_in_a_request(&mut self, mut helper: Helper, is_spooled: bool) {
        let store = self.world.sim.cloudwatch();
        let service = self.world.sim.cloudwatch_service().clone();
        service.faults().set(vec![FaultRule::always(Fault::Unavailable)]);
        self.rounds(&mut helper, 1).await;
        if is_spooled {
            disk::wait_round(&self.dir, self.books.newest()).await;
        }
        service.faults().set(vec![FaultRule::always(Fault::HangAfter)]);
        assert!(store.wait_until(TIMEOUT, |store| hung(store) > self.kills).await, "no request came");
        self.kills += 1;
        self.kill(helper, is_spooled).await;
    }

    /// What is not in the spool then is lost.
    async fn kill(&mut self, helper: Helper, is_spooled: bool) {
        if is_spooled {
            disk::wait_round(&self.dir, self.books.newest()).await;
        }
        let stats = helper.kill_and_count().await;
        self.books.count(&stats);
        let unsent = i64::try_from(stats.buffered_points).unwrap();
        if is_spooled {
            disk::wait_let_go(&self.dir).await;
            let left = disk::look(&self.dir).unwrap();
            assert_eq!(points(&left.rounds) + points(&left.in_doubt), unsent, "the spool has what is not sent");
            self.books.found(&left);
            return;
        }
        self.books.lost_by_name += unsent;
        if self.cell.disk == Disk::Full {
            disk::wait_let_go(&self.dir).await;
            // Still there if nothing was sent: the next life has it once more.
            let left = disk::look(&self.dir);
            assert_eq!(left.is_some(), self.cell.lease == Lease::NeverHeld);
            self.books.lost_by_name -= left.map_or(0, |left| points(&left.rounds) + points(&left.in_doubt));
        }
    }

    /// The folder as the second life finds it.
    async fn lay(&mut self) -> Obstacle {
        if self.cell.disk == Disk::Absent {
            let left = disk::look(&self.dir).unwrap();
            self.books.lost_by_name += points(&left.rounds) + points(&left.in_doubt);
        }
        // Baselines may be ten intervals old.
        let time = if self.cell.disk == Disk::Stale { INTERVAL * 20 } else { INTERVAL };
        self.world.advance_by(time, &[]).await;
        disk::lay(&self.dir, self.cell.disk)
    }

    async fn first_life(&mut self) {
        let mut helper = self.leader(true).await;
        self.rounds(&mut helper, 3).await;
        helper.wait_all_sent().await;
        self.set(self.cell.service);
        self.rounds(&mut helper, 3).await;
        self.kill_in_a_request(helper, true).await;
    }

    async fn second_life(&mut self) {
        self.set(self.cell.service);
        if self.cell.lease == Lease::NeverHeld {
            self.let_another_hold(None).await;
            let mut helper = self.helper(false).await;
            self.round(&mut helper).await;
            wait_page(&helper, "/readyz", "another leads").await;
            self.rounds(&mut helper, 4).await;
            self.check_trouble(&helper);
            self.kill(helper, self.is_spooled()).await;
            return self.release().await;
        }
        let mut helper = self.leader(false).await;
        self.rounds(&mut helper, 3).await;
        if self.cell.lease != Lease::Held {
            self.lapse(&mut helper).await;
        }
        self.check_trouble(&helper);
        self.kill_in_a_request(helper, self.is_spooled()).await;
    }

    /// The lease cannot be renewed, and perhaps another takes it meanwhile.
    async fn lapse(&mut self, helper: &mut Helper) {
        let fault = self.world.inject("api-server: { kind: deny, verb: update, resource: leases }");
        wait_leader(helper, false).await;
        let lapsed = self.books.newest();
        self.rounds(helper, 3).await;
        let others = match self.cell.lease {
            Lease::HeldByAnother => Some(lapsed + 30_000),
            Lease::ClockAhead => Some(self.world.now_ms + 1_800_000),
            _ => None,
        };
        if others.is_some() {
            // By a patch, which the fault does not deny.
            self.let_another_hold(others).await;
            wait_page(helper, "/readyz", "another").await;
            self.release().await;
        }
        self.world.clear(fault);
        wait_leader(helper, true).await;
        if others.is_some() && self.cell.replica == Replica::Elected {
            // It begins anew at once.
            self.round(helper).await;
        }
        self.rounds(helper, 3).await;
    }

    async fn let_another_hold(&self, published_until: Option<i64>) {
        let mut patch = json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 300}});
        if let Some(until) = published_until {
            patch["metadata"] = json!({"annotations": {PUBLISHED_UNTIL: until.to_string()}});
        }
        self.patch(patch).await;
    }

    async fn release(&self) {
        self.patch(json!({"spec": {"holderIdentity": null}})).await;
    }

    async fn patch(&self, mut patch: Value) {
        let spec = self.leases.get(LEASE).await.unwrap().spec.unwrap();
        patch["spec"]["leaseTransitions"] = json!(spec.lease_transitions.unwrap_or(0) + 1);
        self.leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The second life can write its spool.
    fn is_spooled(&self) -> bool {
        !matches!(self.cell.disk, Disk::Unwritable | Disk::Hanging | Disk::Full)
    }

    fn check_trouble(&self, helper: &Helper) {
        let trouble = helper.stats("cloudwatch").trouble;
        assert!(self.is_spooled() || trouble.is_some(), "sink_in_trouble 1");
    }

    async fn third_life(&mut self) {
        self.world.advance_by(INTERVAL, &[]).await;
        self.set(Service::Up);
        let mut helper = self.leader(false).await;
        self.rounds(&mut helper, 4).await;
        helper.wait_all_sent().await;
        assert_eq!(helper.stats("cloudwatch").trouble, None);
        self.books.count(&helper.stats("cloudwatch"));
        helper.end().await;
    }

    fn check(&self) {
        let cell = self.cell;
        self.books.check(&self.world.sim.cloudwatch());
        assert_eq!(self.books.beginnings(), cell.beginnings, "counting began anew");
        let mut dropped: BTreeSet<DropReason> = self.books.counted.keys().copied().collect();
        let is_in_doubt = dropped.remove(&DropReason::InDoubt);
        // A request that was refused is halved: the half that is under way at a kill may have gauges only.
        assert!(is_in_doubt || cell.service == Service::Refusing, "nothing was in doubt");
        assert_eq!(dropped, cell.dropped.iter().copied().collect(), "{:?}", self.books.counted);
        assert_eq!(self.books.lost_by_name > 0, cell.loses, "{} points lost by name", self.books.lost_by_name);
        let aside = match cell.disk {
            Disk::Damaged => Some("damaged"),
            Disk::OfAnotherCluster | Disk::OfAnotherNamespace => Some("foreign"),
            _ => None,
        };
        assert!(aside.is_none_or(|kind| disk::is_set_aside(&self.dir, kind)), "nothing was set aside");
    }
}

/// Requests that are not answered.
fn hung(store: &CloudWatchStore) -> usize {
    store.requests().iter().filter(|request| request.outcome == Outcome::AcceptedThenHung).count()
}

async fn run(cell: Cell) {
    let mut stand = Stand::start(cell).await;
    stand.first_life().await;
    let obstacle = stand.lay().await;
    stand.second_life().await;
    stand.dir = obstacle.clear(stand.dir.clone()).await;
    stand.third_life().await;
    stand.check();
}

#[test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_uncounted_or_published_twice() {
    let running = CELLS.map(|cell| (cell, tokio::spawn(run(cell))));
    let mut failed = Vec::new();
    for (cell, running) in running {
        if let Err(error) = running.await {
            let Cell { disk, lease, service, replica, .. } = cell;
            let panic = error.into_panic();
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            failed.push(format!("{disk:?}, {lease:?}, {service:?}, {replica:?}: {text}"));
        }
    }
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_state_is_in_a_cell() {
    for disk in [Disk::Absent, Disk::Fresh, Disk::Stale, Disk::Damaged, Disk::Unwritable, Disk::Hanging, Disk::Full] {
        assert!(CELLS.iter().any(|cell| cell.disk == disk), "{disk:?}");
    }
    for lease in [Lease::NeverHeld, Lease::Held, Lease::LapsedUnseen, Lease::HeldByAnother, Lease::ClockAhead] {
        assert!(CELLS.iter().any(|cell| cell.lease == lease), "{lease:?}");
    }
    for service in [Service::Up, Service::Throttled, Service::Down, Service::Refusing, Service::NoAnswer] {
        assert!(CELLS.iter().any(|cell| cell.service == service), "{service:?}");
    }
}
