//! Taking an attached ENI into the store with all it has, and setting up its link.

use super::prefix6::Prefix6;
use super::subnets::is_excluded;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::input::{Ec2Subnet, EniKind, HostError, ImdsEni};
use crate::output::{Ec2Call, HostCall};
use crate::settings::Mode;
use crate::store::Refused;

/// The step.
#[derive(Debug)]
pub(crate) enum SetUp {
    /// Its subnet is looked up.
    Exclusion(Box<Job>),
    /// It gets its /80.
    Prefix(Box<Job>, Prefix6),
    /// Its link is set up.
    Host(Box<Job>),
}

/// Which ENI.
#[derive(Debug)]
pub(crate) struct Job {
    eni: ImdsEni,
    kind: EniKind,
}

/// Why it could not be set up.
#[derive(Debug)]
pub(crate) enum SetUpError {
    /// The host has no link with its MAC.
    NoLink,
    /// Anything else.
    Other,
}

type End = Flow<SetUp, Result<(), SetUpError>>;

impl SetUp {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: ImdsEni, kind: EniKind) -> End {
        let known = cx.pool.eni(eni.id).is_some();
        cx.take_eni_in(&eni, kind);
        let job = Box::new(Job { eni, kind });
        // Careful: addresses are loaded before anything that may fail, and nothing is given until the subnet is known. An ENI
        // whose subnet was unknown at a restart once lost its pods (agents 1.22.0 to 1.23.1).
        if cx.is_careful() {
            cx.load_eni(&job.eni);
            let serving = cx.was_serving(job.eni.id);
            let fresh = cx.trust(job.eni.id) || !known;
            if fresh && !serving && cx.config.settings.subnet_discovery {
                cx.hold(job.eni.id);
            }
        }
        if cx.config.settings.subnet_discovery {
            // Careful: subnets that were read a short while ago, for another ENI or in another life, are known.
            if let Some(subnets) = cx.known_subnets() {
                return job.excluded(cx, Some(&subnets));
            }
            if cx.subnets_are_silent() {
                return job.excluded(cx, None);
            }
            cx.ec2(Ec2Call::DescribeSubnets, Count::Always);
            return Flow::Wait(Self::Exclusion(job));
        }
        job.prefix(cx)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Exclusion(job) => job.looked_up(cx, wake),
            Self::Prefix(job, step) => job.prefixed(cx, |cx| step.resume(cx, wake)),
            Self::Host(job) => job.linked(cx, wake),
        }
    }
}

impl Job {
    fn looked_up<K: PodKey>(self: Box<Self>, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match wake.subnets() {
            Ok(subnets) if cx.is_careful() => {
                cx.note_subnets(Some(&subnets));
                self.excluded(cx, Some(&subnets))
            }
            Err(_) if cx.is_careful() => {
                cx.note_subnets(None);
                self.excluded(cx, None)
            }
            // An IPv6 node excludes no ENI in the store.
            Ok(subnets) if cx.facts.mode != Mode::Ipv6 && is_excluded(&subnets, self.eni.subnet) => {
                // It is in the store: a moment ago it was taken in.
                let _unknown: Result<(), Refused> = cx.ledger().exclude(self.eni.id, true);
                self.prefix(cx)
            }
            Ok(_) => self.prefix(cx),
            // Since v1.23.2 an unknown subnet serves pods; before, the ENI stayed in the store without its addresses.
            Err(_) if cx.config.unknown_subnet_serves => self.prefix(cx),
            Err(_) => Flow::Done(Err(SetUpError::Other)),
        }
    }

    /// Careful: whether it serves pods, by its subnet. One whose subnet is unknown is held, and looked up again.
    fn excluded<K: PodKey>(self: Box<Self>, cx: &mut Cx<'_, K>, subnets: Option<&[Ec2Subnet]>) -> End {
        match subnets {
            Some(subnets) => {
                let excluded = cx.facts.mode != Mode::Ipv6 && is_excluded(subnets, self.eni.subnet);
                cx.release_hold(self.eni.id, excluded);
            }
            // The second file says that it served.
            None if cx.was_serving(self.eni.id) => {}
            None => cx.hold(self.eni.id),
        }
        self.prefix(cx)
    }

    fn prefix<K: PodKey>(self: Box<Self>, cx: &mut Cx<'_, K>) -> End {
        if cx.facts.mode == Mode::Ipv6 && self.kind != EniKind::Trunk {
            let eni = self.eni.id;
            return self.prefixed(cx, |cx| Prefix6::begin(cx, eni));
        }
        self.link(cx)
    }

    fn prefixed<K: PodKey>(
        self: Box<Self>,
        cx: &mut Cx<'_, K>,
        go_on: impl FnOnce(&mut Cx<'_, K>) -> Flow<Prefix6, Result<(), Trouble>>,
    ) -> End {
        match go_on(cx) {
            Flow::Wait(step) => Flow::Wait(SetUp::Prefix(self, step)),
            Flow::Done(Ok(())) => self.link(cx),
            Flow::Done(Err(_)) => Flow::Done(Err(SetUpError::Other)),
        }
    }

    fn link<K: PodKey>(self: Box<Self>, cx: &mut Cx<'_, K>) -> End {
        if cx.is_primary(self.eni.id) {
            return self.fill(cx);
        }
        cx.host(HostCall::SetUpEni {
            eni: self.eni.id,
            mac: self.eni.mac,
            device: self.eni.device,
            card: self.eni.card,
            primary: self.eni.ipv4.as_ref().and_then(|addresses| addresses.first().copied()),
            trunk: self.kind == EniKind::Trunk,
        });
        Flow::Wait(SetUp::Host(self))
    }

    fn linked<K: PodKey>(&self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        let error = match wake.host() {
            Ok(_) => return self.fill(cx),
            Err(HostError::NoLink) => SetUpError::NoLink,
            Err(HostError::Other(_)) => SetUpError::Other,
        };
        // Careful: what pods have is kept, and nothing new is given from an ENI without a link.
        if cx.is_careful() && cx.is_in_use(self.eni.id) {
            cx.hold(self.eni.id);
        } else {
            cx.drop_eni_by_force(self.eni.id);
        }
        Flow::Done(Err(error))
    }

    fn fill<K: PodKey>(&self, cx: &mut Cx<'_, K>) -> End {
        cx.load_eni(&self.eni);
        Flow::Done(Ok(()))
    }
}
