package compile

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the random worlds; 0 takes one at random")
	steps = flag.Int("steps", 3000, "random changes")
)

// compareHosts shows the difference between two hosts; addresses and prefixes compare by value.
func compareHosts(a, b *program.Host) string {
	return cmp.Diff(a, b, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }),
		cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }))
}

// The output depends on the world alone: after any changes, in any grouping,
// the deltas lead to what a fresh compilation gives.
func TestDeltasLeadToTheFullCompilation(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	r := rand.New(rand.NewPCG(s, 1))
	world := withVPCs()
	c, h := New("h1"), program.NewHost()
	var pending []state.Change
	seen, across := 0, 0 // worlds in which something was enforced and referred to; and that across a connection
	for step := range *steps {
		tx := world.Begin()
		for range 1 + r.IntN(3) {
			mutate(r, tx)
		}
		pending = append(pending, tx.Changes()...)
		world = tx.Next(state.Revision(step + 1))
		if r.IntN(3) == 0 {
			continue // squash with the next ones
		}
		d := c.Update(world, pending)
		h.Apply(d)
		pending = nil
		if diff := compareHosts(Host(world, "h1"), h); diff != "" {
			t.Fatalf("step %d (-full +deltas):\n%s", step, diff)
		}
		checkReferences(t, world, h)
		if len(h.Interfaces) > 0 && len(h.Members) > 0 {
			seen++
		}
		if len(h.Connections) > 0 && membersAcross(world, h) {
			across++
		}
	}
	if seen < *steps/20 || across < *steps/100 {
		t.Errorf("of %d worlds only %d had interfaces and members, and only %d members across a connection: they prove nothing", *steps, seen, across)
	}
}

// membersAcross says whether h knows an address that another network has.
func membersAcross(s *state.Snapshot, h *program.Host) bool {
	for m := range h.Members {
		if s.InterfaceAt(vpc.VPCID(m.Network), m.Addr) == nil {
			return true
		}
	}
	return false
}

// vpcs is how many VPCs the worlds have.
const vpcs = 4

func withVPCs() *state.Snapshot {
	tx := state.NewSnapshot().Begin()
	for n := range vpcs {
		tx.Put(&vpc.VPC{ID: vpc.VPCID(fmt.Sprintf("vpc-%d", n)), Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}})
	}
	return tx.Next(0)
}

// An instance in EC2-Classic is in the flat network of its region with whoever else is there, of whatever account, and
// may send everything although its groups say nothing of that.
func TestClassic(t *testing.T) {
	tx := state.NewSnapshot().Begin()
	network := vpc.ClassicNetwork("us-east-1")
	for n, account := range []vpc.AccountID{"000000000001", "000000000002"} {
		scope := vpc.Scope{Account: account, Region: "us-east-1"}
		id := fmt.Sprint(n)
		tx.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + id), Scope: scope, VPC: network, Host: "h1", State: vpc.Running, Boot: 1})
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID("eni-" + id), Scope: scope, VPC: network, Groups: []vpc.GroupID{vpc.GroupID("sg-" + id)},
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(4 + n)})}, Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + id)},
		})
	}
	tx.Put(&vpc.Rule{ID: "sgr-1", Group: "sg-0", Service: packet.Service{Proto: packet.ICMP, Type: packet.Any, Code: packet.Any}, Source: vpc.Source{Group: "sg-1"}})
	h := Host(tx.Next(1), "h1")
	i := h.Interfaces["eni-0"]
	if i.Network != h.Interfaces["eni-1"].Network {
		t.Errorf("the accounts are in networks %s and %s", i.Network, h.Interfaces["eni-1"].Network)
	}
	all := []program.Rule{{ID: "ec2-classic-outbound", Service: packet.Service{Proto: packet.AllProtos}, Prefixes: []netip.Prefix{vpc.AllIPv4}}}
	if d := cmp.Diff(all, h.Policies[i.Egress].Rules, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); d != "" {
		t.Errorf("outbound policy (-want +got):\n%s", d)
	}
	if in := h.Policies[h.Interfaces["eni-1"].Ingress]; len(in.Rules) != 0 {
		t.Errorf("without a rule inbound policy is %v", in.Rules)
	}
	if got := h.Members[program.Member{Network: i.Network, Addr: netip.MustParseAddr("10.0.0.5")}]; !got.Has("sg-1") {
		t.Errorf("10.0.0.5 carries %v", got)
	}
	if got := h.Instances["i-0"].NICs[0].Gateway; got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("the router is %s", got)
	}
	if got := h.Networks[i.Network]; got == nil || len(got.CIDRs) != 1 || got.CIDRs[0] != vpc.ClassicBlock {
		t.Errorf("the network is %+v", got)
	}
}

