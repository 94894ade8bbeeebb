package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*patience)
	tb.Cleanup(cancel)
	return ctx
}

func testLog(tb testing.TB) *slog.Logger {
	tb.Helper()
	if os.Getenv("STORE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func openDir(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(testContext(tb), Options{Dir: dir, Log: testLog(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func openNew(tb testing.TB) *Store {
	tb.Helper()
	return openDir(tb, tb.TempDir())
}

func mustClose(tb testing.TB, s *Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

func mustDo(tb testing.TB, s *Store, op func(tx *state.Tx) error) state.Revision {
	tb.Helper()
	rev, err := s.Do(testContext(tb), op)
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

func account(id, name string) *vpc.Account {
	return &vpc.Account{ID: vpc.AccountID(id), Name: name}
}

func put(entities ...vpc.Entity) func(*state.Tx) error {
	return func(tx *state.Tx) error {
		for _, e := range entities {
			tx.Put(e)
		}
		return nil
	}
}

// entities lists a whole world, for comparison.
func entities(s *state.Snapshot) map[string]vpc.Entity {
	out := map[string]vpc.Entity{}
	for kind := range state.Kinds() {
		for e := range s.All(kind) {
			out[string(kind)+"/"+e.Key()] = e
		}
	}
	return out
}

// sameWorld compares worlds; times are compared as instants and addresses as values.
func sameWorld(t *testing.T, got, want *state.Snapshot) {
	t.Helper()
	if got.Revision() != want.Revision() {
		t.Errorf("revision %d, want %d", got.Revision(), want.Revision())
	}
	if diff := cmp.Diff(entities(want), entities(got), cmp.Comparer(func(a, b fmt.Stringer) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("worlds differ (-want +got):\n%s", diff)
	}
}

func TestReopenedWorldIsTheSame(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	world := fullWorld()
	mustDo(t, s, put(world...))
	mustDo(t, s, func(tx *state.Tx) error {
		tx.Delete(tx.Account("000000000002"))
		return nil
	})
	want := s.Snapshot()
	for kind := range state.Kinds() {
		n := 0
		for range want.All(kind) {
			n++
		}
		if n == 0 {
			t.Errorf("the test's world has no %s", kind)
		}
	}
	mustClose(t, s)
	got := openDir(t, dir).Snapshot()
	sameWorld(t, got, want)
	if got.Account("000000000002") != nil {
		t.Error("a deleted account came back")
	}
}

func TestOperationsThatChangeNothingLeaveNoTrace(t *testing.T) {
	s := openNew(t)
	rev := mustDo(t, s, put(account("1", "a")))
	if rev != 1 {
		t.Fatalf("first revision is %d", rev)
	}
	refusal := apierr.New(apierr.CodeInvalidGroupDuplicate, "x")
	for _, c := range []struct {
		name string
		op   func(*state.Tx) error
		want error
	}{
		{"fails after a write", func(tx *state.Tx) error {
			tx.Put(account("2", "b"))
			tx.Journal([]byte("x"))
			return refusal
		}, refusal},
		{"only reads", func(*state.Tx) error { return nil }, nil},
		{"undoes itself", func(tx *state.Tx) error {
			tx.Put(account("2", "b"))
			tx.Delete(tx.Account("2"))
			return nil
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Do(testContext(t), c.op)
			if got != 1 || !errors.Is(err, c.want) {
				t.Errorf("Do = %d, %v, want 1, %v", got, err, c.want)
			}
			if s.Snapshot().Revision() != 1 || s.Snapshot().Account("2") != nil {
				t.Error("it left a trace")
			}
		})
	}
	records, err := s.JournalAfter(testContext(t), Position{}, 10)
	if err != nil || len(records) != 0 {
		t.Errorf("journal = %v, %v, want nothing", records, err)
	}
}

func TestAPanicIsItsOwnFailure(t *testing.T) {
	s := openNew(t)
	if _, err := s.Do(testContext(t), func(*state.Tx) error { panic("broken") }); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("err = %v", err)
	}
	if rev := mustDo(t, s, put(account("1", "a"))); rev != 1 {
		t.Errorf("revision after a panic is %d", rev)
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	s := openNew(t)
	for _, c := range []struct {
		name string
		op   func(*state.Tx) error
	}{
		{"bytes", put(account("1", strings.Repeat("x", batchBytesMax)))},
		{"writes", func(tx *state.Tx) error {
			for i := range batchOpsMax {
				tx.Put(account(fmt.Sprint(i), ""))
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := s.Do(testContext(t), c.op); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
				t.Errorf("err = %v", err)
			}
		})
	}
	mustDo(t, s, func(tx *state.Tx) error { // the largest that goes
		for i := range batchOpsMax - 2 {
			tx.Put(account(fmt.Sprint(i), strings.Repeat("x", 880)))
		}
		tx.Journal([]byte("large"))
		return nil
	})
	if n := len(entities(s.Snapshot())); n != batchOpsMax-2 {
		t.Errorf("%d entities", n)
	}
}

// Writers compete for names and for a quota; what each operation checked holds
// in the world that results.
func TestChecksOfConcurrentOperationsHold(t *testing.T) {
	const writers, names, quota = 64, 20, 15
	s := openNew(t)
	ctx := testContext(t)
	var mu sync.Mutex
	revisions := map[state.Revision]int{}
	taken := 0
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range names {
				id := fmt.Sprintf("sg-%d-%d", w, n)
				rev, err := s.Do(ctx, func(tx *state.Tx) error {
					count := 0
					for range tx.GroupsOf("vpc-1") {
						count++
					}
					if tx.GroupNamed("vpc-1", fmt.Sprint(n)) != nil || count >= quota {
						return apierr.New(apierr.CodeInvalidGroupDuplicate, "taken")
					}
					tx.Put(&vpc.SecurityGroup{ID: vpc.GroupID(id), VPC: "vpc-1", Name: fmt.Sprint(n)})
					tx.Journal([]byte(id))
					return nil
				})
				if err == nil {
					mu.Lock()
					taken++
					revisions[rev]++
					mu.Unlock()
					if s.Snapshot().Group(vpc.GroupID(id)) == nil {
						t.Errorf("%s is acknowledged and not in the snapshot", id)
					}
				} else if !apierr.HasCode(err, apierr.CodeInvalidGroupDuplicate) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	found := map[string]bool{}
	for g := range s.Snapshot().GroupsOf("vpc-1") {
		if found[g.Name] {
			t.Errorf("two groups are named %s", g.Name)
		}
		found[g.Name] = true
	}
	if len(found) != quota || taken != quota || len(revisions) != quota {
		t.Errorf("%d groups, %d acknowledged, %d revisions, want %d of each", len(found), taken, len(revisions), quota)
	}
	records, err := s.JournalAfter(ctx, Position{}, 100)
	if err != nil || len(records) != quota {
		t.Errorf("%d journal records, %v", len(records), err)
	}
	for _, r := range records {
		if revisions[r.Revision] != 1 {
			t.Errorf("journal record %v of no acknowledged revision", r.Position)
		}
	}
}

func TestCancelledBeforeItIsRunIsDropped(t *testing.T) {
	s := openNew(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		mustDo(t, s, func(tx *state.Tx) error {
			close(inside)
			<-leave
			tx.Put(account("1", ""))
			return nil
		})
	})
	<-inside // the committer is busy
	ctx, cancel := context.WithCancel(testContext(t))
	answered := make(chan error)
	ran := false
	go func() {
		_, err := s.Do(ctx, func(*state.Tx) error { ran = true; return nil })
		answered <- err
	}()
	cancel()
	err := <-answered
	close(leave)
	wg.Wait()
	mustDo(t, s, put(account("2", ""))) // behind the dropped one in the queue
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) || ran {
		t.Errorf("err = %v, ran = %t", err, ran)
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	ctx := testContext(t)
	const writers = 32
	acknowledged := make([]int, writers)
	var wg sync.WaitGroup
	started := make(chan struct{}, writers)
	for w := range writers {
		wg.Go(func() {
			for i := 1; ; i++ {
				_, err := s.Do(ctx, put(&vpc.Host{ID: vpc.HostID(fmt.Sprint(w)), Capacity: i}))
				if err != nil {
					if !errors.Is(err, ErrClosed) || errors.Is(err, ErrOutcomeUnknown) {
						t.Errorf("err = %v", err)
					}
					return
				}
				acknowledged[w] = i
				if i == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-started
	}
	mustClose(t, s)
	wg.Wait()
	if _, err := s.Do(ctx, put(account("1", ""))); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	world := openDir(t, dir).Snapshot()
	for w, n := range acknowledged {
		if got := world.Host(vpc.HostID(fmt.Sprint(w))).Capacity; got != n {
			t.Errorf("writer %d: %d acknowledged, %d stored", w, n, got)
		}
	}
}

func TestDataFolderIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	openDir(t, dir)
	s, err := Open(testContext(t), Options{Dir: dir, Log: testLog(t)})
	if err == nil {
		s.Close()
		t.Fatal("a second store opened the same folder")
	}
	if !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("err = %v", err)
	}
}

func TestAnEtcdThatWasFullTakesWritesAfterARestart(t *testing.T) {
	dir, ctx := t.TempDir(), testContext(t)
	etcd, err := embed.StartEtcd(embeddedConfig(filepath.Join(dir, "etcd"), testLog(t)))
	if err != nil {
		t.Fatal(err)
	}
	<-etcd.Server.ReadyNotify()
	_, err = etcd.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: uint64(etcd.Server.MemberID()), Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v3client.New(etcd.Server).Put(ctx, "x", "y"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("the test's etcd is not full: %v", err)
	}
	etcd.Close()
	mustDo(t, openDir(t, dir), put(account("1", "")))
}

func TestDamagedDataIsRefused(t *testing.T) {
	k := keys{DefaultPrefix}
	for _, c := range []struct {
		name, key, value string
		want             string
	}{
		{"cut short", k.entity(vpc.KindAccount, "7"), `{"ID":"7","Na`, "/sallyport/w/account/7"},
		{"unknown member", k.entity(vpc.KindAccount, "7"), `{"ID":"7","Colour":"red"}`, "Colour"},
		{"another's key", k.entity(vpc.KindAccount, "7"), `{"ID":"8"}`, "/sallyport/w/account/7"},
		{"two values", k.entity(vpc.KindAccount, "7"), `{"ID":"7"}{}`, "/sallyport/w/account/7"},
		{"unknown kind", k.entity("dragon", "7"), `{}`, "/sallyport/w/dragon/7"},
		{"newer schema", k.schema(), "2", "a newer version wrote it"},
		{"schema of no number", k.schema(), "x", "malformed"},
		{"head of no number", k.head(), "x y", "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDir(t, dir)
			mustDo(t, s, put(account("1", "")))
			mustClose(t, s)
			b, err := startEmbedded(testContext(t), Options{Dir: dir, Log: testLog(t)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.kv.Put(testContext(t), c.key, c.value); err != nil {
				t.Fatal(err)
			}
			if err := b.close(); err != nil {
				t.Fatal(err)
			}
			s, err = Open(testContext(t), Options{Dir: dir, Log: testLog(t)})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestMigrationsRunInOrderAndOnce(t *testing.T) {
	if n := len(migrations()) + 1; n != schema {
		t.Fatalf("the steps lead to schema %d, not to %d", n, schema)
	}
	s := openNew(t)
	ctx := testContext(t)
	var ran []int
	var steps []migration
	for i := range 2 {
		steps = append(steps, func(context.Context, clientv3.KV, keys) error { ran = append(ran, i+1); return nil })
	}
	// Beside the open world: its committer would take the new schema for another server's.
	old := &Store{log: s.log, kv: s.kv, keys: keys{"/elsewhere/"}}
	if _, err := s.kv.Put(ctx, old.keys.schema(), "1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := s.kv.Get(ctx, old.keys.schema())
		if err != nil {
			t.Fatal(err)
		}
		if err := old.migrate(ctx, got.Kvs[0], steps); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.kv.Get(ctx, old.keys.schema())
	if err != nil || string(got.Kvs[0].Value) != "3" {
		t.Errorf("schema %v, %v", got, err)
	}
	if diff := cmp.Diff([]int{1, 2}, ran); diff != "" {
		t.Error(diff)
	}
}

func TestJournal(t *testing.T) {
	s := openNew(t)
	ctx := testContext(t)
	for i := 1; i <= 10; i++ {
		mustDo(t, s, func(tx *state.Tx) error {
			tx.Put(account("1", fmt.Sprint(i)))
			tx.Journal(fmt.Appendf(nil, "%d.0", i))
			tx.Journal(fmt.Appendf(nil, "%d.1", i))
			return nil
		})
	}
	read := func(f func(context.Context, Position, int) ([]Record, error), from Position, limit int) (out []string) {
		t.Helper()
		records, err := f(ctx, from, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if want := fmt.Sprintf("%d.%d", r.Revision, r.N); string(r.Data) != want {
				t.Errorf("record %v holds %s", r.Position, r.Data)
			}
			out = append(out, string(r.Data))
		}
		return out
	}
	for _, c := range []struct {
		name string
		got  []string
		want []string
	}{
		{"oldest", read(s.JournalAfter, Position{}, 3), []string{"1.0", "1.1", "2.0"}},
		{"onward", read(s.JournalAfter, Position{2, 0}, 2), []string{"2.1", "3.0"}},
		{"newest", read(s.JournalBefore, Position{}, 3), []string{"10.1", "10.0", "9.1"}},
		{"backward", read(s.JournalBefore, Position{9, 1}, 2), []string{"9.0", "8.1"}},
		{"before the first", read(s.JournalBefore, Position{1, 0}, 2), nil},
		{"none", read(s.JournalAfter, Position{}, 0), nil},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if err := s.trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"9.0", "9.1", "10.0", "10.1"}, read(s.JournalAfter, Position{}, 100)); diff != "" {
		t.Errorf("after trimming: %s", diff)
	}
}
