//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// tableBase + device index is the routing table of an interface inside its
	// instance, and the priority of the rules that choose it by source address.
	tableBase = 1000
	// metricBase + device index is the metric of an interface's default route
	// in the main table: the lowest device index wins.
	metricBase = 100
)

// linkLocalGateway is the router's address on every link, IPv6.
var linkLocalGateway = netip.MustParseAddr("fe80::1")

// route is a route as we compare it. The zero gateway is none.
type route struct {
	dst     netip.Prefix
	gateway netip.Addr
	source  netip.Addr
	link    int
	table   int
	metric  int
	kind    int
}

// syncAddrs gives each side of the link its addresses. It works on a link that
// is down.
func (p *pair) syncAddrs() error {
	if err := p.host.syncAddrs(p.inner, hostPrefixes(p.want.NIC.Addrs)); err != nil {
		return err
	}
	// The router's own addresses on a link never change: no list of them, which
	// would be one of all links.
	if gw := p.want.NIC.Gateway; gw.IsValid() {
		if err := p.router.addAddr(p.outer, netip.PrefixFrom(gw, gw.BitLen())); err != nil {
			return err
		}
	}
	if hasIPv6() {
		return p.router.addAddr(p.outer, netip.PrefixFrom(linkLocalGateway, 64))
	}
	return nil
}

// syncPaths gives a link that is up its routes and neighbours: on the router's
// side a host route for each address, inside the instance a way out for each
// address through its own interface.
func (p *pair) syncPaths() error {
	nic := p.want.NIC
	outer, inner := p.outer.Attrs().Index, p.inner.Attrs().Index
	table := tableBase + nic.DeviceIndex
	var in, out []route
	routed := map[bool]bool{} // families whose default route is written, by "is IPv6"
	for _, a := range nic.Addrs {
		in = append(in, route{dst: netip.PrefixFrom(a, a.BitLen()), link: outer, table: unix.RT_TABLE_MAIN, kind: unix.RTN_UNICAST})
		gw := nic.Gateway
		if a.Is6() {
			gw = linkLocalGateway
		}
		if routed[a.Is6()] || !gw.IsValid() {
			continue
		}
		routed[a.Is6()] = true
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if a.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		metric := metricBase + nic.DeviceIndex
		out = append(out,
			route{dst: all, gateway: gw, source: a, link: inner, table: unix.RT_TABLE_MAIN, metric: metric, kind: unix.RTN_UNICAST},
			route{dst: all, gateway: gw, source: a, link: inner, table: table, metric: metric, kind: unix.RTN_UNICAST},
		)
	}
	if err := p.router.setNeighbours(p.outer, p.inner.Attrs().HardwareAddr, nic.Addrs); err != nil {
		return err
	}
	have, err := p.router.ourRoutes(ofLink(outer))
	if err != nil {
		return err
	}
	removed, err := p.router.syncRoutes(have, in)
	if err != nil {
		return err
	}
	for _, r := range removed {
		if err := p.router.removeNeighbour(outer, r.dst.Addr()); err != nil {
			return err
		}
	}
	if have, err = p.host.ourRoutes(ofLink(inner)); err != nil {
		return err
	}
	if _, err := p.host.syncRoutes(have, out); err != nil {
		return err
	}
	return p.host.syncRules(table, hostPrefixes(nic.Addrs))
}

// syncAddrs makes the link's addresses be want. On the instance's side the
// kernel's own link-local address stays.
func (s *space) syncAddrs(l netlink.Link, want []netip.Prefix) error {
	have, err := dump(func() ([]netlink.Addr, error) { return s.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	wanted := setOf(want)
	for _, h := range have {
		p := prefixOf(h.IPNet)
		if wanted[p] {
			delete(wanted, p)
			continue
		}
		if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
			continue
		}
		if err := s.AddrDel(l, &h); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", p, err)
		}
	}
	for _, p := range want { // in order: the primary address first
		if !wanted[p] {
			continue
		}
		if err := s.addAddr(l, p); err != nil {
			return err
		}
	}
	return nil
}

// addAddr gives the link an address, if it has not got it.
func (s *space) addAddr(l netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := s.AddrAdd(l, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s: %w", p, err)
	}
	return nil
}

// setNeighbours gives the link permanent neighbours, so that the router never
// has to ask. Those that are right already are left as they are.
func (s *space) setNeighbours(l netlink.Link, mac net.HardwareAddr, addrs []netip.Addr) error {
	for _, a := range addrs {
		n := &netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: family(a), State: netlink.NUD_PERMANENT,
			IP: a.AsSlice(), HardwareAddr: mac,
		}
		if err := s.NeighSet(n); err != nil {
			return fmt.Errorf("add neighbour %s: %w", a, err)
		}
	}
	return nil
}

// removeNeighbour forgets where a was on a link.
func (s *space) removeNeighbour(link int, a netip.Addr) error {
	err := s.NeighDel(&netlink.Neigh{LinkIndex: link, Family: family(a), IP: a.AsSlice()})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove neighbour %s: %w", a, err)
	}
	return nil
}

// ofLink and ofKind choose routes of ours, in the kernel.
func ofLink(index int) (netlink.Route, uint64) {
	return netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF
}

func ofKind(kind int) (netlink.Route, uint64) {
	return netlink.Route{Type: kind}, netlink.RT_FILTER_TYPE
}

