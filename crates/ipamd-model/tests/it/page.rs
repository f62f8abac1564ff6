//! The page: families, types, order and spelling of a healthy node, and of the other flavours.

use std::net::Ipv4Addr;

use cni_types::limits;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, GroupId, RpcId, SubnetId, VpcId};
use ipamd_core::input::{AddRequest, DelReason, DelRequest, Input, PodName};
use ipamd_core::{Config, Core};
use ipamd_model::metrics::{PageFlavour, Release, Shown, Truth};
use ipamd_model::settings::Settings;
use ipamd_model::world::ec2::Ec2Spec;
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::KubeletSpec;
use ipamd_model::world::subnet::SubnetFacts;
use ipamd_model::world::wire::WireSpec;
use ipamd_model::world::{World, WorldNodeSpec};

type OneNode = World<fn(Epoch) -> Core<u64>>;

const START_MS: i64 = 1_787_715_600_423;
const HOURS_3_MS: i64 = 3 * 3_600_000;

/// A world of an m5.large whose agent starts at [`START_MS`].
fn one_node() -> OneNode {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 16, 0), 20);
    let mut world = OneNode::new(Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], 7), WireSpec::default());
    world.account.unix_start_ms = START_MS;
    let limits = limits::find("m5.large").expect("a known type");
    let spec = WorldNodeSpec {
        instance_type: "m5.large".into(),
        limits,
        subnet: SubnetId::from_bits(1),
        imds: ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]),
        host: HostSpec::default(),
        kubelet: KubeletSpec::default(),
        controller: Controller::Silent,
        max_pods: Some(limits.listed_max_pods()),
    };
    let agent = |_| Core::new(Config::upstream(Settings::manifest()), Box::new(Seeded::random(11)));
    world.launch(spec, agent).expect("a subnet with room");
    world
}

fn name(pod: u64) -> PodName {
    PodName { namespace: "default".into(), name: format!("pod-{pod}").into() }
}

/// The plugin asks once: no kubelet tries it again.
fn add(world: &mut OneNode, pod: u64) {
    let request = AddRequest { rpc: RpcId(pod), key: pod, pod: name(pod), uid: "".into(), limit_ms: None };
    world.tell(0, Input::Add(request));
    world.pass(1_000);
}

fn del(world: &mut OneNode, pod: u64) {
    let (rpc, reason) = (RpcId(1_000 + pod), DelReason::PodDeleted);
    world.tell(0, Input::Del(DelRequest { rpc, key: pod, pod: name(pod), uid: "".into(), reason }));
    world.pass(1_000);
}

fn agent(world: &OneNode) -> &Core<u64> {
    world.node(0).expect("a node").agent().expect("an agent that lives")
}

fn now_ms(world: &OneNode) -> i64 {
    START_MS + world.now_ms()
}

/// Three hours of an m5.large: 42 adds of which two find nothing, 28 deletes, 12 pods left.
fn healthy() -> OneNode {
    let mut world = one_node();
    world.run_to(600_000);
    for pod in 0..29 {
        world.pass(9_000);
        add(&mut world, pod);
        assert_eq!(agent(&world).pool().owners().contains_key(&pod), pod < 27, "{pod}");
    }
    for pod in 0..26 {
        world.pass(9_000);
        del(&mut world, pod);
    }
    world.pass(40_000);
    (100..113).for_each(|pod| add(&mut world, pod));
    (100..102).for_each(|pod| del(&mut world, pod));
    world.run_to(HOURS_3_MS + 900_000);
    let agent = world.node_mut(0).and_then(|node| node.agent_mut()).expect("an agent that lives");
    (0..360).for_each(|_| agent.metrics_mut().scraped(200));
    world
}

fn truth(world: &OneNode) -> Truth {
    agent(world).metrics().truth(now_ms(world), PageFlavour::V1_23)
}

fn page(flavour: PageFlavour) -> String {
    let world = healthy();
    let mut out = Vec::new();
    let shown = Shown { now_ms: now_ms(&world), seed: 11, nftables: false };
    agent(&world).metrics().render(shown, flavour, &mut out);
    String::from_utf8(out).expect("a page is text")
}

