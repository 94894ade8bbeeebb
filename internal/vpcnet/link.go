//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

// ifNameDigits is how much of an interface's id fits a link name: 15 characters
// less the letter in front.
const ifNameDigits = unix.IFNAMSIZ - 2

const (
	// carrierWaitMax is far beyond what the kernel takes (a millisecond, a
	// second when it holds carrier events back on a busy host).
	carrierWaitMax = 5 * time.Second
	carrierPoll    = time.Millisecond
)

// Link is a network interface of an instance, as it should be.
type Link struct {
	Network  program.NetworkID
	Instance program.InstanceID
	NIC      program.NIC
}

// Attachment is where the datapath's programs go: the side of a link whose
// ingress is what the interface sends. An index is unique within its namespace
// only.
type Attachment struct {
	NetNS    string // path of the namespace; empty: the host's own
	IfIndex  int
	IfName   string
	Reversed bool // ingress is what the interface receives: it is the interface itself
}

// EnsureLink makes the link if it is not there, down on both sides, and brings
// the addresses of one that is there up to date. An interface that moved to
// another instance or place gets a new link. The network and the instance's
// namespace must exist.
func (f *Fabric) EnsureLink(l Link) (Attachment, error) {
	at, err := f.ensureLink(l)
	if err != nil {
		return Attachment{}, fmt.Errorf("link of %s: %w", l.NIC.Interface, err)
	}
	return at, nil
}

func (f *Fabric) ensureLink(l Link) (Attachment, error) {
	p, err := f.openPair(l)
	if err != nil {
		return Attachment{}, err
	}
	defer p.close()
	if !p.joined() {
		if err := p.clear(); err != nil {
			return Attachment{}, err
		}
		if err := p.create(f.mtu); err != nil {
			return Attachment{}, err
		}
	}
	if err := p.syncAddrs(); err != nil {
		return Attachment{}, err
	}
	outer := p.outer.Attrs()
	if outer.RawFlags&unix.IFF_UP != 0 && p.inner.Attrs().RawFlags&unix.IFF_UP != 0 {
		if err := p.syncPaths(); err != nil {
			return Attachment{}, err
		}
	}
	return Attachment{NetNS: f.routerPath(l.Network), IfIndex: outer.Index, IfName: outer.Name}, nil
}

// Up raises a link that EnsureLink returned, both sides, and gives it its
// routes. What enforces must be attached by now.
func (f *Fabric) Up(l Link) error {
	if err := f.up(l); err != nil {
		return fmt.Errorf("raise %s: %w", l.NIC.Interface, err)
	}
	return nil
}

func (f *Fabric) up(l Link) error {
	p, err := f.openPair(l)
	if err != nil {
		return err
	}
	defer p.close()
	if !p.joined() {
		return errors.New("the link does not exist")
	}
	for _, side := range []struct {
		*space
		link netlink.Link
	}{{p.router, p.outer}, {p.host, p.inner}} {
		if side.link.Attrs().RawFlags&unix.IFF_UP != 0 {
			continue
		}
		if err := side.LinkSetUp(side.link); err != nil {
			return err
		}
	}
	if err := p.syncPaths(); err != nil {
		return err
	}
	return p.awaitCarrier()
}

// awaitCarrier waits until both ends of the link see each other.
func (p *pair) awaitCarrier() error {
	return awaitCarrier(func() (ends [2]netlink.Link, err error) {
		if err := p.look(); err != nil {
			return ends, err
		}
		if !p.joined() {
			return ends, errors.New("the link has gone")
		}
		return [2]netlink.Link{p.outer, p.inner}, nil
	})
}

// awaitCarrier looks at both ends of a link until they see each other: the kernel tells the end
// that was raised first a little later, and until then it drops what it sends.
func awaitCarrier(look func() ([2]netlink.Link, error)) error {
	for deadline := time.Now().Add(carrierWaitMax); ; time.Sleep(carrierPoll) {
		ends, err := look()
		if err != nil {
			return err
		}
		if ends[0].Attrs().OperState == netlink.OperUp && ends[1].Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the two ends do not see each other")
		}
	}
}

// Interfaces are the interfaces that the instance has on this host, up or down.
func (f *Fabric) Interfaces(id program.InstanceID) ([]program.InterfaceID, error) {
	if !isNamespace(f.InstancePath(id)) {
		return f.orphans(id)
	}
	host, err := open(f.InstancePath(id))
	if err != nil {
		return nil, err
	}
	defer host.close()
	all, err := dump(host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links of %s: %w", id, err)
	}
	var out []program.InterfaceID
	for _, l := range all {
		if eni, _, ours := parseAlias(l.Attrs().Alias); ours {
			out = append(out, eni)
		}
	}
	return out, nil
}

// orphans are the links of an instance whose namespace was lost by another hand
// than ours; they are found from the routers.
func (f *Fabric) orphans(id program.InstanceID) ([]program.InterfaceID, error) {
	inv, err := f.List()
	if err != nil {
		return nil, err
	}
	var out []program.InterfaceID
	for _, l := range inv.Links {
		if l.Instance == id {
			out = append(out, l.Interface)
		}
	}
	return out, nil
}

// RemoveLink removes an interface of an instance, with the rules that chose it.
// Absent is fine.
func (f *Fabric) RemoveLink(instance program.InstanceID, id program.InterfaceID) error {
	if err := f.removeLink(instance, id); err != nil {
		return fmt.Errorf("remove %s from %s: %w", id, instance, err)
	}
	return nil
}

