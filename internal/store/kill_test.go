package store

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var killRounds = flag.Int("kill-rounds", 20, "how often TestKill kills")

// killedDir makes this binary the process that is killed: it opens the store
// in the folder and writes until it is.
const killedDir = "STORE_TEST_KILLED_DIR"

const (
	killWriters      = 16
	killRoundsShort  = 3
	killRoundsDir    = 20                     // then a new folder, so that a long run's world stays small
	killWindow       = 400 * time.Millisecond // after the first acknowledgement
	killedReadyWords = "open"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(dir, os.Stdout))
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// writeUntilKilled has each operation write what belongs together: an account,
// its key, its writer's counter and a journal record. A line is printed after
// each is acknowledged.
func writeUntilKilled(dir string, out io.Writer) error {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler), JournalKeep: -1})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, killedReadyWords)
	var wg sync.WaitGroup
	for w := range killWriters {
		writer := vpc.HostID(fmt.Sprint("writer-", w))
		first := 1
		if h := s.Snapshot().Host(writer); h != nil {
			first = h.Capacity + 1
		}
		wg.Go(func() {
			for i := first; err == nil; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				rev, err := s.Do(ctx, func(tx *state.Tx) error {
					tx.Put(account(id, strings.Repeat("x", i%3000)))
					tx.Put(&vpc.AccessKey{ID: vpc.AccessKeyID(id), Account: vpc.AccountID(id)})
					tx.Put(&vpc.Host{ID: writer, Capacity: i})
					tx.Journal([]byte(id))
					return nil
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Fprintf(out, "%d %s\n", rev, id)
			}
		})
	}
	wg.Wait()
	return err
}

// A process is killed at a random moment, again and again over one data
// folder: what it acknowledged is there, and nothing is half there.
func TestKill(t *testing.T) {
	random := testSeed(t)
	rounds := *killRounds
	if testing.Short() {
		rounds = min(rounds, killRoundsShort)
	}
	start, total := time.Now(), 0
	for done := 0; done < rounds; done += killRoundsDir {
		dir := t.TempDir()
		acknowledged := map[string]string{} // id → revision
		for round := done; round < min(rounds, done+killRoundsDir); round++ {
			// A test of its own: what it opens is forgotten when it ends.
			ok := t.Run(fmt.Sprint(round), func(t *testing.T) {
				before := len(acknowledged)
				killOnce(t, dir, time.Duration(random.Int64N(int64(killWindow))), acknowledged)
				if len(acknowledged) == before {
					t.Error("nothing was acknowledged")
				}
				s := openDir(t, dir)
				checkKilled(t, s, acknowledged)
				mustClose(t, s)
			})
			if !ok {
				return
			}
		}
		total += len(acknowledged)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills in %s, %d operations acknowledged", rounds, time.Since(start).Round(time.Second), total)
}

func killOnce(t *testing.T, dir string, after time.Duration, acknowledged map[string]string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer hang.Stop()
	lines := bufio.NewReader(out)
	for first := true; ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was not acknowledged to anybody
		}
		rev, id, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue // killedReadyWords
		}
		acknowledged[id] = rev
		if first {
			first = false
			defer time.AfterFunc(after, func() { cmd.Process.Kill() }).Stop()
		}
	}
	cmd.Wait()
	if complaint.Len() > 0 {
		t.Errorf("the process complained before it was killed: %s", complaint.String())
	}
}

// checkKilled compares what is stored with what was acknowledged, and its
// parts with one another.
func checkKilled(t *testing.T, s *Store, acknowledged map[string]string) {
	t.Helper()
	world := s.Snapshot()
	journal := map[string]state.Revision{}
	for from := (Position{}); ; {
		records, err := s.JournalAfter(testContext(t), from, journalPageMax)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			journal[string(r.Data)] = r.Revision
			from = r.Position
		}
	}
	for id, rev := range acknowledged {
		if world.Account(vpc.AccountID(id)) == nil || world.AccessKey(vpc.AccessKeyID(id)) == nil {
			t.Errorf("%s was acknowledged and is not there", id)
		}
		if got := fmt.Sprint(journal[id]); got != rev {
			t.Errorf("%s was acknowledged at revision %s and is recorded at %s", id, rev, got)
		}
	}
	accounts, keys, sum := 0, 0, 0
	for a := range world.Accounts() {
		accounts++
		if world.AccessKey(vpc.AccessKeyID(a.ID)) == nil || journal[string(a.ID)] == 0 {
			t.Errorf("account %s is half there", a.ID)
		}
	}
	for range world.All(vpc.KindAccessKey) {
		keys++
	}
	for h := range world.Hosts() {
		sum += h.Capacity
	}
	if n := int(world.Revision()); accounts != n || keys != n || sum != n || len(journal) != n {
		t.Errorf("revision %d: %d accounts, %d keys, counters of %d, %d journal records: all should be equal",
			n, accounts, keys, sum, len(journal))
	}
}
