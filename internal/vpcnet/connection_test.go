//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

// The street has three VPCs with an instance each, and a fourth that has the second's addresses.
var (
	inA = link("vpc-a", "i-a", 0, "eni-0000000000000000a", "", "10.1.0.10", "fd00:1::10")
	inB = link("vpc-b", "i-b", 0, "eni-0000000000000000b", "", "10.2.0.10", "fd00:2::10")
	inC = link("vpc-c", "i-c", 0, "eni-0000000000000000c", "", "10.3.0.10", "fd00:3::10")
	inD = link("vpc-d", "i-d", 0, "eni-0000000000000000d", "", "10.2.0.10", "fd00:2::10")
)

func (l *lab) street() {
	l.t.Helper()
	l.vpc("vpc-a", "10.1.0.0/16", "fd00:1::/56")
	l.vpc("vpc-b", "10.2.0.0/16", "fd00:2::/56")
	l.vpc("vpc-c", "10.3.0.0/16", "fd00:3::/56")
	l.vpc("vpc-d", "10.2.0.0/16", "fd00:2::/56")
	l.up(inA, inB, inC, inD)
}

func connection(id program.ConnectionID, a program.NetworkID, blocksA string, b program.NetworkID, blocksB string) *program.Connection {
	c := &program.Connection{ID: id, Ends: [2]program.Network{{ID: a}, {ID: b}}}
	for i, blocks := range []string{blocksA, blocksB} {
		for p := range strings.FieldsSeq(blocks) {
			c.Ends[i].CIDRs = append(c.Ends[i].CIDRs, netip.MustParsePrefix(p))
		}
	}
	return c
}

var (
	aToB = connection("pcx-0123456789abcdef0", "vpc-a", "10.1.0.0/16 fd00:1::/56", "vpc-b", "10.2.0.0/16 fd00:2::/56")
	bToC = connection("pcx-0123456789abcdef1", "vpc-b", "10.2.0.0/16 fd00:2::/56", "vpc-c", "10.3.0.0/16 fd00:3::/56")
)

