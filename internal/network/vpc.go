package network

import (
	"encoding/binary"
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

func vpcActions() []call.Operation {
	return []call.Operation{
		call.Writes(createVpc),
		call.Writes(createDefaultVpc),
		call.Writes(deleteVpc),
		call.Reads(describeVpcs),
		call.Writes(modifyVpcAttribute),
		call.Reads(describeVpcAttribute),
		call.Writes(associateVpcCidrBlock),
		call.Writes(disassociateVpcCidrBlock),
	}
}

// The sizes of an IPv4 block of a VPC or a subnet (AWS VPC guide), as prefix lengths.
const (
	blockBitsMin = 16
	blockBitsMax = 28
)

// ipv6Range is where the IPv6 blocks of VPCs come from: unique local addresses (RFC 4193), so that they are no
// one's on the Internet. A VPC gets a /56 of it that no other VPC of this installation has.
var ipv6Range = netip.MustParsePrefix("fd53:616c::/32")

const (
	vpcBits6    = 56
	subnetBits6 = 64
)

// unroutable are IPv4 ranges that mean something else than a host on a network.
var unroutable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// parseBlock reads the IPv4 block of a VPC or a subnet; code is the error for one of the wrong size.
func parseBlock(s string, code apierr.Code) (netip.Prefix, error) {
	p, err := vpc.ParseCIDR(s)
	if err != nil {
		return p, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", s)
	}
	if p.Bits() < blockBitsMin || p.Bits() > blockBitsMax {
		return p, apierr.New(code, "The CIDR '%s' is invalid. Its prefix must be from /%d to /%d.", s, blockBitsMin, blockBitsMax)
	}
	for _, u := range unroutable {
		if u.Overlaps(p) {
			return p, apierr.New(code, "The CIDR '%s' is invalid. It is in %s, which hosts cannot have.", s, u)
		}
	}
	return p, nil
}

// newVPC is what a VPC that is made is made of.
type newVPC struct {
	block     netip.Prefix
	isDefault bool
	hostnames bool
	ipv6      bool
	tags      vpc.Tags
}

// makeVPC makes a VPC with its default group, main route table and default ACL.
func makeVPC(tx *state.Tx, c call.Call, n newVPC) (*vpc.VPC, error) {
	count, most := tx.CountVPCs(c.Scope), call.Quotas(tx, c.Scope.Account).VPCs
	if count >= most {
		return nil, apierr.New(apierr.CodeVpcLimitExceeded,
			"The maximum number of VPCs has been reached. There are %d of %d in %s.", count, most, c.Scope.Region)
	}
	if err := group.CheckRegionQuota(tx, c); err != nil { // it comes with its default group
		return nil, err
	}
	v := &vpc.VPC{
		ID:           vpc.VPCID(c.IDs.New("vpc")),
		Scope:        c.Scope,
		Blocks:       []vpc.Block{{Association: newAssociation(c, "vpc"), Prefix: n.block}},
		Default:      n.isDefault,
		DNSSupport:   true,
		DNSHostnames: n.hostnames,
		Tenancy:      string(ec2.TenancyDefault),
		Tags:         n.tags,
		Created:      c.Now,
	}
	if r := tx.RegionState(c.Scope); r != nil {
		v.DHCPOptions = r.DHCPOptions
	}
	if n.ipv6 {
		v.IPv6Blocks = []vpc.Block{{Association: newAssociation(c, "vpc"), Prefix: freeIPv6Block(tx, c)}}
	}
	tx.Put(v)
	group.NewDefault(tx, c, v)
	surround(tx, c, v)
	return v, nil
}

// newAssociation is the identifier of a block's association with a vpc or subnet.
func newAssociation(c call.Call, with string) vpc.AssociationID {
	return vpc.AssociationID(c.IDs.New(with + "-cidr-assoc"))
}

// freeIPv6Block is a /56 that no VPC has, whoever owns it.
func freeIPv6Block(tx *state.Tx, c call.Call) netip.Prefix {
	taken := map[netip.Prefix]bool{}
	for e := range tx.All(vpc.KindVPC) {
		for _, b := range e.(*vpc.VPC).IPv6Blocks {
			taken[b.Prefix] = true
		}
	}
	const hostBits = 64 - vpcBits6
	base := ipv6Range.Addr().As16()
	high := binary.BigEndian.Uint64(base[:8])
	random := c.IDs.Bytes()
	n := binary.BigEndian.Uint64(random[:8])
	for {
		block := base
		binary.BigEndian.PutUint64(block[:8], high|(n<<hostBits)&(1<<(64-32)-1))
		if p := netip.PrefixFrom(netip.AddrFrom16(block), vpcBits6); !taken[p] {
			return p
		}
		n++ // there are 2^24 blocks, more than VPCs
	}
}

// modernGroups is the API version from which on a VPC comes with no group but the default one (G131, G132).
const modernGroups ec2.Version = "2011-01-01"

func createVpc(tx *state.Tx, c call.Call, in *ec2.CreateVpcRequest) (*ec2.CreateVpcResult, error) {
	if in.Ipv4IpamPoolId != nil || in.Ipv4NetmaskLength != nil || in.Ipv6IpamPoolId != nil || in.Ipv6NetmaskLength != nil ||
		in.Ipv6Pool != nil || in.Ipv6CidrBlock != nil || in.Ipv6CidrBlockNetworkBorderGroup != nil || in.VpcEncryptionControl != nil {
		return nil, call.Unsupported("address pools, network border groups or encryption controls")
	}
	if in.CidrBlock == nil {
		return nil, apierr.New(apierr.CodeMissingParameter, "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	block, err := parseBlock(*in.CidrBlock, apierr.CodeInvalidVpcRange)
	if err != nil {
		return nil, err
	}
	switch in.InstanceTenancy {
	case "", ec2.TenancyDefault:
	case ec2.TenancyDedicated:
		return nil, call.Unsupported("dedicated hosts")
	default:
		return nil, call.BadValue("instanceTenancy", string(in.InstanceTenancy))
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeVpc)
	if err != nil {
		return nil, err
	}
	v, err := makeVPC(tx, c, newVPC{block: block, ipv6: call.Yes(in.AmazonProvidedIpv6CidrBlock), tags: tags[ec2.ResourceTypeVpc]})
	if err != nil {
		return nil, err
	}
	if c.Version.Before(modernGroups) {
		if err := group.NewLegacy(tx, c, v); err != nil {
			return nil, err
		}
	}
	out := wireVPC(v)
	out.State = ec2.VpcStatePending
	for i := range out.Ipv6CidrBlockAssociationSet {
		out.Ipv6CidrBlockAssociationSet[i].Ipv6CidrBlockState.State = ec2.VpcCidrBlockStateCodeAssociating
	}
	return &ec2.CreateVpcResult{Vpc: &out}, nil
}

// vpcDependents lists what still is in a VPC and must go before it: everything but what comes and goes with it.
func vpcDependents(tx *state.Tx, c call.Call, v *vpc.VPC) []string {
	out := peering.Dependents(tx, c, v)
	for s := range tx.SubnetsOf(v.ID) {
		out = append(out, string(s.ID))
	}
	for i := range tx.InterfacesOf(v.ID) {
		out = append(out, string(i.ID))
	}
	for g := range tx.GroupsOf(v.ID) {
		if !g.IsDefault() && !g.IsLegacy() {
			out = append(out, string(g.ID))
		}
	}
	return slices.Concat(out, gateway.Dependents(tx.Snapshot, v.ID), acl.Dependents(tx.Snapshot, v.ID))
}

func deleteVpc(tx *state.Tx, c call.Call, in *ec2.DeleteVpcRequest) (ec2.Return, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return ec2.Return{}, err
	}
	if others := vpcDependents(tx, c, v); len(others) > 0 {
		return ec2.Return{}, call.InTheWay("vpc", string(v.ID), others)
	}
	for g := range tx.GroupsOf(v.ID) {
		group.Remove(tx, g)
	}
	gateway.Remove(tx, v.ID)
	acl.Remove(tx, v.ID)
	tx.Delete(v)
	return ec2.Return{}, nil
}

// firstBlock goes by three names, as that of a subnet does: Ansible uses one that EC2's documents leave out.
var firstBlock = vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.Blocks[:1] }, blockPrefix)

