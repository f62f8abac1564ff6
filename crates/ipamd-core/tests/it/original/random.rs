//! Random histories on which the order of maps decides nothing that is compared: of a node with one ENI, and of one that grows to
//! three.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use proptest::prelude::*;
use serde_json::json;

use super::Pair;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Pass(i64),
    Add(u64),
    Del(u64),
    Fail(Ec2Operation, Ec2Code, u32),
    Imds(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let ops = prop::sample::select(vec![
        Ec2Operation::AssignPrivateIpAddresses,
        Ec2Operation::UnassignPrivateIpAddresses,
        Ec2Operation::DescribeNetworkInterfaces,
        Ec2Operation::DescribeSubnets,
        Ec2Operation::ModifyNetworkInterfaceAttribute,
    ]);
    let codes = prop::sample::select(vec![
        Ec2Code::InternalError,
        Ec2Code::InsufficientFreeAddressesInSubnet,
        Ec2Code::UnauthorizedOperation,
        Ec2Code::RequestLimitExceeded,
    ]);
    prop_oneof![
        6 => (1..40_i64).prop_map(|seconds| Step::Pass(seconds * 1_000)),
        6 => (0..12_u64).prop_map(Step::Add),
        4 => (0..12_u64).prop_map(Step::Del),
        2 => (ops, codes, 1..4_u32).prop_map(|(op, code, times)| Step::Fail(op, code, times)),
        1 => any::<bool>().prop_map(Step::Imds),
        1 => Just(Step::Restart),
    ]
}

/// Where addresses are released, the original may release such as rest or such as could be used, so that there none rests.
fn settings() -> impl Strategy<Value = &'static [(&'static str, &'static str)]> {
    const NO_REST: (&str, &str) = ("IP_COOLDOWN_PERIOD", "0");
    prop::sample::select(vec![
        &[("WARM_IP_TARGET", "2"), NO_REST][..],
        &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "5"), NO_REST],
        &[("WARM_IP_TARGET", "3"), ("ENABLE_SUBNET_DISCOVERY", "false"), NO_REST],
        &[("ENABLE_PREFIX_DELEGATION", "true"), NO_REST],
        &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "20"), NO_REST],
        &[],
    ])
}

impl Pair {
    /// Each step on both sides, compared, and what follows from the last one.
    fn play(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Pass(ms) => self.pass(ms),
                Step::Add(pod) => self.add(pod),
                Step::Del(pod) => self.del(pod),
                Step::Fail(op, code, times) => self.fail(op, code, times),
                Step::Imds(down) => self.imds(down),
                Step::Restart => {
                    self.heal();
                    self.restart();
                    self.pass(5_000);
                }
            }
        }
        self.pass(100_000);
    }
}

/// How many histories are played: `NODE_COMPARISON_HISTORIES`, or what a change must pass.
fn histories() -> u32 {
    std::env::var("NODE_COMPARISON_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "needs Go: run .ci/run"]
    fn random_histories_of_one_eni_are_the_originals(
        variables in settings(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut pair = Pair::boot(variables, 1, 9);
        pair.pass(5_000);
        pair.play(steps);
    }
}

/// Settings, and how far the metadata service lags: here it lags in what ENIs there are, and not in their addresses.
fn growing_settings() -> impl Strategy<Value = (&'static [(&'static str, &'static str)], i64)> {
    let whole_enis = (
        prop::sample::select(vec![&[][..], &[("WARM_ENI_TARGET", "2")], &[("MAX_ENI", "2")]]),
        prop::sample::select(vec![0_i64, 700, 3_000]),
    );
    let single =
        prop::sample::select(vec![(&[("WARM_IP_TARGET", "2")][..], 0), (&[("ENABLE_PREFIX_DELEGATION", "true")], 0)]);
    prop_oneof![2 => whole_enis, 1 => single]
}

/// What happens next on a node that gets more ENIs and loses no pods: it releases nothing, since which ENI loses addresses is a
/// choice.
fn growing_step() -> impl Strategy<Value = Step> {
    let ops = prop::sample::select(vec![
        Ec2Operation::CreateNetworkInterface,
        Ec2Operation::AttachNetworkInterface,
        Ec2Operation::DescribeSubnets,
        Ec2Operation::DescribeInstances,
        Ec2Operation::CreateTags,
    ]);
    let codes = prop::sample::select(vec![
        Ec2Code::InternalError,
        Ec2Code::UnauthorizedOperation,
        Ec2Code::RequestLimitExceeded,
    ]);
    prop_oneof![
        6 => (1..40_i64).prop_map(|seconds| Step::Pass(seconds * 1_000)),
        8 => (0..14_u64).prop_map(Step::Add),
        2 => (ops, codes, 1..4_u32).prop_map(|(op, code, times)| Step::Fail(op, code, times)),
        1 => any::<bool>().prop_map(Step::Imds),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories() / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "needs Go: run .ci/run"]
    fn random_histories_of_growth_to_three_enis_are_the_originals(
        (variables, lag_ms) in growing_settings(),
        steps in prop::collection::vec(growing_step(), 1..40),
    ) {
        // Pods that a restart or a silent metadata service loses leave addresses too many.
        let releases = variables.iter().any(|(name, _)| *name == "WARM_IP_TARGET");
        let steps = steps.into_iter().filter(|step| !(releases && matches!(step, Step::Restart | Step::Imds(_))));
        let more = json!({"imds_lag_ms": lag_ms});
        let mut pair = Pair::boot_with(variables, 3, 5, &more, |world| world.imds_lag_ms = lag_ms);
        pair.pass(5_000);
        pair.play(steps.collect());
    }
}
