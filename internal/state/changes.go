package state

import (
	"reflect"
	"slices"
)

// orderSlack is how many dropped entities a ChangeSet may still list, that it
// need not be tidied at each change.
const orderSlack = 1024

// ChangeSet merges changes that follow one another: each entity once, from its
// first before to its last after. What ends as it began is dropped, so a set is
// never larger than the two worlds it lies between.
type ChangeSet struct {
	order []changeID // of first changes; some may be dropped, or listed again
	byID  map[changeID]Change
}

// Add lets changes follow those of the set.
func (s *ChangeSet) Add(changes []Change) {
	if s.byID == nil {
		s.byID = make(map[changeID]Change, len(changes))
	}
	for _, c := range changes {
		id := changeID{c.Kind, c.Key}
		if earlier, ok := s.byID[id]; ok {
			c.Before = earlier.Before
		} else {
			s.order = append(s.order, id)
		}
		if c.Before == c.After {
			delete(s.byID, id)
		} else {
			s.byID[id] = c
		}
	}
	if len(s.order) > 2*len(s.byID)+orderSlack {
		s.tidy()
	}
}

// tidy makes order list each entity of the set once.
func (s *ChangeSet) tidy() {
	seen := make(map[changeID]struct{}, len(s.byID))
	s.order = slices.DeleteFunc(s.order, func(id changeID) bool {
		_, listed := seen[id]
		_, held := s.byID[id]
		seen[id] = struct{}{}
		return listed || !held
	})
}

// List is the changes in the order in which entities were first changed.
func (s *ChangeSet) List() []Change {
	if len(s.order) != len(s.byID) {
		s.tidy()
	}
	out := make([]Change, 0, len(s.order))
	for _, id := range s.order {
		out = append(out, s.byID[id])
	}
	return out
}

// Difference finds what leads from old to read, a world that was decoded anew,
// and makes that world of old's entities where they are the same.
func Difference(old, read *Snapshot) (*Snapshot, []Change) {
	var changes []Change
	for kind := range Kinds() {
		for e := range old.All(kind) {
			if read.Get(kind, e.Key()) == nil {
				changes = append(changes, Change{Kind: kind, Key: e.Key(), Before: e})
			}
		}
		for e := range read.All(kind) {
			if before := old.Get(kind, e.Key()); !reflect.DeepEqual(before, e) {
				changes = append(changes, Change{Kind: kind, Key: e.Key(), Before: before, After: e})
			}
		}
	}
	if len(changes) == 0 && old.Revision() == read.Revision() {
		return old, nil
	}
	return old.Apply(read.Revision(), changes), changes
}
