package vpc

import (
	"net/netip"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/packet"
)

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

// RuleCount counts a group's rules as quotas do: four sets, each direction and
// family on its own.
type RuleCount [2]Weight

// Add counts one rule.
func (c *RuleCount) Add(d packet.Direction, w Weight) {
	c[d].IPv4 += w.IPv4
	c[d].IPv6 += w.IPv6
}

// Check answers EC2's error if a set that grew is over the quota.
func (c *RuleCount) Check(q Quotas, before RuleCount) error {
	for d, n := range c {
		most := 0
		if n.IPv4 > before[d].IPv4 {
			most = n.IPv4
		}
		if n.IPv6 > before[d].IPv6 {
			most = max(most, n.IPv6)
		}
		if most > q.RulesPerGroup {
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
