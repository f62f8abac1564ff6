//! Careful: what stands in the second file, when it is written, and how a start uses it.

use super::careful::file::FileState;
use super::lane::Lane;
use super::memory::{Agent, PodKey};
use super::wake::Wake;
use crate::block::Block;
use crate::id::{EniId, Mac};
use crate::input::{BadInput, ImdsEni, Intent, KnownEni, SECOND_FILE_VERSION, SecondFile, SecondFileTrouble};
use crate::output::StoreCall;
use crate::settings::Mode;
use crate::store::PoolEni;
use cni_types::limits::InstanceLimits;

/// Intents that are remembered; the oldest is forgotten first, and left to the search for leaks.
const MOST_INTENTS: usize = 64;
/// Addresses that rest, in the file.
const MOST_LEFT: usize = 4_096;
/// Pause before a file that could not be written is written again, milliseconds.
const AGAIN_MS: i64 = 1_000;

impl<K: PodKey> Agent<K> {
    /// Something changed that stands in the file.
    pub(crate) fn file_changed(&mut self) {
        if let Some(own) = &mut self.own {
            own.file.changed = true;
        }
    }

    /// An ENI of the store: its link's address, and what was intended with it has come about.
    pub(crate) fn eni_is_known(&mut self, eni: &ImdsEni) {
        let pool = &self.pool;
        let Some(own) = &mut self.own else { return };
        own.file.macs.retain(|(id, ..)| *id != eni.id && pool.eni(*id).is_some());
        own.file.macs.push((eni.id, eni.mac, eni.card));
        own.file.changed = true;
        // One that could not be given up, and is met again, is not given up any more. A start has yet to look.
        let settled = own.settled;
        self.intent_ended(|intent| match intent {
            Intent::Attach { eni: of } => *of == eni.id,
            Intent::Free { eni: of } => settled && *of == eni.id,
            Intent::Create { .. } => false,
        });
    }

    /// What the file is to hold; none before the instance is known.
    pub(crate) fn second_file(&self) -> Option<SecondFile> {
        let own = self.own.as_deref()?;
        let mut identity = own.identity.clone()?;
        // Limits that EC2 was asked for are not asked for again.
        identity.limits = self.facts.limits.or(identity.limits);
        let elapsed_ns = |at_ms: i64| self.ms().saturating_sub(at_ms).saturating_mul(1_000_000);
        let left = self.pool.enis().iter().flat_map(PoolEni::freed).filter(|(_, at_ms)| *at_ms <= self.ms());
        let left = left.map(|(address, at_ms)| (address, self.now.unix_ns.saturating_sub(elapsed_ns(at_ms))));
        Some(SecondFile {
            version: SECOND_FILE_VERSION,
            boot_id: own.file.boot_id.clone(),
            identity,
            vpc_cidrs: self.facts.vpc_cidrs.clone(),
            groups: self.facts.groups.clone(),
            enis: self.pool.enis().iter().filter_map(|eni| self.known(eni)).collect(),
            intents: own.file.intents.clone(),
            subnets: own.reads.subnets.clone(),
            subnets_ns: own.reads.subnets_ns,
            left: left.take(MOST_LEFT).collect(),
        })
    }

    fn known(&self, eni: &PoolEni) -> Option<KnownEni> {
        let own = self.own.as_deref()?;
        let (_, mac, card) = own.file.macs.iter().find(|(id, ..)| *id == eni.id).copied()?;
        let link = self.link(eni.id);
        let mut known = KnownEni {
            id: eni.id,
            mac,
            device: link.map_or(0, |link| link.device),
            card,
            subnet: eni.subnet,
            serves: !eni.excluded,
            primary: link.and_then(|link| link.primary),
            ipv4: Vec::new(),
            ipv4_prefixes: Vec::new(),
        };
        for block in eni.blocks() {
            match block {
                Block::Address(address) => known.ipv4.push(address),
                Block::Prefix(base) => known.ipv4_prefixes.push(base),
                Block::Ipv6Prefix(_) => {}
            }
        }
        Some(known)
    }

    /// Writes the file where it lacks something.
    pub(crate) fn write_file(&mut self) {
        let ready = self.facts.identity.is_some();
        let Some(own) = self.own.as_mut().filter(|own| ready && own.file.changed && own.file.state == FileState::Idle)
        else {
            return;
        };
        own.file.state = FileState::Writes;
        self.ask_to_write(Lane::File);
    }

    /// A lane writes the file, and waits for it.
    pub(crate) fn ask_to_write(&mut self, lane: Lane) {
        let generation = self.next_generation();
        self.own.iter_mut().for_each(|own| own.file.changed = false);
        self.lane(lane).store(StoreCall::WriteSecond { generation });
    }

    /// The file's lane is woken.
    pub(crate) fn file_written(&mut self, wake: Wake) {
        let timer = matches!(wake, Wake::Timer);
        let failed = !timer && wake.store().is_err();
        let Some(own) = &mut self.own else { return };
        own.file.state = if failed { FileState::Rests } else { FileState::Idle };
        if failed {
            own.file.changed = true;
            self.lane(Lane::File).sleep(AGAIN_MS);
        }
    }

