package peering

import (
	"iter"
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Seen walks the connections that the caller sees, by identifier.
func Seen(tx *state.Tx, c call.Call) iter.Seq[*vpc.PeeringView] {
	return func(yield func(*vpc.PeeringView) bool) {
		for p := range tx.PeeringsIn(c.Scope) {
			if v, ok := p.SeenBy(c.Scope, c.Now).(*vpc.PeeringView); ok && !yield(v) {
				return
			}
		}
	}
}

var connectionListing = call.Listing[*vpc.PeeringView]{
	Attributes: connectionAttributes(),
	Tags:       call.TagsOf[*vpc.PeeringView],
	Key:        func(v *vpc.PeeringView) string { return v.Key() },
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter VpcPeeringConnectionIds cannot be used with the parameter MaxResults",
	},
}

func connectionAttributes() call.Attributes[*vpc.PeeringView] {
	out := call.Attributes[*vpc.PeeringView]{
		"expiration-time": func(_ *state.Snapshot, v *vpc.PeeringView, is func(string) bool) bool {
			return showsExpiry(v) && is(call.TimeText(v.Expires))
		},
		"status-code":               call.One(func(v *vpc.PeeringView) string { return string(v.Status) }),
		"status-message":            call.One(func(v *vpc.PeeringView) string { return v.Message }),
		"vpc-peering-connection-id": call.One(func(v *vpc.PeeringView) string { return v.Key() }),
	}
	for side, end := range map[string]func(*vpc.PeeringView) *vpc.PeeringEnd{
		"accepter-vpc-info.":  func(v *vpc.PeeringView) *vpc.PeeringEnd { return &v.Accepter },
		"requester-vpc-info.": func(v *vpc.PeeringView) *vpc.PeeringEnd { return &v.Requester },
	} {
		out[side+"cidr-block"] = func(w *state.Snapshot, v *vpc.PeeringView, is func(string) bool) bool {
			blocks, _ := told(w, v, end(v))
			return slices.ContainsFunc(blocks, func(p netip.Prefix) bool { return is(p.String()) })
		}
		out[side+"owner-id"] = call.One(func(v *vpc.PeeringView) string { return string(end(v).Scope.Account) })
		out[side+"vpc-id"] = call.One(func(v *vpc.PeeringView) string { return string(end(v).VPC) })
	}
	return out
}

