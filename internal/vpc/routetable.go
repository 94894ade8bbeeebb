package vpc

import (
	"net/netip"
	"time"
)

// RouteTableID is rtb-….
type RouteTableID string

// RouteTable says where packets of the subnets that are associated with it go. A VPC's main table is that of all its
// subnets that have none of their own (Subnet.RouteTable). The routes to the VPC itself are not stored: they follow
// from its blocks.
type RouteTable struct {
	ID      RouteTableID
	Scope   Scope
	VPC     VPCID
	Main    AssociationID // its association as the VPC's main table; empty: it is not
	Routes  []Route       // in the order they were made, each destination once
	Tags    Tags
	Created time.Time
}

// Destination is what packets a route is for: exactly one of a block and a prefix list.
type Destination struct {
	Block      netip.Prefix // canonical
	PrefixList PrefixListID
}

// String is the destination as EC2 spells it.
func (d Destination) String() string {
	if d.PrefixList != "" {
		return string(d.PrefixList)
	}
	return d.Block.String()
}

// Target is where a route leads: exactly one of what it names. Whether that still is there is asked of the world.
type Target struct {
	InternetGateway InternetGatewayID
	Interface       InterfaceID
	Peering         PeeringID
}

// Route is one route that a user made.
type Route struct {
	Destination Destination
	Target      Target
}

// Kind says that it is a route table.
func (t *RouteTable) Kind() Kind { return KindRouteTable }

// Key is its id.
func (t *RouteTable) Key() string { return string(t.ID) }

// In is its partition.
func (t *RouteTable) In() Scope { return t.Scope }

// GetTags are its tags.
func (t *RouteTable) GetTags() Tags { return t.Tags }

// ResourceType is what TagSpecification calls it.
func (t *RouteTable) ResourceType() string { return "route-table" }

// WithTags is a copy with other tags.
func (t *RouteTable) WithTags(tags Tags) Entity { c := *t; c.Tags = tags; return &c }
