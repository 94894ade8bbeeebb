//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

const (
	// prefixDefault begins the name of every namespace of ours.
	prefixDefault = "sp-"
	// runDirDefault is where iproute2 keeps named namespaces, so that
	// `ip netns list` shows ours.
	runDirDefault = "/run/netns"
	// mtuDefault is Ethernet's: what every underlay carries.
	mtuDefault = 1500
)

// routeProtocol marks the routes and rules that this package wrote ('S'); it is
// in the range that the kernel leaves to others.
const routeProtocol netlink.RouteProtocol = 83

// routeOfLastResort is the metric of the routes that drop what nothing else
// claims; a gateway's default route has a better one.
const routeOfLastResort = 4_000_000_000

// Options configure a Fabric. The zero value is what a host uses.
type Options struct {
	Prefix string // begins the namespaces' names; empty: "sp-"
	RunDir string // holds the named namespaces; empty: /run/netns
	MTU    int    // of both sides of every link; 0: 1500
}

// Fabric is the VPC networks of one host. It has no memory of what it made:
// several over the same options are the same fabric. Its methods may be called
// from several goroutines.
type Fabric struct {
	log    *slog.Logger
	prefix string
	runDir string
	mtu    int

	// spaces serialises the making and removing of namespaces; links are the
	// kernel's to serialise.
	spaces sync.Mutex
	// connections serialises the making and removing of connections: those of
	// one router share its rules.
	connections sync.Mutex
}

// New is the fabric of this host. It touches nothing yet.
func New(log *slog.Logger, o Options) *Fabric {
	f := &Fabric{log: log, prefix: o.Prefix, runDir: o.RunDir, mtu: o.MTU}
	if f.prefix == "" {
		f.prefix = prefixDefault
	}
	if f.runDir == "" {
		f.runDir = runDirDefault
	}
	if f.mtu == 0 {
		f.mtu = mtuDefault
	}
	return f
}

// Inventory is what exists of a fabric on its host.
type Inventory struct {
	Networks    []program.NetworkID
	Instances   []program.InstanceID // instances that have a namespace
	Links       []Found
	Connections []FoundConnection
}

// Found is a link that exists.
type Found struct {
	Interface program.InterfaceID
	Network   program.NetworkID
	Instance  program.InstanceID
	Attachment
	Up bool // the router's side is up
}

// List says what exists, by looking.
func (f *Fabric) List() (Inventory, error) {
	var inv Inventory
	entries, err := os.ReadDir(f.runDir)
	if errors.Is(err, os.ErrNotExist) {
		return inv, nil
	}
	if err != nil {
		return inv, fmt.Errorf("list namespaces: %w", err)
	}
	for _, e := range entries {
		id, ours := strings.CutPrefix(e.Name(), f.prefix)
		switch {
		case !ours:
		case strings.HasPrefix(id, "i-"):
			inv.Instances = append(inv.Instances, program.InstanceID(id))
		case strings.HasPrefix(id, "vpc-"), strings.HasPrefix(id, "classic-"):
			network := program.NetworkID(id)
			inv.Networks = append(inv.Networks, network)
			links, err := f.links(network)
			if err != nil {
				return inv, err
			}
			inv.add(network, f.routerPath(network), links)
		}
	}
	return inv, nil
}

// add takes what the links of a network's router are.
func (inv *Inventory) add(network program.NetworkID, path string, links []netlink.Link) {
	for _, l := range links {
		a := l.Attrs()
		if eni, instance, ours := parseAlias(a.Alias); ours {
			inv.Links = append(inv.Links, Found{
				Interface:  eni,
				Network:    network,
				Instance:   instance,
				Attachment: Attachment{NetNS: path, IfIndex: a.Index, IfName: a.Name},
				Up:         a.RawFlags&unix.IFF_UP != 0,
			})
		}
		if id, peer, ours := parsePeerAlias(a.Alias); ours {
			c := FoundConnection{ID: id, Ends: [2]program.NetworkID{min(network, peer), max(network, peer)}}
			if !slices.Contains(inv.Connections, c) { // each of its ends tells of it
				inv.Connections = append(inv.Connections, c)
			}
		}
	}
}

// links lists the links of one network's router, of whatever kind.
func (f *Fabric) links(id program.NetworkID) ([]netlink.Link, error) {
	path := f.routerPath(id)
	if !isNamespace(path) {
		return nil, nil // a leftover file of an earlier boot
	}
	router, err := open(path)
	if err != nil {
		return nil, err
	}
	defer router.close()
	all, err := dump(router.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links of %s: %w", id, err)
	}
	return all, nil
}

