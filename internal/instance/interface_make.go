package instance

import (
	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// newInterface is what an interface that is made is made of.
type newInterface struct {
	subnet      *vpc.Subnet
	groups      []string // empty: the default group of the VPC
	addresses   asked
	description string
	tracking    *vpc.ConnectionTracking
	tags        vpc.Tags
	token       string
	attachment  *vpc.Attachment
}

// interfaceType is the type of all interfaces here.
const interfaceType = string(ec2.NetworkInterfaceTypeInterface)

// makeInterface makes an interface in a subnet: with at least one group (G4) and at least one address.
func makeInterface(tx *state.Tx, c call.Call, n newInterface) (*vpc.Interface, error) {
	groups, err := n.readGroups(tx, c)
	if err != nil {
		return nil, err
	}
	if err := checkInterfaceQuota(tx, c, n.subnet.VPC); err != nil {
		return nil, err
	}
	if err := acl.CheckSubnet(tx.Snapshot, n.subnet); err != nil {
		return nil, err
	}
	i := &vpc.Interface{
		ID:           vpc.InterfaceID(c.IDs.New("eni")),
		Scope:        c.Scope,
		VPC:          n.subnet.VPC,
		Subnet:       n.subnet.ID,
		Zone:         n.subnet.Zone,
		Description:  n.description,
		Type:         interfaceType,
		MAC:          c.IDs.MAC(),
		Groups:       groups,
		SourceCheck:  true,
		Tracking:     n.tracking,
		Attachment:   n.attachment,
		Requester:    c.Principal.UserID,
		ClientToken:  n.token,
		Tags:         n.tags,
		Created:      c.Now,
		PrimaryIPv6:  n.addresses.primary6,
		AutoAssigned: n.attachment != nil,
	}
	if i.Addrs, i.IPv6Addrs, err = allot(tx, c, n.subnet, n.addresses); err != nil {
		return nil, err
	}
	if i.PrimaryIPv6 && len(i.IPv6Addrs) == 0 {
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"EnablePrimaryIpv6 needs an IPv6 address, and none was asked for or given in %s.", n.subnet.ID)
	}
	tx.Put(i)
	return i, nil
}

// readGroups is the groups that the interface is to carry: the default one if none is named.
func (n *newInterface) readGroups(tx *state.Tx, c call.Call) ([]vpc.GroupID, error) {
	if n.subnet.VPC.Classic() {
		return group.ForClassicInstance(tx, c, n.groups)
	}
	ids := n.groups
	if len(ids) == 0 {
		ids = []string{string(group.DefaultOf(tx, n.subnet.VPC).ID)}
	}
	return group.ForInterface(tx, c, &call.UsedGroupForm, ids, n.subnet)
}

func checkInterfaceQuota(tx *state.Tx, c call.Call, in vpc.VPCID) error {
	n, most := tx.CountInterfaces(c.Scope), call.Quotas(tx, c.Scope.Account).Interfaces
	if n < most || in.Classic() {
		return nil
	}
	return apierr.New(apierr.CodeNetworkInterfaceLimitExceeded,
		"The maximum number of network interfaces has been reached. There are %d of %d in %s.", n, most, c.Scope.Region)
}

func createNetworkInterface(tx *state.Tx, c call.Call, in *ec2.CreateNetworkInterfaceRequest) (*ec2.CreateNetworkInterfaceResult, error) {
	same := *in
	same.ClientToken, same.DryRun = nil, nil
	answer := func(i *vpc.Interface) *ec2.CreateNetworkInterfaceResult {
		wire := wireInterface(tx.Snapshot, i)
		wire.Status = "pending" // the model does not list it
		return &ec2.CreateNetworkInterfaceResult{NetworkInterface: &wire, ClientToken: in.ClientToken}
	}
	first := func() (*ec2.CreateNetworkInterfaceResult, []string, error) {
		i, err := createInterface(tx, c, in)
		if err != nil {
			return nil, nil, err
		}
		return answer(i), []string{string(i.ID)}, nil
	}
	again := func(ids []string) (*ec2.CreateNetworkInterfaceResult, error) {
		i, err := findInterface(tx, c, ids[0])
		if err != nil {
			return nil, err
		}
		return answer(i), nil
	}
	return call.Once(tx, c, in.ClientToken, &same, first, again)
}

