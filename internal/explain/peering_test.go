package explain

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var stranger = vpc.Scope{Region: scope.Region, Account: "000000000002"}

// neighbours adds to the guide's world a VPC of the same account, one of another account, and one that has the first
// VPC's addresses; in each an instance that admits what the group sg-web sends to port 5432 and sends everywhere.
func neighbours(t *testing.T) *state.Tx {
	t.Helper()
	tx := world(t).Begin()
	for name, at := range map[string]struct {
		scope  vpc.Scope
		v4, v6 string
		last   byte // of the addresses
	}{
		"own":    {scope, "10.1.0.0/16", "fd00:1::/56", 50},
		"theirs": {stranger, "10.2.0.0/16", "fd00:2::/56", 50},
		"twin":   {scope, "10.0.0.0/16", "fd00:3::/56", 50},
		"rival":  {scope, "10.1.0.0/20", "fd00:4::/56", 60},
	} {
		v4, v6 := netip.MustParsePrefix(at.v4), netip.MustParsePrefix(at.v6)
		id := vpc.VPCID("vpc-" + name)
		tx.Put(&vpc.VPC{ID: id, Scope: at.scope, Blocks: []vpc.Block{{Prefix: v4}}, IPv6Blocks: []vpc.Block{{Prefix: v6}}})
		tx.Put(&vpc.Subnet{ID: vpc.SubnetID("subnet-" + name), VPC: id, Scope: at.scope, Block: netip.PrefixFrom(v4.Addr(), 24)})
		tx.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + name), Scope: at.scope, VPC: id, State: vpc.Running})
		a4, a6 := v4.Addr().As4(), v6.Addr().As16()
		a4[3], a6[15] = at.last, at.last
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID("eni-" + name), Scope: at.scope, VPC: id, Subnet: vpc.SubnetID("subnet-" + name), SourceCheck: true,
			Groups: []vpc.GroupID{vpc.GroupID("sg-" + name)}, Addrs: []netip.Addr{netip.AddrFrom4(a4)}, IPv6Addrs: []netip.Addr{netip.AddrFrom16(a6)},
			Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + name)},
		})
		for n, r := range []vpc.Rule{
			{Direction: packet.Ingress, Service: service("tcp/5432"), Source: vpc.Source{Group: "sg-web"}},
			{Direction: packet.Egress, Service: service("all"), Source: vpc.Source{CIDR: vpc.AllIPv4}},
			{Direction: packet.Egress, Service: service("all"), Source: vpc.Source{CIDR: vpc.AllIPv6}},
		} {
			r.ID, r.Group, r.Scope = vpc.RuleID("sgr-"+name+string(rune('1'+n))), vpc.GroupID("sg-"+name), at.scope
			tx.Put(&r)
		}
	}
	return tx
}

// peer joins the guide's VPC to another one at a minute.
func peer(tx *state.Tx, id vpc.PeeringID, with vpc.VPCID, status vpc.PeeringStatus, minute int) {
	tx.Put(&vpc.Peering{
		ID: id, Status: status, Requester: vpc.PeeringEnd{VPC: "vpc-1", Scope: scope},
		Accepter: vpc.PeeringEnd{VPC: with, Scope: tx.VPC(with).Scope}, Created: time.Unix(int64(60*minute), 0),
	})
}

// G41 G63 G104: a reference covers the members of a peer VPC's group while the connection is active, and packets have a
// way while it is.
func TestPeersReachEachOtherWhileActive(t *testing.T) {
	for status, missing := range map[vpc.PeeringStatus]string{
		vpc.PeeringActive: "", vpc.PeeringPending: "no route: vpc-1 and vpc-own are not peered",
		vpc.PeeringDeleted: "no route: vpc-1 and vpc-own are not peered",
	} {
		tx := neighbours(t)
		peer(tx, "pcx-1", "vpc-own", status, 1)
		s := tx.Next(2)
		for _, to := range []string{"i-own", "eni-own", "10.1.0.50"} {
			a, err := Reach(s, Query{Scope: scope, From: "i-web", To: to, Service: service("tcp/5432")})
			if err != nil {
				t.Fatal(err)
			}
			in := a.Sides[len(a.Sides)-1]
			if a.NoWay != missing || a.Reachable != (missing == "") || (in.Judgement.Rule != nil) != (missing == "") {
				t.Errorf("%s, to %s: reachable %v, no way %q, %+v", status, to, a.Reachable, a.NoWay, in)
			}
		}
	}
}

