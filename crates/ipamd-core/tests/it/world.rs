//! A small world for one core: an EC2 that does at once what it is asked and answers after its usual time, an instance metadata
//! service, a host, a disk and an API server. Faults and unreliable answers are set by the tests.

mod chaos;
mod ec2;
pub(crate) mod follow;
mod numbered;
mod services;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::chooser::{Chooser, Seeded};
use ipamd_core::id::{EniId, Epoch, GroupId, InstanceId, Now, OpId, RpcId, SubnetId};
use ipamd_core::input::{
    AddRequest, Answer, Boot, CheckpointEntry, DelReason, DelRequest, Ec2Eni, Ec2Failure, Ec2Reply, Fate, HostPod,
    KubeError, KubeReply, NodeSeen, PodName, SecondFile, StoreError,
};
use ipamd_core::output::{Ec2Call, Effect, HostCall, KubeCall, Output, Reply, Warning};
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core, Input, Policy};

pub(crate) use chaos::Chaos;
pub(crate) use ec2::Ec2;
use follow::{Follow, Script};
pub(crate) use numbered::Numbered;

/// The instance.
pub(crate) const INSTANCE: InstanceId = InstanceId::from_bits(0x1a);
/// Its primary ENI.
pub(crate) const PRIMARY: EniId = EniId::from_bits(1);
/// The subnet of its primary ENI.
pub(crate) const SUBNET: SubnetId = SubnetId::from_bits(0x5);

/// A call of EC2 as it went.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) at_ms: i64,
    pub(crate) call: Ec2Call,
    pub(crate) code: Option<Box<str>>,
    /// When it was answered, or the process ended before that; only where calls take an exact time.
    pub(crate) ended_ms: Option<i64>,
}

/// An operation of EC2 that fails so often.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) op: Ec2Operation,
    pub(crate) code: Option<&'static str>,
    pub(crate) times: u32,
    /// The call is done, and its answer lost; only where calls take an exact time.
    pub(crate) done: bool,
    /// The call takes so long; only where calls take an exact time.
    pub(crate) hold_ms: Option<i64>,
}

