//! Every timer of the loop, by when its effects are seen.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_model::ec2::{ImdsRead, SubnetRole};
use ipamd_model::metrics::Truth;
use ipamd_model::node::{AddOutcome, DelReason, InitFailure, Phase, PodKey, TrunkController};

use super::cloud::{Lab, SUBNET};

/// The times at which `figure` rises, seen every 50 ms.
fn rises(lab: &mut Lab, span_ms: i64, figure: impl Fn(&Truth) -> i64) -> Vec<i64> {
    let end_ms = lab.now_ms + span_ms;
    let mut last = figure(&lab.truth());
    let mut times = Vec::new();
    while lab.now_ms < end_ms {
        lab.pass(50);
        let now = figure(&lab.truth());
        if now > last {
            times.push(lab.now_ms);
        }
        last = now;
    }
    times
}

fn gaps(times: &[i64]) -> Vec<i64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn an_address_rests_for_thirty_seconds() {
    for (env, rest_ms) in [(None, 30_000), (Some(("IP_COOLDOWN_PERIOD", "5")), 5_000)] {
        let mut lab = Lab::serving((1, 2), &env.into_iter().collect::<Vec<_>>(), |_| {});
        assert!(matches!(lab.add(1), AddOutcome::Assigned(_)));
        lab.del(1);
        lab.pass(rest_ms);
        assert_eq!(lab.add(2), AddOutcome::NoAddress);
        lab.pass(1);
        assert!(matches!(lab.add(3), AddOutcome::Assigned(_)));
    }
}

#[test]
fn a_cycle_takes_five_seconds() {
    let absent = |spec: &mut ipamd_model::node::NodeSpec| spec.trunk_controller = TrunkController::Absent;
    let env = [("ENABLE_POD_ENI", "true"), ("WARM_IP_TARGET", "1")];
    let mut lab = Lab::serving((3, 10), &env, absent);
    let Phase::Serving { since_ms } = lab.node.phase() else { panic!("not serving") };
    let times = rises(&mut lab, 60_000, |truth| truth.pod_eni_errors.cast_signed());
    assert!((since_ms + 2_500..=since_ms + 2_600).contains(&times[0]), "{since_ms} {times:?}");
    assert!(gaps(&times).iter().all(|gap| (4_950..=5_050).contains(gap)), "{times:?}");
}

#[test]
fn decreases_keep_thirty_seconds_apart() {
    let mut lab = Lab::serving((1, 30), &[("WARM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")], |_| {});
    for pod in 0..10 {
        lab.add(pod);
        lab.pass(20_000);
    }
    let mut pod = 0;
    let end_ms = lab.now_ms + 200_000;
    let mut falls = Vec::new();
    while lab.now_ms < end_ms && pod < 10 {
        let before = lab.truth().total;
        if lab.truth().total - lab.truth().assigned as f64 <= 1.0 {
            lab.del(pod);
            pod += 1;
        }
        lab.pass(50);
        if lab.truth().total < before {
            falls.push(lab.now_ms);
        }
    }
    // Exactly thirty seconds are not enough, so it is the seventh cycle. The interval begins when the decrease has ended, an unassign of a few hundred milliseconds later.
    assert!(falls.len() >= 5, "{falls:?}");
    assert!(gaps(&falls).iter().all(|gap| (34_000..=36_500).contains(gap)), "{:?}", gaps(&falls));
}

#[test]
fn reconciles_keep_sixty_seconds_apart() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    let times = rises(&mut lab, 700_000, |truth| truth.reconcile.cast_signed());
    assert!(times.len() >= 9, "{times:?}");
    assert!(gaps(&times).iter().all(|gap| (60_000..=65_100).contains(gap)), "{:?}", gaps(&times));
}

#[test]
fn a_released_address_comes_back_after_sixty_seconds() {
    // Without a trunk every cycle reconciles: only the memory of the release keeps the address out.
    let silent = |spec: &mut ipamd_model::node::NodeSpec| spec.trunk_controller = TrunkController::Silent;
    let env = [("ENABLE_POD_ENI", "true"), ("WARM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")];
    let mut lab = Lab::serving((3, 10), &env, silent);
    lab.add(1);
    lab.pass(20_000);
    lab.cloud.fail(Ec2Operation::UnassignPrivateIpAddresses, Ec2Code::UnauthorizedOperation);
    lab.del(1);
    let total = lab.truth().total;
    lab.until(50, |lab| lab.truth().total < total);
    let released_ms = lab.now_ms;
    lab.until(50, |lab| lab.truth().total >= total);
    let away_ms = lab.now_ms - released_ms;
    assert!((60_000..=66_000).contains(&away_ms), "{away_ms}");
}

