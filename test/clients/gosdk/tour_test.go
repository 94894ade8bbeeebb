package gosdk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

// tour is a Sallyport seen through the SDK, and what the stops of a tour leave for later ones.
type tour struct {
	*sdk.Client
	t         *testing.T
	vpc, peer string
	subnet    string
	group     string
}

// settings are those of a client of an installation.
func settings(s *installation.Installation) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &s.Endpoint, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.Root.AccessKeyID, SecretAccessKey: s.Root.SecretAccessKey}, nil
		}),
	}
}

// must is an answer that had to come.
func must[T any](t *testing.T) func(out T, err error) T {
	t.Helper()
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refused checks the code and the HTTP status of a refusal.
func refused(t *testing.T, err error, code string, status int) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	res, known := errors.AsType[*awshttp.ResponseError](err)
	if !ok || !known || api.ErrorCode() != code || res.HTTPStatusCode() != status || res.ServiceRequestID() == "" {
		t.Errorf("got %v, want %s with status %d and a request id", err, code, status)
	}
}

func (u *tour) newGroup(vpc, name string) string {
	u.t.Helper()
	in := &sdk.CreateSecurityGroupInput{GroupName: &name, Description: &name, VpcId: &vpc}
	return *must[*sdk.CreateSecurityGroupOutput](u.t)(u.CreateSecurityGroup(u.t.Context(), in)).GroupId
}

// once is how long a waiter may take whose state is there already.
const once = time.Minute

// The SDK's tour over the families of operations, with paginators and waiters.
func TestTour(t *testing.T) {
	s := programs.Install(t, installation.Server)
	s.Start()
	u := &tour{Client: sdk.NewFromConfig(settings(s)), t: t}
	t.Run("identity", func(t *testing.T) {
		who := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(settings(s)).GetCallerIdentity(t.Context(), nil))
		if *who.Account != "000000000001" || *who.Arn != "arn:aws:iam::000000000001:root" {
			t.Errorf("the caller is %s, %s", *who.Account, *who.Arn)
		}
	})
	t.Run("vpcs", u.vpcs)
	t.Run("groups", u.groups)
	t.Run("rules", u.rules)
	t.Run("pages", u.pages)
	t.Run("interfaces", u.interfaces)
	t.Run("tags", u.tags)
	t.Run("peering", u.peering)
	t.Run("lists", u.lists)
	t.Run("account", u.account)
}

func (u *tour) vpcs(t *testing.T) {
	for _, v := range []struct {
		into  *string
		block string
	}{{&u.vpc, "10.0.0.0/16"}, {&u.peer, "10.1.0.0/16"}} {
		*v.into = *must[*sdk.CreateVpcOutput](t)(u.CreateVpc(t.Context(), &sdk.CreateVpcInput{CidrBlock: &v.block})).Vpc.VpcId
	}
	if err := sdk.NewVpcAvailableWaiter(u).Wait(t.Context(), &sdk.DescribeVpcsInput{VpcIds: []string{u.vpc, u.peer}}, once); err != nil {
		t.Error(err)
	}
	in := &sdk.CreateSubnetInput{VpcId: &u.vpc, CidrBlock: aws.String("10.0.1.0/24")}
	u.subnet = *must[*sdk.CreateSubnetOutput](t)(u.CreateSubnet(t.Context(), in)).Subnet.SubnetId
	if err := sdk.NewSubnetAvailableWaiter(u).Wait(t.Context(), &sdk.DescribeSubnetsInput{SubnetIds: []string{u.subnet}}, once); err != nil {
		t.Error(err)
	}
	_, err := u.CreateVpc(t.Context(), &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/15")})
	refused(t, err, "InvalidVpc.Range", 400)
}

// G100 G101 G102 G24 G28 G130
func (u *tour) groups(t *testing.T) {
	u.group = u.newGroup(u.vpc, "web")
	if err := sdk.NewSecurityGroupExistsWaiter(u).Wait(t.Context(), &sdk.DescribeSecurityGroupsInput{GroupIds: []string{u.group}}, once); err != nil {
		t.Error(err)
	}
	in := &sdk.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("again"), VpcId: &u.vpc}
	_, err := u.CreateSecurityGroup(t.Context(), in)
	refused(t, err, "InvalidGroup.Duplicate", 400)
	_, err = u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &u.group, DryRun: aws.Bool(true)})
	refused(t, err, "DryRunOperation", 412)
	gone := u.newGroup(u.vpc, "gone")
	if out := must[*sdk.DeleteSecurityGroupOutput](t)(u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &gone})); *out.GroupId != gone {
		t.Errorf("deleted %s, want %s", *out.GroupId, gone)
	}
	_, err = u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &gone})
	refused(t, err, "InvalidGroup.NotFound", 400)
}