/// What is to come.
#[derive(Debug)]
enum Due {
    Input(Input<u64>),
    /// A call of EC2 has its effect and is answered. Its place in the log, and what it fails with.
    Call(OpId, Epoch, usize, Option<Fault>),
    /// The controller attaches a trunk.
    Trunk,
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) core: Core<u64>,
    pub(crate) config: Config,
    pub(crate) now_ms: i64,
    pub(crate) epoch: u32,
    pub(crate) limits: InstanceLimits,
    pub(crate) ec2: Ec2,
    pub(crate) faults: Vec<Fault>,
    pub(crate) imds_down: bool,
    /// ENIs that the metadata service does not show.
    pub(crate) imds_hides: Vec<EniId>,
    /// A new ENI shows that long after its attachment; where calls take an exact time, everything does.
    pub(crate) imds_lag_ms: i64,
    /// Addresses and prefixes that the metadata service does not show, and addresses that it shows besides.
    pub(crate) imds_hidden: Vec<(EniId, Ipv4Addr)>,
    pub(crate) imds_added: Vec<(EniId, Ipv4Addr)>,
    /// ENIs that the metadata service shows and EC2 does not know.
    pub(crate) stale: Vec<Ec2Eni>,
    /// ENIs whose addresses the metadata service cannot say.
    pub(crate) unreadable: Vec<EniId>,
    /// It shows no more addresses or prefixes of an ENI than this.
    pub(crate) imds_shows_at_most: Option<usize>,
    /// Operations of EC2 that are not answered.
    pub(crate) silent: Vec<Ec2Operation>,
    /// Operations of EC2 that are done, but whose answers are lost.
    pub(crate) answers_lost: Vec<Ec2Operation>,
    /// The host has no link for these ENIs.
    pub(crate) no_link: Vec<EniId>,
    pub(crate) disk_full: bool,
    /// Interfaces of pods on the host; not looked at where they are not tracked.
    pub(crate) veths: Option<BTreeMap<u64, IpAddr>>,
    pub(crate) file: Option<Vec<CheckpointEntry<u64>>>,
    pub(crate) node: Option<NodeSeen>,
    pub(crate) api_server: bool,
    pub(crate) cni_node: Result<(), KubeError>,
    pub(crate) pods: BTreeMap<Box<str>, KubeReply>,
    /// Time from the announcement of security groups for pods to the attach of a trunk, which happens once.
    pub(crate) trunk_after_ms: Option<i64>,
    pub(crate) groups: Vec<GroupId>,
    pub(crate) cidrs: Vec<Box<str>>,
    /// The IPv6 address of the primary ENI.
    pub(crate) primary6: Option<Ipv6Addr>,
    pub(crate) log: Vec<Logged>,
    pub(crate) replies: BTreeMap<RpcId, Vec<Reply>>,
    pub(crate) ready_ms: Option<i64>,
    pub(crate) fatal: Option<Box<str>>,
    pub(crate) warnings: Vec<Warning>,
    /// The second file, and what reading it gives instead.
    pub(crate) second: Option<Box<SecondFile>>,
    pub(crate) second_error: Option<StoreError>,
    /// The boot of the host.
    pub(crate) boot_id: &'static str,
    /// The mutation of each ENI that is not answered, and when it was sent.
    mutating: BTreeMap<EniId, (OpId, i64)>,
    /// Interfaces that the host lists, where a test says so.
    pub(crate) links: Option<Vec<HostPod>>,
    /// Addresses whose connections the host forgot, in order.
    pub(crate) forgotten: Vec<IpAddr>,
    pub(crate) chaos: Chaos,
    /// EC2 takes exactly so long for each call, whose effect is at its end, and everything else takes no time.
    pub(crate) exact_ms: Option<i64>,
    /// This operation takes longer.
    pub(crate) slow: Option<(Ec2Operation, i64)>,
    /// What the original chose; the core chooses the same.
    pub(crate) script: Script,
    /// Calls of the host and of the API server, with their times, and whether the `CNINode` was there; only where calls take an
    /// exact time.
    pub(crate) host_calls: Vec<(i64, HostCall)>,
    pub(crate) kube_calls: Vec<(i64, KubeCall, bool)>,
    /// What the `CNINode` says already.
    pub(crate) announced: BTreeSet<String>,
    /// How often the host listed the interfaces of pods.
    pub(crate) lists_of_pods: Cell<u32>,
    pub(crate) outputs: u64,
    pub(crate) inputs: u64,
    /// Every input with its time, where they are recorded.
    pub(crate) record: Option<Vec<(Now, Input<u64>)>>,
    pending: VecDeque<(i64, Due)>,
    rpcs: u64,
    keys: BTreeMap<RpcId, u64>,
}

impl World {
    /// A node in these settings whose agent starts now.
    pub(crate) fn new(variables: &[(&str, &str)], limits: InstanceLimits) -> Self {
        let config = Config::upstream(Settings::manifest_with(variables.iter().copied()));
        Self::with(config, limits)
    }

    /// The same, with another configuration.
    pub(crate) fn with(config: Config, limits: InstanceLimits) -> Self {
        let core = Core::new(config.clone(), Box::new(Seeded::first_fit(7)));
        let mut world = Self {
            core,
            config,
            now_ms: 1_000_000,
            epoch: 0,
            limits: InstanceLimits { listed: true, ..limits },
            ec2: Ec2::new(limits),
            faults: Vec::new(),
            imds_down: false,
            imds_hides: Vec::new(),
            imds_lag_ms: 0,
            imds_hidden: Vec::new(),
            imds_added: Vec::new(),
            stale: Vec::new(),
            unreadable: Vec::new(),
            imds_shows_at_most: None,
            silent: Vec::new(),
            answers_lost: Vec::new(),
            no_link: Vec::new(),
            disk_full: false,
            veths: None,
            file: None,
            node: Some(NodeSeen { max_pods: Some(110), version: 1, ..NodeSeen::default() }),
            api_server: true,
            cni_node: Ok(()),
            pods: BTreeMap::new(),
            trunk_after_ms: None,
            groups: vec![GroupId::from_bits(9)],
            cidrs: vec!["10.0.0.0/16".into()],
            primary6: None,
            log: Vec::new(),
            replies: BTreeMap::new(),
            ready_ms: None,
            fatal: None,
            warnings: Vec::new(),
            second: None,
            second_error: None,
            boot_id: "boot-1",
            mutating: BTreeMap::new(),
            links: None,
            forgotten: Vec::new(),
            chaos: Chaos::none(),
            exact_ms: None,
            slow: None,
            script: Script::default(),
            host_calls: Vec::new(),
            kube_calls: Vec::new(),
            announced: BTreeSet::new(),
            lists_of_pods: Cell::new(0),
            outputs: 0,
            inputs: 0,
            record: None,
            pending: VecDeque::new(),
            rpcs: 0,
            keys: BTreeMap::new(),
        };
        world.boot();
        world
    }

