"""Puts metrics and reads them back with the aws command line."""

import datetime
import json
import os
import subprocess
import sys


def aws(*arguments, fails=None):
    command = [sys.executable, os.path.join(os.path.dirname(sys.executable), "aws"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if fails:
        assert done.returncode != 0 and fails in done.stderr, (arguments, done.stdout, done.stderr)
        return None
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else None


def stamp(minutes):
    now = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0)
    return (now + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


DIMENSION = "Name=CLUSTER_ID,Value=c1"
PUT = ["cloudwatch", "put-metric-data", "--namespace", "Cli", "--metric-name", "fromCli", "--dimensions", "CLUSTER_ID=c1"]

aws(*PUT, "--value", "7", "--unit", "Count", "--timestamp", stamp(-5))
aws(*PUT, "--statistic-values", "Sum=10,Minimum=1,Maximum=6,SampleCount=4", "--unit", "Count", "--timestamp", stamp(-4))
aws(*PUT, "--value", "1", "--timestamp", stamp(-21 * 24 * 60), fails="InvalidParameterValue")

metrics = aws("cloudwatch", "list-metrics", "--namespace", "Cli", "--dimensions", DIMENSION)["Metrics"]
assert metrics == [
    {"Namespace": "Cli", "MetricName": "fromCli", "Dimensions": [{"Name": "CLUSTER_ID", "Value": "c1"}]}
], metrics

datapoints = aws(
    *["cloudwatch", "get-metric-statistics", "--namespace", "Cli", "--metric-name", "fromCli"],
    *["--dimensions", DIMENSION, "--start-time", stamp(-10), "--end-time", stamp(1)],
    *["--period", "60", "--statistics", "Sum", "Average"],
)["Datapoints"]
sums = [(point["Sum"], point["Average"]) for point in sorted(datapoints, key=lambda point: point["Timestamp"])]
assert sums == [(7.0, 7.0), (10.0, 2.5)], datapoints

queries = [
    {
        "Id": "m1",
        "MetricStat": {
            "Metric": {
                "Namespace": "Cli",
                "MetricName": "fromCli",
                "Dimensions": [{"Name": "CLUSTER_ID", "Value": "c1"}],
            },
            "Period": 600,
            "Stat": "Maximum",
        },
    }
]
results = aws(
    *["cloudwatch", "get-metric-data", "--metric-data-queries", json.dumps(queries)],
    *["--start-time", stamp(-10), "--end-time", stamp(0)],
)["MetricDataResults"]
assert results[0]["Values"] == [7.0], results

subnets = aws("ec2", "describe-subnets", "--filters", "Name=vpc-id,Values=vpc-1")["Subnets"]
assert [subnet["SubnetId"] for subnet in subnets] == ["subnet-a", "subnet-b"], subnets
tags = aws("ec2", "describe-tags", "--filters", "Name=resource-id,Values=i-00000000000000002")["Tags"]
assert len(tags) == 2, tags
