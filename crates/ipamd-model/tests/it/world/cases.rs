//! The histories from the field: that each does what it says, and that harm is seen where it is done.

use cni_types::ec2::Ec2Operation;
use ipamd_core::id::Epoch;
use ipamd_core::input::KubeError;
use ipamd_model::world::World;
use ipamd_model::world::cases::{Case, CaseOutcome};
use ipamd_model::world::faults::{ImdsPath, Target};

use super::agent::PlainAgent;

type Make = fn(Epoch) -> PlainAgent;

fn play(case: &Case, make: Make) -> (World<Make>, CaseOutcome) {
    case.play(5, |_| make)
}

/// Every case, with the trouble of each kind.
fn cases() -> Vec<Case> {
    vec![
        Case::ThrottledRestart(51_000),
        Case::StaleList,
        Case::EniMissing,
        Case::SameName,
        Case::Replacement,
        Case::Fleet(20),
        Case::ForeignEni,
        Case::MissingPermission(Ec2Operation::AssignPrivateIpAddresses),
        Case::FullDisk,
        Case::Api(KubeError::Forbidden),
        Case::Failing {
            target: Target::Ec2(Ec2Operation::AssignPrivateIpAddresses),
            lasts_ms: 600_000,
            at_start: true,
        },
        Case::Failing { target: Target::Imds(ImdsPath::LocalIpv4s), lasts_ms: 51_000, at_start: true },
        Case::Failing { target: Target::Imds(ImdsPath::Macs), lasts_ms: i64::MAX, at_start: false },
    ]
}

#[test]
fn an_agent_that_keeps_what_it_gave_does_no_harm_in_any_case() {
    for case in cases() {
        let (world, outcome) = play(&case, PlainAgent::new);
        assert!(outcome.harm.is_none() && outcome.serves, "{case:?}: {outcome:?}");
        assert!(world.account.ec2.subnets().all(ipamd_model::world::subnet::SubnetSpace::adds_up));
        assert_eq!(outcome.unlike_checkpoint.0, 0, "{case:?}: every pod that runs is in the checkpoint");
        let (_, again) = play(&case, PlainAgent::new);
        assert_eq!(again, outcome, "{case:?}");
    }
}

#[test]
fn an_agent_that_forgets_gives_the_addresses_of_pods_to_others() {
    for case in [Case::ThrottledRestart(51_000), Case::StaleList] {
        let (_, outcome) = play(&case, PlainAgent::forgetful);
        assert!(!outcome.harm.shared.is_empty(), "{case:?}: {outcome:?}");
    }
}

#[test]
fn an_eni_that_goes_strands_its_pods() {
    let (mut world, _) = play(&Case::EniMissing, PlainAgent::new);
    let pods = world.pods_by_eni(0);
    assert_eq!((pods.len(), pods.values().sum::<usize>()), (3, 9));
    let last = *pods.keys().last().unwrap();
    let primary = world.account.ec2.instance(world.node(0).unwrap().instance).unwrap().primary_eni;
    assert!(last != primary && world.lose_eni(0, last));
    assert_eq!(world.harm(0).stranded.len(), pods[&last]);
}

#[test]
fn each_case_makes_its_trouble() {
    let outcome = |case: &Case| play(case, PlainAgent::new).1;
    // A plain agent asks for no subnets; its restart reads nothing but metadata.
    assert!(!outcome(&Case::ThrottledRestart(51_000)).calls.iter().any(|(op, _)| *op == Ec2Operation::DescribeSubnets));
    let replaced = outcome(&Case::Replacement);
    // A plain agent has no cool-down: the addresses of the six serve at once, and two were warm.
    assert_eq!((replaced.all_run_ms, replaced.refused), (Some(1_000), 0), "{replaced:?}");
    let fleet = outcome(&Case::Fleet(20));
    assert!(fleet.serves && !fleet.calls.iter().any(|(op, _)| *op == Ec2Operation::DescribeSubnets), "{fleet:?}");
    assert_eq!(outcome(&Case::ForeignEni).foreign_stays, Some(true));
    let disk = outcome(&Case::FullDisk);
    assert_eq!(disk.unlike_checkpoint, (0, 5), "the DELs of a full disk are not in the file");
    let denied = outcome(&Case::MissingPermission(Ec2Operation::AssignPrivateIpAddresses));
    assert!(denied.harm.is_none() && denied.serves, "{denied:?}");
}

#[test]
fn the_table_has_every_action_and_path_at_a_start_and_later() {
    let table: Vec<Case> = Case::table().collect();
    assert_eq!(table.len(), (Ec2Operation::ALL.len() + ImdsPath::ALL.len()) * 4 * 2);
    for (number, case) in table.iter().enumerate() {
        assert!(!table[..number].contains(case), "{case:?} stands twice");
    }
    // Each cell plays; what keeps its addresses does no harm in any of them.
    for case in table {
        let (_, outcome) = play(&case, PlainAgent::new);
        assert!(outcome.harm.is_none(), "{case:?}: {outcome:?}");
        let Case::Failing { lasts_ms, .. } = case else { continue };
        assert!(outcome.serves || lasts_ms == i64::MAX, "{case:?}: {outcome:?}");
    }
}
