package publish

import (
	"context"
	"errors"
	"flag"
	"fmt"
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

	"sallyport.dev/sallyport/internal/compile"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

const patience = 30 * time.Second

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// world is a store without the storing: its steps are followed as a store's are.
type world struct {
	mu      sync.Mutex
	snap    *state.Snapshot
	pending []state.Change
	ready   chan struct{}
}

func newWorld(changes ...func(*state.Tx)) *world {
	w := &world{snap: state.NewSnapshot(), ready: make(chan struct{}, 1)}
	w.step(func(tx *state.Tx) {
		for _, id := range []vpc.VPCID{"vpc-0", "vpc-1"} {
			tx.Put(&vpc.VPC{ID: id, Blocks: []vpc.Block{{Prefix: netip.MustParsePrefix("10.0.0.0/16")}}})
			tx.Put(&vpc.Subnet{ID: vpc.SubnetID(id) + "/subnet", VPC: id, Block: netip.MustParsePrefix("10.0.0.0/24")})
		}
		for h := range 3 {
			tx.Put(&vpc.Host{ID: vpc.HostID(fmt.Sprintf("h%d", h))})
		}
	})
	for _, c := range changes {
		w.step(c)
	}
	return w
}

func (w *world) step(change func(*state.Tx)) state.Revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	tx := w.snap.Begin()
	change(tx)
	w.pending = append(w.pending, tx.Changes()...)
	w.snap = tx.Next(w.snap.Revision() + 1)
	select {
	case w.ready <- struct{}{}:
	default:
	}
	return w.snap.Revision()
}

func (w *world) now() *state.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snap
}

func (w *world) Follow() Follower { return w }

func (w *world) First() *state.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = nil
	return w.snap
}

func (w *world) Next(ctx context.Context) (*state.Snapshot, []state.Change, error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-w.ready:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := w.pending
	w.pending = nil
	return w.snap, changes, nil
}

func (w *world) Close() {}

// mutate makes one random change; ids come from small sets, so that things meet.
func mutate(r *rand.Rand) func(*state.Tx) {
	return func(tx *state.Tx) {
		id := vpc.VPCID(fmt.Sprintf("vpc-%d", r.IntN(2)))
		group := vpc.GroupID(fmt.Sprintf("%s/sg-%d", id, r.IntN(4)))
		instance := vpc.InstanceID(fmt.Sprintf("%s/i-%d", id, r.IntN(4)))
		n := r.IntN(8)
		eni := vpc.InterfaceID(fmt.Sprintf("%s/eni-%d", id, n))
		switch r.IntN(5) {
		case 0, 1:
			rule := &vpc.Rule{
				ID: vpc.RuleID(fmt.Sprintf("%s/sgr-%d", group, r.IntN(5))), Group: group, Direction: packet.Direction(r.IntN(2)),
				Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: 80, To: 80}},
			}
			if r.IntN(2) == 0 {
				rule.Source.Group = vpc.GroupID(fmt.Sprintf("%s/sg-%d", id, r.IntN(4)))
			} else {
				rule.Source.CIDR = netip.MustParsePrefix("10.0.0.0/8")
			}
			tx.Put(rule)
		case 2:
			states := []vpc.InstanceState{vpc.Pending, vpc.Running, vpc.Running, vpc.Stopped, vpc.ShuttingDown, vpc.Terminated}
			tx.Put(&vpc.Instance{
				ID: instance, VPC: id, Host: vpc.HostID(fmt.Sprintf("h%d", r.IntN(3))), State: states[r.IntN(6)], Boot: int64(r.IntN(3)),
			})
		case 3:
			if old := tx.Interface(eni); old != nil {
				tx.Delete(old)
			}
		case 4:
			tx.Put(&vpc.Interface{
				ID: eni, VPC: id, Subnet: vpc.SubnetID(id) + "/subnet", Groups: []vpc.GroupID{group},
				Addrs:      []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})},
				Attachment: &vpc.Attachment{Instance: instance, DeviceIndex: n},
			})
		}
	}
}

// fixture is a publisher that follows a world and is served in memory.
type fixture struct {
	*Publisher
	t     *testing.T
	world *world
	at    feed.Endpoint

	mu      sync.Mutex
	refused error
	reports []feed.InstanceReport
}

