package peering

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func connectionActions() []call.Operation {
	return []call.Operation{
		call.Writes(createVpcPeeringConnection),
		call.Writes(acceptVpcPeeringConnection),
		call.Writes(rejectVpcPeeringConnection),
		call.Writes(deleteVpcPeeringConnection),
		call.Writes(modifyVpcPeeringConnectionOptions),
		call.Reads(describeVpcPeeringConnections),
	}
}

// requestedMax is how many connections that a VPC asked for are remembered, those that are over included: what has
// ended is kept for days, and a client that tries in a loop must not fill the world.
const requestedMax = 1000

// failedText is EC2's word for a request that cannot be made; it says no more of other accounts' VPCs.
const failedText = "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"

func find(tx *state.Tx, c call.Call, id *string) (*vpc.PeeringView, error) {
	return call.Find[*vpc.PeeringView](tx, c, &call.PeeringForm, call.Text(id))
}

// createVpcPeeringConnection asks another VPC, or rather its owner, for a connection. What speaks against it is told
// by the connection's state and not by an error; asking again answers what there is.
func createVpcPeeringConnection(tx *state.Tx, c call.Call, in *ec2.CreateVpcPeeringConnectionRequest) (*ec2.CreateVpcPeeringConnectionResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	to, err := accepter(c, in)
	if err != nil {
		return nil, err
	}
	specs, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeVpcPeeringConnection)
	if err != nil {
		return nil, err
	}
	tags := specs[ec2.ResourceTypeVpcPeeringConnection]
	if p := liveBetween(tx, c, v.ID, to); p != nil {
		return again(tx, c, p, v.ID, tags)
	}
	if err := checkRequestQuotas(tx, c, v); err != nil {
		return nil, err
	}
	p := &vpc.Peering{
		ID:        vpc.PeeringID(c.IDs.New("pcx")),
		Requester: vpc.PeeringEnd{Scope: v.Scope, VPC: v.ID, Blocks: prefixes(v.Blocks), Blocks6: prefixes(v.IPv6Blocks), Tags: tags},
		Accepter:  to,
		Status:    vpc.PeeringPending,
		Message:   "Pending Acceptance by " + string(to.Scope.Account),
		Since:     c.Now,
		Expires:   c.Now.Add(vpc.PeeringRequestLife),
		Created:   c.Now,
	}
	if why, bad := impossible(tx, v, &to); bad {
		p.Status, p.Message = vpc.PeeringFailed, why
	}
	tx.Put(p)
	out := wireConnection(tx.Snapshot, viewOf(p, c))
	out.Status = wireStatus(ec2.VpcPeeringConnectionStateReasonCodeInitiatingRequest, "Initiating Request to "+string(to.Scope.Account))
	out.ExpirationTime = &p.Expires
	return &ec2.CreateVpcPeeringConnectionResult{VpcPeeringConnection: &out}, nil
}

// accepter is the end that a request names.
func accepter(c call.Call, in *ec2.CreateVpcPeeringConnectionRequest) (vpc.PeeringEnd, error) {
	id := call.Text(in.PeerVpcId)
	if id == "" {
		return vpc.PeeringEnd{}, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter peerVpcId")
	}
	if err := call.VPCForm.Fits(id); err != nil {
		return vpc.PeeringEnd{}, err
	}
	owner := cmp.Or(call.Text(in.PeerOwnerId), string(c.Scope.Account))
	if len(owner) != 12 || strings.Trim(owner, "0123456789") != "" {
		return vpc.PeeringEnd{}, call.BadValue("peerOwnerId", owner)
	}
	if r := call.Text(in.PeerRegion); r != "" && r != string(c.Scope.Region) {
		return vpc.PeeringEnd{}, call.Unsupported("peering connections between regions")
	}
	return vpc.PeeringEnd{Scope: vpc.Scope{Region: c.Scope.Region, Account: vpc.AccountID(owner)}, VPC: vpc.VPCID(id)}, nil
}

// liveBetween is the connection between a VPC and another end that is pending or active, or nil.
func liveBetween(tx *state.Tx, c call.Call, v vpc.VPCID, to vpc.PeeringEnd) *vpc.Peering {
	for p := range tx.PeeringsOf(v) {
		if end, _ := p.Other(v); end.VPC == to.VPC && end.Scope == to.Scope && p.Live(c.Now) {
			return p
		}
	}
	return nil
}

