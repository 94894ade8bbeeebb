// A tour over the families of operations with the AWS SDK for JavaScript. The argument names the part; on stdout a
// JSON list of stops, each with the error that ended it, or none.

const assert = require("node:assert/strict");
const sdk = require("@aws-sdk/client-ec2");
const sts = require("@aws-sdk/client-sts");

const ec2 = new sdk.EC2({ maxAttempts: 1 });
const once = { client: ec2, maxWaitTime: 30, minDelay: 1, maxDelay: 1 };
const everyone = [{ IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0", Description: "all" }] }];

// What stops leave for later ones.
const world = {};

async function refused(call, code, status) {
  await assert.rejects(call, (e) => {
    assert.equal(e.name, code, e.message);
    assert.equal(e.$metadata.httpStatusCode, status);
    assert.ok(e.$metadata.requestId);
    return true;
  });
}

async function all(pages, key) {
  const items = [];
  for await (const page of pages) items.push(...page[key]);
  return items;
}

const network = {
  async identity() {
    const who = await new sts.STS({ maxAttempts: 1 }).getCallerIdentity({});
    assert.ok(who.Arn.includes(who.Account));
  },

  async account() {
    const { AccountAttributes } = await ec2.describeAccountAttributes({ AttributeNames: ["supported-platforms"] });
    assert.deepEqual(AccountAttributes[0].AttributeValues, [{ AttributeValue: "VPC" }]);
    assert.equal((await ec2.describeAvailabilityZones({})).AvailabilityZones.length, 3);
    assert.equal((await ec2.describeRegions({ RegionNames: ["us-east-1"] })).Regions[0].RegionName, "us-east-1");
  },

  async vpcs() {
    world.vpc = (await ec2.createVpc({ CidrBlock: "10.0.0.0/16" })).Vpc.VpcId;
    world.peer = (await ec2.createVpc({ CidrBlock: "10.1.0.0/16" })).Vpc.VpcId;
    await sdk.waitUntilVpcAvailable(once, { VpcIds: [world.vpc, world.peer] });
    world.subnet = (await ec2.createSubnet({ VpcId: world.vpc, CidrBlock: "10.0.1.0/24" })).Subnet.SubnetId;
    await sdk.waitUntilSubnetAvailable(once, { SubnetIds: [world.subnet] });
    await ec2.modifyVpcAttribute({ VpcId: world.vpc, EnableDnsHostnames: { Value: true } });
    const attribute = await ec2.describeVpcAttribute({ VpcId: world.vpc, Attribute: "enableDnsHostnames" });
    assert.equal(attribute.EnableDnsHostnames.Value, true);
  },

  async groups() {
    const made = await ec2.createSecurityGroup({ GroupName: "web", Description: "web <&> \"servers\"".replace(/[<>"]/g, ""), VpcId: world.vpc });
    world.group = made.GroupId;
    assert.ok(made.$metadata.requestId);
    await sdk.waitUntilSecurityGroupExists(once, { GroupIds: [world.group] });
    const { SecurityGroups } = await ec2.describeSecurityGroups({ GroupIds: [world.group] });
    assert.equal(SecurityGroups[0].Description, "web & servers");
    assert.deepEqual(SecurityGroups[0].IpPermissions, []);
    await refused(ec2.createSecurityGroup({ GroupName: "web", Description: "x", VpcId: world.vpc }), "InvalidGroup.Duplicate", 400);
    await refused(ec2.deleteSecurityGroup({ GroupId: world.group, DryRun: true }), "DryRunOperation", 412);
  },

  async rules() {
    const added = await ec2.authorizeSecurityGroupIngress({ GroupId: world.group, IpPermissions: everyone });
    const rule = added.SecurityGroupRules[0];
    assert.deepEqual([rule.IsEgress, rule.FromPort, rule.CidrIpv4, rule.Description], [false, 22, "0.0.0.0/0", "all"]);
    const { SecurityGroups } = await ec2.describeSecurityGroups({ GroupIds: [world.group] });
    await refused(ec2.authorizeSecurityGroupIngress({ GroupId: world.group, IpPermissions: everyone }), "InvalidPermission.Duplicate", 400);
    await ec2.modifySecurityGroupRules({
      GroupId: world.group,
      SecurityGroupRules: [{ SecurityGroupRuleId: rule.SecurityGroupRuleId, SecurityGroupRule: { IpProtocol: "udp", FromPort: 53, ToPort: 53, CidrIpv4: "10.0.0.0/8" } }],
    });
    const told = await ec2.describeSecurityGroupRules({ SecurityGroupRuleIds: [rule.SecurityGroupRuleId] });
    assert.deepEqual([told.SecurityGroupRules[0].IpProtocol, told.SecurityGroupRules[0].Description], ["udp", undefined]);
    await ec2.revokeSecurityGroupIngress({ GroupId: world.group, SecurityGroupRuleIds: [rule.SecurityGroupRuleId] });
    await ec2.authorizeSecurityGroupIngress({ GroupId: world.group, IpPermissions: SecurityGroups[0].IpPermissions });
    await ec2.updateSecurityGroupRuleDescriptionsIngress({
      GroupId: world.group, IpPermissions: [{ ...everyone[0], IpRanges: [{ CidrIp: "0.0.0.0/0", Description: "everyone" }] }],
    });
    await ec2.revokeSecurityGroupEgress({ GroupId: world.group, IpPermissions: SecurityGroups[0].IpPermissionsEgress });
    const now = (await ec2.describeSecurityGroups({ GroupIds: [world.group] })).SecurityGroups[0];
    assert.deepEqual(now.IpPermissions[0].IpRanges, [{ CidrIp: "0.0.0.0/0", Description: "everyone" }]);
    assert.deepEqual(now.IpPermissionsEgress, []);
  },

  async pages() {
    for (let n = 0; n < 12; n++) await ec2.createSecurityGroup({ GroupName: "page-" + n, Description: "page", VpcId: world.vpc });
    const asked = { Filters: [{ Name: "vpc-id", Values: [world.vpc] }] };
    const whole = (await ec2.describeSecurityGroups(asked)).SecurityGroups;
    const paged = await all(sdk.paginateDescribeSecurityGroups({ client: ec2, pageSize: 5 }, asked), "SecurityGroups");
    assert.deepEqual(paged, whole);
    assert.equal(whole.length, 14);
    const usable = await all(sdk.paginateGetSecurityGroupsForVpc({ client: ec2, pageSize: 5 }, { VpcId: world.vpc }), "SecurityGroupForVpcs");
    assert.equal(usable.length, 14);
    const rules = await all(sdk.paginateDescribeSecurityGroupRules({ client: ec2, pageSize: 5 }, {}), "SecurityGroupRules");
    assert.equal(new Set(rules.map((r) => r.SecurityGroupRuleId)).size, rules.length);
  },

  async interfaces() {
    const { NetworkInterface } = await ec2.createNetworkInterface({ SubnetId: world.subnet, Groups: [world.group] });
    const id = NetworkInterface.NetworkInterfaceId;
    await sdk.waitUntilNetworkInterfaceAvailable(once, { NetworkInterfaceIds: [id] });
    await refused(ec2.deleteSecurityGroup({ GroupId: world.group }), "DependencyViolation", 400);
    const fresh = (await ec2.createSecurityGroup({ GroupName: "fresh", Description: "x", VpcId: world.vpc })).GroupId;
    await ec2.modifyNetworkInterfaceAttribute({ NetworkInterfaceId: id, Groups: [fresh] });
    const told = await ec2.describeNetworkInterfaceAttribute({ NetworkInterfaceId: id, Attribute: "groupSet" });
    assert.deepEqual(told.Groups, [{ GroupId: fresh, GroupName: "fresh" }]);
    await ec2.deleteNetworkInterface({ NetworkInterfaceId: id });
    await ec2.deleteSecurityGroup({ GroupId: fresh });
  },

  async tags() {
    await ec2.createTags({ Resources: [world.vpc], Tags: [{ Key: "Name", Value: "é <&> \"'" }] });
    const asked = { Filters: [{ Name: "resource-id", Values: [world.vpc] }] };
    const [tag] = await all(sdk.paginateDescribeTags({ client: ec2, pageSize: 5 }, asked), "Tags");
    assert.equal(tag.Value, "é <&> \"'");
    await ec2.deleteTags({ Resources: [world.vpc], Tags: [{ Key: "Name" }] });
    assert.deepEqual((await ec2.describeTags(asked)).Tags, []);
  },

  async peering() {
    const id = (await ec2.createVpcPeeringConnection({ VpcId: world.vpc, PeerVpcId: world.peer })).VpcPeeringConnection.VpcPeeringConnectionId;
    await sdk.waitUntilVpcPeeringConnectionExists(once, { VpcPeeringConnectionIds: [id] });
    await ec2.acceptVpcPeeringConnection({ VpcPeeringConnectionId: id });
    const theirs = (await ec2.createSecurityGroup({ GroupName: "theirs", Description: "x", VpcId: world.peer })).GroupId;
    await ec2.authorizeSecurityGroupIngress({ GroupId: world.group, IpPermissions: [{ IpProtocol: "-1", UserIdGroupPairs: [{ GroupId: theirs }] }] });
    const references = await ec2.describeSecurityGroupReferences({ GroupId: [theirs] });
    assert.equal(references.SecurityGroupReferenceSet[0].ReferencingVpcId, world.vpc);
    await ec2.deleteVpcPeeringConnection({ VpcPeeringConnectionId: id });
    await sdk.waitUntilVpcPeeringConnectionDeleted(once, { VpcPeeringConnectionIds: [id] });
    const stale = await all(sdk.paginateDescribeStaleSecurityGroups({ client: ec2, pageSize: 5 }, { VpcId: world.vpc }), "StaleSecurityGroupSet");
    assert.deepEqual(stale.map((s) => s.GroupId), [world.group]);
  },

  async associations() {
    await ec2.associateSecurityGroupVpc({ GroupId: world.group, VpcId: world.peer });
    const asked = { Filters: [{ Name: "group-id", Values: [world.group] }] };
    await sdk.waitUntilSecurityGroupVpcAssociationAssociated(once, asked);
    await ec2.disassociateSecurityGroupVpc({ GroupId: world.group, VpcId: world.peer });
    await sdk.waitUntilSecurityGroupVpcAssociationDisassociated(once, asked);
  },

  async refusals() {
    await refused(ec2.describeNatGateways({}), "InvalidAction", 400);
    await refused(ec2.deleteSecurityGroup({ GroupId: "sg-00000000000000000" }), "InvalidGroup.NotFound", 400);
    await refused(ec2.describeVpcs({ Filters: [{ Name: "colour", Values: ["red"] }] }), "InvalidParameterValue", 400);
    const wrong = new sdk.EC2({ maxAttempts: 1, credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wrong" } });
    await refused(wrong.describeVpcs({}), "AuthFailure", 401);
  },
};

const instances = {
  async instances() {
    const vpc = (await ec2.createVpc({ CidrBlock: "10.60.0.0/16" })).Vpc.VpcId;
    const subnet = (await ec2.createSubnet({ VpcId: vpc, CidrBlock: "10.60.1.0/24" })).Subnet.SubnetId;
    const group = async (name) => (await ec2.createSecurityGroup({ GroupName: name, Description: name, VpcId: vpc })).GroupId;
    const web = await group("web");
    const db = await group("db");
    const run = { ImageId: "ami-00000000000000001", InstanceType: "t3.micro", MinCount: 1, MaxCount: 1, SubnetId: subnet, SecurityGroupIds: [web] };
    const id = (await ec2.runInstances(run)).Instances[0].InstanceId;
    const asked = { InstanceIds: [id] };
    await sdk.waitUntilInstanceRunning(once, asked);
    await sdk.waitUntilInstanceStatusOk(once, asked);
    await ec2.modifyInstanceAttribute({ InstanceId: id, Groups: [db] });
    const [reservation] = await all(sdk.paginateDescribeInstances({ client: ec2 }, asked), "Reservations");
    assert.deepEqual(reservation.Instances[0].SecurityGroups, [{ GroupId: db, GroupName: "db" }]);
    await refused(ec2.deleteSecurityGroup({ GroupId: db }), "DependencyViolation", 400);
    await ec2.deleteSecurityGroup({ GroupId: web });
    await ec2.stopInstances(asked);
    await sdk.waitUntilInstanceStopped(once, asked);
    await ec2.terminateInstances(asked);
    await sdk.waitUntilInstanceTerminated(once, asked);
    await ec2.deleteSecurityGroup({ GroupId: db });
  },
};

async function main(stops) {
  const told = [];
  for (const [name, stop] of Object.entries(stops)) {
    try {
      await stop();
      told.push({ name });
    } catch (e) {
      told.push({ name, error: e.stack });
    }
  }
  console.log(JSON.stringify(told));
}

main({ network, instances }[process.argv[2]]);
