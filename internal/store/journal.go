package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sallyport.dev/sallyport/internal/state"
)

const (
	// journalPageMax bounds how many records are read at once.
	journalPageMax = 1000
	// sweepEvery is how often old records are looked for.
	sweepEvery = time.Minute
	// sweepRevisionsMax bounds how much one transaction deletes.
	sweepRevisionsMax = 10_000
)

// Position is the place of a journal record: the revision that wrote it and
// its number among that revision's records. The zero Position is before all.
type Position struct {
	Revision state.Revision
	N        int
}

// Record is one journal record as an operation wrote it.
type Record struct {
	Position
	Data []byte
}

// JournalAfter reads records that follow a position, oldest first, at most
// limit and at most a page: the last record's position leads on.
func (s *Store) JournalAfter(ctx context.Context, after Position, limit int) ([]Record, error) {
	from := s.keys.journal()
	if after != (Position{}) {
		from = s.keys.record(after) + "\x00"
	}
	return s.readJournal(ctx, from, s.keys.prefix+"event0", limit, clientv3.SortAscend)
}

// JournalBefore reads records that precede a position, newest first, at most
// limit and at most a page. The zero Position stands for the journal's end.
func (s *Store) JournalBefore(ctx context.Context, before Position, limit int) ([]Record, error) {
	to := s.keys.prefix + "event0"
	if before != (Position{}) {
		to = s.keys.record(before)
	}
	return s.readJournal(ctx, s.keys.journal(), to, limit, clientv3.SortDescend)
}

func (s *Store) readJournal(ctx context.Context, from, to string, limit int, order clientv3.SortOrder) ([]Record, error) {
	limit = min(limit, journalPageMax)
	if limit <= 0 {
		return nil, nil
	}
	got, err := s.kv.Get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(int64(limit)),
		clientv3.WithSort(clientv3.SortByKey, order))
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	out := make([]Record, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		p, err := s.keys.parseRecord(string(kv.Key))
		if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		out = append(out, Record{p, kv.Value})
	}
	return out, nil
}

// sweep deletes old journal records from time to time.
func (s *Store) sweep(ctx context.Context) error {
	if s.journalKeep < 0 {
		return nil
	}
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.trim(ctx, s.journalKeep); err != nil {
				s.log.WarnContext(ctx, "trimming the journal", "err", err)
			}
		case <-s.stop:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// trim deletes the records of all but the newest revisions.
func (s *Store) trim(ctx context.Context, keep int) error {
	newest := s.Snapshot().Revision()
	if newest <= state.Revision(keep) {
		return nil
	}
	cut := newest - state.Revision(keep) + 1 // the first that stays
	for {
		oldest, err := s.JournalAfter(ctx, Position{}, 1)
		if err != nil {
			return err
		}
		if len(oldest) == 0 || oldest[0].Revision >= cut {
			return nil
		}
		end := min(cut, oldest[0].Revision+sweepRevisionsMax)
		if _, err := s.kv.Delete(ctx, s.keys.journal(), clientv3.WithRange(s.keys.record(Position{Revision: end}))); err != nil {
			return fmt.Errorf("deleting journal records before revision %d: %w", end, err)
		}
	}
}
