// Package agent makes a host enforce and carry what its server wants: it takes
// programs from the feed, has the datapath write them into the kernel and the
// lab make instances and their links, and answers with what the kernel has.
//
// It is not the datapath nor the lab: it declares what it needs of them
// (Datapath, Lab) and owns the order in which they are called.
//
// Invariants: one goroutine decides everything; nothing is written before the
// first full state is here, so that a host whose server is away keeps what it
// has; a link is raised only when what judges it is attached, and what judges
// it is taken off only when the link is gone; a policy never waits for an
// instance; every failure is retried and stands in the status until it is over;
// an interface is called enforced only when this process has seen it so.
package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
)

const (
	// workersMax is how many instances and networks are worked on at once: the
	// work is waiting for the kernel's one lock of links, more would not help.
	workersMax = 4
	// sweepEvery is how long a flow that timed out may count against its budget.
	sweepEvery = 5 * time.Second
	// retryMin and retryMax bound the wait after a failure, doubled each time.
	retryMin = 100 * time.Millisecond
	retryMax = 30 * time.Second
)

// Attachment says where on the host an interface is judged.
type Attachment struct {
	NetNS    string // path of the network namespace; empty: the host's own
	IfIndex  int
	Reversed bool // this is the interface itself, not the host's side of a pair
}

// Datapath judges packets. Its methods may be called at the same time.
type Datapath interface {
	// Attach puts an interface's judgement on a link. Until Apply has given the
	// interface a program, everything is dropped. Again is fine; elsewhere moves it.
	Attach(id program.InterfaceID, at Attachment) error
	// Detach takes it off. Of the unknown: nil.
	Detach(id program.InterfaceID) error
	// Attached lists the interfaces that are attached, by whichever process.
	Attached() ([]program.InterfaceID, error)
	// Apply makes the kernel enforce h, of which d changed since the last Apply
	// that succeeded; nil: compare everything. h is read during the call only.
	Apply(h *program.Host, d *program.Delta) error
	// Sweep forgets flows that have timed out.
	Sweep(ctx context.Context) error
}

// Inventory is what a lab finds on its host, of whichever process.
type Inventory struct {
	Networks    []program.NetworkID
	Instances   []program.InstanceID
	Connections []Connected
}

// Connected is a connection between two networks that exists.
type Connected struct {
	ID   program.ConnectionID
	Ends [2]program.NetworkID
}

// Lab carries instances. Its methods may be called at the same time, but not
// for one instance, one network or one connection.
type Lab interface {
	List() (Inventory, error)
	EnsureNetwork(n *program.Network) error
	RemoveNetwork(id program.NetworkID) error
	// EnsureConnection joins two networks that are there, or brings the ways
	// between them up to date.
	EnsureConnection(c *program.Connection) error
	// RemoveConnection parts them. Of the unknown: nil.
	RemoveConnection(id program.ConnectionID) error
	// Prepare makes the instance's interfaces and no others; new links are
	// down. What ran of an earlier boot is stopped first.
	Prepare(i *program.Instance) (map[program.InterfaceID]Attachment, error)
	// Start raises the links and runs what a boot runs, once.
	Start(i *program.Instance) error
	// Stop ends everything that runs and removes the links. Of the unknown: nil.
	Stop(id program.InstanceID) error
	// Terminate stops, and forgets what a stop keeps. Of the unknown: nil.
	Terminate(id program.InstanceID) error
	Console(id program.InstanceID) ([]byte, error)
}

// Options of an Agent; all are required.
type Options struct {
	Hello    feed.Hello // Host, Build, Region, Capacity
	Server   feed.Endpoint
	Datapath Datapath
	Lab      Lab
	Log      *slog.Logger
}

// Agent is a host's agent.
type Agent struct {
	opts   Options
	client *feed.Client
	inbox  inbox
	status atomic.Pointer[Status]
}

// Status is how an agent stands; it is not changed once given.
type Status struct {
	Host       feed.HostID
	Link       feed.Link
	InSync     bool             // a full state has arrived from the server since this process began
	Desired    program.Revision // that the server wants
	Kernel     program.Revision // that the kernel has
	KernelTime time.Time        // since when
	Problem    string           // why Kernel is not Desired, or something is left undone; empty: nothing
	Interfaces map[program.InterfaceID]feed.InterfaceStatus
	Instances  map[program.InstanceID]feed.InstanceReport
}

// New is the agent of a host. It touches nothing before Run.
func New(o Options) *Agent {
	a := &Agent{opts: o}
	a.inbox.ready = make(chan struct{}, 1)
	a.client = feed.NewClient(o.Server, o.Hello, (*receiver)(a), o.Log)
	a.status.Store(&Status{Host: o.Hello.Host})
	return a
}

// Status is how the agent stands now.
func (a *Agent) Status() Status {
	s := *a.status.Load()
	s.Link = a.client.Link()
	return s
}

// Run works until ctx ends, then waits for what it has begun and leaves the
// kernel as it is.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.client.Run(ctx) })
	group.Go(func() error { return newReconciler(a).run(ctx) })
	group.Go(func() error { return a.sweep(ctx) })
	return group.Wait()
}

// sweep runs from the beginning, server or not: flows time out by what the
// kernel has, and dead ones would use up their interface's budget.
func (a *Agent) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for failed := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := a.opts.Datapath.Sweep(ctx)
		if err == nil || ctx.Err() != nil {
			failed = ""
		} else if err.Error() != failed {
			failed = err.Error()
			a.opts.Log.WarnContext(ctx, "flows not swept", "error", err)
		}
	}
}

// inbox holds what the server sent and the reconciler has not taken: one delta.
type inbox struct {
	mu      sync.Mutex
	pending *program.Delta
	ready   chan struct{} // holds a token when pending is there
}

// take is everything that is pending, nil if nothing is.
func (b *inbox) take() *program.Delta {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.pending
	b.pending = nil
	return d
}

// receiver is the agent as its feed client sees it.
type receiver Agent

// Batch keeps d for the reconciler.
func (r *receiver) Batch(d *program.Delta) {
	r.inbox.mu.Lock()
	if r.inbox.pending == nil {
		r.inbox.pending = d
	} else {
		feed.Squash(r.inbox.pending, d)
	}
	r.inbox.mu.Unlock()
	select {
	case r.inbox.ready <- struct{}{}:
	default:
	}
}

// Ask answers a question of the server's.
func (r *receiver) Ask(_ context.Context, q feed.Question) feed.Answer {
	out, err := r.opts.Lab.Console(q.Console)
	if err != nil {
		return feed.Answer{Problem: err.Error()}
	}
	return feed.Answer{Output: out}
}
