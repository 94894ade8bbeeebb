// Package publish keeps what each connected host should enforce up to date with
// the world, hands it to the feed, and collects what the hosts' kernels have.
//
// It compiles nothing itself (room compile) and speaks no protocol (room feed):
// it is the hub between them. It is also where the server knows what is
// enforced: a revision is somewhere when that host's receipt says so, not
// before.
//
// Invariants: a host gets every step of the world, or one step in place of
// many; nothing queues without bound: a host that does not read leaves one set
// of changes to be compiled, or one whole compilation, waiting. A host that
// connects again supersedes its own earlier session.
package publish

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
)

const (
	// window is how long a change waits for others that go in the same step:
	// revoke and authorise of one client's turn are one switch in the kernel.
	window = 5 * time.Millisecond
	// changesMax is how many changes wait for a host before compiling it whole is cheaper.
	changesMax = 100_000
)

// Source is where worlds come from.
type Source interface {
	// Follow begins with the newest world.
	Follow() Follower
}

// Follower is a way along the world's steps; it belongs to one goroutine.
type Follower interface {
	First() *state.Snapshot
	// Next waits for the world to move on, and gives it with all that changed.
	Next(ctx context.Context) (*state.Snapshot, []state.Change, error)
	Close()
}

// Options of a Publisher; all are required.
type Options struct {
	Source Source
	Log    *slog.Logger
	Now    func() time.Time
	// Hello is called when a host connects, before it is fed. An error refuses it.
	Hello func(context.Context, feed.Hello) error
	// Instance is called with what a host reports of a lab instance.
	Instance func(context.Context, feed.HostID, program.InstanceID, feed.InstanceReport) error
}

// Publisher is the hub that feeds the hosts. It implements feed.Hub.
type Publisher struct {
	Options
	epoch string

	mu    sync.Mutex
	world *state.Snapshot // the newest; nil before Run
	hosts map[feed.HostID]*host
	moved chan struct{}   // closed when a world, a receipt or a connection changed something
	ctx   context.Context // of Run: what hosts report is committed under it
	ready chan struct{}   // closed when Run has begun
}

// host is what is known of a host since this process began.
type host struct {
	session    *session // nil: not connected
	lastSeen   time.Time
	capacity   int
	revision   program.Revision // that its kernel has
	problem    string
	interfaces map[program.InterfaceID]feed.InterfaceStatus
}

// New is a publisher that Run sets going.
func New(o Options) *Publisher {
	return &Publisher{
		Options: o, epoch: rand.Text(), hosts: map[feed.HostID]*host{}, moved: make(chan struct{}), ready: make(chan struct{}),
	}
}

// Epoch names this process of the server.
func (p *Publisher) Epoch() string { return p.epoch }

// Run follows the world until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	follower := p.Source.Follow()
	defer follower.Close()
	p.mu.Lock()
	p.world, p.ctx = follower.First(), ctx
	p.tell()
	p.mu.Unlock()
	close(p.ready)
	for {
		world, changes, err := follower.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil // it was told to end
			}
			return fmt.Errorf("following the world: %w", err)
		}
		p.mu.Lock()
		p.world = world
		for _, h := range p.hosts {
			if h.session != nil {
				h.session.step(world, changes)
			}
		}
		p.tell()
		p.mu.Unlock()
	}
}

// errSuperseded ends the session of a host that has connected again.
var errSuperseded = errors.New("the host has connected again")

// Attach opens the session of a host.
func (p *Publisher) Attach(hello feed.Hello) (feed.Session, error) {
	<-p.ready
	p.mu.Lock()
	ctx := p.ctx
	p.mu.Unlock()
	if err := p.Hello(ctx, hello); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[hello.Host]
	if h == nil {
		h = &host{interfaces: map[program.InterfaceID]feed.InterfaceStatus{}}
		p.hosts[hello.Host] = h
	}
	if h.session != nil {
		h.session.end(errSuperseded)
	}
	h.session = newSession(p, hello.Host, p.world)
	h.capacity, h.lastSeen, h.revision = hello.Capacity, p.Now(), 0
	p.tell()
	return h.session, nil
}

// tell wakes those who wait for receipts. The caller holds mu.
func (p *Publisher) tell() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// of runs f on a session's host, if the session is still the host's.
func (p *Publisher) of(s *session, f func(h *host)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hosts[s.host]; h != nil && h.session == s {
		h.lastSeen = p.Now()
		f(h)
		p.tell()
	}
}

