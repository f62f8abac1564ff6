//! One node in a cloud whose failures a test scripts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_model::ec2::{Block, Cloud, ImdsRead, SubnetId, SubnetRole, SubnetSpec, SubnetView, Vpc};
use ipamd_model::metrics::{PageFlavour, Truth};
use ipamd_model::node::{AddOutcome, DelOutcome, DelReason, Node, NodeSpec, PodKey};
use ipamd_model::pool::Placement;
use ipamd_model::settings::Settings;

pub(crate) const SUBNET: SubnetId = SubnetId::from_bits(0);
pub(crate) const OTHER: SubnetId = SubnetId::from_bits(1);

/// Two subnets and a list of what fails.
pub(crate) struct ScriptedCloud {
    pub(crate) vpc: Vpc,
    roles: BTreeMap<SubnetId, SubnetRole>,
    faults: BTreeMap<Ec2Operation, Ec2Code>,
    imds: Vec<ImdsRead>,
    /// Every operation asked for, and when.
    pub(crate) calls: Vec<(Ec2Operation, i64)>,
}

impl ScriptedCloud {
    pub(crate) fn fail(&mut self, op: Ec2Operation, code: Ec2Code) {
        self.faults.insert(op, code);
    }

    pub(crate) fn fail_imds(&mut self, read: ImdsRead) {
        self.imds.push(read);
    }

    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.imds.clear();
    }

    pub(crate) fn role(&mut self, subnet: SubnetId, role: SubnetRole) {
        self.roles.insert(subnet, role);
    }
}

impl Cloud for ScriptedCloud {
    fn fault(&mut self, op: Ec2Operation, at_ms: i64) -> Option<Ec2Code> {
        self.calls.push((op, at_ms));
        self.faults.get(&op).copied()
    }

    fn imds_fault(&mut self, read: ImdsRead, _at_ms: i64) -> bool {
        self.imds.contains(&read)
    }

    fn subnets(&self) -> Vec<SubnetView> {
        let mut views = self.vpc.subnets();
        for view in &mut views {
            view.role = self.roles.get(&view.id).copied().unwrap_or_default();
        }
        views
    }

    fn take_addresses(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        self.vpc.take_addresses(subnet, count)
    }

    fn take_prefixes(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        self.vpc.take_prefixes(subnet, count)
    }

    fn take_ipv6_prefix(&mut self, subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code> {
        self.vpc.take_ipv6_prefix(subnet)
    }

    fn give_back(&mut self, subnet: SubnetId, block: Block) {
        self.vpc.give_back(subnet, block);
    }
}

/// A node, its cloud and their clock.
pub(crate) struct Lab {
    pub(crate) node: Node,
    pub(crate) cloud: ScriptedCloud,
    pub(crate) start_ms: i64,
    pub(crate) now_ms: i64,
}

impl Lab {
    /// A node whose process starts now.
    pub(crate) fn new((enis, addresses): (u16, u16), env: &[(&str, &str)], change: impl FnOnce(&mut NodeSpec)) -> Self {
        let mut first = SubnetSpec::new(SubnetId::from_bits(0), Ipv4Addr::new(10, 0, 0, 0), 22);
        first.ipv6_base = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0));
        let second = SubnetSpec::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 4, 0), 22);
        let vpc = Vpc::new(vec![first, second], 3);
        let mut cloud =
            ScriptedCloud { vpc, roles: BTreeMap::new(), faults: BTreeMap::new(), imds: Vec::new(), calls: Vec::new() };
        let mut limits = InstanceLimits::custom(enis, addresses);
        limits.listed = true;
        let settings = Settings::manifest_with(env.iter().copied());
        let mut spec = NodeSpec::new(limits, settings, SubnetId::from_bits(0), 5);
        spec.placement = Placement::FirstFit;
        spec.deletes_lag = false;
        spec.max_pods = Some(1_000);
        change(&mut spec);
        let start_ms = 1_700_000_000_000;
        let node = Node::new(spec, start_ms, &mut cloud).unwrap();
        Self { node, cloud, start_ms, now_ms: start_ms }
    }

    /// A node that has just begun to serve.
    pub(crate) fn serving(limits: (u16, u16), env: &[(&str, &str)], change: impl FnOnce(&mut NodeSpec)) -> Self {
        let mut lab = Self::new(limits, env, change);
        lab.serve();
        lab
    }

    fn serve(&mut self) {
        let limit_ms = self.now_ms + 120_000;
        while !self.node.is_serving() && self.now_ms < limit_ms {
            self.pass(10);
        }
        assert!(self.node.is_serving(), "{:?}", self.node.phase());
    }

    /// Lets time pass in small steps until something is so; ten minutes at most.
    pub(crate) fn until(&mut self, step_ms: i64, so: impl Fn(&Self) -> bool) {
        let limit_ms = self.now_ms + 600_000;
        while !so(self) {
            assert!(self.now_ms < limit_ms, "it never came to pass");
            self.pass(step_ms);
        }
    }

    pub(crate) fn pass(&mut self, span_ms: i64) {
        self.now_ms += span_ms;
        self.node.advance(self.now_ms, &mut self.cloud);
    }

    pub(crate) fn restart(&mut self) {
        self.node.restart(self.now_ms, &mut self.cloud);
        self.serve();
    }

    pub(crate) fn add(&mut self, pod: u64) -> AddOutcome {
        self.node.add_pod(PodKey(pod), self.now_ms, &mut self.cloud)
    }

    pub(crate) fn del(&mut self, pod: u64) -> DelOutcome {
        self.node.del_pod(PodKey(pod), DelReason::PodDeleted, self.now_ms, &mut self.cloud)
    }

    pub(crate) fn truth(&self) -> Truth {
        self.node.truth(self.now_ms)
    }

    pub(crate) fn page(&self) -> String {
        let mut out = Vec::new();
        self.node.render(self.now_ms, PageFlavour::V1_23, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// A series of the page; absent ones read 0.
    pub(crate) fn counter(&self, series: &str) -> u64 {
        let page = self.page();
        let text = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        text.map_or(0, |text| text.parse().unwrap())
    }
}
