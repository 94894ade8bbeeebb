"""What the tests share: clients of two accounts, and how a refusal looks."""

import os
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT, OTHER = os.environ["ACCOUNT"], os.environ["OTHER"]
config = Config(retries={"max_attempts": 0})
ec2 = boto3.client("ec2", config=config)
resource = boto3.resource("ec2", config=config)
other = boto3.client(
    "ec2", config=config, aws_access_key_id=os.environ["OTHER_KEY"], aws_secret_access_key=os.environ["OTHER_SECRET"]
)


def new_vpc(block="10.0.0.0/16", client=ec2, **parameters):
    return client.create_vpc(CidrBlock=block, **parameters)["Vpc"]["VpcId"]


def new_group(vpc, name=None, client=ec2):
    name = name or "group-" + uuid.uuid4().hex
    return client.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]


def permission(protocol, first=None, last=None, **sources):
    p = {"IpProtocol": protocol, **sources}
    if first is not None:
        p["FromPort"], p["ToPort"] = first, first if last is None else last
    return p


def refusal(call, **parameters):
    """The code, message and HTTP status that the call is refused with."""
    try:
        answer = call(**parameters)
    except ClientError as e:
        assert e.response["ResponseMetadata"]["RequestId"], e.response
        return e.response["Error"]["Code"], e.response["Error"]["Message"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("it was not refused, but answered %s" % answer)
