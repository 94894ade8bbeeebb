package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// operated is a server's unix socket in a data folder, without the rest of the server.
func operated(t *testing.T) (data string) {
	t.Helper()
	data = t.TempDir()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Dir: data, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Bootstrap(t.Context(), st, iam.Preset{}, "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	s := api.New(api.Options{Store: st, Log: log, Now: time.Now, Home: "us-east-1"})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(data, controlSocket))
	if err != nil {
		t.Fatal(err)
	}
	served := &http.Server{Handler: s.Control(), ReadHeaderTimeout: time.Minute}
	go func() { _ = served.Serve(listener) }() // ends when the test closes it
	t.Cleanup(func() {
		if err := served.Close(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return data
}

// ask runs a command as main does.
func ask(t *testing.T, data string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &complaints, getenv: func(name string) string {
		return map[string]string{"SALLYPORT_DATA": data}[name]
	}}
	code = run(t.Context(), env, args)
	return code, out.String(), complaints.String()
}

func TestQuotaCommand(t *testing.T) {
	data := operated(t)
	for _, test := range []struct {
		args  string
		code  int
		says  []string // in the output or, if the code is not 0, in the complaint
		never string
	}{
		{"quota list", exitOK, []string{"account 000000000001, profile guide-2018\n", "\nrules-per-group               50     profile\n"}, "override"},
		{"quota set rules-per-group=60 --account 000000000001 vpcs-per-region=9", exitOK, []string{
			"\nrules-per-group               60     override, profile: 50\n", "\nvpcs-per-region               9      override, profile: 5\n",
		}, ""},
		{"quota profile aws-today", exitOK, []string{"profile aws-today\n", "\nrules-per-group               60     override\n"}, ""},
		{"quota reset rules-per-group", exitOK, []string{"\nrules-per-group               60     profile\n", "9      override"}, ""},
		{"quota reset", exitOK, []string{"profile aws-today\n"}, "override"},
		{"quota", exitError, []string{"say what: list, set, reset or profile"}, ""},
		{"quota forget", exitError, []string{`there is no "forget"`}, ""},
		{"quota list all", exitError, []string{`unexpected argument "all"`}, ""},
		{"quota set", exitError, []string{"NAME=N"}, ""},
		{"quota set rules-per-group", exitError, []string{`"rules-per-group" is not NAME=N`}, ""},
		{"quota set rules-per-group=many", exitError, []string{`"rules-per-group=many" is not NAME=N`}, ""},
		{"quota set vpcs-per-region=1 vpcs-per-region=2", exitError, []string{"vpcs-per-region is set twice"}, ""},
		{"quota set rules-per-group=1001", exitError, []string{"rules-per-group can be from 1 to 1000, not 1001"}, ""},
		{"quota set shoes=2", exitError, []string{`There is no quota "shoes": vpcs-per-region, `}, ""},
		{"quota profile", exitError, []string{"guide-2018 or aws-today"}, ""},
		{"quota profile mine", exitError, []string{`There is no profile "mine"`}, ""},
		{"quota list --account 000000000077", exitError, []string{"The account 000000000077 does not exist"}, ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := ask(t, data, strings.Fields(test.args)...)
			said := stdout
			if test.code != exitOK {
				said = stderr
				if stdout != "" {
					t.Errorf("a refusal that answers %q", stdout)
				}
			}
			if code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, stderr)
			}
			for _, want := range test.says {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in:\n%s", want, said)
				}
			}
			if test.never != "" && strings.Contains(said, test.never) {
				t.Errorf("%q in:\n%s", test.never, said)
			}
		})
	}
}

func TestQuotaAsJSON(t *testing.T) {
	data := operated(t)
	_, stdout, stderr := ask(t, data, "quota", "set", "-o", "json", "groups-per-interface=16")
	d := json.NewDecoder(strings.NewReader(stdout))
	d.DisallowUnknownFields()
	var got answer.Quotas
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v in %q, %q", err, stdout, stderr)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Errorf("something follows: %v", err)
	}
	if got.AccountID != "000000000001" || got.Profile != "guide-2018" || len(got.Quotas) != len(vpc.EveryQuota()) {
		t.Errorf("%+v", got)
	}
	want := answer.Quota{Name: "groups-per-interface", Value: 16, Source: "override", Profile: 5, Max: 16}
	for _, q := range got.Quotas {
		if q.Name == want.Name && q != want {
			t.Errorf("%+v, want %+v", q, want)
		}
	}
}
