//! The core in the world: what an agent that decides as the original does makes of the histories from the field.

use cni_types::ec2::Ec2Operation;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::Epoch;
use ipamd_core::input::KubeError;
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core};
use ipamd_model::world::World;
use ipamd_model::world::cases::{Case, CaseOutcome};
use ipamd_model::world::faults::Target;

type Make = Box<dyn FnMut(Epoch) -> Core<u64>>;
type Env = &'static [(&'static str, &'static str)];

/// Agents 1.22.0 to 1.23.1 leave an ENI half set up whose subnet cannot be looked up.
const FORMER: bool = false;
const PRESENT: bool = true;

fn play_as(case: &Case, env: Env, version: bool) -> (World<Make>, CaseOutcome) {
    play_with(case, &config_of(env, version))
}

fn config_of(env: Env, version: bool) -> Config {
    let mut config = Config::upstream(Settings::manifest_with(env.iter().copied()));
    config.unknown_subnet_serves = version;
    config
}

fn play_with(case: &Case, config: &Config) -> (World<Make>, CaseOutcome) {
    play_seeded(case, config, 5)
}

fn play_seeded(case: &Case, config: &Config, seed: u64) -> (World<Make>, CaseOutcome) {
    case.play(seed, |index| -> Make {
        let config = config.clone();
        Box::new(move |epoch| Core::new(config.clone(), Box::new(Seeded::random(u64::from(epoch.0) ^ index as u64))))
    })
}

fn play(case: &Case, env: Env) -> (World<Make>, CaseOutcome) {
    play_as(case, env, PRESENT)
}

fn calls(outcome: &CaseOutcome, operation: Ec2Operation) -> u64 {
    outcome.calls.iter().find(|(called, _)| *called == operation).map_or(0, |(_, count)| *count)
}

#[test]
fn a_throttled_restart_makes_agents_before_1_23_2_give_the_addresses_of_pods_away() {
    let case = Case::ThrottledRestart(64_000);
    let mut config = Config::upstream(Settings::manifest());
    config.unknown_subnet_serves = FORMER;
    // How the ENIs are ordered decides which pods are forgotten, and whether their addresses are given to others before their
    // ENIs go.
    let (mut forgot, mut harmed, mut shared) = (0, 0, 0);
    for seed in 0..8 {
        let (world, former) = play_seeded(&case, &config, seed);
        assert!(former.serves && world.node(0).unwrap().fatal().is_empty(), "{seed} {former:?}");
        forgot += usize::from(former.unlike_checkpoint.0 > 0);
        harmed += usize::from(!former.harm.is_none());
        shared += usize::from(!former.harm.shared.is_empty());
    }
    assert!(forgot > 4 && harmed > 4 && shared > 0, "{forgot} {harmed} {shared}");
    let (_, present) = play(&case, &[]);
    assert!(present.serves && present.harm.is_none() && present.unlike_checkpoint == (0, 0), "{present:?}");
}

#[test]
fn what_metadata_leaves_out_is_lost_with_its_pods() {
    for case in [Case::StaleList, Case::EniMissing] {
        let (_, outcome) = play(&case, &[]);
        assert!(outcome.serves && !outcome.harm.is_none(), "{case:?}: {outcome:?}");
    }
}

#[test]
fn a_sandbox_without_its_del_keeps_its_address_while_a_pod_has_its_name() {
    let (_, outcome) = play(&Case::SameName, &[]);
    assert!(outcome.serves && outcome.harm.is_none(), "{outcome:?}");
    let (missing, extra) = outcome.unlike_checkpoint;
    assert!(missing == 0 && extra > 0, "{outcome:?}");
}

#[test]
fn resting_addresses_count_as_free_and_pods_wait_for_them() {
    let (_, outcome) = play(&Case::Replacement, &[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "8")]);
    assert!(outcome.harm.is_none() && outcome.refused > 10, "{outcome:?}");
    assert!(outcome.all_run_ms.is_some_and(|ms| (31_000..60_000).contains(&ms)), "{outcome:?}");
}