// G114 G116 G117 G118
func (u *tour) rules(t *testing.T) {
	described := func() types.SecurityGroup {
		out := must[*sdk.DescribeSecurityGroupsOutput](t)(u.DescribeSecurityGroups(t.Context(), &sdk.DescribeSecurityGroupsInput{GroupIds: []string{u.group}}))
		return out.SecurityGroups[0]
	}
	ssh := []types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges:         []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String("all")}},
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &u.group}},
	}}
	out := must[*sdk.AuthorizeSecurityGroupIngressOutput](t)(u.AuthorizeSecurityGroupIngress(t.Context(),
		&sdk.AuthorizeSecurityGroupIngressInput{GroupId: &u.group, IpPermissions: ssh}))
	if len(out.SecurityGroupRules) != 2 {
		t.Errorf("two sources made %d rules", len(out.SecurityGroupRules))
	}
	_, err := u.AuthorizeSecurityGroupIngress(t.Context(), &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &u.group, IpPermissions: ssh})
	refused(t, err, "InvalidPermission.Duplicate", 400)
	was := described()
	must[*sdk.RevokeSecurityGroupIngressOutput](t)(u.RevokeSecurityGroupIngress(t.Context(),
		&sdk.RevokeSecurityGroupIngressInput{GroupId: &u.group, IpPermissions: was.IpPermissions}))
	must[*sdk.RevokeSecurityGroupEgressOutput](t)(u.RevokeSecurityGroupEgress(t.Context(),
		&sdk.RevokeSecurityGroupEgressInput{GroupId: &u.group, IpPermissions: was.IpPermissionsEgress}))
	if now := described(); len(now.IpPermissions) != 0 || len(now.IpPermissionsEgress) != 0 {
		t.Errorf("after what was described was revoked: %v, %v", now.IpPermissions, now.IpPermissionsEgress)
	}
	must[*sdk.AuthorizeSecurityGroupIngressOutput](t)(u.AuthorizeSecurityGroupIngress(t.Context(),
		&sdk.AuthorizeSecurityGroupIngressInput{GroupId: &u.group, IpPermissions: was.IpPermissions}))
	if diff := cmp.Diff(was.IpPermissions, described().IpPermissions, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("the same rules again (-was +is):\n%s", diff)
	}
}

func (u *tour) pages(t *testing.T) {
	for n := range 12 {
		u.newGroup(u.vpc, fmt.Sprintf("page-%d", n))
	}
	asked := &sdk.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{u.vpc}}}}
	var whole, paged []string
	for _, g := range must[*sdk.DescribeSecurityGroupsOutput](t)(u.DescribeSecurityGroups(t.Context(), asked)).SecurityGroups {
		whole = append(whole, *g.GroupId)
	}
	pages := sdk.NewDescribeSecurityGroupsPaginator(u, asked, func(o *sdk.DescribeSecurityGroupsPaginatorOptions) { o.Limit = 5 })
	count := 0
	for ; pages.HasMorePages(); count++ {
		for _, g := range must[*sdk.DescribeSecurityGroupsOutput](t)(pages.NextPage(t.Context())).SecurityGroups {
			paged = append(paged, *g.GroupId)
		}
	}
	if len(whole) != 14 || count != 3 || !slices.Equal(whole, paged) {
		t.Errorf("%d groups, and %d in %d pages", len(whole), len(paged), count)
	}
}

