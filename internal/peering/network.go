package peering

import (
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// What whoever changes or deletes a VPC must ask first.

// AdmitBlock is called before a VPC gets another IPv4 block. Those of a VPC with an active connection to it must not
// overlap the new one. A requester gets none while a request is pending; an accepter does, and a request that cannot
// come true any more then fails (AWS VPC guide, "IPv4 CIDR block association restrictions").
func AdmitBlock(tx *state.Tx, c call.Call, v *vpc.VPC, block netip.Prefix) error {
	for _, p := range slices.Collect(tx.PeeringsOf(v.ID)) {
		if !p.Live(c.Now) {
			continue
		}
		end, _ := p.Other(v.ID)
		clash, found := overlapping(tx.VPC(end.VPC), block)
		switch {
		case p.Active() && found:
			return apierr.New(apierr.CodeInvalidVpcRange,
				"The CIDR '%s' conflicts with a CIDR of a peer VPC: %s has %s (%s).", block, end.VPC, clash, p.ID)
		case p.Active():
		case p.Requester.VPC == v.ID:
			return apierr.New(apierr.CodeOperationNotPermitted,
				"The requester VPC of a pending VPC peering connection cannot get another IPv4 CIDR: %s of %s is pending.", p.ID, v.ID)
		case found:
			failed := *p
			failed.Status, failed.Message, failed.Since = vpc.PeeringFailed, failedText, c.Now
			tx.Put(&failed)
		}
	}
	return nil
}

func overlapping(v *vpc.VPC, block netip.Prefix) (netip.Prefix, bool) {
	for _, b := range v.Blocks {
		if b.Prefix.Overlaps(block) {
			return b.Prefix, true
		}
	}
	return netip.Prefix{}, false
}

// Dependents lists what keeps a VPC from being deleted: connections that are pending or active, and groups of other
// VPCs that are associated with it.
func Dependents(tx *state.Tx, c call.Call, v *vpc.VPC) []string {
	var out []string
	for p := range tx.PeeringsOf(v.ID) {
		if p.Live(c.Now) {
			out = append(out, string(p.ID))
		}
	}
	for a := range tx.AssociationsWith(v.ID) {
		out = append(out, "the associated "+string(a.Group))
	}
	return out
}
