package agent

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/feed/feedtest"
	"sallyport.dev/sallyport/internal/program"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	return s
}

const patience = 30 * time.Second

func until(t *testing.T, ok func() string) {
	t.Helper()
	why := ok()
	for deadline := time.Now().Add(patience); why != ""; why = ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, why)
		}
		time.Sleep(time.Millisecond)
	}
}

func worldDiff(want, got *program.Host) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
}

// server is a hub for one host over the real feed. It judges receipts.
type server struct {
	t     *testing.T
	epoch string
	mu    sync.Mutex
	now   *program.Host
	last  *session
	state map[program.InterfaceID]feed.InterfaceStatus
	insts map[program.InstanceID]feed.InstanceReport
	prob  string
}

type session struct {
	*server
	sent    *program.Host
	wake    chan struct{}
	applied program.Revision
}

func newServer(t *testing.T, epoch string, now *program.Host) *server {
	t.Helper()
	return &server{
		t: t, epoch: epoch, now: now,
		state: map[program.InterfaceID]feed.InterfaceStatus{}, insts: map[program.InstanceID]feed.InstanceReport{},
	}
}

func (s *server) Epoch() string { return s.epoch }

func (s *server) Attach(hello feed.Hello) (feed.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &session{server: s, wake: make(chan struct{}, 1)}
	if s.last != nil && s.last.sent != nil && hello.Has == (feed.Position{Epoch: s.epoch, Revision: s.last.sent.Revision}) {
		n.sent = s.last.sent
	}
	s.last = n
	return n, nil
}

func (s *server) set(h *program.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = h
	if s.last != nil {
		select {
		case s.last.wake <- struct{}{}:
		default:
		}
	}
}

func (s *session) Next(ctx context.Context) (feed.Outgoing, error) {
	for {
		s.mu.Lock()
		now, sent := s.now, s.sent
		s.sent = now
		s.mu.Unlock()
		switch {
		case sent == nil:
			return feed.Outgoing{Batch: &feed.Batch{Delta: feedtest.Full(now)}}, nil
		case sent.Revision != now.Revision:
			return feed.Outgoing{Batch: &feed.Batch{Base: sent.Revision, Delta: feedtest.Diff(sent, now)}}, nil
		}
		select {
		case <-ctx.Done():
			return feed.Outgoing{}, ctx.Err()
		case <-s.wake:
		}
	}
}

func (s *session) Receipt(r feed.Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Revision < s.applied {
		s.t.Errorf("receipt of %d after %d", r.Revision, s.applied)
	}
	s.applied, s.prob = r.Revision, r.Problem
	if r.Full {
		clear(s.state)
	}
	for id, st := range r.Interfaces {
		if st.State != feed.Enforced && st.Reason == "" {
			s.t.Errorf("%s is %s without a reason", id, st.State)
		}
		s.state[id] = st
	}
	for _, id := range r.Gone {
		delete(s.state, id)
	}
}

func (s *session) Instance(id program.InstanceID, r feed.InstanceReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insts[id] = r
}

func (s *session) Answer(uint64, feed.Answer) {}
func (s *session) Close()                     {}

// told says what of h the server has not been told; empty: nothing.
func (s *server) told(h *program.Host) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.last.applied != h.Revision || s.prob != "" {
		return "no receipt of the newest revision; problem: " + s.prob
	}
	on := map[program.InterfaceID]bool{}
	for id, i := range h.Instances {
		want := feed.InstanceReport{Boot: i.Boot, State: feed.InstanceUp}
		if !i.Running {
			want.State = feed.InstanceGone
		}
		if got := s.insts[id]; got != want {
			return "instance " + string(id) + " is reported " + cmp.Diff(want, got)
		}
		for _, n := range i.NICs {
			on[n.Interface] = i.Running
		}
	}
	for id := range h.Interfaces {
		want := feed.Unbound
		if on[id] {
			want = feed.Enforced
		}
		if got := s.state[id]; got.State != want {
			return "interface " + string(id) + " is reported " + got.State.String() + ": " + got.Reason
		}
	}
	if len(s.state) != len(h.Interfaces) {
		return "interfaces are reported that are not there"
	}
	return ""
}

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

func serve(t *testing.T, s *server) (feed.Endpoint, func()) {
	t.Helper()
	l, e := feed.Memory()
	return e, run(t, func(ctx context.Context) error { return feed.Serve(ctx, l, s, slog.New(slog.DiscardHandler)) })
}

func start(t *testing.T, m *machine, e feed.Endpoint) (*Agent, func()) {
	t.Helper()
	a := New(Options{
		Hello: feed.Hello{Host: "h"}, Server: e, Datapath: &fakeDatapath{machine: m}, Lab: fakeLab{m},
		Log: slog.New(slog.DiscardHandler),
	})
	return a, run(t, a.Run)
}

func settle(t *testing.T, m *machine, s *server, h *program.Host) {
	t.Helper()
	until(t, func() string { return m.converged(h) })
	until(t, func() string { return s.told(h) })
}