func describeVpcPeeringConnections(tx *state.Tx, c call.Call, in *ec2.DescribeVpcPeeringConnectionsRequest) (*ec2.DescribeVpcPeeringConnectionsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.PeeringForm, in.VpcPeeringConnectionIds, Seen(tx, c))
	if err != nil {
		return nil, err
	}
	page, next, err := connectionListing.Run(tx, c, call.Query{
		IDs: in.VpcPeeringConnectionIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcPeeringConnectionsResult{
		NextToken: next, VpcPeeringConnections: make([]ec2.VpcPeeringConnection, len(page)),
	}
	for i, v := range page {
		out.VpcPeeringConnections[i] = wireConnection(tx.Snapshot, v)
	}
	return out, nil
}

// showsExpiry says whether answers tell when a request lapses.
func showsExpiry(v *vpc.PeeringView) bool {
	return v.Status == vpc.PeeringPending || v.Status == vpc.PeeringExpired
}

func wireConnection(w *state.Snapshot, v *vpc.PeeringView) ec2.VpcPeeringConnection {
	out := ec2.VpcPeeringConnection{
		VpcPeeringConnectionId: new(string(v.ID)),
		RequesterVpcInfo:       wireEnd(w, v, &v.Requester),
		AccepterVpcInfo:        wireEnd(w, v, &v.Accepter),
		Status:                 wireStatus(ec2.VpcPeeringConnectionStateReasonCode(v.Status), v.Message),
		Tags:                   call.WireTags(v.GetTags()),
	}
	if showsExpiry(v) {
		out.ExpirationTime = &v.Expires
	}
	return out
}

func wireStatus(code ec2.VpcPeeringConnectionStateReasonCode, message string) *ec2.VpcPeeringConnectionStateReason {
	return &ec2.VpcPeeringConnectionStateReason{Code: code, Message: &message}
}

// told is the blocks that answers tell of an end: nothing of an accepter that has not accepted, of another as they
// are while the connection lasts, and then as they were.
func told(w *state.Snapshot, v *vpc.PeeringView, end *vpc.PeeringEnd) (blocks, blocks6 []netip.Prefix) {
	now := *end
	if len(end.Blocks) > 0 && (v.Status == vpc.PeeringPending || v.Status == vpc.PeeringActive) {
		remember(w, &now)
	}
	return now.Blocks, now.Blocks6
}

// wireEnd is what a viewer is told of an end; its options only if it is his own.
func wireEnd(w *state.Snapshot, v *vpc.PeeringView, end *vpc.PeeringEnd) *ec2.VpcPeeringConnectionVpcInfo {
	out := &ec2.VpcPeeringConnectionVpcInfo{
		OwnerId: new(string(end.Scope.Account)), VpcId: new(string(end.VPC)), Region: new(string(end.Scope.Region)),
	}
	blocks, blocks6 := told(w, v, end)
	for _, p := range blocks {
		out.CidrBlockSet = append(out.CidrBlockSet, ec2.CidrBlock{CidrBlock: new(p.String())})
	}
	for _, p := range blocks6 {
		out.Ipv6CidrBlockSet = append(out.Ipv6CidrBlockSet, ec2.Ipv6CidrBlock{Ipv6CidrBlock: new(p.String())})
	}
	if len(blocks) == 0 {
		return out
	}
	out.CidrBlock = out.CidrBlockSet[0].CidrBlock
	if end.Scope == v.Viewer {
		out.PeeringOptions = &ec2.VpcPeeringConnectionOptionsDescription{
			AllowDnsResolutionFromRemoteVpc:            new(end.AllowDNS),
			AllowEgressFromLocalClassicLinkToRemoteVpc: new(false),
			AllowEgressFromLocalVpcToRemoteClassicLink: new(false),
		}
	}
	return out
}

// modifyVpcPeeringConnectionOptions sets the options of the caller's own side or sides.
func modifyVpcPeeringConnectionOptions(tx *state.Tx, c call.Call, in *ec2.ModifyVpcPeeringConnectionOptionsRequest) (*ec2.ModifyVpcPeeringConnectionOptionsResult, error) {
	p, err := find(tx, c, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	if in.RequesterPeeringConnectionOptions == nil && in.AccepterPeeringConnectionOptions == nil {
		return nil, apierr.New(apierr.CodeMissingParameter,
			"The request must contain the parameter requesterPeeringConnectionOptions or accepterPeeringConnectionOptions")
	}
	if !p.Active() {
		return nil, apierr.New(apierr.CodeOperationNotPermitted,
			"Peering %s is not active. Peering options can be added only to active peerings. It is %s.", p.ID, p.Status)
	}
	next := *p.Peering
	out := &ec2.ModifyVpcPeeringConnectionOptionsResult{}
	if out.RequesterPeeringConnectionOptions, err = setOptions(tx, c, &next.Requester, "requester", in.RequesterPeeringConnectionOptions); err != nil {
		return nil, err
	}
	if out.AccepterPeeringConnectionOptions, err = setOptions(tx, c, &next.Accepter, "accepter", in.AccepterPeeringConnectionOptions); err != nil {
		return nil, err
	}
	if next.Requester.AllowDNS != p.Requester.AllowDNS || next.Accepter.AllowDNS != p.Accepter.AllowDNS {
		tx.Put(&next)
	}
	return out, nil
}

// setOptions sets what a request says of an end's options, if it says something, and answers them.
func setOptions(tx *state.Tx, c call.Call, end *vpc.PeeringEnd, side string, in *ec2.PeeringConnectionOptionsRequest) (*ec2.PeeringConnectionOptions, error) {
	switch {
	case in == nil:
		return nil, nil
	case end.Scope != c.Scope:
		return nil, apierr.New(apierr.CodeOperationNotPermitted,
			"User %s does not have permission to modify the %s side peering options. They are %s's.", c.Scope.Account, side, end.Scope.Account)
	case call.Yes(in.AllowEgressFromLocalClassicLinkToRemoteVpc), call.Yes(in.AllowEgressFromLocalVpcToRemoteClassicLink):
		return nil, call.Unsupported("ClassicLink connections")
	}
	if in.AllowDnsResolutionFromRemoteVpc != nil {
		v := tx.VPC(end.VPC)
		if *in.AllowDnsResolutionFromRemoteVpc && (!v.DNSHostnames || !v.DNSSupport) {
			return nil, apierr.New(apierr.CodeInvalidVpcPeeringConnectionStateDnsHostnamesDisabled,
				"To enable DNS hostname resolution for the VPC peering connection, DNS hostname support must be enabled for the VPCs. It is not for %s.", v.ID)
		}
		end.AllowDNS = *in.AllowDnsResolutionFromRemoteVpc
	}
	return &ec2.PeeringConnectionOptions{
		AllowDnsResolutionFromRemoteVpc:            new(end.AllowDNS),
		AllowEgressFromLocalClassicLinkToRemoteVpc: new(false),
		AllowEgressFromLocalVpcToRemoteClassicLink: new(false),
	}, nil
}
