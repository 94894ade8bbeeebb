package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/credentials"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/feed/feedtest"
	"sallyport.dev/sallyport/internal/program"
)

const patience = 20 * time.Second

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// hub is a server's side that judges: sessions that overlap in use, receipts
// that go backwards and use after Close fail the test.
type hub struct {
	t        *testing.T
	epoch    string
	mu       sync.Mutex
	world    *feedtest.World
	hellos   []Hello
	refuse   error
	session  *session
	state    map[program.InterfaceID]InterfaceStatus
	receipts []Receipt
	reports  map[program.InstanceID]InstanceReport
	answers  map[uint64]Answer
	spoil    func(*program.Delta)
}

type session struct {
	*hub
	host    *program.Host // what the agent has
	wake    chan struct{}
	ask     chan Question
	end     chan struct{}
	closed  bool
	applied program.Revision
	heard   bool
}

func newHub(t *testing.T, w *feedtest.World) *hub {
	t.Helper()
	return &hub{
		t: t, epoch: "one", world: w, state: map[program.InterfaceID]InterfaceStatus{},
		reports: map[program.InstanceID]InstanceReport{}, answers: map[uint64]Answer{},
	}
}

func (h *hub) Epoch() string { return h.epoch }

func (h *hub) Attach(hello Hello) (Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hellos = append(h.hellos, hello)
	if h.refuse != nil {
		return nil, h.refuse
	}
	s := &session{hub: h, wake: make(chan struct{}, 1), ask: make(chan Question, 1), end: make(chan struct{})}
	if h.session != nil && !h.session.closed {
		close(h.session.end)
	}
	if hello.Has.Epoch == h.epoch && h.session != nil && h.session.host != nil && hello.Has.Revision == h.session.host.Revision {
		s.host = h.session.host
	}
	h.session = s
	return s, nil
}

// step changes the world and wakes the session.
func (h *hub) step() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.Step()
	if h.session != nil {
		select {
		case h.session.wake <- struct{}{}:
		default:
		}
	}
}

func (s *session) Next(ctx context.Context) (Outgoing, error) {
	for {
		s.mu.Lock()
		now := s.world.Host()
		if s.host == nil || s.host.Revision != now.Revision {
			b := &Batch{Delta: feedtest.Full(now)}
			if s.host != nil {
				b = &Batch{Base: s.host.Revision, Delta: feedtest.Diff(s.host, now)}
			}
			s.host = now
			if s.spoil != nil {
				s.spoil(b.Delta)
			}
			s.mu.Unlock()
			return Outgoing{Batch: b}, nil
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return Outgoing{}, ctx.Err()
		case <-s.end:
			return Outgoing{}, errors.New("superseded")
		case q := <-s.ask:
			return Outgoing{Question: &q}, nil
		case <-s.wake:
		}
	}
}

func (s *session) Receipt(r Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if r.Full == s.heard {
		s.t.Errorf("receipt %d: full %t, heard before %t", r.Revision, r.Full, s.heard)
	}
	if r.Revision < s.applied {
		s.t.Errorf("receipt of %d after %d", r.Revision, s.applied)
	}
	s.applied, s.heard = r.Revision, true
	if r.Full {
		clear(s.state)
	}
	maps.Copy(s.state, r.Interfaces)
	for _, id := range r.Gone {
		delete(s.state, id)
	}
	s.receipts = append(s.receipts, r)
}

func (s *session) Instance(id program.InstanceID, r InstanceReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[id] = r
}

func (s *session) Answer(q uint64, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[q] = a
}

func (s *session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.t.Error("session closed twice")
	}
	s.closed = true
}

// host is an agent's side that applies what it gets.
type host struct {
	mu     sync.Mutex
	have   *program.Host
	fulls  int
	client *Client
	stall  chan struct{} // when set, Batch waits for it
}