// Whatever the splitting and squashing of deltas, the failures on the way, and
// the restarts of both sides, the host ends as the newest world wants it.
func TestEndsAsDesiredWhateverTheWay(t *testing.T) {
	s := seed(t)
	for n := range uint64(6) {
		r := rand.New(rand.NewPCG(s, n))
		w := feedtest.NewWorld(r.Uint64())
		m := newMachine(t)
		srv := newServer(t, "0", w.Host())
		e, stopServer := serve(t, srv)
		_, stopAgent := start(t, m, e)
		for step := range 60 {
			w.Step()
			srv.set(w.Host())
			m.mu.Lock()
			if m.rand = nil; r.IntN(2) == 0 {
				m.rand = rand.New(rand.NewPCG(r.Uint64(), 0))
			}
			m.mu.Unlock()
			switch r.IntN(14) {
			case 0:
				stopAgent()
				_, stopAgent = start(t, m, e)
			case 1: // a new process of the server, and so a new agent's endpoint
				stopServer()
				stopAgent()
				srv = newServer(t, string(rune('a'+step)), w.Host())
				e, stopServer = serve(t, srv)
				_, stopAgent = start(t, m, e)
			case 2:
				m.mu.Lock()
				m.rand = nil
				m.mu.Unlock()
				settle(t, m, srv, w.Host())
			case 3, 4, 5:
				time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // squash more or less
			}
		}
		m.mu.Lock()
		m.rand = nil
		m.mu.Unlock()
		settle(t, m, srv, w.Host())
		stopAgent()
		stopServer()
	}
}

// furnished is a world with instances, settled on a machine.
func furnished(t *testing.T) (*feedtest.World, *machine, *server, feed.Endpoint, *Agent, func()) {
	t.Helper()
	w := feedtest.NewWorld(5)
	for range 25 {
		w.Step()
	}
	m := newMachine(t)
	s := newServer(t, "e", w.Host())
	e, _ := serve(t, s)
	a, stop := start(t, m, e)
	settle(t, m, s, w.Host())
	return w, m, s, e, a, stop
}

func TestNothingIsWrittenBeforeInSync(t *testing.T) {
	_, m, _, _, _, stop := furnished(t)
	stop()
	before, _ := m.count()
	l, nowhere := feed.Memory()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	a, stop := start(t, m, nowhere)
	until(t, func() string {
		if a.Status().Link.Error == "" {
			return "no attempt yet"
		}
		return ""
	})
	stop()
	if after, _ := m.count(); after != before {
		t.Errorf("%d writes without a server", after-before)
	}
	if s := a.Status(); s.InSync || s.Link.Connected {
		t.Errorf("status %+v", s)
	}
}

func TestRestartDisturbsNothing(t *testing.T) {
	w, m, s, e, _, stop := furnished(t)
	stop()
	m.mu.Lock()
	attached, boots, indexes := len(m.attached), 0, m.indexes
	for _, n := range m.boots {
		boots += n
	}
	m.mu.Unlock()
	_, _ = start(t, m, e)
	settle(t, m, s, w.Host())
	m.mu.Lock()
	defer m.mu.Unlock()
	again := 0
	for _, n := range m.boots {
		again += n
	}
	if len(m.attached) != attached || again != boots || m.indexes != indexes {
		t.Errorf("attached %d then %d, started %d then %d, links %d then %d",
			attached, len(m.attached), boots, again, indexes, m.indexes)
	}
}

// What went while no agent was there is removed by the next one, and only that.
func TestLeftoversGoAfterInSync(t *testing.T) {
	_, m, _, _, _, stop := furnished(t)
	stop()
	empty := program.NewHost()
	empty.Revision = 1000
	s := newServer(t, "later", empty)
	e, _ := serve(t, s)
	_, _ = start(t, m, e)
	settle(t, m, s, empty)
}

// An instance that takes its time holds up neither rules nor other instances.
func TestSlowInstanceHoldsUpNothing(t *testing.T) {
	w, m, s, _, a, _ := furnished(t)
	h := w.Host()
	slow := &program.Instance{ID: "i-slow", Network: "vpc-new", Running: true, Boot: 1, NICs: []program.NIC{{Interface: "eni-slow"}}}
	h.Networks["vpc-new"] = &program.Network{ID: "vpc-new"}
	h.Instances[slow.ID] = slow
	h.Interfaces["eni-slow"] = &program.Interface{ID: "eni-slow", Network: "vpc-new"}
	h.Revision++
	m.mu.Lock()
	m.stuck, m.stuckAt = make(chan struct{}), slow.ID
	m.mu.Unlock()
	s.set(h)
	until(t, func() string {
		if st := a.Status().Interfaces["eni-slow"]; st.State != feed.Pending || a.Status().Kernel != h.Revision {
			return "eni-slow is " + st.State.String()
		}
		return ""
	})
	h2 := feedtest.Clone(h)
	h2.Members[program.Member{Network: "vpc-new", Addr: netip.MustParseAddr("10.9.9.9")}] = program.Groups{"sg-1"}
	h2.Instances["i-quick"] = &program.Instance{ID: "i-quick", Network: "vpc-new", Running: true, Boot: 1}
	h2.Revision++
	s.set(h2)
	until(t, func() string {
		if st := a.Status(); st.Kernel != h2.Revision || st.Instances["i-quick"].State != feed.InstanceUp {
			return "the slow instance holds up the others"
		}
		return ""
	})
	close(m.stuck)
	settle(t, m, s, h2)
}