// checkReferences fails if h names a policy or network that it does not hold, or holds one that nobody names, or if
// a connection is not about the networks as they are.
func checkReferences(t *testing.T, s *state.Snapshot, h *program.Host) {
	t.Helper()
	used := map[program.PolicyHash]bool{}
	for _, i := range h.Interfaces {
		for _, hash := range []program.PolicyHash{i.Ingress, i.Egress} {
			used[hash] = true
			if h.Policies[hash] == nil {
				t.Fatalf("%s refers to policy %s, which is not there", i.ID, hash)
			}
		}
		if h.Networks[i.Network] == nil && s.VPC(vpc.VPCID(i.Network)) != nil {
			t.Fatalf("%s is in network %s, which is not there", i.ID, i.Network)
		}
	}
	for hash := range h.Policies {
		if !used[hash] {
			t.Fatalf("policy %s is used by nobody", hash)
		}
	}
	for id, c := range h.Connections {
		a, b := h.Networks[c.Ends[0].ID], h.Networks[c.Ends[1].ID]
		if a == nil || b == nil || compareNetworks(a, &c.Ends[0]) != "" || compareNetworks(b, &c.Ends[1]) != "" || a.ID >= b.ID {
			t.Fatalf("connection %s is between %+v, networks are %+v, %+v", id, c.Ends, a, b)
		}
		for _, p := range a.CIDRs {
			if slices.ContainsFunc(b.CIDRs, p.Overlaps) {
				t.Fatalf("connection %s is between overlapping networks %+v", id, c.Ends)
			}
		}
	}
	for m, groups := range h.Members {
		if len(groups) == 0 || h.Networks[m.Network] == nil && s.VPC(vpc.VPCID(m.Network)) != nil {
			t.Fatalf("member %v of groups %v is in no network here", m, groups)
		}
	}
}

func compareNetworks(a, b *program.Network) string {
	return cmp.Diff(a, b, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }))
}

func prefixList(id vpc.PrefixListID, blocks string) *vpc.PrefixList {
	l := &vpc.PrefixList{ID: id}
	for b := range strings.FieldsSeq(blocks) {
		l.Entries = append(l.Entries, vpc.PrefixListEntry{Prefix: netip.MustParsePrefix(b)})
	}
	return l
}

