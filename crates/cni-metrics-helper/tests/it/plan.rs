//! The calculators, through the library, as the command line calls them.

use clap::Parser;
use cni_metrics_helper::cli::plan::{PlanArgs, run};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    plan: PlanArgs,
}

fn plan(line: &str) -> Result<String, String> {
    let words = std::iter::once("plan").chain(line.split_whitespace());
    let args = Line::try_parse_from(words).map_err(|error| error.to_string())?.plan;
    let mut out = Vec::new();
    run(args, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_default_node_in_json() {
    insta::assert_snapshot!(plan("node --instance-type m5.large --pods 12 --output json").unwrap(), @r#"{"schema":"vpc-cni/plan/1","enis":3,"total_ips":27,"prefixes":0,"assigned":12,"unused":15,"ips_per_eni":[9,9,9],"prefixes_per_eni":[],"max_pods":29,"warnings":[],"command":"node","subnet_addresses":30,"node_subnet_addresses":0}"#);
}

#[test]
fn max_pods_in_json_of_one_type_and_of_all() {
    let one = plan("max-pods --instance-type m5.large --output json").unwrap();
    insta::assert_snapshot!(one, @r#"{"schema":"vpc-cni/plan/1","instance_type":"m5.large","max_pods":29,"by_slots":29,"cap":110,"binding":"eni-slots","formula":"min(3 ENIs x (10 addresses - 1) + 2, 110)","command":"max-pods","cap_of":"managed node groups","notes":[]}"#);
    let all = plan("max-pods --all --output json").unwrap();
    assert!(all.contains(one.trim_end()), "the list has the same objects");
    let objects: Vec<&str> = all.split("{\"").skip(1).collect();
    assert_eq!(objects.len(), 1391);
    assert!(objects.iter().all(|object| object.starts_with("schema\":\"vpc-cni/plan/1\",\"instance_type\":")));
}

#[test]
fn a_prefix_node_in_a_table() {
    insta::assert_snapshot!(plan("node --instance-type t3.small --pods 58 --prefix-delegation").unwrap());
}

#[test]
fn the_traps_are_named() {
    let frozen = "node --instance-type m5.large --pods 9 --minimum-ip-target 6 --warm-eni-target 2";
    insta::assert_snapshot!("frozen", plan(frozen).unwrap());
    let crowded = "node --instance-type m5.large --pods 40 --max-eni 9 --custom-networking";
    insta::assert_snapshot!("crowded", plan(crowded).unwrap());
    let xen = "node --instance-type m4.large --pods 3 --prefix-delegation --warm-ip-target 2";
    insta::assert_snapshot!("xen", plan(xen).unwrap());
    let rounded = "node --instance-type m5.large --pods 3 --prefix-delegation --minimum-ip-target 20 --warm-ip-target 2 --warm-prefix-target 3";
    insta::assert_snapshot!("rounded", plan(rounded).unwrap());
}

#[test]
fn max_pods_tells_its_arithmetic() {
    let lines = [
        "--instance-type m5.large",
        "--instance-type m5.large --custom-networking",
        "--instance-type m5.large --max-eni 2",
        "--instance-type m5.large --prefix-delegation",
        "--instance-type m5.large --prefix-delegation --no-cap",
        "--instance-type m5.24xlarge --prefix-delegation",
        "--instance-type m5.24xlarge --prefix-delegation --vcpus 30",
        "--instance-type m5.metal --vcpus 31",
        "--instance-type m4.large --prefix-delegation",
        "--instance-type mac1.metal",
    ];
    let answers: Vec<_> = lines.iter().map(|line| plan(&format!("max-pods {line}")).unwrap()).collect();
    insta::assert_snapshot!(answers.concat());
}

#[test]
fn every_type_fits_in_one_table() {
    let csv = plan("max-pods --all --output csv --no-cap").unwrap();
    assert_eq!(csv.lines().count(), 1392);
    assert!(csv.contains("\nm5.large,29,29,,eni-slots\n"));
    let sum: u64 = csv.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.parse::<u64>().ok()).sum();
    assert_eq!(sum, 579_504);
}

#[test]
fn mistakes_are_told_with_a_way_out() {
    insta::assert_snapshot!(plan("node --instance-type m5.lrage --pods 1").unwrap_err(), @r#"unknown instance type "m5.lrage"; the nearest known ones are m5.large, m5.xlarge, m5a.large"#);
    assert!(plan("max-pods").unwrap_err().contains("--instance-type"));
    assert!(
        plan("node --instance-type m5.large --pods 1 --output csv")
            .unwrap_err()
            .contains("[possible values: table, json]")
    );
    let refused = "node --instance-type m5.large --pods 1 --prefix-delegation --warm-prefix-target 0";
    assert!(plan(refused).unwrap_err().contains("prefix delegation needs one of"));
}

#[test]
fn a_type_is_found_in_any_case_and_the_format_by_either_flag() {
    let expected = plan("node --instance-type m5.large --pods 12 --output json").unwrap();
    assert_eq!(plan("node --instance-type M5.LARGE --pods 12 -o json").unwrap(), expected);
    assert!(plan("node --instance-type M5.Large --pods 12").unwrap().starts_with("m5.large with 12 pods"));
    let csv = "instance_type,max_pods,by_slots,cap,binding\nm5.large,29,29,110,eni-slots\n";
    assert_eq!(plan("max-pods --instance-type M5.LARGE -o csv").unwrap(), csv);
}

#[test]
fn the_addresses_that_the_subnets_lend_include_each_enis_own() {
    for (line, expected) in [
        ("--pods 12", "the subnet lends 30 addresses (27 for pods, 3 as the primary addresses of the ENIs)"),
        (
            "--pods 1 --warm-ip-target 2 --minimum-ip-target 1",
            "the subnet lends 4 addresses (3 for pods, 1 as the primary address of the ENI)",
        ),
        (
            "--pods 12 --prefix-delegation",
            "the subnet lends 33 addresses (32 for pods, 1 as the primary address of the ENI)",
        ),
        (
            "--pods 12 --custom-networking",
            "the pods' subnet lends 20 addresses (18 for pods, 2 as the primary addresses of the ENIs), the node's subnet 1",
        ),
    ] {
        let shown = plan(&format!("node --instance-type m5.large {line}")).unwrap();
        assert_eq!(shown.lines().nth(1), Some(expected), "{shown}");
    }
}

#[test]
fn the_trunk_of_security_groups_for_pods_takes_an_eni() {
    insta::assert_snapshot!("trunk", plan("node --instance-type m5.large --pods 20 --pod-eni").unwrap());
    let none = plan("node --instance-type t3.small --pods 2 --pod-eni").unwrap();
    assert!(
        none.contains("warning: ENABLE_POD_ENI has no effect: this instance type cannot carry a trunk ENI"),
        "{none}"
    );
    insta::assert_snapshot!(plan("max-pods --instance-type m5.large --pod-eni").unwrap(), @r"
    m5.large: max pods 20
      = min((3 ENIs - 1 trunk) x (10 addresses - 1) + 2, 110)
      binding limit: the instance's ENIs and their addresses
      cap 110 of managed node groups: 2 vCPUs by the size's name; --vcpus overrides
      note: up to 9 pods with a security group have a branch ENI each; with them the node can hold 29
    ");
    let both = plan("max-pods --instance-type m5.large --pod-eni --custom-networking").unwrap();
    assert!(both.contains("= min((3 ENIs - 1 - 1 trunk) x (10 addresses - 1) + 2, 110)"), "{both}");
}

#[test]
fn the_cap_is_that_of_the_tool_that_sets_max_pods() {
    let max_pods =
        |flags: &str| plan(&format!("max-pods --instance-type m5.large --prefix-delegation {flags}")).unwrap();
    for (flags, first, named) in [
        ("", 110, "binding limit: the cap of managed node groups; without it 434"),
        ("--max-pods-by max-pods-calculator", 110, "binding limit: the cap of max-pods-calculator.sh; without it 434"),
        ("--max-pods-by karpenter", 434, "note: Karpenter does not count prefixes and sets 29;"),
        ("--max-pods-by nodeadm", 434, "note: nodeadm does not count prefixes and sets 29;"),
        ("--no-cap", 434, "binding limit: the instance's ENIs and their addresses"),
    ] {
        let shown = max_pods(flags);
        assert!(
            shown.starts_with(&format!("m5.large: max pods {first}\n")) && shown.contains(named),
            "{flags}: {shown}"
        );
    }
    let node = |flags: &str| plan(&format!("node --instance-type m5.24xlarge --pods 300 {flags}")).unwrap();
    let capped = node("");
    assert!(
        capped.contains("max pods 250 is the cap of managed node groups; Karpenter and nodeadm have none"),
        "{capped}"
    );
    assert!(capped.contains("warning: 300 pods and 2 on the host network exceed the node's 250 max pods"), "{capped}");
    let free = node("--max-pods-by karpenter");
    assert!(free.contains(", max pods 737\n") && !free.contains("warning: 300 pods"), "{free}");
}

#[test]
fn pods_on_the_host_network_are_as_many_as_are_given() {
    let shown = plan("node --instance-type m5.large --pods 27 --host-network-pods 4 --max-pods 29").unwrap();
    assert!(
        shown.contains(
            "warning: 27 pods and 4 on the host network exceed the node's 29 max pods: 2 of them stay Pending"
        )
    );
    assert!(
        plan("max-pods --instance-type m5.large --host-network-pods 5").unwrap().starts_with("m5.large: max pods 32\n")
    );
}

#[test]
fn each_pod_that_is_left_over_is_named_once() {
    // 18 addresses and 20 max pods for 40 pods: the node admits 18 of them.
    let shown = plan("node --instance-type m5.large --pods 40 --custom-networking").unwrap();
    assert!(shown.contains("exceed the node's 20 max pods: 22 of them stay Pending"), "{shown}");
    assert!(!shown.contains("get no address"), "{shown}");
    let frozen = plan("node --instance-type m5.large --pods 9 --minimum-ip-target 6").unwrap();
    assert!(
        frozen.contains("pods beyond that stay in ContainerCreating")
            && frozen.contains("3 of the pods get no address"),
        "{frozen}"
    );
}

#[test]
fn settings_without_effect_and_targets_out_of_reach_are_named() {
    let node = |flags: &str| plan(&format!("node --instance-type m5.large --pods 3 {flags}")).unwrap();
    let shown = node("--minimum-ip-target 30");
    assert!(
        shown.contains("warning: MINIMUM_IP_TARGET=30 is never reached: the instance holds at most 27 pod addresses"),
        "{shown}"
    );
    assert!(!shown.contains("freezes"), "{shown}");
    let shown = node("--warm-ip-target 28 --custom-networking");
    assert!(
        shown.contains("warning: WARM_IP_TARGET=28 is never reached: the instance holds at most 18 pod addresses"),
        "{shown}"
    );
    assert!(!node("--minimum-ip-target 27").contains("never reached"));
    assert!(node("--max-eni 0").contains("warning: MAX_ENI=0 has no effect"));
    let max_pods = plan("max-pods --instance-type m5.large --max-eni 0").unwrap();
    assert!(
        max_pods.starts_with("m5.large: max pods 29\n") && max_pods.contains("note: MAX_ENI=0 has no effect"),
        "{max_pods}"
    );
}
