// Package installation gives tests the real programs: an installation of their own, whose processes are ended by
// their id and whose traces are removed from the host when the test ends, also when it fails.
//
// It is for tests alone: no program links it, and it knows no client but the AWS CLI.
package installation

import (
	"bufio"
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

// Programs is a folder with the programs under test.
type Programs string

// Main builds the programs, hands them over, and runs the tests of a package: for its TestMain.
func Main(m *testing.M, into *Programs) int {
	dir, err := os.MkdirTemp("", "sallyport-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder that is left is no failure of a test
	out, err := exec.Command("go", "build", "-o", dir+"/", "sallyport.dev/sallyport/cmd/sallyport").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		return 1
	}
	*into = Programs(dir)
	return m.Run()
}

// Path is the file of a program.
func (p Programs) Path(name string) string { return filepath.Join(string(p), name) }

// Mode is the command that serves an installation.
type Mode string

// The two commands that serve.
const (
	Up     Mode = "up"     // server and agent: instances run and groups are enforced, which needs root
	Server Mode = "server" // the API alone: no instance finds a host
)

// Installation is a data folder and the sallyport that serves it.
type Installation struct {
	Data     string
	Endpoint string      // of the API, once started
	Root     Credentials // of the first account
	Env      []string    // what a client finds in its environment

	t        *testing.T
	programs Programs
	mode     Mode
	cmd      *exec.Cmd
	log      *syncBuffer
	enforces string
	done     chan struct{}
}

// Install makes an empty installation; whatever it left on the host is removed at the end.
func (p Programs) Install(t *testing.T, mode Mode) *Installation {
	t.Helper()
	if mode == Up {
		NeedsRoot(t)
	}
	s := &Installation{t: t, programs: p, mode: mode, Data: t.TempDir()}
	t.Cleanup(func() {
		s.Kill()
		if mode == Up {
			if out, err := s.Command("down").CombinedOutput(); err != nil {
				t.Errorf("sallyport down: %v\n%s", err, out)
			}
		}
		if t.Failed() {
			t.Logf("sallyport said:\n%s", s.log)
		}
	})
	return s
}

// For is the installation in the hands of a test within the one that made it.
func (s *Installation) For(t *testing.T) *Installation {
	t.Helper()
	o := *s
	o.t = t
	return &o
}

// NeedsRoot skips where namespaces and BPF cannot be had.
func NeedsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and eBPF")
	}
}

// NeedsEnforcement skips where the kernel has not what `sallyport up` enforces and runs instances with.
func (s *Installation) NeedsEnforcement() {
	s.t.Helper()
	if _, why, lacks := strings.Cut(s.enforces, "NOTHING IS ENFORCED HERE: "); lacks {
		s.t.Skip("needs a kernel that enforces: " + why)
	}
}

const (
	silentMax = time.Minute      // a busy machine may be slow; a process that hangs is given up
	stopMax   = 20 * time.Second // requests under way get ten
)

// Start serves the installation and waits until it is ready.
func (s *Installation) Start() {
	s.t.Helper()
	s.log = &syncBuffer{}
	s.cmd = exec.Command(s.programs.Path("sallyport"), string(s.mode), "--data", s.Data, "--listen", "127.0.0.1:0", "--log", "info")
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
	ready := make(chan announcement, 1)
	go s.follow(out, ready)
	select {
	case a := <-ready:
		s.Endpoint, s.enforces = a.endpoint, a.enforces
		s.readCredentials()
		s.healthy()
	case <-s.done:
		s.t.Fatalf("sallyport %s ended:\n%s", s.mode, s.log)
	case <-time.After(silentMax):
		s.t.Fatalf("sallyport %s said nothing for %v:\n%s", s.mode, silentMax, s.log)
	}
	s.t.Logf("sallyport %s was ready after %v", s.mode, time.Since(begun)) // told, not judged: other suites share the machine
}

// announcement is what a process says when it is ready.
type announcement struct{ endpoint, enforces string }

// follow copies what the process says, finds its endpoint, and waits for its end.
func (s *Installation) follow(out io.Reader, ready chan<- announcement) {
	defer close(s.done)
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		_, _ = fmt.Fprintln(s.log, scan.Text())
		if _, rest, ok := strings.Cut(scan.Text(), "sallyport is ready at "); ok && scan.Scan() {
			ready <- announcement{endpoint: strings.Fields(rest)[0], enforces: scan.Text()}
		}
	}
	_ = s.cmd.Wait()
}

func (s *Installation) healthy() {
	s.t.Helper()
	res, err := http.Get(s.Endpoint + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("healthz answered %s (%v)", res.Status, err)
	}
}

// Stop ends sallyport as Ctrl-C does and expects a clean end.
func (s *Installation) Stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(stopMax):
		s.t.Fatalf("sallyport did not stop within %v of SIGINT", stopMax)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("sallyport ended with %d:\n%s", code, s.log)
	}
}

// Kill ends sallyport as a crash does; nothing if it is not running.
func (s *Installation) Kill() {
	if s.cmd == nil || s.done == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// syncBuffer holds what a process says while others read it.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
