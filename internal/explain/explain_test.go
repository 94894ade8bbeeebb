package explain

import (
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var scope = vpc.Scope{Region: "us-east-1", Account: "000000000001"}

func service(text string) packet.Service {
	one := func(p packet.Proto, from, to uint16) packet.Service {
		return packet.Service{Proto: p, Ports: packet.PortRange{From: from, To: to}}
	}
	switch text {
	case "all":
		return packet.Service{Proto: packet.AllProtos}
	case "tcp/22":
		return one(packet.TCP, 22, 22)
	case "tcp/80":
		return one(packet.TCP, 80, 80)
	case "tcp/5432":
		return one(packet.TCP, 5432, 5432)
	case "ping":
		return packet.Service{Proto: packet.ICMP, Type: 8, Code: packet.Any}
	case "gre":
		return packet.Service{Proto: 47}
	}
	panic("unknown service " + text)
}

// world has a web server, a database and a stranger in one VPC: the guide's example.
func world(t *testing.T) *state.Snapshot {
	t.Helper()
	tx := state.NewSnapshot().Begin()
	tx.Put(&vpc.VPC{ID: "vpc-1", Scope: scope, Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}})
	tx.Put(&vpc.Subnet{ID: "subnet-1", VPC: "vpc-1", Scope: scope, Block: netip.MustParsePrefix("10.0.0.0/24")})
	for i, name := range []string{"web", "db", "other"} {
		tx.Put(&vpc.SecurityGroup{ID: vpc.GroupID("sg-" + name), VPC: "vpc-1", Name: name, Scope: scope})
		tx.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + name), Scope: scope, VPC: "vpc-1", State: vpc.Running})
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID("eni-" + name), Scope: scope, VPC: "vpc-1", Subnet: "subnet-1", SourceCheck: true,
			Groups:     []vpc.GroupID{vpc.GroupID("sg-" + name)},
			Addrs:      []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)})},
			Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + name)},
		})
	}
	add := func(id, group string, d packet.Direction, svc, source string) {
		r := &vpc.Rule{ID: vpc.RuleID(id), Group: vpc.GroupID(group), Direction: d, Service: service(svc), Scope: scope}
		switch {
		case strings.HasPrefix(source, "sg-"):
			r.Source.Group = vpc.GroupID(source)
		case strings.HasPrefix(source, "pl-"):
			r.Source.PrefixList = vpc.PrefixListID(source)
		default:
			r.Source.CIDR = netip.MustParsePrefix(source)
		}
		tx.Put(r)
	}
	add("sgr-1", "sg-web", packet.Ingress, "tcp/80", "0.0.0.0/0")
	add("sgr-2", "sg-web", packet.Ingress, "tcp/22", "10.0.0.12/32")
	add("sgr-3", "sg-db", packet.Ingress, "tcp/5432", "sg-web")
	add("sgr-4", "sg-web", packet.Egress, "all", "0.0.0.0/0")
	add("sgr-5", "sg-db", packet.Egress, "all", "0.0.0.0/0")
	add("sgr-6", "sg-other", packet.Egress, "all", "0.0.0.0/0")
	add("sgr-7", "sg-web", packet.Ingress, "ping", "0.0.0.0/0")
	add("sgr-8", "sg-web", packet.Ingress, "gre", "10.0.0.0/24")
	tx.Put(&vpc.PrefixList{ID: "pl-1", Scope: scope, Name: "office", MaxEntries: 2, Entries: entries("10.0.0.12/32", "10.1.0.0/16")})
	tx.Put(&vpc.PrefixList{ID: "pl-2", Scope: scope, Name: "none", MaxEntries: 1})
	add("sgr-a", "sg-db", packet.Ingress, "tcp/80", "pl-1")
	add("sgr-b", "sg-db", packet.Ingress, "tcp/22", "pl-2")
	return tx.Next(1)
}

func entries(blocks ...string) (out []vpc.PrefixListEntry) {
	for _, b := range blocks {
		out = append(out, vpc.PrefixListEntry{Prefix: netip.MustParsePrefix(b)})
	}
	return out
}

