package sallyport_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fileLinesMax bounds a file written by hand: past it, it holds more than one idea.
const fileLinesMax = 700

// goFile is what the house rules need to know of one Go file.
type goFile struct {
	path      string // from the module's root, with slashes
	pkg       string
	doc       string // comment of the package clause
	imports   []string
	lines     int
	code      int  // lines that hold code: blank ones and comments are free
	test      bool // ends _test.go
	generated bool // carries the mark of generated code
	generator bool // stands in the folder gen of a room: it writes generated files and no program links it
	support   bool // stands in the folder <room>test of a room: what several rooms' tests share
}

var (
	generatedMark  = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	generatedNames = []string{"_gen.go", ".pb.go", "_bpfel.go", "_bpfeb.go"}
	// skippedDirs hold nothing of ours: dependencies and builds.
	skippedDirs = []string{"node_modules", "bin", "dist"}
)

// repoFiles lists the files of the working tree that are wanted, by their path from the module's root.
// Everything is read inside this process, so that go test's cache knows what the result depends on;
// the answer of a subprocess would be cached past the change that breaks the rule.
func repoFiles(t *testing.T, wanted func(name string) bool) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skippedDirs, d.Name())) {
				return filepath.SkipDir
			}
			return nil
		}
		if name = filepath.ToSlash(name); wanted(name) {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// isCode says whether a file is Go or C of ours, not data of a test.
func isCode(name string) bool {
	return slices.Contains([]string{".go", ".c", ".h"}, path.Ext(name)) && !strings.Contains(name, "testdata/")
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// codeLines counts the lines on which a token begins that is no comment.
func codeLines(src []byte) int {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(src))
	s.Init(file, src, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, _ := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if line := file.Line(pos); tok != token.SEMICOLON {
			lines[line] = true
		}
	}
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	for _, name := range repoFiles(t, func(name string) bool { return path.Ext(name) == ".go" && isCode(name) }) {
		src := readFile(t, name)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f := goFile{
			path:      name,
			pkg:       parsed.Name.Name,
			doc:       parsed.Doc.Text(),
			lines:     bytes.Count(src, []byte("\n")),
			code:      codeLines(src),
			test:      strings.HasSuffix(name, "_test.go"),
			generated: generatedMark.Match(src),
			generator: roomOf(name) != "" && strings.Contains(name, "/gen/"),
			support:   roomOf(name) != "" && path.Base(path.Dir(name)) == roomOf(name)+"test",
		}
		for _, imp := range parsed.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f.imports = append(f.imports, p)
		}
		files = append(files, f)
	}
	return files
}

// impurities lists the calls to the clock and the goroutines started in one file.
func impurities(t *testing.T, name string) []string {
	t.Helper()
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, "a goroutine (line "+strconv.Itoa(fset.Position(n.Pos()).Line)+")")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(impureTimes, n.Sel.Name) {
				found = append(found, "time."+n.Sel.Name+" (line "+strconv.Itoa(fset.Position(n.Pos()).Line)+")")
			}
		}
		return true
	})
	return found
}

func TestEveryPackageHasOneComment(t *testing.T) {
	type pkg struct{ dir, name string }
	docs := map[pkg][]goFile{}
	hasCode := map[pkg]bool{}
	for _, f := range goFiles(t) {
		key := pkg{path.Dir(f.path), strings.TrimSuffix(f.pkg, "_test")}
		hasCode[key] = hasCode[key] || !f.test
		if f.doc != "" {
			docs[key] = append(docs[key], f)
		}
		if _, ok := docs[key]; !ok {
			docs[key] = nil
		}
	}
	for key, with := range docs {
		if hasCode[key] { // the comment stands with the code, not with its tests
			with = slices.DeleteFunc(with, func(f goFile) bool { return f.test })
		}
		if len(with) != 1 {
			t.Errorf("%s: package %s has %d package comments, want one", key.dir, key.name, len(with))
			continue
		}
		want := "Package " + with[0].pkg + " "
		if key.name == "main" {
			want = "Command " + path.Base(key.dir) + " "
		}
		if !strings.HasPrefix(with[0].doc, want) {
			t.Errorf("%s: the package comment begins %.30q, want %q", with[0].path, with[0].doc, want)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.generated && f.lines > fileLinesMax {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, fileLinesMax)
		}
	}
}

func TestGeneratedFilesAreNamedSo(t *testing.T) {
	for _, f := range goFiles(t) {
		named := slices.ContainsFunc(generatedNames, func(s string) bool { return strings.HasSuffix(f.path, s) })
		if named != f.generated {
			t.Errorf("%s: generated=%t by its mark, %t by its name (one of %s)",
				f.path, f.generated, named, strings.Join(generatedNames, " "))
		}
	}
}

// requirements are the modules we name ourselves, each with what it saves us.
var requirements = map[string]string{
	"github.com/aws/aws-sdk-go-v2":               "tests: its signer is the oracle of sigv4",
	"github.com/aws/aws-sdk-go-v2/service/ec2":   "tests: a real client, of which it matters that it reads what we write",
	"github.com/aws/aws-sdk-go-v2/service/sts":   "tests: that client's other half, which asks who it is",
	"github.com/aws/smithy-go":                   "tests: the type of that client's errors",
	"github.com/cilium/ebpf":                     "maps, programs, links and ring buffers of the kernel, and the object file's types in Go",
	"github.com/google/go-cmp":                   "tests: differences of whole values that a person can read",
	"github.com/hashicorp/go-immutable-radix/v2": "snapshots that share structure: a commit copies a path, not the world",
	"github.com/vishvananda/netlink":             "links, addresses and routes of a host, of which the standard library can only read a few",
	"github.com/vishvananda/netns":               "entering and naming network namespaces",
	"go.etcd.io/etcd/api/v3":                     "the errors that etcd's client returns",
	"go.etcd.io/etcd/client/v3":                  "the one way to talk to etcd, embedded or external",
	"go.etcd.io/etcd/server/v3":                  "a durable store inside the process: an installation without one beside it",
	"go.uber.org/zap":                            "what etcd logs through; we hand it on to slog",
	"golang.org/x/sync":                          "errgroup: goroutines with an owner that waits for them",
	"golang.org/x/sys":                           "system calls and constants that package syscall has stopped adding",
	"google.golang.org/grpc":                     "the feed: one stream a host, with flow control and mTLS",
	"google.golang.org/protobuf":                 "the feed's messages, which old and new agents both read",
}

func TestEveryRequirementHasAReason(t *testing.T) {
	required := map[string]bool{}
	for line := range strings.Lines(string(readFile(t, "go.mod"))) {
		if strings.Contains(line, "// indirect") {
			continue
		}
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			required[fields[0]] = true
		}
	}
	for m := range required {
		if requirements[m] == "" {
			t.Errorf("go.mod requires %s, which has no row with a reason in requirements", m)
		}
	}
	for m := range requirements {
		if !required[m] {
			t.Errorf("requirements explains %s, which go.mod does not require directly", m)
		}
	}
}

func TestChangelogHasAnUnreleasedHead(t *testing.T) {
	for line := range strings.Lines(string(readFile(t, "CHANGELOG.md"))) {
		if head, ok := strings.CutPrefix(line, "## "); ok {
			if strings.TrimSpace(head) != "Unreleased" {
				t.Errorf("the first section of CHANGELOG.md is %q, want Unreleased", strings.TrimSpace(head))
			}
			return
		}
	}
	t.Error("CHANGELOG.md has no section")
}