// G23 G126 G127 G136
func (u *tour) interfaces(t *testing.T) {
	one, two := u.newGroup(u.vpc, "one"), u.newGroup(u.vpc, "two")
	made := must[*sdk.CreateNetworkInterfaceOutput](t)(u.CreateNetworkInterface(t.Context(),
		&sdk.CreateNetworkInterfaceInput{SubnetId: &u.subnet, Groups: []string{one}}))
	id := *made.NetworkInterface.NetworkInterfaceId
	if err := sdk.NewNetworkInterfaceAvailableWaiter(u).Wait(t.Context(), &sdk.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}}, once); err != nil {
		t.Error(err)
	}
	_, err := u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &one})
	refused(t, err, "DependencyViolation", 400)
	must[*sdk.ModifyNetworkInterfaceAttributeOutput](t)(u.ModifyNetworkInterfaceAttribute(t.Context(),
		&sdk.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, Groups: []string{two}}))
	must[*sdk.DeleteSecurityGroupOutput](t)(u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &one}))
	must[*sdk.DeleteNetworkInterfaceOutput](t)(u.DeleteNetworkInterface(t.Context(), &sdk.DeleteNetworkInterfaceInput{NetworkInterfaceId: &id}))
}

func (u *tour) tags(t *testing.T) {
	const value = "é <&> \"'"
	must[*sdk.CreateTagsOutput](t)(u.CreateTags(t.Context(),
		&sdk.CreateTagsInput{Resources: []string{u.vpc, u.group}, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String(value)}}}))
	pages := sdk.NewDescribeTagsPaginator(u, &sdk.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("key"), Values: []string{"Name"}}}})
	seen := map[string]string{}
	for pages.HasMorePages() {
		for _, tag := range must[*sdk.DescribeTagsOutput](t)(pages.NextPage(t.Context())).Tags {
			seen[*tag.ResourceId] = *tag.Value
		}
	}
	if diff := cmp.Diff(map[string]string{u.vpc: value, u.group: value}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// G64 G65 G93
func (u *tour) peering(t *testing.T) {
	made := must[*sdk.CreateVpcPeeringConnectionOutput](t)(u.CreateVpcPeeringConnection(t.Context(),
		&sdk.CreateVpcPeeringConnectionInput{VpcId: &u.vpc, PeerVpcId: &u.peer}))
	id := made.VpcPeeringConnection.VpcPeeringConnectionId
	asked := &sdk.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{*id}}
	if err := sdk.NewVpcPeeringConnectionExistsWaiter(u).Wait(t.Context(), asked, once); err != nil {
		t.Error(err)
	}
	must[*sdk.AcceptVpcPeeringConnectionOutput](t)(u.AcceptVpcPeeringConnection(t.Context(),
		&sdk.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: id}))
	theirs := u.newGroup(u.peer, "theirs")
	must[*sdk.AuthorizeSecurityGroupEgressOutput](t)(u.AuthorizeSecurityGroupEgress(t.Context(), &sdk.AuthorizeSecurityGroupEgressInput{
		GroupId: &u.group, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &theirs}}}},
	}))
	stale := func() int {
		out := must[*sdk.DescribeStaleSecurityGroupsOutput](t)(u.DescribeStaleSecurityGroups(t.Context(), &sdk.DescribeStaleSecurityGroupsInput{VpcId: &u.vpc}))
		return len(out.StaleSecurityGroupSet)
	}
	before := stale()
	must[*sdk.DeleteVpcPeeringConnectionOutput](t)(u.DeleteVpcPeeringConnection(t.Context(),
		&sdk.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: id}))
	if err := sdk.NewVpcPeeringConnectionDeletedWaiter(u).Wait(t.Context(), asked, once); err != nil {
		t.Error(err)
	}
	if after := stale(); before != 0 || after != 1 {
		t.Errorf("%d stale groups before the connection was deleted and %d after it", before, after)
	}
}

