package program

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/packet"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random tests")

// matches is the plain reading of a rule.
func (r *Rule) matches(remote netip.Addr, groups Groups, t packet.Tuple) bool {
	from := r.Group != "" && groups.Has(r.Group)
	for _, p := range r.Prefixes {
		from = from || p.Contains(remote)
	}
	return from && r.Service.Matches(t)
}

func randomRule(r *rand.Rand, id int) Rule {
	rule := Rule{ID: RuleID(fmt.Sprintf("sgr-%04d", id))}
	s := packet.Service{Proto: []packet.Proto{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, packet.AllProtos, 47}[r.IntN(6)]}
	switch {
	case s.Proto.HasPorts() && r.IntN(3) == 0:
		s.Ports = packet.AllPorts
	case s.Proto.HasPorts():
		s.Ports.From = uint16(r.IntN(64))
		s.Ports.To = s.Ports.From + uint16(r.IntN(64))
	case s.Proto.HasTypes():
		s.Type, s.Code = int16(r.IntN(6)-1), int16(r.IntN(4)-1)
	}
	rule.Service = s
	for range r.IntN(3) {
		if r.IntN(2) == 0 {
			p, _ := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), 0, byte(r.IntN(4))}).Prefix([]int{0, 8, 16, 30, 31, 32}[r.IntN(6)])
			rule.Prefixes = append(rule.Prefixes, p)
		} else {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[15], a[6] = byte(r.IntN(4)), byte(r.IntN(3))
			p, _ := netip.AddrFrom16(a).Prefix([]int{0, 32, 56, 64, 126, 128}[r.IntN(6)])
			rule.Prefixes = append(rule.Prefixes, p)
		}
	}
	if r.IntN(3) == 0 {
		rule.Group = GroupID(fmt.Sprintf("sg-%d", r.IntN(4)))
	}
	return rule
}

func TestTablesAgreeWithRules(t *testing.T) {
	t.Logf("seed %d", *seed)
	r := rand.New(rand.NewPCG(*seed, 0))
	for range 300 {
		p := &Policy{}
		for i := range r.IntN(80) {
			p.Rules = append(p.Rules, randomRule(r, i))
		}
		tables := Build(p)
		for range 200 {
			pkt := packet.Tuple{Proto: []packet.Proto{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, 47, 50}[r.IntN(6)]}
			switch {
			case pkt.Proto.HasPorts():
				pkt.DstPort = uint16(r.IntN(140))
			case pkt.Proto.HasTypes():
				pkt.Type, pkt.Code = uint8(r.IntN(6)), uint8(r.IntN(4))
			}
			remote := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), 0, byte(r.IntN(4))})
			if r.IntN(2) == 0 {
				remote = netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", r.IntN(3)<<8, r.IntN(4)))
			}
			var groups Groups
			for range r.IntN(3) {
				groups = append(groups, GroupID(fmt.Sprintf("sg-%d", r.IntN(4))))
			}
			groups = MakeGroups(groups)
			var want Vector
			for i := range p.Rules {
				if p.Rules[i].matches(remote, groups, pkt) {
					want.Set(i)
				}
			}
			if got := tables.Allow(remote, groups, pkt.Proto, value(pkt)); got != want {
				t.Fatalf("remote %s groups %v %s:\ngot  %x\nwant %x\nrules %+v", remote, groups, pkt, got, want, p.Rules)
			}
		}
	}
}

func TestPortRangesBecomeFewPrefixes(t *testing.T) {
	for _, r := range []packet.PortRange{{}, {From: 0, To: 65535}, {From: 1, To: 65534}, {From: 65535, To: 65535}, {From: 80, To: 80}, {From: 1024, To: 65535}} {
		keys := portKeys(packet.TCP, r)
		if len(keys) > 30 {
			t.Errorf("%v: %d prefixes", r, len(keys))
		}
		for port := range 1 << 16 {
			k := serviceKey(packet.TCP, uint16(port), 24)
			in := slices.ContainsFunc(keys, func(n node) bool { return k.covered(n) })
			if in != r.Contains(uint16(port)) {
				t.Fatalf("%v: port %d: %v", r, port, in)
			}
		}
	}
}
