package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
)

const (
	// commitTimeout is how long etcd may take before the outcome of a commit
	// counts as unknown and is looked up.
	commitTimeout = 10 * time.Second
	// retryPause is between two attempts to reach an etcd that does not answer.
	retryPause = 200 * time.Millisecond
	// closeTimeout is how long Close waits for the commit under way.
	closeTimeout = 5 * time.Second
	// writeOverhead is an upper bound of what one write adds to a request
	// besides its key and value.
	writeOverhead = 32
)

// Do runs op on a transaction and commits what it changed, together with its
// journal records. It returns when the change is on disk, with the revision
// that the change made.
//
// op is run by the committer, one operation at a time, on a world which may
// not be durable yet, and is run again when another server changed the world
// meanwhile: so it assigns its results and never appends to them. If op fails
// or changes nothing it leaves no trace, and the revision is that of the world
// it saw, which is durable when Do returns.
//
// If ctx ends before op is run, op is dropped. If ctx ends later, Do returns
// an error that wraps ErrOutcomeUnknown: the answer is lost, the change may not
// be, and op may still be running, so nothing it assigns may be read.
func (s *Store) Do(ctx context.Context, op func(tx *state.Tx) error) (state.Revision, error) {
	c := &call{op: op, gone: ctx.Done(), done: make(chan outcome, 1)}
	select {
	case <-s.stop:
		return 0, ErrClosed
	default:
	}
	select {
	case s.queue <- c:
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the committer: %w", context.Cause(ctx))
	case <-s.ended:
		return 0, s.endedErr()
	}
	select {
	case out := <-c.done:
		return out.revision, out.err
	case <-ctx.Done():
		if c.taken.CompareAndSwap(false, true) {
			return 0, fmt.Errorf("waiting for the committer: %w", context.Cause(ctx))
		}
		return 0, fmt.Errorf("waiting for the commit: %w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	case <-s.ended:
	}
	select {
	case out := <-c.done:
		return out.revision, out.err
	default:
		return 0, s.endedErr() // it came after the committer's last look at the queue
	}
}

func (s *Store) endedErr() error {
	if s.failure != nil {
		return fmt.Errorf("the store failed: %w", s.failure)
	}
	return ErrClosed
}

// call is an operation on its way through the committer.
type call struct {
	op    func(*state.Tx) error
	gone  <-chan struct{} // closed when the caller no longer waits
	taken atomic.Bool     // by the committer, to run it, or by its caller, to drop it
	done  chan outcome    // holds one
}

type outcome struct {
	revision state.Revision
	err      error
}

// batch is what one etcd transaction commits.
type batch struct {
	world   *state.Snapshot // after its calls
	calls   []answer
	changes state.ChangeSet
	values  map[string][]byte // by key; nil: deleted
	records []clientv3.Op
	size    int
	mark    string // of its commit in the head

	dead  bool // its guard failed: it was not committed and never will be
	moved bool // the head has moved since; by whom is not known yet
}

// answer is what a call will be told once its batch is durable.
type answer struct {
	call *call
	outcome
	wrote bool
}

func (b *batch) writes() bool { return len(b.values)+len(b.records) > 0 }

func (b *batch) full() bool {
	return len(b.values)+len(b.records)+1 >= batchOpsMax || b.size >= batchBytesMax
}

// committer is the one goroutine that runs operations and moves the world on.
// While one batch is being written the next one is filled on top of it.
type committer struct {
	*Store
	decode decoder
	loaded int64 // etcd's revision of the last full reading

	flight *batch  // being written; nil: none
	next   *batch  // being filled; nil: empty
	again  []*call // to be run before the queue is read on
	stale  bool    // the watch missed something: read everything anew

	results chan result
	groups  chan group
	origin  string // begins the mark of each commit
	commits uint64
}

// result is etcd's answer for a batch, or for the fence behind it.
type result struct {
	batch     *batch
	head      int64
	succeeded bool
	fence     bool
	err       error
}

func newCommitter(s *Store, l *loaded) *committer {
	return &committer{
		Store:   s,
		decode:  newDecoder(s.keys),
		loaded:  l.revision,
		results: make(chan result),
		groups:  make(chan group),
		origin:  rand.Text(),
	}
}

func (c *committer) newMark() string {
	c.commits++
	return c.origin + "-" + strconv.FormatUint(c.commits, 10)
}

// run runs the committer until the store is closed, or cannot go on.
func (c *committer) run(ctx context.Context) error {
	err := c.loop(ctx)
	if err == nil {
		c.abandon(ErrClosed)
	} else {
		c.log.ErrorContext(ctx, "store failed", "err", err)
		c.failure = err
		c.abandon(fmt.Errorf("the store failed: %w", err))
		close(c.failed)
	}
	close(c.ended)
	return err
}

// loop ends without an error when the store is closed.
func (c *committer) loop(ctx context.Context) error {
	stop, expired := c.stop, (<-chan time.Time)(nil)
	for {
		if stop != nil {
			if err := c.proceed(ctx); err != nil {
				return err
			}
		} else if c.flight == nil || c.flight.dead {
			return nil
		}
		queue := c.queue
		if stop == nil || c.stale || len(c.again) > 0 {
			queue = nil
		}
		select {
		case call := <-queue:
			c.again = append(c.again, call)
		case r := <-c.results:
			c.settle(ctx, r)
		case g := <-c.groups:
			if err := c.observe(g); err != nil {
				return err
			}
		case <-stop:
			stop = nil
			timer := time.NewTimer(closeTimeout)
			defer timer.Stop()
			expired = timer.C
		case <-expired:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// proceed does whatever can be done without waiting for an answer.
func (c *committer) proceed(ctx context.Context) error {
	if c.stale && (c.flight == nil || c.flight.dead || c.flight.moved) {
		if err := c.reload(ctx); err != nil {
			return err
		}
	}
	for !c.stale && (c.flight == nil || !c.flight.dead) {
		for len(c.again) > 0 && c.fill(c.again[0]) {
			c.again = c.again[1:]
		}
		idle := len(c.again) == 0 && len(c.queue) == 0
		if c.flight != nil || c.next == nil || len(c.next.calls) == 0 || len(c.again) == 0 && !idle && !c.next.full() {
			return nil
		}
		c.submit(ctx)
	}
	return nil
}

// tip is the world that the next operation sees.
func (c *committer) tip() *state.Snapshot {
	switch {
	case c.next != nil:
		return c.next.world
	case c.flight != nil:
		return c.flight.world
	}
	return c.Snapshot()
}

// fill runs a call and adds what it did to the batch being filled. It says
// false, and the call has left no trace, if there is no room.
func (c *committer) fill(call *call) bool {
	select {
	case <-call.gone:
		call.taken.Store(true)
		call.done <- outcome{err: fmt.Errorf("dropped before it was run: %w", context.Canceled)}
		return true
	default:
	}
	if !call.taken.CompareAndSwap(false, true) {
		return true // its caller dropped it
	}
	base := c.tip()
	if c.next == nil {
		c.next = &batch{world: base, values: map[string][]byte{}}
	}
	tx, rev := base.Begin(), base.Revision()+1
	err := c.perform(call.op, tx)
	changes := tx.Changes()
	if err != nil || len(changes) == 0 {
		c.next.calls = append(c.next.calls, answer{call, outcome{base.Revision(), err}, false})
		return true
	}
	values, records, size, err := c.encode(rev, changes, tx.Records())
	if err != nil {
		c.next.calls = append(c.next.calls, answer{call, outcome{base.Revision(), err}, false})
		return true
	}
	if c.next.writes() && !c.next.fits(len(values)+len(records), size) {
		call.taken.Store(false)
		return false
	}
	c.next.add(tx.Next(rev), changes, values, records, size)
	c.next.calls = append(c.next.calls, answer{call, outcome{rev, nil}, true})
	return true
}

func (b *batch) fits(writes, size int) bool {
	return len(b.values)+len(b.records)+writes+1 <= batchOpsMax && b.size+size <= batchBytesMax
}

func (b *batch) add(world *state.Snapshot, changes []state.Change, values map[string][]byte, records []clientv3.Op, size int) {
	b.world = world
	b.changes.Add(changes)
	maps.Copy(b.values, values)
	b.records = append(b.records, records...)
	b.size += size
}

// perform runs op; its panic is its own failure and nobody else's.
func (c *committer) perform(op func(*state.Tx) error, tx *state.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("operation panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("operation panicked: %v", p)
		}
	}()
	return op(tx)
}

// encode makes what is written for one operation, and refuses what can never
// be written at once.
func (c *committer) encode(rev state.Revision, changes []state.Change, journal [][]byte) (
	values map[string][]byte, records []clientv3.Op, size int, err error,
) {
	values = make(map[string][]byte, len(changes))
	for _, ch := range changes {
		key := c.keys.entity(ch.Kind, ch.Key)
		var value []byte
		if ch.After != nil {
			if value, err = json.Marshal(ch.After); err != nil {
				return nil, nil, 0, fmt.Errorf("encoding %s %s: %w", ch.Kind, ch.Key, err)
			}
		}
		values[key] = value
		size += len(key) + len(value) + writeOverhead
	}
	for n, record := range journal {
		key := c.keys.record(Position{rev, n})
		records = append(records, clientv3.OpPut(key, string(record)))
		size += len(key) + len(record) + writeOverhead
	}
	if n := len(values) + len(records) + 1; n > batchOpsMax || size > batchBytesMax {
		return nil, nil, 0, apierr.New(apierr.CodeInvalidParameterValue,
			"The request changes too much at once: %d writes of %d bytes, of at most %d writes of %d bytes. Split it.",
			n, size, batchOpsMax, batchBytesMax)
	}
	return values, records, size, nil
}

// submit hands the filled batch to etcd.
func (c *committer) submit(ctx context.Context) {
	b := c.next
	c.next = nil
	if !b.writes() && c.sole {
		c.flight = b
		c.decided(c.world.Load().head) // nobody else can have changed what it saw
		return
	}
	b.mark = c.newMark()
	ops := slices.Grow(b.records, len(b.values)+1)
	for key, value := range b.values {
		if value == nil {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(value)))
		}
	}
	if len(ops) > 0 {
		ops = append(ops, clientv3.OpPut(c.keys.head(), headValue{b.world.Revision(), b.mark}.String()))
	}
	guard := c.guard()
	c.flight = b
	c.group.Go(func() error {
		tctx, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		r := result{batch: b}
		resp, err := c.kv.Txn(tctx).If(guard).Then(ops...).Commit()
		if r.err = err; err == nil {
			r.succeeded, r.head = resp.Succeeded, resp.Header.Revision
		}
		c.report(ctx, r)
		return nil
	})
}

// guard holds as long as the world is the one that is published here.
func (c *committer) guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(c.keys.head()), "=", c.world.Load().head)
}

