//! What the API server answers one node's agent, and the VPC resource controller behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni_types::random::Random;
use ipamd_core::id::{GroupId, SubnetId};
use ipamd_core::input::{BranchEni, KubeError, KubeReply, NodeSeen, PodName};
use ipamd_core::output::KubeCall;
use ipamd_core::small_map::SmallMap;

use super::faults::{Faults, How};

/// The feature by which an agent asks for a trunk ENI.
const TRUNK_FEATURE: &str = "SecurityGroupsForPods";

/// What the VPC resource controller does for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Attaches a trunk this long after the node asked for one, milliseconds, from and to.
    Attaches(i64, i64),
    /// Takes the request and does nothing.
    Silent,
    /// Is not installed: the node has no `CNINode`.
    Absent,
}

/// A pod as the API server has it.
#[derive(Debug, Clone, Default)]
pub struct KubePod {
    /// Its UID.
    pub uid: Box<str>,
    /// Its branch ENI.
    pub branch: Option<Box<BranchEni>>,
    /// Each container's claim to a branch ENI.
    pub wants_branch: Vec<bool>,
    /// The annotation with its address.
    pub annotation: Option<IpAddr>,
}

/// The objects that an agent of one node asks for.
#[derive(Debug)]
pub struct Kube {
    /// The node; `None`: it is not there.
    pub node: Option<NodeSeen>,
    /// `ENIConfig` by name.
    pub eni_configs: BTreeMap<Box<str>, (SubnetId, Vec<GroupId>)>,
    /// Pods by namespace and name.
    pub pods: SmallMap<(Box<str>, Box<str>), KubePod>,
    /// How long an answer takes, milliseconds, from and to.
    pub latency_ms: (i64, i64),
    /// Pods that are scheduled are kept. An agent without security groups for pods and annotations asks for none.
    pub keeps_pods: bool,
    controller: Controller,
    features: BTreeMap<Box<str>, Box<str>>,
    warnings: u64,
    random: Random,
}

/// What a call leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct KubeOutcome {
    /// How long the answer takes, milliseconds.
    pub took_ms: i64,
    /// The answer.
    pub result: Result<KubeReply, KubeError>,
    /// The controller attaches a trunk at this time.
    pub trunk_ms: Option<i64>,
}

impl Kube {
    /// An API server that has the node and nothing else.
    pub fn new(node: NodeSeen, controller: Controller, seed: u64) -> Self {
        Self {
            node: Some(node),
            eni_configs: BTreeMap::new(),
            pods: SmallMap::new(),
            latency_ms: (4, 30),
            keeps_pods: true,
            controller,
            features: BTreeMap::new(),
            warnings: 0,
            random: Random::stream(seed, 6),
        }
    }

    /// Features that the `CNINode` announces.
    pub fn features(&self) -> &BTreeMap<Box<str>, Box<str>> {
        &self.features
    }

    /// Warning events about missing permissions.
    pub fn warnings(&self) -> u64 {
        self.warnings
    }

    /// A pod is there, under a UID of its own; what was said of its name before stands.
    pub fn schedule(&mut self, pod: u64, name: &PodName) {
        if !self.keeps_pods {
            return;
        }
        let known = self.pods.or_default((name.namespace.clone(), name.name.clone()));
        (known.uid, known.annotation) = (uid(pod), None);
    }

    /// A pod is gone; a later one of its name stays.
    pub fn remove(&mut self, pod: u64) {
        if self.pods.is_empty() {
            return;
        }
        let uid = uid(pod);
        self.pods.retain(|_, known| known.uid != uid);
    }

    /// Answers a call.
    pub fn execute(&mut self, now_ms: i64, call: &KubeCall, faults: &mut Faults) -> KubeOutcome {
        let mut took_ms = self.random.between(self.latency_ms.0, self.latency_ms.1);
        let refused = match faults.kube(now_ms) {
            Some(How::Kube(error)) => Some(error),
            Some(How::Late(by_ms)) => {
                took_ms = took_ms.saturating_add(by_ms);
                None
            }
            Some(_) => Some(KubeError::Timeout),
            None => None,
        };
        let (result, trunk_ms) = match refused {
            Some(error) => (Err(error), None),
            None => self.answer(now_ms.saturating_add(took_ms), call),
        };
        KubeOutcome { took_ms, result, trunk_ms }
    }

    fn answer(&mut self, at_ms: i64, call: &KubeCall) -> (Result<KubeReply, KubeError>, Option<i64>) {
        let result = match call {
            KubeCall::GetNode => self.node.clone().map(KubeReply::Node).ok_or(KubeError::NotFound),
            KubeCall::GetEniConfig { name } => {
                let found = self.eni_configs.get(name).cloned();
                found.map(|(subnet, groups)| KubeReply::EniConfig { subnet, groups }).ok_or(KubeError::NotFound)
            }
            KubeCall::GetPod(pod) => self.pod(pod),
            KubeCall::PatchCniNode { feature, value } => return self.patch(at_ms, feature, value),
            KubeCall::AnnotatePod { pod, uid, set, release } => self.annotate((pod, uid), *set, *release),
            KubeCall::WarnMissingPermission { .. } => {
                self.warnings = self.warnings.saturating_add(1);
                Ok(KubeReply::Annotated)
            }
        };
        (result, None)
    }

    fn pod(&self, pod: &PodName) -> Result<KubeReply, KubeError> {
        let found = self.pods.get(&(pod.namespace.clone(), pod.name.clone())).ok_or(KubeError::NotFound)?;
        let KubePod { uid, branch, wants_branch, .. } = found.clone();
        Ok(KubeReply::Pod { uid, branch: branch.map(|branch| *branch), wants_branch })
    }

