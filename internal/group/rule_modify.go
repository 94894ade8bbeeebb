package group

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// modifySecurityGroupRules replaces what rules say; their identifiers, tags, direction and kind of source stay.
// Two rules may exchange what they say.
func modifySecurityGroupRules(tx *state.Tx, c call.Call, in *ec2.ModifySecurityGroupRulesRequest) (*ec2.ModifySecurityGroupRulesResult, error) {
	g, err := findGroup(tx, c, call.Text(in.GroupId))
	if err != nil {
		return nil, err
	}
	if len(in.SecurityGroupRules) == 0 {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter SecurityGroupRule")
	}
	rules, err := rulesToModify(tx, c, g, in.SecurityGroupRules)
	if err != nil {
		return nil, err
	}
	egress := false
	for i, r := range rules {
		var body ec2.SecurityGroupRuleRequest
		if in.SecurityGroupRules[i].SecurityGroupRule != nil {
			body = *in.SecurityGroupRules[i].SecurityGroupRule
		}
		changed, err := modified(tx, c, g, r, &body)
		if err != nil {
			return nil, err
		}
		egress = egress || r.Direction == packet.Egress && changed.Identity() != r.Identity()
		if changed.Identity() != r.Identity() || changed.Description != r.Description {
			tx.Put(changed)
		}
	}
	if r := rulesAlike(tx, g, rules); r != nil {
		return nil, duplicateRule(r)
	}
	if err := CheckRules(tx, g); err != nil { // another prefix list weighs more than the one before
		return nil, err
	}
	if egress {
		egressTouched(tx, g.ID)
	}
	return &ec2.ModifySecurityGroupRulesResult{Return: new(true)}, nil
}

// rulesAlike is a rule of the group that says what another one says, or nil; of the two, one that is not among
// those that were just modified, if there is such.
func rulesAlike(tx *state.Tx, g *vpc.SecurityGroup, modified []*vpc.Rule) *vpc.Rule {
	seen := map[vpc.Identity]*vpc.Rule{}
	for r := range tx.RulesOf(g.ID) {
		other := seen[r.Identity()]
		if other == nil {
			seen[r.Identity()] = r
			continue
		}
		if slices.ContainsFunc(modified, func(m *vpc.Rule) bool { return m.ID == other.ID }) {
			return r
		}
		return other
	}
	return nil
}

// rulesToModify are the rules of the group that the updates name, in their order.
func rulesToModify(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, updates []ec2.SecurityGroupRuleUpdate) ([]*vpc.Rule, error) {
	var out []*vpc.Rule
	seen := map[vpc.RuleID]bool{}
	for i := range updates {
		r, err := call.Find[*vpc.Rule](tx, c, &call.RuleForm, call.Text(updates[i].SecurityGroupRuleId))
		if err != nil {
			return nil, err
		}
		if r.Group != g.ID {
			return nil, apierr.New(call.RuleForm.Missing, call.RuleForm.MissingText+". It is a rule of %s, not of %s.", r.ID, r.Group, g.ID)
		}
		if seen[r.ID] {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"Duplicated security group rule ID '%s'. The same security group rule ID must not appear multiple times.", r.ID)
		}
		seen[r.ID] = true
		out = append(out, r)
	}
	return out, nil
}

// modified is the rule with what the body says in place of what it said.
func modified(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, r *vpc.Rule, body *ec2.SecurityGroupRuleRequest) (*vpc.Rule, error) {
	service, err := modifiedService(g, body)
	if err != nil {
		return nil, err
	}
	if service.Proto == packet.AllProtos && (somePort(body.FromPort) || somePort(body.ToPort)) {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"You may not specify all protocols and specific ports. Please specify each protocol and port range "+
				"combination individually, or all protocols and no port range.")
	}
	if err := checkSourceKind(r, body); err != nil {
		return nil, err
	}
	source, err := modifiedSource(tx, c, g, r, body)
	if err != nil {
		return nil, err
	}
	if err := vpc.CheckRuleDescription(call.Text(body.Description)); err != nil {
		return nil, err
	}
	out := *r
	out.Service, out.Source, out.Description = service, source, call.Text(body.Description)
	return &out, nil
}

func modifiedService(g *vpc.SecurityGroup, body *ec2.SecurityGroupRuleRequest) (packet.Service, error) {
	if !g.VPC.Classic() {
		return vpc.NewService(body.IpProtocol, body.FromPort, body.ToPort)
	}
	const severalRules = false // it is one rule that is modified, and stays one
	services, err := vpc.ClassicServices(body.IpProtocol, body.FromPort, body.ToPort, severalRules)
	if err != nil {
		return packet.Service{}, err
	}
	return services[0], nil
}

// somePort says whether a port is given that is not -1, which stands for all.
func somePort(p *int32) bool { return p != nil && *p != -1 }

