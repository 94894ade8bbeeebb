// Package transcript plays what stands in a document as it would on a terminal: a line that begins with "$ " is
// typed into a shell, and what follows is what the shell is to print.
//
// It is for tests alone. It knows no command, and compares nothing: what differs from run to run is its users' to say.
package transcript

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// Step is one command of a document and what it prints.
type Step struct {
	Command string // of one line, or of several that continue with "> "
	Output  string
}

// Blocks reads the console blocks of a Markdown document.
func Blocks(text string) []Step {
	var out []Step
	for block := range strings.SplitSeq(text, "```console\n") {
		if body, _, ok := strings.Cut(block, "\n```"); ok && strings.HasPrefix(block, "$ ") {
			out = append(out, Steps(body)...)
		}
	}
	return out
}

// Steps reads commands and outputs, from the first command on.
func Steps(text string) []Step {
	var out []Step
	continues := false // the command goes on in the next line
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		command, begins := strings.CutPrefix(line, "$ ")
		rest, isRest := strings.CutPrefix(line, "> ")
		switch {
		case begins:
			out = append(out, Step{Command: command})
		case continues && isRest:
			out[len(out)-1].Command += "\n" + rest
		case len(out) > 0:
			out[len(out)-1].Output += line + "\n"
		}
		continues = (begins || continues && isRest) && strings.HasSuffix(line, `\`)
	}
	return out
}

// Typed is the command as the document has it.
func (s Step) Typed() string { return "$ " + strings.ReplaceAll(s.Command, "\n", "\n> ") + "\n" }

// Shell is a bash that is spoken to command by command.
type Shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// mark is what the shell says after a command, followed by the command's exit status.
const mark = "--- end of the step ---"

// NewShell starts a shell in a folder; it ends with the test.
func NewShell(t *testing.T, dir string, env []string) *Shell {
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
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return &Shell{t, in, bufio.NewReader(out)}
}

// Run types a command and returns what it prints, and its exit status.
func (s *Shell) Run(command string) (output, status string) {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, "%s\nprintf '\\n%%s %%d\\n' '%s' $?\n", command, mark); err != nil {
		s.t.Fatalf("the shell does not read %q: %v", command, err)
	}
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if status, ok := strings.CutPrefix(line, mark+" "); ok {
			return strings.TrimSuffix(b.String(), "\n"), strings.TrimSpace(status) // without the empty line before the mark
		}
		if err != nil {
			s.t.Fatalf("the shell ended in %q: %s", command, b.String())
		}
		b.WriteString(line)
	}
}