func (c *committer) report(ctx context.Context, r result) {
	select {
	case c.results <- r:
	case <-ctx.Done():
	}
}

// settle takes etcd's answer for the batch in flight.
func (c *committer) settle(ctx context.Context, r result) {
	switch b := r.batch; {
	case b != c.flight: // the watch was quicker
	case r.err == nil && r.fence && r.succeeded:
		b.dead = true
	case r.err == nil && r.fence:
		b.moved = true
	case r.err == nil && r.succeeded && b.writes():
		c.decided(r.head)
	case r.err == nil && r.succeeded: // it wrote nothing, so the head is where it was
		c.decided(c.world.Load().head)
	case r.err == nil:
		b.dead = true
	case !b.writes() || notApplied(r.err):
		c.refused(r.err)
	default:
		c.log.WarnContext(ctx, "outcome of a commit is unknown, looking it up", "err", r.err)
		c.fence(ctx, b)
	}
}

// notApplied says whether etcd refused a transaction before it could have any effect.
func notApplied(err error) bool {
	return slices.ContainsFunc([]error{
		rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrNoSpace,
		rpctypes.ErrTooManyRequests, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthToken,
	}, func(e error) bool { return errors.Is(err, e) })
}

// fence moves the head, without changing the world, under the same guard as
// the batch whose outcome is unknown: after it, either the batch was there
// before or it can never be. It goes on until etcd answers.
func (c *committer) fence(ctx context.Context, b *batch) {
	guard := c.guard()
	head := clientv3.OpPut(c.keys.head(), headValue{c.Snapshot().Revision(), c.newMark()}.String())
	c.group.Go(func() error {
		for {
			tctx, cancel := context.WithTimeout(ctx, commitTimeout)
			resp, err := c.kv.Txn(tctx).If(guard).Then(head).Commit()
			cancel()
			if err == nil {
				c.report(ctx, result{batch: b, fence: true, succeeded: resp.Succeeded, head: resp.Header.Revision})
				return nil
			}
			c.log.WarnContext(ctx, "looking up the outcome of a commit", "err", err)
			if !pause(ctx, retryPause) {
				return nil
			}
		}
	})
}

