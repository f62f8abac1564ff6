//! What to tell an operator whose role may not put metrics.

use cni_types::iam::{POLICY_VERSION, PUBLISH, Statement};

/// The smallest policy with which publishing works, as JSON.
pub fn minimal_policy(namespace: &str) -> String {
    let Statement { sid, action, namespace_key, .. } = PUBLISH;
    let mut statement = serde_json::json!({ "Sid": sid, "Effect": "Allow", "Action": action, "Resource": "*" });
    if let Some(key) = namespace_key {
        statement["Condition"] = serde_json::json!({ "StringEquals": { key: namespace } });
    }
    let policy = serde_json::json!({ "Version": POLICY_VERSION, "Statement": [statement] });
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
