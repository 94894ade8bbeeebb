// Package boto3_test runs boto3 against a Sallyport: clients and resources, waiters and paginators, old versions of
// the API. The tests are Python's, under testdata; each is a test here.
package boto3_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

// result is how one of Python's tests ended.
type result struct{ Test, Outcome, Text string }

// run runs a module of Python tests in accounts of its own.
func run(t *testing.T, s *installation.Installation, module string) {
	t.Helper()
	own, other := s.NewAccount(module), s.NewAccount("other than "+module)
	t.Run(module, func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), "python3", "run.py", module)
		cmd.Dir, cmd.Stderr = "testdata", os.Stderr
		cmd.Env = append(slices.Clip(s.Env), "PYTHONDONTWRITEBYTECODE=1",
			"AWS_ACCESS_KEY_ID="+own.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+own.SecretAccessKey, "ACCOUNT="+own.AccountID,
			"OTHER_KEY="+other.AccessKeyID, "OTHER_SECRET="+other.SecretAccessKey, "OTHER="+other.AccountID)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("python3: %v", err)
		}
		var results []result
		if err := json.Unmarshal(out, &results); err != nil || len(results) == 0 {
			t.Fatalf("%d results: %v in %q", len(results), err, out)
		}
		for _, r := range results {
			t.Run(r.Test, func(t *testing.T) {
				switch r.Outcome {
				case "ok":
				case "skipped":
					t.Skip(r.Text)
				default:
					t.Error(r.Text)
				}
			})
		}
	})
}

func needsBoto3(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute of processor: not with -short")
	}
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("needs boto3, which python3 cannot import")
	}
}

func TestBoto3(t *testing.T) {
	needsBoto3(t)
	s := programs.Install(t, installation.Server)
	s.Start()
	for _, module := range []string{"groups", "resources", "pages", "versions"} {
		run(t, s, module)
	}
}

func TestBoto3WithInstances(t *testing.T) {
	needsBoto3(t)
	s := programs.Install(t, installation.Up)
	s.Start()
	s.NeedsEnforcement()
	run(t, s, "instances")
}
