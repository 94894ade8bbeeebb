package instance

import (
	"cmp"
	"iter"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func instanceActions() []call.Operation {
	return []call.Operation{
		call.Writes(runInstances),
		call.Reads(describeInstances),
		call.Reads(describeInstanceStatus),
		call.Writes(startInstances),
		call.Writes(stopInstances),
		call.Writes(rebootInstances),
		call.Writes(terminateInstances),
		call.Writes(modifyInstanceAttribute),
		call.Reads(describeInstanceAttribute),
		call.Reads(getConsoleOutput),
		call.Reads(describeInstanceTypes),
		call.Reads(describeInstanceTypeOfferings),
		call.Reads(describeInstanceCreditSpecifications),
	}
}

func findInstance(tx *state.Tx, c call.Call, id string) (*vpc.Instance, error) {
	return call.Find[*vpc.Instance](tx, c, &call.InstanceForm, id)
}

// wrongState refuses what an instance's state forbids; text holds %s where its identifier belongs.
func wrongState(i *vpc.Instance, text string) error {
	return apierr.New(apierr.CodeIncorrectInstanceState, text+" It is %s.", i.ID, i.State)
}

// interfacesOf are an instance's interfaces in the order of their device indexes: the primary one first.
func interfacesOf(w *state.Snapshot, id vpc.InstanceID) []*vpc.Interface {
	return slices.SortedFunc(w.InterfacesOfInstance(id), func(a, b *vpc.Interface) int {
		return cmp.Compare(a.Attachment.DeviceIndex, b.Attachment.DeviceIndex)
	})
}

// primaryOf is an instance's primary interface; nil once it is terminated.
func primaryOf(w *state.Snapshot, id vpc.InstanceID) *vpc.Interface {
	for i := range w.InterfacesOfInstance(id) {
		if i.Attachment.DeviceIndex == 0 {
			return i
		}
	}
	return nil
}

var instanceListing = call.Listing[*vpc.Instance]{
	Attributes: instanceAttributes(),
	Tags:       call.TagsOf[*vpc.Instance],
	Key:        (*vpc.Instance).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "maxResults",
		Together: "The parameter instancesSet cannot be used with the parameter maxResults",
	},
}

// instanceAttributes are the filters of DescribeInstances.
func instanceAttributes() call.Attributes[*vpc.Instance] {
	out := call.Attributes[*vpc.Instance]{
		"availability-zone":    call.One(func(i *vpc.Instance) string { return string(i.Zone) }),
		"availability-zone-id": call.One(func(i *vpc.Instance) string { return network.ZoneID(i.Zone) }),
		"client-token":         call.One(func(i *vpc.Instance) string { return i.ClientToken }),
		"ebs-optimized":        call.YesNo(func(i *vpc.Instance) bool { return i.EBSOptimized }),
		"image-id":             call.One(func(i *vpc.Instance) string { return string(i.Image) }),
		"instance-id":          call.One((*vpc.Instance).Key),
		"instance-state-code":  call.One(func(i *vpc.Instance) string { return call.Decimal(int(i.State.Code())) }),
		"instance-state-name":  call.One(func(i *vpc.Instance) string { return string(i.State) }),
		"instance-type":        call.One(func(i *vpc.Instance) string { return i.Type }),
		"key-name":             call.One(func(i *vpc.Instance) string { return i.KeyName }),
		"launch-index":         call.One(func(i *vpc.Instance) string { return call.Decimal(i.LaunchIndex) }),
		"launch-time":          call.One(func(i *vpc.Instance) string { return call.TimeText(i.Launched) }),
		"monitoring-state":     call.One(func(i *vpc.Instance) string { return string(monitoring(i)) }),
		"owner-id":             call.One(func(i *vpc.Instance) string { return string(i.Scope.Account) }),
		"private-dns-name":     call.One(func(i *vpc.Instance) string { return i.PrivateDNS }),
		"reason":               call.One(func(i *vpc.Instance) string { return i.Reason }),
		"reservation-id":       call.One(func(i *vpc.Instance) string { return string(i.Reservation) }),
		"root-device-type":     call.One(func(*vpc.Instance) string { return string(ec2.DeviceTypeInstanceStore) }),
		"state-reason-code":    call.One(func(i *vpc.Instance) string { return i.ReasonCode }),
		"state-reason-message": call.One(reasonMessage),
		"subnet-id":            ofPlatform(vpc.PlatformVPC, call.One(func(i *vpc.Instance) string { return string(i.Subnet) })),
		"tenancy":              call.One(func(*vpc.Instance) string { return string(ec2.TenancyDefault) }),
		"vpc-id":               ofPlatform(vpc.PlatformVPC, call.One(func(i *vpc.Instance) string { return string(i.VPC) })),
	}
	onInterfaces := interfaceAttributes()
	onPrimary := func(name string) call.Attribute[*vpc.Instance] {
		return func(w *state.Snapshot, i *vpc.Instance, is func(string) bool) bool {
			p := primaryOf(w, i.ID)
			return p != nil && onInterfaces[name](w, p, is)
		}
	}
	out["instance.group-id"] = onPrimary("group-id")
	out["instance.group-name"] = onPrimary("group-name")
	out["ipv6-address"] = onPrimary("ipv6-addresses.ipv6-address")
	out["private-ip-address"] = onPrimary("private-ip-address")
	out["source-dest-check"] = ofPlatform(vpc.PlatformVPC, onPrimary("source-dest-check"))
	out["group-id"] = ofPlatform(vpc.PlatformClassic, onPrimary("group-id"))
	out["group-name"] = ofPlatform(vpc.PlatformClassic, onPrimary("group-name"))
	for name, value := range onInterfaces {
		out["network-interface."+name] = ofPlatform(vpc.PlatformVPC, func(w *state.Snapshot, i *vpc.Instance, is func(string) bool) bool {
			for e := range w.InterfacesOfInstance(i.ID) {
				if value(w, e, is) {
					return true
				}
			}
			return false
		})
	}
	// What lab instances have none of.
	for _, name := range []string{
		"affinity", "architecture", "block-device-mapping.attach-time", "block-device-mapping.delete-on-termination",
		"block-device-mapping.device-name", "block-device-mapping.status", "block-device-mapping.volume-id",
		"capacity-reservation-id", "dns-name", "host-id", "hypervisor",
		"iam-instance-profile.arn", "instance-lifecycle", "ip-address", "kernel-id", "placement-group-name",
		"platform", "product-code", "product-code.type", "ramdisk-id", "requester-id", "root-device-name",
		"spot-instance-request-id", "virtualization-type",
	} {
		out[name] = func(*state.Snapshot, *vpc.Instance, func(string) bool) bool { return false }
	}
	return out
}

