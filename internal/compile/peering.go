package compile

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// peer is a VPC that another one is connected with.
type peer struct {
	connection vpc.PeeringID
	vpc        vpc.VPCID
	blocks     []netip.Prefix
}

// peersOf lists the VPCs whose addresses mean something in a VPC: those across its active peering connections.
func peersOf(s *state.Snapshot, id vpc.VPCID) []peer {
	var out []peer
	for p := range s.PeeringsOf(id) {
		if end, _ := p.Other(id); connects(s, p) {
			out = append(out, peer{p.ID, end.VPC, blocksOf(s, end.VPC)})
		}
	}
	return out
}

// connects says whether a peering connection joins two VPCs: it is active, and each end's addresses are those of
// nobody else at the other end. Where two peers of a VPC have the same addresses, they mean the one that was peered
// first; the other is not connected at all, rather than in one direction.
func connects(s *state.Snapshot, p *vpc.Peering) bool {
	a, b := p.Requester.VPC, p.Accepter.VPC
	return p.Active() && s.VPC(a) != nil && s.VPC(b) != nil && !overlap(s, a, b) && !shadowed(s, p, a, b) && !shadowed(s, p, b, a)
}

// shadowed says whether a VPC has an earlier peer with addresses of the one that p connects it with.
func shadowed(s *state.Snapshot, p *vpc.Peering, at, with vpc.VPCID) bool {
	for q := range s.PeeringsOf(at) {
		if end, _ := q.Other(at); q.Active() && earlier(q, p) && overlap(s, end.VPC, with) {
			return true
		}
	}
	return false
}

func earlier(q, p *vpc.Peering) bool {
	return cmp.Or(q.Created.Compare(p.Created), cmp.Compare(q.ID, p.ID)) < 0
}

func overlap(s *state.Snapshot, a, b vpc.VPCID) bool {
	return slices.ContainsFunc(blocksOf(s, a), func(p netip.Prefix) bool { return slices.ContainsFunc(blocksOf(s, b), p.Overlaps) })
}

// updatePeers brings the peers of the networks here up to date, and notes the addresses that may mean something else
// now. Those of a network that was here already are looked at only if a VPC or a connection changed.
func (c *Compiler) updatePeers(s *state.Snapshot, w *work) {
	for id := range c.peers {
		if c.networks[id] == nil {
			delete(c.peers, id)
			c.touchPeers(s, id, w)
		}
	}
	for id := range c.networks {
		have, known := c.peers[id]
		if known && !w.peers {
			continue
		}
		now := peersOf(s, id)
		c.peers[id] = now
		if !reflect.DeepEqual(have, now) {
			c.touchPeers(s, id, w)
		}
	}
}

// touchPeers notes the addresses that rules in a network may be about now that its peers are others, or were. Those
// of interfaces that changed with them are noted already.
func (c *Compiler) touchPeers(s *state.Snapshot, id vpc.VPCID, w *work) {
	w.connections = true
	for r := range c.referred {
		if r.network == id {
			c.touchCarriers(s, r, w)
		}
	}
}

// sees is the VPC that an address means inside a network here: a peer that has it in its blocks, or the network's own.
func (c *Compiler) sees(id vpc.VPCID, a netip.Addr) vpc.VPCID {
	for _, p := range c.peers[id] {
		if slices.ContainsFunc(p.blocks, func(b netip.Prefix) bool { return b.Contains(a) }) {
			return p.vpc
		}
	}
	return id
}

// updateConnections keeps the connections of which both ends are networks here.
func (c *Compiler) updateConnections(d *program.Delta) {
	want := map[program.ConnectionID]*program.Connection{}
	for id, network := range c.networks {
		for _, p := range c.peers[id] {
			if other := c.networks[p.vpc]; other != nil && network.ID < other.ID {
				pcx := program.ConnectionID(p.connection)
				want[pcx] = &program.Connection{ID: pcx, Ends: [2]program.Network{*network, *other}}
			}
		}
	}
	for id := range c.connections {
		if want[id] == nil {
			d.Connections[id] = nil
		}
	}
	for id, now := range want {
		if have := c.connections[id]; have == nil || !reflect.DeepEqual(have, now) {
			d.Connections[id] = now
		}
	}
	c.connections = want
}
