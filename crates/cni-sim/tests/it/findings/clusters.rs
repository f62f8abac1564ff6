//! The clusters of the rows, and what else follows from a row.

use cni_insight::catalogue::FindingId as Id;
use cni_sim::scenario::Scenario;

use super::rows::Row;

impl Row {
    /// What follows from it by itself, and may be named beside it.
    pub(super) fn consequences(&self) -> &'static [Id] {
        match self.id {
            // The kubelet starts the container again and again.
            Id::AgentSettingsRefused | Id::AgentNotStarted => &[Id::AgentRestarting],
            _ => &[],
        }
    }

    /// How many nodes have it, of this number.
    pub(super) fn nodes(&self, all: usize) -> usize {
        // Those that are not as most are.
        if self.second.is_empty() { all } else { 2 }
    }

    /// The time between its rounds, where that is another than usual.
    pub(super) fn interval_s(&self, usual: i64) -> i64 {
        // It takes a day.
        if self.id == Id::WarmPoolOversized { 300 } else { usual }
    }

    /// It ends by itself although what caused it stays, or is over in a moment.
    pub(super) fn ends(&self) -> bool {
        matches!(self.id, Id::PoolGrowing | Id::EnisForceRemoved | Id::AddressesForceRemoved)
    }

    /// Four nodes of the group in a large subnet.
    pub(super) fn scenario(&self) -> Scenario {
        let count = if self.group.contains("count: ") { "" } else { "count: 4, " };
        let version = self.version.map(|version| format!("agent_version: {version}, ")).unwrap_or_default();
        let subnet = if self.group.contains(", subnet: ") { "" } else { "subnet: a, " };
        let group = format!("name: all, {subnet}{version}{count}{}", self.group);
        if self.second.is_empty() {
            return scenario(&[&group], &[self.workload], self.faults);
        }
        let label = "labels: { eks.amazonaws.com/nodegroup: all }";
        let other = format!("name: other, subnet: a, count: 2, {label}, {version}{}, {}", self.group, self.second);
        scenario(&[&group, &other], &[self.workload], self.faults)
    }

    /// The same with agents of another version.
    pub(super) fn with_version(self, version: &'static str) -> Self {
        Self { version: Some(version), ..self }
    }
}

/// Two rows at once: groups `one` and `two` of three nodes, each in its subnet.
pub(super) fn pair((first, subnet): (&Row, &str), (second, other): (&Row, &str)) -> Scenario {
    let rows = [(first, "one", subnet), (second, "two", other)];
    let group =
        |(row, name, subnet): (&Row, &str, &str)| format!("name: {name}, subnet: {subnet}, count: 3, {}", row.group);
    let groups = rows.map(group);
    let workload = rows.map(|(row, name, _)| format!("group: {name}, {}", row.workload));
    let fault = |(row, name, subnet): (&Row, &str, &str)| -> Vec<String> {
        let of_subnet = format!("subnet: {subnet}");
        let its = |fault: &&str| {
            if fault.contains("subnet: a") {
                return fault.replace("subnet: a", &of_subnet);
            }
            format!("target: {{ group: {name} }}, {fault}")
        };
        row.faults.iter().map(its).collect()
    };
    let faults: Vec<String> = rows.into_iter().flat_map(fault).collect();
    scenario(&lines(&groups), &lines(&workload), &lines(&faults))
}

fn lines(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// Groups of nodes, their workload and what goes wrong.
pub(super) fn scenario(groups: &[&str], workload: &[&str], faults: &[&str]) -> Scenario {
    let list = |name: &str, lines: &[&str]| {
        let lines = lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect::<Vec<_>>().concat();
        if lines.is_empty() { String::new() } else { format!("{name}:\n{lines}") }
    };
    let text = format!(
        "name: row\nwarm_up: 20m\nsubnets:\n  - {{ name: a, cidr: 10.0.0.0/20, zone: zone-a, ipv6: 'fd00::' }}\n  \
         - {{ name: b, cidr: 10.1.0.0/20, zone: zone-b }}\n  \
         - {{ name: c, cidr: 10.2.0.0/20, zone: zone-a }}\n  - {{ name: pods, cidr: 100.64.0.0/20, zone: zone-a }}\n  \
         - {{ name: off, cidr: 10.3.0.0/20, zone: zone-d, role: off }}\n  \
         - {{ name: on, cidr: 10.4.0.0/20, zone: zone-d, role: on }}\n{}{}{}",
        list("node_groups", groups),
        list("workload", workload),
        list("faults", faults),
    );
    Scenario::parse(&text, "row.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}
