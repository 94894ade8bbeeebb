package instance

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func interfaceActions() []call.Operation {
	return []call.Operation{
		call.Writes(createNetworkInterface),
		call.Writes(deleteNetworkInterface),
		call.Reads(describeNetworkInterfaces),
		call.Writes(attachNetworkInterface),
		call.Writes(detachNetworkInterface),
		call.Writes(modifyNetworkInterfaceAttribute),
		call.Reads(describeNetworkInterfaceAttribute),
		call.Writes(resetNetworkInterfaceAttribute),
		call.Writes(assignPrivateIpAddresses),
		call.Writes(unassignPrivateIpAddresses),
		call.Writes(assignIpv6Addresses),
		call.Writes(unassignIpv6Addresses),
	}
}

func findInterface(tx *state.Tx, c call.Call, id string) (*vpc.Interface, error) {
	return call.Find[*vpc.Interface](tx, c, &call.InterfaceForm, id)
}

func deleteNetworkInterface(tx *state.Tx, c call.Call, in *ec2.DeleteNetworkInterfaceRequest) (ec2.Return, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return ec2.Return{}, err
	}
	if a := i.Attachment; a != nil {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Network interface '%s' is currently in use. It is attached to %s (%s).", i.ID, a.Instance, a.ID)
	}
	tx.Delete(i)
	return ec2.Return{}, nil
}

// interfaceStatus is where an interface is in its life; nothing on its way is seen from outside.
func interfaceStatus(i *vpc.Interface) ec2.NetworkInterfaceStatus {
	if i.Attachment == nil {
		return ec2.NetworkInterfaceStatusAvailable
	}
	return ec2.NetworkInterfaceStatusInUse
}

var interfaceListing = call.Listing[*vpc.Interface]{
	Attributes: interfaceAttributes(),
	Tags:       call.TagsOf[*vpc.Interface],
	Key:        (*vpc.Interface).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter NetworkInterfaceIds cannot be used with the parameter MaxResults",
	},
}

func interfaceAttributes() call.Attributes[*vpc.Interface] {
	out := call.Attributes[*vpc.Interface]{
		"addresses.primary": func(_ *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return len(i.Addrs) > 0 && is("true") || len(i.Addrs) > 1 && is("false")
		},
		"addresses.private-ip-address": func(_ *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return slices.ContainsFunc(i.Addrs, func(a netip.Addr) bool { return is(a.String()) })
		},
		"availability-zone":    call.One(func(i *vpc.Interface) string { return string(i.Zone) }),
		"availability-zone-id": call.One(func(i *vpc.Interface) string { return network.ZoneID(i.Zone) }),
		"description":          call.One(func(i *vpc.Interface) string { return i.Description }),
		"group-id": func(_ *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return slices.ContainsFunc(i.Groups, func(g vpc.GroupID) bool { return is(string(g)) })
		},
		"group-name": func(w *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return slices.ContainsFunc(i.Groups, func(g vpc.GroupID) bool { return is(w.Group(g).Name) })
		},
		"interface-type": call.One(func(i *vpc.Interface) string { return i.Type }),
		"ipv6-addresses.ipv6-address": func(_ *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return slices.ContainsFunc(i.IPv6Addrs, func(a netip.Addr) bool { return is(a.String()) })
		},
		"mac-address":          call.One(func(i *vpc.Interface) string { return i.MAC }),
		"network-interface-id": call.One((*vpc.Interface).Key),
		"operator.managed":     call.YesNo(func(*vpc.Interface) bool { return false }),
		"owner-id":             call.One(func(i *vpc.Interface) string { return string(i.Scope.Account) }),
		"private-dns-name":     call.One(func(i *vpc.Interface) string { return privateName(i.Scope.Region, i.Primary()) }),
		"private-ip-address":   call.One(func(i *vpc.Interface) string { return addrText(i.Primary()) }),
		"requester-id":         call.One(func(i *vpc.Interface) string { return i.Requester }),
		"requester-managed":    call.YesNo(func(*vpc.Interface) bool { return false }),
		"source-dest-check":    call.YesNo(func(i *vpc.Interface) bool { return i.SourceCheck }),
		"status":               call.One(func(i *vpc.Interface) string { return string(interfaceStatus(i)) }),
		"subnet-id":            call.One(func(i *vpc.Interface) string { return string(i.Subnet) }),
		"vpc-id":               call.One(func(i *vpc.Interface) string { return string(i.VPC) }),
	}
	for name, value := range attachmentAttributes() {
		out["attachment."+name] = func(_ *state.Snapshot, i *vpc.Interface, is func(string) bool) bool {
			return i.Attachment != nil && is(value(i))
		}
	}
	// There are no public addresses to be associated with.
	for _, name := range []string{
		"addresses.association.owner-id", "addresses.association.public-ip", "association.allocation-id",
		"association.association-id", "association.ip-owner-id", "association.public-dns-name", "association.public-ip",
		"attachment.nat-gateway-id", "operator.principal",
	} {
		out[name] = func(*state.Snapshot, *vpc.Interface, func(string) bool) bool { return false }
	}
	return out
}

