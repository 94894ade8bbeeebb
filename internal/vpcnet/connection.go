//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

const (
	// peersTable is a router's table of ways to its peers, and the priority of the rules that look there, before
	// the main table, for what comes from the network's own blocks. What a peer sends is never looked up there: a
	// router leads on from one peer to another under no circumstances, whatever its routes are at that moment.
	peersTable = 2000
	// selfPriority is that of the rule by which what the router says itself stays in its own network.
	selfPriority = peersTable - 1
)

// A connection's link speaks no ARP and no neighbour discovery. The kernel then writes a link's own address as the
// receiver's, so both ends have the same one, and nobody needs to have the gateways of the routes.
var (
	peerMAC      = net.HardwareAddr{0x02, 'S', 'P', 0, 0, 1}
	peerGateway4 = netip.MustParseAddr("169.254.83.1")
	peerGateway6 = netip.MustParseAddr("fe80::83")
)

// FoundConnection is a connection that exists, between two networks by id.
type FoundConnection struct {
	ID   program.ConnectionID
	Ends [2]program.NetworkID
}

// EnsureConnection joins the routers of two networks, which must exist: a link between them, and on each side ways to
// the other's blocks.
func (f *Fabric) EnsureConnection(c *program.Connection) error {
	f.connections.Lock()
	defer f.connections.Unlock()
	if err := f.ensureConnection(c); err != nil {
		return fmt.Errorf("connect %s with %s: %w", c.Ends[0].ID, c.Ends[1].ID, err)
	}
	return nil
}

func (f *Fabric) ensureConnection(c *program.Connection) error {
	var sides [2]*space
	for i := range c.Ends {
		var err error
		if sides[i], err = open(f.routerPath(c.Ends[i].ID)); err != nil {
			return err
		}
		defer sides[i].close()
	}
	links, err := peerLinks(c, sides)
	if err != nil {
		return err
	}
	if links[0] == nil || links[1] == nil {
		if links, err = makePeerLinks(c, sides, f.mtu); err != nil {
			return err
		}
	}
	for i, side := range sides {
		if links[i].Attrs().RawFlags&unix.IFF_UP == 0 {
			if err := side.LinkSetUp(links[i]); err != nil {
				return fmt.Errorf("raise link: %w", err)
			}
		}
	}
	if err := awaitCarrier(func() ([2]netlink.Link, error) { return lookAgain(c, sides) }); err != nil {
		return err
	}
	for i, side := range sides {
		if err := side.syncPeers(links[i], c.Ends[i].CIDRs, c.Ends[1-i].CIDRs); err != nil {
			return err
		}
	}
	return nil
}

// peerLinks is both sides of a connection's link; a side that is not wholly made, or leads elsewhere, is removed and
// nil, and with it the other.
func peerLinks(c *program.Connection, sides [2]*space) (links [2]netlink.Link, err error) {
	for i, side := range sides {
		l, err := side.findName(peerName(c.ID))
		if err != nil {
			return links, err
		}
		if l != nil && (l.Attrs().Alias != peerAlias(c.ID, c.Ends[1-i].ID) || l.Attrs().RawFlags&unix.IFF_NOARP == 0) {
			if err := side.LinkDel(l); err != nil {
				return links, fmt.Errorf("remove old link: %w", err)
			}
			return [2]netlink.Link{}, nil
		}
		links[i] = l
	}
	return links, nil
}

// lookAgain is both sides of a connection's link, which were there.
func lookAgain(c *program.Connection, sides [2]*space) ([2]netlink.Link, error) {
	links, err := peerLinks(c, sides)
	if err == nil && (links[0] == nil || links[1] == nil) {
		err = errors.New("the link has gone")
	}
	return links, err
}

// makePeerLinks makes a connection's link, down. The aliases come last: without them its making was interrupted.
func makePeerLinks(c *program.Connection, sides [2]*space, mtu int) (links [2]netlink.Link, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = peerName(c.ID), mtu, peerMAC
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: attrs.Name, PeerMTU: uint32(mtu), PeerHardwareAddr: peerMAC,
		PeerNamespace: netlink.NsFd(int(sides[1].ns)),
	}
	for _, side := range sides { // what is left of one that lost its other side
		if l, err := side.findName(attrs.Name); err != nil {
			return links, err
		} else if l != nil {
			if err := side.LinkDel(l); err != nil {
				return links, fmt.Errorf("remove old link: %w", err)
			}
		}
	}
	if err := sides[0].LinkAdd(veth); err != nil {
		return links, fmt.Errorf("make veth: %w", err)
	}
	for i, side := range sides {
		l, err := side.findName(attrs.Name)
		switch {
		case err != nil:
			return links, err
		case l == nil:
			return links, errors.New("the new veth has gone")
		}
		if err := side.LinkSetARPOff(l); err != nil {
			return links, fmt.Errorf("set up link: %w", err)
		}
		links[i] = l
	}
	for i, side := range sides {
		if err := side.LinkSetAlias(links[i], peerAlias(c.ID, c.Ends[1-i].ID)); err != nil {
			return links, fmt.Errorf("name link: %w", err)
		}
	}
	return links, nil
}

