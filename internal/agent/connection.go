package agent

import (
	"fmt"
	"maps"
	"slices"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
)

// connection joins two networks of this host.
type connection struct {
	step
	id   program.ConnectionID
	ends [2]program.NetworkID // last known of
	made *program.Connection  // as it was last made
}

func (r *reconciler) connection(id program.ConnectionID) *connection {
	c := r.connections[id]
	if c == nil {
		c = &connection{id: id}
		r.connections[id] = c
	}
	if want := r.desired.Connections[id]; want != nil {
		c.ends = [2]program.NetworkID{want.Ends[0].ID, want.Ends[1].ID}
	}
	return c
}

// ready: a connection comes after its networks, and goes at once.
func (c *connection) ready(r *reconciler) bool {
	if r.desired.Connections[c.id] == nil {
		return true
	}
	return r.networkMade(c.ends[0]) && r.networkMade(c.ends[1])
}

func (c *connection) next(r *reconciler) {
	want := r.desired.Connections[c.id]
	switch {
	case want == nil && !c.present:
		delete(r.connections, c.id)
	case want == nil:
		c.begin(r, nil, func() error { return r.lab.RemoveConnection(c.id) })
	case c.made == nil || !same(c.made, want):
		c.present = true
		c.begin(r, want, func() error { return r.lab.EnsureConnection(want) })
	}
}

func (c *connection) begin(r *reconciler, want *program.Connection, do func() error) {
	c.at = true
	r.work(func() func() {
		err := do()
		return func() {
			c.at = false
			r.want(c)
			if err != nil {
				c.made = nil
				c.fail.failed(fmt.Errorf("connection %s: %w", c.id, err))
				r.log.Warn("connection not as wanted", "connection", string(c.id), "error", err)
				return
			}
			c.fail.over()
			c.made, c.present = want, want != nil
		}
	})
}

// unsettled says of networks whose ways to others are not as they are desired what their interfaces are then: who is
// reached is as much a part of what is enforced as the rules are.
func (r *reconciler) unsettled() map[program.NetworkID]feed.InterfaceStatus {
	out := map[program.NetworkID]feed.InterfaceStatus{}
	for _, id := range slices.Sorted(maps.Keys(r.connections)) {
		c, want := r.connections[id], r.desired.Connections[id]
		var status feed.InterfaceStatus
		switch {
		case want == nil && !c.present, want != nil && !c.at && same(c.made, want):
			continue
		case c.fail.err != nil:
			status = feed.InterfaceStatus{State: feed.NotEnforced, Reason: "its network's ways are not as they should be: " + c.fail.err.Error()}
		case want == nil:
			status = feed.InterfaceStatus{State: feed.Pending, Reason: fmt.Sprintf("its network is being parted from %s", id)}
		default:
			status = feed.InterfaceStatus{State: feed.Pending, Reason: fmt.Sprintf("its network is being connected by %s", id)}
		}
		for _, end := range c.ends {
			if out[end].State != feed.NotEnforced {
				out[end] = status
			}
		}
	}
	return out
}
