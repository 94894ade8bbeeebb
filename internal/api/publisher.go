package api

import (
	"context"

	"sallyport.dev/sallyport/internal/publish"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
)

// newPublisher is the hub that feeds the hosts from the store's world.
func (s *Server) newPublisher() *publish.Publisher {
	return publish.New(publish.Options{
		Source: source{s.Store}, Log: s.Log, Now: s.Now, Hello: s.hostConnected, Instance: s.hostReported,
	})
}

// source is the store as the publisher sees it.
type source struct{ *store.Store }

func (s source) Follow() publish.Follower { return follower{s.Subscribe()} }

type follower struct{ *store.Subscription }

func (f follower) First() *state.Snapshot { return f.Start }

func (f follower) Next(ctx context.Context) (*state.Snapshot, []state.Change, error) {
	u, err := f.Subscription.Next(ctx)
	return u.New, u.Changes, err
}
