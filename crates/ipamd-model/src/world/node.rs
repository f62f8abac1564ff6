//! One node of a world: its agent, and everything on it that answers the agent.

mod pods;

use std::sync::Arc;

use ipamd_core::id::{Epoch, InstanceId, OpId};
use ipamd_core::input::{Answer, Boot, ImdsErrorKind, ImdsReply, Input};
use ipamd_core::output::{Effect, HostCall, ImdsRead, Output, StoreCall, Warning};

use super::account::{Account, Moment};
use super::agent::{Agent, Agents};
use super::disk::Disk;
use super::event::Event;
use super::faults::ImdsPath;
use super::host::Host;
use super::imds::Imds;
use super::kube::Kube;
use super::kubelet::Kubelet;
use super::kubelet::container::Container;
use super::wire::Arrival;

/// The disk needs this for a write, milliseconds.
const WRITE_MS: i64 = 3;

/// The pod's `terminationGracePeriodSeconds`, in milliseconds ...
const GRACE_MS: i64 = 10_000;

/// ... of which the process needs this.
const ENDING_MS: i64 = 100;

/// A read of the instance metadata service that nothing answers is given up after this, milliseconds.
const IMDS_SILENCE_MS: i64 = 5_000;

/// A node.
pub struct WorldNode<F: Agents> {
    /// Its instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: Arc<str>,
    /// Its instance metadata service.
    pub imds: Imds,
    /// Its host network.
    pub host: Host,
    /// Its agent's checkpoint.
    pub disk: Disk,
    /// What the API server has for it.
    pub kube: Kube,
    /// Its kubelet.
    pub kubelet: Kubelet,
    /// Its agent's container.
    pub container: Container,
    agents: F,
    agent: Option<F::Agent>,
    epoch: Epoch,
    serving_since_ms: Option<i64>,
    /// When the container starts again, while no process lives.
    again_ms: Option<i64>,
    wake_ms: Option<i64>,
    /// The times of all planned wakes, the earliest last. Some may be of deadlines that were replaced.
    wakes: Vec<i64>,
    kubelet_ms: Option<i64>,
    fatal: Vec<Box<str>>,
    warning: Option<Warning>,
}

/// The parts of a node.
pub struct Parts<F> {
    /// Its instance, which runs.
    pub instance: InstanceId,
    /// Its name.
    pub name: Arc<str>,
    /// Its instance metadata service.
    pub imds: Imds,
    /// Its host network.
    pub host: Host,
    /// What the API server has for it.
    pub kube: Kube,
    /// Its kubelet.
    pub kubelet: Kubelet,
    /// What makes its agents.
    pub agents: F,
}

impl<F: Agents> WorldNode<F> {
    /// A node whose agent has not started: [`Event::Start`] is to be planned.
    pub fn new(parts: Parts<F>) -> Self {
        let Parts { instance, name, imds, host, kube, kubelet, agents } = parts;
        Self {
            instance,
            name,
            imds,
            host,
            disk: Disk::default(),
            kube,
            kubelet,
            container: Container::default(),
            agents,
            agent: None,
            epoch: Epoch::default(),
            serving_since_ms: None,
            again_ms: None,
            wake_ms: None,
            wakes: Vec::new(),
            kubelet_ms: None,
            fatal: Vec::new(),
            warning: None,
        }
    }

    /// The agent, while its process lives.
    pub fn agent(&self) -> Option<&F::Agent> {
        self.agent.as_ref()
    }

    /// The agent, to be changed from outside.
    pub fn agent_mut(&mut self) -> Option<&mut F::Agent> {
        self.agent.as_mut()
    }

    /// When the container starts again, while no process of the agent lives.
    pub fn starts_again_ms(&self) -> Option<i64> {
        self.again_ms
    }

    /// Since when the agent serves.
    pub fn serving_since_ms(&self) -> Option<i64> {
        self.serving_since_ms
    }