func newFixture(t *testing.T, w *world) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	f := &fixture{t: t, world: w}
	f.Publisher = New(Options{
		Source: w, Log: log, Now: time.Now,
		Hello: func(context.Context, feed.Hello) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.refused
		},
		Instance: func(_ context.Context, _ feed.HostID, _ program.InstanceID, r feed.InstanceReport) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reports = append(f.reports, r)
			return nil
		},
	})
	l, e := feed.Memory()
	f.at = e
	run(t, f.Run)
	run(t, func(ctx context.Context) error { return feed.Serve(ctx, l, f.Publisher, log) })
	return f
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

// host enforces whatever it is told, at once.
type fakeHost struct {
	client *feed.Client
	stall  chan struct{} // when set, the host takes nothing until it is closed
	as     feed.State

	mu   sync.Mutex
	have *program.Host
}

func (h *fakeHost) Batch(d *program.Delta) {
	if h.stall != nil {
		<-h.stall
	}
	h.mu.Lock()
	h.have.Apply(d)
	r := &feed.Report{
		Revision: d.Revision, Interfaces: map[program.InterfaceID]feed.InterfaceStatus{},
		Instances: map[program.InstanceID]feed.InstanceReport{},
	}
	for id := range h.have.Interfaces {
		r.Interfaces[id] = feed.InterfaceStatus{State: h.as, Reason: "as told"}
	}
	for id, i := range h.have.Instances {
		r.Instances[id] = feed.InstanceReport{Boot: i.Boot, State: feed.InstanceUp}
	}
	h.mu.Unlock()
	h.client.Report(r)
}

func (h *fakeHost) Ask(_ context.Context, q feed.Question) feed.Answer {
	return feed.Answer{Output: []byte("console of " + string(q.Console))}
}

func (f *fixture) connect(id feed.HostID, h *fakeHost) (stop func()) {
	f.t.Helper()
	h.have = program.NewHost()
	h.client = feed.NewClient(f.at, feed.Hello{Host: id, Capacity: 4}, h, slog.New(slog.DiscardHandler))
	return run(f.t, h.client.Run)
}

func (f *fixture) waitFor(rev state.Revision) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := f.Wait(ctx, rev); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) same(id string, h *fakeHost) {
	f.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	want := compile.Host(f.world.now(), id)
	if diff := cmp.Diff(want, h.have, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		f.t.Errorf("host %s, -compiled +has:\n%s", id, diff)
	}
}

// Whatever the pace of the world and the connections, every host ends with what
// its world compiles to, and Wait returns when it has it.
func TestHostsFollowTheWorld(t *testing.T) {
	r := newRand(t)
	f := newFixture(t, newWorld())
	var hosts [3]*fakeHost
	var stops [3]func()
	for n := range hosts {
		hosts[n] = &fakeHost{as: feed.Enforced}
		stops[n] = f.connect(feed.HostID(fmt.Sprintf("h%d", n)), hosts[n])
	}
	for range 300 {
		rev := f.world.step(mutate(r))
		switch r.IntN(30) {
		case 0, 1:
			f.waitFor(rev)
		case 2:
			n := r.IntN(3)
			stops[n]()
			hosts[n] = &fakeHost{as: feed.Enforced}
			stops[n] = f.connect(feed.HostID(fmt.Sprintf("h%d", n)), hosts[n])
		}
	}
	rev := f.world.now().Revision()
	until(t, "all hosts connected", func() bool { return f.Connected("h0") && f.Connected("h1") && f.Connected("h2") })
	f.waitFor(rev)
	for n, h := range hosts {
		f.same(fmt.Sprintf("h%d", n), h)
	}
	for _, h := range f.Hosts() {
		if !h.Connected || h.Revision != program.Revision(rev) || h.Capacity != 4 {
			t.Errorf("host %+v", h)
		}
	}
}

