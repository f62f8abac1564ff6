package main

import (
	"github.com/aws/amazon-vpc-cni-k8s/utils/prometheusmetrics"
	"github.com/prometheus/client_golang/prometheus"
)

// resetMetrics makes the original's metrics those of a new process, but for counters without labels: the view subtracts what
// they had.
func resetMetrics() {
	for _, vector := range []interface{ Reset() }{
		prometheusmetrics.IpamdErr, prometheusmetrics.IpamdActionsInprogress, prometheusmetrics.ReconcileCnt, prometheusmetrics.DelIPCnt,
		prometheusmetrics.PodENIErr, prometheusmetrics.AwsAPILatency, prometheusmetrics.AwsAPIErr, prometheusmetrics.AwsUtilsErr,
		prometheusmetrics.Ec2ApiReq, prometheusmetrics.Ec2ApiErr, prometheusmetrics.SagemakerApiReq, prometheusmetrics.SagemakerApiErr,
		prometheusmetrics.IpsPerCidr, prometheusmetrics.EniIPsInUse, prometheusmetrics.IpamdStartupDuration,
		prometheusmetrics.IpamdNodeInitDuration, prometheusmetrics.ConnmarkBackend,
	} {
		vector.Reset()
	}
	for _, gauge := range []prometheus.Gauge{
		prometheusmetrics.EnisMax, prometheusmetrics.IpMax, prometheusmetrics.Enis, prometheusmetrics.TotalIPs,
		prometheusmetrics.AssignedIPs, prometheusmetrics.TotalPrefixes,
	} {
		gauge.Set(0)
	}
}
