//go:build linux

// Command datapath measures what judging a packet costs on this machine, as
// ratios within one run: two namespaces that talk through a router, with no
// firewall, with Sallyport at both interfaces, and with nftables. Candidates
// take turns; the numbers are medians. It needs root, and leaves nothing behind.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/vpcnet"
)

const (
	rounds     = 11     // per candidate; the median is robust to a few disturbed ones
	packets    = 40_000 // of an established flow, per round
	firsts     = 12_000 // first packets of flows, per round
	rulesFew   = 10
	rulesMany  = 1000
	payload    = 22 // a 64-byte Ethernet frame
	portServed = 9000
)

// stage is the two ends and the router between them.
type stage struct {
	prefix, a, b, router string
}

func (s stage) run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func newStage() stage {
	p := fmt.Sprintf("spb%d-", os.Getpid())
	return stage{p, p + "a", p + "b", p + "r"}
}

func (s stage) path(ns string) string { return filepath.Join("/run/netns", ns) }

func (s stage) build() error {
	for _, ns := range []string{s.a, s.b, s.router} {
		if err := s.run("ip", "netns", "add", ns); err != nil {
			return err
		}
	}
	for i, ns := range []string{s.a, s.b} {
		side := fmt.Sprintf("veth%d", i)
		for _, args := range [][]string{
			{"ip", "-n", s.router, "link", "add", side, "type", "veth", "peer", "name", "eth0", "netns", ns},
			{"ip", "-n", s.router, "addr", "add", fmt.Sprintf("10.9.%d.1/24", i), "dev", side},
			{"ip", "-n", s.router, "link", "set", side, "up"},
			{"ip", "-n", ns, "addr", "add", fmt.Sprintf("10.9.%d.2/24", i), "dev", "eth0"},
			{"ip", "-n", ns, "link", "set", "eth0", "up"},
			{"ip", "-n", ns, "route", "add", "default", "via", fmt.Sprintf("10.9.%d.1", i)},
		} {
			if err := s.run(args...); err != nil {
				return err
			}
		}
	}
	return s.run("ip", "netns", "exec", s.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
}

func (s stage) remove() {
	for _, ns := range []string{s.a, s.b, s.router} {
		if err := s.run("ip", "netns", "del", ns); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// candidate is a way to filter; off undoes on.
type candidate struct {
	name    string
	on, off func() error
}

func nothing() error { return nil }

// policies admit UDP to the served port as the last of n rules, and all that leaves.
func policies(n int) (in, out *program.Policy) {
	in = &program.Policy{}
	for i := range n - 1 {
		in.Rules = append(in.Rules, program.Rule{
			ID:       program.RuleID(fmt.Sprintf("sgr-%05d", i)),
			Service:  packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: uint16(1000 + i), To: uint16(1000 + i)}},
			Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>8), byte(i), 0}), 24)},
		})
	}
	in.Rules = append(in.Rules, program.Rule{
		ID: "sgr-99999", Service: packet.Service{Proto: packet.UDP, Ports: packet.PortRange{From: portServed, To: portServed}},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")},
	})
	out = &program.Policy{Rules: []program.Rule{{
		ID: "sgr-00000", Service: packet.Service{Proto: packet.AllProtos}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
	}}}
	return in, out
}

// sallyport judges at both router-side interfaces.
func (s stage) sallyport(rules int) candidate {
	dir := filepath.Join(datapath.PinDirDefault, s.prefix+fmt.Sprint(rules))
	var d *datapath.Datapath
	return candidate{fmt.Sprintf("sallyport, %d rules", rules), func() (err error) {
		if d, err = datapath.Open(datapath.Options{PinDir: dir, FlowsPerInterface: 1 << 19}); err != nil {
			return err
		}
		in, out := policies(rules)
		h := program.NewHost()
		h.Policies[in.Hash()], h.Policies[out.Hash()] = in, out
		for i := range 2 {
			id := program.InterfaceID(fmt.Sprintf("eni-%d", i))
			h.Interfaces[id] = &program.Interface{
				ID: id, Network: "vpc-1", Ingress: in.Hash(), Egress: out.Hash(), CheckSource: true,
				Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(i), 2})},
			}
			index, err := s.index(fmt.Sprintf("veth%d", i))
			if err != nil {
				return err
			}
			if err := d.Attach(id, datapath.Attachment{NetNS: s.path(s.router), IfIndex: index}); err != nil {
				return err
			}
		}
		return d.Apply(h, nil)
	}, func() error {
		if d == nil {
			return nil // it was never opened
		}
		return errors.Join(d.Remove(), d.Close())
	}}
}

func (s stage) index(name string) (index int, err error) {
	err = vpcnet.Inside(s.path(s.router), func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = i.Index
		}
		return err
	})
	return index, err
}

