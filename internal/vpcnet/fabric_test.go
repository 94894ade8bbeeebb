//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

// lab is a fabric of a test's own, with the world that the test wants of it.
type lab struct {
	*Fabric
	t      *testing.T
	prefix string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN): network namespaces")
	}
	for _, tool := range []string{"ip", "ping"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	prefix := fmt.Sprintf("spt%d-%d-", os.Getpid(), time.Now().UnixNano()%1_000_000)
	l := &lab{t: t, prefix: prefix}
	l.restart()
	t.Cleanup(func() {
		if err := l.RemoveAll(); err != nil {
			t.Errorf("remove all: %v", err)
		}
		inv, err := l.List()
		if err != nil || len(inv.Networks)+len(inv.Instances)+len(inv.Links)+len(inv.Connections) != 0 {
			t.Errorf("left behind: %+v, %v", inv, err)
		}
	})
	return l
}

// restart forgets everything, as a new process would.
func (l *lab) restart() {
	l.Fabric = New(slog.New(slog.DiscardHandler), Options{Prefix: l.prefix})
}

func (l *lab) vpc(id program.NetworkID, cidrs ...string) {
	l.t.Helper()
	n := &program.Network{ID: id}
	for _, c := range cidrs {
		n.CIDRs = append(n.CIDRs, netip.MustParsePrefix(c))
	}
	if err := l.EnsureVPC(n); err != nil {
		l.t.Fatal(err)
	}
}

// link describes eth<index> of instance i with the given addresses; the gateway
// is base + 1 of the first one's /24.
func link(vpc program.NetworkID, i program.InstanceID, index int, eni program.InterfaceID, mac string, addrs ...string) Link {
	l := Link{Network: vpc, Instance: i, NIC: program.NIC{Interface: eni, DeviceIndex: index, MAC: mac}}
	for _, a := range addrs {
		l.NIC.Addrs = append(l.NIC.Addrs, netip.MustParseAddr(a))
	}
	if first := l.NIC.Addrs[0]; first.Is4() {
		l.NIC.Gateway = netip.PrefixFrom(first, 24).Masked().Addr().Next()
	}
	return l
}

func (l *lab) ensure(links ...Link) []Attachment {
	l.t.Helper()
	var out []Attachment
	for _, k := range links {
		if err := l.EnsureInstance(k.Instance); err != nil {
			l.t.Fatal(err)
		}
		at, err := l.EnsureLink(k)
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, at)
	}
	return out
}

func (l *lab) up(links ...Link) {
	l.t.Helper()
	l.ensure(links...)
	for _, k := range links {
		if err := l.Up(k); err != nil {
			l.t.Fatal(err)
		}
	}
}

// run runs a command inside a namespace of the lab.
func (l *lab) run(id, command string) (string, error) {
	args := append([]string{"netns", "exec", l.prefix + id}, strings.Fields(command)...)
	out, err := exec.Command("ip", args...).CombinedOutput()
	return string(out), err
}

func (l *lab) must(id, command string) string {
	l.t.Helper()
	out, err := l.run(id, command)
	if err != nil {
		l.t.Fatalf("%s: %s: %v\n%s", id, command, err, out)
	}
	return out
}

// reach wants each address to answer a ping, at the first try.
func (l *lab) reach(from program.InstanceID, addrs ...string) {
	l.t.Helper()
	for _, a := range addrs {
		l.must(string(from), "ping -n -c1 -W2 "+a)
	}
}

// silent wants the address neither to answer nor to be answered for by a
// router's complaint.
func (l *lab) silent(from program.InstanceID, addr string) {
	l.t.Helper()
	out, err := l.run(string(from), "ping -n -c1 -W1 "+addr)
	if err == nil || strings.Contains(strings.ToLower(out), "unreachable") || !strings.Contains(out, "100% packet loss") {
		l.t.Errorf("ping %s from %s: want silence, got %v:\n%s", addr, from, err, out)
	}
}

var (
	alpha = link("vpc-a", "i-a", 0, "eni-0aaaaaaaaaaaaaaa1", "02:00:00:00:00:0a", "10.0.0.10", "fd00:1::10")
	beta  = link("vpc-a", "i-b", 0, "eni-0aaaaaaaaaaaaaaa2", "02:00:00:00:00:0b", "10.0.1.11", "fd00:1:0:1::11")
)

