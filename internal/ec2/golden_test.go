package ec2_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ec2/gen"
)

// golden is one request recorded from a real client; client names the program and its version.
type golden struct {
	Client  string
	Action  string
	Version string
	Params  map[string]string
	Decoded json.RawMessage
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", "golden_requests.jsonl"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []golden
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			tb.Fatal(err)
		}
		all = append(all, g)
	}
	if err := lines.Err(); err != nil || len(all) < 284 {
		tb.Fatalf("read %d recorded requests: %v", len(all), err)
	}
	return all
}

// form is the request as its client would send it.
func (g golden) form() string {
	v := url.Values{"Action": {g.Action}, "Version": {g.Version}}
	for name, value := range g.Params {
		v.Set(name, value)
	}
	return v.Encode()
}

func TestRecordedRequestsDecode(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.Action, func(t *testing.T) {
			p, err := ec2.ParseForm(g.form())
			if err != nil {
				t.Fatal(err)
			}
			version, err := ec2.ParseVersion(ec2.ServiceEC2, p)
			if err != nil || string(version) != g.Version {
				t.Fatalf("version %q, %v", version, err)
			}
			got, err := ec2.Decode(g.Action, p)
			if err != nil {
				t.Fatalf("%s sent %v: %v", g.Client, g.Params, err)
			}
			a, err := ec2.Lookup(g.Action)
			if err != nil {
				t.Fatal(err)
			}
			want := a.New()
			dec := json.NewDecoder(bytes.NewReader(g.Decoded))
			dec.DisallowUnknownFields()
			if err := dec.Decode(want); err != nil {
				t.Fatalf("the recorded value: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s sent %v (-want +got):\n%s", g.Client, g.Params, diff)
			}
		})
	}
}

// The committed files are what the generator makes of the committed model. It runs in this process, so that go
// test's cache notices a change of either.
func TestGeneratedFilesAreFresh(t *testing.T) {
	files, err := gen.Generate(gen.Committed())
	if err != nil {
		t.Fatal(err)
	}
	committed, err := filepath.Glob("*_gen.go")
	if err != nil || len(committed) != len(files) {
		t.Fatalf("%d generated files are committed, the generator makes %d: run go generate (%v)", len(committed), len(files), err)
	}
	for name, want := range files {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes: run go generate ./internal/ec2", name)
		}
	}
}
