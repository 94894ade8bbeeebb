package ops_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/ops/opstest"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }

// TestOperationsFitTheModel holds that each operation stands once, under the name of an action of the model, and
// has the model's answer: Return where it has no output.
func TestOperationsFitTheModel(t *testing.T) {
	last := ""
	for _, o := range ops.Operations() {
		a, err := ec2.Lookup(o.Name)
		if err != nil || o.Name <= last {
			t.Errorf("%s after %s: %v", o.Name, last, err)
		}
		last = o.Name
		reading := strings.HasPrefix(o.Name, "Describe") || strings.HasPrefix(o.Name, "Get")
		if o.Writes == reading {
			t.Errorf("%s: writes %v", o.Name, o.Writes)
		}
		if a.Name != a.New().ActionName() {
			t.Errorf("%s is made by %s", a.New().ActionName(), a.Name)
		}
	}
	if _, ok := ops.Lookup("CreateNonsense"); ok {
		t.Error("CreateNonsense is served")
	}
	if err := ops.NotServed("X"); err.Error() != "InvalidAction: The action X is not valid for this web service." {
		t.Error(err)
	}
}

// roomsOfOperations are the rooms in which actions get their meaning.
func roomsOfOperations() []string {
	return []string{"call", "group", "prefixlist", "gateway", "acl", "network", "peering", "instance", "ops"}
}

// TestEveryErrorIsTold holds that each code that some file can answer is answered in some story or awaited by some
// test of these rooms.
func TestEveryErrorIsTold(t *testing.T) {
	var stories, tests strings.Builder
	for _, room := range roomsOfOperations() {
		stories.WriteString(contents(t, "../"+room+"/testdata/story/*.txt"))
		tests.WriteString(contents(t, "../"+room+"/*_test.go"))
	}
	codes := codeConstants(t)
	for _, room := range roomsOfOperations() {
		files, err := filepath.Glob("../" + room + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", room, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`apierr\.(Code\w+)`).FindAllStringSubmatch(string(source), -1) {
				code := codes[m[1]] + ": "
				if !strings.Contains(stories.String(), " "+code) && !strings.Contains(tests.String(), `"`+code) &&
					!strings.Contains(tests.String(), m[0]) {
					t.Errorf("%s can answer %s, which no story tells", file, codes[m[1]])
				}
			}
		}
	}
}

// contents is all files of a pattern, one after another.
func contents(tb testing.TB, pattern string) string {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		tb.Fatal(err)
	}
	var out strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		out.Write(text)
	}
	return out.String()
}

// codeConstants reads the names and values of the constants of package apierr.
func codeConstants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../apierr/codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out[spec.Names[0].Name] = value
		}
		return true
	})
	return out
}

// TestTaggedAtOnce tags as many resources as one call may not.
func TestTaggedAtOnce(t *testing.T) {
	params := []string{"Tag.1.Key=k"}
	for n := range 1001 {
		params = append(params, fmt.Sprintf("ResourceId.%d=x", n+1))
	}
	if _, err := opstest.NewStory(t).Do("CreateTags", params); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
		t.Errorf("1001 resources: %v", err)
	}
}