// attachmentAttributes are what filters ask of an interface's attachment.
func attachmentAttributes() map[string]func(*vpc.Interface) string {
	return map[string]func(*vpc.Interface) string{
		"attach-time":           func(i *vpc.Interface) string { return call.TimeText(i.Attachment.Attached) },
		"attachment-id":         func(i *vpc.Interface) string { return string(i.Attachment.ID) },
		"delete-on-termination": func(i *vpc.Interface) string { return strconv.FormatBool(i.Attachment.DeleteOnTermination) },
		"device-index":          func(i *vpc.Interface) string { return strconv.Itoa(i.Attachment.DeviceIndex) },
		"instance-id":           func(i *vpc.Interface) string { return string(i.Attachment.Instance) },
		"instance-owner-id":     func(i *vpc.Interface) string { return string(i.Scope.Account) },
		"status":                func(*vpc.Interface) string { return string(ec2.AttachmentStatusAttached) },
	}
}

// addrText is an address, or nothing.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// privateName is the name of a private IPv4 address in EC2's form; empty without one.
func privateName(r vpc.Region, a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + r.Domain()
}

func describeNetworkInterfaces(tx *state.Tx, c call.Call, in *ec2.DescribeNetworkInterfacesRequest) (*ec2.DescribeNetworkInterfacesResult, error) {
	all, err := call.FindOrAll(tx, c, &call.InterfaceForm, in.NetworkInterfaceIds, interfacesFor(tx, c, in.Filters))
	if err != nil {
		return nil, err
	}
	page, next, err := interfaceListing.Run(tx, c, call.Query{
		IDs: in.NetworkInterfaceIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkInterfacesResult{NextToken: next, NetworkInterfaces: make([]ec2.NetworkInterface, len(page))}
	for n, i := range page {
		out.NetworkInterfaces[n] = wireInterface(tx.Snapshot, i)
	}
	return out, nil
}

// interfacesFor walks the interfaces that the filters may accept: by the narrowest index that one of them names,
// in the order of identifiers as all the indexes are.
func interfacesFor(tx *state.Tx, c call.Call, filters []ec2.Filter) iter.Seq[*vpc.Interface] {
	all := tx.InterfacesIn(c.Scope)
	if ids, ok := call.ExactValues(filters, "network-interface-id"); ok {
		return call.Entities[*vpc.Interface](tx, c, &call.InterfaceForm, ids)
	}
	for _, by := range []struct {
		filter string
		walk   func(id string) iter.Seq[*vpc.Interface]
	}{
		{"attachment.instance-id", func(id string) iter.Seq[*vpc.Interface] { return tx.InterfacesOfInstance(vpc.InstanceID(id)) }},
		{"group-id", func(id string) iter.Seq[*vpc.Interface] { return tx.InterfacesWith(vpc.GroupID(id)) }},
		{"subnet-id", func(id string) iter.Seq[*vpc.Interface] { return tx.InterfacesOfSubnet(vpc.SubnetID(id)) }},
		{"vpc-id", func(id string) iter.Seq[*vpc.Interface] { return tx.InterfacesOf(vpc.VPCID(id)) }},
	} {
		ids, ok := call.ExactValues(filters, by.filter)
		if !ok || len(ids) != 1 {
			continue
		}
		return func(yield func(*vpc.Interface) bool) {
			for i := range by.walk(ids[0]) {
				if i.Scope == c.Scope && !i.VPC.Classic() && !yield(i) {
					return
				}
			}
		}
	}
	return all
}

func wireInterface(w *state.Snapshot, i *vpc.Interface) ec2.NetworkInterface {
	out := ec2.NetworkInterface{
		Attachment:         wireAttachment(i),
		AvailabilityZone:   new(string(i.Zone)),
		AvailabilityZoneId: new(network.ZoneID(i.Zone)),
		Description:        &i.Description,
		Groups:             groupIdentifiers(w, i.Groups),
		InterfaceType:      ec2.NetworkInterfaceType(i.Type),
		MacAddress:         &i.MAC,
		NetworkInterfaceId: new(string(i.ID)),
		OwnerId:            new(string(i.Scope.Account)),
		PrivateDnsName:     call.Optional(privateName(i.Scope.Region, i.Primary())),
		PrivateIpAddress:   call.Optional(addrText(i.Primary())),
		RequesterId:        call.Optional(i.Requester),
		RequesterManaged:   new(false),
		SourceDestCheck:    &i.SourceCheck,
		Status:             interfaceStatus(i),
		SubnetId:           new(string(i.Subnet)),
		TagSet:             call.WireTags(i.Tags),
		VpcId:              new(string(i.VPC)),
		Ipv6Native:         new(len(i.Addrs) == 0),
		Operator:           &ec2.OperatorResponse{Managed: new(false)},
	}
	for n, a := range i.Addrs {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, ec2.NetworkInterfacePrivateIpAddress{
			Primary: new(n == 0), PrivateIpAddress: new(a.String()), PrivateDnsName: new(privateName(i.Scope.Region, a)),
		})
	}
	for n, a := range i.IPv6Addrs {
		out.Ipv6Addresses = append(out.Ipv6Addresses, ec2.NetworkInterfaceIpv6Address{
			Ipv6Address: new(a.String()), IsPrimaryIpv6: new(i.PrimaryIPv6 && n == 0),
		})
	}
	if len(i.IPv6Addrs) > 0 {
		out.Ipv6Address = new(i.IPv6Addrs[0].String())
	}
	if t := i.Tracking; t != nil {
		out.ConnectionTrackingConfiguration = &ec2.ConnectionTrackingConfiguration{
			TcpEstablishedTimeout: nonZero(t.TCPEstablished), UdpStreamTimeout: nonZero(t.UDPStream), UdpTimeout: nonZero(t.UDP),
		}
	}
	return out
}

func wireAttachment(i *vpc.Interface) *ec2.NetworkInterfaceAttachment {
	a := i.Attachment
	if a == nil {
		return nil
	}
	return &ec2.NetworkInterfaceAttachment{
		AttachTime:          &a.Attached,
		AttachmentId:        new(string(a.ID)),
		DeleteOnTermination: &a.DeleteOnTermination,
		DeviceIndex:         call.Amount(a.DeviceIndex),
		NetworkCardIndex:    call.Amount(0),
		InstanceId:          new(string(a.Instance)),
		InstanceOwnerId:     new(string(i.Scope.Account)),
		Status:              ec2.AttachmentStatusAttached,
	}
}

// groupIdentifiers are groups with their names, as instances and interfaces show them.
func groupIdentifiers(w *state.Snapshot, ids []vpc.GroupID) []ec2.GroupIdentifier {
	out := make([]ec2.GroupIdentifier, len(ids))
	for i, id := range ids {
		out[i] = ec2.GroupIdentifier{GroupId: new(string(id)), GroupName: &w.Group(id).Name}
	}
	return out
}

// nonZero is a number for a response; absent if it is zero.
func nonZero(n int) *int32 {
	if n == 0 {
		return nil
	}
	return call.Amount(n)
}
