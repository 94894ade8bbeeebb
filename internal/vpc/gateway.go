package vpc

import "time"

// InternetGatewayID is igw-….
type InternetGatewayID string

// InternetGateway is the door of a VPC to the Internet. Here nothing passes through it: it is kept and read back.
type InternetGateway struct {
	ID      InternetGatewayID
	Scope   Scope
	VPC     VPCID // empty: attached to none
	Tags    Tags
	Created time.Time
}

// Kind says that it is an Internet gateway.
func (g *InternetGateway) Kind() Kind { return KindInternetGateway }

// Key is its id.
func (g *InternetGateway) Key() string { return string(g.ID) }

// In is its partition.
func (g *InternetGateway) In() Scope { return g.Scope }

// GetTags are its tags.
func (g *InternetGateway) GetTags() Tags { return g.Tags }

// ResourceType is what TagSpecification calls it.
func (g *InternetGateway) ResourceType() string { return "internet-gateway" }

// WithTags is a copy with other tags.
func (g *InternetGateway) WithTags(t Tags) Entity { c := *g; c.Tags = t; return &c }

// DHCPOptions is the set of options that all VPCs of an account in a region have: AWS's defaults, which follow from
// the region.
type DHCPOptions struct {
	ID      string // dopt-…
	Scope   Scope
	Tags    Tags
	Created time.Time
}

// Kind says that it is a set of DHCP options.
func (d *DHCPOptions) Kind() Kind { return KindDHCPOptions }

// Key is its id.
func (d *DHCPOptions) Key() string { return d.ID }

// In is its partition.
func (d *DHCPOptions) In() Scope { return d.Scope }

// GetTags are its tags.
func (d *DHCPOptions) GetTags() Tags { return d.Tags }

// ResourceType is what TagSpecification calls it.
func (d *DHCPOptions) ResourceType() string { return "dhcp-options" }

// WithTags is a copy with other tags.
func (d *DHCPOptions) WithTags(t Tags) Entity { c := *d; c.Tags = t; return &c }

// Domain is the domain of a region's private DNS names.
func (r Region) Domain() string {
	if r == "us-east-1" {
		return "ec2.internal"
	}
	return string(r) + ".compute.internal"
}
