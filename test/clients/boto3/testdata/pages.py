"""Every paginator gives each object once, in pages of any size; every waiter knows its state."""

import unittest

from botocore.exceptions import WaiterError

from calls import ec2, new_group, new_vpc, refusal

# What pages there can be: the operations of ours that boto3 pages, with what they need to be told.
# Filled in setUpModule: operation → parameters.
PAGED = {}


def setUpModule():
    """A world with more than one page of everything that can be made by the dozen."""
    global vpc, peer, group, interfaces, connection
    vpc = new_vpc()
    peer = new_vpc("10.1.0.0/16")
    group = [new_group(vpc, "paged-%d" % n) for n in range(12)][0]
    ranges = [{"CidrIp": "10.0.0.%d/32" % n} for n in range(13)]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges}])
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.%d.0/24" % n)["Subnet"]["SubnetId"] for n in range(6)]
    interfaces = [ec2.create_network_interface(SubnetId=subnets[0])["NetworkInterface"]["NetworkInterfaceId"] for _ in range(11)]
    ec2.create_tags(Resources=interfaces, Tags=[{"Key": "n", "Value": "x"}, {"Key": "m", "Value": "y"}])
    connection = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=peer)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=connection)
    ec2.associate_security_group_vpc(GroupId=group, VpcId=new_vpc("10.9.0.0/16"))
    gone = [new_group(peer, "gone-%d" % n) for n in range(3)]
    for n, holder in enumerate([new_group(vpc, "stale-%d" % n) for n in range(7)]):
        pair = [{"GroupId": gone[n % 3]}]
        ec2.authorize_security_group_ingress(GroupId=holder, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": pair}])
    for g in gone:
        ec2.delete_security_group(GroupId=g)
    lists = [
        ec2.create_managed_prefix_list(
            PrefixListName="list-%d" % n, AddressFamily="IPv4", MaxEntries=13, Entries=[{"Cidr": r["CidrIp"]} for r in ranges]
        )["PrefixList"]["PrefixListId"]
        for n in range(7)
    ]
    entries = lists[0]
    for n in range(3):
        ec2.create_internet_gateway()
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[n])
        ec2.create_network_acl(VpcId=vpc)
    for holder in [new_group(peer, "lists-%d" % n) for n in range(6)]:
        ec2.authorize_security_group_ingress(GroupId=holder, IpPermissions=[{"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": entries}]}])
    PAGED.update({
        "describe_security_groups": {}, "describe_security_group_rules": {}, "describe_security_group_vpc_associations": {},
        "describe_stale_security_groups": {"VpcId": vpc}, "get_security_groups_for_vpc": {"VpcId": vpc},
        "describe_vpcs": {}, "describe_subnets": {}, "describe_network_interfaces": {}, "describe_tags": {},
        "describe_vpc_peering_connections": {}, "describe_instances": {}, "describe_instance_status": {},
        "describe_images": {}, "describe_volumes": {}, "describe_instance_types": {}, "describe_instance_type_offerings": {},
        "describe_instance_credit_specifications": {}, "describe_internet_gateways": {}, "describe_route_tables": {},
        "describe_network_acls": {}, "describe_dhcp_options": {}, "describe_managed_prefix_lists": {}, "describe_prefix_lists": {},
        "get_managed_prefix_list_entries": {"PrefixListId": entries}, "get_managed_prefix_list_associations": {"PrefixListId": entries},
    })


