//! AWS's partitions, the regions in them, and the names under which services answer there.
//!
//! Sources: the partitions of the AWS SDKs (`partitions.json`, `endpoints.json`) for prefixes and suffixes, *Amazon container
//! image registries for Amazon EKS add-ons* for the accounts of the registries.

/// A part of AWS with accounts and regions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The second field of ARNs.
    pub name: &'static str,
    /// What the names of its regions begin with.
    pub region_prefix: &'static str,
    /// The end of host names of its services.
    pub dns_suffix: &'static str,
    /// The same of services that also have an IPv6 address; `None` where the partition has none.
    pub dual_stack_suffix: Option<&'static str>,
    /// EC2's usual endpoints are FIPS 140 endpoints already, and have no other name.
    pub ec2_is_fips: bool,
}

const fn partition(
    name: &'static str,
    region_prefix: &'static str,
    dns_suffix: &'static str,
    dual_stack_suffix: Option<&'static str>,
) -> Partition {
    Partition { name, region_prefix, dns_suffix, dual_stack_suffix, ec2_is_fips: false }
}

/// The commercial regions, which a region of no other partition is in.
pub const AWS: Partition = partition("aws", "", "amazonaws.com", Some("api.aws"));

/// The regions in China.
pub const AWS_CN: Partition = partition("aws-cn", "cn-", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn"));

/// The regions of the US government.
pub const AWS_US_GOV: Partition =
    Partition { ec2_is_fips: true, ..partition("aws-us-gov", "us-gov-", "amazonaws.com", Some("api.aws")) };

/// All partitions; the commercial one is the last, because every region's name begins with its prefix.
pub const PARTITIONS: [Partition; 8] = [
    AWS_CN,
    AWS_US_GOV,
    partition("aws-iso-b", "us-isob-", "sc2s.sgov.gov", None),
    partition("aws-iso-f", "us-isof-", "csp.hci.ic.gov", None),
    partition("aws-iso", "us-iso-", "c2s.ic.gov", None),
    partition("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", None),
    partition("aws-eusc", "eusc-", "amazonaws.eu", Some("api.amazonwebservices.eu")),
    AWS,
];

/// AWS's accounts whose registries hold the images of the VPC CNI, and the upstream helper: that of most regions, of the
/// two regions of the US government, and of the two in China.
const REGISTRY_ACCOUNTS: [&str; 5] = ["602401143452", "151742754352", "013241004608", "918309763551", "961992271922"];

/// What changes an endpoint's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointVariant {
    /// FIPS 140 endpoints, `AWS_USE_FIPS_ENDPOINT`.
    pub fips: bool,
    /// Endpoints with IPv6, `AWS_USE_DUALSTACK_ENDPOINT`.
    pub dual_stack: bool,
}

impl Partition {
    /// The partition that a region is in.
    pub fn of_region(region: &str) -> Self {
        PARTITIONS.into_iter().find(|partition| region.starts_with(partition.region_prefix)).unwrap_or(AWS)
    }

    /// The URL of EC2's Query API in this region of the partition.
    fn ec2(self, region: &str, variant: EndpointVariant) -> String {
        let suffix = self.dual_stack_suffix.filter(|_| variant.dual_stack).unwrap_or(self.dns_suffix);
        let has_fips_name = !self.ec2_is_fips || variant.dual_stack;
        let service = if variant.fips && has_fips_name { "ec2-fips" } else { "ec2" };
        format!("https://{service}.{region}.{suffix}")
    }
}

/// The URL of EC2's Query API in this region.
pub fn ec2_endpoint(region: &str, variant: EndpointVariant) -> String {
    Partition::of_region(region).ec2(region, variant)
}

/// AWS's accounts whose registries hold the upstream helper.
pub fn registry_accounts() -> impl Iterator<Item = &'static str> {
    REGISTRY_ACCOUNTS.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_fips_and_dual_stack_have_their_own_names() {
        let url = |region, fips, dual_stack| ec2_endpoint(region, EndpointVariant { fips, dual_stack });
        assert_eq!(url("eu-west-1", false, false), "https://ec2.eu-west-1.amazonaws.com");
        assert_eq!(url("us-east-1", true, false), "https://ec2-fips.us-east-1.amazonaws.com");
        assert_eq!(url("us-east-1", false, true), "https://ec2.us-east-1.api.aws");
        assert_eq!(url("us-east-1", true, true), "https://ec2-fips.us-east-1.api.aws");
        assert_eq!(url("cn-north-1", false, false), "https://ec2.cn-north-1.amazonaws.com.cn");
        assert_eq!(url("cn-north-1", false, true), "https://ec2.cn-north-1.api.amazonwebservices.com.cn");
        assert_eq!(url("us-gov-west-1", true, false), "https://ec2.us-gov-west-1.amazonaws.com");
        assert_eq!(url("us-iso-east-1", false, true), "https://ec2.us-iso-east-1.c2s.ic.gov");
    }

    #[test]
    fn every_region_is_in_one_partition() {
        for (region, name) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-west-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(Partition::of_region(region).name, name, "{region}");
            let matching = PARTITIONS.iter().filter(|partition| region.starts_with(partition.region_prefix)).count();
            assert_eq!(matching, if name == "aws" { 1 } else { 2 }, "{region}");
        }
    }

    #[test]
    fn registries_have_accounts_of_twelve_digits() {
        assert!(registry_accounts().all(crate::names::is_account));
        let distinct: std::collections::BTreeSet<_> = registry_accounts().collect();
        assert_eq!(distinct.len(), REGISTRY_ACCOUNTS.len());
    }
}
