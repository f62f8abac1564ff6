//! Which growth a careful node needs, and which of it is possible.
//!
//! Two things want addresses: the warm targets, by the original's arithmetic, and requests that wait. For these only what can
//! be given *now* counts: an address that rests is none. Growth for them begins at once, unless as many rests end before
//! growth would bring anything.

use cni_types::ec2::Ec2Operation;
use cni_types::limits::ADDRESSES_PER_PREFIX;

use super::careful::WAIT_FOR_EC2_MS;
use super::careful::growth::Growth;
use super::lane::Lane;
use super::memory::{Agent, PodKey};
use crate::id::{EniId, SubnetId};
use crate::settings::Mode;
use crate::store::{PoolEni, Stats};

/// Growth does not ask a subnet for this long after it had no more addresses, milliseconds.
const SHORT_REST_MS: i64 = 120_000;
/// Pause after growth that failed, milliseconds: it doubles with each failure in a row ...
const PAUSE_MS: i64 = 2_500;
/// ... up to this.
const LONGEST_PAUSE_MS: i64 = 60_000;
/// Subnets that are remembered as short.
const MOST_SHORT: usize = 64;
/// How long after the attach of an ENI its addresses can be given, milliseconds, as is usual.
const APPEARS_MS: i64 = 2_000;

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This number of addresses or prefixes more on an ENI.
    Extend(EniId, u32),
    /// One more ENI with this number.
    Allocate(u32),
}

impl<K: PodKey> Agent<K> {
    /// The next growth that is wanted and possible.
    pub(crate) fn next_growth(&self) -> Option<Step> {
        let own = self.own.as_deref()?;
        let rests = own.again_ms.is_some_and(|again_ms| self.ms() < again_ms);
        if !own.settled || rests || !self.may_grow() {
            return None;
        }
        let step = self.possible_growth()?;
        let wanted = self.wanted(step);
        let count = match step {
            Step::Extend(_, room) | Step::Allocate(room) => room.min(wanted),
        };
        (count > 0).then_some(match step {
            Step::Extend(eni, _) => Step::Extend(eni, count),
            Step::Allocate(_) => Step::Allocate(count),
        })
    }

    /// Growth is to be looked at: requests wait, or something about it has changed.
    pub(crate) fn growth_is_due(&mut self) -> bool {
        let now_ms = self.ms();
        let Some(own) = &mut self.own else { return false };
        let again = own.again_ms.is_some_and(|again_ms| again_ms <= now_ms);
        if again {
            own.again_ms = None;
        }
        std::mem::take(&mut own.look) || again || !own.line.is_empty()
    }

    /// Settings and the node let the pool grow.
    fn may_grow(&self) -> bool {
        self.config.settings.provisioning && self.facts.mode != Mode::Ipv6 && !self.growth_suspended()
    }

    /// An ENI with room, or room for an ENI: the step with all that it could bring.
    fn possible_growth(&self) -> Option<Step> {
        let own = self.own.as_deref()?;
        let free = |eni: &EniId| !own.growing.iter().any(|growth| growth.eni == Some(*eni));
        let room = |eni: &PoolEni| self.slots().saturating_sub(u32::try_from(eni.slots_used()).unwrap_or(u32::MAX));
        let able = self.pool.allocatable(self.slots(), self.config.settings.custom_networking);
        let mut able = able.into_iter().filter(free).filter_map(|eni| self.pool.eni(eni));
        if let Some(eni) = able.find(|eni| self.subnet_is_open(Some(eni.subnet))) {
            return Some(Step::Extend(eni.id, room(eni)));
        }
        // Without discovery a new ENI lies in the subnet of the primary one.
        let settings = &self.config.settings;
        let own_subnet = self.facts.identity.as_ref().map(|identity| identity.subnet);
        let subnet = own_subnet.filter(|_| !settings.subnet_discovery && !settings.custom_networking);
        let coming = own.growing.iter().filter(|growth| growth.new && !self.is_in_store(growth.eni)).count();
        (self.has_room_for(coming.saturating_add(1)) && self.subnet_is_open(subnet))
            .then(|| Step::Allocate(self.slots()))
    }

    fn is_in_store(&self, eni: Option<EniId>) -> bool {
        eni.is_some_and(|eni| self.pool.eni(eni).is_some())
    }

    /// Addresses or prefixes that the warm targets and waiting requests lack, beside what is under way.
    fn wanted(&self, step: Step) -> u32 {
        let (targets, stats) = (self.targets(), self.stats_to_come());
        let have = match step {
            Step::Extend(eni, _) => self.pool.eni(eni).map_or(0, PoolEni::slots_used),
            Step::Allocate(_) => 0,
        };
        let warm = match self.facts.mode {
            _ if !targets.too_low(&stats) => 0,
            Mode::Prefix => targets.prefixes_wanted(&stats),
            _ => targets.addresses_wanted(&stats, u32::try_from(have).unwrap_or(u32::MAX)),
        };
        warm.max(self.in_slots(self.demand(step)))
    }