func TestNoRoute(t *testing.T) {
	for _, row := range []struct {
		name     string
		arrange  func(tx *state.Tx)
		from, to string
		want     string
	}{
		{"unpeered", func(*state.Tx) {}, "i-web", "10.1.0.50", "no route: vpc-1 and vpc-own are not peered"},
		{"not transitive", func(tx *state.Tx) {
			peer(tx, "pcx-1", "vpc-own", vpc.PeeringActive, 1)
			tx.Put(&vpc.Peering{
				ID: "pcx-2", Status: vpc.PeeringActive, Requester: vpc.PeeringEnd{VPC: "vpc-own"}, Accepter: vpc.PeeringEnd{VPC: "vpc-twin"},
			})
		}, "i-web", "i-twin", "no route: vpc-1 and vpc-twin are not peered"},
		{
			"same addresses", func(tx *state.Tx) { peer(tx, "pcx-1", "vpc-twin", vpc.PeeringActive, 1) }, "i-web", "i-twin",
			"no route: pcx-1 connects vpc-1 and vpc-twin, but vpc-1 has 10.0.0.0/16 and vpc-twin has 10.0.0.0/16",
		},
		{"an earlier peer has the addresses", func(tx *state.Tx) {
			peer(tx, "pcx-2", "vpc-rival", vpc.PeeringActive, 2)
			peer(tx, "pcx-3", "vpc-own", vpc.PeeringActive, 1)
		}, "i-rival", "i-web", "no route: pcx-2 connects vpc-rival and vpc-1, but vpc-1 was connected earlier with vpc-own, which has 10.1.0.0/16 too, by pcx-3"},
		{"the earlier one", func(tx *state.Tx) {
			peer(tx, "pcx-2", "vpc-rival", vpc.PeeringActive, 2)
			peer(tx, "pcx-3", "vpc-own", vpc.PeeringActive, 1)
		}, "i-own", "i-web", ""},
		{"another host", func(tx *state.Tx) {
			peer(tx, "pcx-1", "vpc-own", vpc.PeeringActive, 1)
			there := *tx.Instance("i-own")
			there.Host = "h2"
			tx.Put(&there)
		}, "i-web", "i-own", "no route: the instances are on different hosts, between which there is no network yet"},
		{"a stopped one of another account", func(tx *state.Tx) {
			peer(tx, "pcx-1", "vpc-theirs", vpc.PeeringActive, 1)
			stopped := *tx.Instance("i-theirs")
			stopped.State = vpc.Stopped
			tx.Put(&stopped)
		}, "i-web", "10.2.0.50", "nothing of account 000000000002 that runs has 10.2.0.50"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tx := neighbours(t)
			row.arrange(tx)
			a, err := Reach(tx.Next(2), Query{Scope: scope, From: row.from, To: row.to, Service: service("tcp/5432")})
			if err != nil {
				t.Fatal(err)
			}
			if a.NoWay != row.want || row.want != "" && a.Reachable {
				t.Errorf("no way %q (reachable %v), want %q", a.NoWay, a.Reachable, row.want)
			}
		})
	}
}

