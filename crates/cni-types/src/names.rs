//! What services take as a name.

/// What a CloudWatch namespace may be.
pub const NAMESPACE_RULE: &str =
    "must be 1 to 255 of the characters A-Z a-z 0-9 . - _ / # : and space, not beginning with ':' or 'AWS/'";

/// What a cluster id may be: the value of a CloudWatch dimension.
pub const CLUSTER_ID_RULE: &str =
    "must be 1 to 1024 printable ASCII characters, not beginning with ':', not only blanks";

/// [`NAMESPACE_RULE`] holds.
pub fn is_namespace(namespace: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    (1..=255).contains(&namespace.len())
        && namespace.chars().all(is_plain)
        && !namespace.trim().is_empty()
        && !namespace.starts_with(':')
        && !namespace.starts_with("AWS/")
}

/// [`CLUSTER_ID_RULE`] holds.
pub fn is_cluster_id(id: &str) -> bool {
    (1..=1024).contains(&id.len())
        && id.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        && !id.trim().is_empty()
        && !id.starts_with(':')
}

/// An AWS account's number: twelve digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An AWS region as they are named: words of lower-case letters and a number, such as `eu-west-1` and `us-gov-west-1`. It need
/// not exist.
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a Kubernetes namespace or service account: 1 to 63 lower-case letters, digits and `-`, not at an end.
pub fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_accounts_and_labels_have_their_form() {
        assert!(["eu-west-1", "us-gov-west-1", "us-isob-east-1", "ap-southeast-12"].into_iter().all(is_region));
        let no_regions = ["", "1", "west-1", "eu-west", "eu-west-", "eu--1", "Eu-west-1", "eu_west_1", "eu-west-1a"];
        assert!(!no_regions.into_iter().any(is_region));
        assert!(is_account("111122223333"));
        assert!(!["", "11112222333", "1111222233334", "11112222333x"].into_iter().any(is_account));
        assert!(["a", "kube-system", "0"].into_iter().all(is_dns_label) && is_dns_label(&"a".repeat(63)));
        assert!(!["", "-a", "a-", "A", "a.b", "a_b"].into_iter().any(is_dns_label) && !is_dns_label(&"a".repeat(64)));
    }
}