func (u *tour) lists(t *testing.T) {
	made := must[*sdk.CreateManagedPrefixListOutput](t)(u.CreateManagedPrefixList(t.Context(), &sdk.CreateManagedPrefixListInput{
		PrefixListName: aws.String("offices"), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(3),
		Entries: []types.AddPrefixListEntry{{Cidr: aws.String("203.0.113.0/24"), Description: aws.String("north")}},
	}))
	id := made.PrefixList.PrefixListId
	must[*sdk.AuthorizeSecurityGroupIngressOutput](t)(u.AuthorizeSecurityGroupIngress(t.Context(), &sdk.AuthorizeSecurityGroupIngressInput{
		GroupId: &u.group, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), PrefixListIds: []types.PrefixListId{{PrefixListId: id}}}},
	}))
	must[*sdk.ModifyManagedPrefixListOutput](t)(u.ModifyManagedPrefixList(t.Context(), &sdk.ModifyManagedPrefixListInput{
		PrefixListId: id, CurrentVersion: made.PrefixList.Version, AddEntries: []types.AddPrefixListEntry{{Cidr: aws.String("198.51.100.0/24")}},
	}))
	_, err := u.ModifyManagedPrefixList(t.Context(), &sdk.ModifyManagedPrefixListInput{
		PrefixListId: id, CurrentVersion: made.PrefixList.Version, AddEntries: []types.AddPrefixListEntry{{Cidr: aws.String("192.0.2.0/24")}},
	})
	refused(t, err, "PrefixListVersionMismatch", 400)
	pages := sdk.NewGetManagedPrefixListEntriesPaginator(u, &sdk.GetManagedPrefixListEntriesInput{PrefixListId: id, MaxResults: aws.Int32(1)})
	entries := 0
	for pages.HasMorePages() {
		entries += len(must[*sdk.GetManagedPrefixListEntriesOutput](t)(pages.NextPage(t.Context())).Entries)
	}
	if entries != 2 {
		t.Errorf("the list has %d entries, want 2", entries)
	}
}

func (u *tour) account(t *testing.T) {
	regions := must[*sdk.DescribeRegionsOutput](t)(u.DescribeRegions(t.Context(), &sdk.DescribeRegionsInput{RegionNames: []string{"us-east-1"}}))
	zones := must[*sdk.DescribeAvailabilityZonesOutput](t)(u.DescribeAvailabilityZones(t.Context(), nil))
	if len(regions.Regions) != 1 || len(zones.AvailabilityZones) != 3 {
		t.Errorf("%d regions and %d zones", len(regions.Regions), len(zones.AvailabilityZones))
	}
	_, err := u.DescribeNatGateways(t.Context(), nil)
	refused(t, err, "InvalidAction", 400)
}

// G4 G125 G126 G127
func TestTourWithInstances(t *testing.T) {
	s := programs.Install(t, installation.Up)
	s.Start()
	s.NeedsEnforcement()
	u := &tour{Client: sdk.NewFromConfig(settings(s)), t: t}
	t.Run("vpcs", u.vpcs)
	ran := must[*sdk.RunInstancesOutput](t)(u.RunInstances(t.Context(), &sdk.RunInstancesInput{
		ImageId: aws.String("ami-00000000000000001"), InstanceType: types.InstanceTypeT3Micro,
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &u.subnet,
	}))
	id := *ran.Instances[0].InstanceId
	asked := &sdk.DescribeInstancesInput{InstanceIds: []string{id}}
	if err := sdk.NewInstanceRunningWaiter(u).Wait(t.Context(), asked, once); err != nil {
		t.Error(err)
	}
	groups := func() (names []string) {
		pages := sdk.NewDescribeInstancesPaginator(u, asked)
		for pages.HasMorePages() {
			for _, r := range must[*sdk.DescribeInstancesOutput](t)(pages.NextPage(t.Context())).Reservations {
				for _, g := range r.Instances[0].SecurityGroups {
					names = append(names, *g.GroupName)
				}
			}
		}
		return names
	}
	if got := groups(); !slices.Equal(got, []string{"default"}) {
		t.Errorf("launched without a group, the instance has %v", got)
	}
	web := u.newGroup(u.vpc, "web")
	must[*sdk.ModifyInstanceAttributeOutput](t)(u.ModifyInstanceAttribute(t.Context(), &sdk.ModifyInstanceAttributeInput{InstanceId: &id, Groups: []string{web}}))
	if got := groups(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("its groups were replaced by web and are %v", got)
	}
	_, err := u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &web})
	refused(t, err, "DependencyViolation", 400)
	must[*sdk.TerminateInstancesOutput](t)(u.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{id}}))
	if err := sdk.NewInstanceTerminatedWaiter(u).Wait(t.Context(), asked, once); err != nil {
		t.Error(err)
	}
	must[*sdk.DeleteSecurityGroupOutput](t)(u.DeleteSecurityGroup(t.Context(), &sdk.DeleteSecurityGroupInput{GroupId: &web}))
}
