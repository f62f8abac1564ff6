//! What to tell an operator whose role may not put metrics.

/// The smallest policy with which publishing works, as JSON.
pub fn minimal_policy(namespace: &str) -> String {
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "PublishCniMetrics",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": { "StringEquals": { "cloudwatch:namespace": namespace } },
        }],
    });
    format!("{policy:#}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_policy_allows_one_action_in_one_namespace() {
        let policy: serde_json::Value = serde_json::from_str(&super::minimal_policy("My \"space\"")).unwrap();
        assert_eq!(policy["Statement"][0]["Action"], "cloudwatch:PutMetricData");
        assert_eq!(policy["Statement"][0]["Condition"]["StringEquals"]["cloudwatch:namespace"], "My \"space\"");
    }
}