#[test]
fn growth_pauses_two_minutes_when_the_subnet_is_empty() {
    let mut lab = Lab::serving((3, 10), &[("WARM_ENI_TARGET", "2")], |_| {});
    lab.cloud.fail(Ec2Operation::CreateNetworkInterface, Ec2Code::InsufficientFreeAddressesInSubnet);
    let times = rises(&mut lab, 700_000, |truth| truth.ipamd_errors.cast_signed());
    assert!(times.len() >= 4, "{times:?}");
    assert!(gaps(&times).iter().all(|gap| (120_000..=126_500).contains(gap)), "{:?}", gaps(&times));
    assert_eq!(lab.truth().ipamd_errors, 2 * times.len() as u64);
}

#[test]
fn a_new_eni_stays_a_minute() {
    let mut lab = Lab::serving((3, 4), &[("WARM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")], |_| {});
    for pod in 0..2 {
        lab.add(pod);
        lab.pass(20_000);
    }
    lab.add(2);
    lab.until(50, |lab| lab.truth().eni_allocated >= 2);
    let came_ms = lab.now_ms;
    lab.del(2);
    lab.del(1);
    lab.until(50, |lab| lab.truth().eni_allocated <= 1);
    let stayed_ms = lab.now_ms - came_ms;
    lab.pass(10_000);
    let asked = |wanted| lab.cloud.calls.iter().find(|(op, _)| *op == wanted).unwrap().1;
    let pause_ms = asked(Ec2Operation::DeleteNetworkInterface) - asked(Ec2Operation::DetachNetworkInterface);
    assert!((2_111..=2_295).contains(&pause_ms), "a detach, then two seconds: {pause_ms}");
    assert!((59_950..=66_000).contains(&stayed_ms), "{stayed_ms}");
}

#[test]
fn security_groups_are_looked_at_every_thirty_seconds() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    lab.cloud.fail_imds(ImdsRead::SecurityGroups);
    let times = rises(&mut lab, 200_000, |truth| truth.aws_api_errors.cast_signed());
    assert!(times.len() >= 6);
    assert!(gaps(&times).iter().all(|gap| *gap == 30_000), "{times:?}");
}

#[test]
fn leaked_enis_are_searched_hourly() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    let served_ms = lab.now_ms;
    lab.cloud.calls.clear();
    lab.pass(300 * 3_600_000);
    let scans = lab.cloud.calls.iter().filter(|(op, _)| *op == Ec2Operation::DescribeNetworkInterfaces);
    let times: Vec<_> = scans.map(|(_, at_ms)| *at_ms).collect();
    assert!((0..=299_000).contains(&(times[0] - served_ms)), "{served_ms} {}", times[0]);
    let gaps = gaps(&times);
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    // An hour and up to 299 s: over three hundred searches both ends are come close to.
    assert!((3_600_000..3_610_000).contains(least) && (3_889_000..=3_899_000).contains(most), "{least} {most}");
    let mut off = Lab::serving((3, 10), &[("DISABLE_LEAKED_ENI_CLEANUP", "true")], |_| {});
    off.cloud.calls.clear();
    off.pass(2 * 3_600_000);
    assert!(off.cloud.calls.iter().all(|(op, _)| *op != Ec2Operation::DescribeNetworkInterfaces));
}

#[test]
fn crashes_back_off_up_to_five_minutes() {
    let mut lab = Lab::new((3, 10), &[], |_| {});
    lab.cloud.fail_imds(ImdsRead::Identity);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        while !matches!(lab.node.phase(), Phase::Crashed { .. }) {
            lab.pass(10);
        }
        let Phase::Crashed { reason, restart_at_ms } = lab.node.phase() else { panic!("not crashed") };
        assert_eq!(reason, InitFailure::Imds);
        assert!(!lab.node.is_serving());
        pauses.push((restart_at_ms - lab.now_ms + 999) / 1_000);
        lab.pass(restart_at_ms - lab.now_ms);
    }
    let rounded: Vec<_> = pauses.iter().map(|pause| (pause + 4) / 10 * 10).collect();
    assert_eq!(rounded, [0, 10, 20, 40, 80, 160, 300], "{pauses:?}");
}

/// The pause, seconds, before the start that follows a failure of the next one.
fn pause_of_a_failing_start(lab: &mut Lab) -> i64 {
    lab.cloud.fail_imds(ImdsRead::Identity);
    lab.node.restart(lab.now_ms, &mut lab.cloud);
    lab.until(10, |lab| matches!(lab.node.phase(), Phase::Crashed { .. }));
    let Phase::Crashed { restart_at_ms, .. } = lab.node.phase() else { panic!("not crashed") };
    lab.cloud.heal();
    // The container still runs when the failure is decided.
    let pause_ms = restart_at_ms - lab.now_ms;
    lab.until(10, |lab| lab.node.is_serving());
    pause_ms / 10_000 * 10
}

