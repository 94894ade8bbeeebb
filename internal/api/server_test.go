package api_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/sigv4"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// server is the whole path of a request, on a store of its own.
type server struct {
	*httptest.Server
	api   *api.Server
	store *store.Store
	key   sigv4.Credentials
}

func newServer(tb testing.TB) *server {
	tb.Helper()
	return newServerOn(tb, store.Options{Dir: tb.TempDir()})
}

// newServerOn is a server on the store of the options, which it may share with others.
func newServerOn(tb testing.TB, o store.Options) *server {
	tb.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	st, err := store.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := api.Bootstrap(tb.Context(), st, iam.Preset{}, "us-east-1", time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	s := api.New(api.Options{Store: st, Log: slog.New(slog.DiscardHandler), Now: time.Now, Home: "us-east-1"})
	h := httptest.NewServer(s.Handler())
	tb.Cleanup(func() {
		h.Close()
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &server{Server: h, api: s, store: st, key: sigv4.Credentials{AccessKeyID: string(key.ID), SecretAccessKey: key.Secret}}
}

// group is the default VPC's group with a name.
func (s *server) group(tb testing.TB, name string) *vpc.SecurityGroup {
	tb.Helper()
	w := s.store.Snapshot()
	for v := range w.VPCsIn(vpc.Scope{Account: iam.FirstAccount, Region: "us-east-1"}) {
		if g := w.GroupNamed(v.ID, name); g != nil {
			return g
		}
	}
	tb.Fatalf("no group %s", name)
	return nil
}

// reply is what a client sees.
type reply struct {
	status   int
	code     string
	message  string
	body     string
	revision uint64
}

// send sends a signed form as it is.
func (s *server) send(ctx context.Context, form string) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/", strings.NewReader(form))
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := sigv4.Sign(r, []byte(form), s.key, "us-east-1", "ec2", time.Now()); err != nil {
		return reply{}, err
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) (reply, error) {
	res, err := s.Client().Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}, err
	}
	out := reply{status: res.StatusCode, body: string(body)}
	out.revision, _ = strconv.ParseUint(res.Header.Get("x-sallyport-revision"), 10, 64)
	var e struct {
		Errors struct {
			Error struct{ Code, Message string }
		}
	}
	if out.status != http.StatusOK {
		if err := xml.NewDecoder(bytes.NewReader(body)).Decode(&e); err != nil {
			return out, err
		}
		out.code, out.message = e.Errors.Error.Code, e.Errors.Error.Message
	}
	return out, nil
}

// call sends an action with parameters, "Name=value" each.
func (s *server) call(tb testing.TB, action string, params ...string) reply {
	tb.Helper()
	out, err := s.send(tb.Context(), form(action, params...))
	if err != nil {
		tb.Fatalf("%s: %v", action, err)
	}
	return out
}

func form(action string, params ...string) string {
	v := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		v.Set(name, value)
	}
	return v.Encode()
}
