package prefixlist

import (
	"cmp"
	"maps"
	"slices"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// user is a resource that names a list.
type user struct {
	id    string
	owner vpc.AccountID
	by    []string // what of it names the list: which rules, or a route
}

// usersOf are the resources that name a list, by identifier: groups by their rules, and route tables.
func usersOf(w *state.Snapshot, id vpc.PrefixListID) []user {
	found := map[string]user{}
	add := func(id string, owner vpc.AccountID, by string) {
		found[id] = user{id, owner, append(found[id].by, by)}
	}
	for r := range w.RulesNaming(id) {
		add(string(r.Group), r.Scope.Account, "rule "+string(r.ID))
	}
	for t := range w.RouteTablesNaming(id) {
		add(string(t.ID), t.Scope.Account, "route")
	}
	return slices.SortedFunc(maps.Values(found), func(a, b user) int { return cmp.Compare(a.id, b.id) })
}

// overQuota are the groups that have more rules than they may, and the route tables that have more routes, of those
// that name the list.
func overQuota(tx *state.Tx, id vpc.PrefixListID) []string {
	var out []string
	for _, u := range usersOf(tx.Snapshot, id) {
		g, t := tx.Group(vpc.GroupID(u.id)), tx.RouteTable(vpc.RouteTableID(u.id))
		if g != nil && group.CheckRules(tx, g) != nil ||
			t != nil && tx.CountRoutes(t) > call.Quotas(tx, u.owner).RoutesPerTable {
			out = append(out, u.id)
		}
	}
	return out
}

var userListing = call.Listing[user]{
	Key:    func(u user) string { return u.id },
	Paging: call.Paging{Min: 5, Max: 255, Param: "MaxResults", OrEqual: true},
}

// getManagedPrefixListAssociations tells which resources name a list.
func getManagedPrefixListAssociations(tx *state.Tx, c call.Call, in *ec2.GetManagedPrefixListAssociationsRequest) (*ec2.GetManagedPrefixListAssociationsResult, error) {
	l, err := find(tx, c, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	page, next, err := userListing.Run(tx, c, call.Query{
		IDs: []string{string(l.ID)}, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, slices.Values(usersOf(tx.Snapshot, l.ID)))
	if err != nil {
		return nil, err
	}
	out := &ec2.GetManagedPrefixListAssociationsResult{NextToken: next, PrefixListAssociations: make([]ec2.PrefixListAssociation, len(page))}
	for i := range page {
		out.PrefixListAssociations[i] = ec2.PrefixListAssociation{ResourceId: &page[i].id, ResourceOwner: new(string(page[i].owner))}
	}
	return out, nil
}
