//! What an instance type may carry: ENIs, addresses per ENI, hypervisor, branch ENIs.
//!
//! The table is text grouped by profile (`limits/instances.txt`): 1391 types in some 20 kB, decoded once on first use.

use crate::near::edits;
use std::sync::OnceLock;

/// Addresses in a /28 prefix.
pub const ADDRESSES_PER_PREFIX: u32 = 16;

/// Who virtualises the instance; prefix delegation needs Nitro or bare metal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// AWS Nitro.
    Nitro,
    /// Xen: no prefix delegation.
    Xen,
    /// Not stated by EC2 (most bare-metal types).
    Unknown,
}

impl Hypervisor {
    /// The word EC2 uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Xen => "xen",
            Self::Unknown => "unknown",
        }
    }
}

/// The limits of one instance type (those of its default network card).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceLimits {
    /// ENIs on the default network card.
    pub max_enis: u16,
    /// IPv4 addresses of one ENI, its primary included.
    pub ipv4_per_eni: u16,
    /// Hypervisor.
    pub hypervisor: Hypervisor,
    /// Bare metal.
    pub bare_metal: bool,
    /// Number of network cards.
    pub network_cards: u8,
    /// May carry a trunk ENI; types absent from the controller's table count as compatible.
    pub trunk_compatible: bool,
    /// Branch ENIs for security groups per pod.
    pub branch_enis: u16,
    /// In the agent's own table; for other types it asks EC2 at start.
    pub listed: bool,
}

impl InstanceLimits {
    /// A Nitro type that is in no table.
    pub fn custom(max_enis: u16, ipv4_per_eni: u16) -> Self {
        Self {
            max_enis,
            ipv4_per_eni,
            hypervisor: Hypervisor::Nitro,
            bare_metal: false,
            network_cards: 1,
            trunk_compatible: true,
            branch_enis: 0,
            listed: false,
        }
    }

    /// Secondary addresses, or prefixes, that one ENI can hold.
    pub fn slots(&self) -> u32 {
        u32::from(self.ipv4_per_eni.saturating_sub(1))
    }

    /// Whether /28 prefixes can be assigned.
    pub fn prefix_capable(&self) -> bool {
        self.bare_metal || self.hypervisor == Hypervisor::Nitro
    }

    /// Pods as the published list of the agent's image gives them: every slot, and two on the host network.
    pub fn listed_max_pods(&self) -> u32 {
        u32::from(self.max_enis) * self.slots() + 2
    }
}

/// A type of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownType {
    /// What stands before the dot.
    pub family: &'static str,
    /// What stands after it.
    pub size: &'static str,
    /// Its limits.
    pub limits: InstanceLimits,
}

impl KnownType {
    /// The full name.
    pub fn name(&self) -> String {
        format!("{}.{}", self.family, self.size)
    }
}

/// Every known type, sorted by name.
pub fn all() -> &'static [KnownType] {
    static TABLE: OnceLock<Vec<KnownType>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut types: Vec<_> = include_str!("limits/instances.txt").lines().filter_map(profile).flatten().collect();
        types.sort_by_key(KnownType::name);
        types
    })
}

/// The limits of a known instance type.
pub fn find(instance_type: &str) -> Option<InstanceLimits> {
    let name = |known: &KnownType| known.family.bytes().chain([b'.']).chain(known.size.bytes());
    let place = all().binary_search_by(|known| name(known).cmp(instance_type.bytes())).ok()?;
    all().get(place).map(|known| known.limits)
}

/// The `count` known names that look most like `instance_type`.
pub fn nearest(instance_type: &str, count: usize) -> Vec<String> {
    let mut names: Vec<_> = all()
        .iter()
        .map(|known| {
            let name = known.name();
            // Of equally distant names those that begin alike come first.
            let alike = name.bytes().zip(instance_type.bytes()).take_while(|(a, b)| a == b).count();
            (edits(&name, instance_type), std::cmp::Reverse(alike), name)
        })
        .collect();
    names.sort();
    names.into_iter().take(count).map(|(.., name)| name).collect()
}

fn profile(line: &'static str) -> Option<Vec<KnownType>> {
    let mut words = line.split_ascii_whitespace();
    let max_enis = words.next()?.parse().ok()?;
    let ipv4_per_eni = words.next()?.parse().ok()?;
    let network_cards = words.next()?.parse().ok()?;
    let kind = words.next()?;
    let hypervisor = match kind.as_bytes().first()? {
        b'n' => Hypervisor::Nitro,
        b'x' => Hypervisor::Xen,
        _ => Hypervisor::Unknown,
    };
    let branch = words.next()?;
    let limits = InstanceLimits {
        max_enis,
        ipv4_per_eni,
        hypervisor,
        bare_metal: kind.ends_with('m'),
        network_cards,
        trunk_compatible: branch != "-",
        branch_enis: branch.parse().unwrap_or(0),
        listed: true,
    };
    let types = words.filter_map(|group| group.split_once('.'));
    Some(
        types
            .flat_map(|(family, sizes)| sizes.split(',').map(move |size| KnownType { family, size, limits }))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use crate::hash::fnv1a;

    use super::*;

    /// FNV-1a over the rows a public table of the same facts would have.
    fn digest(rows: impl Iterator<Item = String>) -> u64 {
        fnv1a(rows.collect::<String>().as_bytes())
    }

    #[test]
    fn every_row_of_the_table_is_there_and_right() {
        let all = all();
        assert_eq!(all.len(), 1391);
        assert!(all.iter().all(|known| find(&known.name()) == Some(known.limits)));
        let rows = all.iter().map(|known| {
            let InstanceLimits { max_enis, ipv4_per_eni, hypervisor, bare_metal, network_cards, .. } = known.limits;
            let (name, hypervisor, pods) = (known.name(), hypervisor.name(), known.limits.listed_max_pods());
            format!("{name},{max_enis},{ipv4_per_eni},{hypervisor},{bare_metal},{network_cards},{pods}\n")
        });
        assert_eq!(digest(rows), 0x7bf9_299b_e7f5_d971);
    }

    #[test]
    fn every_row_of_the_trunk_table_is_there_and_right() {
        let listed = |limits: &InstanceLimits| limits.branch_enis > 0 || !limits.trunk_compatible;
        let known = all().iter().filter(|known| listed(&known.limits));
        let rows: Vec<_> = known
            .map(|known| format!("{},{},{}\n", known.name(), known.limits.trunk_compatible, known.limits.branch_enis))
            .collect();
        assert_eq!(rows.len(), 1163);
        assert_eq!(digest(rows.into_iter()), 0xd303_d9fb_266b_3514);
    }

    #[test]
    fn well_known_types_read_as_published() {
        let m5 = find("m5.large").unwrap();
        assert_eq!((m5.max_enis, m5.ipv4_per_eni, m5.slots(), m5.listed_max_pods()), (3, 10, 9, 29));
        assert_eq!((m5.hypervisor, m5.branch_enis, m5.trunk_compatible), (Hypervisor::Nitro, 9, true));
        assert!(!find("m4.large").unwrap().prefix_capable());
        assert!(find("m5.metal").unwrap().prefix_capable());
        assert!(!find("t3.small").unwrap().trunk_compatible);
        let capable = all().iter().filter(|known| known.limits.prefix_capable()).count();
        assert_eq!(capable, 1309);
        assert_eq!(find("m5.huge"), None);
        assert_eq!(find("m5large"), None);
        assert_eq!(nearest("m5.largee", 1), ["m5.large"]);
        assert_eq!(nearest("c5.8xlarge", 1).len(), 1);
    }
}
