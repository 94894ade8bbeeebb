package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

func newNetworkACLs() *table[*vpc.NetworkACL] {
	return newTable(nil,
		func(a *vpc.NetworkACL) []string { return []string{key(string(a.VPC))} },
		func(a *vpc.NetworkACL) []string { return []string{scopeKey(a.Scope)} },
		func(a *vpc.NetworkACL) []string {
			if !a.Default {
				return nil
			}
			return []string{key(string(a.VPC))}
		}).counting(aclsByVPC)
}

// NetworkACL is the network ACL with the id, or nil.
func (s *Snapshot) NetworkACL(id vpc.NetworkACLID) *vpc.NetworkACL {
	return lookup[*vpc.NetworkACL](s, vpc.KindNetworkACL, string(id))
}

// DefaultNetworkACL is a VPC's default network ACL; nil for a VPC that an older version made and that was not given
// one yet.
func (s *Snapshot) DefaultNetworkACL(id vpc.VPCID) *vpc.NetworkACL {
	return first(tableOf[*vpc.NetworkACL](s, vpc.KindNetworkACL).by(aclsByDefault, string(id)))
}

// NetworkACLsOf walks the network ACLs of a VPC.
func (s *Snapshot) NetworkACLsOf(id vpc.VPCID) iter.Seq[*vpc.NetworkACL] {
	return tableOf[*vpc.NetworkACL](s, vpc.KindNetworkACL).by(aclsByVPC, string(id))
}

// CountNetworkACLs is how many network ACLs a VPC has.
func (s *Snapshot) CountNetworkACLs(id vpc.VPCID) int {
	return tableOf[*vpc.NetworkACL](s, vpc.KindNetworkACL).count(aclsByVPC, string(id))
}

// NetworkACLsIn walks the network ACLs of a scope.
func (s *Snapshot) NetworkACLsIn(scope vpc.Scope) iter.Seq[*vpc.NetworkACL] {
	return tableOf[*vpc.NetworkACL](s, vpc.KindNetworkACL).by(aclsByScope, string(scope.Account), string(scope.Region))
}

// SubnetsUnder walks the subnets that are associated with a network ACL.
func (s *Snapshot) SubnetsUnder(id vpc.NetworkACLID) iter.Seq[*vpc.Subnet] {
	return tableOf[*vpc.Subnet](s, vpc.KindSubnet).by(subnetsByACL, string(id))
}
