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
	// lowest id. Nil unless Why is WhyRule.
	Rule *vpc.Rule
	// Admitting are all rules that admit the packet, by id.
	Admitting []*vpc.Rule
	// Tracked says whether the flow is remembered, so that its answers pass and
	// it outlives its rule. Meaningful with WhyRule only.
	Tracked bool
}

// Judge says what interface i does with a packet in a direction.
func Judge(s *state.Snapshot, i *vpc.Interface, d packet.Direction, t packet.Tuple) Judgement {
	local, remote := t.Src, t.Dst
	if d == packet.Ingress {
		local, remote = t.Dst, t.Src
	}
	if neverFiltered(s, i, t, remote) {
		return Judgement{Verdict: packet.Allow, Why: WhyUnfiltered}
	}
	if i.SourceCheck && !slices.Contains(i.AllAddrs(), local) {
		return Judgement{Why: WhySpoofed}
	}
	admitting := admit(s, i, d, t, remote)
	if len(admitting) == 0 {
		return Judgement{Why: WhyNoRule}
	}
	j := Judgement{Verdict: packet.Allow, Why: WhyRule, Rule: admitting[0], Admitting: admitting}
	j.Tracked = !untracked(s, i, d, t.Proto, admitting)
	if j.Tracked && answersUntracked(s, i, d, t, local) {
		j.Why, j.Rule, j.Tracked = WhyReply, nil, false
	}
	return j
}

// rules are those of all groups of i in one direction, by id.
func rules(s *state.Snapshot, i *vpc.Interface, d packet.Direction) []*vpc.Rule {
	var out []*vpc.Rule
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
// carry it.
func covers(s *state.Snapshot, in vpc.VPCID, src vpc.Source, remote netip.Addr) bool {
	if src.Group == "" {
		return src.CIDR.IsValid() && src.CIDR.Contains(remote)
	}
	member := s.InterfaceAt(in, remote)
	return member != nil && slices.Contains(member.Groups, src.Group)
}

// untracked says whether a flow that begins with these admitting rules is not
// remembered: TCP or UDP, admitted from all addresses, and the other direction
// open to all addresses on all ports, in its family (ec2-behaviour 7.2).
func untracked(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p packet.Proto, admitting []*vpc.Rule) bool {
	if !p.HasPorts() {
		return false
	}
	for _, family := range []netip.Prefix{vpc.AllIPv4, vpc.AllIPv6} {
		fromAll := slices.ContainsFunc(admitting, func(r *vpc.Rule) bool { return r.Source.CIDR == family })
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
		return all && r.Source.CIDR == family
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
		return r.Source.CIDR == family && r.Service.Matches(asked)
	})
}

// neverFiltered says whether a packet is of the kinds that groups do not
// filter: DHCP, neighbour discovery, and what goes to or comes from the VPC's
// router and its link-local services (ec2-behaviour 7.6).
func neverFiltered(s *state.Snapshot, i *vpc.Interface, t packet.Tuple, remote netip.Addr) bool {
	switch {
	case t.Proto == packet.ICMPv6 && 133 <= t.Type && t.Type <= 137:
		return true
	case t.Proto == packet.UDP && isDHCP(t):
		return true
	}
	if slices.Contains(services(), remote) {
		return true
	}
	if sub := s.Subnet(i.Subnet); sub != nil && sub.Block.IsValid() && remote == sub.Block.Addr().Next() {
		return true
	}
	v := s.VPC(i.VPC)
	return v != nil && len(v.Blocks) > 0 && remote == v.Blocks[0].Prefix.Addr().Next().Next()
}

func isDHCP(t packet.Tuple) bool {
	pair := [2]uint16{min(t.SrcPort, t.DstPort), max(t.SrcPort, t.DstPort)}
	return t.Src.Is4() && pair == [2]uint16{67, 68} || t.Src.Is6() && pair == [2]uint16{546, 547}
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
