package state

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"slices"

	"sallyport.dev/sallyport/internal/vpc"
)

// groupSetBytes of a hash name a set of groups: enough that nobody finds two sets of the same name.
const groupSetBytes = 16

// groupSet names the set of groups that an interface carries, in a short text without NUL whatever their number.
func groupSet(groups []vpc.GroupID) string {
	h := sha256.New()
	for _, g := range slices.Sorted(slices.Values(groups)) {
		_, _ = h.Write([]byte(g + sep)) // a hash takes all
	}
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)[:groupSetBytes])
}

// GroupSetsWith walks one interface for each set of groups that interfaces which carry the group carry: what is
// decided by an interface's groups alone need not be asked of each of the thousands that have the same.
func (s *Snapshot) GroupSetsWith(id vpc.GroupID) iter.Seq[*vpc.Interface] {
	t := tableOf[*vpc.Interface](s, vpc.KindInterface)
	return func(yield func(*vpc.Interface) bool) {
		it := t.counts[interfacesByGroup].Root().Iterator()
		it.SeekPrefix([]byte(key(string(id))))
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if !yield(first(walk(t.indexes[interfacesByGroup], string(k)))) {
				return
			}
		}
	}
}
