//! Histories from the field that cost somebody pods: each is played against any agent, and says what came of it.

use cni_types::ec2::Ec2Operation;
use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::id::{EniId, GroupId, SubnetId, VpcId};
use ipamd_core::input::{EniKind, ImdsErrorKind, KubeError, PodName};

use super::agent::Agents;
use super::census::Harm;
use super::ec2::Ec2Spec;
use super::faults::{Fault, How, ImdsPath, Target};
use super::host::HostSpec;
use super::imds::ImdsSpec;
use super::kube::Controller;
use super::kubelet::{KubeletSpec, LinksTold};
use super::run::{World, WorldNodeSpec};
use super::subnet::SubnetFacts;
use super::wire::WireSpec;

const MINUTE_MS: i64 = 60_000;

/// A history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Case {
    /// The agent restarts while `DescribeSubnets` is throttled for this long, milliseconds.
    ThrottledRestart(i64),
    /// The agent restarts while the metadata service shows one ENI with its primary address only, for two minutes.
    StaleList,
    /// The metadata service does not list an ENI with pods for 70 s, while the agent runs.
    EniMissing,
    /// Pods are deleted by force and made again under their names; DELs come late, twice or never; one restart.
    SameName,
    /// Six pods are replaced by eight at once.
    Replacement,
    /// So many nodes restart within a minute, on one account's limits.
    Fleet(usize),
    /// Somebody attaches an ENI without tags, on which nothing runs.
    ForeignEni,
    /// From a restart on, the role lacks one action.
    MissingPermission(Ec2Operation),
    /// The disk is full while half of the pods end; then it is not, and the agent restarts.
    FullDisk,
    /// The API server answers this to everything, while pods come and go.
    Api(KubeError),
    /// An action of EC2 or a path of the metadata service fails.
    Failing {
        /// Which.
        target: Target,
        /// For how long, milliseconds; `i64::MAX` is for ever.
        lasts_ms: i64,
        /// From a restart of the agent on; otherwise while it runs.
        at_start: bool,
    },
}

/// How long something fails in a cell of the table: not at all, as long as a set-up is tried, ten minutes, for ever.
const LENGTHS_MS: [i64; 4] = [0, 51_000, 10 * MINUTE_MS, i64::MAX];

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseOutcome {
    /// What happened to running pods at any time.
    pub harm: Harm,
    /// The agent serves at the end, on every node.
    pub serves: bool,
    /// ADDs that were refused from the beginning of the trouble on.
    pub refused: u64,
    /// How long after the beginning of the trouble every pod ran for good, as far as it was looked at; `None`: not by the end.
    pub all_run_ms: Option<i64>,
    /// Sandboxes that run and that the checkpoint does not have, and the other way round, at the end.
    pub unlike_checkpoint: (usize, usize),
    /// The ENI of somebody else is where it was.
    pub foreign_stays: Option<bool>,
    /// Attempts that arrived at EC2 from the beginning of the trouble on, by operation, where there were any.
    pub calls: Vec<(Ec2Operation, u64)>,
}

/// An account with one subnet and a generous bucket.
fn account<F: Agents>(seed: u64) -> World<F> {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), [10, 0, 0, 0].into(), 19);
    let ec2 = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], seed);
    World::new(ec2, WireSpec { mutations: Some((200, 20)), reads: Some((400, 40)), ..WireSpec::default() })
}

/// A node whose instance may have so many ENIs of four addresses, each with room for three pods.
fn node(enis: u16) -> WorldNodeSpec {
    let mut limits = InstanceLimits::custom(enis, 4);
    limits.listed = true;
    let mut imds = ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]);
    imds.lag_ms = (0, 3_000);
    WorldNodeSpec {
        instance_type: "m5.large".into(),
        limits,
        subnet: SubnetId::from_bits(1),
        imds,
        host: HostSpec::default(),
        kubelet: KubeletSpec { links_told: LinksTold::EverySecond, ..KubeletSpec::default() },
        controller: Controller::Silent,
        max_pods: Some(20),
    }
}

fn name(pod: u64) -> PodName {
    PodName { namespace: "default".into(), name: format!("pod-{pod}").into() }
}

/// A case under way.
struct Play<F: Agents> {
    world: World<F>,
    outcome: CaseOutcome,
    began_ms: i64,
    refused: u64,
    calls: Vec<u64>,
}

impl<F: Agents> Play<F> {
    /// Nodes that serve, each with so many pods that run.
    fn begin(seed: u64, (nodes, enis): (usize, u16), pods: u64, mut agents: impl FnMut(usize) -> F) -> Self {
        let mut world = account(seed);
        for index in 0..nodes {
            if world.launch(node(enis), agents(index)).is_err() {
                // The subnet has no room for more.
                break;
            }
        }
        world.pass(2 * MINUTE_MS);
        for index in 0..nodes {
            for pod in 0..pods {
                world.start_pod(index, pod, name(pod));
            }
        }
        world.until(20 * MINUTE_MS, |world| world.nodes().iter().all(|node| node.kubelet.waiting() == 0));
        world.pass(2 * MINUTE_MS);
        let (began_ms, refused) = (world.now_ms(), refusals(&world));
        let calls = Ec2Operation::ALL.map(|operation| world.account.wire.arrived(operation)).to_vec();
        Self { world, outcome: CaseOutcome::default(), began_ms, refused, calls }
    }

