package instance

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// readDevices reads the interfaces of a launch: those that the request lists, or the one that its other
// parameters describe.
func readDevices(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest) ([]device, error) {
	if len(in.NetworkInterfaces) == 0 {
		d, err := onlyDevice(tx, c, in)
		return []device{d}, err
	}
	if err := noneAtInstance(in); err != nil {
		return nil, err
	}
	if len(in.NetworkInterfaces) > interfacesPerInstanceMax {
		return nil, apierr.New(apierr.CodeAttachmentLimitExceeded,
			"Interface count %d exceeds the limit for an instance: %d", len(in.NetworkInterfaces), interfacesPerInstanceMax)
	}
	var out []device
	var seen []vpc.InterfaceID
	for n := range in.NetworkInterfaces {
		d, err := readDevice(tx, c, in, &in.NetworkInterfaces[n])
		if err != nil {
			return nil, err
		}
		if d.existing != nil {
			if slices.Contains(seen, d.existing.ID) {
				return nil, apierr.New(apierr.CodeInvalidParameterValue, "The network interface %s is given twice.", d.existing.ID)
			}
			seen = append(seen, d.existing.ID)
		}
		out = append(out, d)
	}
	return devices(out)
}

// noneAtInstance refuses parameters that describe the primary interface beside a list of interfaces.
func noneAtInstance(in *ec2.RunInstancesRequest) error {
	for _, p := range []struct {
		given bool
		what  string
	}{
		{len(in.SecurityGroupIds)+len(in.SecurityGroups) > 0, "security groups"},
		{in.SubnetId != nil, "subnet ID"},
		{in.PrivateIpAddress != nil, "private IP address"},
		{len(in.Ipv6Addresses) > 0 || in.Ipv6AddressCount != nil, "IPv6 addresses"},
	} {
		if p.given {
			return apierr.New(apierr.CodeInvalidParameterCombination,
				"Network interfaces and an instance-level %s may not be specified on the same request", p.what)
		}
	}
	return nil
}

// onlyDevice is the primary interface as a request describes it without a list of interfaces.
func onlyDevice(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest) (device, error) {
	if in.SubnetId == nil && call.MeansClassic(tx, c) {
		return classicDevice(tx, c, in)
	}
	d := device{deleteOnTermination: true}
	if in.SubnetId != nil && len(in.SecurityGroups) > 0 {
		return d, apierr.New(apierr.CodeInvalidParameterCombination, "The parameter groupName cannot be used with the parameter subnet")
	}
	var err error
	if d.subnet, err = launchSubnet(tx, c, in.SubnetId, in.Placement); err != nil {
		return d, err
	}
	if d.addresses, err = readAsked(wanted{
		primary: in.PrivateIpAddress, list6: in.Ipv6Addresses, count6: in.Ipv6AddressCount, primary6: in.EnablePrimaryIpv6,
	}); err != nil {
		return d, err
	}
	d.groups = slices.Clone(in.SecurityGroupIds)
	for _, name := range in.SecurityGroups {
		g, err := group.FindNamed(tx, c, name)
		if err != nil {
			return d, err
		}
		d.groups = append(d.groups, string(g.ID))
	}
	return d, checkLaunchGroups(tx, c, in.SubnetId != nil, d)
}

// checkLaunchGroups refuses the groups of a launch before anything is made. Where the network was not named but
// is the default one, EC2 says so in other words.
func checkLaunchGroups(tx *state.Tx, c call.Call, subnetNamed bool, d device) error {
	if !subnetNamed {
		for _, id := range d.groups {
			g, err := call.Find[*vpc.SecurityGroup](tx, c, &call.UsedGroupForm, id)
			if err != nil {
				return err
			}
			if g.VPC != d.subnet.VPC {
				return apierr.New(apierr.CodeInvalidGroupNotFound,
					"The security group '%s' does not exist in VPC '%s'. It is of %s.", g.ID, d.subnet.VPC, g.VPC)
			}
		}
	}
	_, err := group.ForInterface(tx, c, &call.UsedGroupForm, d.groups, d.subnet)
	return err
}

