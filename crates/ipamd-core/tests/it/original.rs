//! The same histories in the original, in virtual time, and in the core in its small world: the calls of EC2 with their times,
//! parameters and codes, the replies, the store, the gauges and counters of the page.
//!
//! Which ENI and which address are taken is the order of Go's maps there. The core is handed what the original chose, and it must
//! be one of its own choices. EC2 gives out the same ids and addresses on both sides, so that they are compared by name.

mod asked;
mod calls;
mod histories;
mod places;
mod random;
mod restarts;
mod state;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_testkit::original::Original;
use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::id::{EniId, GroupId, RpcId};
use ipamd_core::input::{BranchEni, EniKind, KubeReply, Mac, SubnetRole};
use ipamd_core::output::Reply;
use ipamd_core::settings::Settings;
use serde_json::{Value, json};

use crate::comparison::theirs::list;
use crate::machine::page;
use crate::world::{Ec2, Fault, Numbered, PRIMARY, SUBNET, World};
use calls::Call;

/// What each call of EC2 takes.
const EC2_MS: i64 = 150;
/// Where the sides differ, this number of the last calls is shown.
const LAST: usize = 12;
/// Addresses of the subnet that EC2 gives out.
const FREE: i64 = 1_000;

/// Histories that one process of the original plays, one after the other: a start takes it longer than a history.
const HISTORIES_PER_PROCESS: u32 = 100;

thread_local! {
    /// A process of the original that has played this many histories, all alike.
    static IDLE: RefCell<Option<(Original, u32)>> = const { RefCell::new(None) };
}

/// Both sides of a history.
struct Pair {
    /// Taken when the pair is dropped.
    original: Option<Original>,
    played: u32,
    world: World,
    /// Calls of the original that have ended and were not compared yet.
    theirs: Vec<Call>,
    /// The same of calls of the API server and of the host.
    asked: Vec<asked::Asked>,
    /// What shows its choices, the calls under way being the last.
    shown: Vec<crate::world::follow::Shown>,
    base_ms: i64,
    /// Calls that were compared.
    compared: usize,
    /// The process has ended on both sides, as a start can.
    ended: bool,
    /// When the original's history began by the clock of the wall, seconds since 1970.
    history_s: i64,
    /// The settings that differ from the manifest.
    variables: BTreeMap<String, String>,
    /// The last calls, for a failing test.
    last: Vec<String>,
    /// ENIs that someone else has attached.
    foreign: u128,
}

impl Pair {
    /// A node with so many ENIs of so many addresses, in the shipped settings with these changes.
    fn boot(variables: &[(&str, &str)], enis: u16, addresses: u16) -> Self {
        Self::boot_with(variables, enis, addresses, &json!({}), |_| {})
    }

