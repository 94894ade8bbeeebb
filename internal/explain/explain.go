// Package explain is the definition of right: it judges a packet plainly and
// slowly, straight from the snapshot's groups and rules, and says why. The
// compiled programs and the kernel must agree with it on every packet.
//
// It shares no code with the compiler, on purpose. It knows no flow state: it
// answers what happens to the first packet of a flow, and whether the flow is
// then tracked.
package explain

import (
	"cmp"
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Why says what decided.
type Why string

// The reasons of a judgement.
const (
	WhyNoRule     Why = "no-rule"    // nothing admits it: dropped
	WhyRule       Why = "rule"       // a rule admits it
	WhyUnfiltered Why = "unfiltered" // traffic that groups never filter
	WhySpoofed    Why = "spoofed"    // not the interface's own address
	WhyReply      Why = "reply"      // answers a flow that is not tracked
)

// Judgement is what one interface says of a packet that belongs to no known flow.
type Judgement struct {
	Verdict packet.Verdict
	Why     Why
	// Rule is the rule that is credited: of those that admit, the one with the
	// lowest id. Nil unless Why is WhyRule or WhyReply.
	Rule *vpc.Rule
	// Admitting are all rules that admit the packet, by id.
	Admitting []*vpc.Rule
	// Tracked says whether the flow is remembered, so that its answers pass and
	// it outlives its rule. Meaningful with WhyRule only.
	Tracked bool
}

// Packet is one that belongs to no known flow.
type Packet struct {
	packet.Tuple
	// Midway says that a TCP packet does not begin a connection: it is no SYN.
	// It may then be the answer in a flow that is not tracked.
	Midway bool
}

// Judge says what interface i does with a packet in a direction.
func Judge(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p Packet) Judgement {
	t := p.Tuple
	local, remote := t.Src, t.Dst
	if d == packet.Ingress {
		local, remote = t.Dst, t.Src
	}
	housekeeping := isDiscovery(d, t) || isDHCP(d, t)
	if i.SourceCheck && !mayUse(i, d, local, housekeeping) {
		return Judgement{Why: WhySpoofed}
	}
	if housekeeping || isService(s, i, remote) {
		return Judgement{Verdict: packet.Allow, Why: WhyUnfiltered}
	}
	admitting := admit(s, i, d, t, remote)
	if len(admitting) == 0 {
		return Judgement{Why: WhyNoRule}
	}
	j := Judgement{Verdict: packet.Allow, Why: WhyRule, Rule: admitting[0], Admitting: admitting}
	j.Tracked = !untracked(s, i, d, t.Proto, admitting)
	begins := t.Proto == packet.TCP && !p.Midway
	if j.Tracked && !begins && answersUntracked(s, i, d, t, local) {
		j.Why, j.Tracked = WhyReply, false
	}
	return j
}

// rules are those of all groups of i in one direction, by id. EC2-Classic knows no outbound rules, and there
// everything may leave: that stands here as a rule of no group.
func rules(s *state.Snapshot, i *vpc.Interface, d packet.Direction) []*vpc.Rule {
	var out []*vpc.Rule
	if i.VPC.Classic() && d == packet.Egress {
		out = append(out, &vpc.Rule{
			ID: vpc.ClassicOutbound, Direction: d, Service: packet.Service{Proto: packet.AllProtos},
			Source: vpc.Source{CIDR: vpc.AllIPv4}, Description: "EC2-Classic has no outbound rules: everything may leave",
		})
	}
	for _, g := range i.Groups {
		for r := range s.RulesOf(g) {
			if r.Direction == d {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *vpc.Rule) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// admit is the rules that admit the packet: "most permissive wins", so their
// order decides nothing but the credit.
func admit(s *state.Snapshot, i *vpc.Interface, d packet.Direction, t packet.Tuple, remote netip.Addr) []*vpc.Rule {
	return slices.DeleteFunc(rules(s, i, d), func(r *vpc.Rule) bool {
		return !r.Service.Matches(t) || !covers(s, i.VPC, r.Source, remote)
	})
}

// covers says whether an address is one that a rule's source stands for. A
// reference to a group stands for the private addresses of the interfaces that
// carry it, here and in the VPCs that are peered with this one (G41); a prefix
// list for its entries as they are now.
func covers(s *state.Snapshot, in vpc.VPCID, src vpc.Source, remote netip.Addr) bool {
	switch {
	case src.Group != "":
		member := meant(s, in, remote)
		return member != nil && slices.Contains(member.Groups, src.Group)
	case src.PrefixList != "":
		list := s.PrefixList(src.PrefixList)
		return list != nil && list.Holds(remote)
	}
	return src.CIDR.IsValid() && src.CIDR.Contains(remote)
}

// isAll says whether a source is all addresses of a family: that block itself,
// or a prefix list that holds it.
func isAll(s *state.Snapshot, src vpc.Source, family netip.Prefix) bool {
	if list := s.PrefixList(src.PrefixList); list != nil {
		return slices.ContainsFunc(list.Entries, func(e vpc.PrefixListEntry) bool { return e.Prefix == family })
	}
	return src.CIDR == family
}

// untracked says whether a flow that begins with these admitting rules is not
// remembered: TCP or UDP, admitted from all addresses, and the other direction
// open to all addresses on all ports, in its family (ec2-behaviour 7.2).
func untracked(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p packet.Proto, admitting []*vpc.Rule) bool {
	if !p.HasPorts() {
		return false
	}
	for _, family := range []netip.Prefix{vpc.AllIPv4, vpc.AllIPv6} {
		fromAll := slices.ContainsFunc(admitting, func(r *vpc.Rule) bool { return isAll(s, r.Source, family) })
		if fromAll && openTo(s, i, d.Other(), p, family) {
			return true
		}
	}
	return false
}

// openTo says whether a direction is open to all addresses of a family on all
// ports of a protocol.
func openTo(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p packet.Proto, family netip.Prefix) bool {
	return slices.ContainsFunc(rules(s, i, d), func(r *vpc.Rule) bool {
		all := r.Service.Proto == packet.AllProtos || r.Service.Proto == p && r.Service.Ports == packet.AllPorts
		return all && isAll(s, r.Source, family)
	})
}

// answersUntracked says whether the packet is the answer in a flow that is not
// tracked: this direction is open to all on all ports, and the other one admits
// from all addresses what the packet answers.
func answersUntracked(s *state.Snapshot, i *vpc.Interface, d packet.Direction, t packet.Tuple, local netip.Addr) bool {
	if !t.Proto.HasPorts() {
		return false
	}
	family := vpc.AllIPv4
	if local.Is6() {
		family = vpc.AllIPv6
	}
	if !openTo(s, i, d, t.Proto, family) {
		return false
	}
	asked := t.Reverse()
	return slices.ContainsFunc(rules(s, i, d.Other()), func(r *vpc.Rule) bool {
		return isAll(s, r.Source, family) && r.Service.Matches(asked)
	})
}

// mayUse is the source/destination check: an interface sends and receives its
// own addresses only. What arrives may be for a group of receivers; discovery
// and DHCP use link-local addresses, and none where they have none yet.
func mayUse(i *vpc.Interface, d packet.Direction, local netip.Addr, housekeeping bool) bool {
	if slices.Contains(i.AllAddrs(), local) {
		return true
	}
	broadcast := local == netip.MustParseAddr("255.255.255.255")
	if d == packet.Ingress && (local.IsMulticast() || broadcast) {
		return true
	}
	return housekeeping && (local.Is6() && local.IsLinkLocalUnicast() || d == packet.Egress && local.IsUnspecified())
}

// isService says whether an address is the VPC's router, its DNS server or one
// of the link-local services: groups never filter their traffic (ec2-behaviour 7.6).
func isService(s *state.Snapshot, i *vpc.Interface, remote netip.Addr) bool {
	if slices.Contains(services(), remote) {
		return true
	}
	if base := vpc.ClassicBlock.Addr(); i.VPC.Classic() && (remote == base.Next() || remote == base.Next().Next()) {
		return true
	}
	if sub := s.Subnet(i.Subnet); sub != nil && sub.Block.IsValid() && remote == sub.Block.Addr().Next() {
		return true
	}
	v := s.VPC(i.VPC)
	return v != nil && len(v.Blocks) > 0 && remote == v.Blocks[0].Prefix.Addr().Next().Next()
}

// isDiscovery: neighbours ask and answer both ways; an instance asks for
// routers and hears them, but is nobody's router (RFC 4861).
func isDiscovery(d packet.Direction, t packet.Tuple) bool {
	if t.Proto != packet.ICMPv6 || t.Code != 0 {
		return false
	}
	switch t.Type {
	case 133:
		return d == packet.Egress
	case 134:
		return d == packet.Ingress
	case 135, 136:
		return true
	}
	return false
}

// isDHCP: an instance is a client of DHCP, never its server (RFC 2131, RFC 8415).
func isDHCP(d packet.Direction, t packet.Tuple) bool {
	if t.Proto != packet.UDP {
		return false
	}
	own, other := t.SrcPort, t.DstPort
	if d == packet.Ingress {
		own, other = other, own
	}
	return t.Src.Is4() && own == 68 && other == 67 || t.Src.Is6() && own == 546 && other == 547
}

// services are the link-local addresses of AWS's own services and the router's.
func services() []netip.Addr {
	var out []netip.Addr
	for _, a := range []string{
		"169.254.169.253", "169.254.169.254", "169.254.169.123", "169.254.170.2",
		"169.254.169.250", "169.254.169.251", "fd00:ec2::253", "fd00:ec2::254", "fd00:ec2::123", "fe80::1",
	} {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
