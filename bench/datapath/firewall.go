//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// firewall is one way to filter in a stage's router. The zero value filters nothing.
type firewall struct {
	name   string
	lacks  string               // why it cannot be had here; empty: it can
	start  func(s *stage) error // nil: nothing to start
	forget func(s *stage) error // drops the memory of flows, so that the next packets are first ones
	stop   func() error         // nil: it goes with the namespace
}

// The rule that admits what the benchmarks send stands last among the rules
// of every candidate; the others are about other ports and other networks.
const (
	portServed  = 9000
	portsServed = 10 // iperf3 has one beside
)

// filler is the network and port that the n-th rule is about.
func filler(n int) (network netip.Prefix, port uint16) {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + n>>8), byte(n), 0}), 24), uint16(1000 + n)
}

// policies are the two directions of an interface with as many rules as said in
// each. Tracked: every rule is about some network, as between groups. Else the
// last rules are open to the world in both directions, which leaves what comes in untracked.
func policies(rules int, tracked bool) (in, out *program.Policy) {
	peers := netip.MustParsePrefix("10.9.0.0/16")
	if !tracked {
		peers = netip.MustParsePrefix("0.0.0.0/0")
	}
	fill := func() []program.Rule {
		var list []program.Rule
		for i := range rules - 2 {
			network, port := filler(i)
			list = append(list, program.Rule{
				ID:       program.RuleID(fmt.Sprintf("sgr-%05d", i)),
				Service:  packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: port, To: port}},
				Prefixes: []netip.Prefix{network},
			})
		}
		return list
	}
	served := packet.PortRange{From: portServed, To: portServed + portsServed}
	in = &program.Policy{Rules: append(fill(),
		program.Rule{ID: "sgr-99998", Service: packet.Service{Proto: packet.TCP, Ports: served}, Prefixes: []netip.Prefix{peers}},
		program.Rule{ID: "sgr-99999", Service: packet.Service{Proto: packet.UDP, Ports: served}, Prefixes: []netip.Prefix{peers}})}
	out = &program.Policy{Rules: append(fill(),
		program.Rule{ID: "sgr-99999", Service: packet.Service{Proto: packet.AllProtos}, Prefixes: []netip.Prefix{peers}})}
	return in, out
}

// sallyport judges at both of the router's devices, as a lab host does.
func sallyport(name string, rules int, tracked bool) *firewall {
	f := &firewall{name: name}
	h := program.NewHost()
	in, out := policies(rules, tracked)
	h.Policies[in.Hash()], h.Policies[out.Hash()] = in, out
	for i, side := range sides {
		id := program.InterfaceID("eni-" + side)
		h.Interfaces[id] = &program.Interface{
			ID: id, Network: "vpc-1", Ingress: in.Hash(), Egress: out.Hash(), CheckSource: true,
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(i), 2})},
		}
	}
	var d *datapath.Datapath
	f.start = func(s *stage) (err error) {
		d, err = datapath.Open(datapath.Options{PinDir: pinDir(s), Flows: 1 << 19, FlowsPerInterface: 1 << 17})
		if err != nil {
			return fmt.Errorf("opening: %w", err)
		}
		for id := range h.Interfaces {
			index, err := s.device(strings.TrimPrefix(string(id), "eni-"))
			if err != nil {
				return err
			}
			if err := d.Attach(id, datapath.Attachment{NetNS: path(s.router), IfIndex: index}); err != nil {
				return fmt.Errorf("attaching: %w", err)
			}
		}
		return d.Apply(h, nil)
	}
	f.forget = func(*stage) error {
		nobody := program.NewHost() // an interface that is unbound has no flows when it is bound again
		if err := d.Apply(nobody, nil); err != nil {
			return fmt.Errorf("unbinding: %w", err)
		}
		if err := d.Sweep(context.Background()); err != nil {
			return fmt.Errorf("sweeping: %w", err)
		}
		return d.Apply(h, nil)
	}
	f.stop = func() error {
		if d == nil {
			return nil // it was never opened
		}
		return d.Remove()
	}
	return f
}

func pinDir(s *stage) string { return datapath.PinDirDefault + "-bench/" + s.router }

// script loads a firewall by feeding a program with rules.
func script(name, text string, loader ...string) *firewall {
	f := &firewall{name: name, forget: (*stage).forgetConntrack}
	if _, err := exec.LookPath(loader[0]); err != nil {
		f.lacks = err.Error()
	}
	f.start = func(s *stage) error { return s.inRouter(text, loader...) }
	return f
}

