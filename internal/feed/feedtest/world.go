// Package feedtest makes random worlds for the tests of the feed and of those
// who use it: what hosts have in place, and the deltas between. It is for tests
// only. Equal seeds give equal worlds.
package feedtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// World is a host that changes at random, always into one that a compiler could
// have made: what is referred to exists, and what nobody refers to does not.
type World struct {
	rand *rand.Rand
	now  *program.Host
	next int // numbers what is made
}

// NewWorld is an empty world at revision 1.
func NewWorld(seed uint64) *World {
	w := &World{rand: rand.New(rand.NewPCG(seed, 0)), now: program.NewHost()}
	w.now.Revision = 1
	return w
}

// Host is the world as it is; the caller may keep it and apply to it.
func (w *World) Host() *program.Host { return Clone(w.now) }

// Step changes the world in one to four ways and gives the delta that does it.
func (w *World) Step() *program.Delta {
	before := Clone(w.now)
	for range 1 + w.rand.IntN(4) {
		w.change()
	}
	w.collect()
	w.now.Revision += program.Revision(1 + w.rand.IntN(3))
	return Diff(before, w.now)
}

// Clone copies the maps of h; the entries are shared, since nobody changes them.
func Clone(h *program.Host) *program.Host {
	return &program.Host{
		Revision: h.Revision, Interfaces: maps.Clone(h.Interfaces), Policies: maps.Clone(h.Policies),
		Members: maps.Clone(h.Members), Networks: maps.Clone(h.Networks), Instances: maps.Clone(h.Instances),
		Connections: maps.Clone(h.Connections),
	}
}

// Full is the delta that makes h out of anything.
func Full(h *program.Host) *program.Delta {
	c := Clone(h)
	return &program.Delta{
		Revision: c.Revision, Full: true, Interfaces: c.Interfaces, Policies: c.Policies,
		Members: c.Members, Networks: c.Networks, Instances: c.Instances, Connections: c.Connections,
	}
}

// Diff is the delta from one host to another.
func Diff(from, to *program.Host) *program.Delta {
	d := &program.Delta{
		Revision:   to.Revision,
		Interfaces: diff(from.Interfaces, to.Interfaces), Policies: diff(from.Policies, to.Policies),
		Members:  map[program.Member]program.Groups{},
		Networks: diff(from.Networks, to.Networks), Instances: diff(from.Instances, to.Instances),
		Connections: diff(from.Connections, to.Connections),
	}
	for m := range from.Members {
		if _, ok := to.Members[m]; !ok {
			d.Members[m] = nil
		}
	}
	for m, g := range to.Members {
		if !slices.Equal(from.Members[m], g) {
			d.Members[m] = g
		}
	}
	return d
}

func diff[K comparable, V any](from, to map[K]*V) map[K]*V {
	out := map[K]*V{}
	for k := range from {
		if to[k] == nil {
			out[k] = nil
		}
	}
	for k, v := range to {
		if from[k] == nil || !reflect.DeepEqual(from[k], v) {
			out[k] = v
		}
	}
	return out
}

func (w *World) change() {
	instances := slices.Sorted(maps.Keys(w.now.Instances))
	if len(instances) == 0 {
		w.run()
		return
	}
	i := *w.now.Instances[instances[w.rand.IntN(len(instances))]]
	switch w.rand.IntN(11) {
	case 0, 1:
		w.run()
	case 2:
		w.terminate(&i)
	case 3: // stop or start
		if i.Running = !i.Running; i.Running {
			i.Boot++
		}
		w.now.Instances[i.ID] = &i
	case 4: // reboot
		i.Running = true
		i.Boot++
		w.now.Instances[i.ID] = &i
	case 5: // hot plug
		i.NICs = append(slices.Clone(i.NICs), w.nic(i.Network, len(i.NICs)))
		w.now.Instances[i.ID] = &i
	case 6: // other rules
		id := i.NICs[w.rand.IntN(len(i.NICs))].Interface
		c := *w.now.Interfaces[id]
		c.Ingress, c.Egress = w.policy(), w.policy()
		w.now.Interfaces[id] = &c
	case 7: // a member comes, changes or goes
		w.member(i.Network)
	case 8: // another block
		n := *w.now.Networks[i.Network]
		w.next++
		n.CIDRs = append(slices.Clone(n.CIDRs), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(w.next), 0}), 24))
		w.now.Networks[n.ID] = &n
	case 9, 10: // a connection comes or goes
		w.connect(i.Network)
	}
}

// connect joins a network to another one, or parts them if they are joined.
func (w *World) connect(network program.NetworkID) {
	networks := slices.Sorted(maps.Keys(w.now.Networks))
	other := networks[w.rand.IntN(len(networks))]
	if other == network {
		return
	}
	ends := [2]program.Network{{ID: min(network, other)}, {ID: max(network, other)}}
	for id, c := range w.now.Connections {
		if c.Ends[0].ID == ends[0].ID && c.Ends[1].ID == ends[1].ID {
			delete(w.now.Connections, id)
			return
		}
	}
	w.next++
	id := program.ConnectionID(fmt.Sprintf("pcx-%04d", w.next))
	w.now.Connections[id] = &program.Connection{ID: id, Ends: ends}
}