func (l *lab) connect(all ...*program.Connection) {
	l.t.Helper()
	for _, c := range all {
		if err := l.EnsureConnection(c); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) part(id program.ConnectionID) {
	l.t.Helper()
	if err := l.RemoveConnection(id); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) silentAll(from program.InstanceID, addrs ...string) {
	l.t.Helper()
	for _, a := range addrs {
		l.silent(from, a)
	}
}

// Peers meet in both families and both directions; nobody else does, and not when it is over.
func TestPeersMeet(t *testing.T) {
	l := newLab(t)
	l.street()
	l.silentAll("i-a", "10.2.0.10", "fd00:2::10")
	l.connect(aToB)
	l.reach("i-a", "10.2.0.10", "fd00:2::10")
	l.reach("i-b", "10.1.0.10", "fd00:1::10")
	for _, addr := range []string{"10.2.0.10", "fd00:2::10"} {
		if got := l.echoTCP("i-a", "i-b", addr); got != "hello" {
			t.Errorf("tcp to %s: got %q", addr, got)
		}
	}
	l.silentAll("i-d", "10.1.0.10", "fd00:1::10") // the same addresses as the peer's, and no peer
	l.silentAll("i-a", "10.2.0.99", "fd00:2::99") // nobody's
	l.silentAll("i-a", "10.2.0.1")                // the peer's router speaks to its own network
	l.reach("i-a", "10.1.0.1")
	l.part(aToB.ID)
	l.part(aToB.ID) // again is fine
	l.silentAll("i-a", "10.2.0.10", "fd00:2::10")
	l.silentAll("i-b", "10.1.0.10", "fd00:1::10")
}

// A peer of a peer is no peer, also for one whose router believes so, and for addresses that it has not got.
func TestPeeringIsNotTransitive(t *testing.T) {
	l := newLab(t)
	l.street()
	l.connect(aToB, bToC)
	l.reach("i-b", "10.1.0.10", "fd00:1::10", "10.3.0.10", "fd00:3::10")
	l.silentAll("i-a", "10.3.0.10", "fd00:3::10")
	l.silentAll("i-c", "10.1.0.10", "fd00:1::10")
	// As while blocks move from one VPC to another: a's router leads c's addresses to b.
	far := connection(aToB.ID, "vpc-a", "10.1.0.0/16 fd00:1::/56", "vpc-b", "10.2.0.0/16 fd00:2::/56 10.3.0.0/16 fd00:3::/56")
	back := connection(bToC.ID, "vpc-b", "10.2.0.0/16 fd00:2::/56 10.1.0.0/16 fd00:1::/56", "vpc-c", "10.3.0.0/16 fd00:3::/56")
	if err := errors.Join(l.EnsureConnection(far), l.leaveRules("vpc-b", "10.2.0.0/16", "fd00:2::/56"), l.EnsureConnection(back),
		l.leaveRules("vpc-b", "10.2.0.0/16", "fd00:2::/56")); err != nil {
		t.Fatal(err)
	}
	l.silentAll("i-a", "10.3.0.10", "fd00:3::10")
	if out := l.must("vpc-a", "ip route show table 2000"); !strings.Contains(out, "10.3.0.0/16") {
		t.Fatalf("a's router leads nowhere, so that nothing is shown:\n%s", out)
	}
}

// leaveRules makes a router's own blocks, as its rules know them, be those.
func (l *lab) leaveRules(id program.NetworkID, own ...string) error {
	router, err := open(l.routerPath(id))
	if err != nil {
		return err
	}
	defer router.close()
	var blocks []netip.Prefix
	for _, p := range own {
		blocks = append(blocks, netip.MustParsePrefix(p))
	}
	return router.syncRules(peersTable, blocks)
}

// What does not come from a network's own addresses does not get to its peers.
func TestPeersSeeOwnAddressesOnly(t *testing.T) {
	l := newLab(t)
	l.street()
	l.connect(aToB)
	inside := "iif " + outerName(inA.NIC.Interface)
	for _, way := range [][2]string{{"10.2.0.10", "10.1.0.10"}, {"fd00:2::10", "fd00:1::10"}} {
		if out := l.must("vpc-a", "ip route get "+way[0]+" from "+way[1]+" "+inside); !strings.Contains(out, "dev p3456789abcdef0") {
			t.Errorf("from its own address there is no way: %s", out)
		}
	}
	for _, way := range [][2]string{{"10.2.0.10", "192.0.2.7"}, {"fd00:2::10", "2001:db8::7"}} {
		if out, err := l.run("vpc-a", "ip route get "+way[0]+" from "+way[1]+" "+inside); err == nil && !strings.Contains(out, "blackhole") {
			t.Errorf("from a foreign address there is a way: %s", out)
		}
	}
}

// Blocks come and go on both sides without a new link.
func TestConnectionFollowsBlocks(t *testing.T) {
	l := newLab(t)
	l.street()
	l.connect(aToB)
	index := l.must("vpc-a", "cat /sys/class/net/p3456789abcdef0/ifindex")
	second := link("vpc-b", "i-b2", 0, "eni-000000000000000b2", "", "10.7.0.10")
	l.vpc("vpc-b", "10.2.0.0/16", "10.7.0.0/16", "fd00:2::/56")
	l.up(second)
	l.silentAll("i-a", "10.7.0.10")
	l.connect(connection(aToB.ID, "vpc-a", "10.1.0.0/16 fd00:1::/56", "vpc-b", "10.2.0.0/16 10.7.0.0/16 fd00:2::/56"))
	l.reach("i-a", "10.7.0.10", "10.2.0.10", "fd00:2::10")
	l.reach("i-b2", "10.1.0.10")
	l.connect(connection(aToB.ID, "vpc-a", "10.1.0.0/16 fd00:1::/56", "vpc-b", "10.7.0.0/16"))
	l.reach("i-a", "10.7.0.10")
	l.silentAll("i-a", "10.2.0.10", "fd00:2::10")
	l.silentAll("i-b", "10.1.0.10", "fd00:1::10")
	if now := l.must("vpc-a", "cat /sys/class/net/p3456789abcdef0/ifindex"); now != index {
		t.Errorf("the link was made anew: %s, then %s", index, now)
	}
}

// Another process finds a connection as it is and writes nothing; what is damaged it mends.
func TestConnectionIsFoundAndMended(t *testing.T) {
	l := newLab(t)
	l.street()
	l.connect(aToB, bToC)
	var before, after []string
	routers := []string{"vpc-a", "vpc-b", "vpc-c"}
	for _, id := range routers {
		before = append(before, l.dump(id))
	}
	l.restart()
	inv, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []FoundConnection{{aToB.ID, [2]program.NetworkID{"vpc-a", "vpc-b"}}, {bToC.ID, [2]program.NetworkID{"vpc-b", "vpc-c"}}}
	if diff := cmp.Diff(want, inv.Connections); diff != "" {
		t.Errorf("found again (-want +got):\n%s", diff)
	}
	if len(inv.Links) != 4 {
		t.Errorf("of four links of instances %+v were found", inv.Links)
	}
	stop := l.watch("vpc-b")
	l.connect(aToB, bToC)
	if events := stop(); events != "" {
		t.Errorf("a second Ensure wrote to the kernel:\n%s", events)
	}
	for _, id := range routers {
		after = append(after, l.dump(id))
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a second Ensure changed the host (-before +after):\n%s", diff)
	}
	for what, damage := range map[string]func(){
		"no alias on one side":    func() { l.must("vpc-a", "ip link set dev p3456789abcdef0 alias x") },
		"no alias on the other":   func() { l.must("vpc-b", "ip link set dev p3456789abcdef0 alias x") },
		"link gone":               func() { l.must("vpc-b", "ip link del p3456789abcdef0") },
		"one side down":           func() { l.must("vpc-b", "ip link set p3456789abcdef0 down") },
		"ways gone":               func() { l.must("vpc-b", "ip route flush table 2000") },
		"rules gone":              func() { l.must("vpc-a", "ip rule del priority 2000"); l.must("vpc-a", "ip -6 rule del priority 2000") },
		"it asks for neighbours":  func() { l.must("vpc-a", "ip link set p3456789abcdef0 arp on") },
		"another router's lookup": func() { l.must("vpc-a", "ip rule add from 10.9.0.0/16 lookup 2000 priority 2000") },
	} {
		t.Run(what, func(*testing.T) {
			damage()
			l.connect(aToB, bToC)
			l.reach("i-a", "10.2.0.10", "fd00:2::10")
			l.reach("i-b", "10.1.0.10", "fd00:1::10", "10.3.0.10", "fd00:3::10")
			if out := l.must("vpc-a", "ip rule"); strings.Contains(out, "10.9.0.0") {
				t.Errorf("a rule that nobody wants stays:\n%s", out)
			}
		})
	}
}

// The last connection of a router takes its rules along, and a network its connections.
func TestConnectionsLeaveNothing(t *testing.T) {
	l := newLab(t)
	l.street()
	fresh := l.dump("vpc-b")
	l.connect(aToB, bToC)
	l.part(bToC.ID)
	l.reach("i-a", "10.2.0.10", "fd00:2::10")
	if err := l.RemoveVPC("vpc-a"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fresh, l.dump("vpc-b")); diff != "" {
		t.Errorf("left in the other's router (-before +after):\n%s", diff)
	}
	inv, err := l.List()
	if err != nil || len(inv.Connections) != 0 {
		t.Errorf("left: %+v, %v", inv.Connections, err)
	}
	if err := l.EnsureConnection(aToB); err == nil {
		t.Error("a network that is not there was connected")
	}
}

// Connections of one router made and removed side by side do not take each other's rules.
func TestConnectionsSideBySide(t *testing.T) {
	l := newLab(t)
	l.street()
	var wg sync.WaitGroup
	for n := range 6 {
		id := program.NetworkID(fmt.Sprintf("vpc-x%d", n))
		block := fmt.Sprintf("10.1%d.0.0/16", n)
		l.vpc(id, block)
		c := connection(program.ConnectionID(fmt.Sprintf("pcx-0000000000000000%d", n)), "vpc-a", "10.1.0.0/16 fd00:1::/56", id, block)
		wg.Go(func() {
			for range 5 {
				if err := errors.Join(l.EnsureConnection(c), l.RemoveConnection(c.ID)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if err := l.EnsureConnection(aToB); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	l.reach("i-a", "10.2.0.10", "fd00:2::10")
	if out := l.must("vpc-a", "ip -o link"); strings.Contains(out, "p000000000") {
		t.Errorf("links of connections that were removed:\n%s", out)
	}
}

func TestConnectionNames(t *testing.T) {
	if got := peerName("pcx-0123456789abcdef0"); got != "p3456789abcdef0" || len(got) != unix.IFNAMSIZ-1 {
		t.Errorf("name %s", got)
	}
	if id, to, ok := parsePeerAlias(peerAlias("pcx-1", "vpc-2")); id != "pcx-1" || to != "vpc-2" || !ok {
		t.Errorf("read back: %s, %s, %v", id, to, ok)
	}
	for _, s := range []string{"", "pcx-1", "eni-1 i-2", "pcx-1 ", "x pcx-1"} {
		if _, _, ok := parsePeerAlias(s); ok {
			t.Errorf("%q is taken for ours", s)
		}
	}
}
