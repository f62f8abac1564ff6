//! Histories of which each showed a difference once.

use ipamd_core::input::EniKind;
use ipamd_core::settings::Mode;

use super::steps::{Cidr, Family, Step};

type History = (&'static str, Mode, Vec<Step>);

fn eni(eni: u8, kind: EniKind) -> Vec<Step> {
    vec![Step::AddEni { eni, kind, primary: eni == 0 }]
}

fn cidrs(eni: u8, family: Family, count: u8) -> Vec<Step> {
    (0..count).map(|index| Step::AddCidr(Cidr { eni, family, index })).collect()
}

/// An ordinary ENI with CIDRs.
fn whole(number: u8, family: Family, count: u8) -> Vec<Step> {
    [eni(number, EniKind::Interface), cidrs(number, family, count)].concat()
}

fn pods(pods: std::ops::Range<u8>) -> Vec<Step> {
    pods.map(Step::Assign).collect()
}

fn lose_first(family: Family) -> Vec<Step> {
    vec![Step::DelCidr { cidr: Cidr { eni: 0, family, index: 0 }, force: true }]
}

fn exclude(excluded: bool) -> Step {
    Step::Exclude { eni: 0, excluded }
}

fn unused(warm_ip: u32, minimum_ip: u32, warm_prefix: u32) -> Step {
    Step::RemoveUnused { warm_ip, minimum_ip, warm_prefix }
}

fn targets() -> Vec<Step> {
    vec![Step::Targets { warm_eni: 0, warm_ip: 1, minimum_ip: 0, warm_prefix: 0, slots: 9, max_pods: 110 }]
}

fn vanished_eni() -> History {
    let lost = [whole(0, Family::Prefix, 2), whole(1, Family::Prefix, 2), pods(0..40)].concat();
    let left = (0..40).map(Step::Unassign).collect();
    let vanish = vec![Step::RemoveEni { eni: 1, force: true }];
    let then = [vanish, targets(), left, targets(), cidrs(0, Family::Address, 1), whole(2, Family::Prefix, 1)].concat();
    ("d3", Mode::Prefix, [lost, then].concat())
}

fn vanished_prefix() -> History {
    ("d4", Mode::Prefix, [whole(0, Family::Prefix, 1), pods(0..2), lose_first(Family::Prefix)].concat())
}

fn swept_address() -> History {
    let address = Family::Address;
    let swept = [whole(0, address, 1), pods(0..1), lose_first(address), cidrs(0, address, 1), pods(0..2)].concat();
    ("d12", Mode::Secondary, swept)
}

fn either_kind() -> History {
    let mixed = [whole(0, Family::Prefix, 2), cidrs(0, Family::Address, 2), pods(0..1)].concat();
    ("d19", Mode::Prefix, [mixed, vec![Step::Freeable(0)], targets()].concat())
}

fn needed_eni() -> History {
    let mixed = [whole(0, Family::Prefix, 1), whole(1, Family::Address, 2)].concat();
    let asked = vec![Step::Pass(60_000), unused(1, 0, 0), unused(0, 1, 0), unused(0, 0, 2), unused(0, 0, 0)];
    ("d20", Mode::Secondary, [mixed, asked].concat())
}

fn efa() -> History {
    let made = [whole(0, Family::Address, 0), eni(1, EniKind::Efa), cidrs(1, Family::Address, 1)].concat();
    let grows = Step::Allocatable { slots: 2, custom: true };
    let asked = vec![Step::Pass(60_000), grows, Step::FreeableEni, unused(0, 0, 0)];
    ("d30", Mode::Secondary, [made, asked, pods(0..1)].concat())
}

fn excluded_eni() -> History {
    let made = [whole(0, Family::Prefix, 1), pods(0..2), vec![exclude(true)]].concat();
    let left = vec![Step::Unassign(0), Step::Pass(3_000), Step::Unassign(1), Step::Pass(4_999), Step::Pass(1)];
    let back = [cidrs(0, Family::Prefix, 1), vec![exclude(false)], pods(2..3)].concat();
    ("d36", Mode::Prefix, [made, left, back].concat())
}

/// A clean-up waits; a pod whose leaving cannot be written down does not take it away.
fn excluded_eni_and_failing_writes() -> History {
    let made =
        [whole(0, Family::Prefix, 1), pods(0..1), vec![exclude(true), Step::Unassign(0), exclude(false)]].concat();
    let undone = vec![exclude(true), Step::FailWrites(true), Step::Unassign(10), Step::FailWrites(false)];
    let emptied = vec![Step::Pass(2_000), Step::Unassign(11), Step::Unassign(12), Step::Unassign(10)];
    let waited = vec![Step::Pass(2_999), Step::Pass(1), Step::Pass(2_000)];
    ("failing writes", Mode::Prefix, [made, pods(10..13), undone, emptied, waited].concat())
}

pub(crate) fn known() -> Vec<History> {
    vec![
        vanished_eni(),
        vanished_prefix(),
        swept_address(),
        either_kind(),
        needed_eni(),
        efa(),
        excluded_eni(),
        excluded_eni_and_failing_writes(),
    ]
}
