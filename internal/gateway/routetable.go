package gateway

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func routeTableActions() []call.Operation {
	return []call.Operation{
		call.Writes(createRouteTable),
		call.Writes(deleteRouteTable),
		call.Reads(describeRouteTables),
	}
}

// Surround gives a VPC the main route table that every VPC has, and a default VPC the Internet gateway and the route
// to it that default VPCs have (AWS VPC guide, "Default VPC components").
func Surround(tx *state.Tx, c call.Call, v *vpc.VPC) {
	t := vpc.RouteTable{VPC: v.ID, Main: newAssociation(c)}
	if v.Default {
		g := putGateway(tx, c, vpc.InternetGateway{VPC: v.ID})
		t.Routes = []vpc.Route{{Destination: vpc.Destination{Block: vpc.AllIPv4}, Target: vpc.Target{InternetGateway: g.ID}}}
	}
	putTable(tx, c, t)
}

// Remove deletes what went with a VPC: its route tables. Whoever deletes the VPC has seen to it that only the main
// one is left.
func Remove(tx *state.Tx, id vpc.VPCID) {
	for t := range tx.RouteTablesOf(id) {
		tx.Delete(t)
	}
}

// Dependents lists what must leave a VPC before it can be deleted: an attached gateway and tables that users made.
func Dependents(w *state.Snapshot, id vpc.VPCID) []string {
	var out []string
	if g := w.InternetGatewayOf(id); g != nil {
		out = append(out, string(g.ID))
	}
	for t := range w.RouteTablesOf(id) {
		if t.Main == "" {
			out = append(out, string(t.ID))
		}
	}
	return out
}

func putTable(tx *state.Tx, c call.Call, t vpc.RouteTable) *vpc.RouteTable {
	t.ID, t.Scope, t.Created = vpc.RouteTableID(c.IDs.New("rtb")), c.Scope, c.Now
	tx.Put(&t)
	return &t
}

func findTable(tx *state.Tx, c call.Call, id *string) (*vpc.RouteTable, error) {
	return call.Find[*vpc.RouteTable](tx, c, &call.RouteTableForm, call.Text(id))
}

func createRouteTable(tx *state.Tx, c call.Call, in *ec2.CreateRouteTableRequest) (*ec2.CreateRouteTableResult, error) {
	same := *in
	same.ClientToken, same.DryRun = nil, nil
	answer := func(t *vpc.RouteTable) *ec2.CreateRouteTableResult {
		out := wireTable(tx.Snapshot, t)
		return &ec2.CreateRouteTableResult{RouteTable: &out, ClientToken: in.ClientToken}
	}
	first := func() (*ec2.CreateRouteTableResult, []string, error) {
		t, err := newTable(tx, c, in)
		if err != nil {
			return nil, nil, err
		}
		return answer(t), []string{string(t.ID)}, nil
	}
	again := func(ids []string) (*ec2.CreateRouteTableResult, error) {
		t, err := findTable(tx, c, &ids[0])
		if err != nil {
			return nil, err
		}
		return answer(t), nil
	}
	return call.Once(tx, c, in.ClientToken, &same, first, again)
}

func newTable(tx *state.Tx, c call.Call, in *ec2.CreateRouteTableRequest) (*vpc.RouteTable, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeRouteTable)
	if err != nil {
		return nil, err
	}
	n, most := tx.CountRouteTables(v.ID), call.Quotas(tx, c.Scope.Account).RouteTablesPerVPC
	if n >= most {
		return nil, apierr.New(apierr.CodeRouteTableLimitExceeded,
			"The maximum number of route tables for VPC '%s' has been reached. It has %d of %d.", v.ID, n, most)
	}
	return putTable(tx, c, vpc.RouteTable{VPC: v.ID, Tags: tags[ec2.ResourceTypeRouteTable]}), nil
}

func deleteRouteTable(tx *state.Tx, c call.Call, in *ec2.DeleteRouteTableRequest) (ec2.Return, error) {
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return ec2.Return{}, err
	}
	var others []string
	if t.Main != "" {
		others = append(others, string(t.Main)+", which makes it the main route table of "+string(t.VPC))
	}
	for s := range tx.SubnetsRoutedBy(t.ID) {
		others = append(others, string(s.RouteAssociation)+" with "+string(s.ID))
	}
	if len(others) > 0 {
		return ec2.Return{}, call.InTheWay("routeTable", string(t.ID), others)
	}
	tx.Delete(t)
	return ec2.Return{}, nil
}

