package datapath

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

const (
	eni   = program.InterfaceID("eni-1")
	self  = "10.0.0.5"
	peer  = "198.51.100.7"
	self6 = "2001:db8::5"
	peer6 = "2001:db8:f::7"
)

var ownMAC = [6]byte{2, 0, 0, 0, 0, 5}

func rule(id string, s packet.Service, prefixes ...string) program.Rule {
	r := program.Rule{ID: program.RuleID(id), Service: s}
	for _, p := range prefixes {
		r.Prefixes = append(r.Prefixes, netip.MustParsePrefix(p))
	}
	return r
}

func ports(p packet.Proto, from, to uint16) packet.Service {
	return packet.Service{Proto: p, Ports: packet.PortRange{From: from, To: to}}
}

// hostOf is one interface with the rules of its two directions.
func hostOf(ingress, egress []program.Rule) *program.Host {
	h := program.NewHost()
	in, out := &program.Policy{Rules: ingress}, &program.Policy{Rules: egress}
	h.Policies[in.Hash()], h.Policies[out.Hash()] = in, out
	h.Interfaces[eni] = &program.Interface{
		ID: eni, Network: "vpc-1", Addrs: []netip.Addr{addr(self), addr(self6)}, MAC: "02:00:00:00:00:05",
		Ingress: in.Hash(), Egress: out.Hash(), CheckSource: true, Unfiltered: []netip.Addr{addr("169.254.169.254")},
	}
	return h
}

// from is a frame that the instance sends; to is one it gets.
func from(p program.Packet) frame { return frame{Packet: p, src: ownMAC} }
func to(p program.Packet) frame   { return frame{Packet: p, dst: ownMAC} }

func tcp(src, dst string, sport, dport uint16, flags program.TCPFlags) program.Packet {
	return program.Packet{Flags: flags, Tuple: packet.Tuple{Proto: packet.TCP, Src: addr(src), Dst: addr(dst), SrcPort: sport, DstPort: dport}}
}

func udp(src, dst string, sport, dport uint16) program.Packet {
	return program.Packet{Tuple: packet.Tuple{Proto: packet.UDP, Src: addr(src), Dst: addr(dst), SrcPort: sport, DstPort: dport}}
}

func icmp(src, dst string, typ, code uint8, quoted *packet.Tuple) program.Packet {
	p := program.Packet{Tuple: packet.Tuple{Proto: packet.ICMP, Src: addr(src), Dst: addr(dst), Type: typ, Code: code}, Quoted: quoted}
	if p.Src.Is6() {
		p.Proto = packet.ICMPv6
	}
	return p
}

