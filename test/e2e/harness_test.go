package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin holds the programs under test, built once.
var bin string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[2:]))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sallyport-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		out, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/sallyport").CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// needsRoot skips where namespaces and BPF cannot be had.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and eBPF")
	}
}

// installation is a data folder and the sallyport that serves it.
type installation struct {
	t    *testing.T
	data string
	env  []string
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// install makes an empty installation; whatever it left on the host is removed at the end.
func install(t *testing.T) *installation {
	t.Helper()
	needsRoot(t)
	s := &installation{t: t, data: t.TempDir()}
	t.Cleanup(func() {
		s.kill()
		if out, err := s.sallyport("down").CombinedOutput(); err != nil {
			t.Errorf("sallyport down: %v\n%s", err, out)
		}
		if t.Failed() {
			t.Logf("sallyport said:\n%s", s.log)
		}
	})
	return s
}

// readyMax is how long a start may take: the contract of `sallyport up`.
const readyMax = 3 * time.Second

// start runs `sallyport up` and waits until it is ready.
func (s *installation) start() {
	s.t.Helper()
	s.log = &syncBuffer{}
	s.cmd = exec.Command(filepath.Join(bin, "sallyport"), "up", "--data", s.data, "--listen", "127.0.0.1:0", "--log", "info")
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stderr = s.log
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	endpoint := make(chan string, 1)
	go s.follow(out, endpoint)
	select {
	case e := <-endpoint:
		s.env = append(os.Environ(), readExports(s.t, filepath.Join(s.data, "credentials.env"))...)
		s.healthy(e)
	case <-s.done:
		s.t.Fatalf("sallyport up ended:\n%s", s.log)
	case <-time.After(10 * time.Second):
		s.t.Fatalf("sallyport up said nothing for ten seconds:\n%s", s.log)
	}
	if took := time.Since(begun); took > readyMax {
		s.t.Errorf("ready after %v, want %v at most", took, readyMax)
	}
}

// follow copies what the process says, finds its endpoint, and waits for its end.
func (s *installation) follow(out io.Reader, endpoint chan<- string) {
	defer close(s.done)
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		fmt.Fprintln(s.log, scan.Text())
		if _, rest, ok := strings.Cut(scan.Text(), "sallyport is ready at "); ok {
			endpoint <- strings.Fields(rest)[0]
		}
	}
	_ = s.cmd.Wait()
}

func (s *installation) healthy(endpoint string) {
	s.t.Helper()
	res, err := http.Get(endpoint + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("healthz answered %s", res.Status)
	}
}

func readExports(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v, want 0600", file, info.Mode())
	}
	out := []string{"AWS_PAGER=", "AWS_MAX_ATTEMPTS=1"}
	for line := range strings.Lines(string(text)) {
		out = append(out, strings.TrimSpace(strings.TrimPrefix(line, "export ")))
	}
	return out
}

// stop ends sallyport as Ctrl-C does and expects a clean end.
func (s *installation) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.t.Fatal("sallyport did not stop within 20 seconds of SIGINT")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("sallyport ended with %d:\n%s", code, s.log)
	}
}

// kill ends sallyport as a crash does; nothing if it is not running.
func (s *installation) kill() {
	if s.cmd == nil || s.done == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
}

// sallyport is a command of this installation.
func (s *installation) sallyport(args ...string) *exec.Cmd {
	full := []string{args[0], "--data", s.data}
	if args[0] == "account" || args[0] == "key" || args[0] == "host" {
		full = []string{args[0], args[1], "--data", s.data}
		args = args[1:]
	}
	cmd := exec.Command(filepath.Join(bin, "sallyport"), append(full, args[1:]...)...)
	cmd.Env = s.env
	return cmd
}

// ask runs a command of this installation and decodes its JSON; it returns the exit code.
func (s *installation) ask(out any, args ...string) int {
	s.t.Helper()
	cmd := s.sallyport(append(args, "-o", "json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	code := cmd.ProcessState.ExitCode()
	if code == 2 {
		s.t.Fatalf("sallyport %s: %s", strings.Join(args, " "), stderr.String())
	}
	if err := json.Unmarshal(text, out); err != nil {
		s.t.Fatalf("sallyport %s: %v in %q", strings.Join(args, " "), err, text)
	}
	return code
}

// settled waits until every kernel has the newest revision.
func (s *installation) settled() {
	s.t.Helper()
	if out, err := s.sallyport("wait", "--timeout", "15s").CombinedOutput(); err != nil {
		s.t.Fatalf("sallyport wait: %v\n%s", err, out)
	}
}

// aws runs the AWS CLI and returns what a --query selects, as text.
func (s *installation) aws(args ...string) string {
	s.t.Helper()
	out, err := s.tryAWS(args...)
	if err != nil {
		s.t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s *installation) tryAWS(args ...string) (string, error) {
	s.t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		s.t.Skip("needs the AWS CLI (aws), which is not installed")
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "aws", append([]string{"ec2", "--output", "text"}, args...)...)
	cmd.Env = s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