fn value<'a>(page: &'a str, series: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[test]
fn a_healthy_page_has_the_families_of_a_real_one_in_its_order() {
    let page = page(PageFlavour::V1_23);
    let families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected = include_str!("../data/families.txt").lines().filter(|line| !line.starts_with('#'));
    // An ENI was released in these hours, so the delete noise may show; what a quiet node lacks is not looked at.
    let noise = ["awscni_aws_api_error_count counter", "awscni_ec2api_error_count counter"];
    let families: Vec<_> = families.into_iter().filter(|family| !noise.contains(family)).collect();
    assert_eq!(families, expected.collect::<Vec<_>>());
    let names: Vec<_> = families.iter().map(|family| family.split(' ').next()).collect();
    assert!(names.is_sorted());
}

#[test]
fn a_healthy_page_counts_what_happened() {
    let page = page(PageFlavour::V1_23);
    for (series, expected) in [
        ("awscni_add_ip_req_count", "42"),
        ("awscni_assigned_ip_addresses", "12"),
        ("awscni_del_ip_req_count{reason=\"PodDeleted\"}", "28"),
        ("awscni_no_available_ip_addresses", "2"),
        ("awscni_eni_max", "3"),
        ("awscni_ip_max", "27"),
        ("awscni_build_info{goversion=\"go1.26.4\",version=\"\"}", "1"),
        ("awscni_connmark_backend{backend=\"iptables\"}", "1"),
        ("awscni_connmark_reconcile_total{result=\"success\"}", "1"),
        ("awscni_ipamd_action_inprogress{fn=\"nodeInit\"}", "0"),
        ("awscni_ec2api_req_count{fn=\"CreateTags\"}", "1"),
        ("awscni_ec2api_req_count{fn=\"AssignPrivateIpAddresses\"}", "1"),
        ("go_gc_gomemlimit_bytes", "9.223372036854776e+18"),
        ("process_start_time_seconds", "1.78771560042e+09"),
        ("process_virtual_memory_max_bytes", "1.8446744073709552e+19"),
        ("promhttp_metric_handler_requests_total{code=\"200\"}", "360"),
        ("promhttp_metric_handler_requests_total{code=\"503\"}", "0"),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}");
    }
    assert!(!page.contains("quantile=\"0.99\""));
    assert!((12_000..22_000).contains(&page.len()), "{}", page.len());
}

#[test]
fn the_agents_part_of_the_page_is_spelled_like_this() {
    let page = page(PageFlavour::V1_23);
    let ours: Vec<_> = page.lines().filter(|line| line.contains("awscni_")).collect();
    insta::assert_snapshot!(ours.join("\n"));
}

#[test]
fn lines_are_well_formed() {
    for flavour in [PageFlavour::V1_23, PageFlavour::CountersAsGauges, PageFlavour::Legacy(Release::OLD)] {
        let page = page(flavour);
        assert!(page.ends_with('\n') && !page.contains("\n\n") && !page.contains(",}"));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, number) = line.rsplit_once(' ').expect("name and value");
            assert!(number == "NaN" || number.parse::<f64>().is_ok(), "{line}");
            let labels = series.split_once('{').map(|(_, labels)| labels.trim_end_matches('}')).unwrap_or_default();
            let names: Vec<_> = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(n, _)| n).collect();
            let plain: Vec<_> = names.iter().filter(|name| !matches!(**name, "le" | "quantile")).collect();
            assert!(plain.is_sorted(), "{line}");
            assert!(names.iter().rev().skip(1).all(|name| !matches!(*name, "le" | "quantile")), "{line}");
        }
    }
}

#[test]
fn counters_can_be_declared_as_gauges() {
    let (usual, odd) = (page(PageFlavour::V1_23), page(PageFlavour::CountersAsGauges));
    assert!(odd.contains("# TYPE awscni_add_ip_req_count gauge\n"));
    assert!(odd.contains("# TYPE process_cpu_seconds_total counter\n"));
    let samples =
        |page: &str| page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&usual), samples(&odd));
}

