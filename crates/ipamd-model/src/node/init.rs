//! From process start to an open metrics page.
//!
//! Whatever fails for good here ends the process; kubelet starts it again with growing pauses. The page opens only at
//! the end, so nothing that a failed init counted can ever be scraped.

use super::effect::{Effect, Retry, Script};
use super::state::{HALF_LOOP_MS, InitFailure, Node, Phase, Step};
use crate::ec2::{AttachedEni, Cloud, EniId, EniKind, ImdsRead};
use crate::metrics::{Action, IpamdError, Metrics};
use crate::pool::{Place, Pool};
use crate::settings::Mode;
use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::store::Refused;

/// An ENI's set-up is tried this often at init ...
const SET_UP_TRIES: u8 = 6;
/// ... with this pause in between.
const SET_UP_PAUSE_MS: i64 = 10_000;
/// The agent waits this long for the API server, then continues without it.
const API_SERVER_WAIT_MS: i64 = 30_000;
/// Kubelet's back-off: the first restart comes at once, the second after the first of these times, each later one after twice
/// the time of the one before, up to the second of them ...
const BACK_OFF_MS: (i64, i64) = (10_000, 300_000);
/// ... and it begins anew for a container that ran this long.
const BACK_OFF_RESET_MS: i64 = 600_000;

impl Node {
    /// A new process life: everything in memory is gone.
    fn begin_life(&mut self, at_ms: i64) {
        if self.recovered {
            self.checkpoint = self.pods().collect();
            self.recovered = false;
        }
        self.metrics = Metrics::new(at_ms, self.mode == Mode::Ipv6);
        self.pool = Pool::new(self.spec.settings.ip_cooldown_s.saturating_mul(1_000));
        self.phase = Phase::Starting;
        self.watch_at_ms = i64::MAX;
        self.leak_scan_at_ms = i64::MAX;
        (self.last_action_ms, self.last_decrease_ms, self.insufficient_ms) = (None, None, None);
        self.journal.clear();
        self.released.clear();
        self.terminating = false;
    }

    /// The process dies and starts again at `now_ms`, without a pause; the kubelet counts the exit nevertheless.
    pub fn restart(&mut self, now_ms: i64, cloud: &mut dyn Cloud) {
        self.advance(now_ms, cloud);
        // A container that waits for its start cannot exit.
        if !matches!(self.phase, Phase::Crashed { .. }) {
            self.count_exit(now_ms);
        }
        self.begin_life(now_ms);
        (self.step, self.step_at_ms) = (Step::Start, now_ms);
    }

    /// The container ends: the answer is the kubelet's pause before it starts it again.
    fn count_exit(&mut self, at_ms: i64) -> i64 {
        if at_ms.saturating_sub(self.metrics.process_start_ms) >= BACK_OFF_RESET_MS {
            self.exits = 0;
        }
        let (first_ms, limit_ms) = BACK_OFF_MS;
        let pause_ms = self.exits.checked_sub(1).map_or(0, |doublings| (first_ms << doublings.min(10)).min(limit_ms));
        self.exits = self.exits.saturating_add(1);
        pause_ms
    }

    fn crash(&mut self, script: &Script, reason: InitFailure) -> (Step, i64) {
        let pause_ms = self.count_exit(script.at_ms);
        self.phase = Phase::Crashed { reason, restart_at_ms: script.at_ms + pause_ms };
        self.watch_at_ms = i64::MAX;
        self.leak_scan_at_ms = i64::MAX;
        (Step::Start, pause_ms)
    }

    pub(super) fn start(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        self.begin_life(s.at_ms);
        let settings = &self.spec.settings;
        if !self.spec.api_server_reachable {
            if settings.pod_eni || settings.custom_networking || settings.annotate_pod_ip {
                return (Step::Start, 2_000);
            }
            s.at_ms += API_SERVER_WAIT_MS;
        }
        self.metrics.with_api_server = self.spec.api_server_reachable;
        self.metrics.progress(Action::Init, 1);
        s.at_ms += self.chooser.random.between(250, 450);
        self.init_began_ms = s.at_ms;
        s.at_ms += self.chooser.random.between(700, 1_300);
        self.mode = match self.spec.settings.mode(&self.spec.limits) {
            Ok(mode) => mode,
            Err(refusal) => return self.crash(s, InitFailure::Settings(refusal)),
        };
        self.metrics.ipv6 = self.mode == Mode::Ipv6;
        match self.discover(s, cloud) {
            Ok(()) => (Step::InitEni { index: 0, attempt: 0 }, 0),
            Err(reason) => self.crash(s, reason),
        }
    }

