package network

import (
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/gateway"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/peering"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// privateRanges are the ranges of which a VPC's further blocks must keep to the first block's (AWS VPC guide,
// "IPv4 CIDR block association restrictions").
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.19.0.0/16"),
}

// checkSecondBlock refuses a block that cannot join a VPC's others.
func checkSecondBlock(v *vpc.VPC, p netip.Prefix) error {
	for _, b := range v.Blocks {
		if b.Prefix.Overlaps(p) {
			return apierr.New(apierr.CodeInvalidVpcRange,
				"The CIDR '%s' conflicts with another CIDR of the VPC: %s has %s (%s).", p, v.ID, b.Prefix, b.Association)
		}
	}
	for _, r := range privateRanges {
		if r.Overlaps(p) && !r.Overlaps(v.Blocks[0].Prefix) {
			return apierr.New(apierr.CodeInvalidVpcRange,
				"The CIDR '%s' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. The VPC's first is %s.",
				p, v.Blocks[0].Prefix)
		}
	}
	return nil
}

func associateVpcCidrBlock(tx *state.Tx, c call.Call, in *ec2.AssociateVpcCidrBlockRequest) (*ec2.AssociateVpcCidrBlockResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	if in.Ipv4IpamPoolId != nil || in.Ipv4NetmaskLength != nil || in.Ipv6IpamPoolId != nil || in.Ipv6NetmaskLength != nil ||
		in.Ipv6Pool != nil || in.Ipv6CidrBlock != nil || in.Ipv6CidrBlockNetworkBorderGroup != nil {
		return nil, call.Unsupported("address pools or network border groups")
	}
	ipv6 := call.Yes(in.AmazonProvidedIpv6CidrBlock)
	switch {
	case in.CidrBlock == nil && !ipv6:
		return nil, apierr.New(apierr.CodeMissingParameter, "Either 'cidrBlock' or 'amazonProvidedIpv6CidrBlock' should be provided.")
	case in.CidrBlock != nil && ipv6:
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter cidrBlock cannot be used with the parameter amazonProvidedIpv6CidrBlock")
	}
	next := *v
	out := &ec2.AssociateVpcCidrBlockResult{VpcId: new(string(v.ID))}
	most := call.Quotas(tx, c.Scope.Account).BlocksPerVPC
	b := vpc.Block{Association: newAssociation(c, "vpc")}
	if ipv6 {
		if len(v.IPv6Blocks) >= most {
			return nil, tooManyBlocks(string(v.ID), most)
		}
		b.Prefix = freeIPv6Block(tx, c)
		next.IPv6Blocks = append(slices.Clone(v.IPv6Blocks), b)
		out.Ipv6CidrBlockAssociation = wireVPCBlock6(v, b, ec2.VpcCidrBlockStateCodeAssociating)
		tx.Put(&next)
		acl.OpenIPv6(tx, v.ID)
		return out, group.OpenIPv6Egress(tx, c, &next)
	}
	if b.Prefix, err = parseBlock(*in.CidrBlock, apierr.CodeInvalidVpcRange); err != nil {
		return nil, err
	}
	if err := checkSecondBlock(v, b.Prefix); err != nil {
		return nil, err
	}
	if err := gateway.CheckBlock(tx, v.ID, b.Prefix); err != nil {
		return nil, err
	}
	if len(v.Blocks) >= most {
		return nil, tooManyBlocks(string(v.ID), most)
	}
	if err := peering.AdmitBlock(tx, c, v, b.Prefix); err != nil {
		return nil, err
	}
	next.Blocks = append(slices.Clone(v.Blocks), b)
	out.CidrBlockAssociation = wireVPCBlock(b, ec2.VpcCidrBlockStateCodeAssociating)
	tx.Put(&next)
	return out, nil
}

func tooManyBlocks(network string, most int) error {
	return apierr.New(apierr.CodeCidrLimitExceeded, "This network %s has met its maximum number of allowed CIDRs: %d", network, most)
}

func disassociateVpcCidrBlock(tx *state.Tx, c call.Call, in *ec2.DisassociateVpcCidrBlockRequest) (*ec2.DisassociateVpcCidrBlockResult, error) {
	id := vpc.AssociationID(call.Text(in.AssociationId))
	is := func(b vpc.Block) bool { return b.Association == id }
	for v := range tx.VPCsIn(c.Scope) {
		next := *v
		out := &ec2.DisassociateVpcCidrBlockResult{VpcId: new(string(v.ID))}
		if i := slices.IndexFunc(v.Blocks, is); i >= 0 {
			if i == 0 {
				return nil, apierr.New(apierr.CodeOperationNotPermitted,
					"The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", id)
			}
			if err := blockUnused(tx, v, v.Blocks[i]); err != nil {
				return nil, err
			}
			next.Blocks = slices.DeleteFunc(slices.Clone(v.Blocks), is)
			out.CidrBlockAssociation = wireVPCBlock(v.Blocks[i], ec2.VpcCidrBlockStateCodeDisassociating)
			tx.Put(&next)
			return out, nil
		}
		if i := slices.IndexFunc(v.IPv6Blocks, is); i >= 0 {
			if err := blockUnused(tx, v, v.IPv6Blocks[i]); err != nil {
				return nil, err
			}
			next.IPv6Blocks = slices.DeleteFunc(slices.Clone(v.IPv6Blocks), is)
			out.Ipv6CidrBlockAssociation = wireVPCBlock6(v, v.IPv6Blocks[i], ec2.VpcCidrBlockStateCodeDisassociating)
			tx.Put(&next)
			return out, nil
		}
	}
	return nil, apierr.New(apierr.CodeInvalidVpcCidrBlockAssociationIDNotFound,
		"The vpc CIDR block association ID '%s' does not exist", id)
}

// blockUnused refuses to take a block from a VPC while subnets lie in it.
func blockUnused(tx *state.Tx, v *vpc.VPC, b vpc.Block) error {
	for s := range tx.SubnetsOf(v.ID) {
		for _, p := range SubnetPrefixes(s) {
			if b.Prefix.Overlaps(p) {
				return apierr.New(apierr.CodeDependencyViolation,
					"The vpc %s currently has a subnet within CIDR block %s: %s has %s.", v.ID, b.Prefix, s.ID, p)
			}
		}
	}
	return nil
}