func TestReach(t *testing.T) {
	s := world(t)
	for _, row := range []struct {
		from, to, service string
		reachable         bool
		ruleIn            vpc.RuleID // credited at the receiver
		missing           string     // part of what is said to be missing
	}{
		{"i-other", "i-web", "tcp/80", true, "sgr-1", ""},
		{"i-other", "i-web", "tcp/22", true, "sgr-2", ""},
		{"i-db", "i-web", "tcp/22", false, "", "nearest: sgr-2 of sg-web admits tcp 22 from 10.0.0.12/32"},
		{"i-web", "i-db", "tcp/5432", true, "sgr-3", ""},
		{"i-other", "i-db", "tcp/5432", false, "", "no ingress rule of sg-db admits tcp 5432 from 10.0.0.12"},
		{"10.0.0.12", "eni-web", "ping", true, "sgr-7", ""},
		{"i-other", "10.0.0.10", "gre", true, "sgr-8", ""},
		{"internet", "i-web", "tcp/80", false, "sgr-1", ""},
		{"i-other", "i-db", "tcp/80", true, "sgr-a", ""},
		{"i-web", "i-db", "tcp/80", false, "", `nearest: sgr-a of sg-db admits tcp 80 from pl-1 ("office", which has 10.0.0.12/32, 10.1.0.0/16)`},
		{"i-other", "i-db", "tcp/22", false, "", `nearest: sgr-b of sg-db admits tcp 22 from pl-2 ("none", which is empty)`},
	} {
		t.Run(row.from+">"+row.to+" "+row.service, func(t *testing.T) {
			a, err := Reach(s, Query{Scope: scope, From: row.from, To: row.to, Service: service(row.service)})
			if err != nil {
				t.Fatal(err)
			}
			in := a.Sides[len(a.Sides)-1]
			if a.Reachable != row.reachable {
				t.Errorf("reachable %v, want %v: %+v", a.Reachable, row.reachable, in)
			}
			if got := in.Judgement.Rule; row.ruleIn != "" && (got == nil || got.ID != row.ruleIn) {
				t.Errorf("credited %v, want %s", got, row.ruleIn)
			}
			if !strings.Contains(in.Missing, row.missing) {
				t.Errorf("missing %q does not say %q", in.Missing, row.missing)
			}
		})
	}
}

// The worked example of AWS's connection tracking page: SSH from one address is
// tracked, HTTP from everywhere is not, ICMP always is.
func TestTrackedAsAWSDocuments(t *testing.T) {
	s := world(t)
	web := s.Interface("eni-web")
	in := func(svc string) Judgement {
		sv := service(svc)
		tuple := packet.Tuple{
			Proto: sv.Proto, Src: netip.MustParseAddr("10.0.0.12"), Dst: web.Primary(), SrcPort: 50000, DstPort: sv.Ports.From,
		}
		if sv.Proto.HasTypes() {
			tuple.Type = 8
		}
		return Judge(s, web, packet.Ingress, Packet{Tuple: tuple})
	}
	for svc, tracked := range map[string]bool{"tcp/22": true, "tcp/80": false, "ping": true, "gre": true} {
		if j := in(svc); j.Verdict != packet.Allow || j.Tracked != tracked {
			t.Errorf("%s: %+v, want allowed and tracked %v", svc, j, tracked)
		}
	}
	answer := Packet{Midway: true, Tuple: packet.Tuple{
		Proto: packet.TCP, Src: web.Primary(), Dst: netip.MustParseAddr("10.0.0.12"), SrcPort: 80, DstPort: 50000,
	}}
	if j := Judge(s, web, packet.Egress, answer); j.Why != WhyReply || j.Tracked {
		t.Errorf("the answer of an untracked flow is %+v, want an untracked reply", j)
	}
	tx := s.Begin()
	tx.Delete(tx.Rule("sgr-4")) // "all outbound"
	s = tx.Next(2)
	if j := in("tcp/80"); !j.Tracked {
		t.Error("without the rule for all outbound traffic, HTTP must be tracked")
	}
	if j := Judge(s, web, packet.Egress, answer); j.Verdict != packet.Deny {
		t.Errorf("a new outbound flow passes without an outbound rule: %+v", j)
	}
}

// A prefix list admits what it holds at the time, of its family, and is as a block for all addresses if it holds
// that block.
func TestPrefixListIsWhatItHolds(t *testing.T) {
	s := world(t)
	db := s.Interface("eni-db")
	in := func(blocks ...string) Judgement {
		tx := s.Begin()
		list := *tx.PrefixList("pl-1")
		list.Entries = entries(blocks...)
		tx.Put(&list)
		return Judge(tx.Next(2), db, packet.Ingress, Packet{Tuple: packet.Tuple{
			Proto: packet.TCP, Src: netip.MustParseAddr("10.0.0.12"), Dst: db.Primary(), SrcPort: 50000, DstPort: 80,
		}})
	}
	for _, row := range []struct {
		blocks  []string
		want    packet.Verdict
		tracked bool
	}{
		{[]string{"10.0.0.0/24"}, packet.Allow, true},
		{[]string{"10.0.0.13/32", "10.0.0.12/32"}, packet.Allow, true},
		{[]string{"10.0.0.13/32"}, packet.Deny, false},
		{nil, packet.Deny, false},
		{[]string{"::/0"}, packet.Deny, false},
		{[]string{"0.0.0.0/0"}, packet.Allow, false},
		{[]string{"0.0.0.0/1", "128.0.0.0/1"}, packet.Allow, true},
	} {
		if j := in(row.blocks...); j.Verdict != row.want || j.Tracked != row.tracked {
			t.Errorf("%v: %+v", row.blocks, j)
		}
	}
}

