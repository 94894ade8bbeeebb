package sallyport_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	modulePath   = "sallyport.dev/sallyport"
	roomsPath    = modulePath + "/internal/"
	budgetFactor = 1.5 // past it, part of the room belongs next door
)

// room is one row of the table of rooms in ARCHITECTURE.md.
type room struct {
	name    string
	imports string // the rooms it may import, by name; "above" is every room that stands above it
	side    side
	budget  int // hand-written lines of code outside tests; comments, blank lines and C are not counted
}

// side says which half of the system a room belongs to.
type side string

const (
	shared  side = "shared"  // both halves may link it
	control side = "control" // knows the world: accounts, groups, etcd
	host    side = "host"    // knows programs and interfaces, nothing of the world
)

// rooms stands in order: a room imports only rooms above it, and only those its row names.
var rooms = []room{
	{"apierr", "", control, 150},
	{"packet", "", shared, 300},
	{"vpc", "apierr packet", control, 1500},
	{"state", "apierr packet vpc", control, 1000},
	{"explain", "packet state vpc", control, 700},
	{"program", "packet", shared, 500},
	{"compile", "packet program state vpc", control, 800},
	{"sigv4", "apierr", control, 300},
	{"ec2", "apierr", control, 800},
	{"iam", "apierr state vpc", control, 600},
	{"call", "apierr ec2 state vpc", control, 1400},
	{"group", "apierr call ec2 packet state vpc", control, 1300},
	{"gateway", "apierr call ec2 packet state vpc", control, 1200},
	{"prefixlist", "apierr call ec2 gateway group packet state vpc", control, 800},
	{"acl", "apierr call ec2 packet state vpc", control, 900},
	{"peering", "apierr call ec2 group packet state vpc", control, 1000},
	{"network", "acl apierr call ec2 gateway group packet peering state vpc", control, 3200},
	{"instance", "acl apierr call ec2 group network packet state vpc", control, 3200},
	{"ops", "acl apierr call ec2 gateway group instance network peering prefixlist state vpc", control, 400},
	{"event", "state vpc", control, 300},
	{"answer", "event explain packet vpc", control, 300},
	{"flowlog", "packet", shared, 600},
	{"store", "apierr state vpc", control, 900},
	{"feed", "flowlog packet program", shared, 1400},
	{"publish", "compile feed flowlog program state", control, 500},
	{"api", "above", control, 700},
	{"agent", "feed flowlog packet program", host, 900},
	{"vpcnet", "packet program", host, 900},
	{"bind", "packet program vpcnet", host, 700},
	{"datapath", "flowlog packet program", host, 1200},
}

// hostPrograms run as root on every host and must not carry what decides about the whole world: a
// fault in etcd, in the API's codec or in a policy evaluator is then no fault of theirs.
var hostPrograms = []string{"cmd/sallyport-agent", "cmd/sallyport-cni"}

// controlModules are third-party modules that only the control plane may link.
var controlModules = []string{"go.etcd.io/"}

// pureRooms take time, identifiers and randomness as arguments; see impureImports and impureTimes.
var pureRooms = []string{"apierr", "packet", "vpc", "state", "explain", "program", "compile", "call", "group", "prefixlist", "gateway", "acl", "network", "peering", "instance", "ops"}

// impureImports are what a pure room has no business with: the world outside, or a second opinion
// about it.
var impureImports = []string{
	"context", "crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os",
}

// impureTimes are the functions of package time that read the clock or wait for it.
var impureTimes = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// overBudget lists the rooms that are past 1.5 × their budget, with the lines they may have until part
// of them moves next door. The list may only shrink, and its numbers only fall.
var overBudget = map[string]int{
	"program": 820,  // tables and interpreter: the lookup form that compile writes and two enforcers read
	"sigv4":   560,  // signs too, for the operator's CLI and the tests
	"store":   1375, // commits, watch and journal of one etcd protocol; the embedded etcd could stand next door
	"bind":    1431, // holds the sandbox of user data, which moves next door when other kinds of interface come
}

// allowed says which rooms may be imported by the room with index i.
func allowed(i int) []string {
	if rooms[i].imports != "above" {
		return strings.Fields(rooms[i].imports)
	}
	var above []string
	for _, r := range rooms[:i] {
		above = append(above, r.name)
	}
	return above
}

func roomIndex(name string) int {
	return slices.IndexFunc(rooms, func(r room) bool { return r.name == name })
}