func (f *Fabric) removeLink(instance program.InstanceID, id program.InterfaceID) error {
	want := alias(id, instance)
	if path := f.InstancePath(instance); isNamespace(path) {
		host, err := open(path)
		if err != nil {
			return err
		}
		defer host.close()
		inner, err := host.findAlias(want)
		if inner == nil || err != nil {
			return err
		}
		if index, err := deviceIndex(inner.Attrs().Name); err == nil {
			if err := host.syncRules(tableBase+index, nil); err != nil {
				return err
			}
		}
		return host.LinkDel(inner) // and with it the router's side
	}
	inv, err := f.List()
	if err != nil {
		return err
	}
	for _, l := range inv.Links {
		if l.Instance != instance || l.Interface != id {
			continue
		}
		router, err := open(l.NetNS)
		if err != nil {
			return err
		}
		defer router.close()
		if outer, err := router.findAlias(want); outer == nil || err != nil {
			return err
		} else if err := router.LinkDel(outer); err != nil {
			return err
		}
	}
	return nil
}

// pair is a link looked at from both ends. inner and outer are nil while they
// do not exist.
type pair struct {
	want         Link
	router, host *space
	outer, inner netlink.Link
}

func (f *Fabric) openPair(l Link) (*pair, error) {
	p := &pair{want: l}
	var err error
	if p.router, err = open(f.routerPath(l.Network)); err != nil {
		return nil, err
	}
	if p.host, err = open(f.InstancePath(l.Instance)); err != nil {
		p.router.close()
		return nil, err
	}
	if err := p.look(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pair) close() {
	p.router.close()
	p.host.close()
}

func (p *pair) look() (err error) {
	if p.outer, err = p.router.findName(outerName(p.want.NIC.Interface)); err != nil {
		return err
	}
	p.inner, err = p.host.findName(innerName(p.want.NIC.DeviceIndex))
	return err
}

// joined says whether both ends are there and belong to the wanted interface in
// the wanted place.
func (p *pair) joined() bool {
	if p.outer == nil || p.inner == nil {
		return false
	}
	want := alias(p.want.NIC.Interface, p.want.Instance)
	return p.outer.Attrs().Alias == want && p.inner.Attrs().Alias == want
}

// clear removes what stands where the link should be: the same interface at
// another instance or device index, or another interface at this one.
func (p *pair) clear() error {
	if p.outer != nil {
		if eni, _, ours := parseAlias(p.outer.Attrs().Alias); ours && eni != p.want.NIC.Interface {
			return fmt.Errorf("link name %s is taken by %s", p.outer.Attrs().Name, eni)
		}
		if err := p.router.LinkDel(p.outer); err != nil {
			return fmt.Errorf("remove old link: %w", err)
		}
	}
	var err error
	if p.inner, err = p.host.findName(innerName(p.want.NIC.DeviceIndex)); err != nil {
		return err
	}
	if p.inner != nil {
		if err := p.host.LinkDel(p.inner); err != nil {
			return fmt.Errorf("remove old interface: %w", err)
		}
	}
	return nil
}

// create makes both ends in their places, down. The aliases come last: a link
// without them is one whose making was interrupted, and is made anew.
func (p *pair) create(mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = outerName(p.want.NIC.Interface)
	attrs.MTU = mtu
	veth := &netlink.Veth{
		LinkAttrs:     attrs,
		PeerName:      innerName(p.want.NIC.DeviceIndex),
		PeerMTU:       uint32(mtu),
		PeerNamespace: netlink.NsFd(int(p.host.ns)),
	}
	if p.want.NIC.MAC != "" {
		mac, err := net.ParseMAC(p.want.NIC.MAC)
		if err != nil {
			return fmt.Errorf("read address: %w", err)
		}
		veth.PeerHardwareAddr = mac
	}
	if err := p.router.LinkAdd(veth); err != nil {
		return fmt.Errorf("make veth: %w", err)
	}
	if err := p.look(); err != nil {
		return err
	}
	if p.outer == nil || p.inner == nil {
		return errors.New("the new veth has gone")
	}
	name := alias(p.want.NIC.Interface, p.want.Instance)
	if err := p.host.LinkSetAlias(p.inner, name); err != nil {
		return fmt.Errorf("name interface: %w", err)
	}
	if err := p.router.LinkSetAlias(p.outer, name); err != nil {
		return fmt.Errorf("name link: %w", err)
	}
	return p.look()
}

// outerName is the name of the router's side of an interface's link. The digits
// it leaves out are in the alias.
func outerName(id program.InterfaceID) string {
	digits := strings.TrimPrefix(string(id), "eni-")
	return "e" + digits[max(0, len(digits)-ifNameDigits):]
}

func innerName(deviceIndex int) string { return "eth" + strconv.Itoa(deviceIndex) }

// deviceIndex reads innerName back.
func deviceIndex(name string) (int, error) {
	return strconv.Atoi(strings.TrimPrefix(name, "eth"))
}

// alias says, on both sides of a link, whose it is.
func alias(eni program.InterfaceID, instance program.InstanceID) string {
	return string(eni) + " " + string(instance)
}

func parseAlias(s string) (program.InterfaceID, program.InstanceID, bool) {
	eni, instance, ok := strings.Cut(s, " ")
	ok = ok && strings.HasPrefix(eni, "eni-") && strings.HasPrefix(instance, "i-")
	return program.InterfaceID(eni), program.InstanceID(instance), ok
}

// findName returns nil if there is no such link.
func (s *space) findName(name string) (netlink.Link, error) {
	l, err := s.LinkByName(name)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	return l, nil
}

// findAlias returns nil if there is no such link.
func (s *space) findAlias(alias string) (netlink.Link, error) {
	all, err := dump(s.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range all {
		if l.Attrs().Alias == alias {
			return l, nil
		}
	}
	return nil, nil
}
