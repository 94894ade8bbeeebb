package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

func newRouteTables() *table[*vpc.RouteTable] {
	return newTable(nil,
		func(t *vpc.RouteTable) []string { return []string{key(string(t.VPC))} },
		func(t *vpc.RouteTable) []string { return []string{scopeKey(t.Scope)} },
		func(t *vpc.RouteTable) []string {
			if t.Main == "" {
				return nil
			}
			return []string{key(string(t.VPC))}
		},
		func(t *vpc.RouteTable) []string {
			var out []string
			for _, r := range t.Routes {
				if r.Destination.PrefixList != "" {
					out = append(out, key(string(r.Destination.PrefixList)))
				}
			}
			return out
		}).counting(routeTablesByVPC)
}

// RouteTable is the route table with the id, or nil.
func (s *Snapshot) RouteTable(id vpc.RouteTableID) *vpc.RouteTable {
	return lookup[*vpc.RouteTable](s, vpc.KindRouteTable, string(id))
}

// MainRouteTable is a VPC's main route table; nil for a VPC that an older version made and that was not given one yet.
func (s *Snapshot) MainRouteTable(id vpc.VPCID) *vpc.RouteTable {
	return first(tableOf[*vpc.RouteTable](s, vpc.KindRouteTable).by(routeTablesByMain, string(id)))
}

// RouteTablesOf walks the route tables of a VPC.
func (s *Snapshot) RouteTablesOf(id vpc.VPCID) iter.Seq[*vpc.RouteTable] {
	return tableOf[*vpc.RouteTable](s, vpc.KindRouteTable).by(routeTablesByVPC, string(id))
}

// CountRouteTables is how many route tables a VPC has.
func (s *Snapshot) CountRouteTables(id vpc.VPCID) int {
	return tableOf[*vpc.RouteTable](s, vpc.KindRouteTable).count(routeTablesByVPC, string(id))
}

// RouteTablesIn walks the route tables of a scope.
func (s *Snapshot) RouteTablesIn(scope vpc.Scope) iter.Seq[*vpc.RouteTable] {
	return tableOf[*vpc.RouteTable](s, vpc.KindRouteTable).by(routeTablesByScope, string(scope.Account), string(scope.Region))
}

// RouteTablesNaming walks the route tables with a route to a prefix list.
func (s *Snapshot) RouteTablesNaming(id vpc.PrefixListID) iter.Seq[*vpc.RouteTable] {
	return tableOf[*vpc.RouteTable](s, vpc.KindRouteTable).by(routeTablesByList, string(id))
}

// CountRoutes counts the routes of a table as the quota does: one to a prefix list weighs as much as the list may hold.
func (s *Snapshot) CountRoutes(t *vpc.RouteTable) int {
	n := 0
	for _, r := range t.Routes {
		if l := s.PrefixList(r.Destination.PrefixList); l != nil {
			n += l.MaxEntries
		} else {
			n++
		}
	}
	return n
}

// SubnetsRoutedBy walks the subnets that are explicitly associated with a route table.
func (s *Snapshot) SubnetsRoutedBy(id vpc.RouteTableID) iter.Seq[*vpc.Subnet] {
	return tableOf[*vpc.Subnet](s, vpc.KindSubnet).by(subnetsByRouteTable, string(id))
}
