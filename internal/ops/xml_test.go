package ops_test

import (
	"cmp"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/ops/opstest"
)

// TestEveryOperationHasItsXML keeps, for each operation, the XML of the answer in any story that has the most members
// – of those, the shortest. Clients' own parsers read the same files in test/clients.
func TestEveryOperationHasItsXML(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	richest := map[string]answer{}
	for _, room := range roomsOfOperations() {
		files, err := filepath.Glob("../" + room + "/testdata/story/*.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := opstest.NewStory(t)
			s.Answered = func(action, body string) {
				if a := (answer{body, members(body)}); a.better(richest[action]) {
					richest[action] = a
				}
			}
			s.Play(string(text))
		}
	}
	if update {
		if err := os.RemoveAll("testdata/xml"); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("testdata/xml", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range ops.Operations() {
		got := indent(richest[o.Name].body)
		if got == "" {
			t.Errorf("no story gets an answer of %s", o.Name)
			continue
		}
		file := "testdata/xml/" + o.Name + ".xml"
		if update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s: %v; -update writes it", o.Name, err)
			continue
		}
		if d := gocmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-file +answered):\n%s", file, d)
		}
	}
}

// answer is a body and how many different members it has.
type answer struct {
	body    string
	members int
}

func (a answer) better(b answer) bool {
	return cmp.Or(cmp.Compare(b.members, a.members), cmp.Compare(len(a.body), len(b.body)), cmp.Compare(a.body, b.body)) < 0
}

// members counts the different paths of elements in a body.
func members(body string) int {
	seen := map[string]bool{}
	path := ""
	dec := xml.NewDecoder(strings.NewReader(body))
	for {
		switch token, _ := dec.Token(); tok := token.(type) {
		case xml.StartElement:
			path += "/" + tok.Name.Local
			seen[path] = true
		case xml.EndElement:
			path = path[:strings.LastIndexByte(path, '/')]
		case nil:
			return len(seen)
		}
	}
}

// indent puts each element on a line of its own.
func indent(body string) string {
	var out strings.Builder
	depth := 0
	for i, line := range strings.Split(strings.ReplaceAll(body, "><", ">\n<"), "\n") {
		opens := strings.HasPrefix(line, "<") && !strings.HasPrefix(line, "</") && !strings.HasPrefix(line, "<?")
		if strings.HasPrefix(line, "</") {
			depth--
		}
		if line == "" {
			continue
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(strings.Repeat("  ", depth) + line)
		if opens && !strings.Contains(line, "</") && !strings.HasSuffix(line, "/>") {
			depth++
		}
	}
	if out.Len() > 0 {
		out.WriteByte('\n')
	}
	return out.String()
}
