package opstest

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// checkSurroundings holds that every VPC has one main route table and one default ACL, that its subnets are under
// tables and ACLs of it, that it has one gateway at most, and that no interface is under an ACL that blocks.
func checkSurroundings(w *state.Snapshot) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for e := range w.All(vpc.KindVPC) {
		v := e.(*vpc.VPC)
		main, defaults, gateways := 0, 0, 0
		for t := range w.RouteTablesOf(v.ID) {
			if t.Main != "" {
				main++
			}
			seen := map[vpc.Destination]bool{}
			for _, r := range t.Routes {
				if seen[r.Destination] {
					wrong("%s has two routes to %s", t.ID, r.Destination)
				}
				seen[r.Destination] = true
			}
		}
		for a := range w.NetworkACLsOf(v.ID) {
			if a.Default {
				defaults++
			}
		}
		for e := range w.All(vpc.KindInternetGateway) {
			if e.(*vpc.InternetGateway).VPC == v.ID {
				gateways++
			}
		}
		if main != 1 || defaults != 1 || gateways > 1 {
			wrong("%s has %d main route tables, %d default ACLs, %d gateways", v.ID, main, defaults, gateways)
		}
	}
	for e := range w.All(vpc.KindSubnet) {
		s := e.(*vpc.Subnet)
		if a := w.NetworkACL(s.ACL); a == nil || a.VPC != s.VPC || s.ACLAssociation == "" {
			wrong("%s of %s is under the ACL %q", s.ID, s.VPC, s.ACL)
		}
		if t := w.RouteTable(s.RouteTable); s.RouteTable != "" && (t == nil || t.VPC != s.VPC) || (s.RouteTable == "") != (s.RouteAssociation == "") {
			wrong("%s of %s is routed by %q", s.ID, s.VPC, s.RouteTable)
		}
		if err := acl.CheckUse(w, s); err != nil {
			wrong("%s: %v", s.ID, err)
		}
	}
	for _, kind := range []vpc.Kind{vpc.KindRouteTable, vpc.KindNetworkACL} {
		for e := range w.All(kind) {
			if id := networkOf(e); w.VPC(id) == nil {
				wrong("%s is of %s, which is not", e.Key(), id)
			}
		}
	}
	for e := range w.All(vpc.KindNetworkACL) {
		a := e.(*vpc.NetworkACL)
		if !slices.IsSortedFunc(a.Entries, func(x, y vpc.ACLEntry) int {
			if x.Direction < y.Direction || x.Direction == y.Direction && x.Number < y.Number {
				return -1
			}
			return 1
		}) {
			wrong("%s has the entries %v", a.ID, a.Entries)
		}
	}
	return errs
}

func networkOf(e vpc.Entity) vpc.VPCID {
	switch e := e.(type) {
	case *vpc.RouteTable:
		return e.VPC
	case *vpc.NetworkACL:
		return e.VPC
	}
	return ""
}
