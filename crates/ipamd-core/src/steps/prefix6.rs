//! The /80 of an ENI: the first it has, or one that is asked for.

use cni_types::ec2::Ec2Code;

use crate::agent::backoff::Backoff;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::block::Block;
use crate::id::EniId;
use crate::output::{Ec2Call, Want};

/// Codes after which asking again is of no use.
const FINAL: [Ec2Code; 3] =
    [Ec2Code::UnauthorizedOperation, Ec2Code::InvalidNetworkInterfaceIdNotFound, Ec2Code::InvalidParameterValue];

/// The step.
#[derive(Debug)]
pub(crate) enum Prefix6 {
    /// What the ENI has is looked up.
    Find(EniId),
    /// One is asked for: a try waits for its answer, or the next for its time.
    Assign(EniId, Backoff),
}

type End = Flow<Prefix6, Result<(), Trouble>>;

impl Prefix6 {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId) -> End {
        cx.ec2(Ec2Call::DescribeEnis { ids: vec![eni] }, Count::ExceptMissing);
        Flow::Wait(Self::Find(eni))
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match (self, wake) {
            (Self::Find(eni), wake) => match wake.described() {
                Err(trouble) => Flow::Done(Err(trouble)),
                Ok(found) => match found.first().map(|described| described.ipv6_prefixes.first().copied()) {
                    None => Flow::Done(Err(Trouble::plain("EC2 described no network interface"))),
                    Some(None) => ask(cx, eni, Backoff::IPV6_PREFIX),
                    Some(Some(base)) => take(cx, eni, Some(base)),
                },
            },
            (Self::Assign(eni, backoff), Wake::Timer) => ask(cx, eni, backoff),
            (Self::Assign(eni, mut backoff), wake) => match wake.assigned() {
                Ok(assigned) => take(cx, eni, assigned.ipv6_prefixes.first().copied()),
                Err(trouble) if FINAL.iter().any(|code| trouble.is(*code)) => Flow::Done(Err(trouble)),
                Err(trouble) => match backoff.failed(&mut *cx.chooser) {
                    Some(pause_ms) => {
                        cx.sleep(pause_ms);
                        Flow::Wait(Self::Assign(eni, backoff))
                    }
                    None => Flow::Done(Err(trouble)),
                },
            },
        }
    }
}

fn ask<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, backoff: Backoff) -> End {
    cx.ec2(Ec2Call::Assign { eni, want: Want::Ipv6Prefixes(1) }, Count::Always);
    Flow::Wait(Prefix6::Assign(eni, backoff))
}

fn take<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, base: Option<std::net::Ipv6Addr>) -> End {
    cx.take_blocks_in(eni, base.map(Block::Ipv6Prefix));
    Flow::Done(Ok(()))
}
