//! Random histories of a node with one ENI, on which the order of maps decides nothing that is compared.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use proptest::prelude::*;

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
        for step in steps {
            match step {
                Step::Pass(ms) => pair.pass(ms),
                Step::Add(pod) => pair.add(pod),
                Step::Del(pod) => pair.del(pod),
                Step::Fail(op, code, times) => pair.fail(op, code, times),
                Step::Imds(down) => pair.imds(down),
                Step::Restart => {
                    pair.heal();
                    pair.restart();
                    pair.pass(5_000);
                }
            }
        }
        pair.pass(100_000);
    }
}
