//! How enums, numbers and lists are made from the rows.

use super::row::{Kind, MetricFacts};

/// The labels that a row keeps.
macro_rules! kept_labels {
    () => {
        &[]
    };
    ($labels:tt) => {
        &$labels
    };
}

/// Makes the enums and the table. `FAMILY keeps [LABELS] => METRIC: ROW;` is a family, the labels of it that are kept, the
/// metric it is published as, and what else is known of it.
macro_rules! catalogue {
    (
        families { $($family:ident $(keeps $labels:tt)? => $metric:ident: $row:expr;)+ }
        own { $($own:ident: $own_row:expr;)+ }
    ) => {
        /// Number of families that are read.
        pub const FAMILIES: usize = [$(stringify!($family)),+].len();

        /// Number of published metrics: one per family, and the helper's own counts.
        pub const METRICS: usize = FAMILIES + [$(stringify!($own)),+].len();

        /// One row.
        pub type Row = MetricFacts<Metric>;

        /// The families and their rows, in the order of [`Family`] and [`Metric`].
        pub const CATALOGUE: [Row; METRICS] = [
            $($row.entered(Metric::$metric, kept_labels!($($labels)?)),)+
            $($own_row.entered(Metric::$own, &[]),)+
        ];

        /// An ipamd metric family that is read. The order is the catalogue's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is described by its row of CATALOGUE")]
        pub enum Family {
            $($family,)+
        }

        /// A published metric. The first [`FAMILIES`] are the families' own, in the same order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is described by its row of CATALOGUE")]
        pub enum Metric {
            $($metric,)+
            $($own,)+
        }

        /// Number of families that keep labels.
        pub const LABELLED_FAMILIES: usize = [$($(stringify!($labels),)?)+].len();

        /// A family of which the labels are kept. The order is that of the families' names, as on a page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum LabelledFamily {
            $($(
                #[doc = concat!("Keeps `", stringify!($labels), "`.")]
                $family = lists::rank_by_name(&CATALOGUE, Family::$family as usize),
            )?)+
        }

        impl Family {
            /// Every family, in the catalogue's order.
            pub const ALL: [Self; FAMILIES] = [$(Self::$family),+];
        }

        impl Metric {
            /// Every metric, in the catalogue's order.
            pub const ALL: [Self; METRICS] = [$(Self::$metric,)+ $(Self::$own,)+];
        }

        impl LabelledFamily {
            /// Every family that keeps labels, in order.
            pub const ALL: [Self; LABELLED_FAMILIES] = {
                const UNORDERED: [LabelledFamily; LABELLED_FAMILIES] = [$($({
                    const _: &[&str] = &$labels;
                    LabelledFamily::$family
                },)?)+];
                let mut ordered = UNORDERED;
                let mut at = 0;
                while at < LABELLED_FAMILIES {
                    ordered[UNORDERED[at] as usize] = UNORDERED[at];
                    at += 1;
                }
                ordered
            };

            /// The family in the catalogue.
            #[inline]
            pub const fn family(self) -> Family {
                match self {
                    $($(Self::$family => {
                        const _: &[&str] = &$labels;
                        Family::$family
                    })?)+
                }
            }

            /// The family as one that keeps labels, if it is one.
            #[inline]
            pub const fn of(family: Family) -> Option<Self> {
                match family {
                    $($(Family::$family => {
                        const _: &[&str] = &$labels;
                        Some(Self::$family)
                    })?)+
                    _ => None,
                }
            }
        }
    };
}

/// Number of rows of this kind.
pub(super) const fn count<M>(rows: &[MetricFacts<M>], kind: Kind) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < rows.len() {
        count += (rows[at].kind as u8 == kind as u8) as usize;
        at += 1;
    }
    count
}

/// The last of them.
pub(super) const fn last<F: Copy, const N: usize>(all: &[F]) -> [F; N] {
    let mut last = [all[0]; N];
    let mut at = 0;
    while at < N {
        last[at] = all[all.len() - N + at];
        at += 1;
    }
    last
}

const fn is_gauge_with_labels<M>(row: &MetricFacts<M>) -> bool {
    matches!(row.kind, Kind::SumGauge) && row.has_labels
}

/// Number of gauges that have labels on the page.
pub(super) const fn gauges_with_labels<M>(rows: &[MetricFacts<M>]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < rows.len() {
        count += is_gauge_with_labels(&rows[at]) as usize;
        at += 1;
    }
    count
}

/// Of the families, in the order of the rows, the gauges that have labels on the page.
pub(super) const fn only_gauges_with_labels<F: Copy, M, const N: usize>(all: &[F], rows: &[MetricFacts<M>]) -> [F; N] {
    let mut gauges = [all[0]; N];
    let (mut found, mut at) = (0, 0);
    while at < all.len() {
        if is_gauge_with_labels(&rows[at]) {
            gauges[found] = all[at];
            found += 1;
        }
        at += 1;
    }
    gauges
}

/// The place of a row that keeps labels among those, by the family's name.
pub(super) const fn rank_by_name<M>(rows: &[MetricFacts<M>], own: usize) -> u8 {
    let (mut rank, mut at) = (0_u8, 0);
    while at < rows.len() {
        if let (Some(name), Some(own)) = (rows[at].family, rows[own].family)
            && !rows[at].labels.is_empty()
            && is_less(name, own)
        {
            rank += 1;
        }
        at += 1;
    }
    rank
}

/// `<` of texts, in const context.
const fn is_less(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left, right) {
            ([a, left_rest @ ..], [b, right_rest @ ..]) if *a == *b => (left, right) = (left_rest, right_rest),
            ([a, ..], [b, ..]) => return *a < *b,
            (rest, other) => return rest.is_empty() && !other.is_empty(),
        }
    }
}
