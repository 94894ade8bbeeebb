package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// meant is the interface that an address stands for inside a VPC: one of a peer that has the address in its blocks, or
// one of the VPC's own. Nil if nobody has it.
func meant(s *state.Snapshot, in vpc.VPCID, a netip.Addr) *vpc.Interface {
	for p := range s.PeeringsOf(in) {
		end, _ := p.Other(in)
		if peer := s.VPC(end.VPC); obstacle(s, p) == "" && has(peer, a) {
			return s.InterfaceAt(peer.ID, a)
		}
	}
	return s.InterfaceAt(in, a)
}

func has(v *vpc.VPC, a netip.Addr) bool {
	return slices.ContainsFunc(slices.Concat(v.Blocks, v.IPv6Blocks), func(b vpc.Block) bool { return b.Prefix.Contains(a) })
}

// noRoute says why packets of one VPC do not get to another; empty: they do.
func noRoute(s *state.Snapshot, from, to vpc.VPCID) string {
	switch {
	case from == to:
		return ""
	case from.Classic() || to.Classic():
		return fmt.Sprintf("%s and %s do not route to each other", from, to)
	}
	p := s.ActivePeering(from, to)
	if p == nil {
		return fmt.Sprintf("no route: %s and %s are not peered", from, to)
	}
	if why := obstacle(s, p); why != "" {
		return fmt.Sprintf("no route: %s connects %s and %s, but %s", p.ID, from, to, why)
	}
	return ""
}

// obstacle says why a peering connection carries nothing; empty: it does. Addresses must mean one thing on either
// side: neither end may have those of the other, nor of a peer that the other had earlier.
func obstacle(s *state.Snapshot, p *vpc.Peering) string {
	a, b := s.VPC(p.Requester.VPC), s.VPC(p.Accepter.VPC)
	switch {
	case !p.Active():
		return "it is " + string(p.Status)
	case a == nil || b == nil:
		return "one of them does not exist"
	}
	if x, y, ok := clash(a, b); ok {
		return fmt.Sprintf("%s has %s and %s has %s", a.ID, x, b.ID, y)
	}
	for _, end := range [][2]*vpc.VPC{{a, b}, {b, a}} {
		at, with := end[0], end[1]
		for q := range s.PeeringsOf(at.ID) {
			other, _ := q.Other(at.ID)
			first := s.VPC(other.VPC)
			if !q.Active() || cmp.Or(q.Created.Compare(p.Created), cmp.Compare(q.ID, p.ID)) >= 0 || first == nil {
				continue
			}
			if x, _, ok := clash(first, with); ok {
				return fmt.Sprintf("%s was connected earlier with %s, which has %s too, by %s", at.ID, first.ID, x, q.ID)
			}
		}
	}
	return ""
}

// clash finds a block of each of two VPCs that have addresses in common.
func clash(a, b *vpc.VPC) (x, y netip.Prefix, ok bool) {
	for _, one := range slices.Concat(a.Blocks, a.IPv6Blocks) {
		for _, other := range slices.Concat(b.Blocks, b.IPv6Blocks) {
			if one.Prefix.Overlaps(other.Prefix) {
				return one.Prefix, other.Prefix, true
			}
		}
	}
	return x, y, false
}