    /// The life of the agent's process.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the agent warned of last.
    pub fn warning(&self) -> Option<Warning> {
        self.warning
    }

    /// Why processes ended by themselves, the oldest first.
    pub fn fatal(&self) -> &[Box<str>] {
        &self.fatal
    }

    /// An event of this node happens.
    pub fn happen(&mut self, event: Event, at: &mut Moment<'_>) {
        match event {
            Event::Start => self.start(at),
            Event::End(epoch) if self.lives(epoch) => self.end(at),
            Event::Probe(epoch) if self.lives(epoch) => self.probe(at),
            Event::Wake => self.wake(at),
            Event::Tell(epoch, input) if self.lives(epoch) => self.tell(*input, at),
            Event::Ec2(exchange) => self.arrive(*exchange, at),
            Event::Imds(epoch, op, read, sent_ms) if self.lives(epoch) => {
                let result = self.imds.read(at.now_ms, read, &at.account.ec2, &mut at.account.faults);
                if let (Ok(reply), Some(agent)) = (&result, self.agent.as_mut()) {
                    agent.metadata_answered(requests(read, reply));
                }
                let silent = result.as_ref().is_err_and(|error| error.kind == ImdsErrorKind::Timeout);
                let more_ms = if silent { IMDS_SILENCE_MS } else { 0 };
                let took_ms = took(sent_ms, at.now_ms.saturating_add(more_ms));
                let answer = Input::Imds(Answer { op, epoch, took_ms, result });
                if silent {
                    at.after(more_ms, tell(epoch, answer));
                } else {
                    self.tell(answer, at);
                }
            }
            Event::Write(epoch, op, generation) if self.lives(epoch) => self.write(epoch, op, generation, at),
            Event::Kubelet if self.kubelet_ms == Some(at.now_ms) => {
                self.kubelet_ms = None;
                let sends = self.kubelet.due(at.now_ms);
                self.send(sends, at);
            }
            Event::Trunk => {
                let kind = ipamd_core::input::EniKind::Trunk;
                let made = at.account.ec2.attach_foreign(at.now_ms, self.instance, kind, &[]);
                at.note(&("trunk", made.as_ref().map_err(|refusal| &refusal.code)));
                self.notice(at);
            }
            // Answers to a process that is gone, and times that were planned anew.
            _ => {}
        }
    }

    fn lives(&self, epoch: Epoch) -> bool {
        self.agent.is_some() && self.epoch == epoch
    }

    fn start(&mut self, at: &mut Moment<'_>) {
        if self.agent.is_some() {
            return;
        }
        self.epoch = Epoch(self.epoch.0.saturating_add(1));
        self.again_ms = None;
        self.disk.begin_life();
        self.agent = Some(self.agents.begin(self.epoch));
        let probe_ms = self.container.started(at.now_ms);
        at.plan.at(probe_ms, at.index, Event::Probe(self.epoch));
        let boot = Boot {
            epoch: self.epoch,
            node_name: (&*self.name).into(),
            api_server_reachable: at.account.faults.kube(at.now_ms).is_none(),
            waited_ms: 0,
            boot_id: format!("boot-{}", self.host.boots()).into(),
            syn_sent_timeout_s: Some(120),
        };
        self.tell(Input::Boot(boot), at);
    }

    fn probe(&mut self, at: &mut Moment<'_>) {
        let healthy = self.serving_since_ms.is_some();
        match self.container.probed(at.now_ms, healthy) {
            // A process that serves does so until it ends.
            Some(_) if healthy => {}
            Some(next_ms) => at.plan.at(next_ms, at.index, Event::Probe(self.epoch)),
            None => self.terminate(at),
        }
    }

    /// The kubelet asks the process to end, and it does so soon.
    pub(super) fn terminate(&mut self, at: &mut Moment<'_>) {
        self.tell(Input::Terminate { grace_ms: GRACE_MS }, at);
        at.after(ENDING_MS, Event::End(self.epoch));
    }