// EnsureVPC makes the VPC's router as described: forwarding, and dropping
// whatever no interface claims.
func (f *Fabric) EnsureVPC(n *program.Network) error {
	path := f.routerPath(n.ID)
	if err := f.ensureNamespace(path); err != nil {
		return fmt.Errorf("make router of %s: %w", n.ID, err)
	}
	if err := Inside(path, func() error { return setSysctls(routerSysctls) }); err != nil {
		return fmt.Errorf("set up router of %s: %w", n.ID, err)
	}
	router, err := open(path)
	if err != nil {
		return err
	}
	defer router.close()
	lo, err := router.loopbackUp()
	if err != nil {
		return fmt.Errorf("set up router of %s: %w", n.ID, err)
	}
	drop := append([]netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	}, n.CIDRs...)
	var want []route
	for _, p := range drop {
		if p.Addr().Is6() && !hasIPv6() {
			continue // such a kernel routes none of it
		}
		r := route{dst: p.Masked(), kind: unix.RTN_BLACKHOLE, metric: routeOfLastResort, table: unix.RT_TABLE_MAIN}
		if p.Addr().Is6() {
			r.link = lo // where the kernel puts them
		}
		want = append(want, r)
	}
	have, err := router.ourRoutes(ofKind(unix.RTN_BLACKHOLE))
	if err != nil {
		return fmt.Errorf("routes of %s: %w", n.ID, err)
	}
	if _, err := router.syncRoutes(have, want); err != nil {
		return fmt.Errorf("routes of %s: %w", n.ID, err)
	}
	return nil
}

// RemoveVPC removes the VPC's router with every link and connection that it still has.
func (f *Fabric) RemoveVPC(id program.NetworkID) error {
	links, err := f.links(id)
	if err != nil {
		return err
	}
	var has Inventory
	has.add(id, f.routerPath(id), links)
	for _, c := range has.Connections {
		if err := f.RemoveConnection(c.ID); err != nil {
			return err
		}
	}
	for _, l := range has.Links {
		if err := f.RemoveLink(l.Instance, l.Interface); err != nil {
			return err
		}
	}
	if err := f.removeNamespace(f.routerPath(id)); err != nil {
		return fmt.Errorf("remove router of %s: %w", id, err)
	}
	return nil
}

// EnsureInstance makes the instance's namespace, without interfaces.
func (f *Fabric) EnsureInstance(id program.InstanceID) error {
	path := f.InstancePath(id)
	if err := f.ensureNamespace(path); err != nil {
		return fmt.Errorf("make namespace of %s: %w", id, err)
	}
	if err := Inside(path, func() error { return setSysctls(instanceSysctls) }); err != nil {
		return fmt.Errorf("set up namespace of %s: %w", id, err)
	}
	space, err := open(path)
	if err != nil {
		return err
	}
	defer space.close()
	if _, err := space.loopbackUp(); err != nil {
		return fmt.Errorf("set up namespace of %s: %w", id, err)
	}
	return nil
}

// RemoveInstance removes the instance's links and its namespace. Its processes
// are the caller's to end first: they would keep the namespace.
func (f *Fabric) RemoveInstance(id program.InstanceID) error {
	have, err := f.Interfaces(id)
	if err != nil {
		return err
	}
	for _, eni := range have {
		if err := f.RemoveLink(id, eni); err != nil {
			return err
		}
	}
	if err := f.removeNamespace(f.InstancePath(id)); err != nil {
		return fmt.Errorf("remove namespace of %s: %w", id, err)
	}
	return nil
}

// RemoveAll removes everything that List shows. Instances' processes are the
// caller's to end first.
func (f *Fabric) RemoveAll() error {
	inv, err := f.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range inv.Networks {
		errs = append(errs, f.RemoveVPC(id))
	}
	for _, id := range inv.Instances {
		errs = append(errs, f.removeNamespace(f.InstancePath(id)))
	}
	return errors.Join(errs...)
}

// InstancePath is where the instance's namespace is, whether it exists or not.
func (f *Fabric) InstancePath(id program.InstanceID) string {
	return filepath.Join(f.runDir, f.prefix+string(id))
}

// routerPath is where the namespace of a VPC's router is.
func (f *Fabric) routerPath(id program.NetworkID) string {
	return filepath.Join(f.runDir, f.prefix+string(id))
}

// space is an open namespace: a netlink handle inside it. It must be closed: it
// keeps the namespace alive.
type space struct {
	*netlink.Handle
	ns netns.NsHandle
}

func open(path string) (*space, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", path, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %s: %w", path, err), ns.Close())
	}
	return &space{Handle: h, ns: ns}, nil
}

func (s *space) close() {
	s.Close()
	_ = s.ns.Close() // a descriptor we opened: nothing can be lost
}

// loopbackUp raises lo and returns its index.
func (s *space) loopbackUp() (int, error) {
	lo, err := s.LinkByName("lo")
	if err != nil {
		return 0, fmt.Errorf("find loopback: %w", err)
	}
	if lo.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := s.LinkSetUp(lo); err != nil {
			return 0, fmt.Errorf("raise loopback: %w", err)
		}
	}
	return lo.Attrs().Index, nil
}
