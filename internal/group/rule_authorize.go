package group

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// authorizeSecurityGroupIngress adds inbound rules (G114), all of them or none.
func authorizeSecurityGroupIngress(tx *state.Tx, c call.Call, in *ec2.AuthorizeSecurityGroupIngressRequest) (*ec2.AuthorizeSecurityGroupIngressResult, error) {
	g, err := targetGroup(tx, c, in.GroupId, in.GroupName)
	if err != nil {
		return nil, err
	}
	flat := flatForm{in.IpProtocol, in.FromPort, in.ToPort, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId}
	permissions, err := orFlat(in.IpPermissions, flat)
	if err != nil {
		return nil, err
	}
	rules, err := authorize(tx, c, g, packet.Ingress, permissions, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return &ec2.AuthorizeSecurityGroupIngressResult{Return: new(true), SecurityGroupRules: rules}, nil
}

// authorizeSecurityGroupEgress adds outbound rules (G115), all of them or none.
func authorizeSecurityGroupEgress(tx *state.Tx, c call.Call, in *ec2.AuthorizeSecurityGroupEgressRequest) (*ec2.AuthorizeSecurityGroupEgressResult, error) {
	g, err := findGroup(tx, c, call.Text(in.GroupId))
	if err != nil {
		return nil, err
	}
	if err := onlyVPC(g); err != nil {
		return nil, err
	}
	flat := flatForm{in.IpProtocol, in.FromPort, in.ToPort, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId}
	if err := noFlatEgress(flat); err != nil {
		return nil, err
	}
	rules, err := authorize(tx, c, g, packet.Egress, in.IpPermissions, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	egressTouched(tx, g.ID)
	return &ec2.AuthorizeSecurityGroupEgressResult{Return: new(true), SecurityGroupRules: rules}, nil
}

// noFlatEgress refuses the older way to say a permission, which outbound rules never had.
func noFlatEgress(f flatForm) error {
	if f.empty() {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"The parameters ipProtocol, fromPort, toPort, cidrIp, sourceSecurityGroupName and sourceSecurityGroupOwnerId "+
			"are not supported for outbound rules. Use ipPermissions.")
}

func authorize(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d packet.Direction, in []ec2.IpPermission, specs []ec2.TagSpecification) ([]ec2.SecurityGroupRule, error) {
	if len(in) == 0 {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter ipPermissions")
	}
	reader := permissionReader{tx: tx, c: c, group: g, direction: d}
	drafts, err := reader.read(in)
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, specs, ec2.ResourceTypeSecurityGroupRule)
	if err != nil {
		return nil, err
	}
	there := map[vpc.Identity]*vpc.Rule{}
	for r := range tx.RulesOf(g.ID) {
		there[r.Identity()] = r
	}
	for _, d := range drafts {
		if r := there[d.identity()]; r != nil {
			return nil, duplicateRule(r)
		}
	}
	out := make([]ec2.SecurityGroupRule, len(drafts))
	for i, d := range drafts {
		out[i] = wireRule(tx.Snapshot, putRule(tx, c, g, d, tags[ec2.ResourceTypeSecurityGroupRule]))
	}
	if err := CheckRules(tx, g); err != nil {
		return nil, err
	}
	return out, nil
}

// duplicateRule is the answer to a rule that the group has already.
func duplicateRule(r *vpc.Rule) error {
	return apierr.New(apierr.CodeInvalidPermissionDuplicate,
		`the specified rule "%s" already exists. It is %s of %s.`, r.Identity().Text(), r.ID, r.Group)
}
