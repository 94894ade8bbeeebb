package ops

import (
	"strconv"

	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// draft is a rule that a request speaks of: to be added, or to be found.
type draft struct {
	direction   packet.Direction
	service     packet.Service
	source      vpc.Source
	description *string
	// prefixList is set, and source is not, if the source is a prefix list. No rule has one yet, so that nothing
	// is like such a draft.
	prefixList string
}

// identity is what makes the draft the same rule as another (ec2-behaviour 2.2).
func (d draft) identity() vpc.Identity {
	return vpc.Identity{Direction: d.direction, Service: d.service, CIDR: d.source.CIDR, Group: d.source.Group}
}

// putRule adds the draft to a group as a new rule.
func putRule(tx *state.Tx, c Call, g *vpc.SecurityGroup, d draft, tags vpc.Tags) *vpc.Rule {
	r := &vpc.Rule{
		ID:          vpc.RuleID(c.IDs.New("sgr")),
		Scope:       g.Scope,
		Group:       g.ID,
		Direction:   d.direction,
		Service:     d.service,
		Source:      d.source,
		Description: text(d.description),
		Tags:        tags,
		Seq:         tx.NextSeq(),
		Created:     c.Now,
	}
	tx.Put(r)
	return r
}

// ruleLike is the group's rule with the draft's identity, or nil.
func ruleLike(tx *state.Tx, g *vpc.SecurityGroup, d draft) *vpc.Rule {
	if d.prefixList != "" {
		return nil
	}
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
	out := ec2.IpPermission{IpProtocol: new(s.Proto.String())}
	if from, to, ok := vpc.PortsOf(s); ok {
		out.FromPort, out.ToPort = &from, &to
	}
	return out
}

// addSource adds a rule's source to the permission with its service.
func addSource(p *ec2.IpPermission, r *vpc.Rule) {
	var description *string
	if r.Description != "" {
		description = &r.Description
	}
	switch cidr := r.Source.CIDR; {
	case r.Source.Group != "":
		id, owner := string(r.Source.Group), string(r.Source.GroupAccount)
		p.UserIdGroupPairs = append(p.UserIdGroupPairs,
			ec2.UserIdGroupPair{GroupId: &id, UserId: &owner, Description: description})
	case cidr.Addr().Is4():
		p.IpRanges = append(p.IpRanges, ec2.IpRange{CidrIp: new(cidr.String()), Description: description})
	case cidr.IsValid():
		p.Ipv6Ranges = append(p.Ipv6Ranges, ec2.Ipv6Range{CidrIpv6: new(cidr.String()), Description: description})
	}
}

// wireRule is a rule as the operations on single rules tell it; without tags it has no list of tags.
func wireRule(r *vpc.Rule) ec2.SecurityGroupRule {
	id := string(r.ID)
	from, to, _ := vpc.PortsOf(r.Service)
	out := ec2.SecurityGroupRule{
		SecurityGroupRuleId:  &id,
		SecurityGroupRuleArn: new(arn(r.Scope, r.ResourceType(), id)),
		GroupId:              new(string(r.Group)),
		GroupOwnerId:         new(string(r.Scope.Account)),
		IsEgress:             new(r.Direction == packet.Egress),
		IpProtocol:           new(r.Service.Proto.String()),
		FromPort:             &from,
		ToPort:               &to,
		Tags:                 wireTags(r.Tags),
		Description:          optional(r.Description),
	}
	switch cidr := r.Source.CIDR; {
	case r.Source.Group != "":
		out.ReferencedGroupInfo = &ec2.ReferencedSecurityGroup{
			GroupId: new(string(r.Source.Group)), UserId: new(string(r.Source.GroupAccount)),
		}
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
