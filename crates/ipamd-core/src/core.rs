//! One node's agent.

mod answers;
mod reads;

use std::sync::Arc;

use crate::agent::lane::Lane;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::wake::{Flow, Wake};
use crate::chooser::Chooser;
use crate::config::Config;
use crate::id::{Now, RpcId};
use crate::input::{BadInput, Boot, Input, NodeSeen};
use crate::lanes::cidrs::Cidrs;
use crate::lanes::early::Early;
use crate::lanes::init::Init;
use crate::lanes::ipv6::Ipv6Loop;
use crate::lanes::jobs::Jobs;
use crate::lanes::leak::Leak;
use crate::lanes::pool::PoolLoop;
use crate::lanes::rpc::Rpcs;
use crate::lanes::security::Security;
use crate::metrics::Action;
use crate::output::{Output, Reply, Warning};
use crate::rare::Rare;
use crate::settings::Mode;

/// Later times of the steady clock count as this one: what is due after it never comes, instead of being due at once for want
/// of a later time.
const LATEST_MS: i64 = i64::MAX / 2;

/// Where the process is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for the first input.
    New,
    /// It initialises: no page, no socket.
    Starting,
    /// It serves.
    Serving,
    /// It ended, for this reason.
    Ended(Box<str>),
}

/// Pause before the rest of a start is tried again.
const SETTLE_AGAIN_MS: i64 = 10_000;

/// The loop of a node that serves.
#[derive(Debug)]
enum Loop {
    Ipv4(PoolLoop),
    Ipv6(Ipv6Loop),
}

/// The decisions of one life of one node's agent. `K` names a pod's network attachment.
///
/// A new life is a new core: what the process knew is gone with it.
#[derive(Debug)]
pub struct Core<K> {
    agent: Agent<K>,
    phase: Phase,
    boot_ms: i64,
    early: Option<(Early, bool)>,
    init: Option<Box<Init>>,
    pool: Option<Loop>,
    security: Security,
    cidrs: Cidrs,
    leak: Leak,
    rpcs: Rare<Rpcs<K>>,
    /// Careful: growth under way.
    jobs: Option<Box<Jobs>>,
}

impl<K: PodKey> Core<K> {
    /// A life that is to begin.
    pub fn new(config: impl Into<Arc<Config>>, chooser: Box<dyn Chooser>) -> Self {
        Self {
            agent: Agent::new(config.into(), chooser, Now::default(), &Boot::default()),
            phase: Phase::New,
            boot_ms: 0,
            early: None,
            init: None,
            pool: None,
            security: Security::default(),
            cidrs: Cidrs::default(),
            leak: Leak::default(),
            rpcs: Rare::EMPTY,
            jobs: None,
        }
    }

    /// Takes one input, and says what is to be done. Time that passed unseen is caught up with first, one wake-up after the
    /// other, all at `now`.
    pub fn handle(&mut self, now: Now, input: Input<K>) -> Vec<Output> {
        let earlier_ms = self.agent.now.mono_ms;
        self.agent.now = Now { mono_ms: now.mono_ms.min(LATEST_MS).max(earlier_ms), ..now };
        match (&self.phase, input) {
            (Phase::Ended(_), _) => return Vec::new(),
            (Phase::New, Input::Boot(boot)) => self.boot(&boot),
            (Phase::New, Input::Add(request)) => self.refuse(request.rpc),
            (Phase::New, Input::Del(request)) => self.refuse(request.rpc),
            (Phase::New, Input::Tick) => {}
            (Phase::New, _) => self.agent.bad.add(BadInput::BeforeBoot),
            (_, input) => {
                self.take(input);
                self.catch_up();
                if std::mem::take(&mut self.agent.lost_pods) {
                    self.rpcs.rewrite(&mut self.agent.lane(Lane::Store));
                }
                self.plan();
                if self.agent.pool.take_changed() {
                    self.rouse();
                }
                let now_ms = self.agent.ms();
                self.agent.operations.release(now_ms);
            }
        }
        if self.rpcs.is_idle() {
            self.rpcs = Rare::EMPTY;
        }
        self.agent.operations.take_outputs()
    }

    /// When something is to be done without another input, milliseconds of the steady clock.
    pub fn deadline(&self) -> Option<i64> {
        let cleanup = self.agent.pool.clean_up_at_ms();
        let growth = self.agent.growth_deadline();
        self.agent.operations.deadline().into_iter().chain(cleanup).chain(growth).min()
    }

