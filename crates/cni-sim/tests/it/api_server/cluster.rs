//! A cluster of a few objects and scripted answers, behind the servers under test.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cni_sim::api_server::{ApiServer, ApiServerOptions, Backend};
use cni_sim::cluster::{Answer, PodKey, ServeTicket, Via};
use cni_sim::fault::ApiFault;
use cni_sim::kube_store::{
    DaemonSetObject, KubeStore, Meta, NamespaceObject, NodeObject, ObjectKey, Owner, PodObject, PodTemplate, Uid, pairs,
};
use tokio::sync::watch;

/// 2026-11-21T03:00:00Z.
pub(crate) const NOW_MS: i64 = 1_795_230_000_000;

pub(crate) const PAGE: &str = "# TYPE awscni_total_ip_addresses gauge\nawscni_total_ip_addresses 27\n";

pub(crate) struct TestCluster {
    kube: KubeStore,
    answers: Mutex<BTreeMap<String, Answer>>,
    fault: Mutex<ApiFault>,
    delivered: watch::Sender<Vec<u64>>,
}

impl TestCluster {
    /// Namespaces, a `DaemonSet`, and `nodes` nodes with one `aws-node` pod each.
    pub(crate) fn new(nodes: u32) -> Arc<Self> {
        Self::with_history(nodes, 1000)
    }

    pub(crate) fn with_history(nodes: u32, history: usize) -> Arc<Self> {
        let cluster = Self {
            kube: KubeStore::new(history),
            answers: Mutex::default(),
            fault: Mutex::default(),
            delivered: watch::Sender::new(Vec::new()),
        };
        for name in ["default", "kube-system"] {
            cluster.kube.upsert_namespace(NamespaceObject { meta: Meta::new("", name, NOW_MS - 86_400_000) });
        }
        let template = Arc::new(PodTemplate::aws_node("v1.23.0", &[]).padded(4000));
        cluster.kube.upsert_daemon_set(DaemonSetObject {
            meta: Meta::new("kube-system", "aws-node", NOW_MS - 86_400_000),
            selector: pairs([("k8s-app", "aws-node")]),
            template: Arc::clone(&template),
            desired: nodes,
            current: nodes,
            ready: nodes,
            updated: nodes,
            generation: 3,
        });
        for index in 0..nodes {
            cluster.kube.upsert_node(node(index));
            cluster.kube.upsert_pod(aws_node(index, &template));
        }
        Arc::new(cluster)
    }

    pub(crate) fn store(&self) -> &KubeStore {
        &self.kube
    }

    /// What a scrape of this pod meets from now on.
    pub(crate) fn answer(&self, pod: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(pod.to_owned(), answer);
    }

    pub(crate) fn fault(&self, fault: ApiFault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn deliveries(&self) -> Vec<u64> {
        self.delivered.borrow().clone()
    }

    /// Waits until this number of pages was delivered.
    pub(crate) async fn delivered_at_least(&self, count: usize) -> Vec<u64> {
        let mut delivered = self.delivered.subscribe();
        let all = tokio::time::timeout(Duration::from_mins(1), delivered.wait_for(|all| all.len() >= count)).await;
        all.expect("pages delivered in time").unwrap().clone()
    }

    pub(crate) fn server(self: &Arc<Self>) -> ApiServer {
        self.server_with(ApiServerOptions::default())
    }

    pub(crate) fn server_with(self: &Arc<Self>, options: ApiServerOptions) -> ApiServer {
        ApiServer::start(Arc::clone(self) as Arc<dyn Backend>, options).unwrap()
    }
}

impl Backend for TestCluster {
    fn kube(&self) -> &KubeStore {
        &self.kube
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn serve(&self, pod: &PodKey, _via: Via) -> Answer {
        let scripted = self.answers.lock().unwrap().get(&pod.name).cloned();
        scripted.unwrap_or_else(|| Answer::Page { body: Bytes::from_static(PAGE.as_bytes()), ticket: ticket(0) })
    }

    fn delivered(&self, ticket: ServeTicket) {
        self.delivered.send_modify(|all| all.push(ticket.number()));
    }

    fn pod_by_ip(&self, ip: IpAddr) -> Option<PodKey> {
        let pods = self.kube.pods();
        let pod = pods.iter().find(|pod| pod.pod_ip == Some(ip))?;
        Some(PodKey::new(pod.meta.namespace.as_ref(), pod.meta.name.as_ref()))
    }

    fn api_fault(&self) -> ApiFault {
        self.fault.lock().unwrap().clone()
    }
}

pub(crate) fn ticket(number: u64) -> ServeTicket {
    ServeTicket::numbered(number)
}

pub(crate) fn node_ip(index: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + index))
}

pub(crate) fn pod_name(index: u32) -> String {
    format!("aws-node-{index:05}")
}

pub(crate) fn pod_key(index: u32) -> ObjectKey {
    ObjectKey::new("kube-system", pod_name(index))
}

fn node(index: u32) -> NodeObject {
    NodeObject {
        meta: Meta {
            labels: pairs([
                ("node.kubernetes.io/instance-type", "m5.large"),
                ("topology.kubernetes.io/zone", "eu-central-1a"),
            ]),
            ..Meta::new("", format!("ip-127-1-0-{index}.eu-central-1.compute.internal"), NOW_MS - 7_200_000)
        },
        provider_id: format!("aws:///eu-central-1a/i-{index:017x}").into(),
        internal_ip: node_ip(index),
        ready: true,
        unschedulable: index == 1,
        taints: Arc::from([]),
        cpu_millis: 2000,
        memory_mib: 8192,
        max_pods: 29,
        kubelet_version: "v1.34.2-eks-abcdef0".into(),
        ready_since_ms: NOW_MS - 7_100_000,
    }
}

fn aws_node(index: u32, template: &Arc<PodTemplate>) -> PodObject {
    let owner = Owner { api_version: "apps/v1".into(), kind: "DaemonSet".into(), name: "aws-node".into(), uid: Uid(7) };
    let meta = Meta {
        labels: pairs([("k8s-app", "aws-node"), ("controller-revision-hash", if index < 2 { "old" } else { "new" })]),
        owner: Some(Arc::new(owner)),
        ..Meta::new("kube-system", pod_name(index), NOW_MS - 7_000_000)
    };
    let host = node(index).meta.name;
    PodObject::running(meta, Arc::clone(template), host, node_ip(index))
}