// G80: another account's interface admits what it references; the answer tells that, and nothing else of it.
func TestAnotherAccountsInterfaceStaysItsOwn(t *testing.T) {
	tx := neighbours(t)
	peer(tx, "pcx-1", "vpc-theirs", vpc.PeeringActive, 1)
	s := tx.Next(2)
	for _, row := range []struct {
		from, to, service string
		v6                bool
		reachable         bool
		missing           string
	}{
		{"i-web", "10.2.0.50", "tcp/5432", false, true, ""},
		{"i-theirs", "i-web", "tcp/80", false, false, ""},
		{"10.0.0.12", "10.2.0.50", "tcp/22", false, false, "no ingress rule that account 000000000002 has on 10.2.0.50 admits it"},
		{"10.2.0.50", "i-web", "tcp/80", false, true, ""},
	} {
		a, err := Reach(s, Query{Scope: scope, From: row.from, To: row.to, Service: service(row.service), IPv6: row.v6})
		if row.from == "i-theirs" {
			if !errors.Is(err, errNoEnd) {
				t.Errorf("another account's instance is an end: %+v, %v", a, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Reachable != row.reachable || a.NoWay != "" {
			t.Errorf("%s to %s: reachable %v, no way %q", row.from, row.to, a.Reachable, a.NoWay)
		}
		theirs := a.Sides[1]
		if row.from == "10.2.0.50" {
			theirs = a.Sides[0]
		}
		j := theirs.Judgement
		if theirs.Owner != stranger.Account || theirs.Interface != nil || j.Rule != nil || j.Admitting != nil || j.Why != "" || theirs.Missing != row.missing {
			t.Errorf("%s to %s tells of the other account: %+v", row.from, row.to, theirs)
		}
	}
}

// A group of another VPC on an interface here is what it is there: its rules hold, references to it match.
func TestAssociatedGroupHoldsWhereItIsCarried(t *testing.T) {
	tx := neighbours(t)
	tx.Put(&vpc.Association{Group: "sg-web", Scope: scope, VPC: "vpc-own"})
	guest := *tx.Interface("eni-own")
	guest.ID, guest.Groups, guest.IPv6Addrs = "eni-guest", []vpc.GroupID{"sg-web"}, nil
	guest.Addrs = []netip.Addr{netip.MustParseAddr("10.1.0.60")}
	guest.Attachment = &vpc.Attachment{Instance: "i-guest"}
	tx.Put(&guest)
	tx.Put(&vpc.Instance{ID: "i-guest", Scope: scope, VPC: "vpc-own", State: vpc.Running})
	s := tx.Next(2)
	for _, row := range []struct {
		from, to, service string
		rule              vpc.RuleID // credited at the receiver; empty: none
	}{
		{"i-guest", "i-own", "tcp/5432", "sgr-own1"}, // "from sg-web", which the guest carries
		{"i-own", "i-guest", "tcp/80", "sgr-1"},      // the guest's own rule
		{"i-own", "i-guest", "tcp/22", ""},
	} {
		a, err := Reach(s, Query{Scope: scope, From: row.from, To: row.to, Service: service(row.service)})
		if err != nil {
			t.Fatal(err)
		}
		if r := a.Sides[1].Judgement.Rule; (r == nil) != (row.rule == "") || r != nil && r.ID != row.rule {
			t.Errorf("%s to %s %s: credited %v, want %q", row.from, row.to, row.service, r, row.rule)
		}
	}
}

// An address is what it means inside the VPC of the other end, or inside the one that the query names.
func TestAddressesAreMeantFromInside(t *testing.T) {
	tx := neighbours(t)
	peer(tx, "pcx-1", "vpc-own", vpc.PeeringActive, 1)
	s := tx.Next(2)
	for _, row := range []struct {
		from, to string
		in       vpc.VPCID
		want     vpc.InterfaceID // the receiver; empty: an error
	}{
		{"i-rival", "10.0.0.50", "", "eni-twin"}, // not a way, but the one who has it
		{"10.0.0.10", "10.1.0.50", "", "eni-own"},
		{"10.0.0.10", "10.1.0.50", "vpc-1", "eni-own"},
		{"i-twin", "10.0.0.50", "vpc-twin", "eni-twin"},
		{"i-web", "10.1.0.50", "vpc-theirs", ""}, // not the caller's
		{"i-web", "10.1.0.50", "vpc-none", ""},
	} {
		a, err := Reach(s, Query{Scope: scope, From: row.from, To: row.to, VPC: row.in, Service: service("tcp/5432")})
		switch {
		case row.want == "" && !errors.Is(err, errNoEnd):
			t.Errorf("%s to %s in %q: %+v, %v", row.from, row.to, row.in, a, err)
		case row.want != "" && err != nil:
			t.Errorf("%s to %s in %q: %v", row.from, row.to, row.in, err)
		case row.want != "" && a.Sides[len(a.Sides)-1].Interface.ID != row.want:
			t.Errorf("%s to %s in %q: received by %s", row.from, row.to, row.in, a.Sides[len(a.Sides)-1].Interface.ID)
		}
	}
	v6, err := Reach(s, Query{Scope: scope, From: "eni-twin", To: "fd00:1::32", Service: service("tcp/5432"), IPv6: true})
	if err != nil || !strings.Contains(v6.NoWay, "vpc-twin and vpc-own are not peered") {
		t.Errorf("IPv6 to a VPC that is no peer: %+v, %v", v6, err)
	}
}
