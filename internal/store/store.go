// Package store keeps the world in etcd, and nothing else does: an etcd inside
// the process over one data folder, or an external cluster, by one code path.
//
// Operations go in through Do, as functions of a transaction; worlds come out
// as immutable snapshots, each of them durable before anybody sees it. It is
// not the world's meaning: what an entity is, and which worlds are legal, is
// the business of the operations and of package vpc.
//
// Invariants. Every commit is one etcd transaction, guarded by the head key,
// that holds all entities and journal records of its operations: so nothing is
// half there. An operation is answered after its commit is on disk: so nothing
// acknowledged is lost. The snapshot that is published is the one that etcd
// holds, at the same revision. DESIGN.md has the protocol and its failures.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/state"
)

const (
	// batchOpsMax bounds the writes of one etcd transaction, the guard's
	// included. The largest single operation is RunInstances of a thousand
	// instances, four writes each.
	batchOpsMax = 8192
	// batchBytesMax bounds the size of one etcd transaction; etcd advises
	// against requests of more than 10 MB.
	batchBytesMax = 8 << 20
	// queueMax bounds the operations that wait for the committer; past it, Do
	// itself waits.
	queueMax = 1024
	// journalKeepDefault is some months of an ordinary fleet's changes, at two
	// or three kilobytes each.
	journalKeepDefault = 100_000
)

// DefaultPrefix is where a world stands in etcd unless Options says otherwise.
const DefaultPrefix = "/sallyport/"

// ErrClosed answers operations that come to a store that is closed or closing.
var ErrClosed = errors.New("the store is closed")

// ErrOutcomeUnknown is wrapped in the answer to an operation whose caller
// stopped waiting, or whose commit could not be observed: it may have been
// committed or may be later. The world tells.
var ErrOutcomeUnknown = errors.New("the outcome is not known")

// Options says where the world is kept.
type Options struct {
	// Dir is the data folder of the embedded etcd; it is made if absent.
	Dir string
	// Endpoints are an external cluster's; then Dir is not used.
	Endpoints []string
	// TLS is for the connection to Endpoints; nil: none.
	TLS *tls.Config
	// Prefix begins every key and ends with a slash; empty: DefaultPrefix.
	Prefix string
	// JournalKeep is for how many revisions journal records are kept; 0: a
	// default, negative: for ever.
	JournalKeep int
	// Log must not be nil.
	Log *slog.Logger
}

// Store is an open world. Its methods may be called by many goroutines.
type Store struct {
	log         *slog.Logger
	keys        keys
	kv          clientv3.KV
	watcher     clientv3.Watcher
	sole        bool // nobody else can write: the etcd is inside this process
	journalKeep int

	world atomicWorld
	subs  subscribers

	queue  chan *call
	stop   chan struct{} // closed by Close: take no more operations
	ended  chan struct{} // closed when the committer has ended
	failed chan struct{} // closed after failure is set
	group  *errgroup.Group
	cancel context.CancelFunc

	closing  sync.Once
	failure  error // why the committer ended; nil: it was closed
	closeErr error
	release  func() error // gives back etcd and the data folder
}

type atomicWorld = atomic.Pointer[world]

// world is a snapshot and where it stands in etcd.
type world struct {
	snap *state.Snapshot
	head int64         // etcd's revision of the head key at the snapshot's commit
	next chan struct{} // closed when another world was published
}

// Open opens the world, making an empty one where there is none, and starts
// its committer. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.JournalKeep == 0 {
		o.JournalKeep = journalKeepDefault
	}
	b, err := openBackend(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, o, b)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return s, nil
}

// backend is an etcd, wherever it runs.
type backend struct {
	kv      clientv3.KV
	watcher clientv3.Watcher
	sole    bool
	close   func() error
}

func open(ctx context.Context, o Options, b backend) (*Store, error) {
	s := &Store{
		log:         o.Log,
		keys:        keys{prefix: o.Prefix},
		kv:          b.kv,
		watcher:     b.watcher,
		sole:        b.sole,
		journalKeep: o.JournalKeep,
		queue:       make(chan *call, queueMax),
		stop:        make(chan struct{}),
		ended:       make(chan struct{}),
		failed:      make(chan struct{}),
		release:     b.close,
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	l, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.world.Store(&world{snap: l.snap, head: l.head, next: make(chan struct{})})
	c := newCommitter(s, l)
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.group, run = errgroup.WithContext(run)
	s.group.Go(func() error { return c.run(run) })
	s.group.Go(func() error { return c.follow(run, l.revision+1) })
	s.group.Go(func() error { return s.sweep(run) })
	return s, nil
}

// Failed is closed if the store can go on no longer: nothing more is written,
// Snapshot stays what it was, and Err says why. The process should end.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is why the store failed; nil as long as it has not.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// Close lets the commit that is under way end, refuses what waits, and gives
// the data folder back. The world stays.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		<-s.ended
		s.cancel()
		err := s.group.Wait()
		s.subs.close()
		if rerr := s.release(); rerr != nil {
			err = errors.Join(err, fmt.Errorf("closing etcd: %w", rerr))
		}
		s.closeErr = err
	})
	return s.closeErr
}

// Snapshot is the newest world known here. It is durable.
func (s *Store) Snapshot() *state.Snapshot { return s.world.Load().snap }

// Barrier is a world that has every change which any server acknowledged
// before the call.
func (s *Store) Barrier(ctx context.Context) (*state.Snapshot, error) {
	if s.sole {
		return s.Snapshot(), s.Err()
	}
	got, err := s.kv.Get(ctx, s.keys.head(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, fmt.Errorf("reading the head of the world: %w", err)
	}
	if len(got.Kvs) == 0 {
		return nil, errors.New("reading the head of the world: it is gone")
	}
	for {
		w := s.world.Load()
		if w.head >= got.Kvs[0].ModRevision {
			return w.snap, nil
		}
		select {
		case <-w.next:
		case <-s.failed:
			return nil, s.failure
		case <-s.stop:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for revision of etcd %d: %w", got.Kvs[0].ModRevision, context.Cause(ctx))
		}
	}
}

// publish makes a world the one that readers see. Only the committer calls it.
func (s *Store) publish(snap *state.Snapshot, head int64, changes []state.Change) {
	next := &world{snap: snap, head: head, next: make(chan struct{})}
	old := s.subs.publish(&s.world, next, changes)
	close(old.next)
}
