package peering

import (
	"cmp"
	"iter"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func associationActions() []call.Operation {
	return []call.Operation{
		call.Writes(associateSecurityGroupVpc),
		call.Writes(disassociateSecurityGroupVpc),
		call.Reads(describeSecurityGroupVpcAssociations),
		call.Reads(getSecurityGroupsForVpc),
	}
}

// associateSecurityGroupVpc lets a group be put on interfaces of another VPC of its owner, and be referenced by rules
// there. A group that is associated already stays so.
func associateSecurityGroupVpc(tx *state.Tx, c call.Call, in *ec2.AssociateSecurityGroupVpcRequest) (*ec2.AssociateSecurityGroupVpcResult, error) {
	g, v, err := groupAndVPC(tx, c, in.GroupId, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := checkAssociable(tx, g, v); err != nil {
		return nil, err
	}
	switch a := tx.Association(g.ID, v.ID); {
	case a == nil:
		tx.Put(&vpc.Association{Group: g.ID, Scope: g.Scope, VPC: v.ID, Created: c.Now})
	case a.Held != "":
		again := *a
		again.Held = ""
		tx.Put(&again)
	default:
		return &ec2.AssociateSecurityGroupVpcResult{State: ec2.SecurityGroupVpcAssociationStateAssociated}, nil
	}
	return &ec2.AssociateSecurityGroupVpcResult{State: ec2.SecurityGroupVpcAssociationStateAssociating}, nil
}

func groupAndVPC(tx *state.Tx, c call.Call, groupID, vpcID *string) (*vpc.SecurityGroup, *vpc.VPC, error) {
	g, err := call.Find[*vpc.SecurityGroup](tx, c, &call.GroupForm, call.Text(groupID))
	if err != nil {
		return nil, nil, err
	}
	v, err := call.FindVPC(tx, c, call.Text(vpcID))
	return g, v, err
}

// checkAssociable refuses a group and a VPC that EC2 does not let be associated (AWS VPC guide, "Associate security
// groups with multiple VPCs"); that both are the caller's and of one region is known.
func checkAssociable(tx *state.Tx, g *vpc.SecurityGroup, v *vpc.VPC) error {
	refuse := func(why string) error {
		return apierr.New(apierr.CodeInvalidParameterValue, "The security group '%s' cannot be associated with VPC '%s'. %s", g.ID, v.ID, why)
	}
	if g.VPC.Classic() {
		return refuse("It is of EC2-Classic.")
	}
	switch own := tx.VPC(g.VPC); {
	case g.IsDefault():
		return refuse("It is the default group of its VPC.")
	case g.VPC == v.ID:
		return refuse("It is the group's own VPC.")
	case own.Default:
		return refuse("The group's own VPC, " + string(own.ID) + ", is a default VPC.")
	case v.Default:
		return refuse("It is a default VPC.")
	}
	return nil
}

// disassociateSecurityGroupVpc ends an association. While something in the VPC uses the group it cannot, which is
// told not by an error but by the association's state, as EC2 does.
func disassociateSecurityGroupVpc(tx *state.Tx, c call.Call, in *ec2.DisassociateSecurityGroupVpcRequest) (*ec2.DisassociateSecurityGroupVpcResult, error) {
	g, v, err := groupAndVPC(tx, c, in.GroupId, in.VpcId)
	if err != nil {
		return nil, err
	}
	a := tx.Association(g.ID, v.ID)
	if a == nil {
		return nil, apierr.New(apierr.CodeInvalidGroupNotFound,
			"The security group '%s' does not exist in VPC '%s'. It is of %s and not associated.", g.ID, v.ID, g.VPC)
	}
	if users := usersIn(tx, g, v); len(users) > 0 {
		held := *a
		held.Held = "The security group is in use in the VPC by " + call.SomeOf(users) + "."
		if held.Held != a.Held {
			tx.Put(&held)
		}
	} else {
		tx.Delete(a)
	}
	return &ec2.DisassociateSecurityGroupVpcResult{State: ec2.SecurityGroupVpcAssociationStateDisassociating}, nil
}

// usersIn lists what uses a group in a VPC that is not its own: interfaces that carry it and rules that reference it.
func usersIn(tx *state.Tx, g *vpc.SecurityGroup, v *vpc.VPC) []string {
	var out []string
	for i := range tx.InterfacesWith(g.ID) {
		if i.VPC == v.ID {
			out = append(out, string(i.ID))
		}
	}
	for r := range tx.RulesAbout(g.ID) {
		if by := tx.Group(r.Group); by != nil && by.VPC == v.ID {
			out = append(out, "rule "+string(r.ID)+" of "+string(r.Group))
		}
	}
	return out
}

// stateOf is an association's state and why it is in that.
func stateOf(a *vpc.Association) (ec2.SecurityGroupVpcAssociationState, *string) {
	if a.Held != "" {
		return ec2.SecurityGroupVpcAssociationStateDisassociationFailed, &a.Held
	}
	return ec2.SecurityGroupVpcAssociationStateAssociated, nil
}

var associationListing = call.Listing[*vpc.Association]{
	Attributes: call.Attributes[*vpc.Association]{
		"group-id":       call.One(func(a *vpc.Association) string { return string(a.Group) }),
		"group-owner-id": call.One(func(a *vpc.Association) string { return string(a.Scope.Account) }),
		"state": call.One(func(a *vpc.Association) string {
			s, _ := stateOf(a)
			return string(s)
		}),
		"vpc-id":       call.One(func(a *vpc.Association) string { return string(a.VPC) }),
		"vpc-owner-id": call.One(func(a *vpc.Association) string { return string(a.Scope.Account) }),
	},
	Key:    (*vpc.Association).Key,
	Paging: call.Paging{Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true},
}

func describeSecurityGroupVpcAssociations(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupVpcAssociationsRequest) (*ec2.DescribeSecurityGroupVpcAssociationsResult, error) {
	page, next, err := associationListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, tx.AssociationsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupVpcAssociationsResult{
		NextToken: next, SecurityGroupVpcAssociations: make([]ec2.SecurityGroupVpcAssociation, len(page)),
	}
	for i, a := range page {
		s, why := stateOf(a)
		owner := string(a.Scope.Account)
		out.SecurityGroupVpcAssociations[i] = ec2.SecurityGroupVpcAssociation{
			GroupId: new(string(a.Group)), GroupOwnerId: &owner, VpcId: new(string(a.VPC)), VpcOwnerId: &owner, State: s, StateReason: why,
		}
	}
	return out, nil
}

var usableListing = call.Listing[*vpc.SecurityGroup]{
	Attributes: call.Attributes[*vpc.SecurityGroup]{
		"description":    call.One(func(g *vpc.SecurityGroup) string { return g.Description }),
		"group-id":       call.One((*vpc.SecurityGroup).Key),
		"group-name":     call.One(func(g *vpc.SecurityGroup) string { return g.Name }),
		"owner-id":       call.One(func(g *vpc.SecurityGroup) string { return string(g.Scope.Account) }),
		"primary-vpc-id": call.One(func(g *vpc.SecurityGroup) string { return string(g.VPC) }),
	},
	Tags:   call.TagsOf[*vpc.SecurityGroup],
	Key:    (*vpc.SecurityGroup).Key,
	Paging: call.Paging{Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true},
}

// getSecurityGroupsForVpc lists the groups that interfaces of a VPC can carry: its own, and those that are associated
// with it.
func getSecurityGroupsForVpc(tx *state.Tx, c call.Call, in *ec2.GetSecurityGroupsForVpcRequest) (*ec2.GetSecurityGroupsForVpcResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	page, next, err := usableListing.Run(tx, c, call.Query{
		Of: string(v.ID), Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, usableIn(tx, v))
	if err != nil {
		return nil, err
	}
	out := &ec2.GetSecurityGroupsForVpcResult{NextToken: next, SecurityGroupForVpcs: make([]ec2.SecurityGroupForVpc, len(page))}
	for i, g := range page {
		out.SecurityGroupForVpcs[i] = ec2.SecurityGroupForVpc{
			GroupId: new(string(g.ID)), GroupName: &g.Name, Description: &g.Description,
			OwnerId: new(string(g.Scope.Account)), PrimaryVpcId: new(string(g.VPC)), Tags: call.WireTags(g.Tags),
		}
	}
	return out, nil
}

// usableIn walks a VPC's groups and those associated with it, by identifier.
func usableIn(tx *state.Tx, v *vpc.VPC) iter.Seq[*vpc.SecurityGroup] {
	groups := slices.Collect(tx.GroupsOf(v.ID))
	for a := range tx.AssociationsWith(v.ID) {
		groups = append(groups, tx.Group(a.Group))
	}
	slices.SortFunc(groups, func(a, b *vpc.SecurityGroup) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Values(groups)
}