func TestFailureOfApplyIsSaidAndRetriedWhole(t *testing.T) {
	w, m, s, _, a, _ := furnished(t)
	m.mu.Lock()
	m.broken = errors.New("map full")
	m.mu.Unlock()
	had := a.Status().Kernel
	w.Step()
	s.set(w.Host())
	until(t, func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !strings.Contains(s.prob, "map full") {
			return "the server was not told"
		}
		return ""
	})
	st := a.Status()
	if st.Kernel != had || st.Desired == had {
		t.Errorf("kernel %d, desired %d, had %d", st.Kernel, st.Desired, had)
	}
	for id, i := range st.Interfaces {
		if i.State == feed.Enforced || i.State == feed.NotEnforced && i.Reason == "" {
			t.Errorf("%s is %s (%s)", id, i.State, i.Reason)
		}
	}
	w.Step()
	s.set(w.Host())
	m.mu.Lock()
	m.broken = nil
	m.mu.Unlock()
	settle(t, m, s, w.Host())
}

// Rules and members go to the kernel without a look at the lab.
func TestRuleChangeTouchesOnlyTheDatapath(t *testing.T) {
	w, m, s, _, _, _ := furnished(t)
	writes, applies := m.count()
	h := w.Host()
	for n := range 20 {
		h = feedtest.Clone(h)
		h.Members[program.Member{Network: "vpc-0", Addr: netip.AddrFrom4([4]byte{10, 7, 7, byte(n)})}] = program.Groups{"sg-1"}
		h.Revision++
		s.set(h)
	}
	settle(t, m, s, h)
	w2, a2 := m.count()
	if w2-writes != a2-applies || a2 == applies {
		t.Errorf("%d writes, of which %d are the datapath's", w2-writes, a2-applies)
	}
}

func TestAdoptedInterfaceWithoutLinkIsNotEnforced(t *testing.T) {
	w, m, s, _, a, _ := furnished(t)
	_ = m
	h := w.Host()
	h.Interfaces["eni-nic"] = &program.Interface{ID: "eni-nic", Network: "vpc-0", Kind: program.KindAdopted}
	h.Revision++
	s.set(h)
	until(t, func() string {
		if st := a.Status().Interfaces["eni-nic"]; st.State != feed.NotEnforced || st.Reason == "" {
			return st.State.String()
		}
		return ""
	})
}

// Who can be reached is part of what is enforced: while a connection that should be gone is there, the interfaces of
// its networks are not called enforced, and others are.
func TestConnectionThatStaysIsSaid(t *testing.T) {
	_, m, s, _, a, _ := furnished(t)
	h := program.NewHost()
	h.Revision = 1000
	way := &program.Connection{ID: "pcx-1"}
	for n, id := range []program.NetworkID{"vpc-x", "vpc-y", "vpc-z"} {
		h.Networks[id] = &program.Network{ID: id}
		eni, inst := "eni-"+program.InterfaceID(id), "i-"+program.InstanceID(id)
		h.Interfaces[eni] = &program.Interface{ID: eni, Network: id}
		h.Instances[inst] = &program.Instance{ID: inst, Network: id, Running: true, Boot: 1, NICs: []program.NIC{{Interface: eni}}}
		if n < 2 {
			way.Ends[n] = *h.Networks[id]
		}
	}
	h.Connections[way.ID] = way
	s.set(h)
	settle(t, m, s, h)
	m.mu.Lock()
	m.joined = errors.New("device busy")
	m.mu.Unlock()
	parted := feedtest.Clone(h)
	delete(parted.Connections, way.ID)
	parted.Revision++
	s.set(parted)
	until(t, func() string {
		st := a.Status()
		for eni, want := range map[program.InterfaceID]feed.State{
			"eni-vpc-x": feed.NotEnforced, "eni-vpc-y": feed.NotEnforced, "eni-vpc-z": feed.Enforced,
		} {
			if got := st.Interfaces[eni]; got.State != want || (want == feed.NotEnforced) != strings.Contains(got.Reason, "device busy") {
				return string(eni) + " is " + got.State.String() + ": " + got.Reason
			}
		}
		if !strings.Contains(st.Problem, "device busy") {
			return "the host's problem is " + st.Problem
		}
		return ""
	})
	m.mu.Lock()
	m.joined = nil
	m.mu.Unlock()
	settle(t, m, s, parted)
}
