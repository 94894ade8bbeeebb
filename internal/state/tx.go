package state

import (
	"maps"

	"sallyport.dev/sallyport/internal/vpc"
)

// Change is one entity that a transaction wrote: nil Before, it is new; nil
// After, it is gone.
type Change struct {
	Kind   vpc.Kind
	Key    string
	Before vpc.Entity
	After  vpc.Entity
}

// Tx proposes the next world. It is read like a Snapshot, and shows what it
// wrote itself. It belongs to one goroutine. Nothing it does is seen by others
// until package store has committed it.
type Tx struct {
	*Snapshot // the tentative world; replaced at each write
	base      *Snapshot
	order     []changeID
	changed   map[changeID]struct{}
	journal   [][]byte
	seq       uint64
}

type changeID struct {
	kind vpc.Kind
	key  string
}

// Begin opens a transaction on s.
func (s *Snapshot) Begin() *Tx {
	return &Tx{Snapshot: s, base: s, changed: map[changeID]struct{}{}}
}

// Put adds e or replaces the entity with its key. The caller does not touch e afterwards.
func (tx *Tx) Put(e vpc.Entity) {
	tx.write(e.Kind(), e.Key(), tx.tables[e.Kind()].put(e))
}

// Delete removes the entity, if it is there.
func (tx *Tx) Delete(e vpc.Entity) {
	if tx.Get(e.Kind(), e.Key()) != nil {
		tx.write(e.Kind(), e.Key(), tx.tables[e.Kind()].del(e.Key()))
	}
}

func (tx *Tx) write(kind vpc.Kind, key string, t anyTable) {
	tables := maps.Clone(tx.tables)
	tables[kind] = t
	tx.Snapshot = &Snapshot{revision: tx.revision, tables: tables}
	id := changeID{kind, key}
	if _, ok := tx.changed[id]; !ok {
		tx.changed[id] = struct{}{}
		tx.order = append(tx.order, id)
	}
}

// Before is the world that the transaction began on.
func (tx *Tx) Before() *Snapshot { return tx.base }

// NextSeq is a number greater than any that was handed out in earlier
// revisions of this world or earlier in this transaction: it orders what is
// made. Revisions take the upper bits, so numbers grow with them.
func (tx *Tx) NextSeq() uint64 {
	const perRevision = 1 << 20 // more than any one transaction makes: see ec2's limits
	tx.seq++
	return (uint64(tx.revision)+1)*perRevision + tx.seq
}

// Journal adds a record that is committed together with the changes: the event
// that tells of them.
func (tx *Tx) Journal(record []byte) { tx.journal = append(tx.journal, record) }

// Records are what Journal was given.
func (tx *Tx) Records() [][]byte { return tx.journal }

// Changes lists what the transaction changed, in the order of first writes,
// each entity once; what ends as it began is left out.
func (tx *Tx) Changes() []Change {
	var out []Change
	for _, id := range tx.order {
		before, after := tx.base.Get(id.kind, id.key), tx.Get(id.kind, id.key)
		if before != after {
			out = append(out, Change{id.kind, id.key, before, after})
		}
	}
	return out
}

// Next is the world that the transaction proposes, at the given revision.
func (tx *Tx) Next(rev Revision) *Snapshot {
	next := &Snapshot{revision: rev, tables: tx.tables}
	checkInvariants(tx.base, next)
	return next
}

// Apply is the world after changes that were committed elsewhere.
func (s *Snapshot) Apply(rev Revision, changes []Change) *Snapshot {
	tx := s.Begin()
	for _, c := range changes {
		if c.After != nil {
			tx.Put(c.After)
		} else if old := tx.Get(c.Kind, c.Key); old != nil {
			tx.Delete(old)
		}
	}
	return tx.Next(rev)
}
