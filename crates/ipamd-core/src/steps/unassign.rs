//! Giving CIDRs back that have left the store: prefixes in one call, addresses in another. What EC2 refuses is counted by the
//! call itself and stays on the ENI.

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::wake::{Flow, Wake};
use crate::block::Block;
use crate::id::EniId;
use crate::output::Ec2Call;

/// The step: a call waits for its answer.
#[derive(Debug)]
pub(crate) struct Unassigning {
    eni: EniId,
    /// What the other call is for.
    left: Vec<Block>,
}

impl Unassigning {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, blocks: Vec<Block>) -> Flow<Self, ()> {
        let (prefixes, addresses): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| !matches!(block, Block::Address(_)));
        if prefixes.is_empty() {
            return Self { eni, left: Vec::new() }.ask(cx, &addresses);
        }
        Self { eni, left: addresses }.ask(cx, &prefixes)
    }

    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>, blocks: &[Block]) -> Flow<Self, ()> {
        if blocks.is_empty() {
            return Flow::Done(());
        }
        let (mut ipv4, mut ipv4_prefixes, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks {
            match block {
                Block::Address(address) => ipv4.push(*address),
                Block::Prefix(base) => ipv4_prefixes.push(*base),
                Block::Ipv6Prefix(base) => prefixes.push(*base),
            }
        }
        let eni = self.eni;
        let call = if prefixes.is_empty() {
            Ec2Call::Unassign { eni, ipv4, ipv4_prefixes }
        } else {
            Ec2Call::UnassignIpv6 { eni, prefixes }
        };
        cx.ec2(call, Count::Always);
        Flow::Wait(self)
    }

    pub(crate) fn resume<K: PodKey>(mut self, cx: &mut Cx<'_, K>, _answer: Wake) -> Flow<Self, ()> {
        let left = std::mem::take(&mut self.left);
        self.ask(cx, &left)
    }
}
