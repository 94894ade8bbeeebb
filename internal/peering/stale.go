package peering

import (
	"cmp"
	"slices"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func staleActions() []call.Operation {
	return []call.Operation{
		call.Reads(describeStaleSecurityGroups),
		call.Reads(describeSecurityGroupReferences),
	}
}

// staleGroup is a group with those of its rules that are stale.
type staleGroup struct {
	*vpc.SecurityGroup
	rules []*vpc.Rule
}

var staleListing = call.Listing[staleGroup]{
	Key:    staleGroup.Key,
	Paging: call.Paging{Min: 5, Max: 255, Param: "MaxResults", OrEqual: true},
}

// describeStaleSecurityGroups names the rules of a VPC's groups that reference what is not there any more (G93).
func describeStaleSecurityGroups(tx *state.Tx, c call.Call, in *ec2.DescribeStaleSecurityGroupsRequest) (*ec2.DescribeStaleSecurityGroupsResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	page, next, err := staleListing.Run(tx, c, call.Query{
		Of: string(v.ID), MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, staleGroups(tx.Snapshot, v.ID))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeStaleSecurityGroupsResult{NextToken: next, StaleSecurityGroupSet: make([]ec2.StaleSecurityGroup, len(page))}
	for i, g := range page {
		out.StaleSecurityGroupSet[i] = ec2.StaleSecurityGroup{
			GroupId: new(string(g.ID)), GroupName: &g.Name, Description: &g.Description, VpcId: new(string(g.VPC)),
			StaleIpPermissions:       wireStale(tx.Snapshot, g, packet.Ingress),
			StaleIpPermissionsEgress: wireStale(tx.Snapshot, g, packet.Egress),
		}
	}
	return out, nil
}

// staleGroups walks the groups of a VPC that have stale rules, by identifier.
func staleGroups(w *state.Snapshot, v vpc.VPCID) func(yield func(staleGroup) bool) {
	return func(yield func(staleGroup) bool) {
		for g := range w.GroupsOf(v) {
			var rules []*vpc.Rule
			for r := range w.RulesOf(g.ID) {
				if group.Stale(w, r) {
					rules = append(rules, r)
				}
			}
			if rules != nil && !yield(staleGroup{g, rules}) {
				return
			}
		}
	}
}

// wireStale is a group's stale rules of a direction. A group that exists is told with its owner and name, of one
// that does not only the identifier is left.
func wireStale(w *state.Snapshot, g staleGroup, d packet.Direction) []ec2.StaleIpPermission {
	var out []ec2.StaleIpPermission
	for _, p := range group.Permissions(w, g.rules, d) {
		for i := range p.UserIdGroupPairs {
			pair := &p.UserIdGroupPairs[i]
			if other := w.Group(vpc.GroupID(*pair.GroupId)); other != nil {
				pair.GroupName = &other.Name
			} else {
				pair.UserId = nil
			}
		}
		out = append(out, ec2.StaleIpPermission{
			IpProtocol: p.IpProtocol, FromPort: p.FromPort, ToPort: p.ToPort, UserIdGroupPairs: p.UserIdGroupPairs,
		})
	}
	return out
}

// describeSecurityGroupReferences names the VPCs across peering connections whose rules reference the caller's
// groups: those whose rules become stale if he deletes them.
func describeSecurityGroupReferences(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupReferencesRequest) (*ec2.DescribeSecurityGroupReferencesResult, error) {
	groups, err := call.FindAll[*vpc.SecurityGroup](tx, c, &call.GroupForm, in.GroupId)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupReferencesResult{}
	for _, g := range groups {
		for _, r := range references(tx.Snapshot, g) {
			out.SecurityGroupReferenceSet = append(out.SecurityGroupReferenceSet, ec2.SecurityGroupReference{
				GroupId: new(string(g.ID)), ReferencingVpcId: new(string(r.from)), VpcPeeringConnectionId: new(string(r.over)),
			})
		}
	}
	return out, nil
}

// reference is a VPC whose rules reference a group over a connection.
type reference struct {
	from vpc.VPCID
	over vpc.PeeringID
}

// references are those that reach a group over active connections, by VPC.
func references(w *state.Snapshot, g *vpc.SecurityGroup) []reference {
	var out []reference
	for r := range w.RulesAbout(g.ID) {
		from := w.Group(r.Group)
		if from == nil {
			continue
		}
		if link, _ := group.Reaches(w, from.VPC, g); link != nil {
			out = append(out, reference{from.VPC, link.ID})
		}
	}
	slices.SortFunc(out, func(a, b reference) int { return cmp.Compare(a.from, b.from) })
	return slices.Compact(out)
}
