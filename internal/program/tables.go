package program

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/packet"
)

// Vector is a set of the rules of one policy: bit i stands for Rules[i].
type Vector [RulesMax / 64]uint64

// Set adds rule i.
func (v *Vector) Set(i int) { v[i/64] |= 1 << (i % 64) }

// Or adds the rules of w.
func (v *Vector) Or(w *Vector) {
	for i := range v {
		v[i] |= w[i]
	}
}

// And is the rules that are in both.
func (v Vector) And(w *Vector) Vector {
	for i := range v {
		v[i] &= w[i]
	}
	return v
}

// First is the lowest rule of the set, false when it is empty.
func (v *Vector) First() (int, bool) {
	for i, word := range v {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word), true
		}
	}
	return 0, false
}

// Empty says that the set has no rule.
func (v *Vector) Empty() bool { return *v == Vector{} }

// Family indexes what a policy holds per address family.
type Family uint8

// The families.
const (
	IPv4 Family = iota
	IPv6
)

// FamilyOf is the family of a; a must be valid.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Open is a set of (family, protocol) pairs for which a single rule admits all
// addresses and all ports: the half of a policy pair that makes flows of the
// other direction untracked (ec2-behaviour 7.2).
type Open uint8

// The pairs of Open.
const (
	OpenTCP4 Open = 1 << iota
	OpenUDP4
	OpenTCP6
	OpenUDP6
)

// OpenBit is the bit of a family and protocol; zero for protocols without ports.
func OpenBit(f Family, p packet.Proto) Open {
	switch p { //nolint:exhaustive // no other has ports
	case packet.TCP:
		return OpenTCP4 << (2 * f)
	case packet.UDP:
		return OpenUDP4 << (2 * f)
	}
	return 0
}

// mappedBits is the length of ::ffff:0:0/96, where IPv4 lives in a 16-byte address.
const mappedBits = 96

// PrefixEntry is one entry of the longest-prefix table of remote addresses. The
// vector is cumulated: it has the rules of every prefix that covers this one,
// since a longest-prefix lookup returns the most specific entry only.
type PrefixEntry struct {
	Addr  [16]byte // IPv4 as mapped IPv6
	Bits  uint8    // length in those 128 bits
	Rules Vector
}

// ServiceEntry is one entry of the longest-prefix table of services, cumulated
// likewise. The key is protocol (8 bits), then port, or type and code (16 bits).
type ServiceEntry struct {
	Proto uint8
	Value uint16 // port, or type<<8 | code
	Bits  uint8  // 0: any protocol; 8: the protocol; to 24: a port, or a type and code
	Rules Vector
}

// GroupEntry is the rules that refer to one group.
type GroupEntry struct {
	Group GroupID
	Rules Vector
}

// Tables is a policy as lookups, the very entries the kernel holds:
//
//	allow = (prefix(remote) | groups of remote) & service(proto, port)
type Tables struct {
	Rules    []RuleID // by bit
	Any      [2]Vector
	Open     Open
	Prefixes []PrefixEntry  // by address, then length: what covers comes before what is covered
	Services []ServiceEntry // likewise
	Groups   []GroupEntry   // by group
}

// Build compiles p, which has at most RulesMax rules. Rules beyond that admit
// nothing: the API refuses them, and a datapath must not guess.
func Build(p *Policy) *Tables {
	t := &Tables{}
	prefixes, services := trie{}, trie{}
	groups := map[GroupID]*Vector{}
	for i := range p.Rules[:min(len(p.Rules), RulesMax)] {
		r := &p.Rules[i]
		t.Rules = append(t.Rules, r.ID)
		for _, k := range serviceKeys(r.Service) {
			services.add(k, i)
		}
		for _, pfx := range r.Prefixes {
			if !pfx.IsValid() || pfx.Addr().Is4In6() {
				continue
			}
			prefixes.add(addrKey(pfx), i)
			if f := FamilyOf(pfx.Addr()); pfx.Bits() == 0 {
				t.Any[f].Set(i)
				t.Open |= openOf(f, r.Service)
			}
		}
		if r.Group != "" {
			if groups[r.Group] == nil {
				groups[r.Group] = &Vector{}
			}
			groups[r.Group].Set(i)
		}
	}
	t.Prefixes = prefixEntries(prefixes)
	for _, e := range services.cumulate() {
		t.Services = append(t.Services, ServiceEntry{e.key[0], uint16(e.key[1])<<8 | uint16(e.key[2]), uint8(e.bits), e.rules})
	}
	for id, v := range groups {
		t.Groups = append(t.Groups, GroupEntry{id, *v})
	}
	slices.SortFunc(t.Groups, func(a, b GroupEntry) int { return strings.Compare(string(a.Group), string(b.Group)) })
	return t
}

// prefixEntries cumulates within each family: IPv4's part of the address space
// gets an entry of its own whenever IPv6 prefixes might cover it, so that ::/0
// never admits IPv4.
func prefixEntries(all trie) []PrefixEntry {
	v4, v6 := trie{}, trie{}
	mapped := node{bits: mappedBits}
	mapped.key[10], mapped.key[11] = 0xff, 0xff
	for n, v := range all {
		if n.covered(mapped) {
			v4[n] = v
		} else {
			v6[n] = v
		}
	}
	if len(v6) > 0 && v4[mapped] == nil {
		v4[mapped] = &Vector{}
	}
	var out []PrefixEntry
	for _, e := range append(v4.cumulate(), v6.cumulate()...) {
		out = append(out, PrefixEntry{e.key, uint8(e.bits), e.rules})
	}
	slices.SortFunc(out, func(a, b PrefixEntry) int {
		if c := bytes.Compare(a.Addr[:], b.Addr[:]); c != 0 {
			return c
		}
		return int(a.Bits) - int(b.Bits)
	})
	return out
}

