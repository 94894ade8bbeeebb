package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// street is three VPCs with an instance each: of vpc-1 and vpc-2 on host h1, of vpc-3 on another one. Inbound rules of
// sg-1, in vpc-1, reference sg-2 and sg-3 of the others.
func street() *state.Snapshot {
	tx := state.NewSnapshot().Begin()
	for n, host := range []vpc.HostID{1: "h1", 2: "h1", 3: "h2"} {
		if n == 0 {
			continue
		}
		id := vpc.VPCID(fmt.Sprintf("vpc-%d", n))
		tx.Put(&vpc.VPC{
			ID: id, Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", n))}},
			IPv6Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/56", n))}},
		})
		inst := vpc.InstanceID(fmt.Sprintf("i-%d", n))
		tx.Put(&vpc.Instance{ID: inst, VPC: id, Host: host, State: vpc.Running})
		tx.Put(&vpc.Interface{
			ID: vpc.InterfaceID(fmt.Sprintf("eni-%d", n)), VPC: id, Groups: []vpc.GroupID{vpc.GroupID(fmt.Sprintf("sg-%d", n))},
			Addrs:      []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.%d.0.10", n)), netip.MustParseAddr(fmt.Sprintf("10.%d.0.11", n))},
			IPv6Addrs:  []netip.Addr{netip.MustParseAddr(fmt.Sprintf("fd00:%d::10", n))},
			Attachment: &vpc.Attachment{Instance: inst},
		})
	}
	for _, g := range []vpc.GroupID{"sg-2", "sg-3"} {
		tx.Put(&vpc.Rule{
			ID: "sgr-" + vpc.RuleID(g), Group: "sg-1", Direction: packet.Ingress, Service: packet.Service{Proto: packet.AllProtos},
			Source: vpc.Source{Group: g},
		})
	}
	return tx.Next(1)
}

func between(id vpc.PeeringID, a, b vpc.VPCID, status vpc.PeeringStatus) *vpc.Peering {
	return &vpc.Peering{ID: id, Requester: vpc.PeeringEnd{VPC: a}, Accepter: vpc.PeeringEnd{VPC: b}, Status: status}
}

