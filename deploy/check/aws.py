#!/usr/bin/env python3
"""Checks the AWS documents that `generate` writes with AWS's own models: parliament for policies, cfn-lint for the template,
and botocore's parameter checks together with moto for dashboard and alarms.

    deploy/check/aws.py HELPER        HELPER is the built cni-metrics-helper
"""

import json
import os
import subprocess
import sys

import boto3
from cfnlint.api import lint_all
from moto import mock_aws
from parliament import analyze_policy_string

HELPER = sys.argv[1]
CLUSTER = ["--cluster-id", "orders"]
REGIONS = ["eu-west-1", "us-gov-west-1", "cn-north-1"]
FAULTS = []


def generate(*arguments):
    return subprocess.run([HELPER, "generate", *arguments], check=True, capture_output=True, text=True).stdout


def check(what, faults):
    print(f"{'ok  ' if not faults else 'FAIL'} {what}")
    FAULTS.extend(f"{what}: {fault}" for fault in faults)


def policies():
    # parliament reads identity policies; trust policies have a Principal, which it reads as a resource policy.
    for arguments in (["iam-policy"], ["iam-policy", "--with-tags"]):
        findings = analyze_policy_string(generate(*arguments)).findings
        check("parliament " + " ".join(arguments), [str(finding) for finding in findings])
    broken = generate("iam-policy").replace("cloudwatch:PutMetricData", "cloudwatch:PutMetrics")
    check("parliament finds an unknown action", [] if analyze_policy_string(broken).findings else ["it does not"])


def trusts(region):
    """IAM's own grammar for trust policies, as far as moto knows it."""
    iam = boto3.client("iam", region_name=region)
    irsa = ["--account-id", "111122223333", "--oidc-provider", f"oidc.eks.{region}.amazonaws.com/id/EXAMPLE"]
    for number, arguments in enumerate((["--trust", "pod-identity"], ["--trust", "irsa", *irsa])):
        document = generate("iam-policy", *arguments, "--region", region, *CLUSTER)
        iam.create_role(RoleName=f"role-{number}", AssumeRolePolicyDocument=document)
    iam.create_policy(PolicyName="policy", PolicyDocument=generate("iam-policy", "--with-tags"))
    check(f"trust policies {region}", [])


def dashboard_and_alarms(region, shards, count):
    cloudwatch = boto3.client("cloudwatch", region_name=region)
    body = generate("cloudwatch-dashboard", "--region", region, *shards, *CLUSTER)
    refused = cloudwatch.put_dashboard(DashboardName="orders", DashboardBody=body).get("DashboardValidationMessages", [])
    check(" ".join(["put-dashboard", region, *shards]), [str(message) for message in refused])

    alarms = json.loads(generate("cloudwatch-alarms", "--eni-percent", "95", "--region", region, *shards, *CLUSTER))
    for alarm in alarms:
        # Unknown or misspelt parameters are refused by botocore's model of the API.
        cloudwatch.put_metric_alarm(**alarm)
    stored = {alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    wanted = {alarm["AlarmName"] for alarm in alarms}
    complete = stored == wanted and len(wanted) == count
    check(" ".join(["put-metric-alarm", region, *shards, f"{len(alarms)} alarms"]), [] if complete else [str(stored)])


def template(region, shards):
    # cfn-lint goes by the type's registered schema.
    text = generate("cloudwatch-alarms", "--eni-percent", "95", "--format", "cloudformation", "--region", region, *shards, *CLUSTER)
    # Errors and warnings only; its notes are about style.
    check(" ".join(["cfn-lint", region, *shards]), [str(match) for match in lint_all(text) if match.rule.id[0] in "EW"])
    broken = lint_all(text.replace("DatapointsToAlarm", "DatapointToAlarm"))
    check("cfn-lint finds a misspelt property", [] if any(match.rule.id[0] == "E" for match in broken) else ["it does not"])


def main():
    os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", AWS_EC2_METADATA_DISABLED="true")
    policies()
    for region in REGIONS:
        with mock_aws():
            trusts(region)
            dashboard_and_alarms(region, [], 6)
        template(region, [])
    shards = ["--shards", "5"]
    with mock_aws():
        dashboard_and_alarms(REGIONS[0], shards, 10)
    template(REGIONS[0], shards)
    for fault in FAULTS:
        print(fault, file=sys.stderr)
    sys.exit(1 if FAULTS else 0)


main()