// nftables is one forward chain, connections that are known first.
func nftables(rules int) *firewall {
	var b strings.Builder
	b.WriteString("table inet bench {\nchain forward {\ntype filter hook forward priority 0; policy drop;\nct state established,related accept\n")
	nftRules(&b, rules)
	b.WriteString("}\n}\n")
	return script(fmt.Sprintf("nftables, %d rules", rules), b.String(), "nft", "-f", "-")
}

func nftRules(b *strings.Builder, rules int) {
	for i := range rules - 2 {
		network, port := filler(i)
		fmt.Fprintf(b, "ip saddr %s tcp dport %d accept\n", network, port)
	}
	for _, proto := range []string{"tcp", "udp"} {
		fmt.Fprintf(b, "ip saddr 10.9.0.0/16 %s dport %d-%d accept\n", proto, portServed, portServed+portsServed)
	}
}

// nftablesSet holds the rules as elements of one set, the best that nftables has for rules of one form.
func nftablesSet(rules int) *firewall {
	var elements []string
	for i := range rules - 2 {
		network, port := filler(i)
		elements = append(elements, fmt.Sprintf("%s . tcp . %d", network, port))
	}
	for _, proto := range []string{"tcp", "udp"} {
		elements = append(elements, fmt.Sprintf("10.9.0.0/16 . %s . %d-%d", proto, portServed, portServed+portsServed))
	}
	text := fmt.Sprintf(`table inet bench {
set rules {
type ipv4_addr . inet_proto . inet_service
flags interval
elements = { %s }
}
chain forward {
type filter hook forward priority 0; policy drop;
ct state established,related accept
ip saddr . meta l4proto . th dport @rules accept
}
}
`, strings.Join(elements, ", "))
	return script(fmt.Sprintf("nftables, set of %d", rules), text, "nft", "-f", "-")
}

// nftablesChains has a chain per interface and direction, found by verdict map:
// what a packet meets at both interfaces is judged, as groups are. The chain of
// the sender passes a packet on, that of the receiver lets it in.
func nftablesChains(rules int) *firewall {
	var b strings.Builder
	b.WriteString("table inet bench {\n")
	for _, side := range sides {
		fmt.Fprintf(&b, "chain from_%s {\nct state established,related return\nip daddr 10.9.0.0/16 return\ndrop\n}\n", side)
		fmt.Fprintf(&b, "chain to_%s {\nct state established,related accept\n", side)
		nftRules(&b, rules)
		b.WriteString("drop\n}\n")
	}
	fmt.Fprintf(&b, `chain forward {
type filter hook forward priority 0; policy drop;
iifname vmap { %q : jump from_%s, %q : jump from_%s }
oifname vmap { %q : jump to_%s, %q : jump to_%s }
}
}
`, sides[0], sides[0], sides[1], sides[1], sides[0], sides[0], sides[1], sides[1])
	return script(fmt.Sprintf("nftables, chains, %d rules", rules), b.String(), "nft", "-f", "-")
}

// iptables is the linear list, connections that are known first.
func iptables(rules int) *firewall {
	var b strings.Builder
	b.WriteString("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n")
	for i := range rules - 2 {
		network, port := filler(i)
		fmt.Fprintf(&b, "-A FORWARD -s %s -p tcp -m tcp --dport %d -j ACCEPT\n", network, port)
	}
	for _, proto := range []string{"tcp", "udp"} {
		fmt.Fprintf(&b, "-A FORWARD -s 10.9.0.0/16 -p %s -m %s --dport %d:%d -j ACCEPT\n", proto, proto, portServed, portServed+portsServed)
	}
	b.WriteString("COMMIT\n")
	return script(fmt.Sprintf("iptables, %d rules", rules), b.String(), "iptables-restore")
}

// candidate is a firewall on its stage.
type candidate struct {
	*firewall
	*stage
	samples map[metric][]float64
}

// setUp makes a stage for each firewall that can be had here; undo takes all of it away.
func setUp(list []*firewall) (out []*candidate, undo func() error, err error) {
	undo = func() error {
		var errs []error
		for _, c := range out {
			if c.stop != nil {
				errs = append(errs, c.stop())
			}
			errs = append(errs, c.remove())
		}
		return errors.Join(errs...)
	}
	for n, f := range list {
		if f.lacks != "" {
			continue
		}
		c := &candidate{firewall: f, stage: newStage(n), samples: map[metric][]float64{}}
		out = append(out, c)
		if err := c.build(); err != nil {
			return out, undo, err
		}
		if f.start != nil {
			if err := f.start(c.stage); err != nil {
				return out, undo, fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return out, undo, nil
}
