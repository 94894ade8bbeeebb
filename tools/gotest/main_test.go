package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a throw-away module with one test file.
func module(t *testing.T, test string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.test/m\n\ngo 1.26\n", "m_test.go": test} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, source string
		code         int
		want, never  []string
		last         string
	}{
		{
			name: "skips are counted by reason and go test's line is last",
			source: `package m
import "testing"
func TestA(t *testing.T) { t.Skip("needs root") }
func TestB(t *testing.T) { t.Log("first"); t.Skip("needs root") }
func TestC(t *testing.T) {}
`,
			want:  []string{"skipped 2: needs root (TestA, TestB)"},
			never: []string{"=== RUN", "--- SKIP", "first"},
			last:  "ok  \texample.test/m",
		},
		{
			name: "a failure is shown and its exit code kept",
			source: `package m
import "testing"
func TestA(t *testing.T) { t.Error("two is not three") }
func TestB(t *testing.T) { t.Log("quiet") }
func TestC(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Error("deep") }) }
`,
			code:  1,
			want:  []string{"--- FAIL: TestA (0.00s)\n    m_test.go:3: two is not three\n", "--- FAIL: TestC (0.00s)\n    --- FAIL: TestC/sub (0.00s)\n        m_test.go:5: deep\n", "skipped 0", "FAIL\texample.test/m"},
			never: []string{"quiet"},
			last:  "FAIL",
		},
		{
			name: "a panic is shown with the tests it cut off",
			source: `package m
import "testing"
func TestA(t *testing.T) { t.Parallel(); select {} }
func TestB(t *testing.T) { t.Log("went here"); panic("broken") }
`,
			code: 1,
			want: []string{"went here", "panic: broken", "goroutine "},
			last: "FAIL",
		},
		{
			name: "what does not compile is shown",
			source: `package m
import "testing"
func TestA(t *testing.T) { undefinedName() }
`,
			code: 1,
			want: []string{"undefined: undefinedName", "[build failed]"},
			last: "FAIL",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := module(t, tt.source)
			var out, errs strings.Builder
			code, err := run(dir, []string{"-count=1", "./..."}, &out, &errs)
			if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, s := range tt.want {
				if !strings.Contains(out.String(), s) {
					t.Errorf("output lacks %q:\n%s", s, out.String())
				}
			}
			for _, s := range tt.never {
				if strings.Contains(out.String(), s) {
					t.Errorf("output has %q:\n%s", s, out.String())
				}
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if got := lines[len(lines)-1]; !strings.HasPrefix(got, tt.last) {
				t.Errorf("last line %q, want %q", got, tt.last)
			}
		})
	}
}

// TestReasonOf pins what counts as the reason of a skip.
func TestReasonOf(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{nil, "no reason given"},
		{[]string{"=== RUN   TestA", "--- SKIP: TestA (0.00s)"}, "no reason given"},
		{[]string{"    a_test.go:3: about to try", "    a_test.go:4: needs CAP_BPF", "--- SKIP: TestA (0.00s)"}, "needs CAP_BPF"},
	} {
		if got := reasonOf(tt.lines); got != tt.want {
			t.Errorf("reasonOf(%q) = %q, want %q", tt.lines, got, tt.want)
		}
	}
}
