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

// What is different of groups in EC2-Classic (guide, "Differences Between Security Groups for EC2-Classic and
// EC2-VPC"). All else is as in a default VPC.

// createClassicGroup makes a group of EC2-Classic, which has no rules at all: there are no outbound ones (G74).
func createClassicGroup(tx *state.Tx, c call.Call, name string, in *ec2.CreateSecurityGroupRequest) (*vpc.SecurityGroup, error) {
	description := call.Text(in.Description)
	if err := checkTextsGiven(name, description); err != nil {
		return nil, err
	}
	if err := vpc.CheckClassicName(name); err != nil {
		return nil, err
	}
	if err := vpc.CheckClassicDescription(description); err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeSecurityGroup)
	if err != nil {
		return nil, err
	}
	if other := tx.ClassicGroupNamed(c.Scope, name); other != nil {
		return nil, apierr.New(apierr.CodeInvalidGroupDuplicate,
			"The security group '%s' already exists. It is %s, named '%s'.", name, other.ID, other.Name)
	}
	if n, most := tx.CountClassicGroups(c.Scope), call.Quotas(tx, c.Scope.Account).ClassicGroups; n >= most { // G70
		return nil, apierr.New(apierr.CodeSecurityGroupLimitExceeded,
			"The maximum number of security groups has been reached. EC2-Classic in %s has %d of %d.", c.Scope.Region, n, most)
	}
	return newClassicGroup(tx, c, name, description, tags[ec2.ResourceTypeSecurityGroup]), nil
}

func newClassicGroup(tx *state.Tx, c call.Call, name, description string, tags vpc.Tags) *vpc.SecurityGroup {
	g := &vpc.SecurityGroup{
		ID:          vpc.GroupID(c.IDs.New("sg")),
		Scope:       c.Scope,
		VPC:         vpc.ClassicNetwork(c.Scope.Region),
		Name:        name,
		Description: description,
		Tags:        tags,
		Created:     c.Now,
	}
	tx.Put(g)
	return g
}

// NewClassicDefault puts the default group of EC2-Classic, which comes with an account's first call in a region: its
// members reach each other by TCP, UDP and ICMP.
func NewClassicDefault(tx *state.Tx, c call.Call) {
	g := newClassicGroup(tx, c, vpc.DefaultGroupName, "default group", nil)
	for _, s := range []packet.Service{
		{Proto: packet.TCP, Ports: packet.AllPorts},
		{Proto: packet.UDP, Ports: packet.AllPorts},
		{Proto: packet.ICMP, Type: packet.Any, Code: packet.Any},
	} {
		putRule(tx, c, g, draft{direction: packet.Ingress, service: s, source: classicSource(g)}, nil)
	}
}

// classicSource is a group of EC2-Classic as the source of a rule.
func classicSource(g *vpc.SecurityGroup) vpc.Source {
	return vpc.Source{Group: g.ID, GroupAccount: g.Scope.Account, GroupName: g.Name}
}

// onlyVPC refuses EC2-Classic's groups, which have rules for inbound traffic only (G74).
func onlyVPC(g *vpc.SecurityGroup) error {
	if !g.VPC.Classic() {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Only Amazon VPC security groups may be used with this operation. %s is of EC2-Classic, which has no outbound rules.", g.ID)
}

// deletableClassic refuses to delete the default group, and one that instances carry or other groups' rules, of
// whatever account, reference (G90).
func deletableClassic(tx *state.Tx, g *vpc.SecurityGroup) error {
	if g.IsDefault() {
		return apierr.New(apierr.CodeInvalidGroupReserved, "The security group '%s' is reserved. It is %s.", g.Name, g.ID)
	}
	var instances []string
	for i := range tx.InterfacesWith(g.ID) {
		instances = append(instances, string(i.Attachment.Instance))
	}
	if instances != nil {
		return apierr.New(apierr.CodeInvalidGroupInUse,
			"There are active instances using security group '%s' (%s): %s", g.Name, g.ID, call.SomeOf(instances))
	}
	if rules := referencesTo(tx, g); rules != nil {
		return apierr.New(apierr.CodeInvalidGroupInUse,
			"The security group '%s' (%s) is referenced by rules of other groups: %s", g.Name, g.ID, call.SomeOf(rules))
	}
	return nil
}

// classicPermissions are permissions for a group of EC2-Classic with what may be left out there: each names its
// protocol and ports, and has sources of EC2-Classic only (G83, G84, G87, G94).
func classicPermissions(in []ec2.IpPermission) ([]ec2.IpPermission, error) {
	var out []ec2.IpPermission
	for i := range in {
		p := &in[i]
		if len(p.Ipv6Ranges) > 0 || len(p.PrefixListIds) > 0 {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"IPv6 blocks and prefix lists may only be used with Amazon VPC security groups.")
		}
		services, err := vpc.ClassicServices(p.IpProtocol, p.FromPort, p.ToPort, len(p.UserIdGroupPairs) > 0 && len(p.IpRanges) == 0)
		if err != nil {
			return nil, err
		}
		for _, s := range services {
			full := wireService(s)
			full.IpRanges, full.UserIdGroupPairs = p.IpRanges, p.UserIdGroupPairs
			out = append(out, full)
		}
	}
	return out, nil
}

