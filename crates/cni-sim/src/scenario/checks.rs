//! What the keys alone cannot say: references that must exist, numbers that must fit together.

use super::faults::{FaultKind, FaultSpec};
use super::span::At;
use super::spec::Scenario;
use crate::cidr::Cidr;
use cni_types::agent_settings::variables;
use cni_types::ec2::Ec2Operation;
use cni_types::near::nearest;
use std::collections::BTreeSet;

/// Above every collector's timeout.
const LONGEST_LATENCY_MS: i64 = 60_000;

/// Every mistake, each naming file, line, key, value and what is allowed.
pub fn mistakes(scenario: &Scenario, file: &str) -> Vec<String> {
    let mut found = Mistakes { file, list: Vec::new() };
    let subnets: BTreeSet<&str> = scenario.subnets.iter().map(|subnet| subnet.name.as_str()).collect();
    let groups: BTreeSet<&str> = scenario.node_groups.iter().map(|group| group.name.as_str()).collect();
    if subnets.len() < scenario.subnets.len() {
        found.add(0, "subnets", "two subnets have the same name");
    }
    if groups.len() < scenario.node_groups.len() {
        found.add(0, "node_groups", "two groups have the same name");
    }
    if scenario.cluster.node_latency.ms >= LONGEST_LATENCY_MS {
        found.add(0, "cluster.node_latency", "must be below 1m");
    }
    check_subnets(scenario, &mut found);
    check_groups(scenario, &subnets, &mut found);
    for (index, workload) in scenario.workload.iter().enumerate() {
        let key = format!("workload[{index}]");
        found.reference(workload.group.as_ref(), &format!("{key}.group"), &groups);
        let rates = [workload.pods_per_node, workload.churn_per_minute];
        if rates.iter().any(|rate| !rate.is_finite() || *rate < 0.0) {
            found.add(0, &key, "rates must be 0 or more");
        }
        let periods = [workload.diurnal.map(|diurnal| diurnal.period), workload.waves.map(|waves| waves.every)];
        if periods.iter().flatten().any(|period| period.ms <= 0) {
            found.add(0, &key, "a period must be longer than 0s");
        }
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        check_fault(scenario, fault, &format!("faults[{index}]"), (&subnets, &groups), &mut found);
    }
    found.list
}

struct Mistakes<'a> {
    file: &'a str,
    list: Vec<String>,
}

impl Mistakes<'_> {
    fn add(&mut self, line: u64, key: &str, what: &str) {
        let place = if line == 0 { self.file.to_owned() } else { format!("{}:{line}", self.file) };
        self.list.push(format!("{place}: {key}: {what}"));
    }

    fn reference(&mut self, value: Option<&At<String>>, key: &str, allowed: &BTreeSet<&str>) {
        if let Some(at) = value.filter(|at| !allowed.contains(at.value.as_str())) {
            let allowed: Vec<&str> = allowed.iter().copied().collect();
            self.add(at.line, key, &format!("{:?} does not exist; valid names: {}", at.value, allowed.join(", ")));
        }
    }
}

fn check_subnets(scenario: &Scenario, found: &mut Mistakes<'_>) {
    if scenario.subnets.is_empty() {
        found.add(0, "subnets", "at least one is needed");
    }
    for (index, subnet) in scenario.subnets.iter().enumerate() {
        if let Err(error) = Cidr::read(&subnet.cidr.value) {
            found.add(subnet.cidr.line, &format!("subnets[{index}].cidr"), &error.to_string());
        }
    }
}

fn check_groups(scenario: &Scenario, subnets: &BTreeSet<&str>, found: &mut Mistakes<'_>) {
    if scenario.node_groups.is_empty() {
        found.add(0, "node_groups", "at least one is needed");
    }
    for (index, group) in scenario.node_groups.iter().enumerate() {
        let key = format!("node_groups[{index}]");
        found.reference(Some(&group.subnet), &format!("{key}.subnet"), subnets);
        found.reference(group.pod_subnet.as_ref(), &format!("{key}.pod_subnet"), subnets);
        let instance_type = &group.instance_type;
        if cni_types::limits::find(&instance_type.value).is_none() {
            let near = cni_types::limits::nearest(&instance_type.value, 3).join(", ");
            let what = format!("{:?} is an unknown instance type; similar types: {near}", instance_type.value);
            found.add(instance_type.line, &format!("{key}.instance_type"), &what);
        }
        for (name, at) in &group.env {
            if variables().all(|known| known != name) {
                let meant = nearest(name, variables()).map_or_else(String::new, |near| format!("; similar: {near}"));
                let what = format!("{name:?} is not a variable of aws-node{meant}");
                found.add(at.line, &format!("{key}.env"), &what);
            }
        }
    }
}

fn check_fault(
    scenario: &Scenario,
    fault: &FaultSpec,
    key: &str,
    (subnets, groups): (&BTreeSet<&str>, &BTreeSet<&str>),
    found: &mut Mistakes<'_>,
) {
    found.reference(fault.target.group.as_ref(), &format!("{key}.target.group"), groups);
    let zones: BTreeSet<&str> = scenario.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    found.reference(fault.target.zone.as_ref(), &format!("{key}.target.zone"), &zones);
    let line = fault.fault.line;
    match &fault.fault.value {
        FaultKind::SubnetDry { subnet, .. } | FaultKind::Fragment { subnet, .. } => {
            found.reference(Some(subnet), &format!("{key}.fault.subnet"), subnets);
        }
        FaultKind::MissingIam { action }
        | FaultKind::Ec2Refusal { action: Some(action), .. }
        | FaultKind::Ec2Late { action: Some(action), .. }
            if Ec2Operation::by_name(&action.value).is_none() =>
        {
            let allowed = Ec2Operation::ALL.map(Ec2Operation::name).join(", ");
            let what = format!("{:?} is not an EC2 action of ipamd; valid actions: {allowed}", action.value);
            found.add(action.line, &format!("{key}.fault.action"), &what);
        }
        FaultKind::Join { .. } if fault.target.group.is_none() => {
            found.add(line, &format!("{key}.target.group"), "join needs the group that the nodes belong to");
        }
        FaultKind::Restart { every: Some(every) } if every.ms < 1_000 => {
            found.add(line, &format!("{key}.fault.every"), "must be 1s or more");
        }
        FaultKind::LeakIps { per_minute } if !per_minute.is_finite() || *per_minute < 0.0 => {
            found.add(line, &format!("{key}.fault.per_minute"), "must be 0 or more");
        }
        _ => {}
    }
}
