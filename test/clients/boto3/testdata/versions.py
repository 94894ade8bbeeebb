"""Every version of the API that botocore has a model of, from 2014 on."""

import unittest

import boto3
import botocore.session

from calls import config, new_vpc, refusal

VERSIONS = botocore.session.Session().get_component("data_loader").list_api_versions("ec2", "service-2")


class Versions(unittest.TestCase):
    def test_every_version(self):
        self.assertGreater(len(VERSIONS), 1)
        for version in VERSIONS:
            with self.subTest(version=version):
                ec2 = boto3.client("ec2", api_version=version, config=config)
                vpc = new_vpc(client=ec2)
                group = ec2.create_security_group(GroupName="old", Description=version, VpcId=vpc)["GroupId"]
                ssh = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
                ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ssh)
                told = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
                self.assertEqual((told["GroupName"], told["Description"], told["VpcId"]), ("old", version, vpc))
                self.assertEqual([(p["IpProtocol"], p["FromPort"], p["IpRanges"]) for p in told["IpPermissions"]], [("tcp", 22, ssh[0]["IpRanges"])])
                ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="udp", FromPort=53, ToPort=53, CidrIp="10.0.0.0/8")
                ec2.revoke_security_group_egress(GroupId=group, IpPermissions=told["IpPermissionsEgress"])
                told = ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroups"][0]
                self.assertEqual((len(told["IpPermissions"]), told["IpPermissionsEgress"]), (2, []))
                self.assertEqual(refusal(ec2.delete_vpc, VpcId=vpc)[0], "DependencyViolation")
                ec2.delete_security_group(GroupId=group)
                ec2.delete_vpc(VpcId=vpc)

    # A VPC of any of these versions has no legacy group. G131
    def test_no_legacy_group(self):
        for version in VERSIONS:
            ec2 = boto3.client("ec2", api_version=version, config=config)
            vpc = new_vpc(client=ec2)
            groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
            ec2.delete_vpc(VpcId=vpc)
            self.assertEqual([g["GroupName"] for g in groups], ["default"])
