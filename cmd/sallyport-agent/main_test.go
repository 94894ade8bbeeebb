//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/feed"
)

func TestWhatItIsToldWrongIsSaid(t *testing.T) {
	ca, err := feed.OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := ca.Enrol("web-1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(file, bundle.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no server", nil, "--server is missing"},
		{"no bundle", []string{"--server", "10.0.0.1:4751"}, "needs an enrolment bundle"},
		{"no such bundle", []string{"--server", "10.0.0.1:4751", "--bundle", "/nowhere"}, "no such file"},
		{"another host's bundle", []string{"--server", "10.0.0.1:4751", "--bundle", file, "--host-id", "web-2"}, "enrols host web-1, not web-2"},
		{"no port", []string{"--server", "10.0.0.1", "--bundle", file}, "missing port"},
		{"a name that is none", []string{"--server", "/run/x", "--host-id", "a b"}, "cannot name a host"},
		{"unknown command", []string{"frobnicate"}, `there is no command "frobnicate"`},
		{"unknown argument", []string{"--server", "/run/x", "y"}, `what is "y"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), tt.args, &out, &errs); code != exitError || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit %d, %q, want %q", code, errs.String(), tt.want)
			}
		})
	}
}

func TestTheBundleNamesTheHost(t *testing.T) {
	ca, err := feed.OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := ca.Enrol("web-1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(file, bundle.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	e, id, err := options{server: "10.0.0.1:4751", bundle: file}.connect()
	if err != nil || id != "web-1" || e.String() != "10.0.0.1:4751" {
		t.Errorf("%s as %s, %v", e, id, err)
	}
}
