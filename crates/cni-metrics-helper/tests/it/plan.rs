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
    insta::assert_snapshot!(plan("node --instance-type m5.large --pods 12 --output json").unwrap(), @r#"{"schema":"vpc-cni/plan/1","enis":3,"total_ips":27,"prefixes":0,"assigned":12,"unused":15,"ips_per_eni":[9,9,9],"prefixes_per_eni":[],"max_pods":29,"warnings":[],"command":"node"}"#);
}

#[test]
fn max_pods_in_json_of_one_type_and_of_all() {
    let one = plan("max-pods --instance-type m5.large --output json").unwrap();
    insta::assert_snapshot!(one, @r#"{"schema":"vpc-cni/plan/1","instance_type":"m5.large","max_pods":29,"by_slots":29,"cap":110,"binding":"eni-slots","formula":"min(3 ENIs x (10 addresses - 1) + 2, 110)","command":"max-pods"}"#);
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
    assert!(plan("node --instance-type m5.large --pods 1 --output csv").unwrap_err().contains("not csv"));
    let refused = "node --instance-type m5.large --pods 1 --prefix-delegation --warm-prefix-target 0";
    assert!(plan(refused).unwrap_err().contains("prefix delegation needs one of"));
}
