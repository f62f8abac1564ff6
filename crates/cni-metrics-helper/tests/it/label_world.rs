//! A simulated cluster in trouble, and what the helper says of its counters by label set: at each node exactly the
//! difference of two pages, read here by themselves.

use std::collections::BTreeMap;

use cni_metrics_core::labels::LabelShare;
use cni_metrics_core::model::NodeFigures;
use cni_sim::cluster::PodKey;
use cni_sim::scenario::Scenario;
use cni_testkit::world::World;

const ROUNDS: u64 = 24;

/// The families that keep labels, as pages have them.
const FAMILIES: [&str; 8] = [
    "awscni_aws_api_error_count",
    "awscni_aws_utils_error_count",
    "awscni_del_ip_req_count",
    "awscni_ec2api_error_count",
    "awscni_ec2api_req_count",
    "awscni_ipamd_error_count",
    "awscni_pod_eni_error_count",
    "awscni_reconcile_count",
];

/// By series: family and labels.
type Counts = BTreeMap<String, u64>;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of events")]
fn whole(value: f64) -> u64 {
    assert!(value >= 0.0 && value.fract().total_cmp(&0.0).is_eq(), "{value}");
    value as u64
}

/// What a page counts by label set, and when its process started.
fn read(page: &str) -> (Counts, String) {
    let mut counts = Counts::new();
    let mut start = String::new();
    for line in page.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        if series == "process_start_time_seconds" {
            value.clone_into(&mut start);
        }
        let Some((family, labels)) = series.split_once('{').filter(|(family, _)| FAMILIES.contains(family)) else {
            continue;
        };
        let labels = labels.strip_suffix('}').unwrap();
        let labels = if family == "awscni_aws_utils_error_count" {
            let (text, site) = labels.rsplit_once(",fn=").unwrap();
            let code = text.split_once("api error ").unwrap().1.split_once(':').unwrap().0;
            format!("fn={site},code=\"{code}\"")
        } else {
            labels.to_owned()
        };
        *counts.entry(format!("{family} {labels}")).or_default() += whole(value.parse().unwrap());
    }
    (counts, start)
}

fn said(shares: &[LabelShare]) -> Counts {
    let one = |share: &LabelShare| {
        assert_eq!(share.set.rest(), None, "{share:?}");
        let labels: Vec<String> = share.set.labels().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        (format!("{} {}", share.set.family().family().name(), labels.join(",")), whole(share.value))
    };
    shares.iter().map(one).collect()
}

/// Nodes by the pod's UID.
#[derive(Default)]
struct Pages(BTreeMap<String, (Counts, String)>);

impl Pages {
    /// What happened by label set since the node's last page; `None` for a node's first.
    fn since_last(&mut self, world: &World, node: &NodeFigures) -> Option<Counts> {
        let pods = world.sim.cluster().kube().pods();
        let pod =
            pods.into_iter().find(|pod| pod.meta.uid.to_string() == node.uid.as_str()).expect("a node without a pod");
        let key = PodKey::new(&*pod.meta.namespace, &*pod.meta.name);
        let page = world.sim.cluster().peek(&key).expect("a page that was served");
        let (now, start) = read(std::str::from_utf8(&page).unwrap());
        let before = self.0.insert(node.uid.as_str().to_owned(), (now.clone(), start.clone()))?;
        let base = if before.1 == start { before.0 } else { Counts::new() };
        let increases = now.into_iter().map(|(set, count)| {
            let increase = count - base.get(&set).copied().unwrap_or(0);
            (set, increase)
        });
        Some(increases.filter(|(_, increase)| *increase > 0).collect())
    }
}

async fn play(scenario: &str, expected: &str) {
    let mut world = World::start(Scenario::named(scenario).unwrap()).await;
    let mut helper = world.helper(&[]).await;
    let (mut pages, mut seen) = (Pages::default(), Counts::new());
    for round in 1..=ROUNDS {
        if round > 1 {
            world.advance(&[&helper]).await;
        }
        let snapshot = helper.round().await;
        for node in &snapshot.nodes {
            if node.failure.is_some() {
                assert!(node.shares.is_empty());
            } else if let Some(increases) = pages.since_last(&world, node) {
                assert_eq!(said(&node.shares), increases, "{scenario} round {round} {}", node.name);
                for (set, increase) in increases {
                    *seen.entry(set).or_default() += increase;
                }
            }
        }
    }
    assert!(seen.keys().any(|set| set.contains(expected)), "no {expected} in {seen:?}");
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn each_event_is_said_under_the_labels_of_its_page() {
    Box::pin(play("throttling", "RequestLimitExceeded")).await;
    Box::pin(play("missing-iam", "UnauthorizedOperation")).await;
    Box::pin(play("restart-heavy", "awscni_ec2api_req_count")).await;
}