// told is what a delta says, as text; members without groups go.
func told(d *program.Delta) []string {
	var out []string
	for m, groups := range d.Members {
		out = append(out, fmt.Sprintf("%s in %s: %s", m.Addr, m.Network, groups.Key()))
	}
	for id, c := range d.Connections {
		if c == nil {
			out = append(out, string(id)+" goes")
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s %v, %s %v", id, c.Ends[0].ID, c.Ends[0].CIDRs, c.Ends[1].ID, c.Ends[1].CIDRs))
	}
	for _, id := range slices.Collect(maps.Keys(d.Interfaces)) {
		out = append(out, "program of "+string(id))
	}
	for id := range d.Networks {
		out = append(out, "network "+string(id))
	}
	if n := len(d.Policies) + len(d.Instances); n > 0 {
		out = append(out, fmt.Sprintf("%d policies and instances", n))
	}
	slices.Sort(out)
	return out
}

// G41 G104: a connection brings the members of referenced groups in both families, and a way where both VPCs are
// here; its end takes them away. Nothing else is touched.
func TestConnectionTouchesMembersAndWays(t *testing.T) {
	world := street()
	c, h := New("h1"), program.NewHost()
	h.Apply(c.Update(world, nil))
	members := func(n int, groups string) []string {
		return []string{
			fmt.Sprintf("10.%d.0.10 in vpc-1: %s", n, groups), fmt.Sprintf("10.%d.0.11 in vpc-1: %s", n, groups),
			fmt.Sprintf("fd00:%d::10 in vpc-1: %s", n, groups),
		}
	}
	way := "pcx-12: vpc-1 [10.1.0.0/16 fd00:1::/56], vpc-2 [10.2.0.0/16 fd00:2::/56]"
	for _, step := range []struct {
		name string
		put  vpc.Entity
		want []string
	}{
		{"a request", between("pcx-12", "vpc-1", "vpc-2", vpc.PeeringPending), nil},
		{"a connection", between("pcx-12", "vpc-1", "vpc-2", vpc.PeeringActive), append(members(2, "sg-2"), way)},
		{"tags of it", between("pcx-12", "vpc-1", "vpc-2", vpc.PeeringActive), nil},
		{"a connection to a VPC on another host", between("pcx-13", "vpc-3", "vpc-1", vpc.PeeringActive), members(3, "sg-3")},
		{"a connection between the two others", between("pcx-23", "vpc-2", "vpc-3", vpc.PeeringActive), nil},
		{"the end of the first", between("pcx-12", "vpc-1", "vpc-2", vpc.PeeringDeleted), append(members(2, ""), "pcx-12 goes")},
		{"the end of the second", between("pcx-13", "vpc-3", "vpc-1", vpc.PeeringDeleted), members(3, "")},
		{"a new one", between("pcx-4", "vpc-2", "vpc-1", vpc.PeeringActive), append(members(2, "sg-2"), under("pcx-4", way))},
	} {
		tx := world.Begin()
		tx.Put(step.put)
		world = tx.Next(world.Revision() + 1)
		d := c.Update(world, tx.Changes())
		h.Apply(d)
		if diff := cmp.Diff(step.want, told(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if diff := compareHosts(Host(world, "h1"), h); diff != "" {
			t.Errorf("%s (-full +deltas):\n%s", step.name, diff)
		}
	}
}

// under is the text of a way under another id.
func under(id, way string) string { return id + way[len("pcx-12"):] }

// Of two peers with the same addresses the one that was connected first has them, whatever the order in which they
// are told; the other is not connected.
func TestEarlierConnectionHasTheAddresses(t *testing.T) {
	tx := street().Begin()
	twin := *tx.VPC("vpc-3")
	twin.Blocks = []vpc.Block{{Prefix: netip.MustParsePrefix("10.2.128.0/20")}}
	tx.Put(&twin)
	there := *tx.Instance("i-3")
	there.Host = "h1"
	tx.Put(&there)
	first, second := between("pcx-z", "vpc-1", "vpc-2", vpc.PeeringActive), between("pcx-a", "vpc-3", "vpc-1", vpc.PeeringActive)
	first.Created, second.Created = time.Unix(1, 0), time.Unix(2, 0)
	base := tx.Next(2)
	for _, order := range [][]*vpc.Peering{{first, second}, {second, first}} {
		world, c, h := base, New("h1"), program.NewHost()
		h.Apply(c.Update(world, nil))
		for _, p := range order {
			tx := world.Begin()
			tx.Put(p)
			world = tx.Next(world.Revision() + 1)
			h.Apply(c.Update(world, tx.Changes()))
		}
		if got := slices.Collect(maps.Keys(h.Connections)); !slices.Equal(got, []program.ConnectionID{"pcx-z"}) {
			t.Errorf("%s after %s: connections %v", order[1].ID, order[0].ID, got)
		}
		ended := *first
		ended.Status = vpc.PeeringDeleted
		tx := world.Begin()
		tx.Put(&ended)
		h.Apply(c.Update(tx.Next(world.Revision()+1), tx.Changes()))
		if got := slices.Collect(maps.Keys(h.Connections)); !slices.Equal(got, []program.ConnectionID{"pcx-a"}) {
			t.Errorf("when the first has ended: connections %v", got)
		}
	}
}

// A group that is associated with another VPC is what it is there: its rules are in force on the interfaces that
// carry it, and references of that VPC's rules to it match them there.
func TestAssociatedGroupIsReferencedWhereItIsCarried(t *testing.T) {
	tx := street().Begin()
	tx.Put(&vpc.Association{Group: "sg-2", VPC: "vpc-1"})
	guest := vpc.Interface{
		ID: "eni-guest", VPC: "vpc-1", Groups: []vpc.GroupID{"sg-2"}, Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.99")},
		Attachment: &vpc.Attachment{Instance: "i-1", DeviceIndex: 1},
	}
	tx.Put(&guest)
	h := Host(tx.Next(2), "h1")
	want := map[program.Member]program.Groups{{Network: "vpc-1", Addr: guest.Primary()}: {"sg-2"}}
	if diff := cmp.Diff(want, h.Members, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if a, b := h.Interfaces["eni-guest"], h.Interfaces["eni-2"]; a == nil || a.Ingress != b.Ingress || a.Egress != b.Egress {
		t.Errorf("the guest's program is %+v, not with the policies of %+v", a, b)
	}
}
