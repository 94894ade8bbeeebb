package sallyport_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	guideFile    = "docs/guide.md"
	untestedFile = "docs/guide-untested.txt"
)

var (
	update = flag.Bool("update", false, "strike from "+untestedFile+" the claims that a test cites by now")
	matrix = flag.Bool("matrix", false, "print every claim with the code and the tests that cite it")
)

// claimID is the number of a claim.
type claimID int

func (id claimID) String() string { return "G" + strconv.Itoa(int(id)) }

var (
	claimHead = regexp.MustCompile(`\*\*G([0-9]+)\*\*\s*(?:\|\s*)?(.*)`)
	// comments of Go and C, and of the scripts and stories under test/ and testdata/
	slashComment = regexp.MustCompile(`(?://|/\*|^\s*\*)(.*)`)
	hashComment  = regexp.MustCompile(`#(.*)`)
	citation     = regexp.MustCompile(`\bG([0-9]{1,3})\b`)
)

// claims reads the numbered claims of the guide, in order.
func claims(t *testing.T) (ids []claimID, text map[claimID]string) {
	t.Helper()
	text = map[claimID]string{}
	for line := range strings.Lines(string(readFile(t, guideFile))) {
		m := claimHead.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, claimID(n))
		text[claimID(n)] = strings.Trim(m[2], " |\n")
	}
	return ids, text
}

// cited is where claims are cited, as file:line.
type cited struct{ code, tests map[claimID][]string }

func citations(t *testing.T) cited {
	t.Helper()
	c := cited{code: map[claimID][]string{}, tests: map[claimID][]string{}}
	for _, name := range repoFiles(t, isCode) {
		into := c.code
		if strings.HasSuffix(name, "_test.go") {
			into = c.tests
		}
		collect(into, name, readFile(t, name), slashComment)
	}
	for _, name := range repoFiles(t, isStory) {
		collect(c.tests, name, readFile(t, name), hashComment)
	}
	return c
}

// isStory says whether a file is a test that is not Go: a script under test/ or a story in a testdata folder.
func isStory(name string) bool {
	return slices.Contains([]string{".txt", ".txtar", ".sh", ".py"}, path.Ext(name)) &&
		(strings.HasPrefix(name, "test/") || strings.Contains(name, "testdata/"))
}

func collect(into map[claimID][]string, name string, src []byte, comment *regexp.Regexp) {
	number := 0
	for line := range bytes.Lines(src) {
		number++
		text := comment.FindSubmatch(line)
		if text == nil {
			continue
		}
		for _, m := range citation.FindAllSubmatch(text[1], -1) {
			n, err := strconv.Atoi(string(m[1]))
			if err != nil {
				continue // unreachable: the expression admits three digits
			}
			into[claimID(n)] = append(into[claimID(n)], fmt.Sprintf("%s:%d", name, number))
		}
	}
}

func untested(t *testing.T) []claimID {
	t.Helper()
	var ids []claimID
	for line := range strings.Lines(string(readFile(t, untestedFile))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(line, "G"))
		if err != nil {
			t.Fatalf("%s: %q is no claim", untestedFile, line)
		}
		ids = append(ids, claimID(n))
	}
	return ids
}

func TestClaimsAreNumberedInOrder(t *testing.T) {
	ids, text := claims(t)
	if len(ids) == 0 {
		t.Fatalf("%s holds no claim", guideFile)
	}
	for i, id := range ids {
		if id != claimID(i+1) {
			t.Fatalf("%s: claim %d in order is %s", guideFile, i+1, id)
		}
		if text[id] == "" {
			t.Errorf("%s: %s says nothing", guideFile, id)
		}
	}
}

func TestEveryCitationIsOfAClaim(t *testing.T) {
	_, text := claims(t)
	c := citations(t)
	for _, m := range []map[claimID][]string{c.code, c.tests} {
		for id, places := range m {
			if _, ok := text[id]; !ok {
				t.Errorf("%s is cited by %s and is no claim of %s", id, strings.Join(places, ", "), guideFile)
			}
		}
	}
}

func TestEveryClaimIsTestedOrListed(t *testing.T) {
	ids, text := claims(t)
	c := citations(t)
	listed := untested(t)
	if *update {
		listed = slices.DeleteFunc(listed, func(id claimID) bool { return len(c.tests[id]) > 0 })
		writeUntested(t, listed)
	}
	for _, id := range ids {
		tested, isListed := len(c.tests[id]) > 0, slices.Contains(listed, id)
		if tested && isListed {
			t.Errorf("%s is cited by %s: strike it from %s (go test . -update)", id, c.tests[id][0], untestedFile)
		}
		if !tested && !isListed {
			t.Errorf("%s is cited by no test: %s", id, text[id])
		}
	}
	for _, id := range listed {
		if _, ok := text[id]; !ok {
			t.Errorf("%s lists %s, which is no claim", untestedFile, id)
		}
	}
}

func writeUntested(t *testing.T, ids []claimID) {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(string(readFile(t, untestedFile))) {
		if strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	for _, id := range ids {
		fmt.Fprintln(&b, id)
	}
	if err := os.WriteFile(untestedFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMatrix prints claim → code → tests for `make guide`; nothing without -matrix.
func TestMatrix(t *testing.T) {
	if !*matrix {
		return
	}
	ids, text := claims(t)
	c := citations(t)
	tested := 0
	for _, id := range ids {
		fmt.Printf("%-5s %s\n", id, text[id])
		for _, place := range c.code[id] {
			fmt.Printf("        code %s\n", place)
		}
		for _, place := range c.tests[id] {
			fmt.Printf("        test %s\n", place)
		}
		if len(c.tests[id]) > 0 {
			tested++
		}
	}
	fmt.Printf("\n%d of %d claims are cited by a test\n", tested, len(ids))
}