func (h *host) Batch(d *program.Delta) {
	if h.stall != nil {
		<-h.stall
	}
	h.mu.Lock()
	if d.Full {
		h.fulls++
	}
	h.have.Apply(d)
	r := &Report{Revision: d.Revision, Interfaces: map[program.InterfaceID]InterfaceStatus{}, Instances: map[program.InstanceID]InstanceReport{}}
	for id := range h.have.Interfaces {
		r.Interfaces[id] = InterfaceStatus{State: Enforced, Revision: d.Revision}
	}
	for id, i := range h.have.Instances {
		r.Instances[id] = InstanceReport{Boot: i.Boot, State: InstanceUp}
	}
	h.mu.Unlock()
	h.client.Report(r)
}

func (h *host) Ask(_ context.Context, q Question) Answer {
	return Answer{Output: []byte("console of " + string(q.Console))}
}

func (h *host) revision() program.Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.have.Revision
}

// deaf takes what it gets and says nothing.
type deaf struct{}

func (deaf) Batch(*program.Delta)                 {}
func (deaf) Ask(context.Context, Question) Answer { return Answer{} }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// run starts f and gives what stops it and waits for it.
func run(t *testing.T, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return f(ctx) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func serve(t *testing.T, l *Listener, h Hub) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) error { return Serve(ctx, l, h, quiet()) })
}

func attach(t *testing.T, e Endpoint, id HostID) (*host, func()) {
	t.Helper()
	h := &host{have: program.NewHost()}
	h.client = NewClient(e, Hello{Host: id, Build: "test", Capacity: 3}, h, quiet())
	return h, run(t, h.client.Run)
}

func (h *hub) revision() program.Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.world.Host().Revision
}

func (h *hub) applied() program.Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		return 0
	}
	return h.session.applied
}

func same(t *testing.T, h *hub, a *host) {
	t.Helper()
	until(t, "receipt of the newest revision", func() bool { return h.applied() == h.revision() })
	h.mu.Lock()
	defer h.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff(h.world.Host(), a.have, worldEqual); diff != "" {
		t.Errorf("-server +host:\n%s", diff)
	}
	if len(h.state) != len(a.have.Interfaces) {
		t.Errorf("server heard of %d interfaces, host has %d", len(h.state), len(a.have.Interfaces))
	}
}

func TestStreamOverEachTransport(t *testing.T) {
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*Listener, Endpoint, error){
		"memory": func() (*Listener, Endpoint, error) { l, e := Memory(); return l, e, nil },
		"unix": func() (*Listener, Endpoint, error) {
			path := filepath.Join(t.TempDir(), "feed.sock")
			l, err := ListenUnix(path)
			return l, UnixEndpoint(path), err
		},
		"tls": func() (*Listener, Endpoint, error) {
			l, err := ListenTLS("127.0.0.1:0", ca)
			if err != nil {
				return nil, Endpoint{}, err
			}
			b, err := ca.Enrol("host-1")
			if err != nil {
				return nil, Endpoint{}, err
			}
			e, err := TLSEndpoint(l.Addr().String(), b)
			return l, e, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, e, err := open()
			if err != nil {
				t.Fatal(err)
			}
			h := newHub(t, feedtest.NewWorld(seed(t)))
			serve(t, l, h)
			a, _ := attach(t, e, "host-1")
			for range 30 {
				h.step()
			}
			same(t, h, a)
			if got := h.hellos[0]; got.Host != "host-1" || got.Protocol != Protocol || got.Capacity != 3 || got.Build != "test" {
				t.Errorf("hello %+v", got)
			}
			h.session.ask <- Question{ID: 5, Console: "i-1"}
			until(t, "answer", func() bool {
				h.mu.Lock()
				defer h.mu.Unlock()
				return string(h.answers[5].Output) == "console of i-1"
			})
		})
	}
}

// A host that reconnects to the same server goes on from what it has; one that
// meets a new server gets everything.
func TestReconnect(t *testing.T) {
	s := seed(t)
	r := rand.New(rand.NewPCG(s, 2))
	world := feedtest.NewWorld(s)
	path := filepath.Join(t.TempDir(), "feed.sock")
	h := newHub(t, world)
	start := func() func() {
		l, err := ListenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		return serve(t, l, h)
	}
	stop := start()
	a, _ := attach(t, UnixEndpoint(path), "h")
	for n := range 12 {
		h.step()
		if r.IntN(2) == 0 {
			same(t, h, a)
		}
		stop()
		h.step()
		if n%3 == 2 {
			h = newHub(t, world)
			h.epoch = fmt.Sprint(n)
		}
		stop = start()
	}
	same(t, h, a)
	if a.fulls < 1 || a.fulls > 5 {
		t.Errorf("%d full states for 5 servers", a.fulls)
	}
}