    /// The process is killed: its RPCs and its answers are lost, and the kubelet starts the container again.
    pub fn kill(&mut self, at: &mut Moment<'_>) {
        self.end(at);
    }

    fn end(&mut self, at: &mut Moment<'_>) {
        if self.agent.take().is_none() {
            return;
        }
        at.note(&"exit");
        (self.serving_since_ms, self.wake_ms) = (None, None);
        let again_ms = self.container.exited(at.now_ms);
        self.again_ms = Some(again_ms);
        at.plan.at(again_ms, at.index, Event::Start);
        for rpc in self.kubelet.open() {
            let sends = self.kubelet.unanswered(at.now_ms, rpc);
            self.send(sends, at);
        }
    }

    /// Tells the agent something and does what it wants.
    pub fn tell(&mut self, input: Input<u64>, at: &mut Moment<'_>) {
        let Some(agent) = self.agent.as_mut() else { return };
        at.note(&input);
        let outputs = agent.handle(at.account.clock(at.now_ms), input);
        for output in outputs {
            at.note(&output);
            self.perform(output, at);
        }
        self.plan_wake(at);
    }

    fn plan_wake(&mut self, at: &mut Moment<'_>) {
        let deadline_ms = self.agent.as_ref().and_then(Agent::deadline);
        // An agent whose deadline has passed gets one `Tick` at that time. A second one at the same time would stop the clock.
        let wake_ms = deadline_ms.map(|deadline_ms| deadline_ms.max(at.now_ms.saturating_add(1)));
        self.wake_ms = wake_ms;
        // A wake that is planned for an earlier time plans this one when it comes.
        if let Some(wake_ms) = wake_ms
            && self.wakes.last().is_none_or(|first_ms| *first_ms > wake_ms)
        {
            self.wakes.push(wake_ms);
            at.plan.at(wake_ms, at.index, Event::Wake);
        }
    }

    /// A planned wake comes: the agent's deadline, or one that was replaced.
    fn wake(&mut self, at: &mut Moment<'_>) {
        self.wakes.pop();
        if self.agent.is_some() && self.wake_ms == Some(at.now_ms) {
            self.wake_ms = None;
            self.tell(Input::Tick, at);
        } else {
            self.plan_wake(at);
        }
    }

    fn perform(&mut self, output: Output, at: &mut Moment<'_>) {
        match output {
            Output::Effect { op, epoch, effect, .. } => self.effect(op, epoch, effect, at),
            Output::Reply { rpc, reply } => self.reply(rpc, &reply, at),
            Output::Warn(warning) => self.warning = Some(warning),
            Output::Ready => self.serving_since_ms = self.serving_since_ms.or(Some(at.now_ms)),
            Output::Fatal { reason } => {
                if self.fatal.len() < 1_000 {
                    self.fatal.push(reason);
                }
                self.end(at);
            }
        }
    }

