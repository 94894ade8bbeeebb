package group

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// revokeSecurityGroupIngress removes inbound rules (G116).
func revokeSecurityGroupIngress(tx *state.Tx, c call.Call, in *ec2.RevokeSecurityGroupIngressRequest) (*ec2.RevokeSecurityGroupIngressResult, error) {
	g, err := targetGroup(tx, c, in.GroupId, in.GroupName)
	if err != nil {
		return nil, err
	}
	flat := flatForm{in.IpProtocol, in.FromPort, in.ToPort, in.CidrIp, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId}
	permissions, err := orFlat(in.IpPermissions, flat)
	if err != nil {
		return nil, err
	}
	revoked, unknown, err := revoke(tx, c, g, packet.Ingress, permissions, in.SecurityGroupRuleIds)
	if err != nil {
		return nil, err
	}
	return &ec2.RevokeSecurityGroupIngressResult{
		Return: new(true), UnknownIpPermissions: unknown, RevokedSecurityGroupRules: revoked,
	}, nil
}

// revokeSecurityGroupEgress removes outbound rules (G117); the one that every group is born with is like any
// other (G14).
func revokeSecurityGroupEgress(tx *state.Tx, c call.Call, in *ec2.RevokeSecurityGroupEgressRequest) (*ec2.RevokeSecurityGroupEgressResult, error) {
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
	revoked, unknown, err := revoke(tx, c, g, packet.Egress, in.IpPermissions, in.SecurityGroupRuleIds)
	if err != nil {
		return nil, err
	}
	if len(revoked) > 0 {
		egressTouched(tx, g.ID)
	}
	return &ec2.RevokeSecurityGroupEgressResult{
		Return: new(true), UnknownIpPermissions: unknown, RevokedSecurityGroupRules: revoked,
	}, nil
}

// revoke removes the rules that identifiers or permissions name. A permission that no rule has is an error, and
// then nothing is removed; only in a default VPC and in EC2-Classic it is answered among the unknown, and the others
// are removed.
func revoke(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d packet.Direction, in []ec2.IpPermission, ids []string) (
	revoked []ec2.RevokedSecurityGroupRule, unknown []ec2.IpPermission, err error,
) {
	var rules []*vpc.Rule
	switch {
	case len(in) > 0 && len(ids) > 0:
		return nil, nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter ipPermissions cannot be used with the parameter securityGroupRuleIds")
	case len(in) == 0 && len(ids) == 0:
		return nil, nil, apierr.New(apierr.CodeMissingParameter,
			"Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.")
	case len(ids) > 0:
		rules, err = rulesByID(tx, c, g, d, ids)
	default:
		rules, unknown, err = rulesByPermission(tx, c, g, d, in)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rules {
		tx.Delete(r)
		revoked = append(revoked, wireRevoked(tx.Snapshot, r))
	}
	return revoked, unknown, nil
}

// rulesByID are the rules of the group and direction with the identifiers.
func rulesByID(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d packet.Direction, ids []string) ([]*vpc.Rule, error) {
	rules, err := call.FindAll[*vpc.Rule](tx, c, &call.RuleForm, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if r.Group != g.ID || r.Direction != d {
			return nil, apierr.New(call.RuleForm.Missing, call.RuleForm.MissingText+". It is an %s rule of %s, not an %s rule of %s.",
				r.ID, r.Direction, r.Group, d, g.ID)
		}
	}
	return rules, nil
}

// rulesByPermission are the group's rules that the permissions name, and the permissions that it does not have.
func rulesByPermission(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d packet.Direction, in []ec2.IpPermission) (
	rules []*vpc.Rule, unknown []ec2.IpPermission, err error,
) {
	reader := permissionReader{tx: tx, c: c, group: g, direction: d, existing: true}
	drafts, err := reader.read(in)
	if err != nil {
		return nil, nil, err
	}
	there := map[vpc.Identity]*vpc.Rule{}
	for r := range tx.RulesOf(g.ID) {
		there[r.Identity()] = r
	}
	tolerant := g.VPC.Classic() || inDefaultVPC(tx, g)
	for _, want := range drafts {
		switch r := there[want.identity()]; {
		case r != nil:
			rules = append(rules, r)
		case tolerant:
			unknown = append(unknown, want.wire(tx.Snapshot))
		default:
			return nil, nil, noSuchRule(g, want)
		}
	}
	return rules, unknown, nil
}

func inDefaultVPC(tx *state.Tx, g *vpc.SecurityGroup) bool {
	v := tx.VPC(g.VPC)
	return v != nil && v.Default
}

// noSuchRule is the answer to a rule that a group does not have.
func noSuchRule(g *vpc.SecurityGroup, d draft) error {
	return apierr.New(apierr.CodeInvalidPermissionNotFound,
		"The specified rule does not exist in this security group. %s has no %s rule for %s.", g.ID, d.direction, d.identity().Describe())
}

func wireRevoked(snap *state.Snapshot, r *vpc.Rule) ec2.RevokedSecurityGroupRule {
	w := wireRule(snap, r)
	out := ec2.RevokedSecurityGroupRule{
		SecurityGroupRuleId: w.SecurityGroupRuleId, GroupId: w.GroupId, IsEgress: w.IsEgress,
		IpProtocol: w.IpProtocol, FromPort: w.FromPort, ToPort: w.ToPort,
		CidrIpv4: w.CidrIpv4, CidrIpv6: w.CidrIpv6, PrefixListId: w.PrefixListId, Description: w.Description,
	}
	if w.ReferencedGroupInfo != nil {
		out.ReferencedGroupId = w.ReferencedGroupInfo.GroupId
	}
	return out
}
