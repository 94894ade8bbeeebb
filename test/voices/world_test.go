package voices

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// The world's single region and account, and the host whose voice is heard.
const (
	host  = "h1"
	stays = vpc.VPCID("vpc-a")
)

var (
	scope   = vpc.Scope{Region: "us-east-1", Account: "000000000001"}
	others  = vpc.Scope{Region: "us-east-1", Account: "000000000002"}
	classic = vpc.ClassicNetwork(scope.Region)
)

// places are the VPCs of a world: two that have the same blocks, and one of
// another account. net is the number in their blocks.
var places = []struct {
	id    vpc.VPCID
	owner vpc.Scope
	net   int
}{
	{stays, scope, 0}, {"vpc-b", scope, 0}, {"vpc-c", scope, 1}, {"vpc-d", others, 2},
}

// gen makes a random world: VPCs, some of which are peered; groups that refer to
// each other, to themselves and to those of other VPCs, and are associated with
// those; prefix lists; rules of every kind; interfaces with one to five groups and several
// addresses of both families; beside them instances and groups of two accounts in
// EC2-Classic.
type gen struct {
	r      *rand.Rand
	tx     *state.Tx
	groups map[vpc.VPCID][]vpc.GroupID
}

func newWorld(r *rand.Rand) *state.Snapshot {
	g := gen{r: r, tx: state.NewSnapshot().Begin(), groups: map[vpc.VPCID][]vpc.GroupID{}}
	g.lists()
	for _, p := range places {
		g.vpc(p.id, p.owner, p.net)
	}
	g.peerings()
	for _, p := range places {
		for _, sg := range g.groups[p.id] {
			for range g.r.IntN(12) {
				g.rule(p.id, sg)
			}
		}
		for n := range 3 + g.r.IntN(10) {
			g.eni(p.id, p.owner, p.net, n)
		}
	}
	g.classic()
	return g.tx.Next(1)
}

// peerings joins VPCs two by two, or nearly: also those that have the same blocks, and so that two peers of one have.
func (g *gen) peerings() {
	for n, a := range places {
		for _, b := range places[:n] {
			if g.r.IntN(4) > 0 {
				g.peering(&vpc.Peering{
					ID: vpc.PeeringID(fmt.Sprintf("pcx-%s-%s", a.id, b.id)), Created: time.Unix(int64(g.r.IntN(3)), 0),
					Requester: vpc.PeeringEnd{VPC: a.id, Scope: a.owner}, Accepter: vpc.PeeringEnd{VPC: b.id, Scope: b.owner},
				})
			}
		}
	}
}

// peering puts a connection in some state.
func (g *gen) peering(p *vpc.Peering) {
	p.Status = pick(g.r, []vpc.PeeringStatus{vpc.PeeringActive, vpc.PeeringActive, vpc.PeeringActive, vpc.PeeringPending, vpc.PeeringDeleted})
	g.tx.Put(p)
}

// editPeerings gives some of the world's connections another state and touches nothing else.
func editPeerings(r *rand.Rand, world *state.Snapshot) *state.Tx {
	g := gen{r: r, tx: world.Begin()}
	for e := range world.All(vpc.KindPeering) {
		if r.IntN(2) == 0 {
			p := *e.(*vpc.Peering)
			g.peering(&p)
		}
	}
	return g.tx
}

// classic fills the flat network: its groups have inbound rules alone, of TCP,
// UDP and ICMP, and refer to groups of both accounts.
func (g *gen) classic() {
	for n := range 3 + g.r.IntN(5) {
		sg := vpc.GroupID(fmt.Sprintf("sg-classic-%d", n))
		g.groups[classic] = append(g.groups[classic], sg)
		g.tx.Put(&vpc.SecurityGroup{ID: sg, VPC: classic, Scope: pick(g.r, []vpc.Scope{scope, others}), Name: string(sg)})
	}
	for _, sg := range g.groups[classic] {
		for range g.r.IntN(12) {
			g.rule(classic, sg)
		}
	}
	for n := range 3 + g.r.IntN(8) {
		owner := pick(g.r, []vpc.Scope{scope, others})
		inst := vpc.InstanceID(fmt.Sprintf("i-classic-%d", n))
		g.tx.Put(&vpc.Instance{ID: inst, VPC: classic, Scope: owner, Host: g.place(), State: vpc.Running, Boot: 1})
		g.tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID(fmt.Sprintf("eni-classic-%d", n)), VPC: classic, Scope: owner, SourceCheck: true,
			Addrs: []netip.Addr{addr4(0, 10+n)}, Attachment: &vpc.Attachment{Instance: inst}, Groups: g.some(classic, owner),
		})
	}
}

// place is the host whose voice is heard, or another one.
func (g *gen) place() vpc.HostID {
	if g.r.IntN(4) == 0 {
		return "elsewhere"
	}
	return host
}