    fn effect(&mut self, op: OpId, epoch: Epoch, effect: Effect, at: &mut Moment<'_>) {
        match effect {
            Effect::Ec2(call) => {
                let (at_ms, exchange) = at.account.wire.send(at.now_ms, self.instance, (op, epoch), call);
                at.plan.at(at_ms, at.index, Event::Ec2(Box::new(exchange)));
            }
            Effect::Imds(read) => {
                let after_ms = self.imds.latency_ms();
                at.after(after_ms, Event::Imds(epoch, op, read, at.now_ms));
            }
            Effect::Kube(call) => {
                let outcome = self.kube.execute(at.now_ms, &call, &mut at.account.faults);
                if let Some(trunk_ms) = outcome.trunk_ms {
                    at.plan.at(trunk_ms, at.index, Event::Trunk);
                }
                if !matches!(call, ipamd_core::output::KubeCall::WarnMissingPermission { .. }) {
                    let took_ms = took(0, outcome.took_ms);
                    let answer = Answer { op, epoch, took_ms, result: outcome.result };
                    at.after(outcome.took_ms, tell(epoch, Input::Kube(answer)));
                }
            }
            Effect::Host(HostCall::ForgetConnections { address }) => self.host.forget_connections(address),
            Effect::Host(call) => {
                let (after_ms, result) = self.host.execute(at.now_ms, &call, &at.account.ec2, &mut at.account.faults);
                let answer = Answer { op, epoch, took_ms: took(0, after_ms), result };
                at.after(after_ms, tell(epoch, Input::Host(answer)));
            }
            Effect::Store(StoreCall::ReadCheckpoint) => {
                let answer = Answer { op, epoch, took_ms: took(0, WRITE_MS), result: self.disk.read() };
                at.after(WRITE_MS, tell(epoch, Input::Store(answer)));
            }
            Effect::Store(StoreCall::ReadSecond) => {
                let answer = Answer { op, epoch, took_ms: took(0, WRITE_MS), result: self.disk.read_second() };
                at.after(WRITE_MS, tell(epoch, Input::Store(answer)));
            }
            Effect::Store(StoreCall::WriteSecond { .. }) => {
                let fails = at.account.faults.disk(self.instance, at.now_ms);
                let file = self.agent.as_ref().and_then(Agent::second_file);
                let result = self.disk.write_second(file, fails);
                let answer = Answer { op, epoch, took_ms: took(0, WRITE_MS), result };
                at.after(WRITE_MS, tell(epoch, Input::Store(answer)));
            }
            Effect::Store(StoreCall::WriteCheckpoint { generation }) => {
                at.after(0, Event::Write(epoch, op, generation));
            }
        }
    }

    fn write(&mut self, epoch: Epoch, op: OpId, generation: u64, at: &mut Moment<'_>) {
        let Some(agent) = self.agent.as_ref() else { return };
        let fails = at.account.faults.disk(self.instance, at.now_ms);
        let result = self.disk.write(generation, agent.checkpoint(), fails);
        let answer = Answer { op, epoch, took_ms: took(0, WRITE_MS), result };
        at.after(WRITE_MS, tell(epoch, Input::Store(answer)));
    }

    fn arrive(&mut self, exchange: super::wire::Exchange, at: &mut Moment<'_>) {
        let Account { ec2, wire, faults, .. } = &mut *at.account;
        match wire.arrive(at.now_ms, exchange, ec2, faults) {
            Arrival::Again(again_ms, exchange) => at.plan.at(again_ms, at.index, Event::Ec2(Box::new(exchange))),
            Arrival::Answered(answers) => {
                for (at_ms, answer) in answers {
                    at.plan.at(at_ms, at.index, tell(answer.epoch, Input::Ec2(answer)));
                }
            }
        }
        self.notice(at);
    }

    /// The instance's ENIs may have changed: metadata and links follow.
    pub fn notice(&mut self, at: &mut Moment<'_>) {
        self.imds.observe(at.now_ms, &at.account.ec2);
        for (appears_ms, mac) in self.host.observe(at.now_ms, &at.account.ec2) {
            at.plan.at(appears_ms, at.index, tell(self.epoch, Input::LinkSeen { mac }));
        }
    }
}

/// Requests to the metadata service that a read takes.
fn requests(read: ImdsRead, reply: &ImdsReply) -> u64 {
    let paths = ImdsPath::of(read).len() as u64;
    match reply {
        // The list of ENIs, and the other paths for each of them.
        ImdsReply::Enis(enis) => paths.saturating_sub(1).saturating_mul(enis.len() as u64).saturating_add(1),
        _ => paths,
    }
}

fn tell(epoch: Epoch, input: Input<u64>) -> Event {
    Event::Tell(epoch, Box::new(input))
}

fn took(from_ms: i64, to_ms: i64) -> u32 {
    u32::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)
}
