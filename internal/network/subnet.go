package network

import (
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func subnetActions() []call.Operation {
	return []call.Operation{
		call.Writes(createSubnet),
		call.Writes(createDefaultSubnet),
		call.Writes(deleteSubnet),
		call.Reads(describeSubnets),
		call.Writes(modifySubnetAttribute),
		call.Writes(associateSubnetCidrBlock),
		call.Writes(disassociateSubnetCidrBlock),
	}
}

// FindSubnet is the subnet with an identifier.
func FindSubnet(tx *state.Tx, c call.Call, id string) (*vpc.Subnet, error) {
	return call.Find[*vpc.Subnet](tx, c, &call.SubnetForm, id)
}

// SubnetPrefixes are a subnet's blocks of both families.
func SubnetPrefixes(s *vpc.Subnet) []netip.Prefix {
	var out []netip.Prefix
	if s.Block.IsValid() {
		out = append(out, s.Block)
	}
	for _, b := range s.IPv6Blocks {
		out = append(out, b.Prefix)
	}
	return out
}

// checkSubnetBlock refuses a block that is not within one of the VPC's, or that another subnet has part of.
func checkSubnetBlock(tx *state.Tx, v *vpc.VPC, p netip.Prefix, within []vpc.Block) error {
	if !slices.ContainsFunc(within, func(b vpc.Block) bool {
		return b.Prefix.Bits() <= p.Bits() && b.Prefix.Contains(p.Addr())
	}) {
		return apierr.New(apierr.CodeInvalidSubnetRange, "The CIDR '%s' is invalid. It is not within a CIDR of %s.", p, v.ID)
	}
	for s := range tx.SubnetsOf(v.ID) {
		for _, q := range SubnetPrefixes(s) {
			if q.Overlaps(p) {
				return apierr.New(apierr.CodeInvalidSubnetConflict,
					"The CIDR '%s' conflicts with another subnet. %s has %s.", p, s.ID, q)
			}
		}
	}
	return nil
}

// subnetBlock6 reads the IPv6 block of a subnet: a /64 of the VPC's.
func subnetBlock6(tx *state.Tx, v *vpc.VPC, s string) (netip.Prefix, error) {
	p, err := vpc.ParseCIDR6(s)
	if err != nil {
		return p, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.", s)
	}
	if p.Bits() != subnetBits6 {
		return p, apierr.New(apierr.CodeInvalidSubnetRange, "The CIDR '%s' is invalid. Its prefix must be /%d.", s, subnetBits6)
	}
	return p, checkSubnetBlock(tx, v, p, v.IPv6Blocks)
}

// subnetBlocks reads the blocks that a new subnet asks for.
func subnetBlocks(tx *state.Tx, v *vpc.VPC, in *ec2.CreateSubnetRequest) (block, block6 netip.Prefix, err error) {
	native := call.Yes(in.Ipv6Native)
	switch {
	case native && in.CidrBlock != nil:
		return block, block6, apierr.New(apierr.CodeInvalidParameterCombination,
			"When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true.")
	case native && in.Ipv6CidrBlock == nil:
		return block, block6, apierr.New(apierr.CodeMissingParameter, "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.")
	case !native && in.CidrBlock == nil:
		return block, block6, apierr.New(apierr.CodeMissingParameter, "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	if in.CidrBlock != nil {
		if block, err = parseBlock(*in.CidrBlock, apierr.CodeInvalidSubnetRange); err != nil {
			return block, block6, err
		}
		if err = checkSubnetBlock(tx, v, block, v.Blocks); err != nil {
			return block, block6, err
		}
	}
	if in.Ipv6CidrBlock != nil {
		block6, err = subnetBlock6(tx, v, *in.Ipv6CidrBlock)
	}
	return block, block6, err
}

func createSubnet(tx *state.Tx, c call.Call, in *ec2.CreateSubnetRequest) (*ec2.CreateSubnetResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	if in.OutpostArn != nil || in.Ipv4IpamPoolId != nil || in.Ipv4NetmaskLength != nil ||
		in.Ipv6IpamPoolId != nil || in.Ipv6NetmaskLength != nil {
		return nil, call.Unsupported("address pools or outposts")
	}
	zone, err := FindZone(c, in.AvailabilityZone, in.AvailabilityZoneId)
	if err != nil {
		return nil, err
	}
	block, block6, err := subnetBlocks(tx, v, in)
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeSubnet)
	if err != nil {
		return nil, err
	}
	s := &vpc.Subnet{Zone: zone, Block: block, Tags: tags[ec2.ResourceTypeSubnet]}
	if block6.IsValid() {
		s.IPv6Blocks = []vpc.Block{{Association: newAssociation(c, "subnet"), Prefix: block6}}
	}
	// Nothing but an IPv6 address can be given in an IPv6-only subnet.
	s.AssignIPv6 = !block.IsValid()
	if err := putSubnet(tx, c, v, s); err != nil {
		return nil, err
	}
	out := wireSubnet(tx.Snapshot, s)
	return &ec2.CreateSubnetResult{Subnet: &out}, nil
}

// putSubnet adds a subnet to a VPC.
func putSubnet(tx *state.Tx, c call.Call, v *vpc.VPC, s *vpc.Subnet) error {
	count, most := tx.CountSubnets(v.ID), call.Quotas(tx, c.Scope.Account).SubnetsPerVPC
	if count >= most {
		return apierr.New(apierr.CodeSubnetLimitExceeded,
			"The maximum number of subnets for VPC '%s' has been reached. It has %d of %d.", v.ID, count, most)
	}
	s.ID, s.Scope, s.VPC, s.Created = vpc.SubnetID(c.IDs.New("subnet")), c.Scope, v.ID, c.Now
	s.HostnameType = string(ec2.HostnameTypeIpName)
	if !s.Block.IsValid() {
		s.HostnameType = string(ec2.HostnameTypeResourceName)
	}
	acl.Associate(tx, c, s)
	tx.Put(s)
	return nil
}

func createDefaultSubnet(tx *state.Tx, c call.Call, in *ec2.CreateDefaultSubnetRequest) (*ec2.CreateDefaultSubnetResult, error) {
	v := tx.DefaultVPC(c.Scope)
	if v == nil {
		return nil, apierr.New(apierr.CodeDefaultVpcDoesNotExist, "No default VPC exists for this account in this region.")
	}
	if call.Yes(in.Ipv6Native) {
		return nil, call.Unsupported("IPv6-only default subnets")
	}
	if call.Text(in.AvailabilityZone) == "" && call.Text(in.AvailabilityZoneId) == "" {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter availabilityZone")
	}
	zone, err := FindZone(c, in.AvailabilityZone, in.AvailabilityZoneId)
	if err != nil {
		return nil, err
	}
	for s := range tx.SubnetsOf(v.ID) {
		if s.DefaultForZone && s.Zone == zone {
			return nil, apierr.New(apierr.CodeDefaultSubnetAlreadyExistsInAvailabilityZone,
				"'%s' already has a default subnet in '%s'. It is %s.", v.ID, zone, s.ID)
		}
	}
	s, err := makeDefaultSubnet(tx, c, v, zone)
	if err != nil {
		return nil, err
	}
	out := wireSubnet(tx.Snapshot, s)
	return &ec2.CreateDefaultSubnetResult{Subnet: &out}, nil
}

func deleteSubnet(tx *state.Tx, c call.Call, in *ec2.DeleteSubnetRequest) (ec2.Return, error) {
	s, err := FindSubnet(tx, c, call.Text(in.SubnetId))
	if err != nil {
		return ec2.Return{}, err
	}
	var others []string
	for i := range tx.InterfacesOfSubnet(s.ID) {
		others = append(others, Holder(i))
	}
	if len(others) > 0 {
		return ec2.Return{}, call.InTheWay("subnet", string(s.ID), others)
	}
	tx.Delete(s)
	return ec2.Return{}, nil
}

// Holder names an interface and, if it is attached, its instance.
func Holder(i *vpc.Interface) string {
	if i.Attachment == nil {
		return string(i.ID)
	}
	return string(i.ID) + " of " + string(i.Attachment.Instance)
}

var subnetListing = call.Listing[*vpc.Subnet]{
	Attributes: subnetAttributes(),
	Tags:       call.TagsOf[*vpc.Subnet],
	Key:        (*vpc.Subnet).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter SubnetIds cannot be used with the parameter MaxResults",
	},
}