    /// The ENI of the first node, beside the primary one, on which most pods run.
    fn busiest(&self) -> EniId {
        let primary = self.world.node(0).and_then(|node| self.world.account.ec2.instance(node.instance));
        let primary = primary.map(|instance| instance.primary_eni);
        let pods = self.world.pods_by_eni(0);
        let busiest = pods.into_iter().filter(|(eni, _)| Some(*eni) != primary).max_by_key(|(_, pods)| *pods);
        busiest.map_or(EniId::from_bits(0), |(eni, _)| eni)
    }

    fn fault(&mut self, target: Target, how: How, lasts_ms: i64) {
        let now_ms = self.world.now_ms();
        self.world.account.faults.add(Fault::new(target, how, now_ms, now_ms.saturating_add(lasts_ms)));
    }

    fn start(&mut self, pods: std::ops::Range<u64>) {
        for pod in pods {
            self.world.start_pod(0, pod, name(pod));
        }
    }

    fn watch(&mut self, ms: i64) {
        let harm = self.world.watch(0, ms);
        self.outcome.harm.shared.extend(harm.shared);
        self.outcome.harm.stranded.extend(harm.stranded);
        let all_run = self.world.nodes().iter().all(|node| node.kubelet.waiting() == 0);
        let after_ms = self.world.now_ms().saturating_sub(self.began_ms);
        self.outcome.all_run_ms = all_run.then(|| self.outcome.all_run_ms.unwrap_or(after_ms));
    }

    fn end(mut self) -> (World<F>, CaseOutcome) {
        let world = self.world;
        self.outcome.serves = world.nodes().iter().all(|node| node.serving_since_ms().is_some());
        self.outcome.refused = refusals(&world).saturating_sub(self.refused);
        let (missing, extra) = world.unlike_checkpoint(0);
        self.outcome.unlike_checkpoint = (missing.len(), extra.len());
        let calls = Ec2Operation::ALL
            .into_iter()
            .zip(self.calls)
            .map(|(operation, before)| (operation, world.account.wire.arrived(operation).saturating_sub(before)));
        self.outcome.calls = calls.filter(|(_, count)| *count > 0).collect();
        (world, self.outcome)
    }
}

fn refusals<F: Agents>(world: &World<F>) -> u64 {
    world.nodes().iter().map(|node| node.kubelet.tally().refused).sum()
}

impl Case {
    /// Every cell of the table of failures: each action of EC2 and each path of the metadata service, for each length, at a
    /// start and later.
    pub fn table() -> impl Iterator<Item = Self> {
        let ec2 = Ec2Operation::ALL.into_iter().map(Target::Ec2);
        let targets = ec2.chain(ImdsPath::ALL.into_iter().map(Target::Imds));
        targets.flat_map(|target| {
            LENGTHS_MS
                .into_iter()
                .flat_map(move |lasts_ms| [true, false].map(|at_start| Self::Failing { target, lasts_ms, at_start }))
        })
    }

