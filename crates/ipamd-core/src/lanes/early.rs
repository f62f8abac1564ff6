//! A careful agent's start up to the open page: nothing of it depends on EC2 or the API server.
//!
//! The second file is read first: where its boot and its links are the host's, its ENIs and addresses are taken, and the
//! metadata service is asked after the page is open. Otherwise the addresses of all attached ENIs are loaded, then the checkpoint's allocations and what the host shows in use, and only
//! then are addresses given out. The rest of the start follows, and is tried again where it fails. The original opens its page
//! last: a call that failed for a minute at a restart has cost pods their addresses.

use super::init_restore::take_over;
use crate::agent::cx::Cx;
use crate::agent::lane::Lane;
use crate::agent::memory::PodKey;
use crate::agent::wake::{Flow, Wake};
use crate::input::{HostReply, Identity, ImdsEni, ImdsReply, SecondFileTrouble, StoreError};
use crate::lanes::leak;
use crate::metrics::Action;
use crate::output::{HostCall, ImdsRead, StoreCall};
use crate::settings::Mode;
use cni_types::limits::InstanceLimits;

/// Pause before what failed is tried again.
const PAUSE_MS: i64 = 1_000;

/// The lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Early {
    /// The second file is read.
    Second,
    /// The host lists its links: those of the file are among them, or it is of no use.
    Links,
    /// Who the instance is.
    Identity,
    /// CIDRs of the VPC.
    VpcCidrs,
    /// Rules of the whole host.
    Host,
    /// All attached ENIs.
    List,
    /// The checkpoint is read.
    Read,
    /// The host lists the interfaces of pods.
    Pods,
    /// What is left of the checkpoint is written.
    Write,
}

type End = Flow<(Early, bool), Result<(), Box<str>>>;

impl Early {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> (Self, bool) {
        cx.metrics.progress(Action::Init, 1);
        Self::Second.ask(cx)
    }

    /// After a start that trusted the second file: what it said of the instance is asked for.
    pub(crate) fn confirm<K: PodKey>(cx: &mut Cx<'_, K>) -> Option<(Self, bool)> {
        let trusted = cx.own.as_mut().is_some_and(|own| std::mem::take(&mut own.file.trusted));
        trusted.then(|| {
            cx.own.iter_mut().for_each(|own| own.confirms = true);
            Self::Identity.ask(cx)
        })
    }

    /// Asks what this state waits for. The flag tells that it sleeps instead.
    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>) -> (Self, bool) {
        match self {
            Self::Second => cx.store(StoreCall::ReadSecond),
            Self::Links => cx.host(HostCall::ListLinks),
            Self::Identity => cx.imds(ImdsRead::Identity),
            Self::VpcCidrs => cx.imds(ImdsRead::VpcCidrs),
            Self::Host => {
                let (vpc_cidrs, primary) = (cx.facts.vpc_cidrs.clone(), cx.node_address());
                cx.host(HostCall::SetUpHost { vpc_cidrs, primary });
            }
            Self::List => cx.imds(ImdsRead::Enis),
            Self::Read => cx.store(StoreCall::ReadCheckpoint),
            Self::Pods => cx.host(HostCall::ListPods),
            Self::Write => {
                let generation = cx.next_generation();
                cx.store(StoreCall::WriteCheckpoint { generation });
            }
        }
        (self, false)
    }

    fn next<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        Flow::Wait(self.ask(cx))
    }

    fn again<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        cx.sleep(PAUSE_MS);
        Flow::Wait((self, true))
    }

    pub(crate) fn resume<K: PodKey>(self, sleeps: bool, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        if sleeps {
            return self.next(cx);
        }
        match self {
            Self::Second => second_read(cx, wake),
            Self::Links => match wake.host() {
                Ok(HostReply::Links(links)) if cx.trust_file(&links) => Self::Read.next(cx),
                _ => Self::Identity.next(cx),
            },
            Self::Identity => match wake.imds() {
                Ok(ImdsReply::Identity(identity)) => identified(cx, *identity),
                _ => self.again(cx),
            },
            Self::VpcCidrs => match wake.imds() {
                Ok(ImdsReply::VpcCidrs(cidrs)) => {
                    cx.facts.vpc_cidrs = cidrs;
                    Self::Host.next(cx)
                }
                _ => self.again(cx),
            },
            Self::Host => {
                if wake.host().is_err() {
                    return self.again(cx);
                }
                if cx.facts.mode != Mode::Ipv6 {
                    cx.metrics.connmark = [0, 1];
                }
                // The rest of the start lists ENIs once more.
                if cx.own.as_mut().is_some_and(|own| std::mem::take(&mut own.confirms)) {
                    return Flow::Done(Ok(()));
                }
                Self::List.next(cx)
            }
            Self::List => match wake.listed() {
                Ok(enis) => loaded(cx, enis),
                Err(_) => self.again(cx),
            },
            Self::Read => match wake.store() {
                Ok(()) | Err(StoreError::Missing) => Self::Pods.next(cx),
                Err(StoreError::Io(_)) => self.again(cx),
                Err(error) => Flow::Done(Err(format!("the checkpoint could not be read: {error}").into())),
            },
            Self::Pods => match wake.host_pods() {
                Ok(pods) => match take_over(cx, &pods) {
                    Ok(()) => Self::Write.next(cx),
                    Err(reason) => Flow::Done(Err(reason)),
                },
                // Without an answer nothing is known to be free.
                Err(_) => self.again(cx),
            },
            Self::Write => Flow::Done(Ok(())),
        }
    }
}

fn second_read<K: PodKey>(cx: &mut Cx<'_, K>, wake: Wake) -> End {
    match wake.store() {
        Ok(()) if cx.judge_file() => return Early::Links.next(cx),
        Err(StoreError::Version) => cx.distrust(SecondFileTrouble::Version),
        Err(StoreError::Malformed(_) | StoreError::Io(_)) => cx.distrust(SecondFileTrouble::Damaged),
        Ok(()) | Err(StoreError::Missing) => {}
    }
    Early::Identity.next(cx)
}

fn identified<K: PodKey>(cx: &mut Cx<'_, K>, identity: Identity) -> End {
    // A type that is in no table is asked for later; until then no ENI can hold more than it has.
    // What the second file says of the same type is known.
    let known = cx.facts.identity.as_ref().filter(|known| known.instance_type == identity.instance_type);
    let known = known.and(cx.facts.limits);
    let limits = identity.limits.or(known).unwrap_or_else(|| InstanceLimits::custom(1, 1));
    cx.facts.limits = identity.limits.or(known);
    cx.identified(identity);
    match cx.config.settings.mode(&limits) {
        Ok(mode) => {
            cx.facts.mode = mode;
            cx.metrics.ipv6 = mode == Mode::Ipv6;
        }
        Err(refusal) => return Flow::Done(Err(refusal.to_string().into())),
    }
    if cx.config.settings.leak_cleanup {
        let until_ms = cx.ms() + leak::delay_ms(cx);
        cx.operations.sleep(Lane::Leak, until_ms);
    }
    Early::VpcCidrs.next(cx)
}

/// Every address is known from now on. Whether ENIs but the primary one are ours to use is not, so that they give nothing yet.
fn loaded<K: PodKey>(cx: &mut Cx<'_, K>, enis: Vec<ImdsEni>) -> End {
    for eni in cx.filter_managed(enis) {
        cx.load_eni(&eni);
        if !cx.is_primary(eni.id) {
            cx.doubt(eni.id);
        }
    }
    Early::Read.next(cx)
}
