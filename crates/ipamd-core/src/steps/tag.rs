//! Tagging an ENI.

use crate::agent::attached::Tag;
use crate::agent::backoff::Backoff;
use crate::agent::cx::Cx;
use crate::agent::managed::INSTANCE;
use crate::agent::memory::{Agent, PodKey};
use crate::agent::operations::Count;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::id::EniId;
use crate::output::Ec2Call;

/// Tag with the cluster's name.
const CLUSTER: &str = "cluster.k8s.amazonaws.com/name";
/// Tag of the owner ...
const OWNER: &str = "eks:eni:owner";
/// ... and its value.
const OWNER_VALUE: &str = "amazon-vpc-cni";

/// The step: a try waits for its answer, or the next for its time.
#[derive(Debug)]
pub(crate) struct Tagging {
    eni: EniId,
    tags: Vec<Tag>,
    backoff: Backoff,
}

type End = Flow<Tagging, Result<(), Trouble>>;

impl Tagging {
    /// Adds the tags; none to add is success without a call.
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: EniId, tags: Vec<Tag>) -> End {
        if tags.is_empty() {
            return Flow::Done(Ok(()));
        }
        Self { eni, tags, backoff: Backoff::TAG }.ask(cx)
    }

    fn ask<K: PodKey>(self, cx: &mut Cx<'_, K>) -> End {
        cx.ec2(Ec2Call::Tag { eni: self.eni, tags: self.tags.clone() }, Count::Always);
        Flow::Wait(self)
    }

    pub(crate) fn resume<K: PodKey>(mut self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        if matches!(wake, Wake::Timer) {
            return self.ask(cx);
        }
        let Err(trouble) = wake.done() else { return Flow::Done(Ok(())) };
        match self.backoff.failed(&mut *cx.chooser) {
            Some(pause_ms) => {
                cx.sleep(pause_ms);
                Flow::Wait(self)
            }
            None => Flow::Done(Err(trouble)),
        }
    }
}

impl<K: PodKey> Agent<K> {
    /// The tags of an ENI that this agent works with.
    pub(crate) fn own_tags(&self) -> Vec<Tag> {
        let instance = self.facts.identity.as_ref().map(|identity| identity.instance.to_string()).unwrap_or_default();
        let mut tags: Vec<Tag> = vec![(INSTANCE.into(), instance.into())];
        if let Some(cluster) = self.config.settings.cluster_name.clone().filter(|name| !name.is_empty()) {
            tags.push((CLUSTER.into(), cluster));
            tags.push((OWNER.into(), OWNER_VALUE.into()));
        }
        tags.sort_unstable();
        tags
    }

    /// Those that an ENI with these tags lacks, or has with another value.
    pub(crate) fn missing_tags(&self, current: &[Tag]) -> Vec<Tag> {
        let mut tags = self.own_tags();
        tags.retain(|tag| !current.contains(tag));
        tags
    }
}
