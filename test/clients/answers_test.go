package clients_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBotocoreReadsWhatIsAnswered reads the answers of every operation, as the stories of internal/ops got them: no
// element is one that botocore does not know, and each value arrives.
func TestBotocoreReadsWhatIsAnswered(t *testing.T) {
	python := botocore(t)
	type answer struct {
		Action  string   `json:"action"`
		Body    string   `json:"body,omitempty"`
		Unknown []string `json:"unknown"`
		Sent    int      `json:"sent"`
		Read    int      `json:"read"`
	}
	files, err := filepath.Glob("../../internal/ops/testdata/xml/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers: ", err)
	}
	var in []answer
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, answer{Action: strings.TrimSuffix(filepath.Base(file), ".xml"), Body: string(body)})
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/read.py")
	cmd.Stdin = bytes.NewReader(data)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version string
		Answers []answer
	}
	if err := json.Unmarshal(out, &got); err != nil || len(got.Answers) != len(in) {
		t.Fatalf("%d of %d answers were read: %v", len(got.Answers), len(in), err)
	}
	for _, a := range got.Answers {
		if len(a.Unknown) > 0 && !older(got.Version, modelVersion) {
			t.Errorf("%s: botocore %s does not know %v", a.Action, got.Version, a.Unknown)
		}
		if a.Sent != a.Read {
			t.Errorf("%s: of %d values botocore read %d", a.Action, a.Sent, a.Read)
		}
	}
}
