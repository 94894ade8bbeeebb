package vpc

// The methods that make the model's structs entities of a world.

func (a *Account) Kind() Kind  { return KindAccount }
func (a *Account) Key() string { return string(a.ID) }

func (k *AccessKey) Kind() Kind  { return KindAccessKey }
func (k *AccessKey) Key() string { return string(k.ID) }

func (r *RegionState) Kind() Kind  { return KindRegion }
func (r *RegionState) Key() string { return string(r.Scope.Account) + "/" + string(r.Scope.Region) }

func (h *Host) Kind() Kind  { return KindHost }
func (h *Host) Key() string { return string(h.ID) }

func (t *Token) Kind() Kind { return KindToken }

// Key is the token's partition, action and value.
func (t *Token) Key() string { return TokenKey(t.Scope, t.Action, t.Value) }

// TokenKey is the key under which a client token is remembered.
func TokenKey(s Scope, action, value string) string {
	return string(s.Account) + "/" + string(s.Region) + "/" + action + "/" + value
}

func (v *VPC) Kind() Kind           { return KindVPC }
func (v *VPC) Key() string          { return string(v.ID) }
func (v *VPC) In() Scope            { return v.Scope }
func (v *VPC) GetTags() Tags        { return v.Tags }
func (v *VPC) ResourceType() string { return "vpc" }

// WithTags is a copy with other tags.
func (v *VPC) WithTags(t Tags) Entity { c := *v; c.Tags = t; return &c }

func (s *Subnet) Kind() Kind           { return KindSubnet }
func (s *Subnet) Key() string          { return string(s.ID) }
func (s *Subnet) In() Scope            { return s.Scope }
func (s *Subnet) GetTags() Tags        { return s.Tags }
func (s *Subnet) ResourceType() string { return "subnet" }

// WithTags is a copy with other tags.
func (s *Subnet) WithTags(t Tags) Entity { c := *s; c.Tags = t; return &c }

func (g *SecurityGroup) Kind() Kind           { return KindGroup }
func (g *SecurityGroup) Key() string          { return string(g.ID) }
func (g *SecurityGroup) In() Scope            { return g.Scope }
func (g *SecurityGroup) GetTags() Tags        { return g.Tags }
func (g *SecurityGroup) ResourceType() string { return "security-group" }

// WithTags is a copy with other tags.
func (g *SecurityGroup) WithTags(t Tags) Entity { c := *g; c.Tags = t; return &c }

func (r *Rule) Kind() Kind           { return KindRule }
func (r *Rule) Key() string          { return string(r.ID) }
func (r *Rule) In() Scope            { return r.Scope }
func (r *Rule) GetTags() Tags        { return r.Tags }
func (r *Rule) ResourceType() string { return "security-group-rule" }

// WithTags is a copy with other tags.
func (r *Rule) WithTags(t Tags) Entity { c := *r; c.Tags = t; return &c }

func (i *Interface) Kind() Kind           { return KindInterface }
func (i *Interface) Key() string          { return string(i.ID) }
func (i *Interface) In() Scope            { return i.Scope }
func (i *Interface) GetTags() Tags        { return i.Tags }
func (i *Interface) ResourceType() string { return "network-interface" }

// WithTags is a copy with other tags.
func (i *Interface) WithTags(t Tags) Entity { c := *i; c.Tags = t; return &c }

func (i *Instance) Kind() Kind           { return KindInstance }
func (i *Instance) Key() string          { return string(i.ID) }
func (i *Instance) In() Scope            { return i.Scope }
func (i *Instance) GetTags() Tags        { return i.Tags }
func (i *Instance) ResourceType() string { return "instance" }

// WithTags is a copy with other tags.
func (i *Instance) WithTags(t Tags) Entity { c := *i; c.Tags = t; return &c }
