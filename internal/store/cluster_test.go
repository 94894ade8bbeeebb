package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")

func testSeed(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// external runs an etcd that stands for somebody else's cluster, and returns
// the options that reach it.
func external(tb testing.TB, change func(*embed.Config)) Options {
	tb.Helper()
	dir, err := os.MkdirTemp("", "etcd") //nolint:usetesting // TempDir is too long for a socket's path
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	c := embeddedConfig(filepath.Join(dir, "data"), testLog(tb))
	socket := url.URL{Scheme: "unix", Path: filepath.Join(dir, "client")}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{socket}, []url.URL{socket}
	change(c)
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	return Options{Endpoints: []string{socket.String()}, Prefix: DefaultPrefix, Log: testLog(tb)}
}

func asTheyAre(*embed.Config) {}

func openExternal(tb testing.TB, o Options) *Store {
	tb.Helper()
	s, err := Open(testContext(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// raw is a client of the cluster beside any store.
func raw(tb testing.TB, o Options) *clientv3.Client {
	tb.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: o.Endpoints})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// eventually waits until the store's world is as wanted.
func eventually(t *testing.T, s *Store, want func(*state.Snapshot) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		w := s.world.Load()
		if want(w.snap) {
			return
		}
		select {
		case <-w.next:
		case <-s.Failed():
			t.Fatal(s.Err())
		case <-deadline:
			t.Fatalf("the world stays at %d", w.snap.Revision())
		}
	}
}

func increment(tx *state.Tx, id vpc.HostID) {
	h := &vpc.Host{ID: id}
	if old := tx.Host(id); old != nil {
		*h = *old
	}
	h.Capacity++
	tx.Put(h)
}

func TestServersOfAClusterShareOneWorld(t *testing.T) {
	o := external(t, asTheyAre)
	servers := []*Store{openExternal(t, o), openExternal(t, o)}
	ctx := testContext(t)
	const writers, each = 8, 25
	var runs atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			mine, other := servers[w%2], servers[(w+1)%2]
			for i := range each {
				id := vpc.AccountID(fmt.Sprintf("%d-%d", w, i))
				rev, err := mine.Do(ctx, func(tx *state.Tx) error {
					runs.Add(1)
					increment(tx, "counter")
					tx.Put(&vpc.Account{ID: id})
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				// Read your writes, by either way, on the other server.
				snap, err := other.Barrier(ctx)
				if err != nil || snap.Account(id) == nil || snap.Revision() < rev {
					t.Errorf("%s, acknowledged at %d, is not in the other's world %d, %v", id, rev, snap.Revision(), err)
					return
				}
				var seen bool
				if _, err := other.Do(ctx, func(tx *state.Tx) error { seen = tx.Account(id) != nil; return nil }); err != nil || !seen {
					t.Errorf("an operation on the other server does not see %s, %v", id, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, s := range servers {
		snap, err := s.Barrier(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if h := snap.Host("counter"); h == nil || h.Capacity != writers*each || snap.Revision() != writers*each {
			t.Errorf("counter = %+v at revision %d, want %d of both: an update was lost", h, snap.Revision(), writers*each)
		}
	}
	if runs.Load() == writers*each {
		t.Error("no operation was run twice: the guard was never contended")
	}
	sameWorld(t, servers[1].Snapshot(), servers[0].Snapshot())
	sameWorld(t, openExternal(t, o).Snapshot(), servers[0].Snapshot())
}

func TestAClusterWithSmallLimitsIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*embed.Config)
	}{
		{"operations", func(c *embed.Config) { c.MaxTxnOps = 128 }},
		{"bytes", func(c *embed.Config) { c.MaxRequestBytes = 3 << 19 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(testContext(t), external(t, c.change))
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			t.Log(err)
		})
	}
}

func TestEditsByHandAreReadAnew(t *testing.T) {
	o := external(t, asTheyAre)
	s := openExternal(t, o)
	ctx := testContext(t)
	mustDo(t, s, put(account("1", "a"), account("2", "b"), account("3", "c")))
	sub := s.Subscribe()
	defer sub.Close()
	_, err := raw(t, o).Txn(ctx).Then(
		clientv3.OpDelete(s.keys.entity(vpc.KindAccount, "1")),
		clientv3.OpPut(s.keys.entity(vpc.KindAccount, "2"), `{"ID":"2","Name":"B","Created":"0001-01-01T00:00:00Z"}`),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, s, func(w *state.Snapshot) bool { return w.Account("1") == nil })
	u, err := sub.Next(ctx)
	if err != nil || len(u.Changes) != 2 {
		t.Fatalf("update %+v, %v", u, err)
	}
	if got := s.Snapshot().Account("2").Name; got != "B" {
		t.Errorf("name %q", got)
	}
	mustDo(t, s, put(account("4", "d")))
	sameWorld(t, openExternal(t, o).Snapshot(), s.Snapshot())
}

func TestACommitThatCannotBeReadStopsTheStore(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  func(k keys) []clientv3.Op
	}{
		{"unknown kind", func(k keys) []clientv3.Op {
			return []clientv3.Op{clientv3.OpPut(k.entity("dragon", "1"), "{}"), clientv3.OpPut(k.head(), "7 other")}
		}},
		{"newer schema", func(k keys) []clientv3.Op {
			return []clientv3.Op{clientv3.OpPut(k.schema(), "2"), clientv3.OpPut(k.head(), "7 other")}
		}},
		{"no head", func(k keys) []clientv3.Op { return []clientv3.Op{clientv3.OpDelete(k.head())} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := external(t, asTheyAre)
			s := openExternal(t, o)
			ctx := testContext(t)
			mustDo(t, s, put(account("1", "a")))
			if _, err := raw(t, o).Txn(ctx).Then(c.ops(s.keys)...).Commit(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-s.Failed():
			case <-time.After(patience):
				t.Fatal("the store goes on")
			}
			if _, err := s.Do(ctx, put(account("2", "b"))); err == nil || errors.Is(err, ErrClosed) {
				t.Errorf("Do: %v", err)
			}
			if s.Snapshot().Revision() != 1 || s.Err() == nil {
				t.Errorf("world %d, %v", s.Snapshot().Revision(), s.Err())
			}
			if err := s.Close(); !errors.Is(err, s.Err()) {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// faultyKV breaks transactions that write, as networks and disks do.
type faultyKV struct {
	clientv3.KV
	fault func() fault
	later sync.WaitGroup
}

type fault int

const (
	noFault     fault = iota
	lostRequest       // never reaches etcd
	lostAnswer        // is applied, nobody hears of it
	lateRequest       // is applied some time after it was given up
)

var errInjected = errors.New("injected")

func (f *faultyKV) Txn(ctx context.Context) clientv3.Txn {
	return &faultyTxn{kv: f, ctx: ctx, txn: f.KV.Txn(context.WithoutCancel(ctx))}
}

type faultyTxn struct {
	kv   *faultyKV
	ctx  context.Context
	txn  clientv3.Txn
	puts int
}

func (t *faultyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.txn = t.txn.If(c...); return t }
func (t *faultyTxn) Else(o ...clientv3.Op) clientv3.Txn { t.txn = t.txn.Else(o...); return t }
func (t *faultyTxn) Then(o ...clientv3.Op) clientv3.Txn {
	t.puts += len(o)
	t.txn = t.txn.Then(o...)
	return t
}

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.puts == 0 {
		return t.txn.Commit()
	}
	switch t.kv.fault() {
	case lostRequest:
		return nil, errInjected
	case lostAnswer:
		t.txn.Commit()
		return nil, errInjected
	case lateRequest:
		t.kv.later.Go(func() {
			pause(t.ctx, time.Duration(rand.IntN(300))*time.Millisecond)
			t.txn.Commit()
		})
		return nil, errInjected
	case noFault:
	}
	return t.txn.Commit()
}

// faultyServer opens a store over a network that breaks.
func faultyServer(t *testing.T, o Options, draw func() fault) (*Store, *faultyKV) {
	t.Helper()
	b, err := openBackend(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	var on atomic.Bool
	kv := &faultyKV{KV: b.kv, fault: func() fault {
		if !on.Load() {
			return noFault
		}
		return draw()
	}}
	b.kv = kv
	s, err := open(testContext(t), o, b)
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	t.Cleanup(func() { s.Close() })
	return s, kv
}

// Whatever is lost on the way, each operation is done once, and is answered by
// what was done.
func TestLostAndLateTransactions(t *testing.T) {
	for _, name := range []string{"embedded", "cluster of two"} {
		t.Run(name, func(t *testing.T) {
			random := testSeed(t)
			var mu sync.Mutex
			draw := func() fault {
				mu.Lock()
				defer mu.Unlock()
				return fault(max(0, random.IntN(10)-6))
			}
			var servers []*Store
			var kvs []*faultyKV
			o := Options{Dir: t.TempDir(), Prefix: DefaultPrefix, Log: testLog(t), JournalKeep: -1}
			count := 1
			if name != "embedded" {
				o, count = external(t, asTheyAre), 2
				o.JournalKeep = -1
			}
			for range count {
				s, kv := faultyServer(t, o, draw)
				servers, kvs = append(servers, s), append(kvs, kv)
			}
			const writers, each = 8, 12
			ctx := testContext(t)
			acknowledged := make(chan string, writers*each)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						id := fmt.Sprintf("%d-%d", w, i)
						rev, err := servers[w%count].Do(ctx, func(tx *state.Tx) error {
							increment(tx, "counter")
							tx.Put(account(id, ""))
							tx.Journal([]byte(id))
							return nil
						})
						if err != nil {
							t.Error(err)
							return
						}
						acknowledged <- fmt.Sprintf("%d %s", rev, id)
					}
				})
			}
			wg.Wait()
			for _, kv := range kvs {
				kv.later.Wait()
			}
			close(acknowledged)
			var want []string
			for a := range acknowledged {
				want = append(want, a)
			}
			records, err := servers[0].JournalAfter(ctx, Position{}, journalPageMax)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				got = append(got, fmt.Sprintf("%d %s", r.Revision, r.Data))
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("acknowledged and journal differ (-acknowledged +journal):\n%s", diff)
			}
			for _, s := range servers {
				snap, err := s.Barrier(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if n := snap.Host("counter").Capacity; n != writers*each || n != int(snap.Revision()) {
					t.Errorf("counter %d at revision %d, want %d of both", n, snap.Revision(), writers*each)
				}
			}
		})
	}
}

func TestWhatEtcdRefusesIsAnswered(t *testing.T) {
	b, err := openBackend(testContext(t), Options{Dir: t.TempDir(), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	kv := &refusingKV{KV: b.kv}
	b.kv = kv
	s, err := open(testContext(t), Options{Prefix: DefaultPrefix, Log: testLog(t)}, b)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kv.on.Store(true)
	rev, err := s.Do(testContext(t), put(account("1", "a")))
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Do = %d, %v", rev, err)
	}
	kv.on.Store(false)
	if rev := mustDo(t, s, put(account("2", "b"))); rev != 1 || s.Snapshot().Account("1") != nil {
		t.Errorf("revision %d, account 1 is %v", rev, s.Snapshot().Account("1"))
	}
}

// refusingKV has a full disk.
type refusingKV struct {
	clientv3.KV
	on atomic.Bool
}

func (k *refusingKV) Txn(ctx context.Context) clientv3.Txn {
	if !k.on.Load() {
		return k.KV.Txn(ctx)
	}
	// More operations than etcd takes: refused before it has any effect.
	ops := make([]clientv3.Op, batchOpsMax+1)
	for i := range ops {
		ops[i] = clientv3.OpPut(fmt.Sprintf("/sallyport/w/account/full-%d", i), "{}")
	}
	return &fixedTxn{k.KV.Txn(ctx).Then(ops...)}
}

type fixedTxn struct{ clientv3.Txn }

func (t *fixedTxn) If(...clientv3.Cmp) clientv3.Txn  { return t }
func (t *fixedTxn) Then(...clientv3.Op) clientv3.Txn { return t }

// deafWatcher hears nothing until it is told that etcd dropped the history.
type deafWatcher struct {
	clientv3.Watcher
	first  atomic.Bool
	forget chan int64
}

func (w *deafWatcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	if w.first.Swap(true) {
		return w.Watcher.Watch(ctx, key, opts...)
	}
	out := make(chan clientv3.WatchResponse)
	go func() {
		defer close(out)
		select {
		case rev := <-w.forget:
			out <- clientv3.WatchResponse{CompactRevision: rev, Canceled: true}
		case <-ctx.Done():
		}
	}()
	return out
}

func TestHistoryThatIsGoneIsReadAnew(t *testing.T) {
	o := external(t, asTheyAre)
	ctx := testContext(t)
	other := openExternal(t, o)
	b, err := openBackend(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	deaf := &deafWatcher{Watcher: b.watcher, forget: make(chan int64)}
	b.watcher = deaf
	s, err := open(ctx, o, b)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sub := s.Subscribe()
	defer sub.Close()
	for i := range 10 {
		mustDo(t, other, put(account(fmt.Sprint(i), "")))
	}
	done := make(chan state.Revision)
	go func() { // its guard fails, and nothing tells why
		rev, err := s.Do(ctx, func(tx *state.Tx) error {
			tx.Put(account("after", fmt.Sprint(tx.Account("9") != nil)))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		done <- rev
	}()
	deaf.forget <- other.world.Load().head
	if rev := <-done; rev != 11 {
		t.Errorf("revision %d, want 11", rev)
	}
	if a := s.Snapshot().Account("after"); a == nil || a.Name != "true" {
		t.Errorf("the operation saw %+v", a)
	}
	world := sub.Start
	for world.Revision() < 11 {
		u, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		world = world.Apply(u.New.Revision(), u.Changes)
	}
	sameWorld(t, world, s.Snapshot())
	mustDo(t, other, put(account("last", "")))
	eventually(t, s, func(w *state.Snapshot) bool { return w.Account("last") != nil })
}