// syncPeers makes a router's ways over a connection's link be those to the peer's blocks, for what comes from its own
// network's.
func (s *space) syncPeers(link netlink.Link, own, peers []netip.Prefix) error {
	if err := s.syncRules(peersTable, routable(own)); err != nil {
		return err
	}
	if err := s.ensureSelfRules(); err != nil {
		return err
	}
	var want []route
	for _, p := range routable(peers) {
		gw := peerGateway4
		if p.Addr().Is6() {
			gw = peerGateway6
		}
		want = append(want, route{
			dst: p, gateway: gw, link: link.Attrs().Index, table: peersTable, metric: peersMetric, kind: unix.RTN_UNICAST,
		})
	}
	have, err := s.ourRoutes(ofLink(link.Attrs().Index))
	if err != nil {
		return err
	}
	_, err = s.syncRoutes(have, want)
	return err
}

// peersMetric is any but what the kernel takes for none.
const peersMetric = 1

// routable is those prefixes that this host's kernel can route.
func routable(all []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if p.Addr().Is4() || hasIPv6() {
			out = append(out, p.Masked())
		}
	}
	return out
}

// selfRules are the rules by which what the router says itself does not look for a peer.
func selfRules() []*netlink.Rule {
	families := []int{netlink.FAMILY_V4}
	if hasIPv6() {
		families = append(families, netlink.FAMILY_V6)
	}
	var out []*netlink.Rule
	for _, fam := range families {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table, r.IifName = fam, selfPriority, unix.RT_TABLE_MAIN, "lo"
		out = append(out, r)
	}
	return out
}

func (s *space) ensureSelfRules() error {
	have, err := s.rules(selfPriority)
	if err != nil {
		return err
	}
	for _, r := range selfRules() {
		if containsRule(have, r) {
			continue
		}
		if err := s.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add rule for the router: %w", err)
		}
	}
	return nil
}

func containsRule(have []netlink.Rule, want *netlink.Rule) bool {
	for _, h := range have {
		if h.Family == want.Family && h.IifName == want.IifName && h.Table == want.Table {
			return true
		}
	}
	return false
}

// RemoveConnection parts what EnsureConnection joined, in both directions at once. Absent is fine.
func (f *Fabric) RemoveConnection(id program.ConnectionID) error {
	f.connections.Lock()
	defer f.connections.Unlock()
	inv, err := f.List()
	if err != nil {
		return err
	}
	for _, network := range inv.Networks {
		if err := f.leave(network, id); err != nil {
			return fmt.Errorf("part %s from %s: %w", network, id, err)
		}
	}
	return nil
}

// leave removes a network's side of a connection, and the rules of its last one.
func (f *Fabric) leave(network program.NetworkID, id program.ConnectionID) error {
	path := f.routerPath(network)
	if !isNamespace(path) {
		return nil
	}
	router, err := open(path)
	if err != nil {
		return err
	}
	defer router.close()
	if l, err := router.findName(peerName(id)); err != nil {
		return err
	} else if l != nil {
		if err := router.LinkDel(l); err != nil { // and with it the peer's side, and the routes of both
			return fmt.Errorf("remove link: %w", err)
		}
	}
	all, err := dump(router.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range all {
		if _, _, ours := parsePeerAlias(l.Attrs().Alias); ours {
			return nil
		}
	}
	if err := router.syncRules(peersTable, nil); err != nil {
		return err
	}
	have, err := router.rules(selfPriority)
	if err != nil {
		return err
	}
	for _, r := range have {
		if err := router.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove rule of the router: %w", err)
		}
	}
	return nil
}

// peerName is the name of a connection's link, the same on both sides.
func peerName(id program.ConnectionID) string {
	digits := strings.TrimPrefix(string(id), "pcx-")
	return "p" + digits[max(0, len(digits)-ifNameDigits):]
}

// peerAlias says, on one side of a connection's link, which it is and where it leads.
func peerAlias(id program.ConnectionID, to program.NetworkID) string {
	return string(id) + " " + string(to)
}

func parsePeerAlias(s string) (program.ConnectionID, program.NetworkID, bool) {
	id, to, ok := strings.Cut(s, " ")
	ok = ok && strings.HasPrefix(id, "pcx-") && to != ""
	return program.ConnectionID(id), program.NetworkID(to), ok
}