#[test]
fn the_back_off_is_kept_by_an_agent_that_serves_and_ends_after_ten_minutes() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    // The restart itself is the first exit, the failure the second.
    assert_eq!(pause_of_a_failing_start(&mut lab), 10);
    lab.pass(300_000);
    assert_eq!(pause_of_a_failing_start(&mut lab), 40, "five minutes of running do not end it");
    lab.pass(600_000);
    assert_eq!(pause_of_a_failing_start(&mut lab), 10, "ten minutes do");
    // A new pod has a container that never failed.
    let settings = ipamd_model::settings::Settings::manifest();
    lab.cloud.fail_imds(ImdsRead::Identity);
    lab.node.set_settings(settings, lab.now_ms, &mut lab.cloud);
    lab.until(10, |lab| matches!(lab.node.phase(), Phase::Crashed { .. }));
    let Phase::Crashed { restart_at_ms, .. } = lab.node.phase() else { panic!("not crashed") };
    assert!(restart_at_ms - lab.now_ms < 5_000);
}

#[test]
fn set_up_is_tried_six_times_ten_seconds_apart() {
    let mut lab = Lab::new((3, 10), &[], |_| {});
    lab.cloud.fail(Ec2Operation::DescribeSubnets, Ec2Code::UnauthorizedOperation);
    lab.until(50, |lab| lab.node.is_serving());
    let took_ms = lab.now_ms - lab.start_ms;
    assert!((52_000..=58_000).contains(&took_ms), "{took_ms}");
    assert_eq!(lab.counter("awscni_ipamd_error_count{fn=\"waitENIAttachedMaxRetryExceeded\"}"), 1);
    assert_eq!(lab.counter("awscni_ec2api_error_count{fn=\"DescribeSubnets\"}"), 6);
}

#[test]
fn the_api_server_is_waited_for() {
    let absent = |spec: &mut ipamd_model::node::NodeSpec| spec.api_server_reachable = false;
    let mut lab = Lab::new((3, 10), &[], absent);
    lab.until(50, |lab| lab.node.is_serving());
    assert!((31_500..=37_000).contains(&(lab.now_ms - lab.start_ms)));
    assert!(lab.page().contains("with_api_server=\"false\",le=\"+Inf\"} 1\n"));
    assert!(lab.page().contains("awscni_ipamd_startup_duration_seconds_bucket{failure_reason=\"\",success=\"true\",with_api_server=\"false\",le=\"10\"} 0\n"));
    let mut stuck = Lab::new((3, 10), &[("ENABLE_POD_ENI", "true")], absent);
    stuck.pass(3_600_000);
    assert!(!stuck.node.is_serving());
    stuck.node.set_api_server_reachable(true);
    stuck.pass(20_000);
    assert!(stuck.node.is_serving());
}

#[test]
fn an_excluded_enis_address_leaves_the_map_five_seconds_after_its_pod() {
    let mut lab = Lab::serving((3, 10), &[("WARM_IP_TARGET", "2")], |_| {});
    lab.add(1);
    lab.pass(20_000);
    lab.cloud.role(SUBNET, SubnetRole::Off);
    lab.restart();
    let slots = |lab: &Lab| lab.node.pool().enis()[0].slots_used();
    // At start the addresses without pods went; the pod's own stays with it.
    assert_eq!((slots(&lab), lab.truth().total, lab.truth().assigned), (1, 1.0, 1));
    lab.del(1);
    lab.pass(4_999);
    assert_eq!(slots(&lab), 1);
    lab.pass(1);
    assert_eq!((slots(&lab), lab.truth().total), (0, 1.0));
}

#[test]
fn a_page_in_between_shows_a_step_under_way() {
    let mut lab = Lab::serving((3, 10), &[("WARM_ENI_TARGET", "1")], |_| {});
    lab.add(1);
    let mut seen = 0;
    let begun = lab.now_ms;
    while lab.truth().eni_allocated < 2 {
        lab.pass(20);
        seen += i64::from(lab.truth().in_progress == 1);
        assert!(lab.now_ms < begun + 20_000);
    }
    assert!(seen * 20 > 1_500, "an ENI takes its time: {seen}");
    lab.pass(100);
    assert_eq!(lab.truth().in_progress, 0);
    assert_eq!(
        lab.node.del_pod(PodKey(9), DelReason::SetupNsFailed, lab.now_ms, &mut lab.cloud),
        ipamd_model::node::DelOutcome::UnknownPod
    );
    assert_eq!(lab.counter("awscni_del_ip_req_count{reason=\"SetupNSFailed\"}"), 1);
}
