package datapath

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// world makes random hosts over a small space, so that things meet.
type world struct {
	r     *rand.Rand
	host  *program.Host
	addrs []netip.Addr // remote and local alike
}

const (
	worldInterfaces = 4
	worldGroups     = 5
)

func newWorld(r *rand.Rand) *world {
	w := &world{r: r, host: program.NewHost()}
	for n := range 8 {
		w.addrs = append(w.addrs, addr(fmt.Sprintf("10.0.%d.%d", n/4, n%4+1)), addr(fmt.Sprintf("2001:db8::%x:%x", n/4, n%4+1)))
	}
	for n := range worldInterfaces {
		i := w.randomInterface(n)
		w.host.Interfaces[i.ID] = i
	}
	for _, a := range w.addrs {
		w.host.Members[program.Member{Network: "vpc-1", Addr: a}] = w.randomGroups()
	}
	w.compact()
	return w
}

func (w *world) oneIn(n int) bool { return w.r.IntN(n) == 0 }

func (w *world) randomInterface(n int) *program.Interface {
	i := &program.Interface{
		ID: program.InterfaceID(fmt.Sprintf("eni-%d", n)), Network: "vpc-1",
		Addrs:       []netip.Addr{w.addrs[2*n], w.addrs[2*n+1]},
		CheckSource: !w.oneIn(4), StrictICMP: w.oneIn(4),
		Ingress: w.policy(), Egress: w.policy(),
	}
	if w.oneIn(3) {
		i.Timeouts = program.Timeouts{TCPEstablished: 60 * time.Second, UDP: 40 * time.Second, UDPStream: 60 * time.Second}
	}
	if w.oneIn(3) {
		i.Unfiltered = []netip.Addr{w.addrs[14]}
	}
	if w.oneIn(12) {
		i.Ingress = program.PolicyHash{}
	}
	return i
}

func (w *world) randomGroups() program.Groups {
	var g []program.GroupID
	for range w.r.IntN(3) {
		g = append(g, program.GroupID(fmt.Sprintf("sg-%d", w.r.IntN(worldGroups))))
	}
	return program.MakeGroups(g)
}

// compact leaves out what a compiler would: members without groups, policies without use.
func (w *world) compact() {
	maps.DeleteFunc(w.host.Members, func(_ program.Member, g program.Groups) bool { return len(g) == 0 })
	used := map[program.PolicyHash]bool{}
	for _, i := range w.host.Interfaces {
		used[i.Ingress], used[i.Egress] = true, true
	}
	maps.DeleteFunc(w.host.Policies, func(h program.PolicyHash, _ *program.Policy) bool { return !used[h] })
}

func (w *world) policy() program.PolicyHash {
	p := &program.Policy{}
	rules := w.r.IntN(6)
	if w.oneIn(8) {
		rules = w.r.IntN(200)
	}
	for n := range rules {
		p.Rules = append(p.Rules, w.rule(n))
	}
	h := p.Hash()
	w.host.Policies[h] = p
	return h
}

