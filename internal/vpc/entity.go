package vpc

// The methods that make the model's structs entities of a world.

// Kind says that it is an account.
func (a *Account) Kind() Kind { return KindAccount }

// Key is its id.
func (a *Account) Key() string { return string(a.ID) }

// Kind says that it is an access key.
func (k *AccessKey) Kind() Kind { return KindAccessKey }

// Key is its id.
func (k *AccessKey) Key() string { return string(k.ID) }

// Kind says that it is an account's state in a region.
func (r *RegionState) Kind() Kind { return KindRegion }

// Key is its partition as text.
func (r *RegionState) Key() string { return string(r.Scope.Account) + "/" + string(r.Scope.Region) }

// Kind says that it is a host.
func (h *Host) Kind() Kind { return KindHost }

// Key is its id.
func (h *Host) Key() string { return string(h.ID) }

// Kind says that it is a client token.
func (t *Token) Kind() Kind { return KindToken }

// Key is the token's partition, action and value.
func (t *Token) Key() string { return TokenKey(t.Scope, t.Action, t.Value) }

// TokenKey is the key under which a client token is remembered.
func TokenKey(s Scope, action, value string) string {
	return string(s.Account) + "/" + string(s.Region) + "/" + action + "/" + value
}

// Kind says that it is a VPC.
func (v *VPC) Kind() Kind { return KindVPC }

// Key is its id.
func (v *VPC) Key() string { return string(v.ID) }

// In is its partition.
func (v *VPC) In() Scope { return v.Scope }

// GetTags are its tags.
func (v *VPC) GetTags() Tags { return v.Tags }

// ResourceType is what TagSpecification calls it.
func (v *VPC) ResourceType() string { return "vpc" }

// WithTags is a copy with other tags.
func (v *VPC) WithTags(t Tags) Entity { c := *v; c.Tags = t; return &c }

// Kind says that it is a subnet.
func (s *Subnet) Kind() Kind { return KindSubnet }

// Key is its id.
func (s *Subnet) Key() string { return string(s.ID) }

// In is its partition.
func (s *Subnet) In() Scope { return s.Scope }

// GetTags are its tags.
func (s *Subnet) GetTags() Tags { return s.Tags }

// ResourceType is what TagSpecification calls it.
func (s *Subnet) ResourceType() string { return "subnet" }

// WithTags is a copy with other tags.
func (s *Subnet) WithTags(t Tags) Entity { c := *s; c.Tags = t; return &c }

// Kind says that it is a security group.
func (g *SecurityGroup) Kind() Kind { return KindGroup }

// Key is its id.
func (g *SecurityGroup) Key() string { return string(g.ID) }

// In is its partition.
func (g *SecurityGroup) In() Scope { return g.Scope }

// GetTags are its tags.
func (g *SecurityGroup) GetTags() Tags { return g.Tags }

// ResourceType is what TagSpecification calls it.
func (g *SecurityGroup) ResourceType() string { return "security-group" }

// WithTags is a copy with other tags.
func (g *SecurityGroup) WithTags(t Tags) Entity { c := *g; c.Tags = t; return &c }

// Kind says that it is a rule.
func (r *Rule) Kind() Kind { return KindRule }

// Key is its id.
func (r *Rule) Key() string { return string(r.ID) }

// In is its partition.
func (r *Rule) In() Scope { return r.Scope }

// GetTags are its tags.
func (r *Rule) GetTags() Tags { return r.Tags }

// ResourceType is what TagSpecification calls it.
func (r *Rule) ResourceType() string { return "security-group-rule" }

// WithTags is a copy with other tags.
func (r *Rule) WithTags(t Tags) Entity { c := *r; c.Tags = t; return &c }

// Kind says that it is a network interface.
func (i *Interface) Kind() Kind { return KindInterface }

// Key is its id.
func (i *Interface) Key() string { return string(i.ID) }

// In is its partition.
func (i *Interface) In() Scope { return i.Scope }

// GetTags are its tags.
func (i *Interface) GetTags() Tags { return i.Tags }

// ResourceType is what TagSpecification calls it.
func (i *Interface) ResourceType() string { return "network-interface" }

// WithTags is a copy with other tags.
func (i *Interface) WithTags(t Tags) Entity { c := *i; c.Tags = t; return &c }

// Kind says that it is an instance.
func (i *Instance) Kind() Kind { return KindInstance }

// Key is its id.
func (i *Instance) Key() string { return string(i.ID) }

// In is its partition.
func (i *Instance) In() Scope { return i.Scope }

// GetTags are its tags.
func (i *Instance) GetTags() Tags { return i.Tags }

// ResourceType is what TagSpecification calls it.
func (i *Instance) ResourceType() string { return "instance" }

// WithTags is a copy with other tags.
func (i *Instance) WithTags(t Tags) Entity { c := *i; c.Tags = t; return &c }