func openOf(f Family, s packet.Service) Open {
	both := OpenBit(f, packet.TCP) | OpenBit(f, packet.UDP)
	switch {
	case s.Proto == packet.AllProtos:
		return both
	case s.Proto.HasPorts() && s.Ports == packet.AllPorts:
		return OpenBit(f, s.Proto)
	}
	return 0
}

// VectorOf is the rules that refer to any of groups.
func (t *Tables) VectorOf(groups Groups) Vector {
	var v Vector
	for _, id := range groups {
		if i, ok := slices.BinarySearchFunc(t.Groups, id, func(e GroupEntry, id GroupID) int {
			return strings.Compare(string(e.Group), string(id))
		}); ok {
			v.Or(&t.Groups[i].Rules)
		}
	}
	return v
}

// Prefix is the rules whose prefixes contain a.
func (t *Tables) Prefix(a netip.Addr) Vector {
	key := node{key: a.As16(), bits: 128}
	for _, e := range slices.Backward(t.Prefixes) {
		if key.covered(node{e.Addr, int(e.Bits)}) {
			return e.Rules
		}
	}
	return Vector{}
}

// Service is the rules that admit a protocol and port, or type<<8 | code.
func (t *Tables) Service(p packet.Proto, value uint16) Vector {
	key := serviceKey(p, value, 24)
	for _, e := range slices.Backward(t.Services) {
		if key.covered(serviceKey(packet.Proto(e.Proto), e.Value, int(e.Bits))) {
			return e.Rules
		}
	}
	return Vector{}
}

// Allow is the rules that admit a packet: its remote address, the groups that
// address carries, and its protocol with port or type and code.
func (t *Tables) Allow(remote netip.Addr, groups Groups, p packet.Proto, value uint16) Vector {
	v, g, s := t.Prefix(remote), t.VectorOf(groups), t.Service(p, value)
	v.Or(&g)
	return v.And(&s)
}

// node is a bit string: the first bits of key, the rest zero.
type node struct {
	key  [16]byte
	bits int
}

// covered says whether m is a prefix of n.
func (n node) covered(m node) bool {
	if m.bits > n.bits {
		return false
	}
	full := m.bits / 8
	if !bytes.Equal(n.key[:full], m.key[:full]) {
		return false
	}
	rest := m.bits % 8
	return rest == 0 || (n.key[full]^m.key[full])>>(8-rest) == 0
}

func addrKey(p netip.Prefix) node {
	n := p.Bits()
	if p.Addr().Is4() {
		n += mappedBits
	}
	return node{p.Masked().Addr().As16(), n}
}

func serviceKey(p packet.Proto, value uint16, n int) node {
	k := node{bits: n}
	k.key[0], k.key[1], k.key[2] = uint8(p), uint8(value>>8), uint8(value)
	return k
}

// serviceKeys is the bit strings that together are s: one, or for a range of
// ports at most 30.
func serviceKeys(s packet.Service) []node {
	switch {
	case s.Proto == packet.AllProtos:
		return []node{{}}
	case s.Proto.HasPorts():
		return portKeys(s.Proto, s.Ports)
	case !s.Proto.HasTypes() || s.Type == packet.Any && s.Code == packet.Any:
		return []node{serviceKey(s.Proto, 0, 8)}
	case s.Code == packet.Any:
		return []node{serviceKey(s.Proto, uint16(uint8(s.Type))<<8, 16)}
	case s.Type != packet.Any:
		return []node{serviceKey(s.Proto, uint16(uint8(s.Type))<<8|uint16(uint8(s.Code)), 24)}
	}
	out := make([]node, 0, 256) // any type with one code
	for t := range uint16(256) {
		out = append(out, serviceKey(s.Proto, t<<8|uint16(uint8(s.Code)), 24))
	}
	return out
}

func portKeys(p packet.Proto, r packet.PortRange) []node {
	var out []node
	for from, to := int(r.From), int(r.To); from <= to; {
		size := 1 << 16 // the largest aligned block at from that fits
		if from != 0 {
			size = from & -from
		}
		for from+size-1 > to {
			size /= 2
		}
		out = append(out, serviceKey(p, uint16(from), 24-bits.TrailingZeros(uint(size))))
		from += size
	}
	return out
}

// trie maps bit strings to the rules that name exactly them.
type trie map[node]*Vector

func (t trie) add(n node, rule int) {
	if t[n] == nil {
		t[n] = &Vector{}
	}
	t[n].Set(rule)
}

type entry struct {
	node
	rules Vector
}

// cumulate adds to each string the rules of every string that is a prefix of
// it, and sorts so that prefixes come first.
func (t trie) cumulate() []entry {
	out := make([]entry, 0, len(t))
	for n, v := range t {
		out = append(out, entry{n, *v})
	}
	slices.SortFunc(out, func(a, b entry) int {
		if c := bytes.Compare(a.key[:], b.key[:]); c != 0 {
			return c
		}
		return a.bits - b.bits
	})
	var above []int // the chain of prefixes of the entry at hand
	for i := range out {
		for len(above) > 0 && !out[i].covered(out[above[len(above)-1]].node) {
			above = above[:len(above)-1]
		}
		if len(above) > 0 {
			out[i].rules.Or(&out[above[len(above)-1]].rules)
		}
		above = append(above, i)
	}
	return out
}
