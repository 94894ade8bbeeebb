package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"

	"sallyport.dev/sallyport/internal/program"
)

// Flags of kernelIface and of addrs (maps.h).
const (
	flagBound = 1 << iota
	flagCheckSource
	flagStrictICMP
	flagCheckMAC
)

const (
	addrOwn uint32 = 1 << iota
	addrExempt
)

// Apply makes the kernel enforce h. delta says what changed since the last Apply
// that succeeded; nil, Full, or the first of a process: everything is compared
// with what the kernel holds and the difference is written. After an error
// nothing is half in force for any packet, but some interfaces may have the
// change and others not; the next Apply compares everything.
func (d *Datapath) Apply(h *program.Host, delta *program.Delta) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := delta == nil || delta.Full || !d.synced
	d.synced = false
	c := &change{d: d, h: h, t: d.k.tables()}
	if full {
		delta = &program.Delta{Interfaces: h.Interfaces, Policies: h.Policies, Members: h.Members}
		if err := c.beginFull(); err != nil {
			return err
		}
	}
	if err := c.run(delta, full); err != nil {
		return fmt.Errorf("apply revision %d: %w", h.Revision, err)
	}
	d.synced = true
	if d.unused() > unusedMax {
		return d.free()
	}
	return nil
}

// unusedMax is how many unused policies and identities wait for a Sweep; past
// it an Apply frees them itself. The table of policies has room for them.
const unusedMax = 256

func (d *Datapath) unused() int {
	n := 0
	for _, p := range d.policies {
		if p.refs == 0 {
			n++
		}
	}
	for _, i := range d.identities {
		if i.refs == 0 {
			n++
		}
	}
	return n
}

// change is one Apply under way.
type change struct {
	d *Datapath
	h *program.Host
	t *tables
}

// beginFull forgets what we think the kernel holds and reads what it does hold.
func (c *change) beginFull() error {
	for _, p := range c.d.policies {
		p.refs, p.written = 0, false
	}
	for _, i := range c.d.identities {
		c.d.recovered[hashOf(i.groups)] = i.num
	}
	clear(c.d.identities)
	clear(c.d.byNumber)
	for _, i := range c.d.ifaces {
		i.prog, i.addrs, i.use = nil, nil, [2]*policy{}
	}
	return c.t.load()
}

// run is the order of every change: what is referred to before what refers to
// it, additions before removals.
func (c *change) run(delta *program.Delta, full bool) error {
	touched, err := c.touched(delta)
	if err != nil {
		return err
	}
	for _, id := range touched {
		if err := c.policiesOf(c.h.Interfaces[id]); err != nil {
			return err
		}
	}
	if err := c.addMembers(delta.Members, full); err != nil {
		return err
	}
	for _, id := range touched {
		if err := c.bind(c.d.ifaces[id], c.h.Interfaces[id]); err != nil {
			return fmt.Errorf("interface %s: %w", id, err)
		}
	}
	for id, i := range c.d.ifaces {
		if _, wanted := c.h.Interfaces[id]; !wanted {
			if err := c.unbind(i); err != nil {
				return fmt.Errorf("interface %s: %w", id, err)
			}
		}
	}
	c.d.shareBudget()
	if err := c.removeMembers(delta.Members); err != nil {
		return err
	}
	if full {
		return c.endFull()
	}
	return nil
}

