package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// pageKeys is how many entities are read at once: some megabytes.
const pageKeys = 5000

// loadTries is how often a reading starts anew because etcd dropped the
// revision under it.
const loadTries = 5

// migration brings what is stored from one schema to the next. It may be run
// again after it was interrupted.
type migration func(ctx context.Context, kv clientv3.KV, k keys) error

// migrations has at n the step from schema n+1 to n+2.
func migrations() []migration { return nil }

// prepare makes sure that there is a world of our schema.
func (s *Store) prepare(ctx context.Context) error {
	got, err := s.kv.Get(ctx, s.keys.schema())
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	if len(got.Kvs) == 0 {
		return s.create(ctx)
	}
	return s.migrate(ctx, got.Kvs[0], migrations())
}

func (s *Store) migrate(ctx context.Context, stored *mvccpb.KeyValue, steps []migration) error {
	have, err := strconv.Atoi(string(stored.Value))
	want := len(steps) + 1
	switch {
	case err != nil || have < 1:
		return fmt.Errorf("key %q: the schema %q is malformed", stored.Key, stored.Value)
	case have > want:
		return fmt.Errorf("key %q: the data has schema %d, this program knows up to %d: a newer version wrote it; use that one", stored.Key, have, want)
	}
	for ; have < want; have++ {
		s.log.InfoContext(ctx, "migrating", "from", have, "to", have+1)
		if err := steps[have-1](ctx, s.kv, s.keys); err != nil {
			return fmt.Errorf("migrating from schema %d: %w", have, err)
		}
		if _, err := s.kv.Put(ctx, s.keys.schema(), strconv.Itoa(have+1)); err != nil {
			return fmt.Errorf("migrating from schema %d: %w", have, err)
		}
	}
	return nil
}

// create writes the empty world, unless another server does at the same time.
func (s *Store) create(ctx context.Context) error {
	found, err := s.kv.Get(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("making a world: %w", err)
	}
	if len(found.Kvs) > 0 && string(found.Kvs[0].Key) != s.keys.head() {
		return fmt.Errorf("key %q is there but no schema: this is not a world of ours, or it is damaged", found.Kvs[0].Key)
	}
	_, err = s.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(s.keys.schema()), "=", 0)).
		Then(clientv3.OpPut(s.keys.schema(), strconv.Itoa(schema)),
			clientv3.OpPut(s.keys.head(), headValue{0, "new"}.String())).
		Commit()
	if err != nil {
		return fmt.Errorf("making a world: %w", err)
	}
	return nil
}

// loaded is a whole world as it was read.
type loaded struct {
	snap     *state.Snapshot
	head     int64 // etcd's revision of the head key
	mark     string
	revision int64 // etcd's revision of the reading
}

// load reads the whole world at one revision of etcd.
func (s *Store) load(ctx context.Context) (*loaded, error) {
	for try := 1; ; try++ {
		l, err := s.loadOnce(ctx)
		if err == nil {
			return l, nil
		}
		if try == loadTries || !errors.Is(err, rpctypes.ErrCompacted) {
			return nil, fmt.Errorf("reading the world: %w", err)
		}
	}
}

func (s *Store) loadOnce(ctx context.Context) (*loaded, error) {
	got, err := s.kv.Get(ctx, s.keys.head())
	if err != nil {
		return nil, err
	}
	if len(got.Kvs) == 0 {
		return nil, fmt.Errorf("key %q is missing: the data is damaged", s.keys.head())
	}
	h, err := parseHead(got.Kvs[0].Value)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", s.keys.head(), err)
	}
	l := &loaded{head: got.Kvs[0].ModRevision, mark: h.mark, revision: got.Header.Revision}
	entities, err := s.readEntities(ctx, l.revision)
	if err != nil {
		return nil, err
	}
	l.snap = state.Load(h.revision, entities)
	return l, nil
}

// readEntities reads pages one after another and decodes them beside it.
func (s *Store) readEntities(ctx context.Context, revision int64) ([]vpc.Entity, error) {
	var pages [][]vpc.Entity
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0) + 1)
	d := newDecoder(s.keys)
	from, to := s.keys.worlds(), s.keys.prefix+"w0"
	for more := true; more; {
		got, err := s.kv.Get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(pageKeys), clientv3.WithRev(revision))
		if err != nil {
			return nil, errors.Join(work.Wait(), err)
		}
		page := make([]vpc.Entity, len(got.Kvs))
		pages = append(pages, page)
		work.Go(func() (err error) {
			for i, kv := range got.Kvs {
				if page[i], err = d.entity(string(kv.Key), kv.Value); err != nil {
					return err
				}
			}
			return nil
		})
		if more = got.More; more {
			from = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
		}
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var all []vpc.Entity
	for _, p := range pages {
		all = append(all, p...)
	}
	return all, nil
}
