//! What the helper's IAM policy allows, and why: one row per statement, from which the generated policy, its explanation, the
//! policy in the log and the table in `docs/install.md` are made.

/// One statement of the policy. Its effect is Allow and its resource `*`: neither action has a resource to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The statement's id.
    pub sid: &'static str,
    /// The action that it allows.
    pub action: &'static str,
    /// The condition key that must equal the CloudWatch namespace; `None` where nothing limits the action.
    pub namespace_key: Option<&'static str>,
    /// What the helper needs it for.
    pub needed_for: &'static str,
    /// What limits it.
    pub limited_by: &'static str,
    /// What happens without it.
    pub without: &'static str,
    /// Why it is in the policy, as a paragraph; `{namespace}` stands for the CloudWatch namespace.
    pub reason: &'static str,
}

/// Publishing: always needed where the helper publishes to CloudWatch.
pub const PUBLISH: Statement = Statement {
    sid: "PublishCniMetrics",
    action: "cloudwatch:PutMetricData",
    namespace_key: Some("cloudwatch:namespace"),
    needed_for: "publishing to CloudWatch (`USE_CLOUDWATCH`)",
    limited_by: "the condition `cloudwatch:namespace`; the action has no resource to name",
    without: "nothing reaches CloudWatch; the log says `not allowed` and shows this policy",
    reason: "the helper sends its figures with PutMetricData. CloudWatch has no resource to name for that action, so the \
             resource is `*`; the condition on `cloudwatch:namespace` limits it to the namespace `{namespace}` all the same: \
             with these credentials no one can write into AWS/EC2 or another team's namespace.",
};

/// The cluster's name from the tags of the helper's instance; optional.
pub const FIND_CLUSTER_NAME: Statement = Statement {
    sid: "FindClusterNameInInstanceTags",
    action: "ec2:DescribeTags",
    namespace_key: None,
    needed_for: "the cluster's name from the instance's tags, if `AWS_CLUSTER_ID` is not set and instance metadata does not \
                 offer tags (`--with-tags`)",
    limited_by: "EC2's Describe actions cannot be limited",
    without: "the next source of the name is asked",
    reason: "where AWS_CLUSTER_ID is not set and the instance metadata service does not show tags, the helper reads its \
             instance's tags `eks:cluster-name`, `CLUSTER_ID` and `Name` to name the cluster. EC2's Describe actions cannot \
             be limited to a resource. Set AWS_CLUSTER_ID and leave this out if you can.",
};

/// Every statement, in the policy's order.
pub const STATEMENTS: [Statement; 2] = [PUBLISH, FIND_CLUSTER_NAME];

/// The version of the language in which policies are written.
pub const POLICY_VERSION: &str = "2012-10-17";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_and_say_why() {
        for statement in STATEMENTS {
            assert!(statement.sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "IAM allows letters and digits");
            assert!(statement.action.split_once(':').is_some_and(|(_, action)| !action.is_empty()));
            assert!(
                statement.reason.ends_with('.') && !statement.needed_for.is_empty() && !statement.without.is_empty()
            );
            assert_eq!(statement.namespace_key.is_some(), statement.reason.contains("{namespace}"));
        }
        assert_ne!(PUBLISH.sid, FIND_CLUSTER_NAME.sid);
    }
}