// expect sends a frame through the kernel's program.
func expect(t *testing.T, d *Datapath, name string, dir packet.Direction, f []byte, want program.Reason) {
	t.Helper()
	v, why, _, err := d.Test(dir, eni, f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if why != want || (v == packet.Allow) != want.Allows() {
		t.Errorf("%s: %s for %s, want %s", name, v, why, want)
	}
}

func withHost(t *testing.T, h *program.Host) *Datapath {
	t.Helper()
	d := open(t, testOptions(pinDir(t)))
	if err := d.Apply(h, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFramesOfEveryKind(t *testing.T) {
	const in, out = packet.Ingress, packet.Egress
	web := []program.Rule{rule("sgr-1", ports(packet.TCP, 80, 80), peer+"/32", peer6+"/128"), rule("sgr-2", ports(packet.UDP, 53, 53), peer+"/32", peer6+"/128")}
	d := withHost(t, hostOf(web, nil))
	syn, syn6 := tcp(peer, self, 9, 80, program.SYN), tcp(peer6, self6, 9, 80, program.SYN)
	arp := make([]byte, 42)
	copy(arp[6:], ownMAC[:])
	copy(arp[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 5, 10, 0, 0, 5})
	stolen := append([]byte(nil), arp...)
	stolen[31] = 6
	lldp := append(append([]byte{1}, make([]byte, 11)...), 0x88, 0xcc, 1, 2, 3)
	options := to(syn).bytes()
	options[14] = 0x4f // header of 60 bytes in a packet of 40
	wrong := func(f frame, off int, b byte) []byte { x := f.bytes(); x[off] = b; return x }
	for _, c := range []struct {
		name string
		dir  packet.Direction
		f    []byte
		want program.Reason
	}{
		{"ipv4", in, to(syn).bytes(), program.ReasonRule},
		{"its answer", out, from(tcp(self, peer, 80, 9, program.SYN|program.ACK)).bytes(), program.ReasonKnownFlow},
		{"ipv6", in, to(syn6).bytes(), program.ReasonRule},
		{"vlan", in, frame{Packet: tcp(peer, self, 10, 80, program.SYN), dst: ownMAC, vlans: []uint16{7}}.bytes(), program.ReasonRule},
		{"two vlans", in, frame{Packet: tcp(peer, self, 11, 80, program.SYN), dst: ownMAC, vlans: []uint16{7, 8}}.bytes(), program.ReasonRule},
		{"three vlans", in, frame{Packet: syn, dst: ownMAC, vlans: []uint16{7, 8, 9}}.bytes(), program.ReasonEtherType},
		{"extension headers", in, frame{Packet: tcp(peer6, self6, 12, 80, program.SYN), dst: ownMAC, extensions: []byte{0, 60, 43, 60}}.bytes(), program.ReasonRule},
		{"too many", in, frame{Packet: syn6, dst: ownMAC, extensions: []byte{0, 60, 60, 60, 60, 60, 60, 60}}.bytes(), program.ReasonHeaders},
		{"hop-by-hop not first", in, frame{Packet: syn6, dst: ownMAC, extensions: []byte{60, 0}}.bytes(), program.ReasonMalformed},
		{"atomic fragment", in, frame{Packet: tcp(peer6, self6, 13, 80, program.SYN), dst: ownMAC, extensions: []byte{44}}.bytes(), program.ReasonRule},
		{"arp", out, arp, program.ReasonUnfiltered},
		{"arp for another", out, stolen, program.ReasonSpoofed},
		{"lldp", in, lldp, program.ReasonEtherType},
		{"cut header", in, frame{Packet: syn, dst: ownMAC, cut: 8}.bytes(), program.ReasonMalformed},
		{"cut ipv6", in, frame{Packet: syn6, dst: ownMAC, cut: 15}.bytes(), program.ReasonMalformed},
		{"options beyond the end", in, options, program.ReasonMalformed},
		{"version 5", in, wrong(to(syn), 14, 0x55), program.ReasonMalformed},
		{"icmp in ipv6", in, wrong(to(syn6), 20, 1), program.ReasonMalformed},
		{"foreign mac", out, frame{Packet: udp(self, peer, 1, 53), src: [6]byte{2, 0, 0, 0, 0, 6}}.bytes(), program.ReasonSpoofed},
		{"foreign source", out, from(udp("10.0.0.6", peer, 1, 53)).bytes(), program.ReasonSpoofed},
		{"foreign destination", in, to(udp(peer, "10.0.0.6", 1, 53)).bytes(), program.ReasonSpoofed},
		{"metadata", out, from(tcp(self, "169.254.169.254", 1, 80, program.SYN)).bytes(), program.ReasonUnfiltered},
		{"metadata, spoofed", out, from(tcp("10.0.0.6", "169.254.169.254", 1, 80, program.SYN)).bytes(), program.ReasonSpoofed},
		{"dhcp", out, from(udp("0.0.0.0", "255.255.255.255", 68, 67)).bytes(), program.ReasonUnfiltered},
		{"dhcp server", out, from(udp(self, "10.0.0.9", 67, 68)).bytes(), program.ReasonNoRule},
		{"neighbour solicitation", out, from(icmp("fe80::5", "ff02::1", 135, 0, nil)).bytes(), program.ReasonUnfiltered},
		{"neighbour advertisement", out, frame{Packet: icmp(self6, "ff02::1", 136, 0, nil), src: ownMAC, claims: addr(self6)}.bytes(), program.ReasonUnfiltered},
		{"of another's address", out, frame{Packet: icmp(self6, "ff02::1", 136, 0, nil), src: ownMAC, claims: addr(peer6)}.bytes(), program.ReasonSpoofed},
		{"from beyond a router", in, frame{Packet: icmp(peer6, self6, 135, 0, nil), dst: ownMAC, hops: 64}.bytes(), program.ReasonNoRule},
		{"router advertisement by the instance", out, from(icmp("fe80::5", "ff02::1", 134, 0, nil)).bytes(), program.ReasonSpoofed},
		{"nobody's port", in, to(udp(peer, self, 1, 54)).bytes(), program.ReasonNoRule},
	} {
		expect(t, d, c.name, c.dir, c.f, c.want)
	}
}

func TestFragmentsFollowTheFirst(t *testing.T) {
	const in = packet.Ingress
	d := withHost(t, hostOf([]program.Rule{rule("sgr-1", ports(packet.UDP, 53, 53), "0.0.0.0/0", "::/0")}, nil))
	for _, c := range []struct {
		name     string
		src, dst string
		place    func(offset uint16, more bool) uint16
		ext      []byte
	}{
		{"ipv4", peer, self, func(o uint16, more bool) uint16 { return o | b2u(more)<<13 }, nil},
		{"ipv6", peer6, self6, func(o uint16, more bool) uint16 { return o<<3 | b2u(more) }, []byte{44}},
	} {
		f := func(id uint32, dport, offset uint16, more bool, p packet.Proto) []byte {
			x := to(udp(c.src, c.dst, 1, dport))
			x.Proto = p
			x.id, x.fragment, x.extensions, x.payload = id, c.place(offset, more), c.ext, 64
			return x.bytes()
		}
		expect(t, d, c.name+" orphan", in, f(1, 53, 10, false, packet.UDP), program.ReasonOrphanFragment)
		expect(t, d, c.name+" first", in, f(1, 53, 0, true, packet.UDP), program.ReasonRule)
		expect(t, d, c.name+" middle", in, f(1, 53, 10, true, packet.UDP), program.ReasonFragment)
		expect(t, d, c.name+" last", in, f(1, 53, 20, false, packet.UDP), program.ReasonFragment)
		expect(t, d, c.name+" other id", in, f(2, 53, 10, false, packet.UDP), program.ReasonOrphanFragment)
		expect(t, d, c.name+" denied first", in, f(3, 54, 0, true, packet.UDP), program.ReasonNoRule)
		expect(t, d, c.name+" denied rest", in, f(3, 54, 10, false, packet.UDP), program.ReasonOrphanFragment)
		expect(t, d, c.name+" over the tcp header", in, f(4, 53, 1, false, packet.TCP), program.ReasonMalformed)
	}
}

func b2u(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

func TestErrorsFollowTheirFlow(t *testing.T) {
	const in, out = packet.Ingress, packet.Egress
	h := hostOf(nil, []program.Rule{rule("sgr-1", ports(packet.TCP, 443, 443), "0.0.0.0/0")})
	d := withHost(t, h)
	syn := tcp(self, peer, 9, 443, program.SYN)
	tooBig := func(q packet.Tuple) []byte { return to(icmp("192.0.2.1", self, 3, 4, &q)).bytes() }
	expect(t, d, "error about nothing", in, tooBig(syn.Tuple), program.ReasonNoRule)
	expect(t, d, "syn", out, from(syn).bytes(), program.ReasonRule)
	expect(t, d, "error about it", in, tooBig(syn.Tuple), program.ReasonICMPError)
	expect(t, d, "about an answer it never sent", in, tooBig(syn.Reverse()), program.ReasonNoRule)
	redirect := syn.Tuple
	expect(t, d, "redirect", in, to(icmp("192.0.2.1", self, 5, 0, &redirect)).bytes(), program.ReasonNoRule)
	strict := *h.Interfaces[eni]
	strict.StrictICMP = true
	h.Interfaces[eni] = &strict
	if err := d.Apply(h, &program.Delta{Interfaces: map[program.InterfaceID]*program.Interface{eni: &strict}}); err != nil {
		t.Fatal(err)
	}
	expect(t, d, "strict", in, tooBig(syn.Tuple), program.ReasonNoRule)

	open := []program.Rule{rule("sgr-1", packet.Service{Proto: packet.AllProtos}, "0.0.0.0/0")}
	if err := d.Apply(hostOf([]program.Rule{rule("sgr-2", ports(packet.TCP, 80, 80), "0.0.0.0/0")}, open), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, d, "about an untracked answer", in, tooBig(tcp(self, peer, 80, 99, 0).Tuple), program.ReasonICMPError)
	expect(t, d, "about nobody's", in, tooBig(tcp(self, peer, 81, 99, 0).Tuple), program.ReasonNoRule)
}

func TestBudgetIsTheInterfacesOwn(t *testing.T) {
	h := hostOf([]program.Rule{rule("sgr-1", ports(packet.UDP, 53, 53), peer+"/32")}, nil)
	other := *h.Interfaces[eni]
	other.ID = "eni-2"
	h.Interfaces["eni-2"] = &other
	opts := testOptions(pinDir(t))
	opts.FlowsPerInterface = 100
	d := open(t, opts)
	if err := d.Apply(h, nil); err != nil {
		t.Fatal(err)
	}
	for port := range uint16(300) {
		want := program.ReasonRule
		if port >= 100 {
			want = program.ReasonBudget
		}
		expect(t, d, "flood", packet.Ingress, to(udp(peer, self, port, 53)).bytes(), want)
	}
	if v, why, _, err := d.Test(packet.Ingress, "eni-2", to(udp(peer, self, 1, 53)).bytes()); err != nil || v != packet.Allow {
		t.Errorf("the other interface: %s %s %v", v, why, err)
	}
	expect(t, d, "a known flow", packet.Egress, from(udp(self, peer, 53, 5)).bytes(), program.ReasonKnownFlow)
	stats, err := d.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if s := stats[0]; s.Flows != 100 || s.Counters[packet.Ingress].Packets[program.ReasonBudget] != 200 {
		t.Errorf("%d flows, %d over budget", s.Flows, s.Counters[packet.Ingress].Packets[program.ReasonBudget])
	}
	age(t, d, 31*time.Second)
	got, err := d.sweepFlows()
	if err != nil || got.Expired != 101 {
		t.Errorf("swept %+v, %v", got, err)
	}
	expect(t, d, "room again", packet.Ingress, to(udp(peer, self, 299, 53)).bytes(), program.ReasonRule)
}

// TestGarbageIsDenied flips bytes of frames to an interface that admits no one:
// whatever the program makes of them, they do not pass.
func TestGarbageIsDenied(t *testing.T) {
	seed := *seedFlag
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	h := hostOf(nil, nil)
	h.Interfaces[eni].Unfiltered, h.Interfaces[eni].MAC = nil, ""
	d := withHost(t, h)
	seeds := [][]byte{
		to(tcp(peer, self, 1, 80, program.SYN)).bytes(), to(udp(peer6, self6, 1, 53)).bytes(),
		frame{Packet: udp(peer6, self6, 1, 53), extensions: []byte{0, 43, 44, 60}, fragment: 1}.bytes(),
		to(icmp(peer, self, 3, 4, &packet.Tuple{Proto: packet.TCP, Src: addr(self), Dst: addr(peer)})).bytes(),
		frame{Packet: udp(peer, self, 1, 53), vlans: []uint16{1, 2}}.bytes(),
	}
	n := 30000
	if testing.Short() {
		n = 5000
	}
	for range n {
		f := append([]byte(nil), seeds[r.IntN(len(seeds))]...)
		for range 1 + r.IntN(6) {
			f[12+r.IntN(len(f)-12)] = byte(r.IntN(256))
		}
		f = f[:frameMin+r.IntN(len(f)-frameMin+1)]
		v, why, _, err := d.Test(packet.Direction(r.IntN(2)), eni, f)
		if errors.Is(err, unix.EINVAL) && len(f) < 14+40 {
			continue // shorter than its IP header: the test run itself refuses it
		}
		if err != nil {
			t.Fatalf("%x: %v", f, err)
		}
		if v != packet.Deny && why != program.ReasonUnfiltered {
			t.Fatalf("%x: %s for %s", f, v, why)
		}
		if why == program.ReasonUnfiltered && !mayBeUnfiltered(f) {
			t.Fatalf("%x passes unfiltered", f)
		}
	}
}

// mayBeUnfiltered: ARP, or long enough for discovery or DHCP.
func mayBeUnfiltered(f []byte) bool {
	off := 12
	for n := 0; n < 2 && off+2 <= len(f) && (binary.BigEndian.Uint16(f[off:]) == 0x8100 || binary.BigEndian.Uint16(f[off:]) == 0x88a8); n++ {
		off += 4
	}
	return binary.BigEndian.Uint16(f[off:]) == 0x0806 || len(f) >= off+2+28
}
