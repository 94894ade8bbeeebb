package script

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/installation"
	"sallyport.dev/sallyport/test/transcript"
)

var update = flag.Bool("update", false, "rewrite the README's tour with what it prints")

const readme = "../../README.md"

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

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
	sh := transcript.NewShell(t, dir, env)
	rewritten := string(text)
	for _, step := range transcript.Blocks(string(text)) {
		got, _ := sh.Run(strings.ReplaceAll(step.Command, "/var/lib/sallyport", s.Data))
		if diff := cmp.Diff(steady(step.Output), steady(got)); diff != "" {
			if !*update {
				t.Errorf("$ %s (-README +here):\n%s", step.Command, diff)
			}
			rewritten = strings.Replace(rewritten, step.Typed()+step.Output, step.Typed()+got, 1)
		}
	}
	if *update && rewritten != string(text) {
		if err := os.WriteFile(readme, []byte(rewritten), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The tour's commands must be found: a README whose blocks changed their form
// would pass untested.
func TestReadmeHasATour(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	all := transcript.Blocks(string(text))
	printing := 0
	for _, s := range all {
		if s.Output != "" {
			printing++
		}
	}
	if len(all) < 20 || printing < 10 {
		t.Errorf("the README has %d steps, of which %d print something: where is the tour?", len(all), printing)
	}
}
