package vpc

import (
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/packet"
)

// NetworkACLID is acl-….
type NetworkACLID string

// NetworkACL is the numbered rules at the border of the subnets that are associated with it (Subnet.ACL). The entries
// that deny what no other one decides are not stored: every ACL ends with them.
type NetworkACL struct {
	ID      NetworkACLID
	Scope   Scope
	VPC     VPCID
	Default bool       // the VPC's, for life
	Entries []ACLEntry // by direction and number, each number once in a direction
	Tags    Tags
	Created time.Time
}

// ACLEntry lets everything of a family pass in a direction. Others are not stored, since nothing enforces them.
type ACLEntry struct {
	Direction packet.Direction
	Number    int32
	Block     netip.Prefix // AllIPv4 or AllIPv6
}

// Admits says whether the ACL lets pass everything of a family in a direction.
func (a *NetworkACL) Admits(d packet.Direction, all netip.Prefix) bool {
	return slices.ContainsFunc(a.Entries, func(e ACLEntry) bool { return e.Direction == d && e.Block == all })
}

// Kind says that it is a network ACL.
func (a *NetworkACL) Kind() Kind { return KindNetworkACL }

// Key is its id.
func (a *NetworkACL) Key() string { return string(a.ID) }

// In is its partition.
func (a *NetworkACL) In() Scope { return a.Scope }

// GetTags are its tags.
func (a *NetworkACL) GetTags() Tags { return a.Tags }

// ResourceType is what TagSpecification calls it.
func (a *NetworkACL) ResourceType() string { return "network-acl" }

// WithTags is a copy with other tags.
func (a *NetworkACL) WithTags(t Tags) Entity { c := *a; c.Tags = t; return &c }