    /// Identity, limits, VPC and the ENIs that are there.
    fn discover(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> Result<(), InitFailure> {
        self.metrics.imds_reads += 30;
        if !self.imds(s, ImdsRead::Identity, cloud) || !self.imds(s, ImdsRead::VpcCidrs, cloud) {
            return Err(InitFailure::Imds);
        }
        if !self.spec.limits.listed {
            let op = Ec2Operation::DescribeInstanceTypes;
            let code = cloud.fault(op, s.at_ms);
            s.push(Effect::PlainRequest(crate::metrics::Call { op, code: code.map(Ec2Code::name), ms: 0 }));
            code.map_or(Ok(()), |code| Err(InitFailure::Ec2(code)))?;
        }
        if self.mode != Mode::Ipv6 {
            self.metrics.connmark = [0, 1];
        }
        if !self.imds(s, ImdsRead::Macs, cloud) {
            return Err(InitFailure::Imds);
        }
        self.describe_all(s, cloud).map_err(InitFailure::Ec2)
    }

    /// Lists all ENIs with EC2 and decides who manages them.
    pub(super) fn describe_all(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        if !self.spec.settings.imds_only {
            // The pause grows by 10 ms a try; a doubling one that stops there comes close enough.
            let retry = Retry { tries: 12, first_ms: 10, limit_ms: 120, jitter_percent: 0 };
            self.retried(s, Ec2Operation::DescribeNetworkInterfaces, retry, cloud, |_| Ok(()))?;
        }
        self.find_unmanaged();
        Ok(())
    }

    /// The ENIs that the agent sets up, by device index.
    pub(super) fn managed(&self) -> impl Iterator<Item = &AttachedEni> {
        self.instance.enis.iter().filter(|eni| eni.kind != EniKind::EfaOnly && !self.unmanaged.contains(&eni.id))
    }

    pub(super) fn init_eni(&mut self, s: &mut Script, index: usize, attempt: u8, cloud: &mut dyn Cloud) -> (Step, i64) {
        let Some((id, kind, tagged)) = self.managed().nth(index).map(|eni| (eni.id, eni.kind, eni.tagged)) else {
            return (Step::InitRecover, 0);
        };
        let next = (Step::InitEni { index: index + 1, attempt: 0 }, 0);
        let wants_tags = attempt == 0 && !tagged && kind != EniKind::Trunk && self.spec.settings.provisioning;
        if wants_tags && let Err(code) = self.tag(s, id, cloud) {
            return self.crash(s, InitFailure::Ec2(code));
        }
        if self.set_up_eni(s, id, cloud).is_ok() {
            return next;
        }
        if attempt + 1 < SET_UP_TRIES {
            return (Step::InitEni { index, attempt: attempt + 1 }, SET_UP_PAUSE_MS);
        }
        s.push(Effect::Ipamd(IpamdError::SetUpRetries));
        next
    }

    /// Tags an ENI as this instance's own.
    pub(super) fn tag(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        let retry = Retry { tries: 5, first_ms: 500, limit_ms: 60_000, jitter_percent: 30 };
        self.retried(s, Ec2Operation::CreateTags, retry, cloud, |_| Ok(()))?;
        if let Some(eni) = self.instance.eni_mut(id) {
            eni.tagged = true;
        }
        Ok(())
    }

    pub(super) fn init_recover(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        let gone = std::mem::take(&mut self.gone);
        let checkpoint = std::mem::take(&mut self.checkpoint);
        for (key, address) in checkpoint.into_iter().filter(|(key, _)| !gone.contains(key)) {
            // An address that no CIDR here holds is given up.
            let _stale: Result<Place, Refused> = self.ledger().recover(key, address);
        }
        self.recovered = true;
        if self.mode != Mode::Ipv6 {
            self.drop_unwanted_blocks(s, cloud);
        }
        if self.spec.settings.provisioning {
            if !self.imds(s, ImdsRead::SecurityGroups, cloud) {
                return self.crash(s, InitFailure::Imds);
            }
            let enis = if self.spec.settings.custom_networking { 0 } else { self.pool.enis().len() };
            for _ in 0..enis {
                let _only_counted = self.plain_call(s, Ec2Operation::ModifyNetworkInterfaceAttribute, cloud);
            }
        }
        self.begin_background(s.at_ms);
        (Step::InitPrescale, 0)
    }

    /// CIDRs without pods leave excluded ENIs, and those of the other mode leave every ENI.
    fn drop_unwanted_blocks(&mut self, s: &mut Script, cloud: &mut dyn Cloud) {
        let enis: Vec<_> = self.pool.enis().iter().map(|eni| (eni.id, eni.excluded)).collect();
        for (id, excluded) in enis {
            let other_kind = self.mode != Mode::Prefix;
            let mut blocks = self.pool.unused_blocks(id, other_kind);
            if excluded {
                blocks.extend(self.pool.unused_blocks(id, !other_kind));
            }
            if !blocks.is_empty() {
                self.release(s, id, blocks, cloud);
            }
        }
    }

    /// One growth step before the page opens.
    pub(super) fn init_prescale(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        s.at_ms += self.chooser.random.between(500, 900);
        let low = self.targets().too_low(&self.pool.stats(self.mode, s.at_ms));
        let grows = self.mode != Mode::Ipv6 && self.spec.settings.provisioning && low;
        if grows && let Err(code) = self.increase(s, cloud) {
            return self.crash(s, InitFailure::Ec2(code));
        }
        self.init_took_ms = s.at_ms - self.init_began_ms;
        (Step::Serve, self.chooser.random.between(30, 120))
    }

    pub(super) fn serve(&mut self, s: &mut Script) -> (Step, i64) {
        let empty = self.pool.stats(self.mode, s.at_ms).total == 0;
        if self.spec.settings.custom_networking && self.mode != Mode::Ipv6 && empty && self.spec.settings.provisioning {
            return self.crash(s, InitFailure::EmptyPool);
        }
        self.metrics.progress(Action::Init, -1);
        // Durations are measured in nanoseconds; the model's clock gives the milliseconds, the seed the rest.
        let fine = |random: &mut cni_types::random::Random| random.between(0, 999_999) as f64 / 1e9;
        let init_s = self.init_took_ms as f64 / 1_000.0;
        self.metrics.init_seconds = nanoseconds(init_s + fine(&mut self.chooser.random));
        let startup_s = (s.at_ms - self.metrics.process_start_ms) as f64 / 1_000.0;
        self.metrics.startup_seconds = nanoseconds(startup_s + fine(&mut self.chooser.random));
        self.phase = Phase::Serving { since_ms: s.at_ms };
        match self.mode {
            Mode::Ipv6 => (Step::Rest, i64::MAX),
            _ if self.spec.settings.provisioning => (Step::PoolCheck, HALF_LOOP_MS),
            _ => (Step::Reconcile, HALF_LOOP_MS),
        }
    }

    /// Writes the two ceilings: ENIs that the agent does not manage count against them.
    pub(super) fn find_unmanaged(&mut self) {
        let untagged_too = self.spec.settings.manage_untagged;
        let foreign = self.instance.enis.iter().filter(|eni| !eni.is_managed(untagged_too));
        self.unmanaged = foreign.map(|eni| eni.id).collect();
        self.write_ceilings();
    }

    /// ENIs that take a place but serve no pods of the pool: those of others, and EFA without IP.
    pub(super) fn foreign_enis(&self) -> usize {
        let foreign = |eni: &&AttachedEni| eni.kind == EniKind::EfaOnly || self.unmanaged.contains(&eni.id);
        self.instance.enis.iter().filter(foreign).count()
    }

    pub(super) fn write_ceilings(&mut self) {
        let limit = i64::from(self.spec.settings.max_enis(&self.spec.limits));
        let enis = limit - i64::try_from(self.foreign_enis()).unwrap_or(limit);
        let per_eni = if self.mode == Mode::Ipv6 { 0 } else { self.targets().addresses_per_eni() };
        self.metrics.eni_max = enis;
        self.metrics.ip_max = enis * i64::from(per_eni);
    }
}

/// Rounds to what a nanosecond clock can tell.
fn nanoseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}