    fn boot(&mut self, boot: &Boot) {
        let config = Arc::clone(&self.agent.config);
        let chooser = std::mem::replace(&mut self.agent.chooser, Box::new(crate::chooser::Seeded::first_fit(0)));
        self.agent = Agent::new(config, chooser, self.agent.now, boot);
        self.boot_ms = self.agent.ms();
        self.agent.metrics.startup_seconds = seconds(boot.waited_ms);
        self.phase = Phase::Starting;
        let cooldown_s = self.agent.config.settings.ip_cooldown_s;
        if let Some(timeout_s) = boot.syn_sent_timeout_s.filter(|timeout_s| cooldown_s < i64::from(*timeout_s))
            && self.agent.is_careful()
        {
            self.agent.operations.put(Output::Warn(Warning::ShortCooldown { cooldown_s, timeout_s }));
        }
        let mut cx = self.agent.lane(Lane::Init);
        if cx.is_careful() {
            self.early = Some(Early::begin(&mut cx));
        } else {
            self.init = Some(Box::new(Init::begin(&mut cx)));
        }
    }

    fn refuse(&mut self, rpc: RpcId) {
        self.agent.operations.put(Output::Reply { rpc, reply: Reply::NotReady });
    }

    fn take(&mut self, input: Input<K>) {
        let serving = self.phase == Phase::Serving;
        match input {
            Input::Boot(_) => self.agent.bad.add(BadInput::SecondBoot),
            // Careful: what the interface used is free.
            Input::VethGone { ifindex, .. } if self.agent.is_careful() => {
                if self.agent.veth_gone(ifindex) {
                    self.rpcs.rewrite(&mut self.agent.lane(Lane::Store));
                }
            }
            Input::Bound { key, ifindex } => self.agent.bind(&key, ifindex),
            // Nothing of the original's hastens a wait or hears of links.
            Input::Tick | Input::LinkSeen { .. } | Input::LinkChanged { .. } | Input::VethGone { .. } => {}
            Input::Terminate { .. } => self.agent.terminating = true,
            Input::ApiServer { reachable } => self.agent.facts.api_server = reachable,
            Input::NodeSeen(node) => self.see_node(node),
            Input::Ec2(answer) => self.ec2(answer),
            Input::Imds(answer) => self.imds(answer),
            Input::Kube(answer) => self.kube(answer),
            Input::Host(answer) => self.host(answer),
            Input::Store(answer) => self.store(answer),
            Input::Add(request) if !serving => self.refuse(request.rpc),
            Input::Del(request) if !serving => self.refuse(request.rpc),
            Input::Add(request) => {
                let mut cx = self.agent.lane(Lane::Rpc(request.rpc));
                self.rpcs.add(&mut cx, request);
            }
            Input::Del(request) => {
                let mut cx = self.agent.lane(Lane::Rpc(request.rpc));
                self.rpcs.del(&mut cx, request);
            }
            Input::RpcGone { rpc } => self.rpcs.gone(&mut self.agent.lane(Lane::Rpc(rpc)), rpc),
        }
    }

    /// A start without the API server takes the number of pods from the list of the image, and the node's once it is seen.
    fn see_node(&mut self, node: NodeSeen) {
        let max_pods = node.max_pods;
        let newer = self.agent.see_node(node);
        if let Some(max_pods) = max_pods.filter(|_| newer && !self.agent.metrics.with_api_server) {
            self.agent.facts.max_pods = max_pods;
            self.rouse();
        }
    }

    /// The pool or the node may have changed: a loop that left out its checks looks whether they do nothing still.
    fn rouse(&mut self) {
        if let Some(Loop::Ipv4(step)) = &mut self.pool {
            step.rouse(&mut self.agent.lane(Lane::Pool));
        }
    }

    /// Ends effects whose time is over, and wakes lanes whose sleep is.
    fn catch_up(&mut self) {
        let now_ms = self.agent.ms();
        self.agent.pool.clean_up(now_ms);
        while let Some(open) = self.agent.operations.overdue(self.agent.ms()) {
            self.unanswered(open);
        }
        while let Some(lane) = self.agent.operations.due_sleeper(self.agent.ms()) {
            self.wake(lane, Wake::Timer);
        }
    }

    /// Careful: requests that wait are served or end, and growth begins.
    fn plan(&mut self) {
        if self.phase != Phase::Serving || self.agent.own.is_none() {
            return;
        }
        let mut cx = self.agent.lane(Lane::Store);
        self.rpcs.serve(&mut cx);
        let jobs = self.jobs.get_or_insert_default();
        if self.agent.growth_is_due() {
            jobs.plan(&mut self.agent);
        }
        // A request that waits does not wait for the start's time.
        if self.agent.hurries() && self.agent.operations.rouse(Lane::Init) {
            self.settle();
        }
        self.agent.write_file();
    }