// HostStatus is what is known of a host.
type HostStatus struct {
	Host       feed.HostID
	Connected  bool
	LastSeen   time.Time
	Capacity   int
	Revision   program.Revision
	Problem    string // why a newer revision is not in its kernel; empty: none
	Interfaces []InterfaceStatus
}

// InterfaceStatus is what a host said of an interface.
type InterfaceStatus struct {
	ID program.InterfaceID
	feed.InterfaceStatus
}

// Hosts is what is known of every host that was connected since this process
// began, and of those that should carry instances and never were.
func (p *Publisher) Hosts() []HostStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []HostStatus
	for id, h := range p.hosts {
		s := HostStatus{
			Host: id, Connected: h.session != nil, LastSeen: h.lastSeen, Capacity: h.capacity, Revision: h.revision, Problem: h.problem,
		}
		for _, i := range slices.Sorted(maps.Keys(h.interfaces)) {
			s.Interfaces = append(s.Interfaces, InterfaceStatus{i, h.interfaces[i]})
		}
		out = append(out, s)
	}
	for _, id := range p.absent() {
		if p.hosts[id] == nil {
			out = append(out, HostStatus{Host: id})
		}
	}
	slices.SortFunc(out, func(a, b HostStatus) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

// absent lists the hosts that should carry running instances and are not
// connected. The caller holds mu.
func (p *Publisher) absent() []feed.HostID {
	if p.world == nil {
		return nil
	}
	var out []feed.HostID
	for h := range p.world.Hosts() {
		id := feed.HostID(h.ID)
		if known := p.hosts[id]; known != nil && known.session != nil {
			continue
		}
		for i := range p.world.InstancesOn(h.ID) {
			if i.State.Up() {
				out = append(out, id)
				break
			}
		}
	}
	return out
}

// Connected says whether a host has a session.
func (p *Publisher) Connected(id feed.HostID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[id]
	return h != nil && h.session != nil
}

// Wait returns nil when every bound interface has at least rev in its kernel.
// When ctx ends first, the error says who has not.
func (p *Publisher) Wait(ctx context.Context, rev state.Revision) error {
	for {
		p.mu.Lock()
		lagging, moved := p.lagging(program.Revision(rev)), p.moved
		p.mu.Unlock()
		if lagging == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return lagging
		}
	}
}

// lagging says who does not have rev; nil: nobody. The caller holds mu.
func (p *Publisher) lagging(rev program.Revision) error {
	if p.world == nil || program.Revision(p.world.Revision()) < rev {
		return fmt.Errorf("revision %d is not in the world yet", rev)
	}
	if absent := p.absent(); len(absent) > 0 {
		return fmt.Errorf("host %s is not connected", absent[0])
	}
	connected := false
	for _, id := range slices.Sorted(maps.Keys(p.hosts)) {
		h := p.hosts[id]
		if h.session == nil {
			continue
		}
		connected = true
		if err := h.lagging(id, rev); err != nil {
			return err
		}
	}
	if !connected {
		return errors.New("no host is connected: nothing is enforced")
	}
	return nil
}

func (h *host) lagging(id feed.HostID, rev program.Revision) error {
	for _, i := range slices.Sorted(maps.Keys(h.interfaces)) {
		if s := h.interfaces[i]; s.State == feed.NotEnforced {
			return fmt.Errorf("%s on host %s is not enforced: %s", i, id, s.Reason)
		} else if s.State == feed.Pending {
			return fmt.Errorf("%s on host %s is pending: %s", i, id, s.Reason)
		}
	}
	if h.revision < rev {
		return fmt.Errorf("host %s has revision %d of %d %s", id, h.revision, rev, h.problem)
	}
	return nil
}

// Console asks a host for an instance's console output.
func (p *Publisher) Console(ctx context.Context, id feed.HostID, instance program.InstanceID) ([]byte, error) {
	p.mu.Lock()
	var s *session
	if h := p.hosts[id]; h != nil {
		s = h.session
	}
	p.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("host %s is not connected", id)
	}
	a, err := s.ask(ctx, instance)
	if err != nil {
		return nil, fmt.Errorf("asking host %s: %w", id, err)
	}
	if a.Problem != "" {
		return nil, fmt.Errorf("host %s: %s", id, a.Problem)
	}
	return a.Output, nil
}