func createInterface(tx *state.Tx, c call.Call, in *ec2.CreateNetworkInterfaceRequest) (*vpc.Interface, error) {
	s, err := network.FindSubnet(tx, c, call.Text(in.SubnetId))
	if err != nil {
		return nil, err
	}
	switch {
	case in.InterfaceType != "" && string(in.InterfaceType) != interfaceType:
		return nil, call.Unsupported("interfaces of type " + string(in.InterfaceType))
	case in.Ipv4Prefixes != nil || in.Ipv4PrefixCount != nil || in.Ipv6Prefixes != nil || in.Ipv6PrefixCount != nil:
		return nil, call.Unsupported("delegated prefixes")
	case in.Operator != nil:
		return nil, call.Unsupported("operators")
	}
	want, err := readAsked(wanted{
		primary: in.PrivateIpAddress, list: in.PrivateIpAddresses, count: in.SecondaryPrivateIpAddressCount,
		list6: in.Ipv6Addresses, count6: in.Ipv6AddressCount, primary6: in.EnablePrimaryIpv6,
	})
	if err != nil {
		return nil, err
	}
	tracking, err := readTracking(in.ConnectionTrackingSpecification)
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeNetworkInterface)
	if err != nil {
		return nil, err
	}
	return makeInterface(tx, c, newInterface{
		subnet: s, groups: in.Groups, addresses: want, description: call.Text(in.Description), tracking: tracking,
		tags: tags[ec2.ResourceTypeNetworkInterface], token: call.Text(in.ClientToken),
	})
}

// timeoutRange is the bounds of one of the idle timeouts of a connection tracking specification, in seconds
// (EC2 user guide, "Idle connection tracking timeout").
type timeoutRange struct {
	param    string
	min, max int32
}

// The ranges of idle timeouts.
var (
	establishedRange = timeoutRange{"tcpEstablishedTimeout", 60, 432000}
	udpStreamRange   = timeoutRange{"udpStreamTimeout", 60, 180}
	udpRange         = timeoutRange{"udpTimeout", 30, 60}
)

func (r timeoutRange) read(in *int32, out *int) error {
	if in == nil {
		return nil
	}
	if *in < r.min || *in > r.max {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter %s is invalid. It must be from %d to %d seconds.", *in, r.param, r.min, r.max)
	}
	*out = int(*in)
	return nil
}

// readTracking reads an interface's own idle timeouts; nil: EC2's.
func readTracking(in *ec2.ConnectionTrackingSpecificationRequest) (*vpc.ConnectionTracking, error) {
	if in == nil {
		return nil, nil //nolint:nilnil // no specification is no error and needs no value
	}
	out := &vpc.ConnectionTracking{}
	for _, err := range []error{
		establishedRange.read(in.TcpEstablishedTimeout, &out.TCPEstablished),
		udpStreamRange.read(in.UdpStreamTimeout, &out.UDPStream),
		udpRange.read(in.UdpTimeout, &out.UDP),
	} {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// interfacesPerInstanceMax is how many interfaces an instance can have: the most that any of EC2's common
// instance types can.
const interfacesPerInstanceMax = 15

// checkDevice refuses a device index that an instance has in use or cannot have.
func checkDevice(tx *state.Tx, id vpc.InstanceID, index int32) error {
	if index < 0 || index >= interfacesPerInstanceMax {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter deviceIndex is invalid. It must be from 0 to %d.", index, interfacesPerInstanceMax-1)
	}
	for i := range tx.InterfacesOfInstance(id) {
		if i.Attachment.DeviceIndex == int(index) {
			return apierr.New(apierr.CodeInvalidParameterValue,
				"Instance '%s' already has an interface attached at device index '%d'. It is %s.", id, index, i.ID)
		}
	}
	return nil
}