func TestResumeNeedsNoFullState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.sock")
	h := newHub(t, feedtest.NewWorld(1))
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, l, h)
	a, _ := attach(t, UnixEndpoint(path), "h")
	h.step()
	same(t, h, a)
	stop()
	h.step()
	if l, err = ListenUnix(path); err != nil {
		t.Fatal(err)
	}
	serve(t, l, h)
	same(t, h, a)
	if a.fulls != 1 {
		t.Errorf("%d full states", a.fulls)
	}
}

// What a host cannot read it does not apply, says so, and asks for everything.
func TestUnreadableBatchIsReportedAndRepeated(t *testing.T) {
	l, e := Memory()
	h := newHub(t, feedtest.NewWorld(1))
	h.spoil = func(d *program.Delta) {
		d.Networks = map[program.NetworkID]*program.Network{"vpc-bad": {ID: "vpc-bad", CIDRs: make([]netip.Prefix, 1)}}
	}
	serve(t, l, h)
	a, _ := attach(t, e, "h")
	until(t, "receipt with the problem", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.receipts) > 0 && strings.Contains(h.receipts[len(h.receipts)-1].Problem, "vpc-bad")
	})
	if a.revision() != 0 {
		t.Error("the batch was applied")
	}
	h.mu.Lock()
	h.spoil = nil
	h.mu.Unlock()
	h.step()
	same(t, h, a)
	if r := h.receipts[len(h.receipts)-1]; r.Problem != "" {
		t.Errorf("problem still there: %s", r.Problem)
	}
}

// A host that does not read costs its server one state in memory, and gets the
// newest one when it reads again.
func TestSlowHostGetsTheNewestState(t *testing.T) {
	l, e := Memory()
	h := newHub(t, feedtest.NewWorld(seed(t)))
	serve(t, l, h)
	a := &host{have: program.NewHost(), stall: make(chan struct{})}
	a.client = NewClient(e, Hello{Host: "h"}, a, quiet())
	run(t, a.client.Run)
	for range 3000 {
		h.step() // never waits for the host
	}
	close(a.stall)
	same(t, h, a)
}

func TestReceiptsSayOnlyWhatChanged(t *testing.T) {
	l, e := Memory()
	w := feedtest.NewWorld(1)
	h := newHub(t, w)
	serve(t, l, h)
	c := NewClient(e, Hello{Host: "h"}, deaf{}, quiet())
	mk := func(rev program.Revision, m map[program.InterfaceID]InterfaceStatus) *Report {
		return &Report{Revision: rev, Interfaces: m}
	}
	c.Report(mk(1, map[program.InterfaceID]InterfaceStatus{"a": {State: Enforced, Revision: 1}, "b": {State: Enforced, Revision: 1}}))
	run(t, c.Run)
	until(t, "first receipt", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.receipts) > 0 })
	c.Report(mk(2, map[program.InterfaceID]InterfaceStatus{"a": {State: Enforced, Revision: 2}, "c": {State: NotEnforced, Reason: "x"}}))
	until(t, "second receipt", func() bool { return h.applied() == 2 })
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.receipts[len(h.receipts)-1]
	if diff := cmp.Diff(map[program.InterfaceID]InterfaceStatus{"c": {State: NotEnforced, Reason: "x"}}, last.Interfaces); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]program.InterfaceID{"b"}, last.Gone); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenTLS("127.0.0.1:0", ca)
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, feedtest.NewWorld(1))
	serve(t, l, h)
	endpoint := func(ca *CA, name HostID, change func(*Bundle)) Endpoint {
		b, err := ca.Enrol(name)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(b)
		}
		e, err := TLSEndpoint(l.Addr().String(), b)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, tt := range []struct {
		name     string
		endpoint Endpoint
		want     string
	}{
		{"another host's certificate", endpoint(ca, "host-2", nil), `the certificate is host "host-2"'s`},
		{"another authority's certificate", endpoint(other, "host-1", func(b *Bundle) { b.CA = encodeCert(ca.cert.Raw) }), ""}, // TLS 1.3 tells the client late, or not at all
		{"another authority's server", endpoint(other, "host-1", nil), "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, stop := attach(t, tt.endpoint, "host-1")
			until(t, "refusal", func() bool { return a.client.Link().Error != "" })
			if got := a.client.Link().Error; !strings.Contains(got, tt.want) {
				t.Errorf("error %q, not %q", got, tt.want)
			}
			if a.revision() != 0 {
				t.Error("a batch came")
			}
			stop()
		})
	}
	if len(h.hellos) != 0 {
		t.Errorf("the hub heard of %+v", h.hellos)
	}
	t.Run("by the hub", func(t *testing.T) {
		h.refuse = errors.New("no such host")
		a, _ := attach(t, endpoint(ca, "host-1", nil), "host-1")
		until(t, "refusal", func() bool { return strings.Contains(a.client.Link().Error, "no such host") })
	})
}