// classicPair is the group that a pair of account and group names for a rule of EC2-Classic: by identifier or by
// name, of the caller or of the account that the pair names (G78). A VPC's group cannot be a source there (G69).
func (p *permissionReader) classicPair(in *ec2.UserIdGroupPair) (vpc.Source, error) {
	owner := p.c.Scope
	if call.Text(in.UserId) != "" {
		owner.Account = vpc.AccountID(*in.UserId)
	}
	id, name := call.Text(in.GroupId), call.Text(in.GroupName)
	if id == "" && name == "" {
		return vpc.Source{}, apierr.New(apierr.CodeMissingParameter, "Source group ID missing.")
	}
	if id == "" {
		g := p.tx.ClassicGroupNamed(owner, name)
		if g == nil || g.Name != name {
			return vpc.Source{}, apierr.New(apierr.CodeInvalidGroupNotFound,
				"The security group '%s' does not exist. EC2-Classic of account %s has none of that name in %s.", name, owner.Account, owner.Region)
		}
		return classicSource(g), nil
	}
	if err := call.GroupForm.Fits(id); err != nil {
		return vpc.Source{}, err
	}
	if p.existing {
		return vpc.Source{Group: vpc.GroupID(id)}, nil
	}
	g := p.tx.Group(vpc.GroupID(id))
	switch {
	case g == nil || g.Scope != owner || g.Scope != p.c.Scope && !g.VPC.Classic():
		return vpc.Source{}, call.GroupForm.NotFound(id)
	case !g.VPC.Classic():
		return vpc.Source{}, differentNetworks(p.group, g)
	}
	return classicSource(g), nil
}

// ForClassicInstance reads the groups that an instance is launched with into EC2-Classic, by identifier: each once, in
// the order given, of EC2-Classic and not too many (G76); the default group if none is given.
func ForClassicInstance(tx *state.Tx, c call.Call, ids []string) ([]vpc.GroupID, error) {
	var out []vpc.GroupID
	for _, id := range ids {
		g, err := call.Find[*vpc.SecurityGroup](tx, c, &call.UsedGroupForm, id)
		if err != nil {
			return nil, err
		}
		if !g.VPC.Classic() {
			return nil, apierr.New(apierr.CodeInvalidParameterCombination,
				"VPC security groups may not be used for a non-VPC launch. %s is of %s.", g.ID, g.VPC)
		}
		if !slices.Contains(out, g.ID) {
			out = append(out, g.ID)
		}
	}
	if len(out) == 0 {
		out = append(out, tx.ClassicGroupNamed(c.Scope, vpc.DefaultGroupName).ID)
	}
	if most := call.Quotas(tx, c.Scope.Account).ClassicGroupsPerInstance; len(out) > most {
		return nil, apierr.New(apierr.CodeSecurityGroupsPerInstanceLimitExceeded,
			"The maximum number of security groups per instance has been reached. There would be %d of %d.", len(out), most)
	}
	n, _ := rulesOver(tx, out)
	if most := call.Quotas(tx, c.Scope.Account).ClassicRulesPerInstance; n > most {
		return nil, apierr.New(apierr.CodeRulesPerSecurityGroupLimitExceeded,
			"The maximum number of rules per security group has been reached. The instance would have %d rules of %d over its groups.", n, most)
	}
	return out, nil
}
