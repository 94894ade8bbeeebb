package state

import (
	"net/netip"
	"slices"
	"testing"

	"sallyport.dev/sallyport/internal/vpc"
)

func group(id, vpcID, name string) *vpc.SecurityGroup {
	return &vpc.SecurityGroup{ID: vpc.GroupID(id), VPC: vpc.VPCID(vpcID), Name: name, Scope: vpc.Scope{Region: "r", Account: "1"}}
}

func eni(id string, groups ...vpc.GroupID) *vpc.Interface {
	return &vpc.Interface{
		ID: vpc.InterfaceID(id), VPC: "vpc-1", Groups: groups,
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0." + id[4:])},
	}
}

func TestIndexesFollowEntities(t *testing.T) {
	tx := NewSnapshot().Begin()
	tx.Put(group("sg-1", "vpc-1", "Web"))
	tx.Put(eni("eni-7", "sg-1", "sg-2"))
	s1 := tx.Next(1)

	tx = s1.Begin()
	tx.Put(eni("eni-7", "sg-2"))
	tx.Put(group("sg-1", "vpc-1", "db"))
	s2 := tx.Next(2)

	if g := s1.GroupNamed("vpc-1", "wEB"); g == nil || g.ID != "sg-1" {
		t.Errorf("old world: group named web is %v", g)
	}
	if g := s2.GroupNamed("vpc-1", "web"); g != nil {
		t.Errorf("new world still names %v web", g.ID)
	}
	if got := len(slices.Collect(s1.InterfacesWith("sg-1"))); got != 1 {
		t.Errorf("old world: %d interfaces with sg-1, want 1", got)
	}
	if got := len(slices.Collect(s2.InterfacesWith("sg-1"))); got != 0 {
		t.Errorf("new world: %d interfaces with sg-1, want 0", got)
	}
	if i := s2.InterfaceAt("vpc-1", netip.MustParseAddr("10.0.0.7")); i == nil || i.ID != "eni-7" {
		t.Errorf("interface at 10.0.0.7 is %v", i)
	}
	for _, s := range []*Snapshot{s1, s2} {
		for kind, table := range s.tables {
			if err := table.check(); err != nil {
				t.Errorf("world %d, %s: %v", s.revision, kind, err)
			}
		}
	}
}

func TestChangesLeaveOutWhatEndsAsItBegan(t *testing.T) {
	tx := NewSnapshot().Begin()
	tx.Put(group("sg-1", "vpc-1", "a"))
	base := tx.Next(1)

	tx = base.Begin()
	tx.Put(group("sg-2", "vpc-1", "b"))
	tx.Delete(tx.Group("sg-2"))
	tx.Delete(tx.Group("sg-1"))
	changes := tx.Changes()
	if len(changes) != 1 || changes[0].Key != "sg-1" || changes[0].After != nil || changes[0].Before == nil {
		t.Errorf("changes = %+v, want the deletion of sg-1 alone", changes)
	}
	if got := base.Apply(2, changes); got.Group("sg-1") != nil || base.Group("sg-1") == nil {
		t.Error("Apply must delete sg-1 in the new world and leave the old one alone")
	}
}

func TestNextSeqGrowsWithRevisions(t *testing.T) {
	a := NewSnapshot().Begin()
	x, y := a.NextSeq(), a.NextSeq()
	b := a.Next(1).Begin()
	if z := b.NextSeq(); x >= y || y >= z {
		t.Errorf("sequence %d, %d, %d does not grow", x, y, z)
	}
}

func TestCheckFindsWhatWasChangedInPlace(t *testing.T) {
	tx := NewSnapshot().Begin()
	g := group("sg-1", "vpc-1", "a")
	tx.Put(g)
	g.Name = "b"
	if tx.tables[vpc.KindGroup].check() == nil {
		t.Error("an entity was renamed in place and the check saw nothing")
	}
}
