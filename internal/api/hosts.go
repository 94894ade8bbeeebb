package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// The server's own changes have no caller; their events name what made them.
const (
	byHost     = "host"      // what a host reported
	byServer   = "sallyport" // housekeeping
	byOperator = "operator"  // through the unix socket
)

// housekeepEvery is how often ended instances and old tokens are looked for.
const housekeepEvery = time.Minute

// act commits a change that the server makes by itself, with its event.
func (s *Server) act(ctx context.Context, who, action string, op func(tx *state.Tx, c call.Call) error) error {
	return s.actOn(ctx, "", who, action, op)
}

// actOn is act for a change of what belongs to an account, which sees the event among its own.
func (s *Server) actOn(ctx context.Context, account vpc.AccountID, who, action string, op func(tx *state.Tx, c call.Call) error) error {
	ids := seed()
	c := call.Call{
		Scope: vpc.Scope{Account: account}, Action: action, RequestID: newRequestID(), Now: s.Now().UTC(),
		Principal: call.Principal{ARN: who},
	}
	_, err := s.Store.Do(ctx, func(tx *state.Tx) error {
		c.IDs = call.NewIDs(ids)
		if err := op(tx, c); err != nil {
			return err
		}
		return event.Append(tx, callMeta(c))
	})
	return err
}

// hostConnected registers a host that said hello.
func (s *Server) hostConnected(ctx context.Context, h feed.Hello) error {
	err := s.act(ctx, byHost+" "+string(h.Host), "RegisterHost", func(tx *state.Tx, c call.Call) error {
		return instance.RegisterHost(tx, c, vpc.Host{ID: vpc.HostID(h.Host), Region: vpc.Region(h.Region), Capacity: h.Capacity})
	})
	if err != nil {
		return fmt.Errorf("registering host %s: %w", h.Host, err)
	}
	return nil
}

// hostReported brings instances to the state that their host reports.
func (s *Server) hostReported(ctx context.Context, host feed.HostID, id program.InstanceID, r feed.InstanceReport) error {
	report := instance.Report{ID: vpc.InstanceID(id), Boot: r.Boot, Reason: r.Reason}
	switch r.State {
	case feed.InstanceUp:
		report.Condition = instance.Up
	case feed.InstanceGone:
		report.Condition = instance.Gone
	case feed.InstanceFailed:
		report.Condition = instance.Failed
	}
	err := s.act(ctx, byHost+" "+string(host), "ReportInstance", func(tx *state.Tx, c call.Call) error {
		return instance.ReportInstances(tx, c, vpc.HostID(host), []instance.Report{report})
	})
	if err != nil {
		return fmt.Errorf("taking the report about %s: %w", id, err)
	}
	return nil
}

// Housekeep removes what has ended long ago, until ctx ends.
func (s *Server) Housekeep(ctx context.Context) error {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		err := s.act(ctx, byServer, "Housekeep", func(tx *state.Tx, c call.Call) error {
			ops.Reap(tx, c.Now)
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrClosed) && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "housekeeping failed", "error", err)
		}
	}
}

// consoleTimeout bounds how long an answer waits for an instance's host.
const consoleTimeout = 3 * time.Second

// console asks an instance's host for its console output.
func (s *Server) console(ctx context.Context) func(vpc.InstanceID) ([]byte, time.Time, bool) {
	return func(id vpc.InstanceID) ([]byte, time.Time, bool) {
		i := s.Store.Snapshot().Instance(id)
		if i == nil {
			return nil, time.Time{}, false
		}
		ctx, cancel := context.WithTimeout(ctx, consoleTimeout)
		defer cancel()
		output, err := s.Publisher.Console(ctx, feed.HostID(i.Host), program.InstanceID(id))
		if err != nil {
			s.Log.InfoContext(ctx, "no console output", "instance", id, "host", i.Host, "error", err)
			return nil, time.Time{}, false
		}
		return output, s.Now(), true
	}
}
