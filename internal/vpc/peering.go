package vpc

import (
	"net/netip"
	"slices"
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

// PeeringEnd is one of the two VPCs of a peering connection.
type PeeringEnd struct {
	Scope   Scope
	VPC     VPCID
	Blocks  []netip.Prefix // IPv4, as they were when the connection was asked for or accepted; what it tells once it has ended
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
	Accepter  PeeringEnd
	Status    PeeringStatus
	Message   string    // as EC2 words the status
	Since     time.Time // when it came to the status
	Expires   time.Time // when a pending request lapses
	EndedBy   AccountID // who deleted it
	Created   time.Time
}

// Active says whether the two VPCs reach each other.
func (p *Peering) Active() bool { return p.Status == PeeringActive }

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

// Association lets a group be used in a VPC that is not its own.
type Association struct {
	Group   GroupID
	Scope   Scope // the group's
	VPC     VPCID
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

// Overlap says whether any block of one VPC overlaps one of another.
func Overlap(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(p netip.Prefix) bool { return slices.ContainsFunc(b, p.Overlaps) })
}
