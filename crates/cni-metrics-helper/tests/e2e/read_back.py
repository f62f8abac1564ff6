"""Reads CloudWatch back with boto3: prints one JSON object, metric name to {sum, minimum, maximum, samples, unit}.

Usage: read_back.py NAMESPACE CLUSTER_ID; the endpoint comes from the SDK's own variables. Every metric of the namespace
must have exactly that CLUSTER_ID as its dimension.
"""

import datetime
import json
import sys

import boto3

cloudwatch = boto3.client("cloudwatch")
namespace, cluster_id = sys.argv[1:]
dimensions = [{"Name": "CLUSTER_ID", "Value": cluster_id}]
now = datetime.datetime.now(datetime.timezone.utc)

answer = {}
for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace):
    for metric in page["Metrics"]:
        assert metric["Dimensions"] == dimensions, metric
        statistics = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric["MetricName"],
            Dimensions=dimensions,
            StartTime=now - datetime.timedelta(hours=1),
            EndTime=now + datetime.timedelta(minutes=2),
            Period=60,
            Statistics=["Sum", "Minimum", "Maximum", "SampleCount"],
        )["Datapoints"]
        answer[metric["MetricName"]] = {
            "sum": sum(point["Sum"] for point in statistics),
            "minimum": min(point["Minimum"] for point in statistics),
            "maximum": max(point["Maximum"] for point in statistics),
            "samples": sum(point["SampleCount"] for point in statistics),
            "unit": statistics[0].get("Unit"),
        }
json.dump(answer, sys.stdout, indent=1, sort_keys=True)