// some are one to five groups of a network that an owner has, or one of none
// that exists where it has none.
func (g *gen) some(id vpc.VPCID, owner vpc.Scope) []vpc.GroupID {
	groups := slices.DeleteFunc(slices.Clone(g.groups[id]), func(sg vpc.GroupID) bool { return g.tx.Group(sg).Scope != owner })
	if len(groups) == 0 {
		return []vpc.GroupID{"sg-none"}
	}
	g.r.Shuffle(len(groups), func(a, b int) { groups[a], groups[b] = groups[b], groups[a] })
	return groups[:1+g.r.IntN(min(5, len(groups)))]
}

func (g *gen) vpc(id vpc.VPCID, owner vpc.Scope, net int) {
	block4, _ := addr4(net, 0).Prefix(16)
	block6, _ := addr6(net, 0).Prefix(56)
	g.tx.Put(&vpc.VPC{ID: id, Scope: owner, Blocks: []vpc.Block{{Prefix: block4}}, IPv6Blocks: []vpc.Block{{Prefix: block6}}})
	sub4, _ := addr4(net, 0).Prefix(24)
	sub6, _ := addr6(net, 0).Prefix(64)
	g.tx.Put(&vpc.Subnet{ID: vpc.SubnetID("subnet-" + id), VPC: id, Scope: owner, Block: sub4, IPv6Blocks: []vpc.Block{{Prefix: sub6}}})
	for n := range 2 + g.r.IntN(6) {
		sg := vpc.GroupID(fmt.Sprintf("sg-%s-%d", id, n))
		g.groups[id] = append(g.groups[id], sg)
		g.tx.Put(&vpc.SecurityGroup{ID: sg, VPC: id, Scope: owner, Name: string(sg)})
	}
}

func (g *gen) eni(id vpc.VPCID, owner vpc.Scope, net, n int) {
	inst := vpc.InstanceID(fmt.Sprintf("i-%s-%d", id, n))
	g.tx.Put(&vpc.Instance{ID: inst, VPC: id, Scope: owner, Host: g.place(), State: vpc.Running, Boot: 1})
	i := &vpc.Interface{
		ID: vpc.InterfaceID(fmt.Sprintf("eni-%s-%d", id, n)), VPC: id, Subnet: vpc.SubnetID("subnet-" + id), Scope: owner,
		SourceCheck: g.r.IntN(5) > 0,
		Addrs:       []netip.Addr{addr4(net, 10+n)},
		Attachment:  &vpc.Attachment{ID: "eni-attach-1", Instance: inst},
	}
	if g.r.IntN(3) == 0 {
		i.Addrs = append(i.Addrs, addr4(net, 100+n))
	}
	if g.r.IntN(3) > 0 {
		i.IPv6Addrs = []netip.Addr{addr6(net, 10+n)}
	}
	i.Groups = g.some(id, owner)
	if other := pick(g.r, places); other.id != id && other.owner == owner && g.r.IntN(2) == 0 {
		guest := pick(g.r, g.groups[other.id])
		g.tx.Put(&vpc.Association{Group: guest, Scope: owner, VPC: id})
		i.Groups[0] = guest
	}
	g.tx.Put(i)
}

func addr4(net, n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(net), 1, byte(n)}) }

func addr6(net, n int) netip.Addr {
	a := netip.MustParseAddr("fd00:5a11:0:1::").As16()
	a[5], a[15] = byte(net), byte(n)
	return netip.AddrFrom16(a)
}

// ports are those that rules and packets choose from, so that they meet, edges included.
var ports = []uint16{0, 1, 22, 67, 68, 79, 80, 81, 443, 1023, 1024, 5432, 32767, 32768, 50000, 65534, 65535}

func (g *gen) rule(id vpc.VPCID, sg vpc.GroupID) {
	seq := g.tx.NextSeq()
	r := &vpc.Rule{
		ID: vpc.RuleID(fmt.Sprintf("sgr-%08x-%d", g.r.Uint32(), seq)), Group: sg, Scope: g.tx.Group(sg).Scope, Seq: seq,
		Direction: packet.Direction(g.r.IntN(2)), Service: g.service(),
	}
	if id == classic {
		r.Direction, r.Service = packet.Ingress, g.classicService()
	}
	switch n := g.r.IntN(9); {
	case n < 3:
		home := id
		if id != classic && g.r.IntN(2) == 0 {
			home = pick(g.r, places).id
		}
		source := g.tx.Group(pick(g.r, g.groups[home]))
		r.Source = vpc.Source{Group: source.ID, GroupAccount: source.Scope.Account}
	case n < 5 && id != classic:
		r.Source.PrefixList = listID(g.r.IntN(listsMax))
	default:
		r.Source.CIDR = g.prefix()
	}
	g.tx.Put(r)
}

