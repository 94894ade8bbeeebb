package instance

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// What is different of instances in EC2-Classic: they are in the flat network of their region, carry their groups
// themselves, those of their launch for ever, and have no interfaces that a client could see. Below the API such an
// instance has one interface like any other, in a subnet that is the whole network and that no world holds.

// classicDevice is the one interface of an instance that is launched into EC2-Classic.
func classicDevice(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest) (device, error) {
	d := device{deleteOnTermination: true}
	for _, p := range []struct {
		given bool
		name  string
	}{
		{in.PrivateIpAddress != nil, "privateIpAddress"},
		{len(in.Ipv6Addresses) > 0 || in.Ipv6AddressCount != nil || in.EnablePrimaryIpv6 != nil, "ipv6Addresses"},
		{slices.ContainsFunc(in.TagSpecifications, func(s ec2.TagSpecification) bool {
			return s.ResourceType == ec2.ResourceTypeNetworkInterface
		}), "tagSpecification of a network interface"},
	} {
		if p.given {
			return d, apierr.New(apierr.CodeInvalidParameterCombination, "The parameter %s may not be used for a non-VPC launch", p.name)
		}
	}
	var zone, zoneID *string
	if in.Placement != nil {
		zone, zoneID = in.Placement.AvailabilityZone, in.Placement.AvailabilityZoneId
	}
	z, err := network.FindZone(c, zone, zoneID)
	if err != nil {
		return d, err
	}
	d.subnet = &vpc.Subnet{Scope: c.Scope, VPC: vpc.ClassicNetwork(c.Scope.Region), Zone: z, Block: vpc.ClassicBlock}
	d.groups = slices.Clone(in.SecurityGroupIds)
	for _, name := range in.SecurityGroups {
		g, err := group.FindNamed(tx, c, name)
		if err != nil {
			return d, err
		}
		d.groups = append(d.groups, string(g.ID))
	}
	_, err = group.ForClassicInstance(tx, c, d.groups)
	return d, err
}

// classicFamilies are the instance types that there were in EC2-Classic (EC2 user guide, "Instance types available in
// EC2-Classic"); all others can only be in a VPC.
var classicFamilies = []string{"c1", "c3", "cc2", "cr1", "d2", "g2", "hi1", "hs1", "i2", "m1", "m2", "m3", "r3", "t1"}

// checkClassicType refuses an instance type that EC2-Classic does not have.
func checkClassicType(name string) error {
	family, _, _ := strings.Cut(name, ".")
	if slices.Contains(classicFamilies, family) {
		return nil
	}
	return apierr.New(apierr.CodeVPCResourceNotSpecified,
		"The specified instance type can only be used in a VPC. A subnet ID or network interface ID is required to carry out the request. "+
			"%s is none of EC2-Classic's types: %s.", name, strings.Join(classicFamilies, ", "))
}

// onlyInVPC refuses what an instance in EC2-Classic has not: verb is modify or describe.
func onlyInVPC(i *vpc.Instance, verb, attribute string) error {
	if !i.VPC.Classic() {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterCombination,
		"You may only %s the %s attribute for VPC instances. %s is in EC2-Classic.", verb, attribute, i.ID)
}

// wireClassic tells the network of an instance in EC2-Classic: an address and groups.
func wireClassic(w *state.Snapshot, i *vpc.Instance, out *ec2.Instance) {
	if p := primaryOf(w, i.ID); p != nil {
		out.PrivateIpAddress = call.Optional(addrText(p.Primary()))
		out.SecurityGroups = groupIdentifiers(w, p.Groups)
	}
}

// classicGroups are the groups of a reservation, which EC2 tells in EC2-Classic only.
func classicGroups(w *state.Snapshot, i *vpc.Instance) []ec2.GroupIdentifier {
	if p := primaryOf(w, i.ID); p != nil && i.VPC.Classic() {
		return groupIdentifiers(w, p.Groups)
	}
	return nil
}

// ofPlatform is an attribute that instances of one platform have and those of the other have not.
func ofPlatform(p vpc.Platform, a call.Attribute[*vpc.Instance]) call.Attribute[*vpc.Instance] {
	return func(w *state.Snapshot, i *vpc.Instance, is func(string) bool) bool {
		return i.VPC.Classic() == (p == vpc.PlatformClassic) && a(w, i, is)
	}
}
