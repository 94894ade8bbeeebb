package gateway

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// targets are the parameters that can name where a route leads; nil for those that a request does not have.
type targets struct {
	gateway, iface, instance, peering  *string
	nat, egressOnly, transit, endpoint *string
	localGateway, carrier              *string
	coreNetwork, odbNetwork            *string
	local                              bool
}

// target is where a route leads: a target that is stored, or the VPC itself.
type target struct {
	vpc.Target
	local bool
}

// absentTarget is a kind of target of which there is none here, and how EC2 says that one does not exist.
type absentTarget struct {
	param string
	id    *string
	code  apierr.Code
	kind  string
}

// absent are the parameters for kinds of targets that do not exist here.
func (in targets) absent() []absentTarget {
	return []absentTarget{
		{"natGatewayId", in.nat, apierr.CodeInvalidNatGatewayIDNotFound, "natGateway"},
		{"egressOnlyInternetGatewayId", in.egressOnly, apierr.CodeInvalidGatewayIDNotFound, "egressOnlyInternetGateway"},
		{"transitGatewayId", in.transit, apierr.CodeInvalidTransitGatewayIDNotFound, "transitGateway"},
		{"vpcEndpointId", in.endpoint, apierr.CodeInvalidVpcEndpointIdNotFound, "vpcEndpoint"},
		{"localGatewayId", in.localGateway, apierr.CodeInvalidGatewayIDNotFound, "localGateway"},
		{"carrierGatewayId", in.carrier, apierr.CodeInvalidGatewayIDNotFound, "carrierGateway"},
	}
}

// named lists the parameters that a request has, as EC2 spells them.
func (in targets) named() []string {
	var out []string
	add := func(param string, is bool) {
		if is {
			out = append(out, param)
		}
	}
	add("gatewayId", in.gateway != nil)
	add("networkInterfaceId", in.iface != nil)
	add("instanceId", in.instance != nil)
	add("vpcPeeringConnectionId", in.peering != nil)
	add("localTarget", in.local)
	for _, a := range in.absent() {
		add(a.param, a.id != nil)
	}
	add("coreNetworkArn", in.coreNetwork != nil)
	add("odbNetworkArn", in.odbNetwork != nil)
	return out
}

// readTarget finds the one target that a request names; it is of the table's VPC.
func readTarget(tx *state.Tx, c call.Call, t *vpc.RouteTable, in targets) (target, error) {
	switch named := in.named(); len(named) {
	case 0:
		return target{}, apierr.New(apierr.CodeMissingParameter,
			"The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, instanceId")
	case 1:
	default:
		return target{}, apierr.New(apierr.CodeInvalidParameterCombination,
			"The request must contain exactly one target. It has %s.", strings.Join(named, ", "))
	}
	for _, a := range in.absent() {
		if a.id != nil {
			return target{}, apierr.New(a.code, "The %s ID '%s' does not exist", a.kind, *a.id)
		}
	}
	switch {
	case in.coreNetwork != nil || in.odbNetwork != nil:
		return target{}, call.Unsupported("core or Oracle networks")
	case in.local || in.gateway != nil && *in.gateway == localGateway:
		return target{local: true}, nil
	case in.gateway != nil:
		return gatewayTarget(tx, c, t, *in.gateway)
	case in.peering != nil:
		return peeringTarget(tx, c, t, *in.peering)
	}
	i, err := interfaceAsked(tx, c, in)
	if err != nil {
		return target{}, err
	}
	return target{Target: vpc.Target{Interface: i.ID}}, sameNetwork(t, "interface "+string(i.ID), i.VPC)
}

func gatewayTarget(tx *state.Tx, c call.Call, t *vpc.RouteTable, id string) (target, error) {
	g, ok := call.InternetGatewayForm.Visible(tx, c, id).(*vpc.InternetGateway)
	if !ok {
		return target{}, apierr.New(apierr.CodeInvalidGatewayIDNotFound, "The gateway ID '%s' does not exist", id)
	}
	if g.VPC == "" {
		return target{}, apierr.New(apierr.CodeInvalidParameterValue,
			"route table %s and network gateway %s belong to different networks. The gateway is not attached.", t.ID, id)
	}
	return target{Target: vpc.Target{InternetGateway: g.ID}}, sameNetwork(t, "network gateway "+id, g.VPC)
}

// peeringTarget is a peering connection that the table's VPC is an end of, whatever its state: a route over one that
// is not active is a black hole.
func peeringTarget(tx *state.Tx, c call.Call, t *vpc.RouteTable, id string) (target, error) {
	p, err := call.Find[*vpc.PeeringView](tx, c, &call.PeeringForm, id)
	if err != nil {
		return target{}, err
	}
	if _, ok := p.Other(t.VPC); !ok {
		return target{}, apierr.New(apierr.CodeInvalidParameterValue,
			"route table %s and peering connection %s belong to different networks. It connects %s and %s.",
			t.ID, id, p.Requester.VPC, p.Accepter.VPC)
	}
	return target{Target: vpc.Target{Peering: p.ID}}, nil
}

