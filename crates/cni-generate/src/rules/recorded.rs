//! What is recorded: one series per cluster, whichever pods of the helper showed the figures.

use cni_types::catalogue::Metric;
use cni_types::node_state::NodeState;

use super::Rule;
use crate::promql::{FIVE_MINUTES, NODE, Scope, ratio};

pub(super) const IP_UTILISATION: &str = "cni_cluster:ip_utilisation:ratio";
pub(super) const ENI_UTILISATION: &str = "cni_cluster:eni_utilisation:ratio";
const WARM: &str = "cni_cluster:warm_ip_addresses:sum";
pub(super) const COVERAGE: &str = "cni_cluster:coverage:ratio";
pub(super) const REFUSING: &str = "cni_cluster:nodes_refusing:sum";
pub(super) const REFUSING_RATIO: &str = "cni_cluster:nodes_refusing:ratio";
pub(super) const FULL_RATIO: &str = "cni_cluster:nodes_full:ratio";
const REFUSED: &str = "cni_cluster:refused_ip_addresses:increase5m";
pub(super) const EC2_ERRORS: &str = "cni_cluster:ec2_api_errors:increase5m";
const NODE_UTILISATION: &str = "cni_node:ip_utilisation:ratio";

pub(super) fn all(scope: &Scope) -> Vec<Rule> {
    use Metric::{
        AssignIpAddresses, Ec2ApiErrCount, EniAllocated, EniMaxAvailable, NoAvailableIpAddresses, NodesExpected,
        NodesScraped, TotalIpAddresses,
    };
    let in_state = |state: NodeState| scope.nodes_in(state.label());
    let sum = |metric| scope.sum_metric(metric);
    let rules = [
        (IP_UTILISATION, scope.ip_utilisation("cluster")),
        (ENI_UTILISATION, ratio(&sum(EniAllocated), &sum(EniMaxAvailable))),
        (WARM, format!("{} - {}", sum(TotalIpAddresses), sum(AssignIpAddresses))),
        (COVERAGE, ratio(&sum(NodesScraped), &sum(NodesExpected))),
        (REFUSING, in_state(NodeState::Refusing)),
        (REFUSING_RATIO, ratio(&in_state(NodeState::Refusing), &sum(NodesExpected))),
        (FULL_RATIO, ratio(&in_state(NodeState::Full), &sum(NodesExpected))),
        (REFUSED, scope.increase(NoAvailableIpAddresses, FIVE_MINUTES)),
        (EC2_ERRORS, scope.increase(Ec2ApiErrCount, FIVE_MINUTES)),
        (NODE_UTILISATION, scope.ip_utilisation(NODE)),
    ];
    rules.into_iter().map(|(record, expr)| Rule::Record { record, expr }).collect()
}