func monitoring(i *vpc.Instance) ec2.MonitoringState {
	if i.Monitoring {
		return ec2.MonitoringStateEnabled
	}
	return ec2.MonitoringStateDisabled
}

// instancesFor walks the instances that filters may accept: by the index of groups if they name one.
func instancesFor(tx *state.Tx, c call.Call, filters []ec2.Filter) iter.Seq[*vpc.Instance] {
	for _, name := range []string{"instance.group-id", "network-interface.group-id", "group-id"} {
		groups, ok := call.ExactValues(filters, name)
		if !ok {
			continue
		}
		var ids []string
		for _, g := range groups {
			for i := range tx.InterfacesWith(vpc.GroupID(g)) {
				if i.Attachment != nil {
					ids = append(ids, string(i.Attachment.Instance))
				}
			}
		}
		return call.Entities[*vpc.Instance](tx, c, &call.InstanceForm, ids)
	}
	return tx.InstancesIn(c.Scope)
}

func describeInstances(tx *state.Tx, c call.Call, in *ec2.DescribeInstancesRequest) (*ec2.DescribeInstancesResult, error) {
	all, err := call.FindOrAll(tx, c, &call.InstanceForm, in.InstanceIds, instancesFor(tx, c, in.Filters))
	if err != nil {
		return nil, err
	}
	page, next, err := instanceListing.Run(tx, c,
		call.Query{IDs: in.InstanceIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstancesResult{NextToken: next, Reservations: reservations(tx.Snapshot, page)}, nil
}

// reservations gathers instances by the call that launched them, in the order in which each is first met. A
// reservation that a page cuts is told on both pages, each time with its part.
func reservations(w *state.Snapshot, instances []*vpc.Instance) []ec2.Reservation {
	var out []ec2.Reservation
	at := map[vpc.ReservationID]int{}
	for _, i := range instances {
		n, ok := at[i.Reservation]
		if !ok {
			n = len(out)
			at[i.Reservation] = n
			out = append(out, ec2.Reservation{
				ReservationId: new(string(i.Reservation)), OwnerId: new(string(i.Scope.Account)), Groups: classicGroups(w, i),
			})
		}
		out[n].Instances = append(out[n].Instances, wireInstance(w, i))
	}
	return out
}

// wireState is a state as responses have it.
func wireState(s vpc.InstanceState) *ec2.InstanceState {
	return &ec2.InstanceState{Code: new(s.Code()), Name: ec2.InstanceStateName(s)}
}

func wireInstance(w *state.Snapshot, i *vpc.Instance) ec2.Instance {
	out := ec2.Instance{
		ClientToken:           call.Optional(i.ClientToken),
		EbsOptimized:          &i.EBSOptimized,
		RootDeviceType:        ec2.DeviceTypeInstanceStore,
		Tags:                  call.WireTags(i.Tags),
		InstanceId:            new(string(i.ID)),
		ImageId:               new(string(i.Image)),
		State:                 wireState(i.State),
		PrivateDnsName:        &i.PrivateDNS,
		PublicDnsName:         new(""),
		StateTransitionReason: &i.Reason,
		KeyName:               call.Optional(i.KeyName),
		AmiLaunchIndex:        call.Amount(i.LaunchIndex),
		InstanceType:          ec2.InstanceType(i.Type),
		LaunchTime:            &i.Launched,
		Placement: &ec2.Placement{
			AvailabilityZone: new(string(i.Zone)), AvailabilityZoneId: new(network.ZoneID(i.Zone)),
			GroupName: new(""), Tenancy: ec2.TenancyDefault,
		},
		Monitoring: &ec2.Monitoring{State: monitoring(i)},
	}
	if i.ReasonCode != "" {
		out.StateReason = &ec2.StateReason{Code: &i.ReasonCode, Message: new(reasonMessage(i))}
	}
	if i.State == vpc.Terminated { // it is on no network any more
		out.PrivateDnsName = new("")
		return out
	}
	if i.VPC.Classic() {
		wireClassic(w, i, &out)
		return out
	}
	out.VpcId, out.SubnetId = new(string(i.VPC)), new(string(i.Subnet))
	for n, e := range interfacesOf(w, i.ID) {
		out.NetworkInterfaces = append(out.NetworkInterfaces, wireInstanceInterface(w, e))
		if n > 0 {
			continue
		}
		out.PrivateIpAddress = call.Optional(addrText(e.Primary()))
		out.SecurityGroups = groupIdentifiers(w, e.Groups)
		out.SourceDestCheck = &e.SourceCheck
		if len(e.IPv6Addrs) > 0 {
			out.Ipv6Address = new(e.IPv6Addrs[0].String())
		}
	}
	return out
}

func wireInstanceInterface(w *state.Snapshot, e *vpc.Interface) ec2.InstanceNetworkInterface {
	a := e.Attachment
	out := ec2.InstanceNetworkInterface{
		Attachment: &ec2.InstanceNetworkInterfaceAttachment{
			AttachTime: &a.Attached, AttachmentId: new(string(a.ID)), DeleteOnTermination: &a.DeleteOnTermination,
			DeviceIndex: call.Amount(a.DeviceIndex), Status: ec2.AttachmentStatusAttached, NetworkCardIndex: call.Amount(0),
		},
		Description:        &e.Description,
		Groups:             groupIdentifiers(w, e.Groups),
		MacAddress:         &e.MAC,
		NetworkInterfaceId: new(string(e.ID)),
		OwnerId:            new(string(e.Scope.Account)),
		PrivateDnsName:     call.Optional(privateName(e.Scope.Region, e.Primary())),
		PrivateIpAddress:   call.Optional(addrText(e.Primary())),
		SourceDestCheck:    &e.SourceCheck,
		Status:             interfaceStatus(e),
		SubnetId:           new(string(e.Subnet)),
		VpcId:              new(string(e.VPC)),
		InterfaceType:      &e.Type,
	}
	for n, a := range e.Addrs {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, ec2.InstancePrivateIpAddress{
			Primary: new(n == 0), PrivateIpAddress: new(a.String()), PrivateDnsName: new(privateName(e.Scope.Region, a)),
		})
	}
	for n, a := range e.IPv6Addrs {
		out.Ipv6Addresses = append(out.Ipv6Addresses, ec2.InstanceIpv6Address{
			Ipv6Address: new(a.String()), IsPrimaryIpv6: new(e.PrimaryIPv6 && n == 0),
		})
	}
	if t := e.Tracking; t != nil {
		out.ConnectionTrackingConfiguration = &ec2.ConnectionTrackingSpecificationResponse{
			TcpEstablishedTimeout: nonZero(t.TCPEstablished), UdpStreamTimeout: nonZero(t.UDPStream), UdpTimeout: nonZero(t.UDP),
		}
	}
	return out
}
