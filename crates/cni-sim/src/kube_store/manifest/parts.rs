//! What several manifests have: times and status conditions.

use crate::kube_store::json::Json;

/// A point in simulated time as the API shows it: whole seconds, UTC.
pub fn rfc3339(at_ms: i64) -> String {
    let second = at_ms.div_euclid(1000);
    // Outside jiff's range (year -9999 to 9999) no scenario starts; the epoch is as good as any answer there.
    jiff::Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// One status condition.
pub(super) fn write_condition(json: &mut Json, kind: &str, status: bool, since_ms: i64, extra: &[(&str, &str)]) {
    json.object(|json| {
        json.str_at("type", kind);
        json.str_at("status", if status { "True" } else { "False" });
        for (key, value) in extra {
            json.str_at(key, value);
        }
        json.str_at("lastTransitionTime", &rfc3339(since_ms));
    });
}