// decided publishes the batch in flight, which etcd holds at the revision.
func (c *committer) decided(head int64) {
	b := c.flight
	c.flight = nil
	c.publish(b.world, head, b.changes.List())
	for _, a := range b.calls {
		a.call.done <- a.outcome
	}
}

// refused answers the batch in flight with an error; it had no effect. What
// was run on top of it is run again.
func (c *committer) refused(err error) {
	err = fmt.Errorf("committing: %w", err)
	for _, a := range c.flight.calls {
		a.call.done <- outcome{err: err}
	}
	c.flight = nil
	c.rerun()
}

// rerun puts back, in their order, all calls whose base is gone. None of them
// was committed.
func (c *committer) rerun() {
	var calls []*call
	for _, b := range []*batch{c.flight, c.next} {
		if b == nil {
			continue
		}
		for _, a := range b.calls {
			a.call.taken.Store(false)
			calls = append(calls, a.call)
		}
	}
	c.flight, c.next = nil, nil
	c.again = append(calls, c.again...)
}

// abandon answers everything that is still here when the committer ends.
func (c *committer) abandon(err error) {
	if c.flight != nil && !c.flight.dead {
		for _, a := range c.flight.calls {
			a.call.done <- outcome{err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)}
		}
		c.flight = nil
	}
	c.rerun()
	for len(c.queue) > 0 {
		c.again = append(c.again, <-c.queue)
	}
	for _, call := range c.again {
		call.done <- outcome{err: err}
	}
	c.again = nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
