package gateway

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func routeActions() []call.Operation {
	return []call.Operation{
		call.Writes(createRoute),
		call.Writes(replaceRoute),
		call.Writes(deleteRoute),
	}
}

// localGateway is what EC2 calls the target of the routes to the VPC itself.
const localGateway = "local"

// localBlocks are the blocks of a VPC, to each of which every table of it has a route.
func localBlocks(v *vpc.VPC) []vpc.Block { return slices.Concat(v.Blocks, v.IPv6Blocks) }

// isLocal says whether a destination is that of a local route.
func isLocal(v *vpc.VPC, d vpc.Destination) bool {
	return slices.ContainsFunc(localBlocks(v), func(b vpc.Block) bool { return b.Prefix == d.Block })
}

// readDestination reads the one destination that a request names.
func readDestination(tx *state.Tx, c call.Call, block, block6, list *string) (vpc.Destination, error) {
	var d vpc.Destination
	named := 0
	for _, p := range []*string{block, block6, list} {
		if p != nil {
			named++
		}
	}
	switch {
	case named == 0:
		return d, apierr.New(apierr.CodeMissingParameter,
			"The request must contain exactly one of: destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId")
	case named > 1:
		return d, apierr.New(apierr.CodeInvalidParameterCombination,
			"Only one of destinationCidrBlock, destinationIpv6CidrBlock or destinationPrefixListId can be specified. There are %d.", named)
	case list != nil:
		l, err := call.Find[*vpc.PrefixList](tx, c, &call.PrefixListForm, *list)
		if err != nil {
			return d, err
		}
		return vpc.Destination{PrefixList: l.ID}, nil
	}
	param, text, parse := "destinationCidrBlock", block, vpc.ParseCIDR
	if block6 != nil {
		param, text, parse = "destinationIpv6CidrBlock", block6, vpc.ParseCIDR6
	}
	p, err := parse(*text)
	if err != nil {
		return d, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", *text, param)
	}
	return vpc.Destination{Block: p}, nil
}

// routeAt is the place of a table's route to a destination, or -1.
func routeAt(t *vpc.RouteTable, d vpc.Destination) int {
	return slices.IndexFunc(t.Routes, func(r vpc.Route) bool { return r.Destination == d })
}

func createRoute(tx *state.Tx, c call.Call, in *ec2.CreateRouteRequest) (*ec2.CreateRouteResult, error) {
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	d, err := readDestination(tx, c, in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return nil, err
	}
	to, err := readTarget(tx, c, t, targets{
		gateway: in.GatewayId, iface: in.NetworkInterfaceId, instance: in.InstanceId, peering: in.VpcPeeringConnectionId,
		nat: in.NatGatewayId, egressOnly: in.EgressOnlyInternetGatewayId, transit: in.TransitGatewayId,
		endpoint: in.VpcEndpointId, localGateway: in.LocalGatewayId, carrier: in.CarrierGatewayId,
		coreNetwork: in.CoreNetworkArn, odbNetwork: in.OdbNetworkArn,
	})
	if err != nil {
		return nil, err
	}
	if routeAt(t, d) >= 0 || to.local && isLocal(tx.VPC(t.VPC), d) {
		return nil, apierr.New(apierr.CodeRouteAlreadyExists, "The route identified by %s already exists. It is in %s.", d, t.ID)
	}
	if err := checkRoute(tx, t, d, to); err != nil {
		return nil, err
	}
	next := *t
	next.Routes = append(slices.Clone(t.Routes), vpc.Route{Destination: d, Target: to.Target})
	if n, most := tx.CountRoutes(&next), call.Quotas(tx, c.Scope.Account).RoutesPerTable; n > most {
		return nil, apierr.New(apierr.CodeRouteLimitExceeded,
			"The maximum number of routes has been reached. %s would have %d of %d.", t.ID, n, most)
	}
	tx.Put(&next)
	return &ec2.CreateRouteResult{Return: new(true)}, nil
}

func replaceRoute(tx *state.Tx, c call.Call, in *ec2.ReplaceRouteRequest) (ec2.Return, error) {
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return ec2.Return{}, err
	}
	d, err := readDestination(tx, c, in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return ec2.Return{}, err
	}
	to, err := readTarget(tx, c, t, targets{
		gateway: in.GatewayId, iface: in.NetworkInterfaceId, instance: in.InstanceId, peering: in.VpcPeeringConnectionId,
		nat: in.NatGatewayId, egressOnly: in.EgressOnlyInternetGatewayId, transit: in.TransitGatewayId,
		endpoint: in.VpcEndpointId, localGateway: in.LocalGatewayId, carrier: in.CarrierGatewayId,
		coreNetwork: in.CoreNetworkArn, odbNetwork: in.OdbNetworkArn, local: call.Yes(in.LocalTarget),
	})
	if err != nil {
		return ec2.Return{}, err
	}
	if to.local && isLocal(tx.VPC(t.VPC), d) {
		return ec2.Return{}, nil // it always is
	}
	if err := checkRoute(tx, t, d, to); err != nil {
		return ec2.Return{}, err
	}
	i := routeAt(t, d)
	if i < 0 {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"There is no route defined for '%s' in the route table. Use CreateRoute instead. The table is %s.", d, t.ID)
	}
	next := *t
	next.Routes = slices.Clone(t.Routes)
	next.Routes[i].Target = to.Target
	tx.Put(&next)
	return ec2.Return{}, nil
}

func deleteRoute(tx *state.Tx, c call.Call, in *ec2.DeleteRouteRequest) (ec2.Return, error) {
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return ec2.Return{}, err
	}
	d, err := readDestination(tx, c, in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return ec2.Return{}, err
	}
	if isLocal(tx.VPC(t.VPC), d) {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue, "cannot remove local route %s in route table %s", d, t.ID)
	}
	i := routeAt(t, d)
	if i < 0 {
		what := "destination-cidr-block"
		switch {
		case d.PrefixList != "":
			what = "destination-prefix-list-id"
		case d.Block.Addr().Is6():
			what = "destination-ipv6-cidr-block"
		}
		return ec2.Return{}, apierr.New(apierr.CodeInvalidRouteNotFound, "no route with %s %s in route table %s", what, d, t.ID)
	}
	next := *t
	next.Routes = slices.Delete(slices.Clone(t.Routes), i, i+1)
	tx.Put(&next)
	return ec2.Return{}, nil
}

// wireRoutes are a table's routes: those to the VPC itself first, then the others as they were made.
func wireRoutes(w *state.Snapshot, t *vpc.RouteTable) []ec2.Route {
	var out []ec2.Route
	for _, b := range localBlocks(w.VPC(t.VPC)) {
		r := ec2.Route{
			GatewayId: new(localGateway), Origin: ec2.RouteOriginCreateRouteTable, State: ec2.RouteStateActive,
		}
		setDestination(&r, vpc.Destination{Block: b.Prefix})
		out = append(out, r)
	}
	for _, route := range t.Routes {
		r := ec2.Route{Origin: ec2.RouteOriginCreateRoute, State: ec2.RouteStateBlackhole}
		setDestination(&r, route.Destination)
		setTarget(&r, w, route.Target)
		if reaches(w, t.VPC, route.Target) {
			r.State = ec2.RouteStateActive
		}
		out = append(out, r)
	}
	return out
}

func setDestination(r *ec2.Route, d vpc.Destination) {
	text := d.String()
	switch {
	case d.PrefixList != "":
		r.DestinationPrefixListId = &text
	case d.Block.Addr().Is4():
		r.DestinationCidrBlock = &text
	default:
		r.DestinationIpv6CidrBlock = &text
	}
}
