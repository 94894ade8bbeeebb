package instance

import (
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// wanted is what a request says of an interface's addresses, as it says it.
type wanted struct {
	primary  *string
	list     []ec2.PrivateIpAddressSpecification
	count    *int32
	list6    []ec2.InstanceIpv6Address
	count6   *int32
	primary6 *bool
}

// asked is which addresses an interface is to have.
type asked struct {
	primary  netip.Addr   // invalid: any
	others   []netip.Addr // further IPv4 addresses
	more     int          // how many further ones, any
	addrs6   []netip.Addr
	more6    int
	given6   bool // the request says of IPv6; without, the subnet does
	primary6 bool // the first IPv6 address stays the first
}

func parseAddr(param, s string, is func(netip.Addr) bool, family string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !is(a) || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter %s is invalid. It is no %s address.", s, param, family)
	}
	return a, nil
}

func parseAddr4(param, s string) (netip.Addr, error) {
	return parseAddr(param, s, netip.Addr.Is4, "IPv4")
}

func parseAddr6(param, s string) (netip.Addr, error) {
	return parseAddr(param, s, netip.Addr.Is6, "IPv6")
}

// readAsked reads what a request says of addresses. Of each family it can give a list or a number.
func readAsked(w wanted) (asked, error) {
	out := asked{given6: w.list6 != nil || w.count6 != nil, primary6: call.Yes(w.primary6)}
	if err := out.readIPv4(w); err != nil {
		return out, err
	}
	if len(w.list6) > 0 && w.count6 != nil && *w.count6 != 0 {
		return out, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter ipv6Addresses cannot be used with the parameter ipv6AddressCount")
	}
	for _, s := range w.list6 {
		a, err := parseAddr6("ipv6Addresses", call.Text(s.Ipv6Address))
		if err != nil {
			return out, err
		}
		out.addrs6 = append(out.addrs6, a)
		out.primary6 = out.primary6 || call.Yes(s.IsPrimaryIpv6)
	}
	var err error
	out.more6, err = readCount("ipv6AddressCount", w.count6)
	return out, err
}

func readCount(param string, n *int32) (int, error) {
	if n == nil {
		return 0, nil
	}
	if *n < 0 {
		return 0, apierr.New(apierr.CodeInvalidParameterValue, "Value (%d) for parameter %s is invalid. It is negative.", *n, param)
	}
	return int(*n), nil
}

func (a *asked) readIPv4(w wanted) error {
	if w.primary != nil {
		p, err := parseAddr4("privateIpAddress", *w.primary)
		if err != nil {
			return err
		}
		a.primary = p
	}
	for _, s := range w.list {
		p, err := parseAddr4("privateIpAddresses", call.Text(s.PrivateIpAddress))
		if err != nil {
			return err
		}
		switch {
		case !call.Yes(s.Primary):
			a.others = append(a.others, p)
		case a.primary.IsValid():
			return apierr.New(apierr.CodeInvalidParameterCombination,
				"Only one primary private IP address can be specified. There are %s and %s.", a.primary, p)
		default:
			a.primary = p
		}
	}
	if w.count != nil && *w.count != 0 && len(a.others) > 0 {
		return apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter privateIpAddresses cannot be used with the parameter secondaryPrivateIpAddressCount")
	}
	var err error
	a.more, err = readCount("secondaryPrivateIpAddressCount", w.count)
	return err
}

// allotment hands out addresses of a subnet, each once.
type allotment struct {
	tx     *state.Tx
	subnet *vpc.Subnet
	given  map[netip.Addr]bool // in this call, not yet in the world
}

func newAllotment(tx *state.Tx, s *vpc.Subnet) *allotment {
	return &allotment{tx: tx, subnet: s, given: map[netip.Addr]bool{}}
}

func (l *allotment) taken(a netip.Addr) bool {
	return l.given[a] || l.tx.InterfaceAt(l.subnet.VPC, a) != nil
}