    fn in_slots(&self, addresses: u32) -> u32 {
        if self.facts.mode == Mode::Prefix { addresses.div_ceil(ADDRESSES_PER_PREFIX) } else { addresses }
    }

    /// The numbers of the pool with what is under way.
    fn stats_to_come(&self) -> Stats {
        let mut stats = self.pool.stats(self.facts.mode, self.ms());
        stats.total = stats.total.saturating_add(self.addresses_to_come());
        if self.facts.mode == Mode::Prefix {
            let prefixes = self.addresses_to_come() / ADDRESSES_PER_PREFIX;
            stats.prefixes = stats.prefixes.saturating_add(prefixes);
            stats.free_prefixes = stats.free_prefixes.saturating_add(prefixes);
        }
        stats
    }

    fn addresses_to_come(&self) -> u32 {
        let each = if self.facts.mode == Mode::Prefix { ADDRESSES_PER_PREFIX } else { 1 };
        let growing = self.own.as_deref().map(|own| own.growing.as_slice()).unwrap_or_default();
        growing.iter().map(|growth| growth.count.saturating_mul(each)).fold(0, u32::saturating_add)
    }

    /// Addresses that waiting requests lack: as many as wait, without those that can be given now, that are under way, or whose
    /// rest ends before growth would. The node takes no more pods than it may have.
    fn demand(&self, step: Step) -> u32 {
        let Some(own) = self.own.as_deref() else { return 0 };
        let waiting = own.line.iter().filter(|waiter| !waiter.again).count();
        if waiting == 0 {
            return 0;
        }
        let (mode, now_ms) = (self.facts.mode, self.ms());
        let grown_ms = now_ms.saturating_add(typical_ms(step));
        let rested = self.pool.rest_ends(mode, now_ms).into_iter().take_while(|end_ms| *end_ms <= grown_ms).count();
        let pods = u32::try_from(self.pool.owners().len()).unwrap_or(u32::MAX);
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX).min(self.facts.max_pods.saturating_sub(pods));
        waiting
            .saturating_sub(self.pool.usable(mode, now_ms))
            .saturating_sub(self.addresses_to_come())
            .saturating_sub(u32::try_from(rested).unwrap_or(u32::MAX))
    }

    /// A request may hope for an address until this time.
    pub(crate) fn may_hope(&self, until_ms: i64) -> bool {
        let Some(own) = self.own.as_deref() else { return false };
        let (mode, now_ms) = (self.facts.mode, self.ms());
        let rests = || self.pool.rest_ends(mode, now_ms).first().is_some_and(|end_ms| *end_ms <= until_ms);
        let pods = self.pool.owners().len();
        let tried = || own.again_ms.is_none_or(|again_ms| again_ms <= until_ms);
        let grows =
            || (self.facts.max_pods as usize) > pods && self.may_grow() && tried() && self.possible_growth().is_some();
        (!own.settled && !self.terminating)
            || !own.growing.is_empty()
            || self.pool.usable(mode, now_ms) > 0
            || rests()
            || grows()
    }

    /// A subnet may be asked: it did not lack addresses a short while ago, and while it may still lack them one asks at a time.
    fn subnet_is_open(&self, subnet: Option<SubnetId>) -> bool {
        let Some(own) = self.own.as_deref() else { return true };
        let rests = |since_ms: i64| self.ms().saturating_sub(since_ms) <= SHORT_REST_MS;
        let meant = |short: SubnetId| subnet.is_none_or(|subnet| subnet == short);
        let mut shorts = own.short.iter().filter(|(short, _)| meant(*short));
        shorts.all(|(short, since_ms)| {
            let asked = own.growing.iter().any(|growth| growth.subnet.is_none_or(|subnet| subnet == *short));
            // A new ENI may lie in another subnet.
            (subnet.is_none() || !rests(*since_ms)) && !asked
        })
    }

    /// The subnet lacked addresses a short while ago.
    pub(crate) fn subnet_rests(&self, subnet: SubnetId) -> bool {
        let short = self.own.iter().flat_map(|own| &own.short).find(|(short, _)| *short == subnet);
        short.is_some_and(|(_, since_ms)| self.ms().saturating_sub(*since_ms) <= SHORT_REST_MS)
    }

    /// A subnet has no more addresses.
    pub(crate) fn subnet_is_short(&mut self, subnet: SubnetId) {
        let now_ms = self.ms();
        if let Some(own) = &mut self.own {
            own.short.retain(|(short, _)| *short != subnet);
            if own.short.len() >= MOST_SHORT {
                own.short.remove(0);
            }
            own.short.push((subnet, now_ms));
        }
    }

    /// Growth ended: well, or it is tried again after a pause.
    pub(crate) fn growth_ended(&mut self, lane: u8) {
        let (now_ms, failures) = (self.ms(), self.own.as_ref().map_or(0, |own| own.failures));
        let pause_ms = (PAUSE_MS << failures.min(8)).min(LONGEST_PAUSE_MS);
        let pause_ms = pause_ms.saturating_add(self.chooser.jitter(pause_ms / 4));
        let Some(own) = &mut self.own else { return };
        let ended = own.growing.iter().find(|growth| growth.lane == lane).copied();
        own.growing.retain(|growth| growth.lane != lane);
        own.look = true;
        if let Some(Growth { done: true, subnet, .. }) = ended {
            (own.failures, own.again_ms) = (0, None);
            own.short.retain(|(short, _)| Some(*short) != subnet);
        } else {
            own.failures = own.failures.saturating_add(1);
            own.again_ms = Some(now_ms.saturating_add(pause_ms));
        }
    }

    /// Notes something of the growth of a lane.
    pub(crate) fn note_growth(&mut self, lane: Lane, note: impl FnOnce(&mut Growth)) {
        let mut growing = self.own.iter_mut().flat_map(|own| &mut own.growing);
        if let Some(growth) = growing.find(|growth| Lane::Job(growth.lane) == lane) {
            note(growth);
        }
    }

    /// Devices in use, with those that growth under way has chosen.
    pub(crate) fn with_reserved(&self, mut used: Vec<(u8, u8)>) -> Vec<(u8, u8)> {
        let growing = self.own.iter().flat_map(|own| &own.growing);
        used.extend(growing.filter_map(|growth| growth.device).map(|device| (0, device)));
        used
    }

    /// Growth works on the ENI.
    pub(crate) fn is_growing(&self, eni: EniId) -> bool {
        self.own.iter().flat_map(|own| &own.growing).any(|growth| growth.eni == Some(eni))
    }

    /// Attached ENIs are listed now.
    pub(crate) fn listing(&mut self) {
        let now_ms = self.ms();
        self.own.iter_mut().for_each(|own| own.listed_ms = now_ms);
    }

    /// The ENI is being changed, or was since ENIs were listed.
    pub(crate) fn is_changing(&self, eni: EniId) -> bool {
        let listed_ms = self.own.as_ref().map_or(0, |own| own.listed_ms);
        self.is_growing(eni) || self.operations.outdates(eni, listed_ms)
    }

    /// EC2 answered growth: those that wait now may wait longer.
    pub(crate) fn growth_answered(&mut self) {
        for waiter in self.own.iter_mut().flat_map(|own| &mut own.line) {
            waiter.until_ms = waiter.since_ms.saturating_add(WAIT_FOR_EC2_MS).min(waiter.caller_ms);
        }
    }

    /// When growth, or a request that waits, is to be looked at again.
    pub(crate) fn growth_deadline(&self) -> Option<i64> {
        let own = self.own.as_deref()?;
        let now_ms = self.ms();
        let until = own.line.iter().map(|waiter| waiter.until_ms);
        let waits = !own.line.is_empty();
        let rest = waits.then(|| self.pool.rest_ends(self.facts.mode, now_ms).first().copied()).flatten();
        // What is due already waits for an answer that is on its way.
        until.chain(rest).chain(own.again_ms).filter(|at_ms| *at_ms > now_ms).min()
    }
}

/// How long a step takes as a rule, milliseconds.
const fn typical_ms(step: Step) -> i64 {
    match step {
        Step::Extend(..) => Ec2Operation::AssignPrivateIpAddresses.typical_ms(),
        Step::Allocate(_) => {
            Ec2Operation::CreateNetworkInterface.typical_ms()
                + Ec2Operation::DescribeInstances.typical_ms()
                + Ec2Operation::AttachNetworkInterface.typical_ms()
                + Ec2Operation::ModifyNetworkInterfaceAttribute.typical_ms()
                + APPEARS_MS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_eni_takes_as_long_as_its_calls_and_until_it_shows() {
        let calls = [
            Ec2Operation::CreateNetworkInterface,
            Ec2Operation::DescribeInstances,
            Ec2Operation::AttachNetworkInterface,
            Ec2Operation::ModifyNetworkInterfaceAttribute,
        ];
        let calls: i64 = calls.into_iter().map(Ec2Operation::typical_ms).sum();
        assert_eq!(typical_ms(Step::Allocate(4)), calls + 2_000);
        let more = typical_ms(Step::Extend(EniId::from_bits(1), 4));
        assert!(more < calls, "{more}");
    }
}
