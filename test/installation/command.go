package installation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Credentials are an account's key.
type Credentials struct {
	AccountID       string `json:"AccountId"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string `json:"SecretAccessKey"`
}

// readCredentials takes the file that people source into the environment of the clients, and away what their
// user has told them besides.
func (s *Installation) readCredentials() {
	s.t.Helper()
	file := filepath.Join(s.Data, "credentials.env")
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("%s has mode %v, want 0600", file, info.Mode())
	}
	s.Env = append(os.Environ(), "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	for line := range strings.Lines(string(text)) {
		export := strings.TrimSpace(strings.TrimPrefix(line, "export "))
		s.Env = append(s.Env, export)
		switch name, value, _ := strings.Cut(export, "="); name {
		case "AWS_ACCESS_KEY_ID":
			s.Root.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			s.Root.SecretAccessKey = value
		}
	}
}

// NewAccount makes an account and a key for it.
func (s *Installation) NewAccount(name string) Credentials {
	s.t.Helper()
	var c Credentials
	s.Ask(&c, "account", "create", "--name", name)
	s.Ask(&c, "key", "create", "--account", c.AccountID)
	if c.AccountID == "" || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		s.t.Fatalf("a new account has %+v", c)
	}
	return c
}

// Command is a command of this installation.
func (s *Installation) Command(args ...string) *exec.Cmd {
	words := 1
	if slices.Contains([]string{"account", "key", "host", "quota"}, args[0]) {
		words = 2 // a noun and a verb
	}
	cmd := exec.Command(s.programs.Path("sallyport"), slices.Concat(args[:words], []string{"--data", s.Data}, args[words:])...)
	cmd.Env = s.Env
	return cmd
}

// Ask runs a command of this installation and decodes its JSON; it returns the exit code.
func (s *Installation) Ask(out any, args ...string) int {
	s.t.Helper()
	cmd := s.Command(append(args, "-o", "json")...)
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

// Settled waits until every kernel has the newest revision.
func (s *Installation) Settled() {
	s.t.Helper()
	if out, err := s.Command("wait", "--timeout", "15s").CombinedOutput(); err != nil {
		s.t.Fatalf("sallyport wait: %v\n%s", err, out)
	}
}

// AWS runs `aws ec2` and returns what a --query selects, as text.
func (s *Installation) AWS(args ...string) string {
	s.t.Helper()
	out, err := s.TryAWS(args...)
	if err != nil {
		s.t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// TryAWS is AWS for a command that may be refused.
func (s *Installation) TryAWS(args ...string) (string, error) {
	s.t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		s.t.Skip("needs the AWS CLI (aws), which is not installed")
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "aws", append([]string{"ec2", "--output", "text"}, args...)...)
	cmd.Env = s.Env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
