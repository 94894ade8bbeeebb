// Package javascript_test runs the AWS SDK for JavaScript against a Sallyport: a tour over the families of
// operations, with paginators and waiters. What it needs is pinned under testdata and stands in a cache folder.
package javascript_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

// modules is the folder into which `tools/install javascript` puts what the lock file names.
func modules(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, which is not installed", program)
		}
	}
	lock, err := os.ReadFile("testdata/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("needs a cache folder: %v", err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "sallyport", "javascript-"+hex.EncodeToString(sum[:8]), "node_modules")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs the AWS SDK for JavaScript, which tools/install javascript installs")
	}
	return dir
}

// tour runs a part of the tour; each of its stops is a test.
func tour(t *testing.T, s *installation.Installation, part string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "testdata/tour.cjs", part)
	cmd.Env = append(s.Env, "NODE_PATH="+modules(t))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var stops []struct{ Name, Error string }
	if json.Unmarshal(out, &stops) != nil || len(stops) == 0 {
		t.Fatalf("the tour ended with %v after %q", err, out)
	}
	for _, stop := range stops {
		t.Run(stop.Name, func(t *testing.T) {
			if stop.Error != "" {
				t.Error(stop.Error)
			}
		})
	}
}

func TestTour(t *testing.T) {
	modules(t)
	s := programs.Install(t, installation.Server)
	s.Start()
	tour(t, s, "network")
}

func TestTourWithInstances(t *testing.T) {
	modules(t)
	s := programs.Install(t, installation.Up)
	s.Start()
	s.NeedsEnforcement()
	tour(t, s, "instances")
}
