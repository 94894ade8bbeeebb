package group

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func ruleActions() []call.Operation {
	return []call.Operation{
		call.Writes(authorizeSecurityGroupIngress),
		call.Writes(authorizeSecurityGroupEgress),
		call.Writes(revokeSecurityGroupIngress),
		call.Writes(revokeSecurityGroupEgress),
		call.Writes(modifySecurityGroupRules),
		call.Writes(updateSecurityGroupRuleDescriptionsIngress),
		call.Writes(updateSecurityGroupRuleDescriptionsEgress),
		call.Reads(describeSecurityGroupRules),
	}
}

// draft is a rule that a request speaks of: to be added, or to be found.
type draft struct {
	direction   packet.Direction
	service     packet.Service
	source      vpc.Source
	description *string
}

// identity is what makes the draft the same rule as another.
func (d draft) identity() vpc.Identity {
	return (&vpc.Rule{Direction: d.direction, Service: d.service, Source: d.source}).Identity()
}

// putRule adds the draft to a group as a new rule.
func putRule(tx *state.Tx, c call.Call, g *vpc.SecurityGroup, d draft, tags vpc.Tags) *vpc.Rule {
	r := &vpc.Rule{
		ID:          vpc.RuleID(c.IDs.New("sgr")),
		Scope:       g.Scope,
		Group:       g.ID,
		Direction:   d.direction,
		Service:     d.service,
		Source:      d.source,
		Description: call.Text(d.description),
		Tags:        tags,
		Seq:         tx.NextSeq(),
		Created:     c.Now,
	}
	tx.Put(r)
	return r
}

// ruleLike is the group's rule with the draft's identity, or nil.
func ruleLike(tx *state.Tx, g *vpc.SecurityGroup, d draft) *vpc.Rule {
	want := d.identity()
	for r := range tx.RulesOf(g.ID) {
		if r.Identity() == want {
			return r
		}
	}
	return nil
}

// egressTouched notes that a group's outbound rules are no longer those it was born with.
func egressTouched(tx *state.Tx, id vpc.GroupID) {
	if g := tx.Group(id); g.DefaultEgress {
		changed := *g
		changed.DefaultEgress = false
		tx.Put(&changed)
	}
}

// wireService is a permission with the protocol and ports of a service, and no source yet.
func wireService(s packet.Service) ec2.IpPermission {
	out := ec2.IpPermission{IpProtocol: wireProtocol(s.Proto)}
	if from, to, ok := vpc.PortsOf(s); ok {
		ports := &[2]int32{from, to}
		out.FromPort, out.ToPort = &ports[0], &ports[1]
	}
	return out
}

// Texts that most rules have: one copy serves every answer.
var (
	allText    = packet.AllProtos.String()
	tcpText    = packet.TCP.String()
	udpText    = packet.UDP.String()
	icmpText   = packet.ICMP.String()
	icmpv6Text = packet.ICMPv6.String()
)

func wireProtocol(p packet.Proto) *string {
	switch p {
	case packet.AllProtos:
		return &allText
	case packet.TCP:
		return &tcpText
	case packet.UDP:
		return &udpText
	case packet.ICMP:
		return &icmpText
	case packet.ICMPv6:
		return &icmpv6Text
	}
	return new(p.String())
}

// addSource adds a rule's source to the permission with its service.
func addSource(w *state.Snapshot, p *ec2.IpPermission, r *vpc.Rule) {
	var description *string
	if r.Description != "" {
		description = &r.Description
	}
	switch cidr := r.Source.CIDR; {
	case r.Source.Group != "":
		id, owner, far := string(r.Source.Group), string(r.Source.GroupAccount), farSide(w, r)
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, ec2.UserIdGroupPair{
			GroupId: &id, GroupName: call.Optional(r.Source.GroupName), UserId: &owner, Description: description,
			VpcId: far.vpc, VpcPeeringConnectionId: far.link, PeeringStatus: far.status,
		})
	case r.Source.PrefixList != "":
		p.PrefixListIds = append(p.PrefixListIds,
			ec2.PrefixListId{PrefixListId: new(string(r.Source.PrefixList)), Description: description})
	case cidr.Addr().Is4():
		p.IpRanges = append(p.IpRanges, ec2.IpRange{CidrIp: new(cidr.String()), Description: description})
	case cidr.IsValid():
		p.Ipv6Ranges = append(p.Ipv6Ranges, ec2.Ipv6Range{CidrIpv6: new(cidr.String()), Description: description})
	}
}