var vpcListing = call.Listing[*vpc.VPC]{
	Attributes: call.Attributes[*vpc.VPC]{
		"cidr":       firstBlock,
		"cidr-block": firstBlock,
		"cidrBlock":  firstBlock,

		"cidr-block-association.cidr-block":           vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.Blocks }, blockPrefix),
		"cidr-block-association.association-id":       vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.Blocks }, blockAssociation),
		"cidr-block-association.state":                vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.Blocks }, blockState),
		"dhcp-options-id":                             call.One(func(v *vpc.VPC) string { return v.DHCPOptions }),
		"ipv6-cidr-block-association.association-id":  vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.IPv6Blocks }, blockAssociation),
		"ipv6-cidr-block-association.ipv6-cidr-block": vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.IPv6Blocks }, blockPrefix),
		"ipv6-cidr-block-association.ipv6-pool":       vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.IPv6Blocks }, func(vpc.Block) string { return ipv6Pool }),
		"ipv6-cidr-block-association.state":           vpcBlocks(func(v *vpc.VPC) []vpc.Block { return v.IPv6Blocks }, blockState),
		"is-default":                                  call.YesNo(func(v *vpc.VPC) bool { return v.Default }),
		"isDefault":                                   call.YesNo(func(v *vpc.VPC) bool { return v.Default }),
		"owner-id":                                    call.One(func(v *vpc.VPC) string { return string(v.Scope.Account) }),
		"state":                                       call.One(func(*vpc.VPC) string { return string(ec2.VpcStateAvailable) }),
		"vpc-id":                                      call.One(func(v *vpc.VPC) string { return string(v.ID) }),
	},
	Tags: call.TagsOf[*vpc.VPC],
	Key:  (*vpc.VPC).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter VpcIds cannot be used with the parameter MaxResults",
	},
}