// launchSubnet is the subnet of an interface that is made at launch: the one named, or the default one of the
// zone named, or of the first zone that has one.
func launchSubnet(tx *state.Tx, c call.Call, id *string, p *ec2.Placement) (*vpc.Subnet, error) {
	var zone vpc.Zone // empty: any
	if p != nil && (call.Text(p.AvailabilityZone) != "" || call.Text(p.AvailabilityZoneId) != "") {
		z, err := network.FindZone(c, p.AvailabilityZone, p.AvailabilityZoneId)
		if err != nil {
			return nil, err
		}
		zone = z
	}
	if id != nil {
		s, err := network.FindSubnet(tx, c, *id)
		if err != nil {
			return nil, err
		}
		if zone != "" && s.Zone != zone {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"The availability zone '%s' of the placement is not that of the subnet: %s is in %s.", zone, s.ID, s.Zone)
		}
		return s, nil
	}
	v := tx.DefaultVPC(c.Scope)
	if v == nil {
		return nil, apierr.New(apierr.CodeVPCIdNotSpecified, "No default VPC for this user. Name a subnet.")
	}
	var found *vpc.Subnet
	for s := range tx.SubnetsOf(v.ID) {
		if s.DefaultForZone && (zone == "" || s.Zone == zone) && (found == nil || s.Zone < found.Zone) {
			found = s
		}
	}
	if found != nil {
		return found, nil
	}
	if zone != "" {
		return nil, apierr.New(apierr.CodeMissingInput, "No default subnet for availability zone: '%s'.", zone)
	}
	return nil, apierr.New(apierr.CodeMissingInput, "No subnets found for the default VPC '%s'. Please specify a subnet.", v.ID)
}

// readDevice reads one interface of a request's list.
func readDevice(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest, spec *ec2.InstanceNetworkInterfaceSpecification) (device, error) {
	var d device
	if err := plainDevice(spec); err != nil {
		return d, err
	}
	if spec.DeviceIndex == nil {
		return d, apierr.New(apierr.CodeInvalidParameterValue, "Each network interface requires a device index.")
	}
	if n := *spec.DeviceIndex; n < 0 || n >= interfacesPerInstanceMax {
		return d, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter deviceIndex is invalid. It must be from 0 to %d.", n, interfacesPerInstanceMax-1)
	}
	d.index = int(*spec.DeviceIndex)
	if spec.NetworkInterfaceId != nil {
		return existingDevice(tx, c, spec, d)
	}
	d.deleteOnTermination = spec.DeleteOnTermination == nil || *spec.DeleteOnTermination
	d.description, d.groups = call.Text(spec.Description), spec.Groups
	var err error
	if d.subnet, err = launchSubnet(tx, c, spec.SubnetId, in.Placement); err != nil {
		return d, err
	}
	if d.addresses, err = readAsked(wanted{
		primary: spec.PrivateIpAddress, list: spec.PrivateIpAddresses, count: spec.SecondaryPrivateIpAddressCount,
		list6: spec.Ipv6Addresses, count6: spec.Ipv6AddressCount, primary6: spec.PrimaryIpv6,
	}); err != nil {
		return d, err
	}
	if d.tracking, err = readTracking(spec.ConnectionTrackingSpecification); err != nil {
		return d, err
	}
	return d, checkLaunchGroups(tx, c, spec.SubnetId != nil, d)
}

// plainDevice refuses what no interface here has. A public address may be asked for and is not given: there are
// none.
func plainDevice(spec *ec2.InstanceNetworkInterfaceSpecification) error {
	switch {
	case call.Text(spec.InterfaceType) != "" && *spec.InterfaceType != interfaceType:
		return call.Unsupported("interfaces of type " + *spec.InterfaceType)
	case spec.Ipv4Prefixes != nil || spec.Ipv4PrefixCount != nil || spec.Ipv6Prefixes != nil || spec.Ipv6PrefixCount != nil:
		return call.Unsupported("delegated prefixes")
	case spec.NetworkCardIndex != nil && *spec.NetworkCardIndex != 0:
		return call.Unsupported("further network cards")
	case spec.EnaSrdSpecification != nil || spec.EnaQueueCount != nil || call.Yes(spec.AssociateCarrierIpAddress):
		return call.Unsupported("ENA settings or carrier addresses")
	}
	return nil
}

// existingDevice is an interface that exists and brings its subnet, its addresses and its groups (G21).
func existingDevice(tx *state.Tx, c call.Call, spec *ec2.InstanceNetworkInterfaceSpecification, d device) (device, error) {
	i, err := findInterface(tx, c, *spec.NetworkInterfaceId)
	if err != nil {
		return d, err
	}
	for _, p := range []struct {
		given bool
		what  string
	}{
		{spec.SubnetId != nil, "a subnet"},
		{len(spec.Groups) > 0, "security groups"},
		{spec.PrivateIpAddress != nil || len(spec.PrivateIpAddresses) > 0 || spec.SecondaryPrivateIpAddressCount != nil, "private IP addresses"},
		{len(spec.Ipv6Addresses) > 0 || spec.Ipv6AddressCount != nil, "IPv6 addresses"},
		{spec.Description != nil, "a description"},
		{spec.ConnectionTrackingSpecification != nil, "a connection tracking specification"},
	} {
		if p.given {
			return d, apierr.New(apierr.CodeInvalidParameterCombination,
				"A network interface may not specify both a network interface ID and %s", p.what)
		}
	}
	d.existing, d.deleteOnTermination = i, call.Yes(spec.DeleteOnTermination)
	return d, notAttached(i)
}