// roomOf names the room of a package or file path inside the module ("" outside internal/).
func roomOf(p string) string {
	rest, ok := strings.CutPrefix(p, "internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestTableOfRoomsPointsUpwards(t *testing.T) {
	for i, r := range rooms {
		if roomIndex(r.name) != i {
			t.Errorf("room %s stands in the table twice", r.name)
		}
		for _, name := range allowed(i) {
			j := roomIndex(name)
			if j < 0 || j >= i {
				t.Errorf("room %s may import %s, which does not stand above it", r.name, name)
				continue
			}
			if r.side != control && rooms[j].side == control {
				t.Errorf("room %s (%s) may import %s of the control side", r.name, r.side, name)
			}
			if r.side != host && rooms[j].side == host {
				t.Errorf("room %s (%s) may import %s of the host side", r.name, r.side, name)
			}
		}
	}
}

// roomRow is a row of the table of rooms in ARCHITECTURE.md.
var roomRow = regexp.MustCompile("(?m)^\\| `([a-z0-9]+)` \\|[^|]*\\| ?([a-z0-9 ]*?) ?\\| ([a-z]+) \\|$")

func TestArchitectureShowsTheTable(t *testing.T) {
	var shown []room
	for _, m := range roomRow.FindAllStringSubmatch(string(readFile(t, "ARCHITECTURE.md")), -1) {
		shown = append(shown, room{name: m[1], imports: m[2], side: side(m[3])})
	}
	for i, r := range rooms {
		r.budget = 0
		if i >= len(shown) || shown[i] != r {
			t.Fatalf("row %d of the table in ARCHITECTURE.md is not room %s (%s; imports %s)", i+1, r.name, r.side, r.imports)
		}
	}
	if len(shown) != len(rooms) {
		t.Errorf("ARCHITECTURE.md shows %d rooms, want %d", len(shown), len(rooms))
	}
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, f := range goFiles(t) {
		name := roomOf(f.path)
		if name == "" || f.test || f.support {
			continue
		}
		i := roomIndex(name)
		if i < 0 {
			continue // TestEveryRoomIsListed says it once
		}
		for _, imp := range f.imports {
			other := roomOf(strings.TrimPrefix(imp, modulePath+"/"))
			if !strings.HasPrefix(imp, roomsPath) || other == name || slices.Contains(allowed(i), other) {
				continue
			}
			t.Errorf("%s: room %s may not import %s (allowed: %s)", f.path, name, other, rooms[i].imports)
		}
	}
}

func TestOnlyTestsImportTestSupport(t *testing.T) {
	files := goFiles(t)
	support := map[string]bool{}
	for _, f := range files {
		if f.support {
			support[modulePath+"/"+path.Dir(f.path)] = true
		}
	}
	for _, f := range files {
		for _, imp := range f.imports {
			if support[imp] && !f.test && !f.support {
				t.Errorf("%s imports %s, which is for tests", f.path, imp)
			}
		}
	}
}

func TestEveryRoomIsListed(t *testing.T) {
	entries, err := os.ReadDir("internal")
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			t.Errorf("internal/%s: a file outside every room", e.Name())
		} else if roomIndex(e.Name()) < 0 {
			t.Errorf("internal/%s is in no row of the table of rooms", e.Name())
		}
	}
}

func TestHostProgramsLinkNothingOfTheControlPlane(t *testing.T) {
	packages := map[string][]goFile{} // directory → its files outside tests
	for _, f := range goFiles(t) {
		if !f.test {
			packages[path.Dir(f.path)] = append(packages[path.Dir(f.path)], f)
		}
	}
	for _, program := range hostPrograms {
		via := map[string]string{program: ""} // package → the one that imports it
		queue := []string{program}
		for len(queue) > 0 {
			dir := queue[0]
			queue = queue[1:]
			if i := roomIndex(roomOf(dir)); i >= 0 && rooms[i].side == control {
				t.Errorf("%s links room %s of the control plane: %s", program, rooms[i].name, chain(via, dir))
				continue
			}
			for _, f := range packages[dir] {
				for _, imp := range f.imports {
					if slices.ContainsFunc(controlModules, func(m string) bool { return strings.HasPrefix(imp, m) }) {
						t.Errorf("%s links %s: %s", program, imp, chain(via, dir))
					}
					next, inside := strings.CutPrefix(imp, modulePath+"/")
					if _, seen := via[next]; inside && !seen {
						via[next] = dir
						queue = append(queue, next)
					}
				}
			}
		}
	}
}

// chain prints how a package came to be linked, the program first.
func chain(via map[string]string, dir string) string {
	var steps []string
	for ; dir != ""; dir = via[dir] {
		steps = append(steps, dir)
	}
	slices.Reverse(steps)
	return strings.Join(steps, " → ")
}

func TestPureRoomsTouchNothing(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.support || f.generator || !slices.Contains(pureRooms, roomOf(f.path)) {
			continue
		}
		for _, imp := range f.imports {
			if slices.Contains(impureImports, imp) {
				t.Errorf("%s: a pure room imports %s", f.path, imp)
			}
		}
		for _, use := range impurities(t, f.path) {
			t.Errorf("%s: %s in a pure room", f.path, use)
		}
	}
}

func TestRoomsKeepTheirBudget(t *testing.T) {
	lines := map[string]int{}
	for _, f := range goFiles(t) {
		if !f.test && !f.support && !f.generated && !f.generator {
			lines[roomOf(f.path)] += f.code
		}
	}
	for _, r := range rooms {
		limit := int(float64(r.budget) * budgetFactor)
		exception, listed := overBudget[r.name]
		switch {
		case lines[r.name] > max(limit, exception):
			t.Errorf("room %s has %d lines, more than %d (1.5 × its budget of %d, or its exception): what belongs next door?",
				r.name, lines[r.name], max(limit, exception), r.budget)
		case listed && lines[r.name] <= limit:
			t.Errorf("room %s is within its budget: strike it from overBudget", r.name)
		}
	}
	for _, r := range rooms {
		t.Logf("%-10s %5d lines of %d", r.name, lines[r.name], r.budget)
	}
}
