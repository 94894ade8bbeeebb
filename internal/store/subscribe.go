package store

import (
	"context"
	"sync"

	"sallyport.dev/sallyport/internal/state"
)

// Update is a step from one durable world to a later one. A subscriber that is
// slow gets one long step in place of many short ones; none is left out.
type Update struct {
	Old, New *state.Snapshot
	// Changes lead from Old to New, each entity once. There are none where New
	// differs from Old by its revision alone.
	Changes []state.Change
}

// Subscription is one subscriber's view of the world's way. It belongs to one
// goroutine.
type Subscription struct {
	// Start is the world that the first update leads on from.
	Start *state.Snapshot

	owner *subscribers
	ready chan struct{} // holds one: something is pending

	mu      sync.Mutex
	old     *state.Snapshot // nil: nothing is pending
	next    *state.Snapshot
	pending state.ChangeSet
}

// subscribers are told of each published world, in order.
type subscribers struct {
	mu     sync.Mutex
	closed bool
	all    map[*Subscription]struct{}
}

// Subscribe begins to follow the world from the one that is published now.
// The caller closes the subscription.
func (s *Store) Subscribe() *Subscription {
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	sub := &Subscription{Start: s.Snapshot(), owner: &s.subs, ready: make(chan struct{}, 1)}
	if s.subs.all == nil {
		s.subs.all = map[*Subscription]struct{}{}
	}
	if s.subs.closed {
		close(sub.ready)
	} else {
		s.subs.all[sub] = struct{}{}
	}
	return sub
}

// Next waits for the world to move on and returns the whole way since the last
// call. After the store is closed it is ErrClosed.
func (sub *Subscription) Next(ctx context.Context) (Update, error) {
	for {
		if u, ok := sub.take(); ok {
			return u, nil
		}
		select {
		case _, open := <-sub.ready:
			if !open {
				if u, ok := sub.take(); ok {
					return u, nil
				}
				return Update{}, ErrClosed
			}
		case <-ctx.Done():
			return Update{}, context.Cause(ctx)
		}
	}
}

func (sub *Subscription) take() (Update, bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.old == nil {
		return Update{}, false
	}
	u := Update{sub.old, sub.next, sub.pending.List()}
	sub.old, sub.next, sub.pending = nil, nil, state.ChangeSet{}
	return u, true
}

// Close ends the subscription.
func (sub *Subscription) Close() {
	sub.owner.mu.Lock()
	defer sub.owner.mu.Unlock()
	if _, ok := sub.owner.all[sub]; ok {
		delete(sub.owner.all, sub)
		close(sub.ready)
	}
}

// publish makes next the published world and tells of it, in one step, so that
// who subscribes meanwhile misses nothing and hears nothing twice.
func (s *subscribers) publish(w *atomicWorld, next *world, changes []state.Change) (old *world) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = w.Swap(next)
	if old.snap == next.snap {
		return old
	}
	for sub := range s.all {
		sub.tell(old.snap, next.snap, changes)
	}
	return old
}

func (sub *Subscription) tell(old, next *state.Snapshot, changes []state.Change) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.old == nil {
		sub.old = old
	}
	sub.next = next
	sub.pending.Add(changes)
	select {
	case sub.ready <- struct{}{}:
	default:
	}
}

func (s *subscribers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for sub := range s.all {
		delete(s.all, sub)
		close(sub.ready)
	}
}
