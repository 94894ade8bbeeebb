package instance

import (
	"cmp"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// What hosts tell, and what goes by the clock: changes to the world that no client asks for. They are
// operations like any other, functions of a transaction.

// Condition is what a host sees of an instance.
type Condition string

// The conditions of an instance on its host. Any other text is none, and is ignored.
const (
	Up     Condition = "up"     // it runs
	Gone   Condition = "gone"   // nothing of it is left
	Failed Condition = "failed" // it could not be started, or ended by itself, and nothing of it runs
)

// Report is what a host tells of one instance.
type Report struct {
	ID        vpc.InstanceID
	Boot      int64 // which start it tells of
	Condition Condition
	Reason    string // of a failure, for people
}

// ReportInstances takes over what a host tells of its instances: a start that succeeded or failed, a stop or a
// termination that is done. What is told of an instance that is not on the host, or of an earlier start, changes
// nothing; so a report may come twice.
func ReportInstances(tx *state.Tx, c call.Call, host vpc.HostID, reports []Report) error {
	if tx.Host(host) == nil {
		return apierr.New(apierr.CodeInvalidParameterValue, "The host '%s' is not registered.", host)
	}
	for _, r := range reports {
		i := tx.Instance(r.ID)
		if i == nil || i.Host != host || i.Boot != r.Boot {
			continue
		}
		next := *i
		if reported(tx, c, &next, r) {
			tx.Put(&next)
		}
	}
	return nil
}

// reported changes an instance as a report of its newest start says, if it does.
func reported(tx *state.Tx, c call.Call, i *vpc.Instance, r Report) bool {
	switch r.Condition {
	case Up:
		if i.State != vpc.Pending {
			return false
		}
		i.State = vpc.Running
		return true
	case Gone:
		switch i.State {
		case vpc.Stopping:
			i.State = vpc.Stopped
			return true
		case vpc.ShuttingDown:
			end(tx, c, i)
			return true
		case vpc.Pending, vpc.Running: // the host has yet to start it, or will again
		case vpc.Stopped, vpc.Terminated:
		}
		return false
	case Failed:
		return failed(tx, c, i, r.Reason)
	}
	return false
}

// failed ends a start that failed: the first one terminates the instance, a later one leaves it stopped, so that
// it can be started again.
func failed(tx *state.Tx, c call.Call, i *vpc.Instance, why string) bool {
	if !i.State.Up() {
		return false
	}
	i.ReasonCode = reasonHost
	i.Reason = reasonHost + ": " + cmp.Or(why, "the host could not start the instance")
	if i.Boot == 1 && i.State == vpc.Pending {
		end(tx, c, i)
		return true
	}
	i.State = vpc.Stopped
	return true
}

// RegisterHost makes a host known, or takes over what changed of it. When it was first known stays.
func RegisterHost(tx *state.Tx, c call.Call, h vpc.Host) error {
	if h.ID == "" || h.Capacity < 0 || h.Region != "" && !network.IsRegionName(h.Region) {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"The host '%s' of region '%s' with room for %d instances is none.", h.ID, h.Region, h.Capacity)
	}
	h.Created = c.Now
	if old := tx.Host(h.ID); old != nil {
		h.Created = old.Created
		if *old == h {
			return nil
		}
	}
	tx.Put(&h)
	return nil
}

// How long what is over stays in the world.
const (
	terminatedKept = time.Hour      // EC2 shows terminated instances for about an hour
	tokensKept     = 24 * time.Hour // no client retries for longer
)

// Reap removes terminated instances and client tokens that are old enough.
func Reap(tx *state.Tx, now time.Time) {
	for _, e := range slices.Collect(tx.All(vpc.KindInstance)) {
		if i := e.(*vpc.Instance); i.State == vpc.Terminated && now.Sub(i.Ended) >= terminatedKept {
			tx.Delete(i)
		}
	}
	for _, e := range slices.Collect(tx.All(vpc.KindToken)) {
		if t := e.(*vpc.Token); now.Sub(t.Created) >= tokensKept {
			tx.Delete(t)
		}
	}
}
