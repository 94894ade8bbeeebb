package vpc

import (
	"net/netip"
	"time"
)

type (
	// PeeringID is a VPC peering connection's id, pcx-….
	PeeringID string
	// PeeringStatus is where a peering connection is in its life.
	PeeringStatus string
)

// The states of a peering connection that are stored. Those that EC2 only passes through on the way
// (initiating-request, provisioning, deleting) are answers of the calls that begin them, and expired follows from
// the clock.
const (
	PeeringPending  PeeringStatus = "pending-acceptance"
	PeeringActive   PeeringStatus = "active"
	PeeringFailed   PeeringStatus = "failed"
	PeeringRejected PeeringStatus = "rejected"
	PeeringExpired  PeeringStatus = "expired"
	PeeringDeleted  PeeringStatus = "deleted"
)

// How long a request waits for its answer, and how long each side sees a connection that is over (AWS VPC peering
// guide, "VPC peering connection lifecycle").
const (
	PeeringRequestLife = 7 * 24 * time.Hour
	endedSeenShort     = 2 * time.Hour
	endedSeenLong      = 2 * 24 * time.Hour
)

// PeeringEnd is one of the two VPCs of a peering connection.
type PeeringEnd struct {
	Scope Scope
	VPC   VPCID
	// Blocks and Blocks6 are what the end is remembered to have had: the requester's since it asked, the accepter's
	// since it accepted. None: it never told.
	Blocks  []netip.Prefix // IPv4
	Blocks6 []netip.Prefix
	// AllowDNS is AllowDnsResolutionFromRemoteVpc, stored as clients set it.
	AllowDNS bool
	Tags     Tags // of its owner: each sees his own
}

// Peering connects two VPCs of one region, whose accounts may differ. While it is active the two are one network to
// rules and to routers.
type Peering struct {
	ID        PeeringID
	Requester PeeringEnd
	Accepter  PeeringEnd // of a request that failed: as the requester named it
	Status    PeeringStatus
	Message   string    // as EC2 words the status
	Since     time.Time // when it came to the status
	Expires   time.Time // when a pending request lapses
	EndedBy   AccountID // who deleted it
	Created   time.Time
}

// Active says whether the two VPCs reach each other.
func (p *Peering) Active() bool { return p.Status == PeeringActive }

// StatusAt is the status at a time, since when, and EC2's words for it: a request that nobody answered has expired
// without anybody writing it down.
func (p *Peering) StatusAt(now time.Time) (s PeeringStatus, since time.Time, message string) {
	if p.Status == PeeringPending && !now.Before(p.Expires) {
		return PeeringExpired, p.Expires, "Expired"
	}
	return p.Status, p.Since, p.Message
}

// Live says whether the connection is, at a time, active or still waiting for its answer: two VPCs have one such at
// most, and it stands in the way of their deletion.
func (p *Peering) Live(now time.Time) bool {
	s, _, _ := p.StatusAt(now)
	return s == PeeringActive || s == PeeringPending
}

// Other is the end across from a VPC; ok is false if the VPC is neither.
func (p *Peering) Other(id VPCID) (end *PeeringEnd, ok bool) {
	switch id {
	case p.Requester.VPC:
		return &p.Accepter, true
	case p.Accepter.VPC:
		return &p.Requester, true
	}
	return nil, false
}

// Kind says that it is a peering connection.
func (p *Peering) Kind() Kind { return KindPeering }

// Key is its id.
func (p *Peering) Key() string { return string(p.ID) }

// SeenBy is the connection as calls of a scope see it at a time, a *PeeringView, or nil if they do not: only the two
// owners do, and what is over only for a while.
func (p *Peering) SeenBy(viewer Scope, now time.Time) Entity {
	status, since, message := p.StatusAt(now)
	if !p.seen(viewer, status, now.Sub(since)) {
		return nil
	}
	return &PeeringView{Peering: p, Viewer: viewer, Status: status, Message: message}
}

// seen says whether a viewer sees the connection when it has been in a status for some time.
func (p *Peering) seen(viewer Scope, s PeeringStatus, age time.Duration) bool {
	asked := viewer == p.Requester.Scope
	switch {
	case !asked && viewer != p.Accepter.Scope:
		return false
	case s == PeeringPending, s == PeeringActive:
		return true
	case s == PeeringFailed:
		return asked && age < endedSeenShort // the other end was never told, and may not exist
	case s == PeeringRejected && !asked, s == PeeringDeleted && viewer.Account == p.EndedBy:
		return age < endedSeenShort
	}
	return age < endedSeenLong
}

// PeeringView is a peering connection as one of its owners sees it at one time.
type PeeringView struct {
	*Peering
	Viewer  Scope
	Status  PeeringStatus
	Message string
}

// In is whose view it is.
func (v *PeeringView) In() Scope { return v.Viewer }

// ResourceType is what TagSpecification calls it.
func (v *PeeringView) ResourceType() string { return "vpc-peering-connection" }

// GetTags are the viewer's own tags.
func (v *PeeringView) GetTags() Tags { return mine(v.Peering, v.Viewer).Tags }

// WithTags is a copy of the connection with other tags of the viewer.
func (v *PeeringView) WithTags(t Tags) Entity {
	c := *v.Peering
	mine(&c, v.Viewer).Tags = t
	return &c
}

// mine is the end whose tags a viewer sees; of two own ones, the requester.
func mine(p *Peering, viewer Scope) *PeeringEnd {
	if viewer == p.Requester.Scope {
		return &p.Requester
	}
	return &p.Accepter
}

// Association lets a group be used in a VPC that is not its own.
type Association struct {
	Group GroupID
	Scope Scope // of the group, and of the VPC too
	VPC   VPCID
	// Held says why the last attempt to end the association failed; empty: there was none.
	Held    string
	Created time.Time
}

// Kind says that it is a group's association with a VPC.
func (a *Association) Kind() Kind { return KindAssociation }

// Key is the group and the VPC.
func (a *Association) Key() string { return AssociationKey(a.Group, a.VPC) }

// In is its partition.
func (a *Association) In() Scope { return a.Scope }

// AssociationKey is the key of a group's association with a VPC.
func AssociationKey(g GroupID, v VPCID) string { return string(g) + "/" + string(v) }