#[test]
fn a_fleet_asks_for_its_subnets_once_an_eni() {
    let (world, outcome) = play(&Case::Fleet(20), &[]);
    assert!(outcome.serves && outcome.harm.is_none(), "{outcome:?}");
    let enis: usize = world.instances().map(|who| world.account.ec2.attached(world.now_ms(), who).len()).sum();
    assert_eq!(calls(&outcome, Ec2Operation::DescribeSubnets), enis as u64);
}

#[test]
fn a_foreign_eni_is_tagged_detached_and_deleted() {
    let (_, outcome) = play(&Case::ForeignEni, &[("WARM_IP_TARGET", "2")]);
    assert_eq!(outcome.foreign_stays, Some(false), "{outcome:?}");
    assert_eq!(calls(&outcome, Ec2Operation::CreateTags), 1);
}

#[test]
fn a_missing_permission_to_look_subnets_up_stops_agents_before_1_23_2() {
    let case = Case::MissingPermission(Ec2Operation::DescribeSubnets);
    assert!(!play_as(&case, &[], FORMER).1.serves, "three ENIs take longer than the liveness probe waits");
    let (_, present) = play(&case, &[]);
    assert!(present.serves && present.harm.is_none(), "{present:?}");
}

#[test]
fn a_full_disk_keeps_the_addresses_of_ended_pods_until_a_restart() {
    let (world, outcome) = play(&Case::FullDisk, &[]);
    assert!(outcome.serves && outcome.harm.is_none() && outcome.unlike_checkpoint == (0, 0), "{outcome:?}");
    assert!(world.node(0).unwrap().disk.writes().1 > 0, "the disk refused");
}

#[test]
fn an_annotation_that_cannot_be_written_refuses_pods() {
    let (_, outcome) = play(&Case::Api(KubeError::Forbidden), &[("ANNOTATE_POD_IP", "true")]);
    assert!(outcome.serves && outcome.harm.is_none() && outcome.refused > 10, "{outcome:?}");
    assert!(outcome.all_run_ms.is_some_and(|ms| ms > 300_000), "after the trouble they run: {outcome:?}");
}

#[test]
fn every_cell_of_the_table_ends_with_an_agent_that_serves_unless_the_failure_lasts() {
    for case in Case::table() {
        let (_, outcome) = play(&case, &[]);
        let Case::Failing { lasts_ms, .. } = case else { continue };
        assert!(outcome.serves || lasts_ms == i64::MAX, "{case:?}: {outcome:?}");
        assert!(outcome.harm.is_none(), "{case:?}: {outcome:?}");
    }
}

#[test]
fn a_careful_agent_serves_through_every_failure_and_harms_no_pod() {
    let others = [Case::ThrottledRestart(64_000), Case::StaleList, Case::EniMissing, Case::FullDisk];
    let careful = Config::careful(Settings::manifest());
    for case in Case::table().chain(others) {
        let (_, outcome) = play_with(&case, &careful);
        assert!(outcome.harm.is_none(), "{case:?}: {outcome:?}");
        // Only what the metadata service never says again keeps a start from serving.
        let ec2 = matches!(case, Case::Failing { target: Target::Ec2(_) | Target::EveryEc2, .. });
        let for_ever = matches!(case, Case::Failing { lasts_ms: i64::MAX, .. });
        assert!(outcome.serves || (for_ever && !ec2), "{case:?}: {outcome:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let (world, outcome) = play(&Case::EniMissing, &[]);
    let (again, same) = play(&Case::EniMissing, &[]);
    assert_eq!(outcome, same);
    let page = |world: &World<Make>| format!("{:?}", world.node(0).unwrap().agent().unwrap().metrics());
    assert_eq!(page(&world), page(&again));
}
