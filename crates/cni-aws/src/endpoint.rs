//! Where EC2 answers in a region: partitions, FIPS and dual-stack names.

/// What changes an endpoint's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variant {
    /// FIPS 140 endpoints, `AWS_USE_FIPS_ENDPOINT`.
    pub fips: bool,
    /// Endpoints with IPv6, `AWS_USE_DUALSTACK_ENDPOINT`.
    pub dual_stack: bool,
}

/// DNS suffixes by the beginning of the region's name: usual, and dual-stack where the partition has it.
const PARTITIONS: [(&str, &str, Option<&str>); 8] = [
    ("cn-", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn")),
    ("us-gov-", "amazonaws.com", Some("api.aws")),
    ("us-isob-", "sc2s.sgov.gov", None),
    ("us-isof-", "csp.hci.ic.gov", None),
    ("us-iso-", "c2s.ic.gov", None),
    ("eu-isoe-", "cloud.adc-e.uk", None),
    ("eusc-", "amazonaws.eu", Some("api.amazonwebservices.eu")),
    ("", "amazonaws.com", Some("api.aws")),
];

/// The URL of EC2's Query API in this region.
pub fn ec2(region: &str, variant: Variant) -> String {
    let partition = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let (prefix, usual, dual_stack) = partition.copied().unwrap_or(("", "amazonaws.com", None));
    let suffix = dual_stack.filter(|_| variant.dual_stack).unwrap_or(usual);
    // GovCloud's usual EC2 endpoints are FIPS endpoints already and have no other name.
    let has_fips_name = prefix != "us-gov-" || variant.dual_stack;
    let service = if variant.fips && has_fips_name { "ec2-fips" } else { "ec2" };
    format!("https://{service}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_fips_and_dual_stack_have_their_own_names() {
        let url = |region, fips, dual_stack| ec2(region, Variant { fips, dual_stack });
        assert_eq!(url("eu-west-1", false, false), "https://ec2.eu-west-1.amazonaws.com");
        assert_eq!(url("us-east-1", true, false), "https://ec2-fips.us-east-1.amazonaws.com");
        assert_eq!(url("us-east-1", false, true), "https://ec2.us-east-1.api.aws");
        assert_eq!(url("us-east-1", true, true), "https://ec2-fips.us-east-1.api.aws");
        assert_eq!(url("cn-north-1", false, false), "https://ec2.cn-north-1.amazonaws.com.cn");
        assert_eq!(url("cn-north-1", false, true), "https://ec2.cn-north-1.api.amazonwebservices.com.cn");
        assert_eq!(url("us-gov-west-1", true, false), "https://ec2.us-gov-west-1.amazonaws.com");
        assert_eq!(url("us-iso-east-1", false, true), "https://ec2.us-iso-east-1.c2s.ic.gov");
    }
}