// ourRoutes lists the routes that we wrote, of all tables and both families.
func (s *space) ourRoutes(filter netlink.Route, mask uint64) (map[route]netlink.Route, error) {
	// Without this the kernel shows every route, and the cost of one link would
	// be that of all. Other kinds of list do not stand it.
	if err := s.SetStrictCheck(true); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	defer s.SetStrictCheck(false) //nolint:errcheck // what it could set, it can set back
	filter.Protocol, filter.Table = routeProtocol, unix.RT_TABLE_UNSPEC
	out := map[route]netlink.Route{}
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		have, err := dump(func() ([]netlink.Route, error) {
			f := filter
			return s.RouteListFiltered(fam, &f, mask|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, h := range have {
			out[routeOf(&h, fam)] = h
		}
	}
	return out, nil
}

// syncRoutes makes have be want; it adds before it removes, and returns what it
// removed.
func (s *space) syncRoutes(have map[route]netlink.Route, want []route) ([]route, error) {
	wanted := map[route]bool{}
	for _, r := range want {
		wanted[r.key()] = true
		if _, ok := have[r]; ok {
			continue
		}
		if err := s.RouteReplace(r.netlink()); err != nil {
			return nil, fmt.Errorf("add route to %s: %w", r.dst, err)
		}
	}
	var removed []route
	for r, h := range have {
		if wanted[r.key()] {
			continue // kept, or replaced above
		}
		if err := s.RouteDel(&h); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, fmt.Errorf("remove route to %s: %w", r.dst, err)
		}
		removed = append(removed, r)
	}
	return removed, nil
}

// dumpTriesMax bounds the repetitions of a list that others changed while it was
// read; half a list must not be taken for the whole.
const dumpTriesMax = 100

func dump[T any](list func() ([]T, error)) ([]T, error) {
	for range dumpTriesMax - 1 {
		if out, err := list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return list()
}

// syncRules makes the rules that send packets from blocks through a table, whose number is their priority, be exactly
// those.
func (s *space) syncRules(table int, from []netip.Prefix) error {
	wanted := setOf(from)
	have, err := s.rules(table)
	if err != nil {
		return err
	}
	for _, h := range have {
		src := prefixOf(h.Src)
		if wanted[src] && h.Table == table {
			delete(wanted, src)
			continue
		}
		if err := s.RuleDel(&h); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove rule from %s: %w", src, err)
		}
	}
	for src := range wanted {
		r := netlink.NewRule()
		r.Family = family(src.Addr())
		r.Priority = table
		r.Table = table
		r.Src = ipNet(src)
		if err := s.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add rule from %s: %w", src, err)
		}
	}
	return nil
}

// rules lists the rules of a priority.
func (s *space) rules(priority int) ([]netlink.Rule, error) {
	have, err := dump(func() ([]netlink.Rule, error) {
		return s.RuleListFiltered(netlink.FAMILY_ALL, &netlink.Rule{Priority: priority}, netlink.RT_FILTER_PRIORITY)
	})
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	return have, nil
}

// hostPrefixes are the prefixes of single addresses.
func hostPrefixes(addrs []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// key is what makes a route another one to the kernel, and not the same one
// changed.
func (r route) key() route {
	r.gateway, r.source = netip.Addr{}, netip.Addr{}
	return r
}

func (r route) netlink() *netlink.Route {
	out := &netlink.Route{
		Dst: ipNet(r.dst), LinkIndex: r.link, Table: r.table, Priority: r.metric,
		Type: r.kind, Protocol: routeProtocol, Family: family(r.dst.Addr()),
	}
	if r.kind == unix.RTN_BLACKHOLE {
		out.LinkIndex = 0
		return out
	}
	if r.gateway.IsValid() {
		out.Gw = r.gateway.AsSlice()
		out.Flags = int(netlink.FLAG_ONLINK)
	} else if r.dst.Addr().Is4() {
		out.Scope = netlink.SCOPE_LINK
	}
	if r.source.IsValid() {
		out.Src = r.source.AsSlice()
	}
	return out
}

func routeOf(h *netlink.Route, fam int) route {
	r := route{link: h.LinkIndex, table: h.Table, metric: h.Priority, kind: h.Type}
	r.dst = prefixOf(h.Dst)
	if !r.dst.IsValid() { // the default route, to some kernels
		zero := netip.IPv4Unspecified()
		if fam == netlink.FAMILY_V6 {
			zero = netip.IPv6Unspecified()
		}
		r.dst = netip.PrefixFrom(zero, 0)
	}
	if a, ok := netip.AddrFromSlice(h.Gw); ok {
		r.gateway = a.Unmap()
	}
	if a, ok := netip.AddrFromSlice(h.Src); ok {
		r.source = a.Unmap()
	}
	if fam == netlink.FAMILY_V6 && r.kind == unix.RTN_UNICAST && r.metric == ipv6MetricDefault {
		r.metric = 0 // what the kernel makes of 0
	}
	return r
}

// ipv6MetricDefault is the metric that the kernel gives an IPv6 route without.
const ipv6MetricDefault = 1024

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func setOf[T comparable](list []T) map[T]bool {
	m := make(map[T]bool, len(list))
	for _, v := range list {
		m[v] = true
	}
	return m
}

// ipNet and prefixOf are where our addresses meet the library's.
func ipNet(p netip.Prefix) *net.IPNet { //nolint:forbidigo // the netlink library's type
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())} //nolint:forbidigo // the netlink library's type
}

func prefixOf(n *net.IPNet) netip.Prefix { //nolint:forbidigo // the netlink library's type
	if n == nil {
		return netip.Prefix{}
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}
	}
	ones, bits := n.Mask.Size()
	if a.Is4In6() && bits == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones)
}