func (w *world) rule(n int) program.Rule {
	r := program.Rule{ID: program.RuleID(fmt.Sprintf("sgr-%03d", n)), Service: w.service()}
	switch w.r.IntN(6) {
	case 0, 1, 2:
		r.Group = program.GroupID(fmt.Sprintf("sg-%d", w.r.IntN(worldGroups)))
	case 3:
		r.Prefixes = []netip.Prefix{netip.MustParsePrefix([]string{"0.0.0.0/0", "::/0"}[w.r.IntN(2)])}
	default:
		for range 1 + w.r.IntN(3) {
			a := w.addrs[w.r.IntN(len(w.addrs))]
			p, _ := a.Prefix(a.BitLen() - []int{0, 0, 1, 2, 8, 16, a.BitLen()}[w.r.IntN(7)])
			r.Prefixes = append(r.Prefixes, p)
		}
	}
	if w.oneIn(3) && r.Group != "" {
		r.Prefixes = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return r
}

func (w *world) service() packet.Service {
	s := packet.Service{Proto: []packet.Proto{packet.TCP, packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, packet.AllProtos, 47}[w.r.IntN(7)]}
	switch {
	case s.Proto.HasPorts():
		s.Ports = packet.PortRange{From: uint16(w.r.IntN(8)), To: uint16(8 + w.r.IntN(8))}
		if w.oneIn(2) {
			s.Ports = packet.AllPorts
		}
	case s.Proto.HasTypes():
		s.Type, s.Code = []int16{packet.Any, 0, 3, 8, 128, 129, 1}[w.r.IntN(7)], int16(w.r.IntN(3)-1)
	}
	return s
}

func (w *world) tuple(src, dst netip.Addr) packet.Tuple {
	t := packet.Tuple{Src: src, Dst: dst, Proto: []packet.Proto{packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.ICMP, 47, 50}[w.r.IntN(7)]}
	switch {
	case t.Proto.HasPorts():
		t.SrcPort, t.DstPort = uint16(w.r.IntN(12)), uint16(w.r.IntN(12))
		if t.Proto == packet.UDP && w.oneIn(16) {
			t.SrcPort, t.DstPort = 68, 67
		}
	case t.Proto == packet.ICMP:
		t.Type = []uint8{8, 0, 3, 11, 13}[w.r.IntN(5)]
		if src.Is6() {
			t.Proto, t.Type = packet.ICMPv6, []uint8{128, 129, 1, 2, 135, 136, 133, 134, 200}[w.r.IntN(9)]
		}
		t.Code = uint8(w.r.IntN(2))
		if t.Type == 8 || t.Type == 0 || t.Type >= 128 && t.Type <= 129 {
			t.ID = uint16(w.r.IntN(4))
		}
	}
	return t
}

// packet is one at an interface; often an answer to an earlier one.
func (w *world) packet(past []event) event {
	n := w.r.IntN(worldInterfaces)
	e := event{ID: program.InterfaceID(fmt.Sprintf("eni-%d", n)), Dir: packet.Direction(w.r.IntN(2))}
	local, remote := w.addrs[2*n], w.addrs[w.r.IntN(len(w.addrs)/2)*2]
	if w.oneIn(2) {
		local, remote = w.addrs[2*n+1], w.addrs[w.r.IntN(len(w.addrs)/2)*2+1]
	}
	if w.oneIn(16) {
		local = []netip.Addr{w.addrs[2*w.r.IntN(8)], addr("224.0.0.1"), addr("255.255.255.255"), addr("0.0.0.0")}[w.r.IntN(4)]
		if remote.Is6() {
			local = []netip.Addr{addr("fe80::1"), addr("ff02::1"), addr("::"), w.addrs[2*w.r.IntN(8)+1]}[w.r.IntN(4)]
		}
	}
	src, dst := local, remote
	if e.Dir == packet.Ingress {
		src, dst = remote, local
	}
	e.P.Tuple = w.tuple(src, dst)
	if len(past) > 0 && !w.oneIn(3) {
		e = w.follow(past[len(past)-1-w.r.IntN(min(len(past), 12))])
	}
	if e.P.Proto == packet.TCP {
		e.P.Flags = []program.TCPFlags{
			program.SYN, program.SYN, program.SYN | program.ACK, program.ACK, program.ACK, program.ACK,
			program.FIN | program.ACK, program.RST, program.RST | program.ACK, 0,
		}[w.r.IntN(10)]
	}
	return e
}

// follow is a packet that has to do with an earlier one: the same again, an answer, an error about it.
func (w *world) follow(e event) event {
	e.P.Quoted = nil
	switch w.r.IntN(4) {
	case 0:
		return e
	case 1, 2:
		e.Dir, e.P.Tuple = e.Dir.Other(), e.P.Reverse()
		if t, ok := packet.EchoReply(e.P.Proto, e.P.Type); ok {
			e.P.Type = t
		}
		return e
	}
	q := e.P.Tuple
	e.Dir, e.P.Quoted = e.Dir.Other(), &q
	t := packet.Tuple{Src: q.Dst, Dst: q.Src, Proto: packet.ICMP, Type: []uint8{3, 11, 12, 5}[w.r.IntN(4)]}
	if q.Src.Is6() {
		t.Proto, t.Type = packet.ICMPv6, uint8(1+w.r.IntN(5))
	}
	if w.oneIn(3) {
		t.Src = w.addrs[w.r.IntN(len(w.addrs)/2)*2+int(program.FamilyOf(q.Src))]
	}
	e.P.Tuple = t
	return e
}

// mutate changes the world as a control plane would, and says what changed.
func (w *world) mutate() *program.Delta {
	old := &program.Host{Policies: maps.Clone(w.host.Policies), Members: maps.Clone(w.host.Members)}
	d := &program.Delta{
		Interfaces: map[program.InterfaceID]*program.Interface{}, Policies: map[program.PolicyHash]*program.Policy{},
		Members: map[program.Member]program.Groups{},
	}
	for range 1 + w.r.IntN(2) {
		n := w.r.IntN(worldInterfaces)
		i := w.randomInterface(n)
		if w.oneIn(10) {
			d.Interfaces[i.ID] = nil
			delete(w.host.Interfaces, i.ID)
			continue
		}
		d.Interfaces[i.ID], w.host.Interfaces[i.ID] = i, i
	}
	for range w.r.IntN(4) {
		m := program.Member{Network: "vpc-1", Addr: w.addrs[w.r.IntN(len(w.addrs))]}
		d.Members[m] = w.randomGroups()
		w.host.Members[m] = d.Members[m]
	}
	w.compact()
	for h, p := range w.host.Policies {
		if old.Policies[h] == nil {
			d.Policies[h] = p
		}
	}
	for h := range old.Policies {
		if w.host.Policies[h] == nil {
			d.Policies[h] = nil
		}
	}
	return d
}

func (w *world) snapshot() *program.Host {
	h := *w.host
	h.Interfaces, h.Policies, h.Members = maps.Clone(h.Interfaces), maps.Clone(h.Policies), maps.Clone(h.Members)
	return &h
}

// event is a packet at an interface.
type event struct {
	ID  program.InterfaceID
	Dir packet.Direction
	P   program.Packet
}

// age makes every flow and every fragment look older by by.
func age(t *testing.T, d *Datapath, by time.Duration) {
	t.Helper()
	var k kernelFlowKey
	var f kernelFlow
	all := map[kernelFlowKey]kernelFlow{}
	it := d.k.Flows.Iterate()
	for it.Next(&k, &f) {
		f.Last -= uint64(by)
		all[k] = f
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	for k, f := range all {
		if err := d.k.Flows.Update(k, f, ebpf.UpdateExist); err != nil {
			t.Fatal(err)
		}
	}
}

// save writes a failing case where it can be read.
func save(t *testing.T, seed uint64, w *world, past []event) {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-kernel-%d.json", seed))
	b, err := json.MarshalIndent(map[string]any{"seed": seed, "interfaces": w.host.Interfaces, "packets": past}, "", " ")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	t.Logf("case in %s (%v); run again with -seed %d", path, err, seed)
}

// TestKernelAgreesWithInterpreter sends random packets, with history, through
// random worlds that change under them: the kernel and the interpreter must
// give the same verdict for the same reason by the same rule.
func TestKernelAgreesWithInterpreter(t *testing.T) {
	seed := *seedFlag
	t.Logf("seed %d", seed)
	packets := 100000
	if testing.Short() {
		packets = 10000
	}
	const perWorld = 2000
	opts := testOptions(pinDir(t))
	opts.FlowsPerInterface = 40
	d := open(t, opts)
	for n := 0; n < packets; n += perWorld {
		// No packet of one world is known in the next: the clock jumps past every time-out.
		oneWorld(t, d, seed+uint64(n), perWorld)
		if err := d.Apply(program.NewHost(), nil); err != nil {
			t.Fatal(err)
		}
		if err := d.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func oneWorld(t *testing.T, d *Datapath, seed uint64, packets int) {
	t.Helper()
	w := newWorld(rand.New(rand.NewPCG(seed, 1)))
	in := program.NewInterpreter()
	in.FlowsMax = d.opts.FlowsPerInterface
	in.SetHost(w.snapshot())
	if err := d.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	var past []event
	var jumped time.Duration
	start := time.Now()
	for range packets {
		switch {
		case w.oneIn(60):
			delta := w.mutate()
			if w.oneIn(10) {
				delta = nil
			}
			in.SetHost(w.snapshot())
			if err := d.Apply(w.host, delta); err != nil {
				t.Fatal(err)
			}
			if len(w.host.Interfaces) < worldInterfaces { // the kernel counts the flows of an interface that went until swept
				in.Sweep(time.Since(start) + jumped)
				if err := d.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		case w.oneIn(40):
			// Never a whole number of seconds: time-outs are, and the two clocks are not the same.
			by := time.Duration(w.r.IntN(40))*time.Second + 37*time.Millisecond
			if w.oneIn(8) {
				by += 300 * time.Second
			}
			jumped += by
			age(t, d, by)
		case w.oneIn(100):
			in.Sweep(time.Since(start) + jumped)
			if err := d.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		e := w.packet(past)
		past = append(past, e)
		wantV, wantRule, wantWhy := in.Judge(e.ID, e.Dir, e.P, time.Since(start)+jumped)
		v, why, rule, err := d.Test(e.Dir, e.ID, frame{Packet: e.P}.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if v != wantV || why != wantWhy || rule != wantRule {
			save(t, seed, w, past)
			t.Fatalf("%s %s %+v quoted %v\nkernel      %s %s %s\ninterpreter %s %s %s", e.ID, e.Dir, e.P, e.P.Quoted, v, why, rule, wantV, wantWhy, wantRule)
		}
	}
	for id := range w.host.Interfaces {
		stats, err := d.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		n := slices.IndexFunc(stats, func(s InterfaceStats) bool { return s.ID == id })
		if got, want := int(stats[n].Flows), in.Flows(id); got != want {
			t.Errorf("%s: %d flows in the kernel, %d in the interpreter", id, got, want)
		}
	}
}