// touched is the interfaces to write, numbered: those that changed, and those that waited for a policy.
func (c *change) touched(delta *program.Delta) ([]program.InterfaceID, error) {
	set := map[program.InterfaceID]bool{}
	for id, i := range delta.Interfaces {
		if i != nil {
			set[id] = true
			if _, err := c.d.number(id); err != nil {
				return nil, err
			}
		}
	}
	for id, i := range c.d.ifaces {
		if len(delta.Policies) == 0 || i.prog == nil || c.h.Interfaces[id] == nil {
			continue
		}
		for _, hash := range []program.PolicyHash{i.prog.Ingress, i.prog.Egress} {
			if delta.Policies[hash] != nil && c.d.policies[hash] == nil {
				set[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set)), nil
}

// number gives an interface its place in the array, below which nothing passes until it is bound.
func (d *Datapath) number(id program.InterfaceID) (*iface, error) {
	if i := d.ifaces[id]; i != nil {
		return i, nil
	}
	used := map[uint32]bool{0: true} // what a stub without a number would say
	for _, i := range d.ifaces {
		used[i.num] = true
	}
	for n := range uint32(len(d.k.ifaces)) {
		if used[n] {
			continue
		}
		if err := d.k.setName(kindInterface, n, []byte(id)); err != nil {
			return nil, err
		}
		d.ifaces[id] = &iface{num: n}
		return d.ifaces[id], nil
	}
	return nil, fmt.Errorf("interface %s: %w for more than %d", id, ErrFull, len(d.k.ifaces)-1)
}

func (c *change) policiesOf(i *program.Interface) error {
	for _, hash := range []program.PolicyHash{i.Ingress, i.Egress} {
		if err := c.policy(hash); err != nil {
			return fmt.Errorf("policy %s: %w", hash, err)
		}
	}
	return nil
}

// policy sees to it that a policy is in the kernel. One that nobody knows stays without a number and denies.
func (c *change) policy(hash program.PolicyHash) error {
	p, src := c.d.policies[hash], c.h.Policies[hash]
	if src == nil || p != nil && p.written {
		return nil
	}
	if p == nil {
		num, err := c.d.k.nextNumber(kindPolicy)
		if err != nil {
			return err
		}
		p = &policy{num: num}
	}
	built := program.Build(src)
	p.tables = &program.Tables{Rules: built.Rules, Groups: built.Groups}
	if err := c.t.writePolicy(p, built, c.d.identities); err != nil {
		return err
	}
	if err := c.d.k.setName(kindPolicy, p.num, hash[:]); err != nil {
		return err
	}
	p.written = true
	c.d.policies[hash] = p
	return nil
}

// identity sees to it that a set of groups has a number and that every policy knows it.
func (c *change) identity(g program.Groups) (*identity, error) {
	key := g.Key()
	if i := c.d.identities[key]; i != nil {
		return i, nil
	}
	hash := hashOf(g)
	num, known := c.d.recovered[hash]
	if !known {
		var err error
		if num, err = c.d.k.nextNumber(kindIdentity); err != nil {
			return nil, err
		}
	}
	i := &identity{num: num, groups: g}
	for _, p := range c.d.policies {
		if p.written && len(p.tables.Groups) > 0 {
			if err := c.t.writeVector(p, i); err != nil {
				return nil, err
			}
		}
	}
	if !known {
		if err := c.d.k.setName(kindIdentity, num, hash[:]); err != nil {
			return nil, err
		}
	}
	delete(c.d.recovered, hash)
	c.d.identities[key], c.d.byNumber[num] = i, i
	return i, nil
}

func (c *change) network(id program.NetworkID) (uint32, error) {
	if n := c.d.networks[id]; n != 0 {
		return n, nil
	}
	n, err := c.d.k.nextNumber(kindNetwork)
	if err != nil {
		return 0, err
	}
	if err := c.d.k.setName(kindNetwork, n, []byte(id)); err != nil {
		return 0, err
	}
	c.d.networks[id] = n
	return n, nil
}

// addMembers writes new members and those whose groups changed: one write each.
func (c *change) addMembers(members map[program.Member]program.Groups, full bool) error {
	for m, groups := range members {
		if len(groups) == 0 {
			continue
		}
		i, err := c.identity(groups)
		if err != nil {
			return err
		}
		net, err := c.network(m.Network)
		if err != nil {
			return err
		}
		key := kernelMemberKey{Network: net, A: ipOf(m.Addr)}
		if !full {
			if err := c.leave(key); err != nil {
				return err
			}
		}
		if err := c.t.members.put(key, i.num); err != nil {
			return err
		}
		i.refs++
	}
	return nil
}

// leave takes a member off the count of the identity it has now.
func (c *change) leave(key kernelMemberKey) error {
	var num uint32
	err := c.t.members.m.Lookup(key, &num)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read members: %w", err)
	}
	if i := c.d.byNumber[num]; i != nil {
		i.refs--
	}
	return nil
}

func (c *change) removeMembers(members map[program.Member]program.Groups) error {
	for m, groups := range members {
		if len(groups) > 0 || c.d.networks[m.Network] == 0 {
			continue
		}
		key := kernelMemberKey{Network: c.d.networks[m.Network], A: ipOf(m.Addr)}
		if err := c.leave(key); err != nil {
			return err
		}
		if err := c.t.members.remove(key); err != nil {
			return err
		}
	}
	return nil
}

// bind writes an interface's record. Its pair of policies is one store.
func (c *change) bind(i *iface, p *program.Interface) error {
	net, err := c.network(p.Network)
	if err != nil {
		return err
	}
	mac, flags, err := configOf(p)
	if err != nil {
		return err
	}
	addrs := addrsOf(p)
	for a, f := range addrs {
		if i.addrs[a] != f {
			if err := c.t.addrs.put(kernelAddrKey{Ifnum: i.num, A: a}, f); err != nil {
				return err
			}
		}
	}
	rec, t := &c.d.k.ifaces[i.num], p.Timeouts.WithDefaults()
	store32(&rec.Network, net)
	store64(&rec.TcpEstablished, uint64(t.TCPEstablished))
	store64(&rec.UdpStream, uint64(t.UDPStream))
	store64(&rec.Udp, uint64(t.UDP))
	store64((*uint64)(unsafe.Pointer(&rec.Mac)), binary.NativeEndian.Uint64(mac[:]))
	use := [2]*policy{c.d.policies[p.Ingress], c.d.policies[p.Egress]}
	store64(&rec.Policies, uint64(use[0].claim())|uint64(use[1].claim())<<32)
	for a := range i.addrs {
		if _, keep := addrs[a]; !keep {
			if err := c.t.addrs.remove(kernelAddrKey{Ifnum: i.num, A: a}); err != nil {
				return err
			}
		}
	}
	if rec.Flags != flags || i.addrs == nil || !maps.Equal(i.addrs, addrs) {
		store32(&rec.Flags, flags)
		store32(&rec.Generation, rec.Generation+1)
	}
	i.release()
	i.prog, i.addrs, i.use = p, addrs, use
	return nil
}

// claim counts one more direction and answers the number; 0 for no policy.
func (p *policy) claim() uint32 {
	if p == nil {
		return 0
	}
	p.refs++
	return p.num
}

// release uncounts the policies of an interface's last program.
func (i *iface) release() {
	for _, p := range i.use {
		if p != nil {
			p.refs--
		}
	}
	i.use = [2]*policy{}
}

// unbind denies everything at an interface and voids its flows.
func (c *change) unbind(i *iface) error {
	rec := &c.d.k.ifaces[i.num]
	if rec.Flags == 0 && i.prog == nil {
		return nil
	}
	store32(&rec.Flags, 0)
	store64(&rec.Policies, 0)
	store32(&rec.Epoch, rec.Epoch+1)
	for a := range i.addrs {
		if err := c.t.addrs.remove(kernelAddrKey{Ifnum: i.num, A: a}); err != nil {
			return err
		}
	}
	i.release()
	i.prog, i.addrs = nil, nil
	return nil
}

// shareBudget divides the flow table so that no interface can take another's share.
func (d *Datapath) shareBudget() {
	bound := 0
	for _, i := range d.ifaces {
		if i.prog != nil {
			bound++
		}
	}
	if bound == 0 {
		return
	}
	each := uint64(min(d.opts.FlowsPerInterface, int(d.k.Flows.MaxEntries())/bound))
	for _, i := range d.ifaces {
		store64(&d.k.ifaces[i.num].FlowsMax, each)
	}
}

// endFull removes what the kernel held and nobody wants.
func (c *change) endFull() error {
	if err := errors.Join(c.t.addrs.removeRest(), c.t.members.removeRest()); err != nil {
		return err
	}
	rest := len(c.t.policies.have) + len(c.t.prefixes.have) + len(c.t.services.have) + len(c.t.groups.have)
	if rest > 0 {
		if err := barrier(); err != nil {
			return err
		}
		if err := errors.Join(c.t.policies.removeRest(), c.t.prefixes.removeRest(), c.t.services.removeRest(), c.t.groups.removeRest()); err != nil {
			return err
		}
	}
	for hash, num := range c.d.recovered {
		if err := c.d.k.dropName(kindIdentity, num); err != nil {
			return err
		}
		delete(c.d.recovered, hash)
	}
	for hash, p := range c.d.policies {
		if !p.written {
			if err := c.d.k.dropName(kindPolicy, p.num); err != nil {
				return err
			}
			delete(c.d.policies, hash)
		}
	}
	return nil
}

const macBytes = 6

func configOf(p *program.Interface) (mac [8]byte, flags uint32, err error) {
	flags = flagBound
	if p.CheckSource {
		flags |= flagCheckSource
	}
	if p.StrictICMP {
		flags |= flagStrictICMP
	}
	if p.MAC != "" && p.CheckSource {
		hw, err := net.ParseMAC(p.MAC)
		if err != nil {
			return mac, 0, fmt.Errorf("hardware address %q: %w", p.MAC, err)
		}
		if len(hw) != macBytes {
			return mac, 0, fmt.Errorf("hardware address %q is not Ethernet's", p.MAC)
		}
		copy(mac[:], hw)
		flags |= flagCheckMAC
	}
	return mac, flags, nil
}

func addrsOf(p *program.Interface) map[kernelIp]uint32 {
	out := map[kernelIp]uint32{}
	add := func(as []netip.Addr, flag uint32) {
		for _, a := range as {
			out[ipOf(a)] |= flag
		}
	}
	add(p.Addrs, addrOwn)
	add(p.Unfiltered, addrExempt)
	return out
}