// wireRule is a rule as the operations on single rules tell it; without tags it has no list of tags.
func wireRule(w *state.Snapshot, r *vpc.Rule) ec2.SecurityGroupRule {
	id := string(r.ID)
	from, to, _ := vpc.PortsOf(r.Service)
	out := ec2.SecurityGroupRule{
		SecurityGroupRuleId:  &id,
		SecurityGroupRuleArn: new(call.ARN(r.Scope, r.ResourceType(), id)),
		GroupId:              new(string(r.Group)),
		GroupOwnerId:         new(string(r.Scope.Account)),
		IsEgress:             new(r.Direction == packet.Egress),
		IpProtocol:           wireProtocol(r.Service.Proto),
		FromPort:             &from,
		ToPort:               &to,
		Tags:                 call.WireTags(r.Tags),
		Description:          call.Optional(r.Description),
	}
	switch cidr := r.Source.CIDR; {
	case r.Source.Group != "":
		far := farSide(w, r)
		out.ReferencedGroupInfo = &ec2.ReferencedSecurityGroup{
			GroupId: new(string(r.Source.Group)), UserId: new(string(r.Source.GroupAccount)),
			VpcId: far.vpc, VpcPeeringConnectionId: far.link, PeeringStatus: far.status,
		}
	case r.Source.PrefixList != "":
		out.PrefixListId = new(string(r.Source.PrefixList))
	case cidr.Addr().Is4():
		out.CidrIpv4 = new(cidr.String())
	case cidr.IsValid():
		out.CidrIpv6 = new(cidr.String())
	}
	return out
}

// ruleKey orders rules as they were added.
func ruleKey(r *vpc.Rule) string {
	const digits = 20 // of the largest number
	n := strconv.FormatUint(r.Seq, 10)
	return "00000000000000000000"[:digits-len(n)] + n + "/" + string(r.ID)
}

var ruleListing = call.Listing[*vpc.Rule]{
	Attributes: call.Attributes[*vpc.Rule]{
		"group-id":               call.One(func(r *vpc.Rule) string { return string(r.Group) }),
		"security-group-rule-id": call.One((*vpc.Rule).Key),
	},
	Tags: call.TagsOf[*vpc.Rule],
	Key:  ruleKey,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "maxResults",
		Together: "The parameter 'securityGroupRuleIds' may not be used in combination with 'maxResults'.",
		BadToken: apierr.CodeInvalidPaginationToken,
	},
}

func describeSecurityGroupRules(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupRulesRequest) (*ec2.DescribeSecurityGroupRulesResult, error) {
	all, err := rulesAsked(tx, c, in)
	if err != nil {
		return nil, err
	}
	page, next, err := ruleListing.Run(tx, c, call.Query{
		IDs: in.SecurityGroupRuleIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupRulesResult{NextToken: next, SecurityGroupRules: make([]ec2.SecurityGroupRule, len(page))}
	for i, r := range page {
		out.SecurityGroupRules[i] = wireRule(tx.Snapshot, r)
		if r.Tags == nil {
			out.SecurityGroupRules[i].Tags = []ec2.Tag{}
		}
	}
	return out, nil
}

// rulesAsked walks the rules with the request's identifiers, or those that its filters may accept, as they were
// added. A group's identifier in a filter has to be one, unlike other filters' values.
func rulesAsked(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupRulesRequest) (iter.Seq[*vpc.Rule], error) {
	for i := range in.Filters {
		if call.Text(in.Filters[i].Name) != "group-id" {
			continue
		}
		for _, id := range in.Filters[i].Values {
			if call.Literal(id) && call.GroupForm.Fits(id) != nil {
				return nil, apierr.New(apierr.CodeInvalidGroupIdMalformed, "The security group ID '%s' is malformed", id)
			}
		}
	}
	if len(in.SecurityGroupRuleIds) > 0 {
		rules, err := call.FindAll[*vpc.Rule](tx, c, &call.RuleForm, in.SecurityGroupRuleIds)
		return inOrder(rules), err
	}
	var rules []*vpc.Rule
	if ids, ok := call.ExactValues(in.Filters, "security-group-rule-id"); ok {
		return inOrder(slices.Collect(call.Entities[*vpc.Rule](tx, c, &call.RuleForm, ids))), nil
	}
	if ids, ok := call.ExactValues(in.Filters, "group-id"); ok {
		for g := range call.Entities[*vpc.SecurityGroup](tx, c, &call.GroupForm, ids) {
			rules = slices.AppendSeq(rules, tx.RulesOf(g.ID))
		}
		return inOrder(rules), nil
	}
	return tx.RulesIn(c.Scope), nil
}

// inOrder walks rules as they were added.
func inOrder(rules []*vpc.Rule) iter.Seq[*vpc.Rule] {
	slices.SortFunc(rules, func(a, b *vpc.Rule) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
	})
	return slices.Values(rules)
}