// ipv6Pool is the pool of the blocks that the system hands out, as EC2 calls it.
const ipv6Pool = "Amazon"

func blockPrefix(b vpc.Block) string      { return b.Prefix.String() }
func blockAssociation(b vpc.Block) string { return string(b.Association) }
func blockState(vpc.Block) string         { return string(ec2.VpcCidrBlockStateCodeAssociated) }

// vpcBlocks is an attribute of a VPC's blocks.
func vpcBlocks(of func(*vpc.VPC) []vpc.Block, value func(vpc.Block) string) call.Attribute[*vpc.VPC] {
	return func(_ *state.Snapshot, v *vpc.VPC, is func(string) bool) bool {
		return slices.ContainsFunc(of(v), func(b vpc.Block) bool { return is(value(b)) })
	}
}

func describeVpcs(tx *state.Tx, c call.Call, in *ec2.DescribeVpcsRequest) (*ec2.DescribeVpcsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.VPCForm, in.VpcIds, tx.VPCsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := vpcListing.Run(tx, c,
		call.Query{IDs: in.VpcIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcsResult{NextToken: next, Vpcs: make([]ec2.Vpc, len(page))}
	for i, v := range page {
		out.Vpcs[i] = wireVPC(v)
	}
	return out, nil
}

func wireVPC(v *vpc.VPC) ec2.Vpc {
	out := ec2.Vpc{
		OwnerId:         new(string(v.Scope.Account)),
		InstanceTenancy: ec2.Tenancy(v.Tenancy),
		IsDefault:       &v.Default,
		Tags:            call.WireTags(v.Tags),
		VpcId:           new(string(v.ID)),
		State:           ec2.VpcStateAvailable,
		CidrBlock:       new(v.Blocks[0].Prefix.String()),
		DhcpOptionsId:   call.Optional(v.DHCPOptions),
	}
	for _, b := range v.Blocks {
		out.CidrBlockAssociationSet = append(out.CidrBlockAssociationSet, *wireVPCBlock(b, ec2.VpcCidrBlockStateCodeAssociated))
	}
	for _, b := range v.IPv6Blocks {
		out.Ipv6CidrBlockAssociationSet = append(out.Ipv6CidrBlockAssociationSet,
			*wireVPCBlock6(v, b, ec2.VpcCidrBlockStateCodeAssociated))
	}
	return out
}

func wireVPCBlock(b vpc.Block, s ec2.VpcCidrBlockStateCode) *ec2.VpcCidrBlockAssociation {
	return &ec2.VpcCidrBlockAssociation{
		AssociationId:  new(string(b.Association)),
		CidrBlock:      new(b.Prefix.String()),
		CidrBlockState: &ec2.VpcCidrBlockState{State: s},
	}
}

func wireVPCBlock6(v *vpc.VPC, b vpc.Block, s ec2.VpcCidrBlockStateCode) *ec2.VpcIpv6CidrBlockAssociation {
	return &ec2.VpcIpv6CidrBlockAssociation{
		AssociationId:        new(string(b.Association)),
		Ipv6CidrBlock:        new(b.Prefix.String()),
		Ipv6CidrBlockState:   &ec2.VpcCidrBlockState{State: s},
		NetworkBorderGroup:   new(string(v.Scope.Region)),
		Ipv6Pool:             new(ipv6Pool),
		Ipv6AddressAttribute: ec2.Ipv6AddressAttributePrivate,
		IpSource:             ec2.IpSourceAmazon,
	}
}