    /// The same, with more for the original's start and for the world here.
    fn boot_with(
        variables: &[(&str, &str)],
        enis: u16,
        addresses: u16,
        more: &Value,
        prepare: impl FnOnce(&mut World),
    ) -> Self {
        let mut settings = json!({"WARM_PREFIX_TARGET": "1", "DISABLE_LEAKED_ENI_CLEANUP": "true"});
        for (name, value) in variables {
            settings[*name] = json!(value);
        }
        let mut boot = json!({
            "limits": {"enis": enis, "ips": addresses}, "settings": settings, "node": {"max_pods": 110},
            "subnets": [{"id": SUBNET.to_string(), "cidr": "10.0.0.0/16", "free": FREE}],
            "enis": [{"id": PRIMARY.to_string()}], "groups": [GroupId::from_bits(9).to_string()],
            "latency_ms": EC2_MS, "jitter": false,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            boot[name] = value.clone();
        }
        let ours: Vec<_> =
            [("DISABLE_LEAKED_ENI_CLEANUP", "true")].into_iter().chain(variables.iter().copied()).collect();
        let limits = InstanceLimits::custom(enis, addresses);
        let mut world = World::new(&ours, limits);
        world.ec2 = Ec2::numbered(limits, subnets(&boot));
        world.exact_ms = Some(EC2_MS);
        world.veths = Some(BTreeMap::new());
        world.cidrs = vec!["10.0.0.0/8".into()];
        prepare(&mut world);
        world.log.clear();
        world.restart_same_life();
        let base_ms = world.now_ms;
        let (original, played) = IDLE.take().unwrap_or_else(|| (Original::node(), 0));
        let (theirs, shown) = (Vec::new(), Vec::new());
        let variables = ours.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut pair = Self {
            original: Some(original),
            played,
            world,
            theirs,
            asked: Vec::new(),
            shown,
            base_ms,
            compared: 0,
            last: Vec::new(),
            ended: false,
            history_s: 0,
            variables,
            foreign: 0,
        };
        pair.ask(&json!({ "boot": boot }));
        pair
    }

    fn original(&self) -> &Original {
        self.original.as_ref().unwrap()
    }

    /// The original does something first, so that its choices are known here.
    fn ask(&mut self, command: &Value) -> Value {
        let answer = self.original.as_mut().unwrap().ask(command);
        let ended = list(&answer["calls"]);
        self.history_s = answer["life"]["history_unix_s"].as_i64().unwrap();
        self.theirs.extend(ended.iter().map(|call| Call::theirs(call, self.history_s)));
        self.asked.extend(asked::theirs(&answer));
        let base_ms = self.base_ms;
        self.shown.retain(|call| call.end_ms.is_some());
        let calls = ended.iter().chain(list(&answer["flying"]));
        self.shown.extend(calls.filter_map(|call| calls::shown(call, base_ms)));
        self.ended = answer["life"]["state"] == "ended";
        let held = state::theirs(&self.original().view).0;
        let mut choices = self.world.script.lock();
        choices.calls.clone_from(&self.shown);
        choices.created_ms = held.iter().map(|(id, eni)| (*id, eni.created_ms + base_ms)).collect();
        choices.held = held.into_iter().map(|(id, eni)| (id, eni.cidrs.into_keys().collect())).collect();
        answer
    }

    /// Lets time pass on both sides, and compares. The few milliseconds more keep the end of a call from being that of the time.
    fn pass(&mut self, ms: i64) {
        // In parts, so that little happens between two looks at the original's store.
        let mut left_ms = ms + 7;
        while left_ms > 0 {
            let part_ms = left_ms.min(10_007);
            self.pass_part(part_ms);
            left_ms -= part_ms;
        }
        while self.adopts() {
            self.pass_part(EC2_MS);
        }
        self.compare();
    }

    fn pass_part(&mut self, ms: i64) {
        self.ask(&json!({ "pass": ms }));
        self.world.run_ms(ms);
    }

    /// A pass over all ENIs is under way that has met a new one. Its order is a choice that shows only when it has ended.
    fn adopts(&self) -> bool {
        let view = &self.original().view;
        let reconciles = view.metrics.get("awscni_ipamd_action_inprogress{fn=\"nodeIPPoolReconcile\"}");
        let known = |eni: &ipamd_core::input::Ec2Eni| view.enis.contains_key(&eni.id.to_string());
        let is_new = |eni: &Value| eni["created_us"].as_i64().is_some_and(|at_us| view.at_us - at_us < 60_000_000);
        let adopts = !self.world.ec2.attached().all(known) || view.enis.values().any(is_new);
        adopts && reconciles.is_some_and(|under_way| *under_way > 0.0)
    }

    /// A pod asks on both sides, and gets the same.
    fn add(&mut self, pod: u64) {
        let before = self.original().view.clone();
        let answer = self.ask(&json!({"add": format!("c{pod}")}));
        // An address is taken also where the request fails later, and one that could not be written down is free again.
        let taken = state::taken(&before, &self.original().view);
        self.world.script.lock().given = taken;
        let rpc = self.world.begin_add(pod);
        self.catch_up();
        self.world.script.lock().given = None;
        let ours = match self.reply(rpc) {
            Reply::Added { address, device, .. } => Some((address, u64::from(device), 0)),
            Reply::AddedBranch { branch, .. } => Some((branch.ipv4.unwrap().into(), 0, u64::from(branch.vlan))),
            _ => None,
        };
        let theirs = &answer["replies"][0];
        let given = &theirs["addresses"][0];
        let address = given["v4"].as_str().or(given["v6"].as_str()).filter(|_| theirs["success"] == true);
        let vlan = theirs["vlan"].as_u64().unwrap_or(0);
        let theirs = address.map(|address| {
            let device = if vlan == 0 { given["device"].as_u64().unwrap() } else { 0 };
            (address.parse().unwrap(), device, vlan)
        });
        assert_eq!(ours, theirs, "left here, right the original: {answer}");
    }

    /// A request takes as long as there: a DEL may have to give prefixes back.
    fn catch_up(&mut self) {
        let their_ms = self.base_ms + self.original().view.at_us.div_euclid(1_000);
        self.world.run_ms(their_ms - self.world.now_ms);
    }

    /// What was replied; a process that has ended replies nothing.
    fn reply(&self, rpc: RpcId) -> Reply {
        if self.ended { Reply::NotReady } else { self.world.reply(rpc) }
    }

    /// A pod goes on both sides.
    fn del(&mut self, pod: u64) {
        let answer = self.ask(&json!({"del": {"key": format!("c{pod}"), "uid": "uid"}}));
        let rpc = self.world.begin_del(pod);
        self.catch_up();
        let reply = self.reply(rpc);
        let ours = matches!(reply, Reply::Deleted { .. } | Reply::DeletedBranch { .. } | Reply::Gone);
        assert_eq!(answer["replies"][0]["success"], ours, "{answer}, here {reply:?}");
    }

    /// An operation of EC2 fails so often on both sides.
    fn fail(&mut self, op: Ec2Operation, code: Ec2Code, times: u32) {
        let code = code.is_api_error().then(|| code.name());
        self.fault(Fault { op, code, times, done: false, hold_ms: None });
    }

    /// The same with what else may befall a call.
    fn fault(&mut self, fault: Fault) {
        let fate = match (fault.code, fault.done) {
            (_, true) => "unknown",
            (Some(_), false) => "refused",
            (None, false) => "not-sent",
        };
        let mut theirs = json!({"op": fault.op.name(), "text": "made so", "times": fault.times, "fate": fate});
        if let Some(code) = fault.code {
            theirs["code"] = json!(code);
        }
        if let Some(hold_ms) = fault.hold_ms {
            theirs["hold_ms"] = json!(hold_ms);
        }
        self.ask(&json!({ "fault": theirs }));
        // A later fault takes the place of an earlier one of the same operation.
        self.world.faults.retain(|known| known.op != fault.op);
        self.world.faults.push(fault);
    }

    /// The metadata service answers, or does not, on both sides.
    fn imds(&mut self, down: bool) {
        let state = if down { "down" } else { "up" };
        self.ask(&json!({"imds": {"what": "*", "state": state}}));
        self.world.imds_down = down;
    }

    /// Someone else attaches an ENI with these addresses on both sides.
    fn attach(&mut self, eni: EniId, kind: EniKind, addresses: &[Ipv4Addr]) {
        let name = match kind {
            EniKind::Interface => "interface",
            EniKind::Trunk => "trunk",
            EniKind::Efa => "efa",
            EniKind::EfaOnly => "efa-only",
        };
        let attached = json!({"id": eni.to_string(), "subnet": SUBNET.to_string(), "kind": name, "ips": addresses});
        self.ask(&json!({"world": {"attach": attached}}));
        let now_ms = self.world.now_ms;
        self.world.ec2.attach_foreign(eni, kind, 0, now_ms);
        self.world.ec2.enis.get_mut(&eni).unwrap().ipv4 = addresses.to_vec();
        self.world.ec2.changed(now_ms);
    }

    /// An address leaves an ENI on both sides.
    fn lose_address(&mut self, eni: EniId, address: Ipv4Addr) {
        let lost = json!({"eni": eni.to_string(), "cidr": format!("{address}/32")});
        self.ask(&json!({"world": {"lose_cidr": lost}}));
        self.world.ec2.enis.get_mut(&eni).unwrap().ipv4.retain(|held| *held != address);
        self.world.ec2.changed(self.world.now_ms);
    }

    /// An ENI gets an address that it did not ask for, on both sides.
    fn give_address(&mut self, eni: EniId, address: Ipv4Addr) {
        let given = json!({"eni": eni.to_string(), "cidr": format!("{address}/32")});
        self.ask(&json!({"world": {"give_cidr": given}}));
        self.world.ec2.enis.get_mut(&eni).unwrap().ipv4.push(address);
        self.world.ec2.changed(self.world.now_ms);
    }

    /// An ENI is no more, on both sides.
    fn lose_eni(&mut self, eni: EniId) {
        self.ask(&json!({"world": {"lose_eni": eni.to_string()}}));
        self.world.ec2.lose(eni);
        self.world.ec2.changed(self.world.now_ms);
    }

    /// Pods with a branch ENI of this VLAN, or that wait for one, on both sides.
    fn branch_pods(&mut self, pods: impl Iterator<Item = (u64, Option<u16>)>) {
        for (pod, vlan) in pods {
            let address = Ipv4Addr::new(10, 0, 200, u8::try_from(pod).unwrap());
            let (eni, mac) = (EniId::from_bits(0x2_0000 + u128::from(pod)), Mac([2, 1, 0, 0, 0, 1]));
            let theirs = vlan.map(|vlan| {
                let (mac, subnet) = ("02:01:00:00:00:01", "10.0.200.0/24");
                json!({"eni": eni.to_string(), "mac": mac, "ip": address, "vlan": vlan, "subnet": subnet})
            });
            let theirs = json!({"uid": "uid", "wants_branch": true, "branch": theirs});
            let named = json!({format!("default/c{pod}"): theirs});
            self.ask(&json!({"kube": {"pods": named}}));
            let gateway = Some(Ipv4Addr::new(10, 0, 200, 1));
            let branch = vlan.map(|vlan| BranchEni { eni, mac, ipv4: Some(address), ipv6: None, vlan, gateway });
            let reply = KubeReply::Pod { uid: "uid".into(), branch, wants_branch: vec![true] };
            self.world.pods.insert(format!("c{pod}").into(), reply);
        }
    }

    /// Someone leaves an ENI behind, made so long ago, or without or with another time, on both sides.
    fn leave(&mut self, eni: EniId, description: &str, made: Made) {
        const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";
        const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
        let since_s = (self.world.now_ms - self.base_ms).div_euclid(1_000);
        let ours_s = self.world.now().unix_ms().div_euclid(1_000);
        let created = |now_s: i64| match made {
            Made::Ago(seconds) => Some(rfc3339(now_s - seconds)),
            Made::Unreadable => Some("yesterday".to_owned()),
            Made::Unknown => None,
        };
        let mut theirs = json!({INSTANCE: "i-2"});
        let mut ours: Vec<(Box<str>, Box<str>)> = vec![(INSTANCE.into(), "i-2".into())];
        if let (Some(here), Some(there)) = (created(ours_s), created(self.history_s + since_s)) {
            theirs[CREATED_AT] = json!(there);
            ours.push((CREATED_AT.into(), here.into()));
        }
        let (id, subnet) = (eni.to_string(), SUBNET.to_string());
        let left = json!({"id": id, "subnet": subnet, "description": description, "tags": theirs});
        self.ask(&json!({"world": {"create": left}}));
        self.world.ec2.leave(eni, description, ours);
    }

    /// The security groups of the primary ENI change on both sides.
    fn set_groups(&mut self, groups: &[GroupId]) {
        let texts: Vec<_> = groups.iter().map(GroupId::to_string).collect();
        self.ask(&json!({"world": {"groups": texts}}));
        self.world.groups = groups.to_vec();
    }

    /// The process starts anew with other settings on both sides.
    fn restart_with(&mut self, variables: &[(&str, &str)]) {
        let settings: BTreeMap<_, _> = variables.iter().copied().collect();
        self.compare_checkpoints();
        self.ask(&json!({"restart": {"settings": settings}}));
        self.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.world.config.settings = Settings::manifest_with(all);
        self.world.restart();
        self.start();
    }

    /// The process starts anew on both sides; calls that are under way are cut and have no effect.
    fn restart(&mut self) {
        self.compare_checkpoints();
        self.ask(&json!({"restart": {}}));
        self.world.restart();
        self.start();
    }

    /// Both wrote the same checkpoint last: pods, their addresses, and when they got them.
    fn compare_checkpoints(&mut self) {
        let answer = self.ask(&json!({"report": {}}));
        let mut theirs: Vec<_> = list(&answer["world"]["entries"]).iter().map(state::entry).collect();
        theirs.sort_unstable();
        let began_ms = self.world.now().unix_ms() - self.world.now_ms + self.base_ms;
        let ours = self.world.file.iter().flatten().map(|entry| {
            let address = entry.ipv4.map(IpAddr::from).or(entry.ipv6.map(IpAddr::from)).unwrap();
            (entry.key, address, entry.allocated_ns.div_euclid(1_000_000) - began_ms)
        });
        let mut ours: Vec<_> = ours.collect();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "the checkpoints, left here, right the original, after {:#?}", self.last);
    }

