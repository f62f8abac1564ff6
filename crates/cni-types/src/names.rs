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