#[test]
fn an_old_agents_page_has_quantiles_and_other_names() {
    let page = page(PageFlavour::Legacy(Release { minor: 6, patch: 3 }));
    let series = "awscni_aws_api_latency_ms{api=\"AssignPrivateIpAddresses\",error=\"false\",quantile=\"0.99\"}";
    assert_eq!(value(&page, series), Some("NaN"));
    let imds = "awscni_aws_api_latency_ms{api=\"GetMetadata\",error=\"false\",quantile=\"0.99\"}";
    assert_eq!(value(&page, imds), Some("1"));
    assert!(page.contains("awscni_ipamd_action_inprogress{fn=\"increaseIPPool\"} 0\n"));
    assert!(page.contains("go_memstats_lookups_total 0\n"));
    for absent in ["status=", "ec2api", "per_cidr", "startup_duration", "prefixes", "gogc"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn each_release_shows_the_families_that_it_has() {
    let has = |minor: u16, patch: u16, text: &str| page(PageFlavour::Legacy(Release { minor, patch })).contains(text);
    for (text, first) in [
        ("awscni_force_removed_enis 0", (6, 0)),
        ("awscni_total_ipv4_prefixes 0", (9, 0)),
        ("awscni_ec2api_req_count{", (12, 1)),
        ("awscni_no_available_ip_addresses ", (16, 0)),
        ("awscni_build_info{", (21, 0)),
        ("status=\"200\"", (10, 0)),
    ] {
        let (minor, patch) = first;
        let before = if patch > 0 { (minor, patch - 1) } else { (minor - 1, 9) };
        assert_eq!((has(before.0, before.1, text), has(minor, patch, text)), (false, true), "{text}");
    }
    assert!(has(4, 0, "awscni_aws_api_lantency_ms_sum{") && !has(4, 0, "latency_ms"));
    assert!(has(9, 3, "quantile=\"0.99\"") && !has(10, 0, "awscni_aws_api_latency_ms{"));
    assert!(has(18, 6, "# TYPE awscni_add_ip_req_count gauge") && has(19, 0, "# TYPE awscni_add_ip_req_count counter"));
}

#[test]
fn a_tag_names_a_release() {
    for tag in ["v1.12.6", "1.12.6", "v1.12.6-eksbuild.2"] {
        assert_eq!(Release::of_tag(tag), Some(Release { minor: 12, patch: 6 }), "{tag}");
    }
    for tag in ["", "latest", "v2.0.0", "v1.12", "v1.12.6.1", "v1.x.0"] {
        assert_eq!(Release::of_tag(tag), None, "{tag}");
    }
}

#[test]
fn truth_is_what_the_page_says() {
    let truth = truth(&healthy());
    let page = page(PageFlavour::V1_23);
    let sum = |family: &str| -> f64 {
        let series = page.lines().filter(|line| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    let pairs = [
        ("awscni_assigned_ip_addresses", truth.assigned as f64),
        ("awscni_total_ip_addresses", truth.total),
        ("awscni_total_ipv4_prefixes", truth.prefixes as f64),
        ("awscni_assigned_ip_per_cidr", truth.assigned_per_cidr.unwrap_or(-1) as f64),
        ("awscni_eni_allocated", truth.eni_allocated as f64),
        ("awscni_eni_max", truth.eni_max as f64),
        ("awscni_ip_max", truth.ip_max as f64),
        ("awscni_ipamd_action_inprogress", truth.in_progress as f64),
        ("awscni_add_ip_req_count", truth.add_requests as f64),
        ("awscni_del_ip_req_count", truth.del_requests as f64),
        ("awscni_no_available_ip_addresses", truth.no_available as f64),
        ("awscni_force_removed_enis", truth.force_removed_enis as f64),
        ("awscni_force_removed_ips", truth.force_removed_ips as f64),
        ("awscni_reconcile_count", truth.reconcile as f64),
        ("awscni_ipamd_error_count", truth.ipamd_errors as f64),
        ("awscni_pod_eni_error_count", truth.pod_eni_errors as f64),
        ("awscni_aws_api_error_count", truth.aws_api_errors as f64),
        ("awscni_aws_utils_error_count", truth.aws_utils_errors as f64),
        ("awscni_ec2api_req_count", truth.ec2_requests as f64),
        ("awscni_ec2api_error_count", truth.ec2_errors as f64),
        ("awscni_aws_api_latency_ms_sum", truth.latency.iter().map(|series| series.sum_ms as f64).sum()),
        ("awscni_aws_api_latency_ms_count", truth.latency.iter().map(|series| series.count as f64).sum()),
        ("process_start_time_seconds", truth.process_start_ms as f64 / 1000.0),
    ];
    for (family, expected) in pairs {
        assert!((sum(family) - expected).abs() < 1e-6, "{family}: {} is not {expected}", sum(family));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(page(PageFlavour::V1_23), page(PageFlavour::V1_23));
}