// A change of a prefix list touches the interfaces whose rules name it, and no others.
func TestPrefixListTouchesWhoNamesIt(t *testing.T) {
	tx := withVPCs().Begin()
	tx.Put(prefixList("pl-1", "10.1.0.0/16 10.0.0.0/24"))
	for n, group := range []vpc.GroupID{"sg-names", "sg-names", "sg-does-not"} {
		inst := vpc.InstanceID(fmt.Sprintf("i-%d", n))
		tx.Put(&vpc.Instance{ID: inst, VPC: "vpc-0", Host: "h1", State: vpc.Running})
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID(fmt.Sprintf("eni-%d", n)), VPC: "vpc-0", Groups: []vpc.GroupID{group},
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})}, Attachment: &vpc.Attachment{Instance: inst},
		})
	}
	service := packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: 80, To: 80}}
	tx.Put(&vpc.Rule{ID: "sgr-1", Group: "sg-names", Service: service, Source: vpc.Source{PrefixList: "pl-1"}})
	tx.Put(&vpc.Rule{ID: "sgr-2", Group: "sg-does-not", Service: service, Source: vpc.Source{CIDR: vpc.AllIPv4}})
	c, h := New("h1"), program.NewHost()
	world := tx.Next(1)
	h.Apply(c.Update(world, nil))
	for _, step := range []struct {
		blocks string
		want   []program.InterfaceID // touched
		holds  []string              // what the rule then admits
	}{
		{"10.1.0.0/16", []program.InterfaceID{"eni-0", "eni-1"}, []string{"10.1.0.0/16"}},
		{"10.1.0.0/16", nil, []string{"10.1.0.0/16"}}, // another name, say
		{"", []program.InterfaceID{"eni-0", "eni-1"}, nil},
		{"fd00::/8 10.0.0.0/8", []program.InterfaceID{"eni-0", "eni-1"}, []string{"10.0.0.0/8", "fd00::/8"}},
	} {
		tx := world.Begin()
		tx.Put(prefixList("pl-1", step.blocks))
		world = tx.Next(world.Revision() + 1)
		d := c.Update(world, tx.Changes())
		h.Apply(d)
		if diff := cmp.Diff(step.want, slices.Sorted(maps.Keys(d.Interfaces))); diff != "" {
			t.Errorf("%q touched (-want +got):\n%s", step.blocks, diff)
		}
		var holds []string
		for _, p := range h.Policies[h.Interfaces["eni-0"].Ingress].Rules[0].Prefixes {
			holds = append(holds, p.String())
		}
		if diff := cmp.Diff(step.holds, holds); diff != "" {
			t.Errorf("%q (-want +got):\n%s", step.blocks, diff)
		}
	}
}

func pick[T any](r *rand.Rand, format string, n int) T {
	return any(fmt.Sprintf(format, r.IntN(n))).(T)
}

