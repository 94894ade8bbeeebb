package store

import (
	"context"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sallyport.dev/sallyport/internal/state"
)

// group is what one etcd transaction wrote to the world.
type group struct {
	revision int64
	events   []*clientv3.Event
	lost     bool // instead: etcd no longer has what came before
}

// follow hands the committer every commit of any server, in order, from the
// revision on. etcd never splits a transaction over two responses.
func (c *committer) follow(ctx context.Context, from int64) error {
	_, to := c.keys.watched()
	for {
		wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for resp := range c.watcher.Watch(wctx, c.keys.head(), clientv3.WithRange(to), clientv3.WithRev(from)) {
			if resp.CompactRevision > 0 {
				from = resp.CompactRevision
				c.deliver(ctx, group{lost: true})
				break
			}
			if err := resp.Err(); err != nil {
				c.log.WarnContext(ctx, "watching the world", "err", err)
				break
			}
			for _, g := range split(resp.Events) {
				c.deliver(ctx, g)
				from = g.revision + 1
			}
		}
		cancel()
		if !pause(ctx, retryPause) {
			return nil
		}
	}
}

func (c *committer) deliver(ctx context.Context, g group) {
	select {
	case c.groups <- g:
	case <-ctx.Done():
	}
}

func split(events []*clientv3.Event) []group {
	var out []group
	for i, e := range events {
		if i == 0 || e.Kv.ModRevision != out[len(out)-1].revision {
			out = append(out, group{revision: e.Kv.ModRevision})
		}
		g := &out[len(out)-1]
		g.events = append(g.events, e)
	}
	return out
}

// observe takes a commit from the watch: the one in flight, which is thereby
// decided, or another server's, which is thereby adopted.
func (c *committer) observe(g group) error {
	w := c.world.Load()
	if g.lost {
		c.stale = true
		return nil
	}
	if g.revision <= c.loaded {
		return nil
	}
	var head *mvccpb.KeyValue
	for _, e := range g.events {
		switch key := string(e.Kv.Key); {
		case key == c.keys.schema() && string(e.Kv.Value) != strconv.Itoa(schema):
			return fmt.Errorf("key %q: the schema became %q under us", key, e.Kv.Value)
		case key == c.keys.head() && e.Type == clientv3.EventTypeDelete:
			return fmt.Errorf("key %q was deleted", key)
		case key == c.keys.head():
			head = e.Kv
		}
	}
	if head == nil {
		c.log.Warn("entities were changed in etcd by hand, reading the world anew", "key", string(g.events[0].Kv.Key))
		c.stale = true
		return nil
	}
	if g.revision <= w.head {
		return nil // our own commit, adopted when etcd answered
	}
	h, err := parseHead(head.Value)
	if err != nil {
		return fmt.Errorf("key %q: %w", head.Key, err)
	}
	if c.flight != nil && c.flight.mark == h.mark {
		c.decided(g.revision)
		return nil
	}
	changes, err := c.changes(w.snap, g.events)
	if err != nil {
		return err
	}
	c.rerun()
	snap := w.snap
	if len(changes) > 0 || h.revision != snap.Revision() {
		snap = snap.Apply(h.revision, changes)
	}
	c.publish(snap, g.revision, changes)
	return nil
}

// changes reads another server's commit.
func (c *committer) changes(old *state.Snapshot, events []*clientv3.Event) ([]state.Change, error) {
	var out []state.Change
	for _, e := range events {
		key := string(e.Kv.Key)
		if key == c.keys.head() || key == c.keys.schema() {
			continue
		}
		kind, id, err := c.keys.parseEntity(key)
		if err != nil {
			return nil, err
		}
		if _, ok := c.decode.kinds[kind]; !ok {
			return nil, fmt.Errorf("key %q: no such kind of entity", key)
		}
		change := state.Change{Kind: kind, Key: id, Before: old.Get(kind, id)}
		if e.Type == clientv3.EventTypePut {
			if change.After, err = c.decode.entity(key, e.Kv.Value); err != nil {
				return nil, err
			}
		}
		if change.Before != nil || change.After != nil {
			out = append(out, change)
		}
	}
	return out, nil
}

// reload reads the whole world because the watch cannot tell how it came
// about. The batch in flight, if any, has been decided, though perhaps nobody
// here knows how.
func (c *committer) reload(ctx context.Context) error {
	l, err := c.load(ctx)
	for err != nil {
		c.log.WarnContext(ctx, "reading the world anew", "err", err)
		if !pause(ctx, retryPause) {
			return fmt.Errorf("reading the world anew: %w", err)
		}
		l, err = c.load(ctx)
	}
	c.stale, c.loaded = false, l.revision
	old := c.Snapshot()
	snap, changes := state.Difference(old, l.snap)
	b := c.flight
	if b != nil && !b.dead {
		c.flight = nil
	}
	c.rerun()
	c.publish(snap, l.head, changes)
	if b == nil || b.dead {
		return nil
	}
	for _, a := range b.calls {
		if b.mark != l.mark {
			a.outcome = outcome{err: fmt.Errorf("committing: %w", ErrOutcomeUnknown)}
		}
		a.call.done <- a.outcome
	}
	return nil
}
