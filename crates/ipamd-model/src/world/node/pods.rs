//! Pods of a node: what its kubelet and runtime send, and what becomes of the answers.

use std::net::IpAddr;

use ipamd_core::id::RpcId;
use ipamd_core::input::{Input, PodName};
use ipamd_core::output::Reply;

use super::{WorldNode, tell};
use crate::world::account::Moment;
use crate::world::agent::Agents;
use crate::world::event::Event;
use crate::world::kubelet::Send;

/// An RPC needs this to reach the agent, milliseconds.
const RPC_MS: i64 = 1;

impl<F: Agents> WorldNode<F> {
    /// A pod is scheduled here.
    pub fn start_pod(&mut self, pod: u64, name: PodName, at: &mut Moment<'_>) {
        self.kube.schedule(pod, &name);
        let sends = self.kubelet.start_pod(at.now_ms, pod, name);
        self.send(sends, at);
    }

    /// A pod is deleted.
    pub fn stop_pod(&mut self, pod: u64, at: &mut Moment<'_>) {
        let sends = self.kubelet.stop_pod(pod);
        self.send(sends, at);
        self.kube.remove(pod);
    }

    /// A pod vanishes without a DEL.
    pub fn leak_pod(&mut self, pod: u64, at: &mut Moment<'_>) {
        let sends = self.kubelet.leak_pod(pod);
        self.send(sends, at);
        self.kube.remove(pod);
    }

    pub(super) fn reply(&mut self, rpc: RpcId, reply: &Reply, at: &mut Moment<'_>) {
        let sends = self.kubelet.answered(at.now_ms, rpc, reply);
        self.send(sends, at);
    }

    /// Does what kubelet and runtime want; an agent that does not serve cannot be reached.
    pub(in crate::world) fn send(&mut self, sends: Vec<Send>, at: &mut Moment<'_>) {
        let mut sends = std::collections::VecDeque::from(sends);
        while let Some(send) = sends.pop_front() {
            at.note(&send);
            let (rpc, input) = match send {
                Send::Add(request) => (request.rpc, Input::Add(request)),
                Send::Del(request) => (request.rpc, Input::Del(request)),
                Send::Gone(rpc) => {
                    at.after(RPC_MS, tell(self.epoch, Input::RpcGone { rpc }));
                    continue;
                }
                Send::Up { pod, name, address } => {
                    self.up(pod, &name, address, at);
                    continue;
                }
                Send::Down { pod } => {
                    self.down(pod, at);
                    continue;
                }
            };
            if self.agent.is_some() && self.serving_since_ms.is_some() {
                at.after(RPC_MS, tell(self.epoch, input));
            } else {
                sends.extend(self.kubelet.unanswered(at.now_ms, rpc));
            }
        }
        self.plan_kubelet(at);
    }

    fn plan_kubelet(&mut self, at: &mut Moment<'_>) {
        let next_ms = self.kubelet.next_ms().map(|next_ms| next_ms.max(at.now_ms));
        if next_ms != self.kubelet_ms {
            self.kubelet_ms = next_ms;
            if let Some(next_ms) = next_ms {
                at.plan.at(next_ms, at.index, Event::Kubelet);
            }
        }
    }

    fn up(&mut self, pod: u64, name: &PodName, address: IpAddr, at: &mut Moment<'_>) {
        let (ifindex, replaced) = self.host.add_pod(pod, name, address);
        if let Some((name, ifindex)) = replaced {
            at.after(0, tell(self.epoch, Input::VethGone { name, ifindex }));
        }
        if let Some(key) = self.kubelet.reported(pod) {
            at.after(RPC_MS, tell(self.epoch, Input::Bound { key, ifindex }));
        }
    }

    fn down(&mut self, pod: u64, at: &mut Moment<'_>) {
        if let Some((name, ifindex)) = self.host.remove_pod(pod) {
            at.after(0, tell(self.epoch, Input::VethGone { name, ifindex }));
        }
    }
}
