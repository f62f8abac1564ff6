//! The look at the VPC's CIDRs, every 30 seconds: where they changed, the host's rules follow.

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::Wake;
use crate::input::ImdsReply;
use crate::output::{HostCall, ImdsRead};
use crate::settings::Mode;

/// Pause between the end of a look and the next.
const PAUSE_MS: i64 = 30_000;

/// The lane.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cidrs {
    /// It sleeps, or was not begun.
    #[default]
    Rest,
    /// The CIDRs are read.
    Read,
    /// The host's rules are written.
    Update,
}

impl Cidrs {
    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> Self {
        match self {
            Self::Rest => {
                cx.imds(ImdsRead::VpcCidrs);
                return Self::Read;
            }
            Self::Read => {
                if let Ok(ImdsReply::VpcCidrs(read)) = wake.imds()
                    && differ(&read, &cx.facts.vpc_cidrs)
                {
                    cx.facts.vpc_cidrs = Vec::from(&*read);
                    cx.host(HostCall::UpdateSnat { vpc_cidrs: read });
                    return Self::Update;
                }
            }
            Self::Update => {
                let [failures, successes] = &mut cx.agent.metrics.connmark;
                if cx.agent.facts.mode != Mode::Ipv6 {
                    *if wake.host().is_ok() { successes } else { failures } += 1;
                }
            }
        }
        cx.sleep(PAUSE_MS);
        Self::Rest
    }
}

/// As sets.
fn differ(one: &[Box<str>], other: &[Box<str>]) -> bool {
    one.iter().any(|cidr| !other.contains(cidr)) || other.iter().any(|cidr| !one.contains(cidr))
}