func TestSpoofedAndUnfiltered(t *testing.T) {
	s := world(t)
	db := s.Interface("eni-db")
	spoofed := packet.Tuple{Proto: packet.UDP, Src: netip.MustParseAddr("10.0.0.99"), Dst: netip.MustParseAddr("10.0.0.10"), DstPort: 9}
	if j := Judge(s, db, packet.Egress, Packet{Tuple: spoofed}); j.Why != WhySpoofed || j.Verdict != packet.Deny {
		t.Errorf("a foreign source address: %+v", j)
	}
	router := packet.Tuple{Proto: packet.ICMP, Src: netip.MustParseAddr("10.0.0.1"), Dst: db.Primary(), Type: 8}
	if j := Judge(s, db, packet.Ingress, Packet{Tuple: router}); j.Why != WhyUnfiltered || j.Verdict != packet.Allow {
		t.Errorf("the VPC's router: %+v", j)
	}
}

func TestReachRefusesUnknownEnds(t *testing.T) {
	s := world(t)
	for _, q := range [][2]string{{"i-nobody", "i-web"}, {"i-web", "nonsense"}, {"internet", "internet"}, {"i-web", "::1"}} {
		if a, err := Reach(s, Query{Scope: scope, From: q[0], To: q[1], Service: service("tcp/80")}); err == nil {
			t.Errorf("%v: answered %+v", q, a)
		}
	}
}

// classicWorld has instances of two accounts in the flat network. b's group admits a's by tcp/80, and everybody by
// ping; a VPC has the same addresses.
func classicWorld(t *testing.T) *state.Snapshot {
	t.Helper()
	tx := world(t).Begin()
	network := vpc.ClassicNetwork(scope.Region)
	for n, account := range []vpc.AccountID{scope.Account, "000000000002"} {
		owner := vpc.Scope{Region: scope.Region, Account: account}
		name := string(rune('a' + n))
		tx.Put(&vpc.Account{ID: account, Classic: true})
		tx.Put(&vpc.SecurityGroup{ID: vpc.GroupID("sg-" + name), VPC: network, Name: name, Scope: owner})
		tx.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + name), Scope: owner, VPC: network, State: vpc.Running})
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID("eni-" + name), Scope: owner, VPC: network, SourceCheck: true, Groups: []vpc.GroupID{vpc.GroupID("sg-" + name)},
			Addrs:      []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})},
			Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + name)},
		})
	}
	tx.Put(&vpc.Rule{ID: "sgr-80", Group: "sg-b", Service: service("tcp/80"), Source: vpc.Source{Group: "sg-a"}})
	tx.Put(&vpc.Rule{ID: "sgr-ping", Group: "sg-b", Service: service("ping"), Source: vpc.Source{CIDR: vpc.AllIPv4}})
	return tx.Next(2)
}

// In EC2-Classic everything may leave, and what comes in is judged by groups of whatever account (G74, G78). Only who
// may know of both accounts is told of both.
func TestReachInClassic(t *testing.T) {
	s := classicWorld(t)
	for _, row := range []struct {
		from, to, vpc, service string
		reachable              bool
		noWay                  string
	}{
		{"i-a", "i-b", "", "tcp/80", true, ""},
		{"eni-a", "10.0.0.11", "", "tcp/80", true, ""},
		{"10.0.0.10", "10.0.0.11", "EC2-Classic", "tcp/80", true, ""},
		{"i-a", "i-b", "", "tcp/22", false, ""},
		{"i-b", "i-a", "", "tcp/80", false, ""},
		{"i-a", "i-b", "", "ping", true, ""},
		{"i-web", "i-b", "", "ping", false, "vpc-1 and EC2-Classic do not route to each other"},
		{"i-a", "i-web", "", "tcp/80", false, "EC2-Classic and vpc-1 do not route to each other"},
		{"i-a", "internet", "", "tcp/80", false, "EC2-Classic has no way out to 203.0.113.113"},
	} {
		t.Run(row.from+">"+row.to+" "+row.service, func(t *testing.T) {
			q := Query{Scope: scope, From: row.from, To: row.to, VPC: vpc.VPCID(row.vpc), Service: service(row.service), AnyAccount: true}
			a, err := Reach(s, q)
			if err != nil {
				t.Fatal(err)
			}
			if a.Reachable != row.reachable || a.NoWay != row.noWay {
				t.Errorf("reachable %v, no way %q", a.Reachable, a.NoWay)
			}
			if j := a.Sides[0].Judgement; row.from != "i-web" && (j.Rule == nil || j.Rule.ID != vpc.ClassicOutbound) {
				t.Errorf("what leaves is judged %+v", j)
			}
		})
	}
	for _, q := range []Query{
		{From: "i-a", To: "i-b"}, {From: "eni-b", To: "i-a"}, // another account's
		{From: "10.0.0.10", To: "10.0.0.11", AnyAccount: true}, // in the VPC too
	} {
		q.Scope, q.Service = scope, service("tcp/80")
		if a, err := Reach(s, q); err == nil {
			t.Errorf("%+v: answered %+v", q, a)
		}
	}
	for _, a := range []string{"10.0.0.1", "10.0.0.2"} {
		tuple := packet.Tuple{Proto: packet.ICMP, Src: netip.MustParseAddr(a), Dst: netip.MustParseAddr("10.0.0.10"), Type: 8}
		if j := Judge(s, s.Interface("eni-a"), packet.Ingress, Packet{Tuple: tuple}); j.Why != WhyUnfiltered {
			t.Errorf("the network's own %s: %+v", a, j)
		}
	}
}