// nftables is a forward chain that drops but for established flows and the rules.
func (s stage) nftables(rules int) candidate {
	var b strings.Builder
	b.WriteString("table inet bench {\nchain forward {\ntype filter hook forward priority 0; policy drop;\nct state established,related accept\n")
	for i := range rules - 1 {
		fmt.Fprintf(&b, "ip saddr 172.%d.%d.0/24 tcp dport %d accept\n", 16+i>>8, i&255, 1000+i)
	}
	fmt.Fprintf(&b, "ip saddr 10.9.0.0/24 udp dport %d accept\n}\n}\n", portServed)
	return candidate{fmt.Sprintf("nftables, %d rules", rules), func() error {
		cmd := exec.Command("ip", "netns", "exec", s.router, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(b.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	}, func() error { return s.run("ip", "netns", "exec", s.router, "nft", "flush", "ruleset") }}
}

// serve answers the first packet of each flow from b until stop is closed.
func (s stage) serve(stop <-chan struct{}) (func(), error) {
	var c net.PacketConn
	err := vpcnet.Inside(s.path(s.b), func() (err error) {
		c, err = net.ListenPacket("udp4", fmt.Sprintf("10.9.1.2:%d", portServed))
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		<-stop
		_ = c.Close() // ends the reader
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 0 && buf[0] == 'q' {
				_, _ = c.WriteTo(buf[:n], from) // a lost answer is asked for again
			}
		}
	}()
	return func() { <-done }, nil
}

// cpu is what this thread has used so far; forwarding between veths runs in it.
func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		panic(err) // RUSAGE_THREAD is always there on Linux
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// established is the sender's CPU time per packet of a flow that was answered.
func (s stage) established() (out float64, err error) {
	err = vpcnet.Inside(s.path(s.a), func() error {
		c, err := net.Dial("udp4", fmt.Sprintf("10.9.1.2:%d", portServed))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing more to say
		buf := make([]byte, payload)
		for try := 0; ; try++ {
			buf[0] = 'q'
			if _, err := c.Write(buf); err != nil {
				return err
			}
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a UDP socket has deadlines
			if _, err = c.Read(buf); err == nil {
				break
			}
			if try == 20 {
				return fmt.Errorf("the flow is not answered: %w", err)
			}
		}
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		buf[0] = 'x'
		return raw.Control(func(fd uintptr) {
			begun := cpu()
			for range packets {
				_ = unix.Send(int(fd), buf, unix.MSG_DONTWAIT) // a full queue is part of the load
			}
			out = float64(cpu()-begun) / packets
		})
	})
	return out, err
}

// firstPackets is how many flows a second begin: each packet has a port of its own.
func (s stage) firstPackets(round int) (out float64, err error) {
	err = vpcnet.Inside(s.path(s.a), func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing was buffered
		to := &unix.SockaddrInet4{Addr: [4]byte{10, 9, 1, 2}}
		b := make([]byte, 8+payload)
		b[2], b[3], b[5] = portServed>>8, portServed&0xff, byte(len(b))
		begun := time.Now()
		for i := range firsts {
			port := uint16(2000 + (round*firsts+i)%60000)
			b[0], b[1] = byte(port>>8), byte(port)
			_ = unix.Sendto(fd, b, 0, to) // a full queue is part of the load
		}
		out = firsts / time.Since(begun).Seconds()
		return nil
	})
	return out, err
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/datapath:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := datapath.Probe(); err != nil {
		return err
	}
	s := newStage()
	defer s.remove()
	if err := s.build(); err != nil {
		return err
	}
	stop := make(chan struct{})
	wait, err := s.serve(stop)
	if err != nil {
		return err
	}
	defer wait()
	defer close(stop)
	candidates := []candidate{
		{"no firewall", nothing, nothing}, s.sallyport(rulesFew), s.sallyport(rulesMany), s.nftables(rulesFew), s.nftables(rulesMany),
	}
	cost, rate := make([][]float64, len(candidates)), make([][]float64, len(candidates))
	for round := range rounds {
		for i, c := range candidates {
			if err := s.measure(c, round, &cost[i], &rate[i]); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	report(candidates, cost, rate)
	return nil
}

func (s stage) measure(c candidate, round int, cost, rate *[]float64) error {
	if err := c.on(); err != nil {
		return errors.Join(err, c.off())
	}
	e, err := s.established()
	if err != nil {
		return errors.Join(err, c.off())
	}
	f, err := s.firstPackets(round)
	if err != nil {
		return errors.Join(err, c.off())
	}
	*cost, *rate = append(*cost, e), append(*rate, f)
	return c.off()
}

func report(candidates []candidate, cost, rate [][]float64) {
	var u unix.Utsname
	_ = unix.Uname(&u) // only for the head
	fmt.Printf("datapath, %s, kernel %s, %d cores, %s\n", time.Now().UTC().Format(time.DateOnly),
		unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), cpuModel())
	fmt.Printf("64-byte UDP through a router, both interfaces judged, %d interleaved rounds, medians; ratios are to no firewall\n\n", rounds)
	fmt.Printf("%-24s %14s %8s %18s %8s\n", "", "ns/packet", "ratio", "first packets/s", "ratio")
	base, baseRate := median(cost[0]), median(rate[0])
	for i, c := range candidates {
		e, f := median(cost[i]), median(rate[i])
		fmt.Printf("%-24s %14.0f %8.2f %18.0f %8.2f\n", c.name, e, e/base, f, f/baseRate)
	}
	ours, first := median(cost[2])/base, median(rate[2])/baseRate
	fmt.Printf("\nestablished, %d rules: %.2f, goal at most 1.10: %s\n", rulesMany, ours, met(ours <= 1.10))
	fmt.Printf("first packets, %d rules: %.2f, goal at least 0.85: %s\n", rulesMany, first, met(first >= 0.85))
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown processor"
}