    /// A change of EC2 is about to begin.
    pub(crate) fn intend(&mut self, intent: Intent) {
        let Some(own) = &mut self.own else { return };
        if own.file.intents.len() >= MOST_INTENTS {
            own.file.intents.remove(0);
        }
        own.file.intents.push(intent);
        own.file.changed = true;
    }

    /// It has ended, or another takes its place.
    pub(crate) fn intent_ended(&mut self, ended: impl Fn(&Intent) -> bool) {
        let Some(own) = &mut self.own else { return };
        let before = own.file.intents.len();
        own.file.intents.retain(|intent| !ended(intent));
        own.file.changed |= own.file.intents.len() < before;
    }

    /// A search for leaks has ended: what is left of a creation without an answer, it or the next one deletes.
    pub(crate) fn searched(&mut self) {
        if self.own.as_ref().is_some_and(|own| own.growing.is_empty() && own.settled) {
            self.intent_ended(|intent| matches!(intent, Intent::Create { .. } | Intent::Attach { .. }));
        }
    }

    /// What was intended with this ENI has ended.
    pub(crate) fn eni_is_settled(&mut self, eni: EniId) {
        self.intent_ended(
            |intent| matches!(intent, Intent::Attach { eni: of } | Intent::Free { eni: of } if *of == eni),
        );
    }

    /// What was read is judged; true if the links of the host are to be looked at.
    pub(crate) fn judge_file(&mut self) -> bool {
        let Some(own) = &mut self.own else { return false };
        let Some(file) = &own.file.read else { return false };
        let verdict = file.judge(&own.file.boot_id);
        if verdict != Err(SecondFileTrouble::Version) {
            // What had begun in EC2 outlives a boot.
            own.file.intents.clone_from(&file.intents);
            own.file.intents.truncate(MOST_INTENTS);
        }
        verdict.map_err(|trouble| self.distrust(trouble)).is_ok()
    }

    /// The file is of no use.
    pub(crate) fn distrust(&mut self, trouble: SecondFileTrouble) {
        self.own.iter_mut().for_each(|own| own.file.read = None);
        self.bad.add(BadInput::SecondFile(trouble));
    }

    /// The host has these links: where each ENI of the file is among them, the node is as the file says. True if it is.
    pub(crate) fn trust_file(&mut self, links: &[Mac]) -> bool {
        let Some(file) = self.own.as_mut().and_then(|own| own.file.read.take()) else { return false };
        if !file.enis.iter().all(|eni| links.contains(&eni.mac)) {
            self.distrust(SecondFileTrouble::Foreign);
            return false;
        }
        let limits = file.identity.limits.unwrap_or_else(|| InstanceLimits::custom(1, 1));
        let Ok(mode) = self.config.settings.mode(&limits) else { return false };
        // An IPv6 node's prefixes are not in the file.
        if mode == Mode::Ipv6 {
            return false;
        }
        self.facts.limits = file.identity.limits;
        self.facts.mode = mode;
        self.facts.vpc_cidrs.clone_from(&file.vpc_cidrs);
        self.facts.groups.clone_from(&file.groups);
        self.identified(file.identity.clone());
        let enis = self.filter_managed(file.enis.iter().map(listed).collect());
        for eni in enis {
            self.load_eni(&eni);
            let serves = file.enis.iter().any(|known| known.id == eni.id && known.serves);
            if !self.is_primary(eni.id) {
                self.remember_doubt(eni.id, serves);
            }
        }
        if let Some(own) = &mut self.own {
            own.file.trusted = true;
            own.file.left = file.left.iter().take(MOST_LEFT).copied().collect();
            own.reads.subnets.clone_from(&file.subnets);
            own.reads.subnets_ns = file.subnets_ns;
            own.file.serving = file.enis.iter().filter(|eni| eni.serves).map(|eni| eni.id).collect();
        }
        true
    }

    /// Addresses that rested when the file was written rest on, but for those that pods of the checkpoint have: the checkpoint
    /// may be newer.
    pub(crate) fn rest_as_before(&mut self) {
        let left = self.own.as_mut().map(|own| std::mem::take(&mut own.file.left)).unwrap_or_default();
        let (now, now_ms) = (self.now.unix_ns, self.ms());
        for (address, left_ns) in left {
            let ago_ms = now.saturating_sub(left_ns).max(0) / 1_000_000;
            self.pool.rest(address, now_ms.saturating_sub(ago_ms));
        }
    }

    /// The file says that the ENI serves pods.
    pub(crate) fn was_serving(&self, eni: EniId) -> bool {
        self.own.iter().any(|own| own.file.serving.contains(&eni))
    }
}

fn listed(eni: &KnownEni) -> ImdsEni {
    let mut ipv4: Vec<_> = eni.primary.into_iter().collect();
    if !ipv4.is_empty() {
        ipv4.extend(eni.ipv4.iter().copied());
    }
    ImdsEni {
        id: eni.id,
        mac: eni.mac,
        device: eni.device,
        card: eni.card,
        subnet: eni.subnet,
        ipv4: Some(ipv4),
        ipv4_prefixes: eni.ipv4_prefixes.clone(),
        ipv6: Vec::new(),
        ipv6_prefixes: Vec::new(),
    }
}