    /// A node with a careful agent that serves, on a host that shows its interfaces.
    pub(crate) fn careful(variables: &[(&str, &str)], enis: u16, addresses: u16) -> Self {
        let config = Config::careful(Settings::manifest_with(variables.iter().copied()));
        let mut world = Self::with(config, InstanceLimits::custom(enis, addresses));
        world.veths = Some(BTreeMap::new());
        world.run_ms(20_000);
        assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
        world
    }

    /// A node with `c` ENIs of `n` addresses each that serves.
    pub(crate) fn serving(variables: &[(&str, &str)], enis: u16, addresses: u16) -> Self {
        let mut world = Self::new(variables, InstanceLimits::custom(enis, addresses));
        world.run_ms(20_000);
        assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
        world
    }

    fn boot(&mut self) {
        let epoch = Epoch(self.epoch);
        self.input(Input::Boot(Boot {
            epoch,
            node_name: "node".into(),
            api_server_reachable: self.api_server,
            waited_ms: 0,
            boot_id: self.boot_id.into(),
            syn_sent_timeout_s: Some(120),
        }));
    }

    /// Where calls take an exact time, pauses do too, and the original's choices are followed.
    fn next_core(&self, seed: u64) -> Core<u64> {
        let follows = || Box::new(Follow(self.script.clone())) as Box<dyn Chooser>;
        let chooser = self.exact_ms.map_or_else(|| Box::new(Seeded::first_fit(seed)) as _, |_| follows());
        Core::new(self.config.clone(), chooser)
    }

    /// The life that a test has prepared begins anew.
    pub(crate) fn restart_same_life(&mut self) {
        self.core = self.next_core(7);
        self.pending.clear();
        self.mutating.clear();
        self.boot();
    }

