//! All attached ENIs: the listing of the metadata service, and what EC2 says about them.

use cni_types::ec2::Ec2Code;

use crate::agent::attached::Attached;
use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::input::{Ec2Eni, Ec2Failure, EniKind, ImdsEni};
use crate::output::{Ec2Call, ImdsRead};

/// Tries of the call of EC2.
const TRIES: u8 = 12;
/// Each has its own limit.
const TRY_BUDGET_MS: i64 = 10_000;
/// The pause grows by this with each try that failed, from none after the first.
const PAUSE_STEP_MS: i64 = 10;

/// The step.
#[derive(Debug)]
pub(crate) enum DescribeAll {
    /// The metadata service lists them.
    List,
    /// EC2 describes them, or a try failed and the next is to come.
    Describe(Tries),
}

/// The call of EC2, as far as it is.
#[derive(Debug)]
pub(crate) struct Tries {
    enis: Vec<ImdsEni>,
    tried: u8,
    last: Option<Trouble>,
}

type End = Flow<DescribeAll, Result<Attached, Trouble>>;

impl DescribeAll {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>) -> End {
        cx.imds(ImdsRead::Enis);
        Flow::Wait(Self::List)
    }

    pub(crate) fn resume<K: PodKey>(self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        match (self, wake) {
            (Self::List, wake) => match wake.listed() {
                Err(error) => {
                    Flow::Done(Err(Trouble::plain(format!("the attached ENIs could not be listed: {error}"))))
                }
                Ok(enis) if cx.config.settings.imds_only => Flow::Done(Ok(Attached::not_described(enis))),
                Ok(enis) => Tries { enis, tried: 0, last: None }.ask(cx),
            },
            (Self::Describe(tries), Wake::Timer) => tries.ask(cx),
            (Self::Describe(tries), wake) => match wake.described_or_failure() {
                Ok(found) => Flow::Done(tries.check(found)),
                Err(failure) => tries.failed(cx, failure),
            },
        }
    }
}

impl Tries {
    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        let ids: Vec<_> = self.enis.iter().map(|eni| eni.id).collect();
        if self.tried >= TRIES || ids.is_empty() {
            let none = || Trouble::plain("the metadata service lists no ENI that EC2 knows");
            return Flow::Done(Err(self.last.unwrap_or_else(none)));
        }
        cx.ec2_within(TRY_BUDGET_MS, Ec2Call::DescribeEnis { ids }, Count::Always);
        Flow::Wait(DescribeAll::Describe(self))
    }

    fn failed<K: PodKey>(mut self, cx: &mut Cx<'_, K>, failure: Ec2Failure) -> End {
        let missing = Ec2Code::InvalidNetworkInterfaceIdNotFound;
        let pause_ms = i64::from(self.tried) * PAUSE_STEP_MS;
        self.tried = self.tried.saturating_add(1);
        let unknown = quoted(&failure.message).and_then(|id| EniId::parse(id).ok());
        let trouble = Trouble::from(failure);
        let is_missing = trouble.is(missing);
        self.last = Some(trouble);
        if is_missing {
            cx.metrics.api_error("IMDSMetaDataOutOfSync", missing.name());
            self.enis.retain(|eni| Some(eni.id) != unknown);
            return self.ask(cx);
        }
        if pause_ms == 0 {
            return self.ask(cx);
        }
        cx.sleep(pause_ms);
        Flow::Wait(DescribeAll::Describe(self))
    }

    /// An ENI without any address in the listing must be one that EC2 calls EFA-only.
    fn check(self, found: Vec<Ec2Eni>) -> Result<Attached, Trouble> {
        let addressed = |eni: &Ec2Eni| {
            let listed = self.enis.iter().find(|listed| listed.id == eni.id);
            listed.is_some_and(|listed| {
                listed.ipv4.as_ref().is_some_and(|list| !list.is_empty()) || !listed.ipv6.is_empty()
            })
        };
        if let Some(eni) = found.iter().find(|eni| eni.kind != EniKind::EfaOnly && !addressed(eni)) {
            let text = format!("the metadata service shows no address of {}, which is not EFA-only", eni.id);
            return Err(Trouble::plain(text));
        }
        Ok(Attached::new(self.enis, found))
    }
}

/// What stands in the first pair of single quotes of an error message.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('\'')?;
    rest.split_once('\'').map(|(id, _)| id)
}