    /// Lets a lane go on.
    fn wake(&mut self, lane: Lane, wake: Wake) {
        let mut cx = self.agent.lane(lane);
        match lane {
            Lane::Init => self.start(wake),
            Lane::Pool => {
                self.pool = self.pool.take().map(|node_loop| match node_loop {
                    Loop::Ipv4(step) => Loop::Ipv4(step.resume(&mut cx, wake)),
                    Loop::Ipv6(step) => Loop::Ipv6(step.resume(&mut cx, wake)),
                });
            }
            Lane::Groups => self.security = std::mem::take(&mut self.security).resume(&mut cx, wake),
            Lane::Cidrs => self.cidrs = self.cidrs.resume(&mut cx, wake),
            Lane::Leak => self.leak = std::mem::take(&mut self.leak).resume(&mut cx, wake),
            Lane::Store => self.rpcs.written(&mut cx, wake),
            Lane::Job(lane) => {
                if let Some(jobs) = &mut self.jobs {
                    jobs.resume(&mut cx, lane, wake);
                }
            }
            Lane::Notes => self.agent.noted(wake),
            Lane::File => self.agent.file_written(wake),
            Lane::Links => {
                if self.agent.look_at_links(wake) {
                    self.rpcs.rewrite(&mut self.agent.lane(Lane::Store));
                }
            }
            Lane::Rpc(rpc) => self.rpcs.resume(&mut cx, rpc, wake),
        }
    }

    fn start(&mut self, wake: Wake) {
        let mut cx = self.agent.lane(Lane::Init);
        if let Some((early, sleeps)) = self.early.take() {
            return match early.resume(sleeps, &mut cx, wake) {
                Flow::Wait(early) => self.early = Some(early),
                Flow::Done(Ok(())) => {
                    if self.phase != Phase::Serving {
                        self.open();
                    }
                    // What the second file said is held against the metadata service.
                    if let Some(early) = Early::confirm(&mut self.agent.lane(Lane::Init)) {
                        self.early = Some(early);
                    } else {
                        // The reads of many nodes that start together do not come together.
                        let spread_ms = self.agent.spread_ms();
                        self.agent.lane(Lane::Init).sleep(spread_ms);
                    }
                }
                Flow::Done(Err(reason)) => self.end(reason),
            };
        }
        match self.init.take() {
            Some(init) => {
                let flow = init.resume(&mut cx, wake);
                self.started(flow);
            }
            None if self.pool.is_none() => self.settle(),
            None => {}
        }
    }

    /// Careful: the rest of the start, after the page is open.
    fn settle(&mut self) {
        self.agent.end_spread();
        let flow = Init::settle(&mut self.agent.lane(Lane::Init));
        self.started(flow);
    }

    fn started(&mut self, flow: Flow<Init, Result<(), Box<str>>>) {
        match flow {
            Flow::Wait(init) => self.init = Some(Box::new(init)),
            Flow::Done(Ok(())) => {
                if self.phase != Phase::Serving {
                    self.open();
                }
                self.begin_loop();
            }
            // Careful: a node that serves goes on doing so.
            Flow::Done(Err(_)) if self.phase == Phase::Serving => {
                self.agent.lane(Lane::Init).sleep(SETTLE_AGAIN_MS);
            }
            Flow::Done(Err(reason)) => self.end(reason),
        }
    }

    fn open(&mut self) {
        let took = seconds(self.agent.ms().saturating_sub(self.boot_ms));
        self.agent.metrics.init_seconds = took;
        self.agent.metrics.startup_seconds += took;
        self.phase = Phase::Serving;
        self.agent.operations.put(Output::Ready);
    }

    fn begin_loop(&mut self) {
        let mut cx = self.agent.lane(Lane::Pool);
        self.pool = Some(if cx.facts.mode == Mode::Ipv6 {
            Loop::Ipv6(Ipv6Loop::begin(&mut cx))
        } else {
            Loop::Ipv4(PoolLoop::begin(&mut cx))
        });
    }

    fn end(&mut self, reason: Box<str>) {
        self.agent.metrics.progress(Action::Init, -1);
        self.agent.operations.clear();
        self.agent.operations.put(Output::Fatal { reason: reason.clone() });
        self.phase = Phase::Ended(reason);
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
