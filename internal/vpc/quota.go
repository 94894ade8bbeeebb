package vpc

import (
	"cmp"
	"maps"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
)

// Quotas bound what an account may have. Each is at least 1. A new one is a field here and a row of quotaTable.
type Quotas struct {
	VPCs               int // a region
	SubnetsPerVPC      int
	BlocksPerVPC       int // IPv4 CIDR blocks, and as many of IPv6
	GroupsPerVPC       int
	Groups             int // a region, EC2-Classic's apart
	RulesPerGroup      int // each direction and family on its own
	GroupsPerInterface int
	Interfaces         int // a region
	AddrsPerInterface  int // each family
	Instances          int // a region, not terminated
	TagsPerResource    int
	InternetGateways   int // a region
	RouteTablesPerVPC  int
	RoutesPerTable     int // one to a prefix list weighs its entries
	NetworkACLsPerVPC  int
	EntriesPerACL      int // each direction and family on its own, the last one, which denies, included
	Images             int // a region
	PeeringsPerVPC     int // active
	PeeringRequests    int // that wait for an answer, a region
	PrefixLists        int // a region
	PrefixListEntries  int // the most that a list's MaxEntries can be
	PrefixListVersions int // kept of a list; the oldest goes when there are more

	// Of EC2-Classic.
	ClassicGroups            int // a region
	ClassicRulesPerGroup     int
	ClassicGroupsPerInstance int
	ClassicRulesPerInstance  int // over all its groups
}

// RulesPerDirectionMax is the most rules that one direction of an interface can have over all its groups: what the
// datapath holds (program.RulesMax). It is no quota, since no operator can raise it.
const RulesPerDirectionMax = 1024

// rulesTimesGroupsMax is the most that the rules of a group times the groups of an interface can be set to, as on AWS.
const rulesTimesGroupsMax = 1000

// Quota is one of an account's quotas.
type Quota struct {
	Name         string // as operators write it
	guide, today int    // what the two profiles say
	Max          int    // the most that it can be set to
	field        func(*Quotas) *int
}

// quotaTable has a row for each field of Quotas. The guide's numbers are those of the 2018 page and of the limits
// page of its time; today's those of AWS's quotas page. Where AWS tells how far it raises a quota, that is the most;
// else the most is what a world of the size that Sallyport is made for needs.
var quotaTable = []Quota{
	{"vpcs-per-region", 5, 5, 1000, func(q *Quotas) *int { return &q.VPCs }},
	{"subnets-per-vpc", 200, 200, 1000, func(q *Quotas) *int { return &q.SubnetsPerVPC }},
	{"cidr-blocks-per-vpc", 5, 5, 50, func(q *Quotas) *int { return &q.BlocksPerVPC }},
	{"groups-per-vpc", 500, 10_000, 10_000, func(q *Quotas) *int { return &q.GroupsPerVPC }}, // today: no bound of its own
	{"groups-per-region", 10_000, 2500, 10_000, func(q *Quotas) *int { return &q.Groups }},
	{"rules-per-group", 50, 60, 1000, func(q *Quotas) *int { return &q.RulesPerGroup }},
	{"groups-per-interface", 5, 5, 16, func(q *Quotas) *int { return &q.GroupsPerInterface }},
	{"interfaces-per-region", 5000, 5000, 100_000, func(q *Quotas) *int { return &q.Interfaces }},
	{"addresses-per-interface", 50, 50, 50, func(q *Quotas) *int { return &q.AddrsPerInterface }},
	{"instances-per-region", 1000, 1000, 100_000, func(q *Quotas) *int { return &q.Instances }},
	{"tags-per-resource", 50, 50, 50, func(q *Quotas) *int { return &q.TagsPerResource }},
	{"internet-gateways-per-region", 5, 5, 1000, func(q *Quotas) *int { return &q.InternetGateways }},
	{"route-tables-per-vpc", 200, 200, 1000, func(q *Quotas) *int { return &q.RouteTablesPerVPC }},
	{"routes-per-route-table", 50, 50, 1000, func(q *Quotas) *int { return &q.RoutesPerTable }},
	{"network-acls-per-vpc", 200, 200, 1000, func(q *Quotas) *int { return &q.NetworkACLsPerVPC }},
	{"entries-per-network-acl", 20, 20, 40, func(q *Quotas) *int { return &q.EntriesPerACL }},
	{"images-per-region", 1000, 1000, 10_000, func(q *Quotas) *int { return &q.Images }},
	{"peerings-per-vpc", 50, 50, 125, func(q *Quotas) *int { return &q.PeeringsPerVPC }},
	{"peering-requests-per-region", 25, 25, 1000, func(q *Quotas) *int { return &q.PeeringRequests }},
	{"prefix-lists-per-region", 100, 100, 1000, func(q *Quotas) *int { return &q.PrefixLists }},
	{"entries-per-prefix-list", 1000, 1000, 1000, func(q *Quotas) *int { return &q.PrefixListEntries }},
	{"versions-per-prefix-list", 1000, 1000, 1000, func(q *Quotas) *int { return &q.PrefixListVersions }},

	{"classic-groups-per-region", 500, 500, 10_000, func(q *Quotas) *int { return &q.ClassicGroups }},
	{"classic-rules-per-group", 100, 100, 1000, func(q *Quotas) *int { return &q.ClassicRulesPerGroup }},
	{"classic-groups-per-instance", 500, 500, 500, func(q *Quotas) *int { return &q.ClassicGroupsPerInstance }},
	{"classic-rules-per-instance", 800, 800, RulesPerDirectionMax, func(q *Quotas) *int { return &q.ClassicRulesPerInstance }},
}