// checkSourceKind refuses no source, several, and one of another kind than the rule has.
func checkSourceKind(r *vpc.Rule, body *ec2.SecurityGroupRuleRequest) error {
	kinds := []struct {
		given    *string
		name, is string
		same     bool
	}{
		{body.CidrIpv4, "CidrIpv4", "IPv4 CIDR", r.Source.CIDR.Addr().Is4()},
		{body.CidrIpv6, "CidrIpv6", "IPv6 CIDR", r.Source.CIDR.Addr().Is6()},
		{body.PrefixListId, "PrefixListId", "prefix list", r.Source.PrefixList != ""},
		{body.ReferencedGroupId, "ReferencedGroupId", "referenced group", r.Source.Group != ""},
	}
	n, wrong, has := 0, "", ""
	for _, k := range kinds {
		if k.same {
			has = k.is
		}
		if call.Text(k.given) != "" {
			n++
			if !k.same {
				wrong = k.name
			}
		}
	}
	switch {
	case n == 0:
		return apierr.New(apierr.CodeMissingParameter,
			"The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId")
	case n > 1:
		return apierr.New(apierr.CodeInvalidParameterCombination,
			"Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified")
	case wrong != "":
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid rule type for security group rule '%s'. You may not specify %s for an existing %s rule.", r.ID, wrong, has)
	}
	return nil
}

// modifiedSource is the body's one source, which is of the kind that the rule has.
func modifiedSource(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, r *vpc.Rule, body *ec2.SecurityGroupRuleRequest) (vpc.Source, error) {
	reader := permissionReader{tx: tx, c: c, group: g}
	switch {
	case call.Text(body.CidrIpv4) != "":
		block, err := vpc.ParseCIDR(*body.CidrIpv4)
		return vpc.Source{CIDR: block}, err
	case call.Text(body.CidrIpv6) != "":
		block, err := vpc.ParseCIDR6(*body.CidrIpv6)
		return vpc.Source{CIDR: block}, err
	case call.Text(body.PrefixListId) != "":
		return reader.prefixList(*body.PrefixListId)
	case *body.ReferencedGroupId == string(r.Source.Group):
		return r.Source, nil
	}
	return reader.pair(&ec2.UserIdGroupPair{GroupId: body.ReferencedGroupId})
}

// updateSecurityGroupRuleDescriptionsIngress changes the descriptions of inbound rules and nothing else (G119).
func updateSecurityGroupRuleDescriptionsIngress(tx *state.Tx, c call.Call, in *ec2.UpdateSecurityGroupRuleDescriptionsIngressRequest) (*ec2.UpdateSecurityGroupRuleDescriptionsIngressResult, error) {
	g, err := targetGroup(tx, c, in.GroupId, in.GroupName)
	if err != nil {
		return nil, err
	}
	if err := describeRules(tx, c, g, packet.Ingress, in.IpPermissions, in.SecurityGroupRuleDescriptions); err != nil {
		return nil, err
	}
	return &ec2.UpdateSecurityGroupRuleDescriptionsIngressResult{Return: new(true)}, nil
}

// updateSecurityGroupRuleDescriptionsEgress changes the descriptions of outbound rules and nothing else (G120).
func updateSecurityGroupRuleDescriptionsEgress(tx *state.Tx, c call.Call, in *ec2.UpdateSecurityGroupRuleDescriptionsEgressRequest) (*ec2.UpdateSecurityGroupRuleDescriptionsEgressResult, error) {
	g, err := targetGroup(tx, c, in.GroupId, in.GroupName)
	if err != nil {
		return nil, err
	}
	if err := onlyVPC(g); err != nil {
		return nil, err
	}
	if err := describeRules(tx, c, g, packet.Egress, in.IpPermissions, in.SecurityGroupRuleDescriptions); err != nil {
		return nil, err
	}
	return &ec2.UpdateSecurityGroupRuleDescriptionsEgressResult{Return: new(true)}, nil
}

// describeRules gives rules, named by permissions or by identifiers, new descriptions; none takes the old away.
func describeRules(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d packet.Direction, in []ec2.IpPermission, byID []ec2.SecurityGroupRuleDescription) error {
	switch {
	case len(in) > 0 && len(byID) > 0:
		return apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter ipPermissions cannot be used with the parameter securityGroupRuleDescriptions")
	case len(in) == 0 && len(byID) == 0:
		return apierr.New(apierr.CodeMissingParameter,
			"Either 'ipPermissions' or 'securityGroupRuleDescriptions' should be provided.")
	}
	for i := range byID {
		id := call.Text(byID[i].SecurityGroupRuleId)
		rules, err := rulesByID(tx, c, g, d, []string{id})
		if err != nil {
			return err
		}
		if err := describeRule(tx, rules[0], byID[i].Description); err != nil {
			return err
		}
	}
	reader := permissionReader{tx: tx, c: c, group: g, direction: d, existing: true}
	drafts, err := reader.read(in)
	if err != nil {
		return err
	}
	for _, want := range drafts {
		r := ruleLike(tx, g, want)
		if r == nil {
			return noSuchRule(g, want)
		}
		if err := describeRule(tx, r, want.description); err != nil {
			return err
		}
	}
	return nil
}

func describeRule(tx *state.Tx, r *vpc.Rule, description *string) error {
	if err := vpc.CheckRuleDescription(call.Text(description)); err != nil {
		return err
	}
	if r.Description != call.Text(description) {
		changed := *r
		changed.Description = call.Text(description)
		tx.Put(&changed)
	}
	return nil
}
