package instance

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// roomy is a host that serves the region, with the number of instances it can still take.
type roomy struct {
	id   vpc.HostID
	free int
}

// hostList are the hosts on which an instance of the call's region can be placed, by identifier.
type hostList []roomy

// roomyHosts finds the hosts that serve the call's region. An instance keeps its place until it is terminated,
// also while it is stopped: it can always be started again.
func roomyHosts(tx *state.Tx, c call.Call) hostList {
	var out hostList
	for h := range tx.Hosts() {
		if h.Region != "" && h.Region != c.Scope.Region {
			continue
		}
		out = append(out, roomy{h.ID, max(h.Capacity-tx.CountLiveOn(h.ID), 0)})
	}
	return out
}

// room is how many instances there is room for.
func (l hostList) room() int {
	n := 0
	for _, h := range l {
		n += h.free
	}
	return n
}

// take places one instance on the host with the most room; of several, the first by identifier. There must be
// room.
func (l hostList) take() vpc.HostID {
	best := 0
	for i := range l {
		if l[i].free > l[best].free {
			best = i
		}
	}
	l[best].free--
	return l[best].id
}

// insufficient is the answer when there is not enough room.
func (l hostList) insufficient(c call.Call, kind string, z vpc.Zone, wanted int) error {
	const words = "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s)."
	if len(l) == 0 {
		return apierr.New(apierr.CodeInsufficientInstanceCapacity,
			words+" No host serves %s: run an agent on one.", kind, z, c.Scope.Region)
	}
	return apierr.New(apierr.CodeInsufficientInstanceCapacity,
		words+" The %d host(s) that serve %s have room for %d more, and %d are wanted; stopped instances keep their place.",
		kind, z, len(l), c.Scope.Region, l.room(), wanted)
}