// again answers a request for what there is already: the connection itself if this side asked for it, with the tags
// that are new.
func again(tx *state.Tx, c call.Call, p *vpc.Peering, v vpc.VPCID, tags vpc.Tags) (*ec2.CreateVpcPeeringConnectionResult, error) {
	if p.Requester.VPC != v {
		return nil, apierr.New(apierr.CodeVpcPeeringConnectionAlreadyExists,
			"The vpc peering connection identified by %s already exists. It was asked for by %s.", p.ID, p.Requester.VPC)
	}
	all := p.Requester.Tags.With(tags...)
	if err := call.CheckTagQuota(tx, c, string(p.ID), all); err != nil {
		return nil, err
	}
	if !slices.Equal(all, p.Requester.Tags) {
		next := *p
		next.Requester.Tags = all
		p = &next
		tx.Put(p)
	}
	out := wireConnection(tx.Snapshot, viewOf(p, c))
	return &ec2.CreateVpcPeeringConnectionResult{VpcPeeringConnection: &out}, nil
}

func viewOf(p *vpc.Peering, c call.Call) *vpc.PeeringView {
	return p.SeenBy(c.Scope, c.Now).(*vpc.PeeringView)
}

// impossible says why two VPCs cannot be connected. What is wrong with another account's VPC it does not tell.
func impossible(tx *state.Tx, v *vpc.VPC, to *vpc.PeeringEnd) (why string, bad bool) {
	own := to.Scope == v.Scope
	peer := tx.VPC(to.VPC)
	if peer == nil || peer.Scope != to.Scope {
		if own {
			return fmt.Sprintf("%s. The account has no %s.", failedText, to.VPC), true
		}
		return failedText, true
	}
	for _, a := range v.Blocks {
		for _, b := range peer.Blocks {
			if a.Prefix.Overlaps(b.Prefix) && own {
				return fmt.Sprintf("%s. %s has %s, %s has %s.", failedText, v.ID, a.Prefix, peer.ID, b.Prefix), true
			}
			if a.Prefix.Overlaps(b.Prefix) {
				return failedText, true
			}
		}
	}
	return "", false
}

// checkRequestQuotas refuses one request more than a VPC and an account may make.
func checkRequestQuotas(tx *state.Tx, c call.Call, v *vpc.VPC) error {
	if err := checkActiveQuota(tx, v); err != nil {
		return err
	}
	asked, waiting := 0, 0
	for p := range tx.PeeringsOf(v.ID) {
		if p.Requester.VPC == v.ID {
			asked++
		}
	}
	for p := range tx.PeeringsIn(c.Scope) {
		if p.Requester.Scope == c.Scope && p.Live(c.Now) && !p.Active() {
			waiting++
		}
	}
	switch most := call.Quotas(tx, c.Scope.Account).PeeringRequests; {
	case waiting >= most:
		return apierr.New(apierr.CodeOutstandingVpcPeeringConnectionLimitExceeded,
			"The maximum number of outstanding VPC peering connection requests has been reached. There are %d of %d in %s.",
			waiting, most, c.Scope.Region)
	case asked >= requestedMax:
		return apierr.New(apierr.CodeVpcPeeringConnectionsPerVpcLimitExceeded,
			"The maximum number of VPC peering connections for VPC '%s' has been reached. It asked for %d of %d, those that are over included.",
			v.ID, asked, requestedMax)
	}
	return nil
}

// checkActiveQuota refuses one active connection more than a VPC may have.
func checkActiveQuota(tx *state.Tx, v *vpc.VPC) error {
	n := 0
	for p := range tx.PeeringsOf(v.ID) {
		if p.Active() {
			n++
		}
	}
	if most := call.Quotas(tx, v.Scope.Account).PeeringsPerVPC; n >= most {
		return apierr.New(apierr.CodeActiveVpcPeeringConnectionPerVpcLimitExceeded,
			"The maximum number of active VPC peering connections for VPC '%s' has been reached. It has %d of %d.", v.ID, n, most)
	}
	return nil
}