func TestSlowHostHoldsUpNobody(t *testing.T) {
	r := newRand(t)
	f := newFixture(t, newWorld())
	slow, quick := &fakeHost{as: feed.Enforced, stall: make(chan struct{})}, &fakeHost{as: feed.Enforced}
	f.connect("h0", slow)
	f.connect("h1", quick)
	var rev state.Revision
	for range 2000 {
		rev = f.world.step(mutate(r))
	}
	until(t, "the quick host has the newest world", func() bool {
		for _, h := range f.Hosts() {
			if h.Host == "h1" {
				return h.Revision == program.Revision(rev)
			}
		}
		return false
	})
	close(slow.stall)
	until(t, "the slow host has it too", func() bool {
		slow.mu.Lock()
		defer slow.mu.Unlock()
		return slow.have.Revision == program.Revision(rev)
	})
	f.same("h0", slow)
	f.same("h1", quick)
}

// carrying puts an instance that is up, with an interface, on host h0.
func carrying(tx *state.Tx) {
	tx.Put(&vpc.Instance{ID: "i-1", VPC: "vpc-0", Host: "h0", State: vpc.Running, Boot: 1})
	tx.Put(&vpc.Interface{
		ID: "eni-1", VPC: "vpc-0", Subnet: "vpc-0/subnet", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
		Attachment: &vpc.Attachment{Instance: "i-1"},
	})
}

func TestWaitSaysWhoHasNot(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hosts map[feed.HostID]feed.State
		after state.Revision
		want  string
	}{
		{"nobody connected", nil, 0, "host h0 is not connected"},
		{"the carrier is away", map[feed.HostID]feed.State{"h1": feed.Enforced}, 0, "host h0 is not connected"},
		{"not enforced", map[feed.HostID]feed.State{"h0": feed.NotEnforced}, 0, "eni-1 on host h0 is not enforced: as told"},
		{"pending", map[feed.HostID]feed.State{"h0": feed.Pending}, 0, "eni-1 on host h0 is pending: as told"},
		{"not in the world", map[feed.HostID]feed.State{"h0": feed.Enforced}, 9, "is not in the world yet"},
		{"enforced", map[feed.HostID]feed.State{"h0": feed.Enforced}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, newWorld(carrying))
			for id, as := range tt.hosts {
				f.connect(id, &fakeHost{as: as})
				until(t, "receipt", func() bool {
					for _, h := range f.Hosts() {
						if h.Host == id {
							return h.Revision > 0
						}
					}
					return false
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := f.Wait(ctx, f.world.now().Revision()+tt.after)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// A receipt of an earlier connection does not count for the present one.
func TestConnectingAgainSupersedes(t *testing.T) {
	f := newFixture(t, newWorld(carrying))
	first, err := f.Attach(feed.Hello{Host: "h0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := f.Attach(feed.Hello{Host: "h0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Next(t.Context()); !errors.Is(err, errSuperseded) {
		t.Errorf("the first session goes on: %v", err)
	}
	first.Receipt(feed.Receipt{Revision: 99, Full: true})
	first.Close()
	if !f.Connected("h0") || f.Hosts()[0].Revision != 0 {
		t.Errorf("the first session's end or receipt counts: %+v", f.Hosts()[0])
	}
	out, err := second.Next(t.Context())
	if err != nil || !out.Batch.Delta.Full {
		t.Errorf("the second session begins with %+v, %v", out, err)
	}
	second.Close()
	if f.Connected("h0") {
		t.Error("still connected")
	}
}

func TestReportsAndQuestions(t *testing.T) {
	f := newFixture(t, newWorld(carrying))
	if _, err := f.Console(t.Context(), "h0", "i-1"); err == nil {
		t.Error("a host that is not connected answered")
	}
	stop := f.connect("h0", &fakeHost{as: feed.Enforced})
	until(t, "report", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.reports) > 0 && f.reports[0] == feed.InstanceReport{Boot: 1, State: feed.InstanceUp}
	})
	for range 20 {
		out, err := f.Console(t.Context(), "h0", "i-1")
		if err != nil || string(out) != "console of i-1" {
			t.Errorf("console %q, %v", out, err)
		}
	}
	stop()
	until(t, "goodbye", func() bool { return !f.Connected("h0") })
}

func TestRefusedHostIsNotFed(t *testing.T) {
	f := newFixture(t, newWorld(carrying))
	f.refused = errors.New("not one of ours")
	h := &fakeHost{}
	f.connect("h0", h)
	until(t, "refusal", func() bool { return strings.Contains(h.client.Link().Error, "not one of ours") })
	if h.have.Revision != 0 || f.Connected("h0") {
		t.Error("the host was fed")
	}
}