class Pages(unittest.TestCase):
    def test_every_paginator(self):
        for operation, parameters in PAGED.items():
            with self.subTest(operation=operation):
                paginator = ec2.get_paginator(operation)
                key = paginator.result_keys[0].expression
                whole = getattr(ec2, operation)(**parameters)[key]
                for size in (5, 7, 100):
                    pages = list(paginator.paginate(PaginationConfig={"PageSize": size}, **parameters))
                    self.assertEqual([item for page in pages for item in page[key]], whole)
                    self.assertLessEqual(max(len(page[key]) for page in pages), size)
                    self.assertEqual(len(pages), max(1, -(-len(whole) // size)), "pages of %d" % size)

    # Pages that really are several, else the test above would prove little.
    def test_there_is_something_to_page(self):
        for operation, least in (
            ("describe_security_groups", 19), ("describe_security_group_rules", 30), ("describe_subnets", 6), ("describe_tags", 22),
            ("describe_network_interfaces", 11), ("describe_stale_security_groups", 7), ("get_security_groups_for_vpc", 19), ("describe_vpcs", 4),
        ):
            paginator = ec2.get_paginator(operation)
            self.assertGreaterEqual(len(getattr(ec2, operation)(**PAGED[operation])[paginator.result_keys[0].expression]), least, operation)

    # While another client makes and deletes groups, those that are there all the time are seen once each.
    def test_pages_while_others_write(self):
        filters = [{"Name": "vpc-id", "Values": [peer]}]
        stay = {new_group(peer, "stays-%d" % n) for n in range(20)}
        come = [new_group(peer, "goes-%d" % n) for n in range(20)]
        seen = []
        for page in ec2.get_paginator("describe_security_groups").paginate(Filters=filters, PaginationConfig={"PageSize": 5}):
            seen += [g["GroupId"] for g in page["SecurityGroups"]]
            for _ in range(3):
                if come:
                    ec2.delete_security_group(GroupId=come.pop())
                new_group(peer)
        self.assertEqual(len(seen), len(set(seen)), "a group was seen twice")
        self.assertEqual(stay - set(seen), set())

    def test_starting_token_and_max_items(self):
        paginator = ec2.get_paginator("describe_network_interfaces")
        first = paginator.paginate(PaginationConfig={"MaxItems": 4, "PageSize": 5}).build_full_result()
        rest = paginator.paginate(PaginationConfig={"StartingToken": first["NextToken"]}).build_full_result()
        self.assertEqual(len(first["NetworkInterfaces"]), 4)
        both = [i["NetworkInterfaceId"] for i in first["NetworkInterfaces"] + rest["NetworkInterfaces"]]
        self.assertCountEqual(both, interfaces)

    def test_tokens_are_of_one_query(self):
        token = ec2.describe_security_groups(MaxResults=5)["NextToken"]
        self.assertEqual(refusal(ec2.describe_security_group_rules, MaxResults=5, NextToken=token)[0], "InvalidPaginationToken")
        filters = [{"Name": "group-name", "Values": ["*"]}]
        self.assertEqual(refusal(ec2.describe_security_groups, MaxResults=5, NextToken=token, Filters=filters)[0], "InvalidPaginationToken")
        self.assertEqual(refusal(ec2.describe_vpcs, MaxResults=1001)[0], "InvalidParameterValue")


class Waiters(unittest.TestCase):
    once = {"Delay": 1, "MaxAttempts": 1}  # the first look decides

    def wait(self, name, **parameters):
        ec2.get_waiter(name).wait(WaiterConfig=self.once, **parameters)

    def test_what_is_there(self):
        default = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
        self.wait("security_group_exists", GroupIds=[group])
        self.wait("vpc_exists", VpcIds=[vpc])
        self.wait("vpc_available", VpcIds=[vpc])
        self.wait("subnet_available", SubnetIds=[default])
        self.wait("network_interface_available", NetworkInterfaceIds=interfaces)
        self.wait("vpc_peering_connection_exists", VpcPeeringConnectionIds=[connection])
        self.wait("security_group_vpc_association_associated", Filters=[{"Name": "group-id", "Values": [group]}])
        self.wait("image_exists", ImageIds=["ami-00000000000000001"])
        self.wait("image_available", ImageIds=["ami-00000000000000001"])

    def test_what_is_gone(self):
        third, fresh = new_vpc("10.7.0.0/16"), new_group(vpc)
        over = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=third)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=over)
        self.wait("vpc_peering_connection_deleted", VpcPeeringConnectionIds=[over])
        self.wait("vpc_peering_connection_deleted", VpcPeeringConnectionIds=["pcx-00000000000000000"])
        self.wait("volume_deleted", VolumeIds=["vol-00000000000000000"])
        ec2.associate_security_group_vpc(GroupId=fresh, VpcId=third)
        ec2.disassociate_security_group_vpc(GroupId=fresh, VpcId=third)
        self.wait("security_group_vpc_association_disassociated", Filters=[{"Name": "group-id", "Values": [fresh]}])

    def test_what_is_not_there(self):
        for name, why, parameters in (
            ("security_group_exists", "Max attempts exceeded", {"GroupIds": ["sg-00000000000000000"]}),
            ("vpc_exists", "Max attempts exceeded", {"VpcIds": ["vpc-00000000000000000"]}),
            ("vpc_peering_connection_exists", "Max attempts exceeded", {"VpcPeeringConnectionIds": ["pcx-00000000000000000"]}),
            ("instance_exists", "Max attempts exceeded", {"InstanceIds": ["i-00000000000000000"]}),
            ("image_exists", "Max attempts exceeded", {"ImageIds": ["ami-00000000000000000"]}),
            ("network_interface_available", "terminal failure state", {"NetworkInterfaceIds": ["eni-00000000000000000"]}),
            ("subnet_available", "An error occurred (InvalidSubnetID.NotFound)", {"SubnetIds": ["subnet-00000000000000000"]}),
        ):
            with self.subTest(name=name):
                with self.assertRaises(WaiterError) as caught:
                    self.wait(name, **parameters)
                self.assertIn(why, str(caught.exception))