// mutate makes one random change; ids come from small sets, so that things meet.
func mutate(r *rand.Rand, tx *state.Tx) {
	vpcID := vpc.VPCID(pick[string](r, "vpc-%d", vpcs))
	what := r.IntN(10)
	if r.IntN(5) == 0 {
		vpcID = vpc.ClassicNetwork("us-east-1")
		what = max(what, 2) // it is no VPC and has no subnets
	}
	groupID := vpc.GroupID(string(vpcID) + pick[string](r, "/sg-%d", 4))
	list := vpc.PrefixListID(pick[string](r, "pl-%d", 3))
	switch what {
	case 0:
		mutateVPC(r, tx, vpcID)
	case 1:
		tx.Put(&vpc.Subnet{ID: vpc.SubnetID(vpcID) + "/subnet", VPC: vpcID, Block: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", r.IntN(2)))})
	case 2, 3:
		mutateRule(r, tx, groupID, list)
	case 4:
		tx.Delete(&vpc.Rule{ID: vpc.RuleID(string(groupID) + pick[string](r, "/sgr-%d", 5))})
	case 5:
		states := []vpc.InstanceState{vpc.Pending, vpc.Running, vpc.Running, vpc.Stopping, vpc.Stopped, vpc.ShuttingDown, vpc.Terminated}
		tx.Put(&vpc.Instance{
			ID: vpc.InstanceID(string(vpcID) + pick[string](r, "/i-%d", 4)), VPC: vpcID, Host: vpc.HostID(pick[string](r, "h%d", 3)),
			State: states[r.IntN(len(states))], Boot: int64(r.IntN(3)),
		})
	case 6:
		if r.IntN(4) == 0 {
			tx.Delete(&vpc.PrefixList{ID: list})
			return
		}
		tx.Put(prefixList(list, []string{"", "10.0.0.0/24", "10.1.0.0/16 10.0.0.0/24", "fd00::/8 ::/0"}[r.IntN(4)]))
	case 7:
		mutatePeering(r, tx)
	default:
		mutateInterface(r, tx, vpcID, groupID)
	}
}

// TestAnInterfaceHoldsWhatTheAPIAccepts binds the two bounds, which stand in rooms that may not see each other.
func TestAnInterfaceHoldsWhatTheAPIAccepts(t *testing.T) {
	if vpc.RulesPerDirectionMax != program.RulesMax {
		t.Errorf("the API accepts %d rules in a direction, a program holds %d", vpc.RulesPerDirectionMax, program.RulesMax)
	}
}

// mutateVPC gives a VPC blocks, mostly its own; or lets it go, with everything that names it still there.
func mutateVPC(r *rand.Rand, tx *state.Tx, id vpc.VPCID) {
	if r.IntN(8) == 0 {
		tx.Delete(&vpc.VPC{ID: id})
		return
	}
	v := &vpc.VPC{ID: id}
	n := int(id[len(id)-1] - '0')
	if r.IntN(4) == 0 {
		n = r.IntN(vpcs)
	}
	v.Blocks = []vpc.Block{{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", n))}}
	if r.IntN(3) > 0 {
		v.IPv6Blocks = []vpc.Block{{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/56", n))}}
	}
	tx.Put(v)
}

func mutateRule(r *rand.Rand, tx *state.Tx, group vpc.GroupID, list vpc.PrefixListID) {
	rule := &vpc.Rule{
		ID: vpc.RuleID(string(group) + pick[string](r, "/sgr-%d", 5)), Group: group, Direction: packet.Direction(r.IntN(2)),
		Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: 80, To: 80}},
	}
	switch r.IntN(4) {
	case 0, 1:
		rule.Source.Group = vpc.GroupID(pick[string](r, "vpc-%d", vpcs) + pick[string](r, "/sg-%d", 4))
	case 2:
		rule.Source.PrefixList = list
	default:
		rule.Source.CIDR = netip.MustParsePrefix("10.0.0.0/8")
	}
	tx.Put(rule)
}

// mutatePeering lets a connection come, be in another state, or go. There may be several between two VPCs, as
// nothing forbids it here.
func mutatePeering(r *rand.Rand, tx *state.Tx) {
	id := vpc.PeeringID(pick[string](r, "pcx-%d", 6))
	if r.IntN(5) == 0 {
		tx.Delete(&vpc.Peering{ID: id})
		return
	}
	states := []vpc.PeeringStatus{vpc.PeeringActive, vpc.PeeringActive, vpc.PeeringActive, vpc.PeeringPending, vpc.PeeringDeleted}
	tx.Put(&vpc.Peering{
		ID: id, Status: states[r.IntN(len(states))], Created: time.Unix(int64(r.IntN(3)), 0),
		Requester: vpc.PeeringEnd{VPC: vpc.VPCID(pick[string](r, "vpc-%d", vpcs))},
		Accepter:  vpc.PeeringEnd{VPC: vpc.VPCID(pick[string](r, "vpc-%d", vpcs))},
	})
}

// mutateInterface puts an interface into a VPC with addresses of its first block, mostly; it may carry groups of
// another VPC, which is what an association lets it do.
func mutateInterface(r *rand.Rand, tx *state.Tx, in vpc.VPCID, group vpc.GroupID) {
	n := r.IntN(8)
	id := vpc.InterfaceID(fmt.Sprintf("%s/eni-%d", in, n))
	if old := tx.Interface(id); old != nil && r.IntN(3) == 0 {
		tx.Delete(old)
		return
	}
	if r.IntN(3) == 0 {
		group = vpc.GroupID(pick[string](r, "vpc-%d", vpcs) + pick[string](r, "/sg-%d", 4))
	}
	net := in[len(in)-1] - '0' // of us-east-1 too
	i := &vpc.Interface{
		ID: id, VPC: in, Subnet: vpc.SubnetID(in) + "/subnet", Groups: []vpc.GroupID{group},
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, net, 0, byte(10 + n)})},
	}
	if r.IntN(2) == 0 {
		i.Groups = append(i.Groups, vpc.GroupID(pick[string](r, "vpc-%d", vpcs)+pick[string](r, "/sg-%d", 4)))
		i.Addrs = append(i.Addrs, netip.AddrFrom4([4]byte{10, byte(r.IntN(vpcs)), 1, byte(10 + n)}))
	}
	if r.IntN(2) == 0 {
		i.IPv6Addrs = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("fd00:%d::%d", net, 10+n))}
	}
	if r.IntN(4) > 0 {
		i.Attachment = &vpc.Attachment{Instance: vpc.InstanceID(string(in) + pick[string](r, "/i-%d", 4)), DeviceIndex: n}
	}
	tx.Put(i)
}
