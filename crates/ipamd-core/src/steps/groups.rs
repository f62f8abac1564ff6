//! Security groups of the primary ENI: where they changed, every managed ENI gets them.

use cni_types::ec2::Ec2Code;

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::{ImdsError, ImdsErrorKind, ImdsReply};
use crate::output::{Ec2Call, ImdsRead};

/// The step.
#[derive(Debug)]
pub(crate) enum Refreshing {
    /// They are read.
    Read,
    /// One ENI gets them; these are left.
    Set(std::vec::IntoIter<EniId>),
}

type End = Flow<Refreshing, Result<(), ImdsError>>;

impl Refreshing {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        cx.imds(ImdsRead::Groups);
        Flow::Wait(Self::Read)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match self {
            Self::Read => match wake.imds() {
                Ok(ImdsReply::Groups(groups)) => changed(cx, groups),
                Ok(_) => Flow::Done(Err(ImdsError { path: "".into(), kind: ImdsErrorKind::Malformed })),
                Err(error) => Flow::Done(Err(error)),
            },
            Self::Set(left) => {
                if wake.done().is_err_and(|trouble| trouble.is(Ec2Code::InvalidNetworkInterfaceIdNotFound)) {
                    let code = Ec2Code::InvalidNetworkInterfaceIdNotFound.name();
                    cx.metrics.api_error("IMDSMetaDataOutOfSync", code);
                }
                next(cx, left)
            }
        }
    }
}

fn changed<K: PodKey>(cx: &mut Cx<'_, K>, mut groups: Vec<crate::id::GroupId>) -> End {
    groups.sort_unstable();
    groups.dedup();
    if groups == cx.facts.groups {
        return Flow::Done(Ok(()));
    }
    cx.facts.groups = groups;
    if cx.config.settings.custom_networking {
        return Flow::Done(Ok(()));
    }
    let managed = cx.pool.enis().iter().map(|eni| eni.id).filter(|eni| !cx.foreign.holds(*eni));
    let mut enis: Vec<_> = managed.collect();
    enis.sort_by_key(ToString::to_string);
    next(cx, enis.into_iter())
}

fn next<K: PodKey>(cx: &mut Cx<'_, K>, mut left: std::vec::IntoIter<EniId>) -> End {
    let Some(eni) = left.next() else { return Flow::Done(Ok(())) };
    let groups = cx.facts.groups.clone();
    cx.ec2(Ec2Call::SetGroups { eni, groups }, Count::Always);
    Flow::Wait(Refreshing::Set(left))
}
