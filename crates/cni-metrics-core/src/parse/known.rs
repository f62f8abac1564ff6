//! The names that are looked for, made from the catalogue when the program is compiled.

#![expect(clippy::indexing_slicing, reason = "in constants: an index beyond the end does not compile")]

use super::series::Series;
use cni_types::catalogue::{FAMILIES, FAMILY_PREFIX, Family, Kind};

/// A name that is looked for, without the prefix that all of ipamd's families share.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static [u8],
    pub(super) series: Series,
}

/// How many names there are: of the families, their former ones, and `awscni_build_info`.
pub(super) const KNOWN: usize = {
    let (mut count, mut at) = (FAMILIES + 1, 0);
    while at < FAMILIES {
        count += Family::ALL[at].former_name().is_some() as usize;
        at += 1;
    }
    count
};

/// The names, made from the catalogue. A latency's is that of its quantiles; its sum and count are longer.
const NAMES: [Known; KNOWN] = {
    let mut names = [Known { name: b"build_info", series: Series::BuildInfo }; KNOWN];
    let (mut next, mut at) = (0, 0);
    while at < FAMILIES {
        let family = Family::ALL[at];
        let series = match family.kind() {
            Kind::Latency => Series::LatencyQuantile,
            _ => Series::Family(family),
        };
        names[next] = Known { name: without_prefix(family.name()), series };
        next += 1;
        if let Some(former) = family.former_name() {
            names[next] = Known { name: without_prefix(former), series };
            next += 1;
        }
        at += 1;
    }
    names
};

const fn without_prefix(family: &'static str) -> &'static [u8] {
    family.as_bytes().split_at(FAMILY_PREFIX.len()).1
}

/// The names with the longest first: what begins a longer name is not taken for it.
const BY_LENGTH: [Known; KNOWN] = {
    let mut names = NAMES;
    let mut sorted = 1;
    while sorted < KNOWN {
        let mut at = sorted;
        while at > 0 && names[at - 1].name.len() < names[at].name.len() {
            (names[at - 1], names[at]) = (names[at], names[at - 1]);
            at -= 1;
        }
        sorted += 1;
    }
    names
};

/// How many bytes at the front of a name decide which names are possible: all are as long.
const HEAD: usize = 6;

/// The front of a name as one number.
#[inline]
pub(super) const fn head_of(name: [u8; HEAD]) -> u32 {
    let ([first @ .., _, _], [_, _, last @ ..]) = (&name, &name);
    u32::from_le_bytes(*first).wrapping_add(u32::from_le_bytes(*last))
}

/// The name with this number and its front; beyond [`KNOWN`] the last one.
pub(super) const fn known(at: usize) -> (u32, Known) {
    let known = BY_LENGTH[if at < KNOWN { at } else { KNOWN - 1 }];
    let head = match known.name.first_chunk() {
        Some(front) => head_of(*front),
        None => 0,
    };
    (head, known)
}

const _: () = assert!(BY_LENGTH[KNOWN - 1].name.len() >= HEAD, "the shortest name has a front");
