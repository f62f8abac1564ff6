//! The rows. To read another family of ipamd, add a row: everything that names families or published metrics is made
//! from here.
//!
//! Gauges first, then counters; within each the order is that of dashboards and of the Prometheus page, and never changes.
//! Sources: `utils/prometheusmetrics/prometheusmetrics.go` of the VPC CNI for families, labels and versions,
//! `cmd/cni-metrics-helper/metrics/metrics.go` for the published names of the upstream helper.

use super::lists;
use super::row::{MetricFacts, counter, gauge, latency, own};

catalogue! {
    families {
        AssignedIpAddresses => AssignIpAddresses:
            gauge("awscni_assigned_ip_addresses", "assignIPAddresses", "Pod addresses assigned to pods now.")
                .exposed("assigned_ip_addresses", "IPv4 addresses assigned to pods")
                .upstream(5, "The number of IP addresses assigned to pods")
                .of_ipv4();
        TotalIpAddresses => TotalIpAddresses:
            gauge("awscni_total_ip_addresses", "totalIPAddresses", "Pod addresses held by the nodes, assigned or not.")
                .exposed("total_ip_addresses", "IPv4 addresses in the warm pools, assigned or not")
                .upstream(4, "The number of IP addresses in the pools")
                .of_ipv4();
        TotalIpv4Prefixes => TotalIpv4Prefixes:
            gauge("awscni_total_ipv4_prefixes", "totalIPv4Prefixes", "IPv4 /28 prefixes held by the nodes.")
                .exposed("total_ipv4_prefixes", "IPv4 /28 prefixes attached")
                .upstream(6, "The number of IPv4 prefixes in the pools")
                .of_ipv4()
                .since(1, 9, 0);
        AssignedIpPerCidr => TotalAssignedIpv4sPerCidr:
            gauge(
                "awscni_assigned_ip_per_cidr",
                "totalAssignedIPv4sPerCidr",
                "Pod addresses assigned, added up over the attached CIDRs.",
            )
            .exposed("assigned_ip_per_cidr", "IPv4 addresses assigned, summed over CIDRs")
            .of_ipv4()
            .with_labels()
            .since(1, 9, 0)
            .formerly("awscni_assigned_ip_per_ipv4cidr"); // 1.9 only
        EniAllocated => EniAllocated:
            gauge("awscni_eni_allocated", "eniAllocated", "Network interfaces attached and managed.")
                .exposed("eni_allocated", "ENIs attached")
                .upstream(3, "The number of ENIs allocated");
        EniMax => EniMaxAvailable:
            gauge("awscni_eni_max", "eniMaxAvailable", "Network interfaces the nodes could have, less unmanaged ones.")
                .exposed("eni_max", "ENIs that could be attached")
                .upstream(1, "The maximum number of ENIs that can be attached");
        IpMax => MaxIpAddresses:
            gauge("awscni_ip_max", "maxIPAddresses", "Pod addresses the nodes could hold at most.")
                .exposed("ip_max", "IPv4 addresses that could be allocated")
                .upstream(2, "The maximum number of IP addresses that can be allocated")
                .of_ipv4();
        IpamdActionInProgress => IpamdActionInProgress:
            gauge(
                "awscni_ipamd_action_inprogress",
                "ipamdActionInProgress",
                "Pool actions of ipamd that are running now.",
            )
            .exposed("ipamd_actions_in_progress", "ipamd actions under way")
            .with_labels();
        AwsApiLatencyMs => AwsApiLatency:
            latency(
                "awscni_aws_api_latency_ms",
                "awsAPILatency",
                "Highest mean latency of an EC2 operation over nodes and operations in the interval, milliseconds.",
            )
            .exposed(
                "aws_api_latency_max_seconds",
                "Highest mean latency of an EC2 operation within the round's interval",
            )
            .formerly("awscni_aws_api_lantency_ms"); // 1.4 only

        AwsApiErrorCount keeps ["api", "error"] => AwsApiErr:
            counter(
                "awscni_aws_api_error_count",
                "awsAPIErr",
                "EC2 and instance metadata calls that failed with an API error.",
            )
            .exposed("aws_api_errors", "AWS API calls of ipamd that failed")
            .of_errors();
        // `code` is cut from the label `error`, which is the whole text of an error.
        AwsUtilsErrorCount keeps ["fn", "code"] => AwsUtilErr:
            counter(
                "awscni_aws_utils_error_count",
                "awsUtilErr",
                "Failed steps around EC2 calls, such as cleaning up an interface.",
            )
            .exposed("aws_utils_errors", "Errors in ipamd's AWS helper functions")
            .of_errors();
        IpamdErrorCount keeps ["fn"] => IpamdErr:
            counter("awscni_ipamd_error_count", "ipamdErr", "Errors inside ipamd.")
                .exposed("ipamd_errors", "Errors in ipamd")
                .of_errors();
        ReconcileCount keeps ["fn"] => ReconcileCount:
            counter(
                "awscni_reconcile_count",
                "reconcileCount",
                "Addresses and interfaces that reconciliation looked at or swept.",
            )
            .exposed("reconciles", "Addresses and prefixes reconciled");
        AddIpReqCount => AddReqCount:
            counter("awscni_add_ip_req_count", "addReqCount", "Requests for a pod address.")
                .exposed("add_ip_requests", "Requests for a pod address");
        DelIpReqCount keeps ["reason"] => DelReqCount:
            counter("awscni_del_ip_req_count", "delReqCount", "Requests to release a pod address.")
                .exposed("del_ip_requests", "Requests to release a pod address");
        PodEniErrorCount keeps ["fn"] => PodEniErr:
            counter("awscni_pod_eni_error_count", "podENIErr", "Errors while setting up security groups for pods.")
                .exposed("pod_eni_errors", "Errors of pod ENIs")
                .of_errors()
                .since(1, 7, 0);
        ForceRemovedEnis => ForceRemoveEni:
            counter(
                "awscni_force_removed_enis",
                "forceRemoveENI",
                "Network interfaces that vanished while pods used them.",
            )
            .exposed("force_removed_enis", "ENIs removed while they still had pods")
            .since(1, 6, 0);
        ForceRemovedIps => ForceRemoveIps:
            counter("awscni_force_removed_ips", "forceRemoveIPs", "Pod addresses that vanished while pods used them.")
                .exposed("force_removed_ips", "Addresses removed while they were still assigned")
                .since(1, 6, 0);
        Ec2ApiReqCount keeps ["fn"] => Ec2ApiReqCount:
            counter("awscni_ec2api_req_count", "ec2ApiReqCount", "EC2 API calls.")
                .exposed("ec2_api_requests", "EC2 API calls of ipamd")
                .since(1, 12, 1);
        Ec2ApiErrorCount keeps ["fn"] => Ec2ApiErrCount:
            counter("awscni_ec2api_error_count", "ec2ApiErrCount", "EC2 API calls that failed.")
                .exposed("ec2_api_errors", "EC2 API calls of ipamd that failed")
                .of_errors()
                .since(1, 12, 1);
        NoAvailableIpAddresses => NoAvailableIpAddresses:
            counter(
                "awscni_no_available_ip_addresses",
                "noAvailableIPAddresses",
                "Pod addresses refused because the node had none free.",
            )
            .exposed("no_available_ip_addresses", "Pods refused for want of an address")
            .not_upstream()
            .since(1, 16, 0);
    }
    own {
        NodesExpected: own("nodesExpected", "Nodes whose aws-node pod should have answered.");
        NodesScraped: own("nodesScraped", "Nodes whose aws-node pod answered with a readable page.");
    }
}
