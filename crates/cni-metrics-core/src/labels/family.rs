//! The counters that keep labels, and which.

use crate::catalogue::Family;

/// Number of families that keep labels.
pub const LABELLED_FAMILIES: usize = 8;

/// A family of which the labels are kept. The order is that of the families' names, as on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the families' own")]
pub enum LabelledFamily {
    AwsApiErrorCount,
    AwsUtilsErrorCount,
    DelIpReqCount,
    Ec2ApiErrorCount,
    Ec2ApiReqCount,
    IpamdErrorCount,
    PodEniErrorCount,
    ReconcileCount,
}

impl LabelledFamily {
    /// Every family that keeps labels, in order.
    pub const ALL: [Self; LABELLED_FAMILIES] = [
        Self::AwsApiErrorCount,
        Self::AwsUtilsErrorCount,
        Self::DelIpReqCount,
        Self::Ec2ApiErrorCount,
        Self::Ec2ApiReqCount,
        Self::IpamdErrorCount,
        Self::PodEniErrorCount,
        Self::ReconcileCount,
    ];

    /// The family in the catalogue.
    pub const fn family(self) -> Family {
        match self {
            Self::AwsApiErrorCount => Family::AwsApiErrorCount,
            Self::AwsUtilsErrorCount => Family::AwsUtilsErrorCount,
            Self::DelIpReqCount => Family::DelIpReqCount,
            Self::Ec2ApiErrorCount => Family::Ec2ApiErrorCount,
            Self::Ec2ApiReqCount => Family::Ec2ApiReqCount,
            Self::IpamdErrorCount => Family::IpamdErrorCount,
            Self::PodEniErrorCount => Family::PodEniErrorCount,
            Self::ReconcileCount => Family::ReconcileCount,
        }
    }

    /// The family as one that keeps labels, if it is one.
    #[inline]
    pub const fn of(family: Family) -> Option<Self> {
        match family {
            Family::AwsApiErrorCount => Some(Self::AwsApiErrorCount),
            Family::AwsUtilsErrorCount => Some(Self::AwsUtilsErrorCount),
            Family::DelIpReqCount => Some(Self::DelIpReqCount),
            Family::Ec2ApiErrorCount => Some(Self::Ec2ApiErrorCount),
            Family::Ec2ApiReqCount => Some(Self::Ec2ApiReqCount),
            Family::IpamdErrorCount => Some(Self::IpamdErrorCount),
            Family::PodEniErrorCount => Some(Self::PodEniErrorCount),
            Family::ReconcileCount => Some(Self::ReconcileCount),
            _ => None,
        }
    }

    /// The labels that are kept: one or two. `code` of `aws_utils_error_count` is cut from its label `error`, which is
    /// the whole text of an error.
    pub const fn label_names(self) -> &'static [&'static str] {
        match self {
            Self::AwsApiErrorCount => &["api", "error"],
            Self::AwsUtilsErrorCount => &["fn", "code"],
            Self::DelIpReqCount => &["reason"],
            Self::Ec2ApiErrorCount
            | Self::Ec2ApiReqCount
            | Self::IpamdErrorCount
            | Self::PodEniErrorCount
            | Self::ReconcileCount => &["fn"],
        }
    }

    /// True if what it counts went wrong, false if it counts work.
    pub const fn counts_errors(self) -> bool {
        !matches!(self, Self::DelIpReqCount | Self::Ec2ApiReqCount | Self::ReconcileCount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_families_are_the_counters_with_labels_in_the_order_of_their_names() {
        let names = LabelledFamily::ALL.map(|own| own.family().name());
        assert!(names.is_sorted());
        for (number, own) in LabelledFamily::ALL.into_iter().enumerate() {
            assert_eq!(own as usize, number);
            assert_eq!(LabelledFamily::of(own.family()), Some(own));
        }
        for family in Family::ALL {
            let has_labels = family.is_counter() && !family.is_plain_counter();
            assert_eq!(LabelledFamily::of(family).is_some(), has_labels, "{}", family.name());
        }
    }
}
