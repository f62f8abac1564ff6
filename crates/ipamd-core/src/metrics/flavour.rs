//! Which agent's page is imitated, and what it shows.

use cni_types::ec2::Ec2Operation;

/// Which agent's page to imitate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageFlavour {
    /// The current agent.
    #[default]
    V1_23,
    /// The current agent, its counters declared as gauges.
    CountersAsGauges,
    /// An agent before 1.23, by its version: `GetMetadata`, an older family set, and before 1.10 quantiles and no status
    /// label.
    Legacy(Release),
}

/// An agent's version 1.MINOR.PATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The 12 of 1.12.6.
    pub minor: u16,
    /// The 6 of 1.12.6.
    pub patch: u16,
}

impl Release {
    /// The agents that the documentation of the metrics was written for, and the last but one with quantiles.
    pub const OLD: Self = Self { minor: 7, patch: 10 };

    /// The first that has all that the page shows.
    pub const CURRENT: Self = Self { minor: 23, patch: 0 };

    /// The first that is built with version 2 of the SDK for Go.
    const SECOND_SDK: Self = Self { minor: 19, patch: 4 };

    /// Reads an image's tag: `v1.12.6`, with or without the `v` and what follows after a `-`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let numbers = tag.strip_prefix('v').unwrap_or(tag).split('-').next()?;
        let mut numbers = numbers.strip_prefix("1.")?.split('.');
        let (minor, patch) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        numbers.next().is_none().then_some(Self { minor, patch })
    }

    /// The first release with the `awscni_` family.
    fn first_with(family: &str) -> Self {
        let (minor, patch) = match family {
            "awscni_force_removed_enis" | "awscni_force_removed_ips" => (6, 0),
            "awscni_pod_eni_error_count" => (7, 0),
            "awscni_assigned_ip_per_cidr" | "awscni_total_ipv4_prefixes" => (9, 0),
            "awscni_ec2api_error_count" | "awscni_ec2api_req_count" => (12, 1),
            "awscni_no_available_ip_addresses" => (16, 0),
            "awscni_assigned_ip_per_eni" => (18, 0),
            "awscni_build_info" | "awscni_ipamd_startup_duration_seconds" => (21, 0),
            "awscni_connmark_backend"
            | "awscni_connmark_reconcile_total"
            | "awscni_ipamd_node_initialization_duration_seconds" => (23, 0),
            _ => (0, 0),
        };
        Self { minor, patch }
    }
}

impl PageFlavour {
    /// Whether an agent of this flavour has the `awscni_` family at all.
    pub fn exposes(self, family: &str) -> bool {
        match self {
            Self::V1_23 | Self::CountersAsGauges => true,
            Self::Legacy(release) => release >= Release::first_with(family),
        }
    }

    /// Whether the page is of an agent before 1.23.
    pub fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy(_))
    }

    /// Whether the latencies come with quantiles and without the label `status`.
    pub fn has_quantiles(self) -> bool {
        matches!(self, Self::Legacy(release) if release.minor < 10)
    }

    /// Whether counters without labels are declared as gauges, and the pool's actions have their older names.
    pub(super) fn is_before_counters(self) -> bool {
        matches!(self, Self::Legacy(release) if release.minor < 19)
    }

    /// The label `api` under which agents of this flavour count errors of a call.
    pub(super) fn shown_api(self, api: &'static str) -> &'static str {
        let former = || Ec2Operation::by_name(api).and_then(Ec2Operation::former_name);
        if self.is_of_the_first_sdk() { former().unwrap_or(api) } else { api }
    }

    /// The label `error` under which they count an error of the instance metadata service; other codes are AWS's own.
    pub(super) fn shown_code(self, code: &str) -> &str {
        if self.is_of_the_first_sdk() && code == "IMDSRequestError" { "EC2MetadataError" } else { code }
    }

    fn is_of_the_first_sdk(self) -> bool {
        matches!(self, Self::Legacy(release) if release < Release::SECOND_SDK)
    }

    /// The name under which agents of this flavour show the family.
    pub(super) fn shown_name(self, family: &str) -> &str {
        match (self, family) {
            (Self::Legacy(Release { minor: 9, .. }), "awscni_assigned_ip_per_cidr") => {
                "awscni_assigned_ip_per_ipv4cidr"
            }
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms") => "awscni_aws_api_lantency_ms",
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms_sum") => {
                "awscni_aws_api_lantency_ms_sum"
            }
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms_count") => {
                "awscni_aws_api_lantency_ms_count"
            }
            _ => family,
        }
    }
}