// classicService is a service that a rule of EC2-Classic can be for.
func (g *gen) classicService() packet.Service {
	for {
		if s := g.service(); s.Proto == packet.TCP || s.Proto == packet.UDP || s.Proto == packet.ICMP {
			return s
		}
	}
}

func (g *gen) service() packet.Service {
	switch g.r.IntN(8) {
	case 0:
		return packet.Service{Proto: packet.AllProtos}
	case 1, 2:
		return packet.Service{Proto: packet.TCP, Ports: g.ports()}
	case 3, 4:
		return packet.Service{Proto: packet.UDP, Ports: g.ports()}
	case 5:
		return packet.Service{Proto: packet.ICMP, Type: g.icmp(8), Code: packet.Any}
	case 6:
		return packet.Service{Proto: packet.ICMPv6, Type: g.icmp(128), Code: packet.Any}
	}
	return packet.Service{Proto: pick(g.r, otherProtos)}
}

// otherProtos are protocols that match by number alone; zero and 255 are the
// edges, 0 also being the number of IPv6's hop-by-hop header.
var otherProtos = []packet.Proto{2, 4, 47, 50, 132, 253, 255}

func (g *gen) icmp(usual int16) int16 {
	return pick(g.r, []int16{packet.Any, usual, usual, 3, 0, 255})
}

func (g *gen) ports() packet.PortRange {
	switch g.r.IntN(4) {
	case 0:
		return packet.AllPorts
	case 1:
		p := pick(g.r, ports)
		return packet.PortRange{From: p, To: p}
	}
	a, b := pick(g.r, ports), pick(g.r, ports)
	return packet.PortRange{From: min(a, b), To: max(a, b)}
}

func (g *gen) prefix() netip.Prefix {
	switch g.r.IntN(8) {
	case 0, 1:
		return vpc.AllIPv4
	case 2, 3:
		return vpc.AllIPv6
	case 4:
		p, _ := addr6(g.net(), 10+g.r.IntN(20)).Prefix(pick(g.r, []int{1, 48, 64, 124, 126, 127, 128}))
		return p
	}
	p, _ := addr4(g.net(), 10+g.r.IntN(20)).Prefix(pick(g.r, []int{1, 8, 16, 24, 28, 30, 31, 32}))
	return p
}

// net is the number of some VPC's block.
func (g *gen) net() int { return pick(g.r, places).net }

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// packet4 or packet6: a random packet at an interface, most of the time one
// that some rule may be about.
func (g *gen) packet(i *vpc.Interface, d packet.Direction) (packet.Tuple, bool) {
	v6 := len(i.IPv6Addrs) > 0 && g.r.IntN(2) == 0
	local := pick(g.r, i.Addrs)
	if v6 {
		local = pick(g.r, i.IPv6Addrs)
	}
	if g.r.IntN(40) == 0 {
		local = g.remote(v6) // spoofed, perhaps
	}
	t := packet.Tuple{Src: local, Dst: g.remote(v6)}
	if d == packet.Ingress {
		t.Src, t.Dst = t.Dst, t.Src
	}
	midway := false
	switch g.r.IntN(8) {
	case 0, 1, 2:
		t.Proto, midway = packet.TCP, g.r.IntN(3) == 0
	case 3, 4:
		t.Proto = packet.UDP
	case 5, 6:
		t.Proto, t.Type = packet.ICMP, pick(g.r, []uint8{8, 8, 0, 13, 255})
		if v6 {
			t.Proto, t.Type = packet.ICMPv6, pick(g.r, []uint8{128, 128, 129, 144, 255})
		}
		if slices.Contains([]uint8{8, 0, 128, 129}, t.Type) {
			t.ID = uint16(g.r.Uint32()) // of an echo; others have none
		}
	default:
		t.Proto = pick(g.r, otherProtos)
	}
	if t.Proto.HasPorts() {
		t.SrcPort, t.DstPort = pick(g.r, ports), pick(g.r, ports)
	}
	return t, midway
}

func (g *gen) remote(v6 bool) netip.Addr {
	net, n := g.net(), 10+g.r.IntN(20)
	switch {
	case g.r.IntN(40) == 0 && v6:
		return pick(g.r, []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fe80::1"), addr6(net, 1)})
	case g.r.IntN(40) == 0 && !v6:
		return pick(g.r, []netip.Addr{addr4(net, 1), netip.AddrFrom4([4]byte{10, byte(net), 0, 1}), netip.AddrFrom4([4]byte{10, byte(net), 0, 2}), netip.MustParseAddr("169.254.169.254"), addr4(net, 2)})
	case g.r.IntN(12) == 0 && v6:
		return netip.MustParseAddr("2001:db8::7")
	case g.r.IntN(12) == 0:
		if v6 {
			return addr6(net, 200)
		}
		return netip.MustParseAddr("198.51.100.7")
	case v6:
		return addr6(net, n)
	case g.r.IntN(8) == 0:
		return addr4(net, 100+n-10)
	}
	return addr4(net, n)
}
