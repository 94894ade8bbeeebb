package vpc

import (
	"net/netip"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/packet"
)

// Quotas bound what an account may have. Each is at least 1.
type Quotas struct {
	VPCs               int // a region
	SubnetsPerVPC      int
	BlocksPerVPC       int // IPv4 CIDR blocks
	GroupsPerVPC       int
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

// OfClassic are the quotas as EC2-Classic's groups have them.
func (q Quotas) OfClassic() Quotas {
	q.RulesPerGroup = q.ClassicRulesPerGroup
	return q
}

// GuideQuotas are the numbers of the 2018 guide and of the limits page of its
// time.
func GuideQuotas() Quotas {
	return Quotas{
		VPCs:               5,
		SubnetsPerVPC:      200,
		BlocksPerVPC:       5,
		GroupsPerVPC:       500,
		RulesPerGroup:      50,
		GroupsPerInterface: 5,
		Interfaces:         5000,
		AddrsPerInterface:  50,
		Instances:          1000,
		TagsPerResource:    50,
		InternetGateways:   5,
		RouteTablesPerVPC:  200,
		RoutesPerTable:     50,
		NetworkACLsPerVPC:  200,
		EntriesPerACL:      20,
		Images:             1000,
		PeeringsPerVPC:     50,
		PeeringRequests:    25,
		PrefixLists:        100,
		PrefixListEntries:  1000,
		PrefixListVersions: 1000,

		ClassicGroups:            500,
		ClassicRulesPerGroup:     100,
		ClassicGroupsPerInstance: 500,
		ClassicRulesPerInstance:  800,
	}
}

// Weight is what a rule counts for in the quota of each family.
type Weight struct{ IPv4, IPv6 int }

// Weight is what a rule with the source weighs: a block one in its own family, a
// group one in both, a prefix list as many as it may have entries in its own
// (ec2-behaviour 2.6). list is the list that s names; nil: it names none, or one
// that is gone.
func (s Source) Weight(list *PrefixList) Weight {
	switch {
	case s.Group != "":
		return Weight{1, 1}
	case list != nil && list.IPv6:
		return Weight{IPv6: list.MaxEntries}
	case list != nil:
		return Weight{IPv4: list.MaxEntries}
	case s.CIDR.Addr().Is4():
		return Weight{IPv4: 1}
	case s.CIDR.IsValid():
		return Weight{IPv6: 1}
	}
	return Weight{}
}

// Exceeds says whether w weighs more than v in some family.
func (w Weight) Exceeds(v Weight) bool { return w.IPv4 > v.IPv4 || w.IPv6 > v.IPv6 }

// RuleCount counts a group's rules as quotas do: four sets, each direction and
// family on its own.
type RuleCount [2]Weight

// Add counts one rule.
func (c *RuleCount) Add(d packet.Direction, w Weight) {
	c[d].IPv4 += w.IPv4
	c[d].IPv6 += w.IPv6
}

// Check answers EC2's error if a set is over the quota.
func (c *RuleCount) Check(q Quotas) error {
	for d, n := range c {
		if most := max(n.IPv4, n.IPv6); most > q.RulesPerGroup {
			return apierr.New(apierr.CodeRulesPerSecurityGroupLimitExceeded,
				"The maximum number of rules per security group has been reached. There would be %d %s rules of %d.",
				most, packet.Direction(d), q.RulesPerGroup)
		}
	}
	return nil
}

// All addresses of each family.
var (
	AllIPv4 = netip.MustParsePrefix("0.0.0.0/0")
	AllIPv6 = netip.MustParsePrefix("::/0")
)