    /// Plays the case. `agents` makes the agent of a node, by its number.
    pub fn play<F: Agents>(&self, seed: u64, agents: impl FnMut(usize) -> F) -> (World<F>, CaseOutcome) {
        let (nodes, pods) = match self {
            Self::Fleet(nodes) => (*nodes, 2),
            Self::Replacement => (1, 6),
            Self::ForeignEni => (1, 1),
            Self::SameName => (1, 3),
            Self::Api(_) => (1, 4),
            Self::Failing { .. } => (1, 5),
            _ => (1, 9),
        };
        let enis = match self {
            Self::ForeignEni => 4,
            // Room for twice as many pods as are replaced.
            Self::Replacement => 6,
            _ => 3,
        };
        let mut play = Play::begin(seed, (nodes, enis), pods, agents);
        match self {
            Self::ThrottledRestart(lasts_ms) => {
                play.world.account.faults.restart_throttled(play.began_ms, *lasts_ms);
                play.restart_and_replace(lasts_ms.saturating_add(MINUTE_MS));
            }
            Self::StaleList => {
                let eni = play.busiest();
                play.fault(Target::ImdsEni(eni), How::PrimaryOnly, 2 * MINUTE_MS);
                play.restart_and_replace(3 * MINUTE_MS);
            }
            Self::EniMissing => {
                let eni = play.busiest();
                play.world.account.faults.imds_drops_eni(eni, play.began_ms, 70_000);
                play.watch(3 * MINUTE_MS);
                play.replace_some();
            }
            Self::SameName => play.same_name(),
            Self::Replacement => {
                (0..6).for_each(|pod| play.world.stop_pod(0, pod));
                play.start(100..108);
                (0..240).for_each(|_| play.watch(1_000));
            }
            Self::Fleet(nodes) => play.restart_fleet(*nodes),
            Self::ForeignEni => play.foreign_eni(),
            Self::MissingPermission(operation) => {
                play.fault(Target::Ec2(*operation), How::Code("UnauthorizedOperation".into()), i64::MAX);
                play.restart_and_replace(10 * MINUTE_MS);
            }
            Self::FullDisk => {
                play.fault(Target::DiskWrite, How::Fails, 2 * MINUTE_MS);
                (0..5).for_each(|pod| play.world.stop_pod(0, pod));
                play.watch(3 * MINUTE_MS);
                play.world.roll_out(0);
                play.watch(5 * MINUTE_MS);
            }
            Self::Api(error) => {
                play.fault(Target::Kube, How::Kube(*error), 5 * MINUTE_MS);
                play.world.stop_pod(0, 0);
                play.start(100..103);
                play.world.stop_pod(0, 1);
                play.watch(10 * MINUTE_MS);
            }
            Self::Failing { target, lasts_ms, at_start } => play.failing(*target, *lasts_ms, *at_start),
        }
        play.end()
    }
}

impl<F: Agents> Play<F> {
    /// A restart, time for the trouble to end, and pods that make the agent hand out what it thinks is free.
    fn restart_and_replace(&mut self, lasts_ms: i64) {
        self.world.roll_out(0);
        self.watch(lasts_ms);
        self.replace_some();
    }

    fn replace_some(&mut self) {
        // Pods are started in turn, and ENIs fill in turn: these are on different ENIs.
        for pod in [1, 4, 7] {
            self.world.stop_pod(0, pod);
        }
        self.watch(MINUTE_MS);
        // Two more than there is room for: what an agent wrongly takes for free is asked for.
        self.start(100..105);
        self.watch(5 * MINUTE_MS);
        let left: Vec<u64> = self.world.node(0).map(|node| node.kubelet.pending().collect()).unwrap_or_default();
        for pod in left {
            self.world.stop_pod(0, pod);
        }
        self.watch(5 * MINUTE_MS);
    }

    fn failing(&mut self, target: Target, lasts_ms: i64, at_start: bool) {
        let how = match target {
            Target::Imds(_) => How::Imds(ImdsErrorKind::Status(500)),
            _ => How::Code("RequestLimitExceeded".into()),
        };
        self.fault(target, how, lasts_ms);
        if at_start {
            self.world.roll_out(0);
        }
        self.watch(MINUTE_MS);
        self.replace_some();
        self.watch(3 * MINUTE_MS);
    }

    fn same_name(&mut self) {
        let mut random = Random::stream(self.began_ms.unsigned_abs(), 9);
        let (mut kept, mut next) = (Vec::new(), 1_000_u64);
        let mut current: Vec<u64> = (0..3).collect();
        for round in 0..200 {
            let turn = random.index(current.len());
            if let Some(pod) = current.get_mut(turn)
                && let Some(sandbox) = self.world.force_stop(0, *pod)
            {
                kept.push(sandbox);
                *pod = next;
                next += 1;
                self.world.start_pod(0, *pod, name(turn as u64));
            }
            self.watch(random.between(0, 10_000));
            // No more than two sandboxes are left over at a time; one in fifty never gets its DEL.
            if kept.len() > random.index(3) {
                let sandbox = kept.swap_remove(random.index(kept.len()));
                if random.below(4) == 0 {
                    self.world.late_del(0, sandbox.clone());
                }
                if random.below(50) > 0 {
                    self.world.late_del(0, sandbox);
                }
            }
            if round == 100 {
                self.world.roll_out(0);
            }
            self.watch(10_000);
        }
        for sandbox in kept {
            self.world.late_del(0, sandbox);
        }
        self.watch(5 * MINUTE_MS);
    }

    fn restart_fleet(&mut self, nodes: usize) {
        for index in 0..nodes {
            self.world.roll_out(index);
            self.world.pass(MINUTE_MS / i64::try_from(nodes).unwrap_or(1).max(1));
        }
        self.watch(15 * MINUTE_MS);
    }

    fn foreign_eni(&mut self) {
        let made = self.world.attach_foreign(0, EniKind::Interface, &[]);
        self.watch(15 * MINUTE_MS);
        let instance = self.world.node(0).map(|node| node.instance);
        self.outcome.foreign_stays = made.ok().map(|id| {
            let eni = self.world.account.ec2.eni(id);
            eni.is_some_and(|eni| instance.is_some_and(|instance| eni.attached_to(instance).is_some()))
        });
    }
}
