//! Which share of the nodes this replica measures, where several share a cluster.
//!
//! A node belongs to the shard that its name gives: FNV-1a (64 bits) of the name's bytes, and of that the jump hash of
//! Lamping and Veach (2014), in whole numbers. Replicas need not talk to each other, equal names always meet in one
//! shard, and one shard more takes only its own share away from the others.
//!
//! The assignment is part of the contract: two versions of the program that run side by side for a while must agree on
//! it, so it never changes.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::hash::fnv1a;

/// The most shards there can be.
pub const MOST_SHARDS: u32 = 1000;

/// One of several shares of the nodes, written `i/n` with `i` from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

/// Why a text is no shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardError {
    /// Not two whole numbers.
    Form,
    /// Kubernetes filled in nothing.
    NoIndex,
    /// Too few shards, or too many.
    Count,
    /// A number that no shard has.
    Index {
        /// The number of shards that was asked for.
        of: u32,
    },
}

impl Error for ShardError {}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => {
                f.write_str("must be i/n: this replica's number from 0 and the number of shards, such as 0/3")
            }
            Self::NoIndex => f.write_str(
                "must be i/n, and i is missing: Kubernetes sets the label apps.kubernetes.io/pod-index on the pods of \
                 StatefulSets from version 1.28 on",
            ),
            Self::Count => write!(f, "must be i/n with n from 1 to {MOST_SHARDS}"),
            Self::Index { of } => write!(
                f,
                "must be i/n with i from 0 to n - 1: {of} shards are numbered 0/{of} to {last}/{of}",
                last = of - 1
            ),
        }
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, of) = text.split_once('/').ok_or(ShardError::Form)?;
        let of = number(of)?.ok_or(ShardError::Count)?;
        if index.is_empty() {
            return Err(ShardError::NoIndex);
        }
        let index = number(index)?;
        if !(1..=MOST_SHARDS).contains(&of) {
            return Err(ShardError::Count);
        }
        let index = index.filter(|index| *index < of).ok_or(ShardError::Index { of })?;
        Ok(Self { index, of })
    }
}

/// Digits only; `None` if they are more than any count of shards.
fn number(digits: &str) -> Result<Option<u32>, ShardError> {
    let fine = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fine { Ok(digits.parse().ok()) } else { Err(ShardError::Form) }
}

/// `i/n`.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Shard {
    /// All shards where there are `of`.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { index, of })
    }

    /// This one's number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many shards there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// A pod on this node, or the node itself, is measured here. What is on no node yet is measured nowhere.
    pub fn owns(self, node: Option<&str>) -> bool {
        node.is_some_and(|node| jump(fnv1a(node.as_bytes()), self.of) == self.index)
    }

    /// The name that a lease or the like has for this shard alone.
    pub fn suffixed(self, name: &str) -> String {
        format!("{name}-{}-of-{}", self.index, self.of)
    }
}

