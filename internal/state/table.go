package state

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport.dev/sallyport/internal/vpc"
)

// sep ends each part of an index key, so that a part is never the prefix of
// another one's. Ids and names hold no NUL.
const sep = "\x00"

// anyTable is a table of entities of one kind, whatever the kind.
type anyTable interface {
	get(key string) vpc.Entity // nil if absent
	put(e vpc.Entity) anyTable
	del(key string) anyTable
	load(entities []vpc.Entity) anyTable
	all() iter.Seq[vpc.Entity]
	check() error
}

// indexer lists the keys under which an entity stands in an index; each key is
// made by key. None: the entity is not in the index.
type indexer[E vpc.Entity] func(e E) []string

// key joins the parts of an index key.
func key(parts ...string) string { return strings.Join(parts, sep) + sep }

// table holds the entities of one kind by key, and by each index. It is
// persistent: put and del make a new table that shares what did not change.
type table[E vpc.Entity] struct {
	indexers []indexer[E]
	order    func(e E) string // within an index key; default: the entity's key
	rows     *iradix.Tree[E]
	indexes  []*iradix.Tree[E]
	counts   []*iradix.Tree[int] // of each index: entities under a key, or nil: not counted
}

func newTable[E vpc.Entity](order func(e E) string, indexers ...indexer[E]) *table[E] {
	t := &table[E]{indexers: indexers, order: order, rows: iradix.New[E]()}
	for range indexers {
		t.indexes = append(t.indexes, iradix.New[E]())
	}
	t.counts = make([]*iradix.Tree[int], len(indexers))
	return t
}

// counting is t, empty, with indexes that know how many entities they hold under a key.
func (t *table[E]) counting(indexes ...int) *table[E] {
	for _, i := range indexes {
		t.counts[i] = iradix.New[int]()
	}
	return t
}

// count is how many entities an index that counts holds under the parts.
func (t *table[E]) count(index int, parts ...string) int {
	n, _ := t.counts[index].Get([]byte(key(parts...)))
	return n
}

// tally adds to the count of a key of an index, if that counts.
func (t *table[E]) tally(index int, k string, change int) {
	tree := t.counts[index]
	if tree == nil {
		return
	}
	n, _ := tree.Get([]byte(k))
	if n += change; n == 0 {
		t.counts[index], _, _ = tree.Delete([]byte(k))
	} else {
		t.counts[index], _, _ = tree.Insert([]byte(k), n)
	}
}

func (t *table[E]) indexKey(k string, e E) []byte {
	if t.order == nil {
		return []byte(k + e.Key())
	}
	return []byte(k + t.order(e))
}

func (t *table[E]) get(k string) vpc.Entity {
	if e, ok := t.rows.Get([]byte(k)); ok {
		return e
	}
	return nil
}

func (t *table[E]) put(entity vpc.Entity) anyTable {
	e := entity.(E)
	out := t.without(e.Key())
	out.rows, _, _ = out.rows.Insert([]byte(e.Key()), e)
	for i, keys := range t.indexers {
		for _, k := range keys(e) {
			out.indexes[i], _, _ = out.indexes[i].Insert(t.indexKey(k, e), e)
			out.tally(i, k, 1)
		}
	}
	return out
}

// load is the table of exactly the entities, made at one go: no row is copied
// for the sake of a reader of an earlier table.
func (t *table[E]) load(entities []vpc.Entity) anyTable {
	out := newTable(t.order, t.indexers...)
	rows := out.rows.Txn()
	indexes := make([]*iradix.Txn[E], len(out.indexes))
	for i, tree := range out.indexes {
		indexes[i] = tree.Txn()
		if t.counts[i] != nil {
			out.counting(i)
		}
	}
	for _, entity := range entities {
		e := entity.(E)
		rows.Insert([]byte(e.Key()), e)
		for i, keys := range t.indexers {
			for _, k := range keys(e) {
				indexes[i].Insert(t.indexKey(k, e), e)
				out.tally(i, k, 1)
			}
		}
	}
	out.rows = rows.CommitOnly()
	for i, tx := range indexes {
		out.indexes[i] = tx.CommitOnly()
	}
	return out
}

func (t *table[E]) del(k string) anyTable {
	out := t.without(k)
	out.rows, _, _ = out.rows.Delete([]byte(k))
	return out
}

// without is a copy of t whose indexes do not hold the entity under k; its row stays.
func (t *table[E]) without(k string) *table[E] {
	out := *t
	out.indexes = slices.Clone(t.indexes)
	out.counts = slices.Clone(t.counts)
	old, ok := t.rows.Get([]byte(k))
	if !ok {
		return &out
	}
	for i, keys := range t.indexers {
		for _, k := range keys(old) {
			out.indexes[i], _, _ = out.indexes[i].Delete(t.indexKey(k, old))
			out.tally(i, k, -1)
		}
	}
	return &out
}

func (t *table[E]) all() iter.Seq[vpc.Entity] {
	return func(yield func(vpc.Entity) bool) {
		for e := range t.each() {
			if !yield(e) {
				return
			}
		}
	}
}

// each walks all entities in the order of their keys.
func (t *table[E]) each() iter.Seq[E] { return walk(t.rows, "") }

// by walks the entities that index holds under the parts.
func (t *table[E]) by(index int, parts ...string) iter.Seq[E] {
	return walk(t.indexes[index], key(parts...))
}

func walk[E any](tree *iradix.Tree[E], prefix string) iter.Seq[E] {
	return func(yield func(E) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if !yield(e) {
				return
			}
		}
	}
}

// first is the first of a walk, or the zero value.
func first[E any](seq iter.Seq[E]) (e E) {
	for e = range seq {
		return e
	}
	return e
}

// check says whether every index holds exactly what its indexer asks for. It
// costs a scan, and catches an entity that was changed after it was put: its
// index keys are then no longer where they were.
func (t *table[E]) check() error {
	for i, keys := range t.indexers {
		want := 0
		counts := map[string]int{}
		for e := range t.each() {
			for _, k := range keys(e) {
				want++
				counts[k]++
				if got, ok := t.indexes[i].Get(t.indexKey(k, e)); !ok || any(got) != any(e) {
					return fmt.Errorf("index %d does not hold %s under %q", i, e.Key(), k)
				}
			}
		}
		if got := t.indexes[i].Len(); got != want {
			return fmt.Errorf("index %d holds %d entries, its rows ask for %d", i, got, want)
		}
		if t.counts[i] == nil {
			continue
		}
		for k, want := range counts {
			if got, _ := t.counts[i].Get([]byte(k)); got != want {
				return fmt.Errorf("index %d counts %d entries under %q, and has %d", i, got, k, want)
			}
		}
		if got := t.counts[i].Len(); got != len(counts) {
			return fmt.Errorf("index %d counts under %d keys, and has %d", i, got, len(counts))
		}
	}
	return nil
}
