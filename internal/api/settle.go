package api

import (
	"context"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// settleMax bounds how long an answer waits for the host. Clients' waiters poll
// every fifteen seconds: one that finds the final state on its first look is
// done at once.
const settleMax = 5 * time.Second

// unsettled are the instances that changes put into a state which only their
// host can end.
func unsettled(changes []state.Change) []vpc.InstanceID {
	var out []vpc.InstanceID
	for _, c := range changes {
		if i, ok := c.After.(*vpc.Instance); ok && inTransit(i) {
			out = append(out, i.ID)
		}
	}
	return out
}

func inTransit(i *vpc.Instance) bool {
	return i != nil && (i.State == vpc.Pending || i.State == vpc.Stopping || i.State == vpc.ShuttingDown)
}

// settle waits until the instances' hosts have done what was committed. The
// commit stands whether they do or not, so giving up is no failure.
func (s *Server) settle(ctx context.Context, ids []vpc.InstanceID) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	sub := s.Store.Subscribe()
	defer sub.Close()
	waits := func(snap *state.Snapshot) bool {
		return slices.ContainsFunc(ids, func(id vpc.InstanceID) bool {
			i := snap.Instance(id)
			return inTransit(i) && s.Publisher.Connected(feed.HostID(i.Host))
		})
	}
	snap := sub.Start
	for waits(snap) {
		u, err := sub.Next(ctx)
		if err != nil {
			return
		}
		snap = u.New
	}
}