// interfaceAsked is the interface that a request names, or the only one of the instance that it names.
func interfaceAsked(tx *state.Tx, c call.Call, in targets) (*vpc.Interface, error) {
	if in.iface != nil {
		return call.Find[*vpc.Interface](tx, c, &call.InterfaceForm, *in.iface)
	}
	i, err := call.Find[*vpc.Instance](tx, c, &call.InstanceForm, *in.instance)
	if err != nil {
		return nil, err
	}
	all := slices.Collect(tx.InterfacesOfInstance(i.ID))
	switch len(all) {
	case 0:
		return nil, apierr.New(apierr.CodeInvalidInstanceID,
			"The instance '%s' has no interface to route to. It is %s.", i.ID, i.State)
	case 1:
		return all[0], nil
	}
	return nil, apierr.New(apierr.CodeInvalidInstanceID,
		"There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead. There are %d.",
		i.ID, len(all))
}

// checkRoute refuses a route that would not be true. EC2 lets the VPC's own blocks and parts of them lead to an
// interface only; here nothing stands in the way of packets between interfaces of a VPC or of peered ones, so a
// route that sends them through a middlebox is refused too.
func checkRoute(tx *state.Tx, t *vpc.RouteTable, d vpc.Destination, to target) error {
	if to.local {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"The destination %s is none of the CIDR blocks of %s, to which alone there are local routes.", d, t.VPC)
	}
	for _, b := range localBlocks(tx.VPC(t.VPC)) {
		p, ok := partOf(tx, d, b.Prefix)
		switch {
		case !ok:
		case to.Interface == "":
			return apierr.New(apierr.CodeInvalidParameterValue,
				"The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance. %s has %s.",
				p, t.VPC, b.Prefix)
		default:
			return bypassed(p, t.VPC)
		}
	}
	for p := range tx.PeeringsOf(t.VPC) {
		end, _ := p.Other(t.VPC)
		peer := tx.VPC(end.VPC)
		if !p.Active() || peer == nil || to.Peering == p.ID {
			continue
		}
		for _, b := range localBlocks(peer) {
			if p, ok := partOf(tx, d, b.Prefix); ok {
				return bypassed(p, peer.ID)
			}
		}
	}
	return nil
}

// CheckList refuses what a prefix list holds if a route to the list would not be true with it.
func CheckList(tx *state.Tx, id vpc.PrefixListID) error {
	for t := range tx.RouteTablesNaming(id) {
		for _, r := range t.Routes {
			if r.Destination.PrefixList != id {
				continue
			}
			if err := checkRoute(tx, t, r.Destination, target{Target: r.Target}); err != nil {
				return err
			}
		}
	}
	return nil
}

func bypassed(p netip.Prefix, id vpc.VPCID) error {
	return apierr.New(apierr.CodeUnsupportedOperation,
		"The requested operation is not supported. Packets to %s, which is in %s, go to their receiver directly here: what the route leads to would be bypassed.",
		p, id)
}

// partOf is what of a destination is a block or a part of it.
func partOf(tx *state.Tx, d vpc.Destination, b netip.Prefix) (netip.Prefix, bool) {
	for p := range destinations(tx, d) {
		if b.Overlaps(p) && b.Bits() <= p.Bits() {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// CheckBlock refuses a block that is to join a VPC if a route leads it or a part of it elsewhere.
func CheckBlock(tx *state.Tx, id vpc.VPCID, b netip.Prefix) error {
	for t := range tx.RouteTablesOf(id) {
		for _, r := range t.Routes {
			if p, ok := partOf(tx, r.Destination, b); ok {
				return apierr.New(apierr.CodeInvalidVpcRange,
					"The CIDR '%s' is the same as or larger than the destination of a route: %s has one to %s.", b, t.ID, p)
			}
		}
	}
	return nil
}

// destinations walks the blocks that a destination stands for now.
func destinations(tx *state.Tx, d vpc.Destination) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		if l := tx.PrefixList(d.PrefixList); l != nil {
			for _, e := range l.Entries {
				if !yield(e.Prefix) {
					return
				}
			}
		} else {
			yield(d.Block)
		}
	}
}

// reaches says whether the target of a route is there to take packets.
func reaches(w *state.Snapshot, id vpc.VPCID, to vpc.Target) bool {
	switch {
	case to.InternetGateway != "":
		g := w.InternetGateway(to.InternetGateway)
		return g != nil && g.VPC == id
	case to.Peering != "":
		p := w.Peering(to.Peering)
		return p != nil && p.Active()
	}
	i := w.Interface(to.Interface)
	if i == nil || i.Attachment == nil {
		return false
	}
	instance := w.Instance(i.Attachment.Instance)
	return instance != nil && instance.State.Up()
}

func setTarget(r *ec2.Route, w *state.Snapshot, to vpc.Target) {
	switch {
	case to.InternetGateway != "":
		r.GatewayId = new(string(to.InternetGateway))
	case to.Peering != "":
		r.VpcPeeringConnectionId = new(string(to.Peering))
	default:
		r.NetworkInterfaceId = new(string(to.Interface))
		if i := w.Interface(to.Interface); i != nil && i.Attachment != nil {
			r.InstanceId, r.InstanceOwnerId = new(string(i.Attachment.Instance)), new(string(i.Scope.Account))
		}
	}
}
