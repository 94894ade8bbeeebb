"""Groups and rules through boto3's client: shapes, codes and statuses."""

import unittest

import boto3
from botocore.config import Config

from calls import ACCOUNT, OTHER, config, ec2, new_group, new_vpc, other, permission, refusal

ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]


class Groups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vpc = new_vpc()

    def described(self, group):
        return ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]

    # G100 G101 G102 G12 G13
    def test_create_and_describe(self):
        made = ec2.create_security_group(GroupName="web", Description="web servers", VpcId=self.vpc)
        del made["ResponseMetadata"]
        arn = "arn:aws:ec2:us-east-1:%s:security-group/%s" % (ACCOUNT, made["GroupId"])
        self.assertEqual(made, {"GroupId": made["GroupId"], "SecurityGroupArn": arn})
        everything = {"IpProtocol": "-1", "IpRanges": ANYWHERE, "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}
        self.assertEqual(
            self.described(made["GroupId"]),
            {
                "GroupId": made["GroupId"], "GroupName": "web", "Description": "web servers", "VpcId": self.vpc,
                "OwnerId": ACCOUNT, "SecurityGroupArn": arn, "IpPermissions": [], "IpPermissionsEgress": [everything],
            },
        )

    # G114 G37 G42
    def test_authorize_answers_the_rules(self):
        group, db = new_group(self.vpc), new_group(self.vpc)
        sources = {
            "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "ours"}], "Ipv6Ranges": [{"CidrIpv6": "2001:DB8::/32"}],
            "UserIdGroupPairs": [{"GroupId": db}],
        }
        rules = ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[permission("TCP", 22, **sources)],
            TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "a", "Value": "b"}]}],
        )["SecurityGroupRules"]
        seen = []
        for rule in rules:
            self.assertEqual(
                (rule["GroupId"], rule["GroupOwnerId"], rule["IsEgress"], rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["Tags"]),
                (group, ACCOUNT, False, "tcp", 22, 22, [{"Key": "a", "Value": "b"}]),
            )
            seen.append((rule.get("CidrIpv4"), rule.get("CidrIpv6"), rule.get("ReferencedGroupInfo"), rule.get("Description")))
        pair = {"GroupId": db, "UserId": ACCOUNT}
        self.assertCountEqual(seen, [("10.0.0.0/8", None, None, "ours"), (None, "2001:db8::/32", None, None), (None, None, pair, None)])
        self.assertEqual(self.described(group)["IpPermissions"], [
            {
                "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": sources["IpRanges"],
                "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}], "PrefixListIds": [], "UserIdGroupPairs": [pair],
            }
        ])

    # What was described is revoked, and authorised again in another group. G116 G117 G118
    def test_round_trip(self):
        group, copy = new_group(self.vpc), new_group(self.vpc)
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
            permission("tcp", 80, 90, IpRanges=ANYWHERE, Ipv6Ranges=[{"CidrIpv6": "::/0", "Description": "all"}]),
            permission("-1", UserIdGroupPairs=[{"GroupId": group, "Description": "us"}]),
            permission("icmp", 8, -1, IpRanges=[{"CidrIp": "10.0.0.0/8"}]),
            permission("icmpv6", Ipv6Ranges=[{"CidrIpv6": "2001:db8::/48"}]),
            permission("50", IpRanges=[{"CidrIp": "10.0.0.0/8"}]),
        ])
        was = self.described(group)
        ec2.authorize_security_group_ingress(GroupId=copy, IpPermissions=was["IpPermissions"])
        self.assertEqual(self.described(copy)["IpPermissions"], was["IpPermissions"])
        self.assertTrue(ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=was["IpPermissions"])["Return"])
        self.assertTrue(ec2.revoke_security_group_egress(GroupId=group, IpPermissions=was["IpPermissionsEgress"])["Return"])
        now = self.described(group)
        self.assertEqual((now["IpPermissions"], now["IpPermissionsEgress"]), ([], []))

    def test_revoke_of_nothing(self):
        gone = permission("tcp", 7, IpRanges=ANYWHERE)
        group = new_group(self.vpc)
        code, message, status = refusal(ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=[gone])
        self.assertEqual((code, status), ("InvalidPermission.NotFound", 400))
        self.assertIn("The specified rule does not exist in this security group.", message)
        default = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
        answer = ec2.revoke_security_group_ingress(GroupId=default, IpPermissions=[gone])
        self.assertTrue(answer["Return"])
        unknown = answer["UnknownIpPermissions"]
        self.assertEqual([(p["IpProtocol"], p["FromPort"], p["IpRanges"]) for p in unknown], [("tcp", 7, ANYWHERE)])

    # G119 G120
    def test_descriptions(self):
        group = new_group(self.vpc)
        rule = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission("tcp", 22, IpRanges=ANYWHERE)])["SecurityGroupRules"][0]
        for sent, told in (("first", "first"), ("", None)):
            ec2.update_security_group_rule_descriptions_ingress(
                GroupId=group, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "Description": sent}]
            )
            now = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])["SecurityGroupRules"][0]
            self.assertEqual(now.pop("Description", None), told)
            self.assertEqual(now.pop("Tags"), [])
            self.assertEqual(now, rule)
        ec2.update_security_group_rule_descriptions_egress(
            GroupId=group, IpPermissions=[permission("-1", IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "out"}])]
        )
        self.assertEqual(self.described(group)["IpPermissionsEgress"][0]["IpRanges"], [{"CidrIp": "0.0.0.0/0", "Description": "out"}])

    def test_refusals(self):
        group = new_group(self.vpc, "refused")
        allow = ec2.authorize_security_group_ingress
        default = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}, {"Name": "group-name", "Values": ["default"]}])
        default = default["SecurityGroups"][0]["GroupId"]
        everyone = [permission("tcp", 22, IpRanges=ANYWHERE)]
        allow(GroupId=group, IpPermissions=everyone)
        for code, status, call, parameters in (
            ("InvalidGroup.Duplicate", 400, ec2.create_security_group, {"GroupName": "refused", "Description": "x", "VpcId": self.vpc}),
            ("InvalidGroup.NotFound", 400, ec2.delete_security_group, {"GroupId": "sg-00000000000000000"}),
            ("InvalidGroupId.Malformed", 400, ec2.delete_security_group, {"GroupId": "group"}),
            ("CannotDelete", 400, ec2.delete_security_group, {"GroupId": default}),
            ("DryRunOperation", 412, ec2.delete_security_group, {"GroupId": group, "DryRun": True}),
            ("MissingParameter", 400, ec2.delete_security_group, {}),
            ("InvalidPermission.Duplicate", 400, allow, {"GroupId": group, "IpPermissions": everyone}),
            ("InvalidParameterValue", 400, allow, {"GroupId": group, "IpPermissions": [permission("tcp", 22)]}),
            ("InvalidParameterValue", 400, allow, {"GroupId": group, "IpPermissions": [permission("tcp", IpRanges=ANYWHERE)]}),
            ("InvalidParameterValue", 400, allow, {"GroupId": group, "IpPermissions": [permission("tcp", 22, IpRanges=[{"CidrIp": "10.0.0.1"}])]}),
            ("MissingParameter", 400, allow, {"GroupId": group, "IpPermissions": []}),
            ("InvalidParameterCombination", 400, allow, {"GroupId": group, "IpPermissions": everyone, "CidrIp": "10.0.0.0/8"}),
            ("InvalidVpcID.NotFound", 400, ec2.describe_stale_security_groups, {"VpcId": "vpc-00000000000000000"}),
            ("InvalidGroup.NotFound", 400, other.describe_security_groups, {"GroupIds": [group]}),
        ):
            with self.subTest(code=code, call=call.__name__):
                got = refusal(call, **parameters)
                self.assertEqual((got[0], got[2]), (code, status), got)

    def test_wrong_secret(self):
        wrong = boto3.client("ec2", config=config, aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="wrong")
        code, message, status = refusal(wrong.describe_vpcs)
        self.assertEqual((code, status), ("AuthFailure", 401))
        self.assertIn("AWS was not able to validate the provided access credentials", message)

    # An answer that got lost is asked for again with the same token, and nothing is made twice.
    def test_client_token(self):
        subnet = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.9.0/24")["Subnet"]["SubnetId"]
        asked = {"SubnetId": subnet, "ClientToken": "once", "Description": "made once"}
        first, again = (ec2.create_network_interface(**asked)["NetworkInterface"]["NetworkInterfaceId"] for _ in range(2))
        self.assertEqual(first, again)
        made = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet]}])["NetworkInterfaces"]
        self.assertEqual([i["NetworkInterfaceId"] for i in made], [first])
        asked["Description"] = "another"
        self.assertEqual(refusal(ec2.create_network_interface, **asked)[0], "IdempotentParameterMismatch")

    # botocore's own retries give up on a refusal at once, and say how often they tried.
    def test_refusals_are_not_retried(self):
        client = boto3.client("ec2", config=Config(retries={"max_attempts": 4, "mode": "standard"}))
        with self.assertRaises(client.exceptions.ClientError) as caught:
            client.delete_security_group(GroupId="sg-00000000000000000")
        self.assertEqual(caught.exception.response["ResponseMetadata"]["RetryAttempts"], 0)

    def test_caller_identity(self):
        sts = boto3.client("sts", config=config)
        who = sts.get_caller_identity()
        self.assertEqual(who["Account"], ACCOUNT)
        self.assertIn(ACCOUNT, who["Arn"])
        self.assertNotEqual(ACCOUNT, OTHER)

    def test_presigned(self):
        import urllib.request

        url = ec2.generate_presigned_url("describe_security_groups", Params={"GroupNames": ["default"]}, HttpMethod="GET")
        with urllib.request.urlopen(url) as answer:
            self.assertIn(b"<groupName>default</groupName>", answer.read())