var tableListing = call.Listing[*vpc.RouteTable]{
	Attributes: tableAttributes(),
	Tags:       call.TagsOf[*vpc.RouteTable],
	Key:        (*vpc.RouteTable).Key,
	Paging: call.Paging{
		Min: 5, Max: 100, Param: "MaxResults", OrEqual: true,
		Together: "The parameter RouteTableIds cannot be used with the parameter MaxResults",
	},
}

func tableAttributes() call.Attributes[*vpc.RouteTable] {
	association := func(value func(ec2.RouteTableAssociation) *string) call.Attribute[*vpc.RouteTable] {
		return func(w *state.Snapshot, t *vpc.RouteTable, is func(string) bool) bool {
			return slices.ContainsFunc(wireAssociations(w, t), func(a ec2.RouteTableAssociation) bool {
				v := value(a)
				return v != nil && is(*v)
			})
		}
	}
	route := func(value func(ec2.Route) *string) call.Attribute[*vpc.RouteTable] {
		return func(w *state.Snapshot, t *vpc.RouteTable, is func(string) bool) bool {
			return slices.ContainsFunc(wireRoutes(w, t), func(r ec2.Route) bool {
				v := value(r)
				return v != nil && is(*v)
			})
		}
	}
	return call.Attributes[*vpc.RouteTable]{
		"association.gateway-id": association(func(a ec2.RouteTableAssociation) *string { return a.GatewayId }),
		"association.main": func(w *state.Snapshot, t *vpc.RouteTable, is func(string) bool) bool {
			return slices.ContainsFunc(wireAssociations(w, t), func(a ec2.RouteTableAssociation) bool {
				return *a.Main && is("true") || !*a.Main && is("false")
			})
		},
		"association.route-table-association-id": association(func(a ec2.RouteTableAssociation) *string { return a.RouteTableAssociationId }),
		"association.route-table-id":             association(func(a ec2.RouteTableAssociation) *string { return a.RouteTableId }),
		"association.subnet-id":                  association(func(a ec2.RouteTableAssociation) *string { return a.SubnetId }),
		"owner-id":                               call.One(func(t *vpc.RouteTable) string { return string(t.Scope.Account) }),
		"route-table-id":                         call.One((*vpc.RouteTable).Key),
		"route.destination-cidr-block":           route(func(r ec2.Route) *string { return r.DestinationCidrBlock }),
		"route.destination-ipv6-cidr-block":      route(func(r ec2.Route) *string { return r.DestinationIpv6CidrBlock }),
		"route.destination-prefix-list-id":       route(func(r ec2.Route) *string { return r.DestinationPrefixListId }),
		"route.egress-only-internet-gateway-id":  route(func(r ec2.Route) *string { return r.EgressOnlyInternetGatewayId }),
		"route.gateway-id":                       route(func(r ec2.Route) *string { return r.GatewayId }),
		"route.instance-id":                      route(func(r ec2.Route) *string { return r.InstanceId }),
		"route.nat-gateway-id":                   route(func(r ec2.Route) *string { return r.NatGatewayId }),
		"route.origin":                           route(func(r ec2.Route) *string { return new(string(r.Origin)) }),
		"route.state":                            route(func(r ec2.Route) *string { return new(string(r.State)) }),
		"route.transit-gateway-id":               route(func(r ec2.Route) *string { return r.TransitGatewayId }),
		"route.vpc-peering-connection-id":        route(func(r ec2.Route) *string { return r.VpcPeeringConnectionId }),
		"vpc-id":                                 call.One(func(t *vpc.RouteTable) string { return string(t.VPC) }),
	}
}

func describeRouteTables(tx *state.Tx, c call.Call, in *ec2.DescribeRouteTablesRequest) (*ec2.DescribeRouteTablesResult, error) {
	all, err := call.FindOrAll(tx, c, &call.RouteTableForm, in.RouteTableIds, tx.RouteTablesIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := tableListing.Run(tx, c,
		call.Query{IDs: in.RouteTableIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeRouteTablesResult{NextToken: next, RouteTables: make([]ec2.RouteTable, len(page))}
	for i, t := range page {
		out.RouteTables[i] = wireTable(tx.Snapshot, t)
	}
	return out, nil
}

func wireTable(w *state.Snapshot, t *vpc.RouteTable) ec2.RouteTable {
	return ec2.RouteTable{
		Associations: wireAssociations(w, t),
		RouteTableId: new(string(t.ID)),
		Routes:       wireRoutes(w, t),
		Tags:         call.WireTags(t.Tags),
		VpcId:        new(string(t.VPC)),
		OwnerId:      new(string(t.Scope.Account)),
	}
}
