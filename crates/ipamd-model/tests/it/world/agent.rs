//! A plain agent that does enough to move every part of a world: it starts, grows, gives addresses and takes them back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipamd_core::id::{EniId, Epoch, GroupId, Now, OpId, RpcId};
use ipamd_core::input::{Answer, CheckpointEntry, Ec2Reply, Identity, ImdsEni, ImdsReply, Input, PodName, StoreReply};
use ipamd_core::output::{Ec2Call, Effect, HostCall, ImdsRead, Output, Reply, StoreCall, Want};
use ipamd_model::world::Agent;

const PERIOD_MS: i64 = 5_000;

/// Free addresses that it wants.
const WARM: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct PlainAgent {
    epoch: Epoch,
    next_op: u64,
    identity: Option<Identity>,
    /// Addresses by ENI, without the primary ones.
    held: BTreeMap<EniId, BTreeSet<Ipv4Addr>>,
    owners: BTreeMap<u64, (Ipv4Addr, PodName)>,
    /// ADDs that wait for the checkpoint.
    writing: BTreeMap<OpId, (RpcId, u64, Ipv4Addr)>,
    generation: u64,
    serving: bool,
    growing: bool,
    deadline_ms: Option<i64>,
    /// It starts without its checkpoint, and so gives addresses of pods to others.
    forgets: bool,
    /// Every input, by its kind, for the tests.
    pub(crate) seen: BTreeMap<&'static str, u32>,
}

impl PlainAgent {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// One that forgets its pods when it restarts.
    pub(crate) fn forgetful(epoch: Epoch) -> Self {
        Self { forgets: true, ..Self::new(epoch) }
    }

    fn effect(&mut self, effect: Effect) -> Output {
        self.next_op += 1;
        Output::Effect { op: OpId(self.next_op), epoch: self.epoch, budget_ms: 35_000, effect }
    }

    fn free(&self) -> Vec<Ipv4Addr> {
        let owned: BTreeSet<Ipv4Addr> = self.owners.values().map(|(address, _)| *address).collect();
        self.held.values().flatten().copied().filter(|address| !owned.contains(address)).collect()
    }

    fn adopt(&mut self, enis: Vec<ImdsEni>) {
        for eni in enis {
            let rest = eni.ipv4.into_iter().flatten().skip(1);
            self.held.entry(eni.id).or_default().extend(rest);
        }
    }

    /// More addresses on an ENI with room, or another ENI.
    fn grow(&mut self) -> Vec<Output> {
        let Some(identity) = self.identity.clone().filter(|_| !self.growing && self.free().len() < WARM) else {
            return Vec::new();
        };
        self.growing = true;
        let limits = identity.limits.unwrap();
        let room = self.held.iter().find(|(_, held)| held.len() < limits.slots() as usize).map(|(id, _)| *id);
        let call = match room {
            Some(eni) => Ec2Call::Assign { eni, want: Want::Ipv4(1) },
            None => Ec2Call::CreateEni {
                token: self.next_op,
                subnet: identity.subnet,
                groups: vec![GroupId::from_bits(7)],
                want: Want::Ipv4(1),
                tags: Vec::new(),
                description: "".into(),
            },
        };
        vec![self.effect(Effect::Ec2(call))]
    }

    fn write(&mut self) -> Output {
        self.generation += 1;
        self.effect(Effect::Store(StoreCall::WriteCheckpoint { generation: self.generation }))
    }

    fn add(&mut self, rpc: RpcId, key: u64, pod: PodName) -> Vec<Output> {
        let Some(address) = self.free().first().copied() else {
            return vec![Output::Reply { rpc, reply: Reply::AddRefused }];
        };
        self.owners.insert(key, (address, pod));
        let output = self.write();
        self.writing.insert(OpId(self.next_op), (rpc, key, address));
        vec![output]
    }