// block is the subnet's block that an address is in.
func (l *allotment) block(a netip.Addr) (netip.Prefix, bool) {
	for _, p := range network.SubnetPrefixes(l.subnet) {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// take hands out the address that was asked for.
func (l *allotment) take(a netip.Addr) (netip.Addr, error) {
	p, ok := l.block(a)
	if !ok {
		return a, apierr.New(apierr.CodeInvalidParameterValue,
			"Address does not fall within the subnet's address range. %s is not in %s of %s.",
			a, call.Joined(network.SubnetPrefixes(l.subnet)), l.subnet.ID)
	}
	if a.Is4() && vpc.Reserved(p, a) || a.Is6() && vpc.Reserved6(p, a) {
		return a, apierr.New(apierr.CodeInvalidParameterValue,
			"Address is in subnet's reserved address range. %s of %s keeps its first four addresses and its last; %s is one.",
			p, l.subnet.ID, a)
	}
	if l.given[a] {
		return a, apierr.New(apierr.CodeInvalidParameterValue, "The address %s is given twice.", a)
	}
	if i := l.tx.InterfaceAt(l.subnet.VPC, a); i != nil {
		return a, apierr.New(apierr.CodeInvalidIPAddressInUse, "The specified address is already in use. %s has %s.", network.Holder(i), a)
	}
	l.given[a] = true
	return a, nil
}

// next hands out any IPv4 address.
func (l *allotment) next() (netip.Addr, error) {
	if !l.subnet.Block.IsValid() {
		return netip.Addr{}, apierr.New(apierr.CodeInvalidParameterCombination,
			"The subnet %s is IPv6-only and has no IPv4 addresses.", l.subnet.ID)
	}
	a, ok := vpc.Free(l.subnet.Block, l.taken)
	if !ok {
		return a, apierr.New(apierr.CodeInsufficientFreeAddressesInSubnet,
			"The specified subnet does not have enough free addresses to satisfy the request. %s (%s) has %d, all in use.",
			l.subnet.ID, l.subnet.Block, vpc.Usable(l.subnet.Block))
	}
	l.given[a] = true
	return a, nil
}

// next6 hands out any IPv6 address.
func (l *allotment) next6() (netip.Addr, error) {
	if len(l.subnet.IPv6Blocks) == 0 {
		return netip.Addr{}, apierr.New(apierr.CodeInvalidParameterValue, "The subnet %s has no IPv6 CIDR block.", l.subnet.ID)
	}
	a, ok := vpc.Free6(l.subnet.IPv6Blocks[0].Prefix, l.taken)
	if !ok {
		return a, apierr.New(apierr.CodeInsufficientFreeAddressesInSubnet,
			"The specified subnet does not have enough free addresses to satisfy the request. %s has no IPv6 address left.", l.subnet.ID)
	}
	l.given[a] = true
	return a, nil
}

// gather hands out the listed addresses and then any number more.
func gather(list []netip.Addr, more int, take func(netip.Addr) (netip.Addr, error), next func() (netip.Addr, error)) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range list {
		got, err := take(a)
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	for range more {
		got, err := next()
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	return out, nil
}

// allot chooses the addresses of a new interface: a primary IPv4 one unless the subnet is IPv6-only, and an IPv6
// one by itself where the subnet says so.
func allot(tx *state.Tx, c call.Call, s *vpc.Subnet, want asked) (v4, v6 []netip.Addr, err error) {
	list, more, more6 := want.others, want.more, want.more6
	if !want.given6 && s.AssignIPv6 && !c.Version.Before(ec2.VersionCurrent) || !s.Block.IsValid() && len(want.addrs6) == 0 {
		more6 = max(more6, 1)
	}
	if want.primary.IsValid() {
		list = slices.Concat([]netip.Addr{want.primary}, list)
	} else if s.Block.IsValid() {
		more++
	}
	if err := checkAddressQuota(tx, c, len(list)+more, len(want.addrs6)+more6, "The new interface"); err != nil {
		return nil, nil, err
	}
	l := newAllotment(tx, s)
	if v4, err = gather(list, more, l.take, l.next); err != nil {
		return nil, nil, err
	}
	if !want.primary.IsValid() && len(list) > 0 && len(v4) > len(list) {
		// The primary address may be any but those that were named beside it.
		v4 = slices.Concat(v4[len(list):], v4[:len(list)])
	}
	v6, err = gather(want.addrs6, more6, l.take, l.next6)
	return v4, v6, err
}

// checkAddressQuota refuses more addresses than an interface may have.
func checkAddressQuota(tx *state.Tx, c call.Call, n4, n6 int, who string) error {
	most := call.Quotas(tx, c.Scope.Account).AddrsPerInterface
	if n := max(n4, n6); n > most {
		return apierr.New(apierr.CodePrivateIpAddressLimitExceeded,
			"Number of private addresses will exceed limit. %s would have %d of %d.", who, n, most)
	}
	return nil
}

func assignPrivateIpAddresses(tx *state.Tx, c call.Call, in *ec2.AssignPrivateIpAddressesRequest) (*ec2.AssignPrivateIpAddressesResult, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	if in.Ipv4Prefixes != nil || in.Ipv4PrefixCount != nil {
		return nil, call.Unsupported("delegated prefixes")
	}
	if (len(in.PrivateIpAddresses) > 0) == (in.SecondaryPrivateIpAddressCount != nil) {
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"Specify either privateIpAddresses or secondaryPrivateIpAddressCount, and not both.")
	}
	more, err := readCount("secondaryPrivateIpAddressCount", in.SecondaryPrivateIpAddressCount)
	if err != nil {
		return nil, err
	}
	want := make([]netip.Addr, 0, len(in.PrivateIpAddresses))
	for _, s := range in.PrivateIpAddresses {
		a, err := parseAddr4("privateIpAddress", s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(i.Addrs, a) { // one that it has already stays
			want = append(want, a)
		}
	}
	if err := checkAddressQuota(tx, c, len(i.Addrs)+len(want)+more, 0, string(i.ID)); err != nil {
		return nil, err
	}
	if err := release(tx, i, want, call.Yes(in.AllowReassignment)); err != nil {
		return nil, err
	}
	l := newAllotment(tx, tx.Subnet(i.Subnet))
	got, err := gather(want, more, l.take, l.next)
	if err != nil {
		return nil, err
	}
	changed := *i
	changed.Addrs = slices.Concat(i.Addrs, got)
	tx.Put(&changed)
	out := &ec2.AssignPrivateIpAddressesResult{NetworkInterfaceId: new(string(i.ID))}
	for _, a := range got {
		out.AssignedPrivateIpAddresses = append(out.AssignedPrivateIpAddresses,
			ec2.AssignedPrivateIpAddress{PrivateIpAddress: new(a.String())})
	}
	return out, nil
}

// release takes addresses from other interfaces that have them as secondary ones, if the caller allows it.
func release(tx *state.Tx, to *vpc.Interface, addrs []netip.Addr, allowed bool) error {
	for _, a := range addrs {
		from := tx.InterfaceAt(to.VPC, a)
		switch {
		case from == nil:
			continue
		case !allowed:
			return apierr.New(apierr.CodeResourceAlreadyAssigned,
				"The specified address %s is already assigned to another interface: %s.", a, network.Holder(from))
		case from.Primary() == a:
			return apierr.New(apierr.CodeInvalidParameterValue,
				"The address %s cannot be reassigned: it is the primary address of %s.", a, network.Holder(from))
		}
		changed := *from
		changed.Addrs = slices.DeleteFunc(slices.Clone(from.Addrs), func(b netip.Addr) bool { return a == b })
		tx.Put(&changed)
	}
	return nil
}

func unassignPrivateIpAddresses(tx *state.Tx, c call.Call, in *ec2.UnassignPrivateIpAddressesRequest) (ec2.Return, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return ec2.Return{}, err
	}
	if in.Ipv4Prefixes != nil {
		return ec2.Return{}, call.Unsupported("delegated prefixes")
	}
	if len(in.PrivateIpAddresses) == 0 {
		return ec2.Return{}, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter privateIpAddresses")
	}
	drop := map[netip.Addr]bool{}
	for _, s := range in.PrivateIpAddresses {
		a, err := parseAddr4("privateIpAddress", s)
		if err != nil {
			return ec2.Return{}, err
		}
		if err := has(i, i.Addrs, a); err != nil {
			return ec2.Return{}, err
		}
		if a == i.Primary() {
			return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
				"The primary IP address %s of the network interface %s cannot be unassigned.", a, i.ID)
		}
		drop[a] = true
	}
	changed := *i
	changed.Addrs = slices.DeleteFunc(slices.Clone(i.Addrs), func(a netip.Addr) bool { return drop[a] })
	tx.Put(&changed)
	return ec2.Return{}, nil
}

// has refuses an address that an interface has not.
func has(i *vpc.Interface, addrs []netip.Addr, a netip.Addr) error {
	if slices.Contains(addrs, a) {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Some of the specified addresses are not assigned to interface %s: %s", i.ID, a)
}

func assignIpv6Addresses(tx *state.Tx, c call.Call, in *ec2.AssignIpv6AddressesRequest) (*ec2.AssignIpv6AddressesResult, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	if in.Ipv6Prefixes != nil || in.Ipv6PrefixCount != nil {
		return nil, call.Unsupported("delegated prefixes")
	}
	if (len(in.Ipv6Addresses) > 0) == (in.Ipv6AddressCount != nil) {
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"Specify either ipv6Addresses or ipv6AddressCount, and not both.")
	}
	more, err := readCount("ipv6AddressCount", in.Ipv6AddressCount)
	if err != nil {
		return nil, err
	}
	want := make([]netip.Addr, 0, len(in.Ipv6Addresses))
	for _, s := range in.Ipv6Addresses {
		a, err := parseAddr6("ipv6Addresses", s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(i.IPv6Addrs, a) {
			want = append(want, a)
		}
	}
	if err := checkAddressQuota(tx, c, 0, len(i.IPv6Addrs)+len(want)+more, string(i.ID)); err != nil {
		return nil, err
	}
	l := newAllotment(tx, tx.Subnet(i.Subnet))
	got, err := gather(want, more, l.take, l.next6)
	if err != nil {
		return nil, err
	}
	changed := *i
	changed.IPv6Addrs = slices.Concat(i.IPv6Addrs, got)
	tx.Put(&changed)
	out := &ec2.AssignIpv6AddressesResult{NetworkInterfaceId: new(string(i.ID))}
	for _, a := range got {
		out.AssignedIpv6Addresses = append(out.AssignedIpv6Addresses, a.String())
	}
	return out, nil
}

func unassignIpv6Addresses(tx *state.Tx, c call.Call, in *ec2.UnassignIpv6AddressesRequest) (*ec2.UnassignIpv6AddressesResult, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	if in.Ipv6Prefixes != nil {
		return nil, call.Unsupported("delegated prefixes")
	}
	if len(in.Ipv6Addresses) == 0 {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter ipv6Addresses")
	}
	out := &ec2.UnassignIpv6AddressesResult{NetworkInterfaceId: new(string(i.ID))}
	drop := map[netip.Addr]bool{}
	for _, s := range in.Ipv6Addresses {
		a, err := parseAddr6("ipv6Addresses", s)
		if err != nil {
			return nil, err
		}
		if err := has(i, i.IPv6Addrs, a); err != nil {
			return nil, err
		}
		if i.PrimaryIPv6 && a == i.IPv6Addrs[0] || len(i.Addrs) == 0 && len(i.IPv6Addrs) == len(drop)+1 {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"The primary IPv6 address %s of the network interface %s cannot be unassigned.", a, i.ID)
		}
		if !drop[a] {
			out.UnassignedIpv6Addresses = append(out.UnassignedIpv6Addresses, a.String())
		}
		drop[a] = true
	}
	changed := *i
	changed.IPv6Addrs = slices.DeleteFunc(slices.Clone(i.IPv6Addrs), func(a netip.Addr) bool { return drop[a] })
	tx.Put(&changed)
	return out, nil
}
