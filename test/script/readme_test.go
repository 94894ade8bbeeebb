package script

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/installation"
)

var update = flag.Bool("update", false, "rewrite the README's tour with what it prints")

const readme = "../../README.md"

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

// step is one command of a document and what it prints.
type step struct {
	command string
	output  string
}

// steps reads a document's console blocks: a line that begins with "$ " is a
// command, what follows is its output.
func steps(text string) []step {
	var out []step
	for block := range strings.SplitSeq(text, "```console\n") {
		body, _, ok := strings.Cut(block, "\n```")
		if !ok || !strings.HasPrefix(block, "$ ") {
			continue
		}
		for line := range strings.SplitSeq(body, "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				out = append(out, step{command: command})
			} else {
				out[len(out)-1].output += line + "\n"
			}
		}
	}
	return out
}

// volatile are the parts of an output that differ from run to run.
var volatile = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b(sg|sgr|i|eni|vpc|subnet)-[0-9a-f]{17}\b`), "$1-…"},
	{regexp.MustCompile(`revision \d+`), "revision N"},
}

func steady(output string) string {
	for _, v := range volatile {
		output = v.form.ReplaceAllString(output, v.as)
	}
	return output
}

// shell is a bash that is spoken to line by line.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

const mark = "--- end of the step ---"

func (s *shell) run(command string) string {
	s.t.Helper()
	fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", command, mark)
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if strings.TrimSpace(line) == mark {
			return strings.TrimSuffix(b.String(), "\n") // the empty line before the mark
		}
		if err != nil {
			s.t.Fatalf("the shell ended in %q: %s", command, b.String())
		}
		b.WriteString(line)
	}
}

// The README's tour, pasted line by line, prints what the README says.
func TestReadmeTour(t *testing.T) {
	installation.NeedsRoot(t)
	for _, program := range []string{"aws", "nc", "bwrap", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, which is not installed", program)
		}
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	s := programs.Install(t, installation.Up)
	s.Start()
	dir := t.TempDir()
	if err := os.Symlink(string(programs), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "SALLYPORT_DATA="+s.Data, "AWS_PAGER=")
	sh := newShell(t, dir, env)
	rewritten := string(text)
	for _, step := range steps(string(text)) {
		got := sh.run(strings.ReplaceAll(step.command, "/var/lib/sallyport", s.Data))
		if diff := cmp.Diff(steady(step.output), steady(got)); diff != "" {
			if !*update {
				t.Errorf("$ %s (-README +here):\n%s", step.command, diff)
			}
			rewritten = strings.Replace(rewritten, "$ "+step.command+"\n"+step.output, "$ "+step.command+"\n"+got, 1)
		}
	}
	if *update && rewritten != string(text) {
		if err := os.WriteFile(readme, []byte(rewritten), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func newShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	cmd := exec.Command("bash", "--norc")
	cmd.Dir, cmd.Env = dir, env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout // as on a terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &shell{t, in, bufio.NewReader(out)}
}

// The tour's commands must be found: a README whose blocks changed their form
// would pass untested.
func TestReadmeHasATour(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	all := steps(string(text))
	printing := 0
	for _, s := range all {
		if s.output != "" {
			printing++
		}
	}
	if len(all) < 20 || printing < 10 {
		t.Errorf("the README has %d steps, of which %d print something: where is the tour?", len(all), printing)
	}
}