    /// The start goes to its end on both sides, if it comes soon: then it shows where the original restored each pod.
    fn start(&mut self) {
        const SOON_MS: i64 = 60_000;
        self.world.script.lock().begin_life();
        self.ask(&json!({"wait_ready": SOON_MS}));
        let held = state::owners(&self.original().view);
        let file = self.world.file.iter().flatten();
        let restored = file.filter_map(|entry| {
            let address = entry.ipv4.map(IpAddr::from).or(entry.ipv6.map(IpAddr::from))?;
            held.get(&entry.key).filter(|(_, known)| *known == address).map(|(eni, _)| (address, *eni))
        });
        let restored = restored.collect();
        self.world.script.lock().restored = restored;
        self.catch_up();
    }

    /// Nothing fails any more, on both sides.
    fn heal(&mut self) {
        let failing: Vec<_> = self.world.faults.drain(..).map(|fault| fault.op.name()).collect();
        for op in failing {
            self.ask(&json!({"fault": {"op": op}}));
        }
        self.imds(false);
    }

    fn compare(&mut self) {
        let base_ms = self.base_ms;
        let begin_s = (self.world.now().unix_ms() - self.world.now_ms + base_ms).div_euclid(1_000);
        let log = &mut self.world.log;
        let mut ours: Vec<_> =
            log.iter().filter_map(|logged| Call::ours(logged, base_ms, begin_s)).skip(self.compared).collect();
        ours.sort();
        let mut theirs = std::mem::take(&mut self.theirs);
        theirs.sort();
        self.compared += ours.len();
        let inadmissible = self.world.script.lock().inadmissible.clone();
        self.last.extend(theirs.iter().map(|call| format!("{} ms: {} {:?}", call.start_ms, call.op, call.parameters)));
        let beyond = self.last.len().saturating_sub(LAST);
        self.last.drain(..beyond);
        let at = format!("at {} ms, after {:#?}", self.world.now_ms - base_ms, self.last);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "left here, right the original, {at}; {inadmissible:?}");
        }
        let fatal = self.world.fatal.as_deref();
        assert_eq!(ours.len(), theirs.len(), "{at}, left here {ours:?}\nright {theirs:?}; {inadmissible:?}, {fatal:?}");
        assert_eq!(inadmissible, None);
        let (mut ours, mut theirs) = (asked::ours(&mut self.world, base_ms), std::mem::take(&mut self.asked));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "calls of API server and host, left here, right the original, {at}");
        assert_eq!(
            self.world.fatal.is_some(),
            self.ended,
            "left here, right the original, {at}: {:?}",
            self.world.fatal
        );
        if self.ended {
            return;
        }
        let (ours, theirs) = (state::ours(&self.world, base_ms), state::theirs(&self.original().view));
        for (id, eni) in &ours.0 {
            assert_eq!(Some(eni), theirs.0.get(id), "{id}: left here, right the original, {at}");
        }
        assert_eq!(ours, theirs, "the stores, left here, right the original, {at}");
        let (ours, theirs) = (self.our_page(), self.their_page());
        let names = ours.keys().chain(theirs.keys()).filter(|name| ours.get(*name) != theirs.get(*name));
        let differ: Vec<_> = names.map(|name| (name, ours.get(name), theirs.get(name))).collect();
        assert!(differ.is_empty(), "{at}, series, ours, theirs: {differ:?}");
    }

    fn their_page(&self) -> BTreeMap<String, f64> {
        let series = self.original().view.metrics.iter().map(|(name, value)| (name.clone(), *value));
        comparable(series)
    }

    fn our_page(&self) -> BTreeMap<String, f64> {
        let series = page(&self.world).into_iter().map(|(name, value)| (name, value.parse().unwrap()));
        comparable(series)
    }
}

