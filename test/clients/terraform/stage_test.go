package terraform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/installation"
)

// commandMax is how long a command of Terraform may take before it hangs: it retries some errors for ever.
const commandMax = 4 * time.Minute

// stage is a working folder of Terraform's: a configuration, its variables and its state.
type stage struct {
	t    *testing.T
	dir  string
	env  []string
	vars variables
}

// variables are values for a configuration's variables.
type variables map[string]any

// newStage makes a working folder with a configuration of testdata.
func newStage(t *testing.T, configuration string, access variables) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), vars: maps.Clone(access)}
	s.env = append(plainEnvironment(), providers.attachment(), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+os.DevNull)
	for _, from := range []string{"testdata/provider.tf", "testdata/" + configuration} {
		info, err := os.Stat(from)
		if err == nil && info.IsDir() {
			err = os.CopyFS(s.dir, os.DirFS(from))
		} else if err == nil {
			err = os.Link(from, filepath.Join(s.dir, filepath.Base(from)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.run("init", "-input=false")
	return s
}

// set gives variables values, from here on.
func (s *stage) set(vars variables) {
	s.t.Helper()
	maps.Copy(s.vars, vars)
	s.write("given.auto.tfvars.json", s.vars)
}

func (s *stage) write(name string, content any) {
	s.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command that is to succeed and returns what it prints. Exit code 2 is one of plan's successes.
func (s *stage) run(args ...string) []byte {
	s.t.Helper()
	out, code := s.try(args...)
	if code != 0 && code != 2 {
		s.t.Fatalf("terraform %s ended with %d:\n%s", strings.Join(args, " "), code, diagnosis(out))
	}
	return out
}

func (s *stage) try(args ...string) ([]byte, int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), commandMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, "terraform", args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it says what it was waiting for
	cmd.WaitDelay = 20 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			s.t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, &out)
		}
	}
	return out.Bytes(), cmd.ProcessState.ExitCode()
}

// said is a line of Terraform's JSON output.
type said struct {
	Type       string `json:"type"`
	Message    string `json:"@message"`
	Diagnostic struct {
		Severity, Summary, Detail, Address string
	}
	Change struct {
		Resource struct{ Addr, Mode string }
		Action   string
	}
	Outputs map[string]struct{ Value any }
}

func lines(out []byte) []said {
	var all []said
	for line := range bytes.Lines(out) {
		var l said
		if json.Unmarshal(line, &l) == nil {
			all = append(all, l)
		}
	}
	return all
}

// diagnosis is what of an output says what went wrong; all of it, where nothing does.
func diagnosis(out []byte) string {
	var b strings.Builder
	for _, l := range lines(out) {
		if l.Type == "diagnostic" {
			fmt.Fprintf(&b, "%s: %s: %s\n%s\n", l.Diagnostic.Severity, l.Diagnostic.Address, l.Diagnostic.Summary, l.Diagnostic.Detail)
		}
	}
	if b.Len() == 0 {
		return string(out)
	}
	return b.String()
}

// action is what Terraform does with a resource.
type action string

const (
	created  action = "create"
	updated  action = "update"
	replaced action = "replace"
	removed  action = "delete"
)

// changes are the resources, by address, with which something is done.
type changes map[string]action

func (s *stage) changes(out []byte) changes {
	s.t.Helper()
	all := changes{}
	for _, l := range lines(out) {
		if l.Type == "planned_change" && l.Change.Action != "read" {
			all[l.Change.Resource.Addr] = action(l.Change.Action)
		}
	}
	return all
}

// apply applies the configuration, and returns what was changed and the outputs.
func (s *stage) apply(options ...string) (changes, map[string]any) {
	s.t.Helper()
	out := s.run(append([]string{"apply", "-auto-approve", "-json", "-input=false"}, options...)...)
	outputs := map[string]any{}
	for _, l := range lines(out) {
		if l.Type == "outputs" {
			for name, o := range l.Outputs {
				outputs[name] = o.Value
			}
		}
	}
	return s.changes(out), outputs
}

// settled fails the test where a plan finds something left to do.
func (s *stage) settled() {
	s.t.Helper()
	out, code := s.try("plan", "-json", "-detailed-exitcode", "-input=false", "-out=plan")
	switch code {
	case 0:
	case 2:
		shown := s.run("show", "-no-color", "plan")
		s.t.Errorf("a second plan is not empty: %v\n%s", s.changes(out), shown)
	default:
		s.t.Fatalf("planning: %s", diagnosis(out))
	}
}

// attributes are those of a resource in a state or plan.
type attributes map[string]any

func (a attributes) text(name string) string { return fmt.Sprint(a[name]) }

// resource is one in a state.
type resource struct {
	Address, Mode, Type string
	Values              attributes
}

// module is a module in a state.
type module struct {
	Resources    []resource
	ChildModules []module `json:"child_modules"`
}

func (m module) resources() []resource {
	all := m.Resources
	for _, c := range m.ChildModules {
		all = append(all, c.resources()...)
	}
	return slices.DeleteFunc(all, func(r resource) bool { return r.Mode != "managed" })
}

// state is what Terraform knows of the resources it made.
func (s *stage) state() []resource {
	s.t.Helper()
	var shown struct {
		Values struct {
			RootModule module `json:"root_module"`
		}
	}
	s.decode(&shown, "show", "-json")
	return shown.Values.RootModule.resources()
}

func (s *stage) decode(into any, args ...string) {
	s.t.Helper()
	out := s.run(args...)
	if err := json.Unmarshal(out, into); err != nil {
		s.t.Fatalf("terraform %s: %v in %s", strings.Join(args, " "), err, out)
	}
}

// access are the variables of provider.tf.
func access(s *installation.Installation, c installation.Credentials) variables {
	return variables{"endpoint": s.Endpoint, "access_key": c.AccessKeyID, "secret_key": c.SecretAccessKey}
}
