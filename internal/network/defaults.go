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
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// defaultBlock is the address space of default VPCs, and defaultSubnetBits the size of their subnets (AWS VPC
// guide, "Default VPCs").
var defaultBlock = netip.MustParsePrefix("172.31.0.0/16")

const defaultSubnetBits = 20

// CheckRegion refuses a call in a region that is not served, or whose name is none.
func CheckRegion(c call.Call) error {
	r := c.Scope.Region
	if !IsRegionName(r) || len(c.Regions) > 0 && !slices.Contains(c.Regions, r) {
		return apierr.New(apierr.CodeAuthFailure, "Credential should be scoped to a valid region. '%s' is none here.", r)
	}
	return nil
}

// IsReady says whether an account finds in a region all that EnsureRegion sets up.
func IsReady(w *state.Snapshot, scope vpc.Scope) bool {
	r := w.RegionState(scope)
	return r != nil && r.Surrounded
}

// EnsureRegion sets an account up in the call's region the first time that it is there: DHCP options, and a default
// VPC with a default subnet in each zone, its default group, gateway, route table and ACL. A default VPC that its
// owner deleted does not come back. An account with EC2-Classic gets the default group of that, and no default VPC.
// What an older version of this program made is given what a VPC is born with now.
func EnsureRegion(tx *state.Tx, c call.Call) error {
	if err := CheckRegion(c); err != nil {
		return err
	}
	if IsReady(tx.Snapshot, c.Scope) {
		return nil
	}
	if known := tx.RegionState(c.Scope); known != nil {
		upgradeRegion(tx, c, *known)
		return nil
	}
	putRegion(tx, vpc.RegionState{Scope: c.Scope, DHCPOptions: c.IDs.New("dopt"), Created: c.Now})
	if call.HasClassic(tx, c) {
		group.NewClassicDefault(tx, c)
		return nil
	}
	_, err := makeDefaultVPC(tx, c)
	return err
}

// putRegion notes that an account has all in a region that it finds there, and puts its DHCP options.
func putRegion(tx *state.Tx, r vpc.RegionState) {
	r.Surrounded = true
	tx.Put(&r)
	tx.Put(&vpc.DHCPOptions{ID: r.DHCPOptions, Scope: r.Scope, Created: r.Created})
}

// upgradeRegion gives the VPCs that an older version made what they lack. Such a version knew no route tables and no
// ACLs, so none has any.
func upgradeRegion(tx *state.Tx, c call.Call, r vpc.RegionState) {
	putRegion(tx, r)
	for v := range tx.VPCsIn(c.Scope) {
		surround(tx, c, v)
		for s := range tx.SubnetsOf(v.ID) {
			next := *s
			acl.Associate(tx, c, &next)
			tx.Put(&next)
		}
	}
}

// surround gives a VPC what every one is born with besides its default group: route table and ACL, and a default
// VPC its Internet gateway.
func surround(tx *state.Tx, c call.Call, v *vpc.VPC) {
	gateway.Surround(tx, c, v)
	acl.Surround(tx, c, v)
}

func createDefaultVpc(tx *state.Tx, c call.Call, _ *ec2.CreateDefaultVpcRequest) (*ec2.CreateDefaultVpcResult, error) {
	if v := tx.DefaultVPC(c.Scope); v != nil {
		return nil, apierr.New(apierr.CodeDefaultVpcAlreadyExists,
			"A Default VPC already exists for this account in this region. It is %s.", v.ID)
	}
	v, err := makeDefaultVPC(tx, c)
	if err != nil {
		return nil, err
	}
	out := wireVPC(v)
	out.State = ec2.VpcStatePending
	return &ec2.CreateDefaultVpcResult{Vpc: &out}, nil
}

func makeDefaultVPC(tx *state.Tx, c call.Call) (*vpc.VPC, error) {
	v, err := makeVPC(tx, c, newVPC{block: defaultBlock, isDefault: true, hostnames: true})
	if err != nil {
		return nil, err
	}
	for _, z := range Zones(c.Scope.Region) {
		if _, err := makeDefaultSubnet(tx, c, v, z); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// makeDefaultSubnet gives the default VPC a default subnet in a zone, in the first free block.
func makeDefaultSubnet(tx *state.Tx, c call.Call, v *vpc.VPC, z vpc.Zone) (*vpc.Subnet, error) {
	within := v.Blocks[0].Prefix
	base := within.Addr().As4()
	for i := range 1 << (defaultSubnetBits - within.Bits()) {
		at := base
		binary.BigEndian.PutUint32(at[:], binary.BigEndian.Uint32(base[:])+uint32(i)<<(32-defaultSubnetBits))
		p := netip.PrefixFrom(netip.AddrFrom4(at), defaultSubnetBits)
		if checkSubnetBlock(tx, v, p, v.Blocks) != nil {
			continue
		}
		s := &vpc.Subnet{Zone: z, Block: p, DefaultForZone: true}
		return s, putSubnet(tx, c, v, s)
	}
	return nil, apierr.New(apierr.CodeInvalidSubnetConflict,
		"The default VPC %s has no free /%d for a default subnet in %s.", v.ID, defaultSubnetBits, z)
}