/// When an ENI was made that someone left behind.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// This number of seconds ago.
    Ago(i64),
    /// Its tag is no time.
    Unreadable,
    /// It has no such tag.
    Unknown,
}

/// A time as tags have it.
fn rfc3339(unix_s: i64) -> String {
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    // Years begin in March, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// The subnets of a boot command, as EC2 has them here.
fn subnets(boot: &Value) -> Vec<(ipamd_core::id::SubnetId, SubnetRole, Numbered)> {
    let subnets = list(&boot["subnets"]).iter().map(|subnet| {
        let (base, length) = subnet["cidr"].as_str().unwrap().split_once('/').unwrap();
        let ipv6 = subnet["cidr6"].as_str().filter(|text| !text.is_empty());
        let ipv6 = ipv6.map(|text| text.split('/').next().unwrap().parse::<Ipv6Addr>().unwrap());
        let base: Ipv4Addr = base.parse().unwrap();
        let numbered = Numbered::new(base, length.parse().unwrap(), subnet["free"].as_i64().unwrap(), ipv6);
        let role = match subnet["tags"]["kubernetes.io/role/cni"].as_str() {
            None | Some("") => SubnetRole::Untagged,
            Some("0") => SubnetRole::Off,
            Some(_) => SubnetRole::On,
        };
        (ipamd_core::id::SubnetId::parse(subnet["id"].as_str().unwrap()).unwrap(), role, numbered)
    });
    subnets.collect()
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some(original) = self.original.take()
            && !std::thread::panicking()
            && self.played < HISTORIES_PER_PROCESS
        {
            IDLE.set(Some((original, self.played + 1)));
        }
    }
}

/// The series that mean the same on both sides; errors with a text by their place.
fn comparable(series: impl Iterator<Item = (String, f64)>) -> BTreeMap<String, f64> {
    let mut kept = BTreeMap::new();
    for (name, value) in series {
        let family = name.split('{').next().unwrap_or_default();
        let left_out =
            family.contains("_duration_seconds") || family.contains("connmark") || family.contains("build_info");
        if left_out || !family.starts_with("awscni_") {
            continue;
        }
        let key = match family {
            "awscni_aws_utils_error_count" => {
                name.rsplit_once("fn=").map_or(name.clone(), |(_, place)| place.to_owned())
            }
            _ => name.clone(),
        };
        *kept.entry(key).or_insert(0.0) += value;
    }
    kept
}
