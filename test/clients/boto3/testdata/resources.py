"""boto3's resources: objects whose attributes are described when they are read."""

import unittest

from calls import ACCOUNT, new_vpc, permission, refusal, resource

ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]


class Resources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vpc = resource.Vpc(new_vpc())

    def group(self, name):
        return self.vpc.create_security_group(GroupName=name, Description="made by " + name)

    def test_attributes(self):
        group = self.group("attributes")
        self.assertEqual(
            (group.group_name, group.description, group.vpc_id, group.owner_id, group.ip_permissions, group.tags),
            ("attributes", "made by attributes", self.vpc.id, ACCOUNT, [], None),
        )
        group.create_tags(Tags=[{"Key": "Name", "Value": "a"}])
        group.reload()
        self.assertEqual(group.tags, [{"Key": "Name", "Value": "a"}])

    # The flat parameters of the oldest API. G114 G39
    def test_flat_cidr(self):
        group = self.group("flat")
        group.authorize_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8")
        self.assertEqual([(p["IpProtocol"], p["FromPort"], p["IpRanges"]) for p in group.ip_permissions], [("tcp", 22, [{"CidrIp": "10.0.0.0/8"}])])
        group.revoke_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8")
        group.reload()
        self.assertEqual(group.ip_permissions, [])

    def test_flat_source_group(self):
        home = next(iter(resource.vpcs.filter(Filters=[{"Name": "is-default", "Values": ["true"]}])))
        group = home.create_security_group(GroupName="flat source", Description="x")
        group.authorize_ingress(SourceSecurityGroupName="default", SourceSecurityGroupOwnerId=ACCOUNT)
        self.assertCountEqual([p["IpProtocol"] for p in group.ip_permissions], ["tcp", "udp", "icmp"])
        elsewhere = self.group("flat source")
        got = refusal(elsewhere.authorize_ingress, SourceSecurityGroupName="nobody")
        self.assertEqual(got[0], "InvalidGroup.NotFound")

    # G115 G117
    def test_egress_round_trip(self):
        group = self.group("egress")
        group.revoke_egress(IpPermissions=group.ip_permissions_egress)
        group.reload()
        self.assertEqual(group.ip_permissions_egress, [])
        group.authorize_egress(IpPermissions=[permission("udp", 53, IpRanges=ANYWHERE), permission("-1", UserIdGroupPairs=[{"GroupId": group.id}])])
        group.reload()
        self.assertEqual(len(group.ip_permissions_egress), 2)
        group.revoke_egress(IpPermissions=group.ip_permissions_egress)
        group.reload()
        self.assertEqual(group.ip_permissions_egress, [])

    # G130
    def test_delete(self):
        group = self.group("deleted")
        group.delete()
        self.assertEqual(refusal(group.reload)[0], "InvalidGroup.NotFound")

    def test_collections(self):
        vpc = resource.create_vpc(CidrBlock="10.2.0.0/16")
        vpc.wait_until_exists()
        vpc.wait_until_available()
        made = {vpc.create_security_group(GroupName="c%d" % n, Description="x").id for n in range(12)}
        default = [g.id for g in vpc.security_groups.filter(Filters=[{"Name": "group-name", "Values": ["default"]}])]
        self.assertEqual(len(default), 1)
        found = [g.id for g in vpc.security_groups.all()]
        self.assertCountEqual(found, list(made) + default)
        self.assertCountEqual([g.id for g in vpc.security_groups.page_size(5)], found)
        self.assertEqual([g.id for g in vpc.security_groups.page_size(5).limit(7)], [g.id for g in vpc.security_groups.limit(7)])
        self.assertEqual([len(page) for page in vpc.security_groups.page_size(5).pages()], [5, 5, 3])
        self.assertEqual({g.id for g in resource.security_groups.filter(GroupIds=sorted(made))}, made)

    def test_interfaces(self):
        one, two = self.group("interface one"), self.group("interface two")
        subnet = self.vpc.create_subnet(CidrBlock="10.0.1.0/24")
        interface = subnet.create_network_interface(Groups=[one.id], Description="x")
        self.assertEqual(interface.groups, [{"GroupId": one.id, "GroupName": "interface one"}])
        interface.modify_attribute(Groups=[two.id])
        interface.reload()
        self.assertEqual([g["GroupName"] for g in interface.groups], ["interface two"])
        one.delete()
        self.assertEqual(refusal(two.delete)[0], "DependencyViolation")
        self.assertEqual([i.id for i in self.vpc.network_interfaces.all()], [interface.id])
        self.assertEqual([s.id for s in self.vpc.subnets.all()], [subnet.id])
        interface.delete()
        two.delete()
        subnet.delete()

    def test_peering(self):
        peer = resource.Vpc(new_vpc("10.5.0.0/16"))
        connection = self.vpc.request_vpc_peering_connection(PeerVpcId=peer.id)
        connection.wait_until_exists()
        connection.accept()
        connection.reload()
        self.assertEqual(connection.status["Code"], "active")
        self.assertEqual([c.id for c in peer.accepted_vpc_peering_connections.all()], [connection.id])
        connection.delete()
