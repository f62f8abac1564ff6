//! Which attached ENIs the agent works with.

use super::attached::{Attached, Described};
use super::memory::{Agent, PodKey};
use crate::input::{BadInput, EniKind, Identity, ImdsEni};
use crate::settings::Mode;

/// Tag of an ENI that agents must leave alone.
const NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";
/// Tag with the instance for which an ENI was made.
pub(crate) const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";

/// No instance has more ENIs.
const MOST_ENIS: usize = 128;

impl<K: PodKey> Agent<K> {
    /// Decides by their tags which ENIs are left alone. Without any tags known, what was decided before stands.
    pub(crate) fn set_unmanaged(&mut self, attached: &Attached) {
        if attached.described.is_empty() {
            return;
        }
        let instance = self.facts.identity.as_ref().map(|identity| identity.instance.to_string()).unwrap_or_default();
        let untagged_too = self.config.settings.manage_untagged;
        let managed = |tags: &[(Box<str>, Box<str>)]| {
            let value = |key: &str| tags.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value);
            match value(NO_MANAGE) {
                Some("true") => false,
                Some(_) => true,
                None => untagged_too || value(INSTANCE) == Some(&*instance),
            }
        };
        // Careful: an ENI of another VPC or zone is left alone, whatever its tags.
        let identity = self.own.as_deref().and_then(|own| own.identity.as_ref());
        let elsewhere = |eni: &Described| {
            let other = |identity: &Identity| {
                eni.vpc.is_some_and(|vpc| vpc != identity.vpc)
                    || eni.zone.as_ref().is_some_and(|zone| *zone != identity.zone)
            };
            identity.is_some_and(other)
        };
        let alone = |eni: &&Described| !managed(&eni.tags) || elsewhere(eni);
        let left_alone = attached.described.iter().filter(alone).map(|eni| eni.id);
        let ids = left_alone.filter(|eni| !self.is_primary(*eni)).collect();
        self.foreign.unmanaged = ids;
        self.prove(attached);
    }

    /// Remembers which ENIs are EFA without addresses.
    pub(crate) fn set_efa_only(&mut self, attached: &Attached) {
        let efa_only = attached.described.iter().filter(|eni| eni.kind == EniKind::EfaOnly);
        self.foreign.efa_only.clear();
        for eni in efa_only {
            let Some(card) = eni.card else { continue };
            self.foreign.efa_only.retain(|(known, _)| *known != card);
            self.foreign.efa_only.push((card, eni.id));
        }
    }

    /// The ENIs that the agent works with; counts the others, and writes the two ceilings.
    pub(crate) fn filter_managed(&mut self, mut enis: Vec<ImdsEni>) -> Vec<ImdsEni> {
        if let Some(beyond) = enis.get(MOST_ENIS) {
            self.bad.add(BadInput::TooManyEnis { eni: beyond.id, found: enis.len(), limit: MOST_ENIS });
            enis.truncate(MOST_ENIS);
        }
        let ipv6 = self.facts.mode == Mode::Ipv6;
        let (mut filtered, mut first_card) = (0_u32, 0);
        let (foreign, primary) = (&self.foreign, self.facts.identity.as_ref().map(|identity| identity.primary_eni));
        enis.retain(|eni| {
            if ipv6 && primary == Some(eni.id) {
                return true;
            }
            let unmanaged = foreign.holds(eni.id);
            // Network cards beyond the default one are not worked with; their ENIs are not counted.
            if !unmanaged && eni.card > 0 {
                return false;
            }
            let counted = unmanaged || foreign.efa_only.contains(&(eni.card, eni.id));
            filtered += u32::from(counted);
            first_card += usize::from(counted && eni.card == 0);
            !counted
        });
        self.foreign.on_first_card = first_card;
        let enis_left = i64::from(self.max_enis()) - i64::from(filtered);
        let per_eni = if ipv6 { 0 } else { i64::from(self.targets().addresses_per_eni()) };
        self.metrics.eni_max = enis_left;
        self.metrics.ip_max = enis_left.saturating_mul(per_eni);
        enis
    }
}