func TestTwoInstancesMeet(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	l.up(alpha, beta)
	l.reach("i-a", "10.0.1.11", "fd00:1:0:1::11", "10.0.0.1", "10.0.1.1", "127.0.0.1", "::1")
	l.reach("i-b", "10.0.0.10", "fd00:1::10", "fe80::1%eth0")
	for _, addr := range []string{"10.0.1.11", "fd00:1:0:1::11"} {
		if got := l.echoTCP("i-a", "i-b", addr); got != "hello" {
			t.Errorf("tcp to %s: got %q", addr, got)
		}
	}
	for _, addr := range []string{"10.0.0.99", "10.7.0.1", "192.0.2.1", "fd00:1::99", "2001:db8::1"} {
		l.silent("i-a", addr)
	}
}

// echoTCP sends a word over a connection between two instances.
func (l *lab) echoTCP(from, to program.InstanceID, addr string) string {
	l.t.Helper()
	var ln net.Listener
	var conn net.Conn
	err := Inside(l.InstancePath(to), func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	err = Inside(l.InstancePath(from), func() (err error) {
		conn, err = net.DialTimeout("tcp", ln.Addr().String(), 5*time.Second)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		l.t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil {
		l.t.Fatal(err)
	}
	return string(buf)
}

func TestSameRangeNeverMeets(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16")
	l.vpc("vpc-b", "10.0.0.0/16")
	l.up(
		link("vpc-a", "i-a1", 0, "eni-0000000000000000a", "", "10.0.0.5"),
		link("vpc-a", "i-a2", 0, "eni-0000000000000000b", "", "10.0.0.6"),
		link("vpc-b", "i-b1", 0, "eni-0000000000000000c", "", "10.0.0.5"),
		link("vpc-b", "i-b2", 0, "eni-0000000000000000d", "", "10.0.0.7"),
	)
	l.reach("i-a1", "10.0.0.6")
	l.reach("i-b1", "10.0.0.7")
	l.silent("i-a1", "10.0.0.7")
	l.silent("i-b1", "10.0.0.6")
}

// The flat network of EC2-Classic is a network like any other: its instances meet no VPC's, and it is found and removed.
func TestClassicNetwork(t *testing.T) {
	l := newLab(t)
	l.vpc("classic-us-east-1", "10.0.0.0/8")
	l.vpc("vpc-a", "10.0.0.0/16")
	classic := func(i program.InstanceID, eni program.InterfaceID, addr string) Link {
		k := link("classic-us-east-1", i, 0, eni, "", addr)
		k.NIC.Gateway = netip.MustParseAddr("10.0.0.1")
		return k
	}
	l.up(
		classic("i-c1", "eni-0000000000000000a", "10.0.0.5"), classic("i-c2", "eni-0000000000000000b", "10.200.0.6"),
		link("vpc-a", "i-a1", 0, "eni-0000000000000000c", "", "10.0.0.7"),
	)
	l.reach("i-c1", "10.200.0.6", "10.0.0.1")
	l.silent("i-c1", "10.0.0.7")
	l.silent("i-a1", "10.0.0.5")
	l.restart()
	inv, err := l.List()
	if err != nil || !slices.Contains(inv.Networks, "classic-us-east-1") || len(inv.Links) != 3 {
		t.Errorf("found %+v, %v", inv, err)
	}
}

func TestDownUntilUp(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16")
	l.up(beta)
	at := l.ensure(alpha)[0]
	if at.IfName != "eaaaaaaaaaaaaa1" || at.NetNS != "/run/netns/"+l.prefix+"vpc-a" || at.IfIndex == 0 || at.Reversed {
		t.Errorf("attachment %+v", at)
	}
	for ns, dev := range map[string]string{"vpc-a": at.IfName, "i-a": "eth0"} {
		if out := l.must(ns, "ip link show dev "+dev); strings.Contains(out, "UP") {
			t.Errorf("up too early: %s", out)
		}
	}
	if out, err := l.run("i-a", "ping -n -c1 -W1 10.0.1.11"); err == nil {
		t.Errorf("a packet went through a link that is down:\n%s", out)
	}
	l.up(alpha)
	l.reach("i-a", "10.0.1.11")
}

func TestSeveralInterfaces(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	first := link("vpc-a", "i-a", 0, "eni-00000000000000001", "", "10.0.0.10", "10.0.0.12", "fd00:1::10")
	second := link("vpc-a", "i-a", 1, "eni-00000000000000002", "", "10.0.2.10", "fd00:1:0:2::10")
	l.up(first, second, beta)
	l.reach("i-b", "10.0.0.10", "10.0.0.12", "fd00:1::10", "10.0.2.10", "fd00:1:0:2::10")
	for src, dev := range map[string]string{
		"10.0.0.10": "eth0", "10.0.0.12": "eth0", "10.0.2.10": "eth1", "fd00:1::10": "eth0", "fd00:1:0:2::10": "eth1",
	} {
		dst := "10.0.1.11"
		if strings.Contains(src, ":") {
			dst = "fd00:1:0:1::11"
		}
		if out := l.must("i-a", "ip route get "+dst+" from "+src); !strings.Contains(out, "dev "+dev) {
			t.Errorf("from %s: want %s, got %s", src, dev, out)
		}
	}
	if out := l.must("i-a", "ip route get 10.0.1.11"); !strings.Contains(out, "dev eth0") || !strings.Contains(out, "src 10.0.0.10") {
		t.Errorf("without a source: %s", out)
	}
	// The second interface goes while the instance runs, and comes back.
	if err := l.RemoveLink("i-a", second.NIC.Interface); err != nil {
		t.Fatal(err)
	}
	l.reach("i-b", "10.0.0.10")
	l.silent("i-b", "10.0.2.10")
	if out := l.must("i-a", "ip rule"); strings.Contains(out, "1001") {
		t.Errorf("rules left behind:\n%s", out)
	}
	l.up(second)
	l.reach("i-b", "10.0.2.10", "fd00:1:0:2::10")
}

func TestAddressesChangeInPlace(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	l.up(alpha, beta)
	before := l.ensure(alpha)[0]
	more := link("vpc-a", "i-a", 0, alpha.NIC.Interface, alpha.NIC.MAC, "10.0.0.10", "10.0.0.44", "fd00:1::10", "fd00:1::44")
	after := l.ensure(more)[0]
	if before != after {
		t.Errorf("the link was made anew: %+v, %+v", before, after)
	}
	l.reach("i-b", "10.0.0.10", "10.0.0.44", "fd00:1::10", "fd00:1::44")
	l.ensure(alpha)
	l.reach("i-b", "10.0.0.10", "fd00:1::10")
	l.silent("i-b", "10.0.0.44")
	l.silent("i-b", "fd00:1::44")
	l.ensure(link("vpc-a", "i-a", 0, alpha.NIC.Interface, alpha.NIC.MAC, "10.0.0.44", "10.0.0.10", "fd00:1::44", "fd00:1::10"))
	l.reach("i-b", "10.0.0.10", "10.0.0.44", "fd00:1::10", "fd00:1::44")
	for dst, src := range map[string]string{"10.0.1.11": "10.0.0.44", "fd00:1:0:1::11": "fd00:1::44"} {
		if out := l.must("i-a", "ip route get "+dst); !strings.Contains(out, "src "+src) {
			t.Errorf("want the new primary address %s: %s", src, out)
		}
	}
}

// TestManyAtOnce: links of one router made side by side, while its routes are
// listed all the time.
func TestManyAtOnce(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	var wg sync.WaitGroup
	for i := range 40 {
		k := link("vpc-a", program.InstanceID(fmt.Sprintf("i-%d", i)), 0, program.InterfaceID(fmt.Sprintf("eni-%017x", i)), "",
			fmt.Sprintf("10.0.0.%d", i+10), fmt.Sprintf("fd00:1::%d", i+10))
		wg.Go(func() {
			if err := errors.Join(l.EnsureInstance(k.Instance), func() error { _, err := l.EnsureLink(k); return err }(), l.Up(k)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l.reach("i-0", "10.0.0.49", "fd00:1::49")
	l.reach("i-39", "10.0.0.10", "fd00:1::10")
}

// dump is everything that a namespace holds, without counters and timers.
func (l *lab) dump(id string) string {
	l.t.Helper()
	var b strings.Builder
	for _, c := range []string{
		"ip -o link", "ip -o addr", "ip route show table all", "ip -6 route show table all",
		"ip rule", "ip -6 rule", "ip neigh show nud permanent",
	} {
		lines := strings.Split(l.must(id, c), "\n")
		slices.Sort(lines)
		b.WriteString(c + "\n" + strings.Join(lines, "\n") + "\n")
	}
	return b.String()
}

// watch listens to what is written to a namespace; the result ends it and tells.
func (l *lab) watch(id string) (stop func() string) {
	l.t.Helper()
	monitor := exec.Command("ip", "netns", "exec", l.prefix+id, "ip", "monitor", "link", "address", "route", "rule")
	var events strings.Builder
	monitor.Stdout = &events
	if err := monitor.Start(); err != nil {
		l.t.Fatal(err)
	}
	return func() string {
		_ = monitor.Process.Signal(unix.SIGTERM)
		_ = monitor.Wait()
		return events.String()
	}
}

func TestEnsureAgainChangesNothing(t *testing.T) {
	l := newLab(t)
	second := link("vpc-a", "i-a", 1, "eni-00000000000000002", "", "10.0.2.10", "fd00:1:0:2::10")
	build := func() {
		l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
		l.up(alpha, beta, second)
	}
	build()
	var before, after []string
	for _, id := range []string{"vpc-a", "i-a", "i-b"} {
		before = append(before, l.dump(id))
	}
	stop := l.watch("vpc-a")
	l.restart()
	build()
	build()
	for _, id := range []string{"vpc-a", "i-a", "i-b"} {
		after = append(after, l.dump(id))
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a second Ensure changed the host (-before +after):\n%s", diff)
	}
	if events := stop(); events != "" {
		t.Errorf("a second Ensure wrote to the kernel:\n%s", events)
	}
	inv, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Links) != 3 || !inv.Links[0].Up || len(inv.Instances) != 2 || len(inv.Networks) != 1 {
		t.Errorf("found again: %+v", inv)
	}
}

func TestHalfMadeIsMadeAnew(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	l.up(alpha, beta)
	name := outerName(alpha.NIC.Interface)
	for what, damage := range map[string]func(){
		"no alias outside": func() { l.must("vpc-a", "ip link set dev "+name+" alias x") },
		"no alias inside":  func() { l.must("i-a", "ip link set dev eth0 alias x") },
		"outside gone":     func() { l.must("vpc-a", "ip link del "+name) },
		"inside down":      func() { l.must("i-a", "ip link set eth0 down") },
		"outside down":     func() { l.must("vpc-a", "ip link set down dev "+name) },
		"routes gone":      func() { l.must("i-a", "ip route flush table 1000"); l.must("i-a", "ip route flush table main") },
		"addresses gone":   func() { l.must("i-a", "ip addr flush dev eth0") },
		"neighbours gone":  func() { l.must("vpc-a", "ip neigh flush nud permanent dev "+name) },
		"namespace unmounted": func() {
			if err := unix.Unmount(l.InstancePath("i-a"), unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			damage()
			l.up(alpha)
			l.reach("i-b", "10.0.0.10", "fd00:1::10")
			l.reach("i-a", "10.0.1.11", "fd00:1:0:1::11")
		})
	}
}

func TestInterfaceMoves(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	l.up(alpha, beta)
	moved := alpha
	moved.Instance = "i-c"
	at := l.ensure(moved)[0]
	if out := l.must("vpc-a", "ip link show dev "+at.IfName); strings.Contains(out, "UP") {
		t.Errorf("the moved link is up before its time: %s", out)
	}
	l.up(moved)
	l.reach("i-b", "10.0.0.10")
	if out := l.must("i-a", "ip -o link"); strings.Contains(out, "eth0") {
		t.Errorf("the interface is in two places: %s", out)
	}
}

func TestRemoveInstance(t *testing.T) {
	l := newLab(t)
	l.vpc("vpc-a", "10.0.0.0/16", "fd00:1::/56")
	l.up(alpha, beta)
	if err := l.RemoveInstance("i-a"); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveInstance("i-a"); err != nil {
		t.Errorf("a second time: %v", err)
	}
	inv, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Links) != 1 || inv.Links[0].Instance != "i-b" || len(inv.Instances) != 1 {
		t.Errorf("after removal: %+v", inv)
	}
	l.silent("i-b", "10.0.0.10")
}
