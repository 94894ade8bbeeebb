// Command gotest runs go test and says, before go test's own closing lines, what was skipped and why.
//
//	gotest DIR [arguments of go test]
//
// A skipped test leaves no trace in go test's output, so a machine without root or without a kernel
// feature looks as green as one that ran everything. gotest reads go test's JSON stream, prints
// failures as they happen, then the skipped tests by reason, then one closing line a package exactly
// as go test prints them, and ends with go test's exit code.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: gotest DIR [arguments of go test]")
		os.Exit(2)
	}
	code, err := run(os.Args[1], os.Args[2:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

// run executes go test in dir and reports to stdout; it returns go test's exit code.
func run(dir string, args []string, stdout, stderr io.Writer) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = stderr
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start go test: %w", err)
	}
	report := newReport(stdout)
	readErr := report.read(stream)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		report.close()
		return exit.ExitCode(), readErr
	}
	if err := errors.Join(readErr, err); err != nil {
		return 0, err
	}
	report.close()
	return 0, nil
}

// event is one line of go test -json; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// testKey names a test of a package.
type testKey struct{ pkg, test string }

// report turns the stream into what a person wants to read.
type report struct {
	out     io.Writer
	lines   map[testKey][]string // what tests, and packages outside their tests, said; printed if they fail
	closing []string             // closing lines of packages, as go test prints them
	skipped map[string][]string  // reason → tests
	failed  bool
}

func newReport(out io.Writer) *report {
	return &report{out: out, lines: map[testKey][]string{}, skipped: map[string][]string{}}
}

// closingLine is how go test ends a package.
var closingLine = regexp.MustCompile(`^(ok  |FAIL|---|\?   )\t\S`)

// noise is what -json makes go test print although nobody asked for -v.
var noise = regexp.MustCompile(`^\s*(=== |--- (PASS|SKIP): )|^(PASS|FAIL|testing: warning: no tests to run)$|^coverage: `)

// location opens each line that a test logs: "    file_test.go:12: ".
var location = regexp.MustCompile(`^\s+\S+_test\.go:\d+: `)

func (r *report) read(stream io.Reader) error {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(r.out, string(line)) // go test's own complaint, e.g. about a flag
			} else {
				r.handle(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's stream: %w", err)
		}
	}
}

func (r *report) handle(e event) {
	key := testKey{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		text := strings.TrimSuffix(e.Output, "\n")
		if e.Test == "" && closingLine.MatchString(text) {
			r.closing = append(r.closing, text) // said again at the end
		}
		r.lines[key] = append(r.lines[key], text)
	case "skip":
		if e.Test != "" {
			reason := reasonOf(r.lines[key])
			r.skipped[reason] = append(r.skipped[reason], e.Test)
		}
		r.end(key)
	case "pass":
		r.end(key)
	case "fail":
		r.failed = true
		r.fail(key)
	}
}

// end forgets what a test said that did not fail; of a package the closing line is progress to show.
func (r *report) end(key testKey) {
	for _, text := range r.lines[key] {
		if key.test == "" && closingLine.MatchString(text) {
			fmt.Fprintln(r.out, text)
		}
	}
	delete(r.lines, key)
}

// fail prints what a failed test or package said. A subtest's output waits for its root's, under which
// go test prints it; a package's comes with that of tests which never ended, as after a panic.
func (r *report) fail(key testKey) {
	said := headFirst(key.test, r.lines[key])
	delete(r.lines, key)
	if root, _, sub := strings.Cut(key.test, "/"); sub {
		rootKey := testKey{key.pkg, root}
		for _, text := range said {
			if !noise.MatchString(text) {
				r.lines[rootKey] = append(r.lines[rootKey], "    "+text)
			}
		}
		return
	}
	if key.test == "" {
		var cutOff []string
		for _, other := range slices.SortedFunc(maps.Keys(r.lines), compareKeys) {
			if other.pkg == key.pkg {
				cutOff = append(cutOff, r.lines[other]...)
				delete(r.lines, other)
			}
		}
		said = append(cutOff, said...)
	}
	for _, text := range said {
		if !noise.MatchString(text) {
			fmt.Fprintln(r.out, text)
		}
	}
}

func compareKeys(a, b testKey) int {
	return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test))
}

// headFirst moves the head of a failed test before what the test logged, as go test prints it; in the
// stream it comes last.
func headFirst(test string, lines []string) []string {
	at := slices.IndexFunc(lines, func(text string) bool { return strings.HasPrefix(text, "--- FAIL: "+test+" (") })
	if at < 0 {
		return lines
	}
	return slices.Concat(lines[at:at+1], lines[:at], lines[at+1:])
}

// reasonOf finds what a skipped test gave as its reason: its last logged line.
func reasonOf(lines []string) string {
	for _, text := range slices.Backward(lines) {
		if loc := location.FindString(text); loc != "" {
			return strings.TrimSpace(text[len(loc):])
		}
	}
	return "no reason given"
}

// namesMax bounds how many tests are named under one reason; the rest is counted.
const namesMax = 4

func (r *report) close() {
	fmt.Fprintln(r.out)
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		tests := r.skipped[reason]
		names := strings.Join(tests[:min(len(tests), namesMax)], ", ")
		if more := len(tests) - namesMax; more > 0 {
			names = fmt.Sprintf("%s and %d more", names, more)
		}
		fmt.Fprintf(r.out, "skipped %d: %s (%s)\n", len(tests), reason, names)
	}
	if len(r.skipped) == 0 {
		fmt.Fprintln(r.out, "skipped 0")
	}
	for _, text := range r.closing {
		fmt.Fprintln(r.out, text)
	}
	if r.failed {
		fmt.Fprintln(r.out, "FAIL")
	}
}
