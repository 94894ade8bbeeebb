package state

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/vpc"
)

func TestAChangeSetForgetsWhatCameToNothing(t *testing.T) {
	var set ChangeSet
	for i := range 100_000 {
		e := group(fmt.Sprint(i), "vpc-2", "")
		set.Add([]Change{{Kind: e.Kind(), Key: e.Key(), After: e}})
		set.Add([]Change{{Kind: e.Kind(), Key: e.Key(), Before: e}})
		if len(set.order) > 2*orderSlack || len(set.byID) > 1 {
			t.Fatalf("%d ids, %d changes are kept of nothing", len(set.order), len(set.byID))
		}
	}
	if got := set.List(); len(got) != 0 {
		t.Errorf("%d changes", len(got))
	}
}

func TestDifferenceLeadsToTheWorldThatWasRead(t *testing.T) {
	old := Load(3, []vpc.Entity{group("sg-1", "vpc-1", "same"), group("sg-2", "vpc-1", "old"), group("sg-3", "vpc-1", "gone")})
	read := Load(9, []vpc.Entity{group("sg-1", "vpc-1", "same"), group("sg-2", "vpc-1", "new"), group("sg-4", "vpc-1", "made")})
	next, changes := Difference(old, read)
	if len(changes) != 3 || next.Revision() != 9 {
		t.Fatalf("%d changes to revision %d", len(changes), next.Revision())
	}
	if next.Group("sg-1") != old.Group("sg-1") {
		t.Error("an entity that is the same was replaced")
	}
	if next.Group("sg-2").Name != "new" || next.Group("sg-3") != nil || next.Group("sg-4") == nil {
		t.Error("the next world is not the one that was read")
	}
	if again, changes := Difference(next, Load(9, []vpc.Entity{next.Group("sg-1"), next.Group("sg-2"), next.Group("sg-4")})); again != next || len(changes) != 0 {
		t.Errorf("%d changes between equal worlds", len(changes))
	}
	for kind, table := range next.tables {
		if err := table.check(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestLoadEqualsPuts(t *testing.T) {
	var all []vpc.Entity
	tx := NewSnapshot().Begin()
	for i := range 300 {
		g, e := group(fmt.Sprint("sg-", i), "vpc-1", fmt.Sprint("n", i)), eni(fmt.Sprint("eni-", i%200), vpc.GroupID(fmt.Sprint("sg-", i)))
		tx.Put(g)
		all = append(all, g)
		if i < 200 {
			tx.Put(e)
			all = append(all, e)
		}
	}
	put, loaded := tx.Next(5), Load(5, all)
	if next, changes := Difference(put, loaded); next != put {
		t.Errorf("%d changes between what was put and what was loaded", len(changes))
	}
	for kind, table := range loaded.tables {
		if err := table.check(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if loaded.GroupNamed("vpc-1", "N7") == nil {
		t.Error("no group by its name")
	}
}
