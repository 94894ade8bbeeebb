// Package awscli_test does the tasks of the user guide with the AWS CLI, as transcripts: what is typed, and what
// the CLI prints.
package awscli_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/installation"
	"sallyport.dev/sallyport/test/transcript"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what is printed; read it before you commit it")

// What needs no instance is done with the API alone, so that every machine does it.
func TestTasks(t *testing.T) {
	needsCLI(t)
	s := programs.Install(t, installation.Server)
	s.Start()
	play(t, s, "testdata/*.txt")
}

func TestInstanceTasks(t *testing.T) {
	needsCLI(t)
	s := programs.Install(t, installation.Up)
	s.Start()
	s.NeedsEnforcement()
	play(t, s, "testdata/instance/*.txt")
}

// prelude is known to every transcript: `other` runs a command as a second account.
const prelude = `other() { AWS_ACCESS_KEY_ID=$OTHER_KEY AWS_SECRET_ACCESS_KEY=$OTHER_SECRET "$@"; }`

// play plays transcripts side by side, each in accounts of its own.
func play(t *testing.T, s *installation.Installation, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s names no transcript: %v", pattern, err)
	}
	env := loadCLI(t, s.Env)
	for _, file := range files {
		own, other := s.NewAccount("own"), s.NewAccount("other")
		env := append(slices.Clip(env), "AWS_ACCESS_KEY_ID="+own.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+own.SecretAccessKey,
			"SALLYPORT_DATA="+s.Data, "OTHER_KEY="+other.AccessKeyID, "OTHER_SECRET="+other.SecretAccessKey, "ACCOUNT="+own.AccountID, "OTHER="+other.AccountID)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			names := newNames(own.AccountID, other.AccountID)
			compare(t, file, transcript.NewShell(t, t.TempDir(), env), names)
		})
	}
}

// compare plays one transcript and compares, or rewrites, what is printed.
func compare(t *testing.T, file string, sh *transcript.Shell, names *names) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sh.Run(prelude)
	rest, rewritten := string(text), ""
	for _, step := range transcript.Steps(string(text)) {
		output, status := sh.Run(step.Command)
		want, remarks := split(step.Output)
		got := names.steady(output, status)
		if diff := cmp.Diff(want, got); diff != "" && !*update {
			t.Errorf("%s%s (-transcript +here):\n%s", file, "\n"+step.Typed(), diff)
		}
		before, after, found := strings.Cut(rest, step.Typed()+step.Output)
		if !found {
			t.Fatalf("%s: %q is not where it was read", file, step.Typed())
		}
		rewritten += before + step.Typed() + got + remarks
		rest = after
	}
	if rewritten += rest; *update && rewritten != string(text) {
		if err := os.WriteFile(file, []byte(rewritten), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// split parts what a command prints from the empty lines and remarks that stand between it and the next command.
func split(output string) (printed, remarks string) {
	lines := strings.SplitAfter(output, "\n")
	for i, line := range lines {
		if line == "\n" || line == "" || strings.HasPrefix(line, "# ") {
			return strings.Join(lines[:i], ""), strings.Join(lines[i:], "")
		}
	}
	return output, ""
}

// names gives everything that differs from run to run a name that does not, the same one every time.
type names struct {
	known map[string]string // identifier or account → its name
	count map[string]int    // prefix → identifiers so far
}

func newNames(own, other string) *names {
	return &names{map[string]string{own: "ACCOUNT", other: "OTHER"}, map[string]int{}}
}

// name is the name of an identifier of a kind.
func (n *names) name(id, kind string) string {
	if n.known[id] == "" {
		n.count[kind]++
		n.known[id] = fmt.Sprintf("%s-%d", kind, n.count[kind])
	}
	return n.known[id]
}

var (
	account    = regexp.MustCompile(`\b[0-9]{12}\b`)
	identifier = regexp.MustCompile(`\b([a-z]+(?:-[a-z]+)*)-([0-9a-f]{17})\b`)
	moment     = regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|\+00:00)`)
	request    = regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
)

// steady is what a command printed, without empty lines and with names, and its exit status if it failed.
func (n *names) steady(output, status string) string {
	output = account.ReplaceAllStringFunc(output, func(id string) string { return n.name(id, "ACCOUNT") })
	output = moment.ReplaceAllString(output, "MOMENT")
	output = request.ReplaceAllString(output, "REQUEST")
	output = identifier.ReplaceAllStringFunc(output, func(id string) string {
		parts := identifier.FindStringSubmatch(id)
		if strings.HasPrefix(parts[2], "0000000000") {
			return id // of no one, or the one image
		}
		return n.name(id, parts[1])
	})
	var b strings.Builder
	for line := range strings.Lines(output) {
		if strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	if status != "0" {
		fmt.Fprintf(&b, "exit %s\n", status)
	}
	return b.String()
}
