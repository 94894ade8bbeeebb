package program

import (
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/packet"
)

const (
	web  = InterfaceID("eni-web")
	self = "10.0.0.5"
	peer = "198.51.100.7"
)

func tcpRule(id, prefix string, from, to uint16) Rule {
	return Rule{ID: RuleID(id), Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: from, To: to}}, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
}

func allRule(id, prefix string) Rule {
	return Rule{ID: RuleID(id), Service: packet.Service{Proto: packet.AllProtos}, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
}

func hostOf(ingress, egress []Rule) *Host {
	h := NewHost()
	in, out := &Policy{Rules: ingress}, &Policy{Rules: egress}
	h.Policies[in.Hash()], h.Policies[out.Hash()] = in, out
	h.Interfaces[web] = &Interface{
		ID: web, Network: "vpc-1", Addrs: []netip.Addr{netip.MustParseAddr(self)},
		Ingress: in.Hash(), Egress: out.Hash(), CheckSource: true,
	}
	return h
}

func tcp(src, dst string, sport, dport uint16, flags TCPFlags) Packet {
	return Packet{Flags: flags, Tuple: packet.Tuple{
		Proto: packet.TCP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), SrcPort: sport, DstPort: dport,
	}}
}

type step struct {
	name string
	at   time.Duration
	host *Host // set first, when not nil
	dir  packet.Direction
	p    Packet
	want Reason
}

func run(t *testing.T, steps []step) {
	t.Helper()
	in := NewInterpreter()
	for _, s := range steps {
		if s.host != nil {
			in.SetHost(s.host)
		}
		if _, _, got := in.Judge(web, s.dir, s.p, s.at); got != s.want {
			t.Errorf("%s: got %s, want %s", s.name, got, s.want)
		}
	}
}

func TestUntrackedIsCutWithItsRule(t *testing.T) {
	open := allRule("sgr-all", "0.0.0.0/0")
	http := tcpRule("sgr-http", "0.0.0.0/0", 80, 80)
	ssh := tcpRule("sgr-ssh", peer+"/32", 22, 22)
	const in, out = packet.Ingress, packet.Egress
	run(t, []step{
		{"http syn", 0, hostOf([]Rule{http, ssh}, []Rule{open}), in, tcp(peer, self, 999, 80, SYN), ReasonUntracked},
		{"http syn-ack", 0, nil, out, tcp(self, peer, 80, 999, SYN|ACK), ReasonUntrackedReply},
		{"ssh syn", 0, nil, in, tcp(peer, self, 998, 22, SYN), ReasonRule},
		{"ssh syn-ack", 0, nil, out, tcp(self, peer, 22, 998, SYN|ACK), ReasonKnownFlow},
		{"rules gone: http", 1, hostOf(nil, []Rule{open}), in, tcp(peer, self, 999, 80, ACK), ReasonNoRule},
		{"the server goes on", 1, nil, out, tcp(self, peer, 80, 999, ACK), ReasonStateless},
		{"and revives nothing", 1, nil, in, tcp(peer, self, 999, 80, ACK), ReasonNoRule},
		{"rules gone: ssh lives", 1, nil, in, tcp(peer, self, 998, 22, ACK), ReasonKnownFlow},
		{"but no new one", 1, nil, in, tcp(peer, self, 997, 22, SYN), ReasonNoRule},
		{"nor on its ports", 1, nil, in, tcp(peer, self, 998, 22, SYN), ReasonNoRule},
		{"without all-outbound http is tracked", 2, hostOf([]Rule{http}, nil), in, tcp(peer, self, 996, 80, SYN), ReasonRule},
		{"its answer", 2, nil, out, tcp(self, peer, 80, 996, SYN|ACK), ReasonKnownFlow},
		{"a live one becomes tracked", 2, nil, in, tcp(peer, self, 999, 80, ACK), ReasonRule},
		{"its answer", 2, nil, out, tcp(self, peer, 80, 999, ACK), ReasonKnownFlow},
		{"spoofed", 2, nil, out, tcp("10.0.0.6", peer, 80, 999, ACK), ReasonSpoofed},
	})
}

func TestTCPLife(t *testing.T) {
	const in, out = packet.Ingress, packet.Egress
	s := time.Second
	h := hostOf([]Rule{tcpRule("sgr-ssh", peer+"/32", 22, 22)}, nil)
	none := hostOf(nil, nil)
	run(t, []step{
		{"syn", 0, h, in, tcp(peer, self, 9, 22, SYN), ReasonRule},
		{"syn again", 59 * s, none, in, tcp(peer, self, 9, 22, SYN), ReasonKnownFlow},
		{"too late", 119 * s, nil, in, tcp(peer, self, 9, 22, SYN), ReasonNoRule},
		{"syn", 200 * s, h, in, tcp(peer, self, 9, 22, SYN), ReasonRule},
		{"syn-ack", 200 * s, none, out, tcp(self, peer, 22, 9, SYN|ACK), ReasonKnownFlow},
		{"ack", 200 * s, nil, in, tcp(peer, self, 9, 22, ACK), ReasonKnownFlow},
		{"days later", 400000 * s, nil, out, tcp(self, peer, 22, 9, ACK), ReasonKnownFlow},
		{"reset", 400001 * s, nil, in, tcp(peer, self, 9, 22, RST|ACK), ReasonKnownFlow},
		{"was not its own", 400002 * s, nil, in, tcp(peer, self, 9, 22, ACK), ReasonKnownFlow},
		{"lives", 400100 * s, nil, in, tcp(peer, self, 9, 22, ACK), ReasonKnownFlow},
		{"fin", 400100 * s, nil, in, tcp(peer, self, 9, 22, FIN|ACK), ReasonKnownFlow},
		{"fin", 400150 * s, nil, out, tcp(self, peer, 22, 9, FIN|ACK), ReasonKnownFlow},
		{"closed", 400170 * s, nil, in, tcp(peer, self, 9, 22, ACK), ReasonNoRule},
	})
}

func TestZeroDenies(t *testing.T) {
	in := NewInterpreter()
	if v, _, why := in.Judge(web, packet.Ingress, tcp(peer, self, 1, 2, SYN), 0); v != packet.Deny || why != ReasonUnbound {
		t.Errorf("no program: %s %s", v, why)
	}
	h := hostOf(nil, nil)
	h.Interfaces[web].Ingress = PolicyHash{}
	in.SetHost(h)
	if v, _, why := in.Judge(web, packet.Ingress, tcp(peer, self, 1, 2, SYN), 0); v != packet.Deny || why != ReasonNoProgram {
		t.Errorf("no policy: %s %s", v, why)
	}
	var r Reason
	if r.Allows() {
		t.Error("the zero reason allows")
	}
}
