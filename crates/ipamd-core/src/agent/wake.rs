//! What a lane that waits is woken with, and what a step answers.

use cni_types::limits::InstanceLimits;

use super::trouble::Trouble;
use crate::id::AttachmentId;
use crate::input::{
    Ec2Eni, Ec2Failure, Ec2Reply, Ec2Subnet, Fate, HostError, HostPod, HostReply, ImdsEni, ImdsError, ImdsErrorKind,
    ImdsReply, KubeError, KubeReply, StoreError,
};

/// The reason why a lane goes on.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Its sleep is over.
    Timer,
    /// EC2 answered, or did not in time.
    Ec2(Result<Ec2Reply, Ec2Failure>),
    /// The metadata service answered, or did not in time.
    Imds(Result<ImdsReply, ImdsError>),
    /// The API server answered, or did not in time.
    Kube(Result<KubeReply, KubeError>),
    /// The host answered, or did not in time.
    Host(Result<HostReply, HostError>),
    /// The disk answered, or did not in time.
    Store(Result<(), StoreError>),
}

/// A step waits for the next wake-up of its lane, or ends with a result.
#[derive(Debug)]
pub(crate) enum Flow<S, T> {
    /// It waits in this state.
    Wait(S),
    /// It is done.
    Done(T),
}

impl<S, T> Flow<S, T> {
    /// What the step that contains this one does next: it waits with it, or goes on with its result.
    pub(crate) fn then<U, R>(self, wait: impl FnOnce(S) -> U, done: impl FnOnce(T) -> Flow<U, R>) -> Flow<U, R> {
        match self {
            Self::Wait(state) => Flow::Wait(wait(state)),
            Self::Done(result) => done(result),
        }
    }
}

/// Answers are checked against their questions before a lane sees them, so this says nothing about the outside.
fn unexpected() -> Trouble {
    Trouble::plain("the lane was woken by something else than it waits for")
}

impl Wake {
    fn ec2(self) -> Result<Ec2Reply, Trouble> {
        match self {
            Self::Ec2(result) => result.map_err(Trouble::from),
            _ => Err(unexpected()),
        }
    }

    /// A call of which only success matters.
    pub(crate) fn done(self) -> Result<(), Trouble> {
        self.ec2().map(drop)
    }

    /// ENIs, as EC2 describes them.
    pub(crate) fn described(self) -> Result<Vec<Ec2Eni>, Trouble> {
        self.page().map(|(found, _)| found)
    }

    /// ENIs, and where the next page begins.
    pub(crate) fn page(self) -> Result<(Vec<Ec2Eni>, Option<Box<str>>), Trouble> {
        match self.ec2()? {
            Ec2Reply::Enis { found, next } => Ok((found, next)),
            _ => Err(unexpected()),
        }
    }

    /// ENIs; the failure carries EC2's message.
    pub(crate) fn described_or_failure(self) -> Result<Vec<Ec2Eni>, Ec2Failure> {
        match self {
            Self::Ec2(Ok(Ec2Reply::Enis { found, .. })) => Ok(found),
            Self::Ec2(Err(failure)) => Err(failure),
            _ => Err(no_answer()),
        }
    }

    /// Subnets.
    pub(crate) fn subnets(self) -> Result<Vec<Ec2Subnet>, Trouble> {
        match self.ec2()? {
            Ec2Reply::Subnets(subnets) => Ok(subnets),
            _ => Err(unexpected()),
        }
    }

    /// Devices in use.
    pub(crate) fn devices(self) -> Result<Vec<(u8, u8)>, Trouble> {
        match self.ec2()? {
            Ec2Reply::Devices(devices) => Ok(devices),
            _ => Err(unexpected()),
        }
    }

    /// Limits of an instance type.
    pub(crate) fn limits(self) -> Result<InstanceLimits, Trouble> {
        match self.ec2()? {
            Ec2Reply::Limits(limits) => Ok(limits),
            _ => Err(unexpected()),
        }
    }

    /// A new ENI.
    pub(crate) fn created(self) -> Result<Ec2Eni, Trouble> {
        match self.ec2()? {
            Ec2Reply::Created(eni) => Ok(*eni),
            _ => Err(unexpected()),
        }
    }

    /// An attachment.
    pub(crate) fn attached(self) -> Result<AttachmentId, Trouble> {
        match self.ec2()? {
            Ec2Reply::Attached(attachment) => Ok(attachment),
            _ => Err(unexpected()),
        }
    }

    /// What was assigned.
    pub(crate) fn assigned(self) -> Result<Assigned, Trouble> {
        match self.ec2()? {
            Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes } => {
                Ok(Assigned { ipv4, ipv4_prefixes, ipv6_prefixes })
            }
            _ => Err(unexpected()),
        }
    }

    /// An answer of the metadata service.
    pub(crate) fn imds(self) -> Result<ImdsReply, ImdsError> {
        match self {
            Self::Imds(result) => result,
            _ => Err(ImdsError { path: "".into(), kind: ImdsErrorKind::Malformed }),
        }
    }

    /// Attached ENIs, as the metadata service lists them.
    pub(crate) fn listed(self) -> Result<Vec<ImdsEni>, ImdsError> {
        match self.imds()? {
            ImdsReply::Enis(enis) => Ok(enis),
            _ => Err(ImdsError { path: "".into(), kind: ImdsErrorKind::Malformed }),
        }
    }

    /// An answer of the API server.
    pub(crate) fn kube(self) -> Result<KubeReply, KubeError> {
        match self {
            Self::Kube(result) => result,
            _ => Err(KubeError::Other),
        }
    }

    /// An answer of the host.
    pub(crate) fn host(self) -> Result<HostReply, HostError> {
        match self {
            Self::Host(result) => result,
            _ => Err(HostError::Other("the lane was woken by something else".into())),
        }
    }

    /// Pods of which the host shows a trace.
    pub(crate) fn host_pods(self) -> Result<Vec<HostPod>, HostError> {
        match self.host()? {
            HostReply::Pods(pods) => Ok(pods),
            _ => Err(HostError::Other("the lane was woken by something else".into())),
        }
    }

    /// An answer of the disk.
    pub(crate) fn store(self) -> Result<(), StoreError> {
        match self {
            Self::Store(result) => result,
            _ => Err(StoreError::Io("the lane was woken by something else".into())),
        }
    }
}

/// What an assignment gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) ipv4: Vec<std::net::Ipv4Addr>,
    pub(crate) ipv4_prefixes: Vec<std::net::Ipv4Addr>,
    pub(crate) ipv6_prefixes: Vec<std::net::Ipv6Addr>,
}

/// What stands for an answer of EC2 that did not come in time.
pub(crate) fn no_answer() -> Ec2Failure {
    Ec2Failure {
        code: None,
        message: "".into(),
        text: "no answer within the time allowed; whether the call was done is unknown".into(),
        fate: Fate::Unknown,
    }
}
