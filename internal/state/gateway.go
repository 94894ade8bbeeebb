package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

func newInternetGateways() *table[*vpc.InternetGateway] {
	return newTable(nil,
		func(g *vpc.InternetGateway) []string { return []string{scopeKey(g.Scope)} },
		func(g *vpc.InternetGateway) []string { return unlessEmpty(string(g.VPC)) }).counting(gatewaysByScope)
}

// InternetGateway is the Internet gateway with the id, or nil.
func (s *Snapshot) InternetGateway(id vpc.InternetGatewayID) *vpc.InternetGateway {
	return lookup[*vpc.InternetGateway](s, vpc.KindInternetGateway, string(id))
}

// InternetGatewayOf is the gateway that is attached to a VPC, or nil; there is at most one.
func (s *Snapshot) InternetGatewayOf(id vpc.VPCID) *vpc.InternetGateway {
	return first(tableOf[*vpc.InternetGateway](s, vpc.KindInternetGateway).by(gatewaysByVPC, string(id)))
}

// InternetGatewaysIn walks the Internet gateways of a scope.
func (s *Snapshot) InternetGatewaysIn(scope vpc.Scope) iter.Seq[*vpc.InternetGateway] {
	return tableOf[*vpc.InternetGateway](s, vpc.KindInternetGateway).by(gatewaysByScope, string(scope.Account), string(scope.Region))
}

// CountInternetGateways is how many Internet gateways a scope has.
func (s *Snapshot) CountInternetGateways(scope vpc.Scope) int {
	return tableOf[*vpc.InternetGateway](s, vpc.KindInternetGateway).count(gatewaysByScope, string(scope.Account), string(scope.Region))
}

// DHCPOptionsIn walks the sets of DHCP options of a scope: there is one.
func (s *Snapshot) DHCPOptionsIn(scope vpc.Scope) iter.Seq[*vpc.DHCPOptions] {
	return tableOf[*vpc.DHCPOptions](s, vpc.KindDHCPOptions).by(dhcpOptionsByScope, string(scope.Account), string(scope.Region))
}
