package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestSubscribersSeeTheWholeWayInOrder(t *testing.T) {
	s := openNew(t)
	ctx := testContext(t)
	const writers, each, followers = 8, 40, 3
	var writing, following sync.WaitGroup
	steps := make([]int, followers)
	for f := range followers {
		sub := s.Subscribe()
		following.Go(func() {
			defer sub.Close()
			at, rebuilt := sub.Start, sub.Start
			for at.Revision() < writers*each {
				u, err := sub.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				steps[f]++
				if u.Old != at || u.New.Revision() <= u.Old.Revision() {
					t.Errorf("a step from %d to %d after %d", u.Old.Revision(), u.New.Revision(), at.Revision())
				}
				for _, c := range u.Changes {
					if u.Old.Get(c.Kind, c.Key) != c.Before || u.New.Get(c.Kind, c.Key) != c.After {
						t.Errorf("change of %s %s is not what its worlds say", c.Kind, c.Key)
					}
				}
				at, rebuilt = u.New, rebuilt.Apply(u.New.Revision(), u.Changes)
			}
			sameWorld(t, rebuilt, at)
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				id := fmt.Sprint(i % 7)
				_, err := s.Do(ctx, func(tx *state.Tx) error {
					if a := tx.Account(vpc.AccountID(id)); a != nil && w%2 == 0 {
						tx.Delete(a)
					}
					increment(tx, vpc.HostID(fmt.Sprint(w)))
					if w%2 == 1 {
						tx.Put(account(id, fmt.Sprint(w, i)))
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	following.Wait()
	t.Logf("%d commits in %v steps", writers*each, steps)
}

func TestASlowSubscriberGetsOneStep(t *testing.T) {
	s := openNew(t)
	ctx := testContext(t)
	mustDo(t, s, put(account("1", "")))
	sub := s.Subscribe()
	defer sub.Close()
	mustDo(t, s, put(account("1", "a"), account("2", "")))
	mustDo(t, s, func(tx *state.Tx) error { tx.Delete(tx.Account("2")); return nil })
	mustDo(t, s, put(account("1", "b")))
	u, err := sub.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if u.Old.Revision() != 1 || u.New.Revision() != 4 || len(u.Changes) != 1 || u.Changes[0].After.(*vpc.Account).Name != "b" ||
		u.Changes[0].Before.(*vpc.Account).Name != "" {
		t.Errorf("update = %+v", u)
	}
	mustClose(t, s)
	if _, err := sub.Next(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Subscribe().Next(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribed after Close: %v", err)
	}
}
