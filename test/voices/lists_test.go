package voices

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// listsMax is how many prefix lists a world has, from which rules choose.
const listsMax = 5

func listID(n int) vpc.PrefixListID { return vpc.PrefixListID(fmt.Sprintf("pl-%d", n)) }

// lists makes the world's prefix lists: of both families, some of them empty.
func (g *gen) lists() {
	for n := range listsMax {
		g.list(&vpc.PrefixList{ID: listID(n), Scope: scope, Name: "list", IPv6: g.r.IntN(3) == 0, MaxEntries: 8})
	}
}

// list puts a prefix list with random entries, whatever it held before.
func (g *gen) list(l *vpc.PrefixList) {
	l.Version++
	l.Entries = nil
	for range g.r.IntN(2) * g.r.IntN(l.MaxEntries+1) {
		e := vpc.PrefixListEntry{Prefix: g.block(l.IPv6)}
		if !slices.Contains(l.Entries, e) {
			l.Entries = append(l.Entries, e)
		}
	}
	slices.SortFunc(l.Entries, func(a, b vpc.PrefixListEntry) int { return strings.Compare(a.Order(), b.Order()) })
	g.tx.Put(l)
}

// block is an entry of a list: seldom all addresses, so that lists say something.
func (g *gen) block(v6 bool) netip.Prefix {
	all, addr, bits := vpc.AllIPv4, addr4(g.net(), 10+g.r.IntN(20)), []int{1, 24, 28, 30, 31, 32, 32}
	if v6 {
		all, addr, bits = vpc.AllIPv6, addr6(g.net(), 10+g.r.IntN(20)), []int{1, 64, 124, 126, 127, 128, 128}
	}
	if g.r.IntN(6) == 0 {
		return all
	}
	p, _ := addr.Prefix(pick(g.r, bits))
	return p
}

// editLists gives some of the world's lists other entries and touches nothing else.
func editLists(r *rand.Rand, world *state.Snapshot) *state.Tx {
	g := gen{r: r, tx: world.Begin()}
	for n := range listsMax {
		if r.IntN(2) == 0 {
			l := *world.PrefixList(listID(n))
			g.list(&l)
		}
	}
	return g.tx
}

// listsTally counts what rules did that name prefix lists.
type listsTally struct {
	hits    int // packets that such a rule is credited with
	misses  int // packets that nothing admits, and such a rule would if its list had their address
	emptied int // … of which its list has no entry
	edits   int // packets that are judged otherwise since lists were edited
}

func (n *listsTally) add(w, before *state.Snapshot, i *vpc.Interface, d packet.Direction, p explain.Packet) {
	j := explain.Judge(w, i, d, p)
	if j.Rule != nil && j.Rule.Source.PrefixList != "" {
		n.hits++
	}
	if j.Why == explain.WhyNoRule {
		n.missed(w, i, d, p)
	}
	if before != nil && explained(before, i, d, p) != explained(w, i, d, p) {
		n.edits++
	}
}

func (n *listsTally) missed(w *state.Snapshot, i *vpc.Interface, d packet.Direction, p explain.Packet) {
	missed, empty := false, false
	for _, g := range i.Groups {
		for r := range w.RulesOf(g) {
			if l := w.PrefixList(r.Source.PrefixList); l != nil && r.Direction == d && r.Service.Matches(p.Tuple) {
				missed, empty = true, empty || len(l.Entries) == 0
			}
		}
	}
	if missed {
		n.misses++
	}
	if empty {
		n.emptied++
	}
}
