package program

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/internal/packet"
)

// octets deals out what a fuzzer made, zeros at the end.
type octets []byte

func (o *octets) next() byte {
	if len(*o) == 0 {
		return 0
	}
	b := (*o)[0]
	*o = (*o)[1:]
	return b
}

func (o *octets) port() uint16 { return uint16(o.next())<<8 | uint16(o.next()) }

// proto is any protocol, or all.
func (o *octets) proto() packet.Proto {
	if o.next() == 0xff {
		return packet.AllProtos
	}
	return packet.Proto(o.next())
}

func (o *octets) addr() netip.Addr {
	if o.next()&1 == 0 {
		return netip.AddrFrom4([4]byte{o.next(), o.next(), o.next(), o.next()})
	}
	var a [16]byte
	binary.BigEndian.PutUint16(a[:], 0x2001)
	for i := 2; i < 16; i += 2 {
		a[i] = o.next()
	}
	return netip.AddrFrom16(a)
}

func (o *octets) rule(id int) Rule {
	r := Rule{ID: RuleID(fmt.Sprintf("sgr-%04d", id)), Service: packet.Service{Proto: o.proto()}}
	switch s := &r.Service; {
	case s.Proto.HasPorts():
		s.Ports.From, s.Ports.To = o.port(), o.port()
		if s.Ports.From > s.Ports.To {
			s.Ports.From, s.Ports.To = s.Ports.To, s.Ports.From
		}
	case s.Proto.HasTypes():
		s.Type, s.Code = int16(o.next())-1, int16(o.next())-1
		if s.Type == packet.Any {
			s.Code = packet.Any
		}
	}
	for range o.next() % 3 {
		a := o.addr()
		r.Prefixes = append(r.Prefixes, netip.PrefixFrom(a, int(o.next())%(a.BitLen()+1)).Masked())
	}
	if o.next()&1 == 0 {
		r.Group = GroupID(fmt.Sprintf("sg-%d", o.next()%4))
	}
	return r
}

// FuzzPolicies holds the lookup form of any policy against the plain reading of its rules.
func FuzzPolicies(f *testing.F) {
	f.Add([]byte{3, 0, 6, 0, 80, 0, 80, 1, 0, 0, 0, 0, 0, 0, 1}, []byte{0, 6, 0, 80, 0, 10, 0, 0, 1})
	f.Add([]byte{2, 0xff, 0, 0, 0xff, 1, 1, 2, 3, 4, 5, 6, 7, 8, 64, 1}, []byte{0, 17, 1, 187, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{1, 0, 1, 9, 1, 0, 0, 2}, []byte{0, 1, 8, 0, 0, 10, 9, 8, 7, 2})
	f.Add([]byte{1, 0, 6, 0xff, 0xff, 0, 0, 1, 0, 255, 255, 255, 255, 32, 1}, []byte{0, 6, 0xff, 0xff, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, policy, frames []byte) {
		in := octets(policy)
		p := &Policy{}
		for i := range int(in.next()) % 70 {
			p.Rules = append(p.Rules, in.rule(i))
		}
		tables := Build(p)
		probes := octets(frames)
		for range 8 {
			pkt := packet.Tuple{Proto: probes.proto()}
			if pkt.Proto == packet.AllProtos {
				pkt.Proto = packet.TCP
			}
			pkt.DstPort = probes.port()
			if pkt.Proto.HasTypes() {
				pkt.Type, pkt.Code = uint8(pkt.DstPort>>8), uint8(pkt.DstPort)
			}
			remote := probes.addr()
			groups := MakeGroups([]GroupID{GroupID(fmt.Sprintf("sg-%d", probes.next()%4))})
			got := tables.Allow(remote, groups, pkt.Proto, value(pkt))
			for i := range p.Rules {
				want := p.Rules[i].matches(remote, groups, pkt)
				if has := got[i/64]>>(i%64)&1 == 1; has != want {
					t.Errorf("rule %+v, packet %+v from %s in %v: %v, want %v", p.Rules[i], pkt, remote, groups, has, want)
				}
			}
		}
	})
}