// A host's certificate is no server's: a host cannot pose as the server to others.
func TestHostCannotPoseAsServer(t *testing.T) {
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		purpose x509.ExtKeyUsage
		want    string
	}{
		{serverName, x509.ExtKeyUsageClientAuth, "incompatible key usage"},
		{"host-1", x509.ExtKeyUsageServerAuth, "not " + serverName},
	} {
		der, key, err := ca.issue(tt.name, tt.purpose)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ListenTLS("127.0.0.1:0", ca)
		if err != nil {
			t.Fatal(err)
		}
		l.creds = credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		h := newHub(t, feedtest.NewWorld(1))
		serve(t, l, h)
		b, err := ca.Enrol("host-2")
		if err != nil {
			t.Fatal(err)
		}
		e, err := TLSEndpoint(l.Addr().String(), b)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := attach(t, e, "host-2")
		until(t, "refusal", func() bool { return a.client.Link().Error != "" })
		if got := a.client.Link().Error; !strings.Contains(got, tt.want) || len(h.hellos) > 0 {
			t.Errorf("error %q, not %q", got, tt.want)
		}
	}
}

func TestNewerProtocolIsRefusedClearly(t *testing.T) {
	_, err := readHello(&feedpb.Hello{Protocol: Protocol + 1, Host: "h"})
	if want := "agent speaks protocol 3, this server up to 2: upgrade the server first"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = readHello(&feedpb.Hello{Protocol: 1, Host: "h"})
	if want := "agent speaks protocol 1, this server from 2: upgrade the agent"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	l, e := Memory()
	serve(t, l, newHub(t, feedtest.NewWorld(1)))
	conn, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := feedpb.NewFeedClient(conn).Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&feedpb.FromAgent{Body: &feedpb.FromAgent_Hello{Hello: &feedpb.Hello{Protocol: 99, Host: "h"}}})
	if _, err := stream.Recv(); !errors.Is(named(err), ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func TestUnixSocketIsItsOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := ListenUnix(path); err == nil {
		t.Error("two servers on one socket")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket left behind: %v", err)
	}
	// A server that was killed leaves its socket; the next one takes its place.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd)); err != nil {
		t.Fatal(err)
	}
	if l, err = ListenUnix(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestEnrolment(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.cert.Equal(again.cert) {
		t.Error("the authority changed")
	}
	b, err := again.Enrol("web-1.example")
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseBundle(b.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, back); diff != "" {
		t.Error(diff)
	}
	if host, err := back.Host(); err != nil || host != "web-1.example" {
		t.Errorf("host %q, %v", host, err)
	}
	for _, bad := range []HostID{"", "a b", "-a", "a/b", HostID(strings.Repeat("a", 64)), "ä"} {
		if _, err := again.Enrol(bad); err == nil {
			t.Errorf("%q was enrolled", bad)
		}
	}
	for _, text := range []string{"", "x", string(b.CA), string(b.Marshal()) + string(b.CA)} {
		if _, err := ParseBundle([]byte(text)); err == nil {
			t.Errorf("read as a bundle: %.20q…", text)
		}
	}
}