// EveryQuota lists the quotas.
func EveryQuota() []Quota { return slices.Clone(quotaTable) }

// Of is the quota's value among an account's.
func (q Quota) Of(all Quotas) int { return *q.field(&all) }

// QuotaNamed is the quota with a name.
func QuotaNamed(name string) (q Quota, ok bool) {
	i := slices.IndexFunc(quotaTable, func(q Quota) bool { return q.Name == name })
	if i < 0 {
		return Quota{}, false
	}
	return quotaTable[i], true
}

// QuotaProfile names the quotas that an account begins with.
type QuotaProfile string

// The profiles.
const (
	ProfileGuide QuotaProfile = "guide-2018"
	ProfileToday QuotaProfile = "aws-today"
)

// QuotaProfiles lists the profiles.
func QuotaProfiles() []QuotaProfile { return []QuotaProfile{ProfileGuide, ProfileToday} }

// Quotas are the numbers of the profile; of the guide's for one that does not exist.
func (p QuotaProfile) Quotas() (out Quotas) {
	for _, q := range quotaTable {
		n := q.guide
		if p == ProfileToday {
			n = q.today
		}
		*q.field(&out) = n
	}
	return out
}

// GuideQuotas are the numbers of the 2018 guide and of the limits page of its
// time.
func GuideQuotas() Quotas { return ProfileGuide.Quotas() }

// QuotaSetting is how an account's quotas are set. The zero value is the guide's.
type QuotaSetting struct {
	Profile   QuotaProfile   `json:",omitzero"`  // empty: the guide's
	Overrides map[string]int `json:",omitempty"` // by name, what is otherwise than in the profile
}

// InProfile is the setting's profile.
func (s QuotaSetting) InProfile() QuotaProfile { return cmp.Or(s.Profile, ProfileGuide) }

// Equal says whether the settings are the same.
func (s QuotaSetting) Equal(o QuotaSetting) bool {
	return s.InProfile() == o.InProfile() && maps.Equal(s.Overrides, o.Overrides)
}

// Quotas are the numbers that the setting amounts to.
func (s QuotaSetting) Quotas() Quotas {
	out := s.InProfile().Quotas()
	for _, q := range quotaTable {
		if n, ok := s.Overrides[q.Name]; ok {
			*q.field(&out) = n
		}
	}
	return out
}

// Check refuses numbers that nobody can have: outside a quota's bounds, or more rules on an interface than AWS allows.
func (s QuotaSetting) Check() error {
	all := s.Quotas()
	for _, q := range quotaTable {
		if n := q.Of(all); n < 1 || n > q.Max {
			return apierr.New(apierr.CodeInvalidParameterValue, "%s can be from 1 to %d, not %d", q.Name, q.Max, n)
		}
	}
	if n := all.RulesPerGroup * all.GroupsPerInterface; n > rulesTimesGroupsMax {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"rules-per-group times groups-per-interface can be %d at most, and would be %d × %d = %d",
			rulesTimesGroupsMax, all.RulesPerGroup, all.GroupsPerInterface, n)
	}
	return nil
}

// OfClassic are the quotas as EC2-Classic's groups have them.
func (q Quotas) OfClassic() Quotas {
	q.RulesPerGroup = q.ClassicRulesPerGroup
	return q
}