    /// The process dies and starts again; answers that are under way still come. Where calls take an exact time, those that are
    /// under way are cut and have no effect.
    pub(crate) fn restart(&mut self) {
        if self.exact_ms.is_some() {
            self.pending.retain(|(_, due)| matches!(due, Due::Trunk));
            for logged in self.log.iter_mut().filter(|logged| logged.ended_ms.is_none()) {
                (logged.code, logged.ended_ms) = (Some(Box::default()), Some(self.now_ms));
            }
        }
        self.epoch += 1;
        self.mutating.clear();
        self.core = self.next_core(u64::from(self.epoch));
        (self.ready_ms, self.fatal) = (None, None);
        self.boot();
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ns: (1_700_000_000_000 + self.now_ms) * 1_000_000 }
    }

    /// Hands an input in and does what is asked.
    pub(crate) fn input(&mut self, input: Input<u64>) {
        self.script.lock().now_ms = self.now_ms;
        if let Input::Ec2(answer) = &input {
            self.mutating.retain(|_, (op, _)| *op != answer.op);
        }
        let now = self.now();
        self.inputs += 1;
        if let Some(record) = &mut self.record {
            record.push((now, input.clone()));
        }
        let outputs = self.core.handle(now, input);
        let (left_out, do_nothing) = self.core.checks_left_out();
        assert!(do_nothing || !left_out, "a check is left out that would do something at {} ms", self.now_ms);
        self.outputs += outputs.len() as u64;
        for output in outputs {
            match output {
                Output::Effect { op, epoch, effect, .. } => self.perform(op, epoch, effect),
                Output::Reply { rpc, reply } => {
                    // The runtime gave up an ADD that a DEL followed.
                    let key = self.keys.remove(&rpc);
                    if let (Reply::Added { address, .. }, Some(key), Some(veths)) = (&reply, key, &mut self.veths) {
                        veths.insert(key, *address);
                    }
                    self.replies.entry(rpc).or_default().push(reply);
                }
                Output::Ready => self.ready_ms = Some(self.now_ms),
                Output::Warn(warning) => self.warnings.push(warning),
                Output::Fatal { reason } => self.fatal = Some(reason),
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn run_ms(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        loop {
            let answer = self.pending.iter().map(|(due_ms, _)| *due_ms).min();
            let deadline = self.core.deadline();
            let Some(next_ms) = answer.into_iter().chain(deadline).min().filter(|next_ms| *next_ms <= end_ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(next_ms);
            if answer == Some(next_ms) {
                let first = self.pending.iter().enumerate().min_by_key(|(at, (due_ms, _))| (*due_ms, *at));
                let at = first.map(|(at, _)| at).unwrap();
                match self.pending.remove(at).unwrap().1 {
                    Due::Input(input) => self.input(input),
                    Due::Call(op, epoch, logged, fault) => self.end_call(op, epoch, logged, fault),
                    Due::Trunk => self.ec2.attach_trunk(self.now_ms),
                }
            } else {
                self.input(Input::Tick);
            }
        }
        self.now_ms = end_ms;
    }

    /// Lets time pass until something is so; false if it does not become so in time.
    pub(crate) fn run_until(&mut self, limit_ms: i64, is_so: impl Fn(&Self) -> bool) -> bool {
        let end_ms = self.now_ms + limit_ms;
        while !is_so(self) && self.now_ms < end_ms {
            self.run_ms(50);
        }
        is_so(self)
    }

    /// Asks for an address.
    pub(crate) fn begin_add(&mut self, key: u64) -> RpcId {
        self.begin_add_within(key, None)
    }

    /// The same for a caller who waits no longer than this.
    pub(crate) fn begin_add_within(&mut self, key: u64, limit_ms: Option<i64>) -> RpcId {
        self.rpcs += 1;
        let rpc = RpcId(self.rpcs);
        self.keys.insert(rpc, key);
        let pod = self.pod_name(key);
        self.input(Input::Add(AddRequest { rpc, key, pod, uid: "uid".into(), limit_ms }));
        rpc
    }

    /// Asks for an address and waits for the answer.
    pub(crate) fn add(&mut self, key: u64) -> Option<Ipv4Addr> {
        let rpc = self.begin_add(key);
        self.run_ms(200);
        // A careful agent lets it wait for an address.
        self.run_until(30_000, |world| world.replies.contains_key(&rpc));
        match self.reply(rpc) {
            Reply::Added { address, .. } => match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            _ => None,
        }
    }

    /// The same for a pod that wants no branch ENI, where the API server is asked.
    pub(crate) fn add_plain(&mut self, key: u64) -> Option<Ipv4Addr> {
        let pod = KubeReply::Pod { uid: "uid".into(), branch: None, wants_branch: vec![false] };
        self.pods.insert(self.pod_name(key).name, pod);
        self.add(key)
    }

    /// A pod's interface is gone.
    pub(crate) fn forget_veth(&mut self, key: u64) {
        self.keys.retain(|_, asking| *asking != key);
        if let Some(veths) = &mut self.veths {
            veths.remove(&key);
        }
    }

    /// Gives an address back.
    pub(crate) fn begin_del(&mut self, key: u64) -> RpcId {
        self.rpcs += 1;
        let rpc = RpcId(self.rpcs);
        let (pod, uid, reason) = (self.pod_name(key), "uid".into(), DelReason::PodDeleted);
        self.forget_veth(key);
        self.input(Input::Del(DelRequest { rpc, key, pod, uid, reason }));
        rpc
    }

    /// Gives an address back and waits for the answer.
    pub(crate) fn del(&mut self, key: u64) -> Reply {
        let rpc = self.begin_del(key);
        self.run_ms(500);
        self.reply(rpc)
    }

    /// The one answer to an RPC.
    pub(crate) fn reply(&self, rpc: RpcId) -> Reply {
        let replies = self.replies.get(&rpc).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(replies.len(), 1, "{rpc:?}: {replies:?}");
        replies[0].clone()
    }

    /// How often an operation was called since the log was cleared, and how often it failed.
    pub(crate) fn calls(&self, op: Ec2Operation) -> (usize, usize) {
        let of_op = || self.log.iter().filter(|logged| logged.call.operation() == op);
        (of_op().count(), of_op().filter(|logged| logged.code.is_some()).count())
    }

    /// Lets an operation fail.
    pub(crate) fn fail(&mut self, op: Ec2Operation, code: Ec2Code, times: u32) {
        let code = code.is_api_error().then(|| code.name());
        self.faults.push(Fault { op, code, times, done: false, hold_ms: None });
    }

    fn answer_in(&mut self, usual_ms: i64, make: impl Fn(u32) -> Input<u64>) {
        let exact_ms = self.exact_ms.map(|ms| if usual_ms >= 100 { ms } else { 0 });
        let ms = exact_ms.unwrap_or(usual_ms);
        let took_ms = u32::try_from(ms).unwrap();
        for due_ms in self.chaos.times(self.now_ms, ms) {
            self.pending.push_back((due_ms, Due::Input(make(took_ms))));
        }
    }

    fn perform(&mut self, op: OpId, epoch: Epoch, effect: Effect) {
        match &effect {
            Effect::Host(call) if self.exact_ms.is_some() => self.host_calls.push((self.now_ms, call.clone())),
            Effect::Kube(call) if self.exact_ms.is_some() => {
                self.kube_calls.push((self.now_ms, call.clone(), self.cni_node.is_ok()));
            }
            _ => {}
        }
        match effect {
            Effect::Ec2(call) => self.perform_ec2(op, epoch, call),
            Effect::Imds(read) => {
                let result = self.read_imds(read);
                self.answer_in(4, |took_ms| Input::Imds(Answer { op, epoch, took_ms, result: result.clone() }));
            }
            Effect::Host(HostCall::ForgetConnections { address }) => self.forgotten.push(address),
            // Not answered.
            Effect::Kube(KubeCall::WarnMissingPermission { .. }) => {}
            Effect::Kube(call) => {
                let result = self.ask_kube(&call);
                self.answer_in(3, |took_ms| Input::Kube(Answer { op, epoch, took_ms, result: result.clone() }));
            }
            Effect::Host(call) => {
                let result = self.ask_host(&call);
                self.answer_in(5, |took_ms| Input::Host(Answer { op, epoch, took_ms, result: result.clone() }));
            }
            Effect::Store(call) => {
                let result = self.ask_disk(call);
                self.answer_in(1, |took_ms| Input::Store(Answer { op, epoch, took_ms, result: result.clone() }));
            }
        }
    }

    /// A careful agent has one mutation of an ENI open at a time.
    fn check_mutation(&mut self, op: OpId, call: &Ec2Call) {
        let eni = match call {
            Ec2Call::Attach { eni, .. }
            | Ec2Call::SetDeleteOnTermination { eni, .. }
            | Ec2Call::SetGroups { eni, .. }
            | Ec2Call::Detach { eni, .. }
            | Ec2Call::Delete { eni }
            | Ec2Call::Tag { eni, .. }
            | Ec2Call::Assign { eni, .. }
            | Ec2Call::Unassign { eni, .. }
            | Ec2Call::UnassignIpv6 { eni, .. } => *eni,
            _ => return,
        };
        let earlier = self.mutating.insert(eni, (op, self.now_ms));
        // An answer that does not come is waited for this long.
        let open = earlier.filter(|(_, sent_ms)| self.now_ms - sent_ms < 300_000);
        assert!(open.is_none() || !matches!(self.config.policy, Policy::Careful), "{call:?} while {open:?}");
    }

    /// No release names an address that a pod has.
    fn check_release(&self, call: &Ec2Call) {
        if let Ec2Call::Unassign { eni, ipv4, ipv4_prefixes } = call {
            let pool = self.core.pool();
            let places = pool.owners().keys().filter_map(|key| pool.place_of(key));
            for place in places.filter(|place| place.eni == *eni) {
                let IpAddr::V4(address) = &place.address else { continue };
                let base = Ipv4Addr::from(u32::from(*address) & !15);
                assert!(!ipv4.contains(address) && !ipv4_prefixes.contains(&base), "{call:?} takes {address}");
            }
        }
    }

    fn perform_ec2(&mut self, op: OpId, epoch: Epoch, call: Ec2Call) {
        self.check_release(&call);
        self.check_mutation(op, &call);
        let operation = call.operation();
        let fault = self.faults.iter_mut().find(|fault| fault.op == operation && fault.times > 0);
        let fault = fault.map(|fault| {
            fault.times -= 1;
            fault.clone()
        });
        if let Some(exact_ms) = self.exact_ms {
            let slow_ms = self.slow.filter(|(slow, _)| *slow == operation).map_or(exact_ms, |(_, ms)| ms);
            let ms = fault.as_ref().and_then(|fault| fault.hold_ms).unwrap_or(slow_ms);
            self.pending.push_back((self.now_ms + ms, Due::Call(op, epoch, self.log.len(), fault)));
            self.log.push(Logged { at_ms: self.now_ms, call, code: None, ended_ms: None });
            return;
        }
        let result = match fault {
            Some(fault) => Err(failure(fault.code)),
            None => self.ec2.perform(&call, self.now_ms),
        };
        let code = result.as_ref().err().map(|failure| failure.code.clone().unwrap_or_default());
        self.log.push(Logged { at_ms: self.now_ms, call, code, ended_ms: None });
        if self.silent.contains(&operation) || self.answers_lost.contains(&operation) {
            return;
        }
        let result = self.chaos.distort(result);
        let ms = operation.typical_ms();
        self.answer_in(ms, |took_ms| Input::Ec2(Answer { op, epoch, took_ms, result: result.clone() }));
    }
}

impl World {
    /// Most pods of these worlds have no names: the address decides whether one lives. In a comparison they have the original's.
    pub(crate) fn pod_name(&self, key: u64) -> PodName {
        if self.exact_ms.is_some() {
            return PodName { namespace: "default".into(), name: format!("c{key}").into() };
        }
        let name = if key >= 1_000 { format!("pod-{key}").into() } else { Box::default() };
        PodName { namespace: Box::default(), name }
    }

    /// The controller is to attach a trunk.
    pub(crate) fn expects_trunk(&self) -> bool {
        self.trunk_after_ms.is_some() || self.pending.iter().any(|(_, due)| matches!(due, Due::Trunk))
    }

    /// A call whose time is over has its effect, if it has one, and is answered.
    fn end_call(&mut self, op: OpId, epoch: Epoch, logged: usize, fault: Option<Fault>) {
        let logged = &mut self.log[logged];
        let result = match fault {
            Some(fault) => {
                if fault.done {
                    let _lost = self.ec2.perform(&logged.call, self.now_ms);
                }
                Err(failure(fault.code))
            }
            None => self.ec2.perform(&logged.call, self.now_ms),
        };
        logged.code = result.as_ref().err().map(|failure| failure.code.clone().unwrap_or_default());
        logged.ended_ms = Some(self.now_ms);
        let took_ms = u32::try_from(self.now_ms - logged.at_ms).unwrap();
        self.input(Input::Ec2(Answer { op, epoch, took_ms, result }));
    }
}

/// A failure as the SDK would return it; without a code no answer came.
pub(crate) fn failure(code: Option<&str>) -> Ec2Failure {
    let fate = if code.is_some() { Fate::Refused } else { Fate::Unknown };
    let text = code.map_or("no answer".into(), |code| format!("api error {code}: made so"));
    Ec2Failure { code: code.map(Box::from), message: "made so".into(), text: text.into(), fate }
}

/// What EC2 answered.
pub(crate) type Ec2Result = Result<Ec2Reply, Ec2Failure>;
