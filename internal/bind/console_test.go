//go:build linux

package bind

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"sallyport.dev/sallyport/internal/program"
)

// TestConsoleKeepsTheEnd: whatever is written, over whatever restarts, the last
// bytes are there and the file stays within its bound.
func TestConsoleKeepsTheEnd(t *testing.T) {
	dir := t.TempDir()
	var all []byte
	c, err := openConsole(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if i%50 == 49 { // the supervisor of the next boot
			if err := c.close(); err != nil {
				t.Fatal(err)
			}
			if c, err = openConsole(dir); err != nil {
				t.Fatal(err)
			}
		}
		b := fmt.Append(bytes.Repeat([]byte{'a' + byte(i%26)}, i*7), i, "\n")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
		st, err := os.Stat(c.path)
		if err != nil || st.Size() > 2*consoleBytesMax {
			t.Fatalf("write %d: %v, %v", i, st.Size(), err)
		}
		got, err := os.ReadFile(c.path)
		if err != nil || !bytes.HasSuffix(all, got) || len(got) < min(len(all), consoleBytesMax) {
			t.Fatalf("write %d: the file is not the end of what was written: %d bytes, %v", i, len(got), err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func TestCheckID(t *testing.T) {
	for id, ok := range map[program.InstanceID]bool{
		"i-0123456789abcdef0": true, "i-a": true,
		"": false, "i-": false, "i-..": false, "i-a/b": false, "i-A": false, "eni-1": false, "../i-a": false, "i-a\x00": false,
	} {
		if err := checkID(id); (err == nil) != ok {
			t.Errorf("checkID(%q): %v", id, err)
		}
	}
}

func TestRunnable(t *testing.T) {
	for data, ok := range map[string]bool{
		"#!/bin/sh\ntrue\n": true, "echo hi": true, "#a comment\necho hi": true, "x": true,
		"#cloud-config\n": false, "Content-Type: multipart/mixed; boundary=x": false, "MIME-Version: 1.0\n": false, "\x1f\x8b\x08": false,
	} {
		if err := runnable([]byte(data)); (err == nil) != ok {
			t.Errorf("runnable(%q): %v", data, err)
		}
	}
}
