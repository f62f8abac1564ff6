"""Lets boto3 find credentials the three ways a pod can: web identity, the Pod Identity agent, the instance's role."""

import os
import tempfile

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    del os.environ[name]

import boto3


def put(source):
    boto3.Session().client("cloudwatch").put_metric_data(
        Namespace="Credentials", MetricData=[{"MetricName": source, "Value": 1.0}]
    )


def token(text):
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(text)
    return file.name


def within(environment, source):
    os.environ.update(environment)
    put(source)
    for name in environment:
        del os.environ[name]
        if name.startswith("AWS_WEB") or name.endswith("TOKEN_FILE"):
            os.unlink(environment[name])


within(
    {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/helper", "AWS_WEB_IDENTITY_TOKEN_FILE": token("jwt-from-file")},
    "irsa",
)
within(
    {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": os.environ["SIM_AGENT"] + "v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token("pod-token-from-file"),
    },
    "podIdentity",
)
within(
    {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": os.environ["SIM_IMDS"]},
    "imds",
)