// acceptVpcPeeringConnection connects the two VPCs.
func acceptVpcPeeringConnection(tx *state.Tx, c call.Call, in *ec2.AcceptVpcPeeringConnectionRequest) (*ec2.AcceptVpcPeeringConnectionResult, error) {
	p, err := find(tx, c, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(c, p, "accept"); err != nil {
		return nil, err
	}
	next := *p.Peering
	for _, end := range []*vpc.PeeringEnd{&next.Requester, &next.Accepter} {
		if err := checkActiveQuota(tx, tx.VPC(end.VPC)); err != nil {
			return nil, err
		}
		remember(tx.Snapshot, end)
	}
	next.Status, next.Message, next.Since = vpc.PeeringActive, "Active", c.Now
	tx.Put(&next)
	out := wireConnection(tx.Snapshot, viewOf(&next, c))
	out.Status = wireStatus(ec2.VpcPeeringConnectionStateReasonCodeProvisioning, "Provisioning")
	return &ec2.AcceptVpcPeeringConnectionResult{VpcPeeringConnection: &out}, nil
}

// checkAnswer refuses an answer to a request by someone else than its accepter, and to one that does not wait for
// it.
func checkAnswer(c call.Call, p *vpc.PeeringView, verb string) error {
	if p.Accepter.Scope != c.Scope {
		return notPermitted(c, p, verb, "Its accepter is "+string(p.Accepter.Scope.Account))
	}
	if p.Status != vpc.PeeringPending {
		return wrongState(p)
	}
	return nil
}

func notPermitted(c call.Call, p *vpc.PeeringView, verb, why string) error {
	return apierr.New(apierr.CodeOperationNotPermitted, "User %s cannot %s peering %s. %s.", c.Scope.Account, verb, p.ID, why)
}

func wrongState(p *vpc.PeeringView) error {
	return apierr.New(apierr.CodeInvalidStateTransition,
		"VpcPeeringConnectionID %s is not in the correct state for the request. It is %s.", p.ID, p.Status)
}

// remember keeps what an end has now, which answers tell when the connection is over.
func remember(w *state.Snapshot, end *vpc.PeeringEnd) {
	if v := w.VPC(end.VPC); v != nil {
		end.Blocks, end.Blocks6 = prefixes(v.Blocks), prefixes(v.IPv6Blocks)
	}
}

func prefixes(blocks []vpc.Block) []netip.Prefix {
	var out []netip.Prefix
	for _, b := range blocks {
		out = append(out, b.Prefix)
	}
	return out
}

func rejectVpcPeeringConnection(tx *state.Tx, c call.Call, in *ec2.RejectVpcPeeringConnectionRequest) (*ec2.RejectVpcPeeringConnectionResult, error) {
	p, err := find(tx, c, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(c, p, "reject"); err != nil {
		return nil, err
	}
	next := *p.Peering
	next.Status, next.Message, next.Since = vpc.PeeringRejected, "Rejected by "+string(c.Scope.Account), c.Now
	tx.Put(&next)
	return &ec2.RejectVpcPeeringConnectionResult{Return: new(true)}, nil
}

// deleteVpcPeeringConnection ends a connection, or takes back a request. Rules that reach groups over it become
// stale, whichever side ends it (G65).
func deleteVpcPeeringConnection(tx *state.Tx, c call.Call, in *ec2.DeleteVpcPeeringConnectionRequest) (*ec2.DeleteVpcPeeringConnectionResult, error) {
	p, err := find(tx, c, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Status == vpc.PeeringPending && p.Requester.Scope != c.Scope:
		return nil, notPermitted(c, p, "delete", "It is pending; its requester is "+string(p.Requester.Scope.Account))
	case p.Status != vpc.PeeringPending && p.Status != vpc.PeeringActive:
		return nil, wrongState(p)
	}
	next := *p.Peering
	if p.Active() {
		group.Unlink(tx, p.Peering)
		remember(tx.Snapshot, &next.Requester)
		remember(tx.Snapshot, &next.Accepter)
	}
	next.Status, next.Message, next.Since = vpc.PeeringDeleted, "Deleted by "+string(c.Scope.Account), c.Now
	next.EndedBy = c.Scope.Account
	tx.Put(&next)
	return &ec2.DeleteVpcPeeringConnectionResult{Return: new(true)}, nil
}

// Reap removes the connections that neither side sees any more.
func Reap(tx *state.Tx, now time.Time) {
	for _, e := range slices.Collect(tx.All(vpc.KindPeering)) {
		p := e.(*vpc.Peering)
		if p.SeenBy(p.Requester.Scope, now) == nil && p.SeenBy(p.Accepter.Scope, now) == nil {
			tx.Delete(p)
		}
	}
}