    /// The first request for a trunk moves the controller.
    fn patch(&mut self, at_ms: i64, feature: &str, value: &str) -> (Result<KubeReply, KubeError>, Option<i64>) {
        if self.controller == Controller::Absent {
            return (Err(KubeError::NotFound), None);
        }
        let new = self.features.insert(feature.into(), value.into()).is_none();
        let trunk_ms = match self.controller {
            Controller::Attaches(from_ms, to_ms) if new && feature == TRUNK_FEATURE => {
                Some(at_ms.saturating_add(self.random.between(from_ms, to_ms)))
            }
            _ => None,
        };
        (Ok(KubeReply::CniNodePatched), trunk_ms)
    }

    fn annotate(
        &mut self,
        (pod, uid): (&PodName, &str),
        set: Option<IpAddr>,
        release: Option<IpAddr>,
    ) -> Result<KubeReply, KubeError> {
        let key = (pod.namespace.clone(), pod.name.clone());
        let meant = |found: &&mut KubePod| uid.is_empty() || *found.uid == *uid;
        let found = self.pods.get_mut(&key).filter(meant).ok_or(KubeError::NotFound)?;
        // A late release must not take the address of a pod that has another one by now.
        if set.is_some() || release.is_none() || found.annotation == release {
            found.annotation = set;
        }
        Ok(KubeReply::Annotated)
    }
}

/// The UID of a pod.
pub(super) fn uid(pod: u64) -> Box<str> {
    format!("{pod:08x}-0000-4000-8000-000000000000").into()
}

#[cfg(test)]
mod tests {
    use super::super::faults::{Fault, Target};
    use super::*;

    fn kube(controller: Controller) -> Kube {
        Kube::new(NodeSeen { max_pods: Some(29), ..NodeSeen::default() }, controller, 1)
    }

    #[test]
    fn a_trunk_is_asked_for_once_and_comes_later() {
        let mut faults = Faults::none(1);
        let ask = KubeCall::PatchCniNode { feature: TRUNK_FEATURE, value: "".into() };
        let mut willing = kube(Controller::Attaches(5_000, 60_000));
        let first = willing.execute(1_000, &ask, &mut faults);
        assert_eq!(first.result, Ok(KubeReply::CniNodePatched));
        assert!((6_000..=62_000).contains(&first.trunk_ms.unwrap()), "{first:?}");
        assert_eq!(willing.execute(2_000, &ask, &mut faults).trunk_ms, None);
        assert_eq!(kube(Controller::Silent).execute(0, &ask, &mut faults).trunk_ms, None);
        assert_eq!(kube(Controller::Absent).execute(0, &ask, &mut faults).result, Err(KubeError::NotFound));
    }

    #[test]
    fn what_is_missing_is_not_found_and_faults_come_first() {
        let mut faults = Faults::none(1);
        let mut kube = kube(Controller::Silent);
        let config = KubeCall::GetEniConfig { name: "default".into() };
        assert_eq!(kube.execute(0, &config, &mut faults).result, Err(KubeError::NotFound));
        kube.eni_configs.insert("default".into(), (SubnetId::from_bits(2), Vec::new()));
        assert!(kube.execute(0, &config, &mut faults).result.is_ok());
        faults.add(Fault::new(Target::Kube, How::Kube(KubeError::Forbidden), 10, 20));
        faults.add(Fault::new(Target::Kube, How::Late(9_000), 20, 30));
        assert_eq!(kube.execute(10, &config, &mut faults).result, Err(KubeError::Forbidden));
        let late = kube.execute(20, &KubeCall::GetNode, &mut faults);
        assert!(late.took_ms >= 9_000 && late.result.is_ok());
    }

    #[test]
    fn a_pod_goes_and_a_later_one_of_its_name_stays() {
        let mut faults = Faults::none(1);
        let mut kube = kube(Controller::Silent);
        let name = PodName { namespace: "default".into(), name: "web-0".into() };
        kube.schedule(1, &name);
        kube.schedule(2, &name);
        kube.remove(1);
        let get = KubeCall::GetPod(name);
        let Ok(KubeReply::Pod { uid, .. }) = kube.execute(0, &get, &mut faults).result else { panic!("no pod") };
        assert!(uid.starts_with("00000002-"), "{uid}");
        kube.remove(2);
        assert_eq!(kube.execute(0, &get, &mut faults).result, Err(KubeError::NotFound));
    }

    #[test]
    fn an_address_is_cleared_only_where_it_still_stands() {
        let mut faults = Faults::none(1);
        let mut kube = kube(Controller::Silent);
        let name = PodName { namespace: "default".into(), name: "web-0".into() };
        kube.pods.insert(("default".into(), "web-0".into()), KubePod::default());
        let [one, two]: [IpAddr; 2] = ["10.0.0.8".parse().unwrap(), "10.0.0.9".parse().unwrap()];
        let mut annotate = |set, release| {
            let call = KubeCall::AnnotatePod { pod: name.clone(), uid: "".into(), set, release };
            assert_eq!(kube.execute(0, &call, &mut faults).result, Ok(KubeReply::Annotated));
            kube.pods.values().next().unwrap().annotation
        };
        assert_eq!(annotate(Some(one), None), Some(one));
        assert_eq!(annotate(Some(two), None), Some(two));
        assert_eq!(annotate(None, Some(one)), Some(two), "a late release");
        assert_eq!(annotate(None, Some(two)), None);
    }
}
