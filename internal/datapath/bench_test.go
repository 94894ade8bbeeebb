package datapath

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// benchHost has as many rules as said, the last of which, by group, admits the
// peer to port 22, and as many members of that group.
func benchHost(rules, members int) *program.Host {
	var in []program.Rule
	for n := range rules - 1 {
		in = append(in, rule(fmt.Sprintf("sgr-%05d", n), ports(packet.TCP, uint16(1000+n), uint16(1010+n)), fmt.Sprintf("10.%d.%d.0/24", n/256, n%256)))
	}
	last := rule("sgr-99999", ports(packet.TCP, 22, 22))
	last.Group = "sg-1"
	h := hostOf(append(in, last), nil)
	h.Members[program.Member{Network: "vpc-1", Addr: addr(peer)}] = program.Groups{"sg-1"}
	for n := range members - 1 {
		a := netip.AddrFrom4([4]byte{172, byte(16 + n>>16), byte(n >> 8), byte(n)})
		h.Members[program.Member{Network: "vpc-1", Addr: a}] = program.Groups{"sg-1"}
	}
	return h
}

// perRun is the time of one run of a program over a frame, in ns.
func perRun(b *testing.B, p *ebpf.Program, num uint32, f []byte) float64 {
	b.Helper()
	var in skb
	in[skbCB] = num
	start := time.Now()
	if _, err := p.Run(&ebpf.RunOptions{Data: f, Context: &in, Repeat: uint32(b.N)}); err != nil {
		b.Fatal(err)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(b.N)
}

// BenchmarkVerdict reports ns per packet over an empty program. The verdict for
// a new flow is taken with no budget left, so that no record is made.
func BenchmarkVerdict(b *testing.B) {
	for _, size := range []struct{ rules, members int }{{10, 10}, {1000, 10}, {10, 100000}, {1000, 100000}} {
		opts := testOptions(pinDir(b))
		opts.Members = 200000
		d := open(b, opts)
		if err := d.Apply(benchHost(size.rules, size.members), nil); err != nil {
			b.Fatal(err)
		}
		num := d.ifaces[eni].num
		known := to(tcp(peer, self, 9, 22, program.SYN)).bytes()
		if _, why, _, err := d.Test(packet.Ingress, eni, known); err != nil || why != program.ReasonRule {
			b.Fatal(why, err)
		}
		known = to(tcp(peer, self, 9, 22, program.ACK)).bytes()
		fresh := to(tcp(peer, self, 10, 22, program.SYN)).bytes()
		name := fmt.Sprintf("rules=%d,members=%d", size.rules, size.members)
		b.Run("known/"+name, func(b *testing.B) {
			b.ReportMetric(perRun(b, d.k.ToInstance, num, known)-perRun(b, d.k.Empty, num, known), "ns-over-empty")
		})
		store64(&d.k.ifaces[num].FlowsMax, 0)
		b.Run("new/"+name, func(b *testing.B) {
			b.ReportMetric(perRun(b, d.k.ToInstance, num, fresh)-perRun(b, d.k.Empty, num, fresh), "ns-over-empty")
		})
	}
}

// BenchmarkMember is one member that joins and leaves a group of many.
func BenchmarkMember(b *testing.B) {
	opts := testOptions(pinDir(b))
	opts.Members = 200000
	d := open(b, opts)
	h := benchHost(10, 100000)
	if err := d.Apply(h, nil); err != nil {
		b.Fatal(err)
	}
	m := program.Member{Network: "vpc-1", Addr: addr("192.0.2.1")}
	join := &program.Delta{Members: map[program.Member]program.Groups{m: {"sg-1"}}}
	leave := &program.Delta{Members: map[program.Member]program.Groups{m: nil}}
	for b.Loop() {
		for _, delta := range []*program.Delta{join, leave} {
			h.Apply(delta)
			if err := d.Apply(h, delta); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSweep looks at a table of live flows.
func BenchmarkSweep(b *testing.B) {
	const flows = 200_000
	opts := testOptions(pinDir(b))
	opts.Flows, opts.FlowsPerInterface = 2*flows, flows
	d := open(b, opts)
	if err := d.Apply(benchHost(10, 10), nil); err != nil {
		b.Fatal(err)
	}
	frame := to(tcp(peer, self, 10, 22, program.SYN)).bytes()
	if _, why, _, err := d.Test(packet.Ingress, eni, frame); err != nil || why != program.ReasonRule {
		b.Fatal(why, err)
	}
	var k kernelFlowKey
	var f kernelFlow
	if it := d.k.Flows.Iterate(); !it.Next(&k, &f) {
		b.Fatal(it.Err())
	}
	f.Last += uint64(time.Hour)
	for n := range flows {
		k.Remote.Lo = uint64(n)
		if err := d.k.Flows.Put(k, f); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if got, err := d.sweepFlows(); err != nil || got.Flows < flows || got.Expired > 1 {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
}