func (w *World) run() {
	w.next++
	network := program.NetworkID(fmt.Sprintf("vpc-%d", w.rand.IntN(4)))
	if w.now.Networks[network] == nil {
		w.now.Networks[network] = &program.Network{ID: network, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	}
	i := &program.Instance{
		ID: program.InstanceID(fmt.Sprintf("i-%04d", w.next)), Network: network, Running: w.rand.IntN(5) > 0, Boot: 1,
		Hostname: "ip-10-0-0-1", UserData: []byte("#!/bin/sh\n"),
	}
	for n := range 1 + w.rand.IntN(2) {
		i.NICs = append(i.NICs, w.nic(network, n))
	}
	w.now.Instances[i.ID] = i
}

func (w *World) nic(network program.NetworkID, index int) program.NIC {
	w.next++
	id := program.InterfaceID(fmt.Sprintf("eni-%04d", w.next))
	addrs := []netip.Addr{w.addr4(), netip.MustParseAddr(fmt.Sprintf("fd00::%x", w.next))}
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", w.next>>8&0xff, w.next&0xff)
	w.now.Interfaces[id] = &program.Interface{
		ID: id, Network: network, Addrs: addrs, MAC: mac, Ingress: w.policy(), Egress: w.policy(),
		Groups: []program.GroupID{w.group()}, CheckSource: w.rand.IntN(2) == 0,
		Timeouts:   program.Timeouts{UDP: program.UDPDefault},
		Unfiltered: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
	}
	return program.NIC{Interface: id, DeviceIndex: index, MAC: mac, Addrs: addrs, Gateway: netip.MustParseAddr("10.0.0.1")}
}

func (w *World) terminate(i *program.Instance) {
	for _, n := range i.NICs {
		delete(w.now.Interfaces, n.Interface)
	}
	delete(w.now.Instances, i.ID)
}

func (w *World) addr4() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(w.rand.IntN(8)), byte(w.rand.IntN(250) + 4)})
}

func (w *World) group() program.GroupID {
	return program.GroupID(fmt.Sprintf("sg-%d", w.rand.IntN(6)))
}

// policy is the name of one of a few policies, or of none, which denies.
func (w *World) policy() program.PolicyHash {
	services := []packet.Service{
		{Proto: packet.TCP, Ports: packet.PortRange{From: 443, To: 443}},
		{Proto: packet.UDP, Ports: packet.AllPorts},
		{Proto: packet.ICMP, Type: 8, Code: packet.Any},
		{Proto: packet.AllProtos},
		{Proto: 0},
		{Proto: 132},
	}
	var p program.Policy
	for n := range w.rand.IntN(3) {
		r := program.Rule{ID: program.RuleID(fmt.Sprintf("sgr-%d", n)), Service: services[w.rand.IntN(len(services))]}
		if w.rand.IntN(2) == 0 {
			r.Group = w.group()
		} else {
			r.Prefixes = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		}
		p.Rules = append(p.Rules, r)
	}
	if len(p.Rules) == 0 {
		return program.PolicyHash{}
	}
	h := p.Hash()
	w.now.Policies[h] = &p
	return h
}

func (w *World) member(network program.NetworkID) {
	m := program.Member{Network: network, Addr: w.addr4()}
	if len(w.now.Members[m]) > 0 && w.rand.IntN(2) == 0 {
		delete(w.now.Members, m)
		return
	}
	w.now.Members[m] = program.MakeGroups([]program.GroupID{w.group(), w.group()})
}

// collect drops the policies and networks that nobody refers to any more, and
// brings connections up to date with their ends.
func (w *World) collect() {
	policies := map[program.PolicyHash]bool{}
	networks := map[program.NetworkID]bool{}
	for _, i := range w.now.Interfaces {
		policies[i.Ingress], policies[i.Egress], networks[i.Network] = true, true, true
	}
	for _, i := range w.now.Instances {
		networks[i.Network] = true
	}
	maps.DeleteFunc(w.now.Policies, func(h program.PolicyHash, _ *program.Policy) bool { return !policies[h] })
	maps.DeleteFunc(w.now.Networks, func(id program.NetworkID, _ *program.Network) bool { return !networks[id] })
	maps.DeleteFunc(w.now.Members, func(m program.Member, _ program.Groups) bool { return !networks[m.Network] })
	for id, c := range w.now.Connections {
		a, b := w.now.Networks[c.Ends[0].ID], w.now.Networks[c.Ends[1].ID]
		if a == nil || b == nil {
			delete(w.now.Connections, id)
			continue
		}
		w.now.Connections[id] = &program.Connection{ID: id, Ends: [2]program.Network{*a, *b}}
	}
}