    fn stored(&mut self, now: Now, answer: Answer<StoreReply<u64>, ipamd_core::input::StoreError>) -> Vec<Output> {
        if let Some((rpc, key, address)) = self.writing.remove(&answer.op) {
            if answer.result.is_err() {
                self.owners.remove(&key);
                return vec![Output::Reply { rpc, reply: Reply::AddRefused }];
            }
            let reply = Reply::Added { address: address.into(), device: 0, vpc_cidrs: Vec::new() };
            return vec![Output::Reply { rpc, reply }];
        }
        if self.serving {
            return Vec::new();
        }
        if let Ok(StoreReply::Checkpoint(entries)) = answer.result
            && !self.forgets
        {
            self.owners = entries.into_iter().map(|entry| (entry.key, (entry.ipv4.unwrap(), entry.pod))).collect();
        }
        self.deadline_ms = Some(now.mono_ms + PERIOD_MS);
        vec![self.effect(Effect::Host(HostCall::ListPods))]
    }

    fn ec2(&mut self, answer: Answer<Ec2Reply, ipamd_core::input::Ec2Failure>) -> Vec<Output> {
        self.growing = false;
        match answer.result {
            Ok(Ec2Reply::Created(eni)) => {
                self.growing = true;
                let device = u8::try_from(self.held.len()).unwrap();
                vec![self.effect(Effect::Ec2(Ec2Call::Attach { eni: eni.id, device, card: 0 }))]
            }
            Ok(Ec2Reply::Attached(_) | Ec2Reply::Assigned { .. }) => vec![self.effect(Effect::Imds(ImdsRead::Enis))],
            _ => Vec::new(),
        }
    }

    fn imds(&mut self, reply: ImdsReply) -> Vec<Output> {
        match reply {
            ImdsReply::Identity(identity) => {
                self.identity = Some(*identity);
                vec![self.effect(Effect::Imds(ImdsRead::Enis))]
            }
            ImdsReply::Enis(enis) => {
                self.adopt(enis);
                if self.serving { Vec::new() } else { vec![self.effect(Effect::Store(StoreCall::ReadCheckpoint))] }
            }
            _ => Vec::new(),
        }
    }
}

impl Agent for PlainAgent {
    fn handle(&mut self, now: Now, input: Input<u64>) -> Vec<Output> {
        let (kind, outputs) = match input {
            Input::Boot(boot) => {
                assert_eq!(boot.epoch, self.epoch);
                ("boot", vec![self.effect(Effect::Imds(ImdsRead::Identity))])
            }
            Input::Imds(Answer { result: Ok(reply), .. }) => ("imds", self.imds(reply)),
            Input::Imds(Answer { result: Err(error), .. }) if !self.serving => {
                ("imds failed", vec![Output::Fatal { reason: error.to_string().into() }])
            }
            Input::Store(answer) => ("store", self.stored(now, answer)),
            Input::Host(_) if !self.serving => {
                self.serving = true;
                ("host", vec![Output::Ready])
            }
            Input::Ec2(answer) => ("ec2", self.ec2(answer)),
            Input::Add(request) => ("add", self.add(request.rpc, request.key, request.pod)),
            Input::Del(request) => {
                let reply = match self.owners.remove(&request.key) {
                    Some((address, _)) => Reply::Deleted { address: address.into(), device: 0 },
                    None => Reply::UnknownPod,
                };
                ("del", vec![self.write(), Output::Reply { rpc: request.rpc, reply }])
            }
            Input::Tick => {
                self.deadline_ms = Some(now.mono_ms + PERIOD_MS);
                let mut outputs = self.grow();
                outputs.push(self.effect(Effect::Imds(ImdsRead::Enis)));
                ("tick", outputs)
            }
            Input::LinkSeen { .. } => ("link", Vec::new()),
            Input::VethGone { .. } => ("veth gone", Vec::new()),
            _ => ("other", Vec::new()),
        };
        *self.seen.entry(kind).or_default() += 1;
        outputs
    }

    fn deadline(&self) -> Option<i64> {
        self.deadline_ms
    }

    fn checkpoint(&self) -> Vec<CheckpointEntry<u64>> {
        let entry = |(key, (address, pod)): (&u64, &(Ipv4Addr, PodName))| CheckpointEntry {
            key: *key,
            ipv4: Some(*address),
            ipv6: None,
            allocated_ns: 0,
            pod: pod.clone(),
        };
        self.owners.iter().map(entry).collect()
    }
}