func subnetAttributes() call.Attributes[*vpc.Subnet] {
	block := func(s *vpc.Subnet) string {
		if !s.Block.IsValid() {
			return ""
		}
		return s.Block.String()
	}
	blocks6 := func(value func(vpc.Block) string) call.Attribute[*vpc.Subnet] {
		return func(_ *state.Snapshot, s *vpc.Subnet, is func(string) bool) bool {
			return slices.ContainsFunc(s.IPv6Blocks, func(b vpc.Block) bool { return is(value(b)) })
		}
	}
	zone := call.One(func(s *vpc.Subnet) string { return string(s.Zone) })
	zoneNumber := call.One(func(s *vpc.Subnet) string { return ZoneID(s.Zone) })
	isDefault := call.YesNo(func(s *vpc.Subnet) bool { return s.DefaultForZone })
	return call.Attributes[*vpc.Subnet]{
		"availability-zone":    zone,
		"availabilityZone":     zone,
		"availability-zone-id": zoneNumber,
		"availabilityZoneId":   zoneNumber,
		"available-ip-address-count": func(w *state.Snapshot, s *vpc.Subnet, is func(string) bool) bool {
			return is(call.Decimal(available(w, s)))
		},
		"cidr-block":     call.One(block),
		"cidr":           call.One(block),
		"cidrBlock":      call.One(block),
		"default-for-az": isDefault,
		"defaultForAz":   isDefault,
		"enable-dns64":   call.YesNo(func(s *vpc.Subnet) bool { return s.DNS64 }),
		"ipv6-cidr-block-association.association-id":       blocks6(blockAssociation),
		"ipv6-cidr-block-association.ipv6-cidr-block":      blocks6(blockPrefix),
		"ipv6-cidr-block-association.state":                blocks6(blockState),
		"ipv6-native":                                      call.YesNo(func(s *vpc.Subnet) bool { return !s.Block.IsValid() }),
		"map-public-ip-on-launch":                          call.YesNo(func(s *vpc.Subnet) bool { return s.MapPublicIP }),
		"owner-id":                                         call.One(func(s *vpc.Subnet) string { return string(s.Scope.Account) }),
		"private-dns-name-options-on-launch.hostname-type": call.One(func(s *vpc.Subnet) string { return s.HostnameType }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-a-record": call.YesNo(
			func(s *vpc.Subnet) bool { return s.DNSNameA }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": call.YesNo(
			func(s *vpc.Subnet) bool { return s.DNSNameAA }),
		"state":      call.One(func(*vpc.Subnet) string { return string(ec2.SubnetStateAvailable) }),
		"subnet-arn": call.One(func(s *vpc.Subnet) string { return call.ARN(s.Scope, s.ResourceType(), string(s.ID)) }),
		"subnet-id":  call.One((*vpc.Subnet).Key),
		"vpc-id":     call.One(func(s *vpc.Subnet) string { return string(s.VPC) }),
	}
}

