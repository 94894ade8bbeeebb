"""Instances through boto3: client, resources and waiters."""

import unittest

from botocore.exceptions import WaiterError

from calls import ec2, new_group, new_vpc, refusal, resource

IMAGE = "ami-00000000000000001"


class Instances(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vpc = new_vpc("10.50.0.0/16")
        cls.subnet = ec2.create_subnet(VpcId=cls.vpc, CidrBlock="10.50.1.0/24")["Subnet"]["SubnetId"]
        cls.launched = []

    @classmethod
    def tearDownClass(cls):
        ec2.terminate_instances(InstanceIds=cls.launched)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=cls.launched, WaiterConfig={"Delay": 1})

    def run_instance(self, **parameters):
        asked = {"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": self.subnet, **parameters}
        instance = ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
        self.launched.append(instance)
        return instance

    def wait(self, name, instance, **attempts):
        ec2.get_waiter(name).wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, **attempts})

    # G125 G126 G127
    def test_groups_of_an_instance(self):
        web, db = new_group(self.vpc, "web"), new_group(self.vpc, "db")
        instance = resource.Instance(self.run_instance(SecurityGroupIds=[web]))
        instance.wait_until_exists()
        instance.wait_until_running()
        self.assertEqual([g["GroupName"] for g in instance.security_groups], ["web"])
        instance.modify_attribute(Groups=[db])
        instance.reload()
        self.assertEqual([g["GroupName"] for g in instance.security_groups], ["db"])
        self.assertEqual([g["GroupId"] for g in instance.describe_attribute(Attribute="groupSet")["Groups"]], [db])
        self.assertEqual([g["GroupId"] for i in instance.network_interfaces for g in i.groups], [db])
        ec2.delete_security_group(GroupId=web)
        self.assertEqual(refusal(ec2.delete_security_group, GroupId=db)[0], "DependencyViolation")
        self.assertEqual([i.id for i in resource.instances.filter(Filters=[{"Name": "instance.group-id", "Values": [db]}])], [instance.id])
        instance.create_tags(Tags=[{"Key": "Name", "Value": "one"}])
        instance.reload()
        self.assertEqual(instance.tags, [{"Key": "Name", "Value": "one"}])

    def test_states_and_waiters(self):
        instance = self.run_instance()
        for waiter in ("instance_exists", "instance_running", "instance_status_ok", "system_status_ok"):
            self.wait(waiter, instance)
        ec2.stop_instances(InstanceIds=[instance])
        self.wait("instance_stopped", instance)
        ec2.start_instances(InstanceIds=[instance])
        self.wait("instance_running", instance)
        with self.assertRaises(WaiterError):
            self.wait("instance_stopped", instance, MaxAttempts=1)
        ec2.terminate_instances(InstanceIds=[instance])
        self.wait("instance_terminated", instance)
        with self.assertRaises(WaiterError) as caught:
            self.wait("instance_running", instance)
        self.assertIn("terminal failure state", str(caught.exception))

    # What a retry sends again starts one instance.
    def test_client_token(self):
        first, again = (self.run_instance(ClientToken="one-instance") for _ in range(2))
        self.assertEqual(first, again)
        got = refusal(ec2.run_instances, ImageId=IMAGE, InstanceType="t3.small", MinCount=1, MaxCount=1, SubnetId=self.subnet, ClientToken="one-instance")
        self.assertEqual(got[0], "IdempotentParameterMismatch")

    def test_pages(self):
        made = {self.run_instance() for _ in range(6)}
        paginator = ec2.get_paginator("describe_instances")
        own = [{"Name": "instance-id", "Values": sorted(made)}]
        pages = list(paginator.paginate(Filters=own, PaginationConfig={"PageSize": 5}))
        seen = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
        self.assertEqual(len(pages), 2)
        self.assertCountEqual(seen, made)
        status = list(ec2.get_paginator("describe_instance_status").paginate(Filters=[], PaginationConfig={"PageSize": 5}))
        told = [s["InstanceId"] for page in status for s in page["InstanceStatuses"]]
        self.assertEqual(len(told), len(set(told)))
        self.assertLessEqual(made, set(told))
