package transcript_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/transcript"
)

const document = "Text.\n\n```console\n$ one\nprints\n\nthis\n$ two \\\n>   more\n```\n\n```console\nno command\n```\n\n```console\n$ three\n```\n"

func TestBlocks(t *testing.T) {
	want := []transcript.Step{{Command: "one", Output: "prints\n\nthis\n"}, {Command: "two \\\n  more"}, {Command: "three"}}
	got := transcript.Blocks(document)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if typed := got[1].Typed(); typed != "$ two \\\n>   more\n" {
		t.Errorf("two is typed %q", typed)
	}
}

func TestShell(t *testing.T) {
	sh := transcript.NewShell(t, t.TempDir(), nil)
	for _, row := range []struct{ command, output, status string }{
		{"x=kept", "", "0"},
		{"echo $x", "kept\n", "0"},
		{"printf 'no newline'", "no newline", "0"},
		{"echo wrong >&2; (exit 3)", "wrong\n", "3"},
		{"echo one \\\ntwo", "one two\n", "0"},
	} {
		if output, status := sh.Run(row.command); output != row.output || status != row.status {
			t.Errorf("%s printed %q and ended with %s", row.command, output, status)
		}
	}
}