/// The bucket of `key` among `buckets`: each step jumps to the next bucket count at which the key would move.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // The key's upper 31 bits are a fraction in (0, 1]; a small one jumps far.
        next = ((bucket + 1) << 31) / ((key >> 33) + 1);
    }
    // Smaller than `buckets`, which is a u32.
    u32::try_from(bucket).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(node: &str, of: u32) -> u32 {
        jump(fnv1a(node.as_bytes()), of)
    }

    /// Nodes as EC2 names them, over a few subnets.
    fn names(count: u32) -> Vec<String> {
        let name = |i: u32| format!("ip-10-{}-{}-{}.eu-central-1.compute.internal", i >> 14, i >> 7 & 127, i & 127);
        (0..count).map(name).collect()
    }

    #[test]
    fn a_shard_is_a_number_from_zero_and_a_count() {
        for text in ["0/1", "0/3", "2/3", "999/1000"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        let no_number = ["", "1", "a/3", "1/b", "-1/3", "+1/3", "1/3/5", "0 /3", "0/3.0", "/", "0/"];
        for text in no_number {
            assert_eq!(text.parse::<Shard>(), Err(ShardError::Form), "{text:?}");
        }
        for text in ["0/0", "0/1001", "5/99999999999999999999"] {
            assert_eq!(text.parse::<Shard>(), Err(ShardError::Count), "{text:?}");
        }
        for text in ["3/3", "4/3", "99999999999999999999/3"] {
            assert_eq!(text.parse::<Shard>(), Err(ShardError::Index { of: 3 }), "{text:?}");
        }
        assert_eq!("/3".parse::<Shard>(), Err(ShardError::NoIndex));
        assert!(ShardError::Index { of: 3 }.to_string().ends_with("3 shards are numbered 0/3 to 2/3"));
    }

    #[test]
    fn the_jump_is_the_published_one() {
        // The paper's formula is in floating point; whole numbers agree with it.
        let paper = |mut key: u64, buckets: f64| {
            let (mut bucket, mut next) = (0.0, 0.0);
            while next < buckets {
                bucket = next;
                key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
                next = ((bucket + 1.0) * (2_147_483_648.0 / ((key >> 33) as f64 + 1.0))).floor();
            }
            bucket
        };
        for name in names(20_000) {
            let key = fnv1a(name.as_bytes());
            for buckets in [1, 3, 16, 1000] {
                let difference = f64::from(jump(key, buckets)) - paper(key, f64::from(buckets));
                assert!(difference.abs() < 0.5, "{name} of {buckets}");
            }
        }
    }

    /// Computed once by a program of its own; if this fails, replicas of two versions measure nodes twice or never.
    #[test]
    fn the_assignment_never_changes() {
        let known = [
            ("ip-10-0-12-34.eu-central-1.compute.internal", [0, 0, 4, 4, 983]),
            ("ip-10-0-12-35.eu-central-1.compute.internal", [1, 2, 2, 2, 635]),
            ("ip-10-3-255-1.us-west-2.compute.internal", [0, 0, 0, 12, 862]),
            ("ip-192-168-7-9.ec2.internal", [0, 2, 2, 2, 76]),
            ("i-0123456789abcdef0", [1, 1, 1, 9, 372]),
            ("kind-worker", [0, 2, 2, 2, 283]),
        ];
        for (node, shards) in known {
            assert_eq!([2, 3, 5, 16, 1000].map(|of| shard_of(node, of)), shards, "{node}");
        }
    }

    #[test]
    fn every_node_has_exactly_one_shard_and_an_unscheduled_pod_none() {
        let shards: Vec<Shard> = Shard::all(7).collect();
        for name in names(5_000) {
            assert_eq!(shards.iter().filter(|shard| shard.owns(Some(&name))).count(), 1, "{name}");
        }
        assert!(shards.iter().all(|shard| !shard.owns(None)));
        assert!("0/1".parse::<Shard>().unwrap().owns(Some("any")));
    }

    #[test]
    fn names_that_differ_in_a_digit_are_spread_evenly() {
        for (nodes, of) in [(300, 2), (5_000, 3), (5_000, 10), (100_000, 20), (100_000, 100), (100_000, 1000)] {
            let mut counts = vec![0_u32; of as usize];
            for name in names(nodes) {
                counts[shard_of(&name, of) as usize] += 1;
            }
            let expected = f64::from(nodes) / f64::from(of);
            let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            // Of chi-square with n - 1 degrees of freedom, mean n - 1 and variance 2 (n - 1): five deviations.
            let freedom = f64::from(of - 1);
            assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{nodes} over {of}: {chi_square}");
        }
    }

    #[test]
    fn one_shard_more_takes_only_its_own_share() {
        let names = names(20_000);
        for of in [1, 2, 3, 9] {
            let moved: Vec<&String> =
                names.iter().filter(|name| shard_of(name, of) != shard_of(name, of + 1)).collect();
            assert!(moved.iter().all(|name| shard_of(name, of + 1) == of), "a node moved between old shards");
            let share = moved.len() as f64 / names.len() as f64 * f64::from(of + 1);
            assert!((0.9..1.1).contains(&share), "{share} of a share moved to the shard {of}");
        }
    }
}
