//! A round's values as fields of its line: `assignIPAddresses=448` in text, `"assignIPAddresses":448` in JSON.

use cni_metrics_core::model::Snapshot;
use cni_types::catalogue::{METRICS, Metric};
use tracing::Value;
use tracing::field::Empty;

use crate::selection::Selection;

/// Writes a line with a field for each metric that was measured. The log library wants the names of fields in the code, so
/// this is the catalogue's list of published names once more.
macro_rules! write_fields {
    ($text:ident, $value:ident: $($name:ident $metric:ident),+ $(,)?) => {{
        const _: () = assert!([$(Metric::$metric),+].len() == METRICS, "each metric of the catalogue has a field");
        tracing::info!($($name = $value(Metric::$metric),)+ "{}", $text);
    }};
}

/// Writes the round's line: `text`, and the values of these metrics.
#[rustfmt::skip] // a table is read by columns
pub(super) fn write(text: &str, snapshot: &Snapshot, selection: &Selection) {
    let value = |metric| field(snapshot.metrics.get(metric).filter(|_| selection.contains(metric)));
    write_fields!(text, value:
        assignIPAddresses        AssignIpAddresses,
        totalIPAddresses         TotalIpAddresses,
        totalIPv4Prefixes        TotalIpv4Prefixes,
        totalAssignedIPv4sPerCidr TotalAssignedIpv4sPerCidr,
        eniAllocated             EniAllocated,
        eniMaxAvailable          EniMaxAvailable,
        maxIPAddresses           MaxIpAddresses,
        ipamdActionInProgress    IpamdActionInProgress,
        awsAPILatency            AwsApiLatency,
        awsAPIErr                AwsApiErr,
        awsUtilErr               AwsUtilErr,
        ipamdErr                 IpamdErr,
        reconcileCount           ReconcileCount,
        addReqCount              AddReqCount,
        delReqCount              DelReqCount,
        podENIErr                PodEniErr,
        forceRemoveENI           ForceRemoveEni,
        forceRemoveIPs           ForceRemoveIps,
        ec2ApiReqCount           Ec2ApiReqCount,
        ec2ApiErrCount           Ec2ApiErrCount,
        noAvailableIPAddresses   NoAvailableIpAddresses,
        nodesExpected            NodesExpected,
        nodesScraped             NodesScraped,
    );
}

/// Whole numbers as such, others to three places; nothing where nothing was measured.
fn field(value: Option<f64>) -> Box<dyn Value> {
    const WHOLE: f64 = 9_007_199_254_740_992.0; // 2^53
    match value {
        None => Box::new(Empty),
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
        Some(value) if value.fract() == 0.0 && value.abs() <= WHOLE => Box::new(value as i64),
        Some(value) => Box::new((value * 1000.0).round() / 1000.0),
    }
}