func describeSubnets(tx *state.Tx, c call.Call, in *ec2.DescribeSubnetsRequest) (*ec2.DescribeSubnetsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.SubnetForm, in.SubnetIds, tx.SubnetsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := subnetListing.Run(tx, c,
		call.Query{IDs: in.SubnetIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSubnetsResult{NextToken: next, Subnets: make([]ec2.Subnet, len(page))}
	for i, s := range page {
		out.Subnets[i] = wireSubnet(tx.Snapshot, s)
	}
	return out, nil
}

// available is how many IPv4 addresses of a subnet are still to be had.
func available(w *state.Snapshot, s *vpc.Subnet) int {
	if !s.Block.IsValid() {
		return 0
	}
	n := vpc.Usable(s.Block)
	for i := range w.InterfacesOfSubnet(s.ID) {
		n -= len(i.Addrs)
	}
	return n
}

func wireSubnet(w *state.Snapshot, s *vpc.Subnet) ec2.Subnet {
	out := ec2.Subnet{
		AvailabilityZone:            new(string(s.Zone)),
		AvailabilityZoneId:          new(ZoneID(s.Zone)),
		OwnerId:                     new(string(s.Scope.Account)),
		AssignIpv6AddressOnCreation: &s.AssignIPv6,
		MapCustomerOwnedIpOnLaunch:  new(false),
		Tags:                        call.WireTags(s.Tags),
		SubnetArn:                   new(call.ARN(s.Scope, s.ResourceType(), string(s.ID))),
		EnableDns64:                 &s.DNS64,
		Ipv6Native:                  new(!s.Block.IsValid()),
		PrivateDnsNameOptionsOnLaunch: &ec2.PrivateDnsNameOptionsOnLaunch{
			HostnameType:                    ec2.HostnameType(s.HostnameType),
			EnableResourceNameDnsARecord:    &s.DNSNameA,
			EnableResourceNameDnsAAAARecord: &s.DNSNameAA,
		},
		SubnetId:                new(string(s.ID)),
		State:                   ec2.SubnetStateAvailable,
		VpcId:                   new(string(s.VPC)),
		AvailableIpAddressCount: call.Amount(available(w, s)),
		DefaultForAz:            &s.DefaultForZone,
		MapPublicIpOnLaunch:     &s.MapPublicIP,
	}
	if s.Block.IsValid() {
		out.CidrBlock = new(s.Block.String())
	}
	for _, b := range s.IPv6Blocks {
		out.Ipv6CidrBlockAssociationSet = append(out.Ipv6CidrBlockAssociationSet,
			*wireSubnetBlock(b, ec2.SubnetCidrBlockStateCodeAssociated))
	}
	return out
}

func wireSubnetBlock(b vpc.Block, s ec2.SubnetCidrBlockStateCode) *ec2.SubnetIpv6CidrBlockAssociation {
	return &ec2.SubnetIpv6CidrBlockAssociation{
		AssociationId:        new(string(b.Association)),
		Ipv6CidrBlock:        new(b.Prefix.String()),
		Ipv6CidrBlockState:   &ec2.SubnetCidrBlockState{State: s},
		Ipv6AddressAttribute: ec2.Ipv6AddressAttributePrivate,
		IpSource:             ec2.IpSourceAmazon,
	}
}

func modifySubnetAttribute(tx *state.Tx, c call.Call, in *ec2.ModifySubnetAttributeRequest) (ec2.Return, error) {
	s, err := FindSubnet(tx, c, call.Text(in.SubnetId))
	if err != nil {
		return ec2.Return{}, err
	}
	hostname := call.Change[*vpc.Subnet]{Name: "privateDnsHostnameTypeOnLaunch"}
	if in.PrivateDnsHostnameTypeOnLaunch != "" {
		hostname.Set = func(s *vpc.Subnet) error {
			switch in.PrivateDnsHostnameTypeOnLaunch {
			case ec2.HostnameTypeIpName, ec2.HostnameTypeResourceName:
				s.HostnameType = string(in.PrivateDnsHostnameTypeOnLaunch)
				return nil
			}
			return call.BadValue(hostname.Name, string(in.PrivateDnsHostnameTypeOnLaunch))
		}
	}
	ch, err := call.OnlyChange([]call.Change[*vpc.Subnet]{
		call.Toggle("assignIpv6AddressOnCreation", in.AssignIpv6AddressOnCreation,
			func(s *vpc.Subnet, on bool) { s.AssignIPv6 = on }),
		call.Toggle("mapPublicIpOnLaunch", in.MapPublicIpOnLaunch, func(s *vpc.Subnet, on bool) { s.MapPublicIP = on }),
		call.Toggle("enableDns64", in.EnableDns64, func(s *vpc.Subnet, on bool) { s.DNS64 = on }),
		call.Toggle("enableResourceNameDnsARecordOnLaunch", in.EnableResourceNameDnsARecordOnLaunch,
			func(s *vpc.Subnet, on bool) { s.DNSNameA = on }),
		call.Toggle("enableResourceNameDnsAAAARecordOnLaunch", in.EnableResourceNameDnsAAAARecordOnLaunch,
			func(s *vpc.Subnet, on bool) { s.DNSNameAA = on }),
		hostname,
		call.Refusal[*vpc.Subnet]("mapCustomerOwnedIpOnLaunch",
			in.MapCustomerOwnedIpOnLaunch != nil || in.CustomerOwnedIpv4Pool != nil, "customer-owned addresses"),
		call.Refusal[*vpc.Subnet]("enableLniAtDeviceIndex",
			in.EnableLniAtDeviceIndex != nil || in.DisableLniAtDeviceIndex != nil, "local network interfaces"),
	})
	if err != nil {
		return ec2.Return{}, err
	}
	next := *s
	if err := ch.Set(&next); err != nil {
		return ec2.Return{}, err
	}
	if next.AssignIPv6 && len(next.IPv6Blocks) == 0 {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value 'true' for assignIpv6AddressOnCreation. The subnet %s has no IPv6 CIDR block.", s.ID)
	}
	tx.Put(&next)
	return ec2.Return{}, nil
}

// subnetBlocks6Max is how many IPv6 blocks a subnet can have (AWS VPC guide).
const subnetBlocks6Max = 1

func associateSubnetCidrBlock(tx *state.Tx, c call.Call, in *ec2.AssociateSubnetCidrBlockRequest) (*ec2.AssociateSubnetCidrBlockResult, error) {
	s, err := FindSubnet(tx, c, call.Text(in.SubnetId))
	if err != nil {
		return nil, err
	}
	if in.Ipv6IpamPoolId != nil || in.Ipv6NetmaskLength != nil {
		return nil, call.Unsupported("address pools")
	}
	if in.Ipv6CidrBlock == nil {
		return nil, apierr.New(apierr.CodeMissingParameter, "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.")
	}
	p, err := subnetBlock6(tx, tx.VPC(s.VPC), *in.Ipv6CidrBlock)
	if err != nil {
		return nil, err
	}
	if len(s.IPv6Blocks) >= subnetBlocks6Max {
		return nil, tooManyBlocks(string(s.ID), subnetBlocks6Max)
	}
	b := vpc.Block{Association: newAssociation(c, "subnet"), Prefix: p}
	next := *s
	next.IPv6Blocks = append(slices.Clone(s.IPv6Blocks), b)
	tx.Put(&next)
	if err := acl.CheckUse(tx.Snapshot, &next); err != nil {
		return nil, err
	}
	return &ec2.AssociateSubnetCidrBlockResult{
		SubnetId:                 new(string(s.ID)),
		Ipv6CidrBlockAssociation: wireSubnetBlock(b, ec2.SubnetCidrBlockStateCodeAssociating),
	}, nil
}

func disassociateSubnetCidrBlock(tx *state.Tx, c call.Call, in *ec2.DisassociateSubnetCidrBlockRequest) (*ec2.DisassociateSubnetCidrBlockResult, error) {
	id := vpc.AssociationID(call.Text(in.AssociationId))
	is := func(b vpc.Block) bool { return b.Association == id }
	for s := range tx.SubnetsIn(c.Scope) {
		i := slices.IndexFunc(s.IPv6Blocks, is)
		if i < 0 {
			continue
		}
		b := s.IPv6Blocks[i]
		if !s.Block.IsValid() {
			return nil, apierr.New(apierr.CodeOperationNotPermitted,
				"The subnet CIDR block with association ID %s may not be disassociated. It is the only CIDR block of the IPv6-only subnet %s.", id, s.ID)
		}
		for e := range tx.InterfacesOfSubnet(s.ID) {
			if slices.ContainsFunc(e.IPv6Addrs, b.Prefix.Contains) {
				return nil, apierr.New(apierr.CodeDependencyViolation,
					"The subnet CIDR block with association ID %s has addresses in use. %s has some.", id, Holder(e))
			}
		}
		next := *s
		next.IPv6Blocks = slices.DeleteFunc(slices.Clone(s.IPv6Blocks), is)
		if len(next.IPv6Blocks) == 0 {
			next.AssignIPv6 = false
		}
		tx.Put(&next)
		return &ec2.DisassociateSubnetCidrBlockResult{
			SubnetId:                 new(string(s.ID)),
			Ipv6CidrBlockAssociation: wireSubnetBlock(b, ec2.SubnetCidrBlockStateCodeDisassociating),
		}, nil
	}
	return nil, apierr.New(apierr.CodeInvalidSubnetCidrBlockAssociationIDNotFound,
		"The subnet CIDR block association ID '%s' does not exist", id)
}
