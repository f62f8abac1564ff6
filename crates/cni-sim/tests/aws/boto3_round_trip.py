"""Puts metrics and reads them back with boto3, once for each protocol that CloudWatch's model offers."""

import datetime

import boto3
import botocore.exceptions
import botocore.loaders
from botocore.config import Config

NOW = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0)


def client(protocol):
    """A CloudWatch client that speaks `protocol`, by leaving it as the only one in the service's model."""
    session = boto3.Session()
    loader = session._session.get_component("data_loader")
    load = loader.load_service_model

    def only(service, kind, *args, **kwargs):
        model = load(service, kind, *args, **kwargs)
        if service == "cloudwatch" and kind == "service-2":
            model = {**model, "metadata": {**model["metadata"], "protocol": protocol, "protocols": [protocol]}}
        return model

    loader.load_service_model = only
    made = session.client("cloudwatch", config=Config(retries={"total_max_attempts": 1}))
    assert made.meta.service_model.resolved_protocol == protocol
    return made


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} did not come")


def round_trip(protocol):
    cloudwatch = client(protocol)
    namespace = "Trip/" + protocol
    dimensions = [{"Name": "CLUSTER_ID", "Value": "prod & <test>"}]
    points = [(600, 1.0), (570, 3.0), (540, 10.0), (60, 1e300 / 1e200)]
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {
                "MetricName": "assignIPAddresses",
                "Dimensions": dimensions,
                "Timestamp": NOW - datetime.timedelta(seconds=age),
                "Value": value,
                "Unit": "Count",
            }
            for age, value in points
        ],
    )
    # Large enough for the SDK to pack it.
    many = [{"MetricName": f"many{i:04}", "Dimensions": dimensions, "Value": float(i)} for i in range(1000)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=many)

    message = refused(
        "InvalidParameterValue",
        cloudwatch.put_metric_data,
        Namespace=namespace,
        MetricData=[{"MetricName": "bad", "Value": 1.0, "Timestamp": NOW - datetime.timedelta(days=15)}],
    )
    assert "MetricData.member.1.Timestamp" in message, message
    refused("MissingParameter", cloudwatch.put_metric_data, Namespace=namespace, MetricData=[{"MetricName": "empty"}])
    refused("InvalidAction", cloudwatch.describe_alarms)
    if protocol != "json":  # The SDK itself refuses to write NaN as a JSON number elsewhere.
        refused(
            "InvalidParameterValue",
            cloudwatch.put_metric_data,
            Namespace=namespace,
            MetricData=[{"MetricName": "bad", "Value": float("nan")}],
        )

    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    names = [metric["MetricName"] for page in pages for metric in page["Metrics"]]
    assert len(pages) == 3 and len(names) == 1001 and len(set(names)) == 1001, (len(pages), len(names))
    found = cloudwatch.list_metrics(Namespace=namespace, MetricName="assignIPAddresses", Dimensions=dimensions)
    assert [metric["Dimensions"] for metric in found["Metrics"]] == [dimensions], found
    other = [{"Name": "CLUSTER_ID", "Value": "other"}]
    assert cloudwatch.list_metrics(Namespace=namespace, Dimensions=other)["Metrics"] == []

    window = {"StartTime": NOW - datetime.timedelta(minutes=11), "EndTime": NOW + datetime.timedelta(minutes=1)}
    statistics = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName="assignIPAddresses",
        Dimensions=dimensions,
        Period=60,
        Statistics=["Average", "Maximum", "SampleCount"],
        ExtendedStatistics=["p50"],
        **window,
    )
    by_time = sorted(statistics["Datapoints"], key=lambda point: point["Timestamp"])
    assert [point["Average"] for point in by_time] == [2.0, 10.0, 1e100], statistics
    assert [point["SampleCount"] for point in by_time] == [2.0, 1.0, 1.0], statistics
    assert by_time[0]["ExtendedStatistics"]["p50"] == 1.0 and by_time[0]["Unit"] == "Count"
    assert by_time[0]["Timestamp"] == NOW - datetime.timedelta(minutes=10), by_time[0]

    metric = {"Namespace": namespace, "MetricName": "assignIPAddresses", "Dimensions": dimensions}
    queries = [
        {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}},
        {"Id": "b", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Maximum"}, "ReturnData": False},
        {"Id": "e", "Expression": "a * 100 / 2", "Label": "math"},
    ]
    paginator = cloudwatch.get_paginator("get_metric_data")
    values = {}
    pages = 0
    for page in paginator.paginate(
        MetricDataQueries=queries, ScanBy="TimestampAscending", PaginationConfig={"PageSize": 2}, **window
    ):
        pages += 1
        for result in page["MetricDataResults"]:
            values.setdefault(result["Label"], []).extend(zip(result["Timestamps"], result["Values"]))
    assert pages == 3, pages
    assert [value for _, value in values["assignIPAddresses"]] == [4.0, 10.0, 1e100], values
    assert [value for _, value in values["math"]][:2] == [200.0, 500.0], values
    newest_first = cloudwatch.get_metric_data(MetricDataQueries=queries[:1], **window)["MetricDataResults"][0]
    assert newest_first["Values"] == [1e100, 10.0, 4.0] and newest_first["StatusCode"] == "Complete", newest_first
    refused(
        "InvalidParameterValue",
        cloudwatch.get_metric_statistics,
        Period=61,
        Statistics=["Sum"],
        **metric,
        **window,
    )


def ec2_and_sts():
    ec2 = boto3.client("ec2")
    subnets = ec2.describe_subnets(Filters=[{"Name": "tag:Name", "Values": ["private & a"]}])["Subnets"]
    assert [(s["SubnetId"], s["AvailableIpAddressCount"]) for s in subnets] == [("subnet-a", 8187)], subnets
    interfaces = [
        eni
        for page in ec2.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5})
        for eni in page["NetworkInterfaces"]
    ]
    assert len(interfaces) == 6
    assert interfaces[0]["Ipv4Prefixes"] == [{"Ipv4Prefix": "10.0.16.0/28"}], interfaces[0]
    assert [a["Primary"] for a in interfaces[0]["PrivateIpAddresses"]] == [True, False]
    assert interfaces[1]["Attachment"]["DeviceIndex"] == 1 and "Attachment" not in interfaces[5]
    tags = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": ["i-00000000000000000"]}])["Tags"]
    assert {t["Key"]: t["Value"] for t in tags} == {"eks:cluster-name": "prod", "Name": "node"}, tags
    assert all(t["ResourceType"] == "instance" for t in tags)
    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert len(instances) == 3 and instances[0]["State"] == {"Code": 16, "Name": "running"}
    reservations = ec2.get_subnet_cidr_reservations(SubnetId="subnet-a")["SubnetIpv4CidrReservations"]
    assert reservations[0]["Cidr"] == "10.0.16.0/20", reservations
    refused("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-x"])
    assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"


if __name__ == "__main__":
    for name in ("smithy-rpc-v2-cbor", "json", "query"):
        round_trip(name)
    ec2_and_sts()
