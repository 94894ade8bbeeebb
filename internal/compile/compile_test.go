package compile

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

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
	seen := 0 // worlds in which something was enforced and referred to
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
		checkReferences(t, h)
		if len(h.Interfaces) > 0 && len(h.Members) > 0 {
			seen++
		}
	}
	if seen < *steps/20 {
		t.Errorf("only %d of %d worlds had interfaces and members: they prove nothing", seen, *steps)
	}
}

func withVPCs() *state.Snapshot {
	tx := state.NewSnapshot().Begin()
	for _, id := range []vpc.VPCID{"vpc-0", "vpc-1"} {
		tx.Put(&vpc.VPC{ID: id, Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}})
	}
	return tx.Next(0)
}

// checkReferences fails if h names a policy or network that it does not hold, or holds one that nobody names.
func checkReferences(t *testing.T, h *program.Host) {
	t.Helper()
	used := map[program.PolicyHash]bool{}
	for _, i := range h.Interfaces {
		for _, hash := range []program.PolicyHash{i.Ingress, i.Egress} {
			used[hash] = true
			if h.Policies[hash] == nil {
				t.Fatalf("%s refers to policy %s, which is not there", i.ID, hash)
			}
		}
		if h.Networks[i.Network] == nil {
			t.Fatalf("%s is in network %s, which is not there", i.ID, i.Network)
		}
	}
	for hash := range h.Policies {
		if !used[hash] {
			t.Fatalf("policy %s is used by nobody", hash)
		}
	}
}

func pick[T any](r *rand.Rand, format string, n int) T {
	return any(fmt.Sprintf(format, r.IntN(n))).(T)
}

// mutate makes one random change; ids come from small sets, so that things meet.
func mutate(r *rand.Rand, tx *state.Tx) {
	vpcID := vpc.VPCID(pick[string](r, "vpc-%d", 2))
	groupID := vpc.GroupID(string(vpcID) + pick[string](r, "/sg-%d", 4))
	instance := vpc.InstanceID(string(vpcID) + pick[string](r, "/i-%d", 4))
	n := r.IntN(8)
	eni := vpc.InterfaceID(fmt.Sprintf("%s/eni-%d", vpcID, n))
	switch r.IntN(7) {
	case 0:
		tx.Put(&vpc.VPC{ID: vpcID, Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", r.IntN(2)))}}})
	case 1:
		tx.Put(&vpc.Subnet{ID: vpc.SubnetID(vpcID) + "/subnet", VPC: vpcID, Block: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", r.IntN(2)))})
	case 2, 3:
		rule := &vpc.Rule{
			ID: vpc.RuleID(string(groupID) + pick[string](r, "/sgr-%d", 5)), Group: groupID, Direction: packet.Direction(r.IntN(2)),
			Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: 80, To: 80}},
		}
		if r.IntN(2) == 0 {
			rule.Source.Group = vpc.GroupID(string(vpcID) + pick[string](r, "/sg-%d", 4))
		} else {
			rule.Source.CIDR = netip.MustParsePrefix("10.0.0.0/8")
		}
		tx.Put(rule)
	case 4:
		tx.Delete(&vpc.Rule{ID: vpc.RuleID(string(groupID) + pick[string](r, "/sgr-%d", 5))})
	case 5:
		states := []vpc.InstanceState{vpc.Pending, vpc.Running, vpc.Stopping, vpc.Stopped, vpc.ShuttingDown, vpc.Terminated}
		tx.Put(&vpc.Instance{ID: instance, VPC: vpcID, Host: vpc.HostID(pick[string](r, "h%d", 3)), State: states[r.IntN(6)], Boot: int64(r.IntN(3))})
	case 6:
		if old := tx.Interface(eni); old != nil && r.IntN(3) == 0 {
			tx.Delete(old)
			return
		}
		i := &vpc.Interface{
			ID: eni, VPC: vpcID, Subnet: vpc.SubnetID(vpcID) + "/subnet", Groups: []vpc.GroupID{groupID},
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})},
		}
		if r.IntN(2) == 0 {
			i.Groups = append(i.Groups, groupID+"x")
			i.Addrs = append(i.Addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + n)}))
		}
		if r.IntN(4) > 0 {
			i.Attachment = &vpc.Attachment{Instance: instance, DeviceIndex: n}
		}
		tx.Put(i)
	}
}
