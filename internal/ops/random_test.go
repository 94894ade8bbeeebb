package ops

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestRandomNetworks makes random calls about interfaces, addresses and instances in subnets that are too small for
// them, and looks after each at what must always hold.
func TestRandomNetworks(t *testing.T) {
	r := random(t)
	w := &randomWorld{story: newStory(t), r: r}
	w.try(func(tx *state.Tx, c Call) error { return EnsureRegion(tx, c) })
	for i, capacity := range []int{3, 4} {
		w.try(func(tx *state.Tx, c Call) error {
			return RegisterHost(tx, c, vpc.Host{ID: vpc.HostID(fmt.Sprint("h", i)), Capacity: capacity})
		})
	}
	w.must("CreateVpc", "CidrBlock=10.0.0.0/16", "AmazonProvidedIpv6CidrBlock=true")
	for _, v := range w.vpcs() {
		if v.Default {
			continue
		}
		w.must("CreateSubnet", "VpcId="+string(v.ID), "CidrBlock=10.0.0.0/28",
			"Ipv6CidrBlock="+netip.PrefixFrom(v.IPv6Blocks[0].Prefix.Addr(), 64).String())
		w.must("CreateSubnet", "VpcId="+string(v.ID), "CidrBlock=10.0.0.16/28")
		for n := range 7 {
			w.must("CreateSecurityGroup", "VpcId="+string(v.ID), fmt.Sprint("GroupName=g", n), "GroupDescription=x")
		}
	}
	refused := map[apierr.Code]int{}
	for n := range 1500 {
		action, params := w.next()
		if action == "" {
			w.report()
		} else if _, err := w.do(action, params); err != nil {
			code := apierr.From(err).Code
			if code == apierr.CodeInternalError {
				t.Fatalf("call %d, %s %v: %v", n, action, params, err)
			}
			refused[code]++
		}
		if err := checkNetworks(w.world); err != nil {
			t.Fatalf("after call %d, %s %v: %v", n, action, params, err)
		}
	}
	for _, code := range []apierr.Code{
		apierr.CodeInsufficientInstanceCapacity, apierr.CodeInsufficientFreeAddressesInSubnet,
		apierr.CodeInvalidNetworkInterfaceInUse, apierr.CodeSecurityGroupsPerInterfaceLimitExceeded,
	} {
		if refused[code] == 0 {
			t.Errorf("nothing was refused with %s: %v", code, refused)
		}
	}
}

// randomWorld makes random calls.
type randomWorld struct {
	*story
	r *rand.Rand
}

func (w *randomWorld) must(action string, params ...string) {
	w.t.Helper()
	if _, err := w.do(action, params); err != nil {
		w.t.Fatal(err)
	}
}

func (w *randomWorld) vpcs() []*vpc.VPC { return slices.Collect(w.world.VPCsIn(w.scope)) }

// some is one of the identifiers of a kind, or one that is none.
func (w *randomWorld) some(kind vpc.Kind) string {
	var all []string
	for e := range w.world.All(kind) {
		all = append(all, e.Key())
	}
	if len(all) == 0 || w.r.IntN(50) == 0 {
		return "none"
	}
	return all[w.r.IntN(len(all))]
}

// groups are some groups of the VPC that the test made, more often than not few enough.
func (w *randomWorld) groups() []string {
	var out []string
	for _, v := range w.vpcs() {
		if !v.Default {
			for g := range w.world.GroupsOf(v.ID) {
				out = append(out, string(g.ID))
			}
		}
	}
	w.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:1+w.r.IntN(6)]
}

func numbered(name string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%s.%d=%s", name, i+1, v)
	}
	return out
}

// next is a random call, or none: then a host reports.
func (w *randomWorld) next() (action string, params []string) {
	subnet := "SubnetId=" + w.some(vpc.KindSubnet)
	eni, instance := w.some(vpc.KindInterface), w.some(vpc.KindInstance)
	addr := fmt.Sprintf("10.0.0.%d", w.r.IntN(32))
	switch w.r.IntN(16) {
	case 0, 1:
		return "CreateNetworkInterface", append(numbered("SecurityGroupId", w.groups()), subnet)
	case 2:
		return "CreateNetworkInterface", []string{subnet, "PrivateIpAddress=" + addr, fmt.Sprint("Ipv6AddressCount=", w.r.IntN(3))}
	case 3:
		return "CreateNetworkInterface", []string{subnet, fmt.Sprint("SecondaryPrivateIpAddressCount=", w.r.IntN(4))}
	case 4:
		return "DeleteNetworkInterface", []string{"NetworkInterfaceId=" + eni}
	case 5:
		return "ModifyNetworkInterfaceAttribute", append(numbered("SecurityGroupId", w.groups()), "NetworkInterfaceId="+eni)
	case 6:
		return "AssignPrivateIpAddresses", []string{
			"NetworkInterfaceId=" + eni, "PrivateIpAddress.1=" + addr, fmt.Sprint("AllowReassignment=", w.r.IntN(2) == 0),
		}
	case 7:
		return "UnassignPrivateIpAddresses", []string{"NetworkInterfaceId=" + eni, "PrivateIpAddress.1=" + addr}
	case 8:
		return "AssignIpv6Addresses", []string{"NetworkInterfaceId=" + eni, fmt.Sprint("Ipv6AddressCount=", w.r.IntN(3))}
	case 9, 10:
		return "RunInstances", []string{"ImageId=" + string(labImage), subnet, "MinCount=1", fmt.Sprint("MaxCount=", 1+w.r.IntN(3))}
	case 11:
		return "RunInstances", []string{
			"ImageId=" + string(labImage), "MinCount=1", "MaxCount=1",
			"NetworkInterface.1.DeviceIndex=0", "NetworkInterface.1.NetworkInterfaceId=" + eni,
		}
	case 12:
		return "AttachNetworkInterface", []string{
			"NetworkInterfaceId=" + eni, "InstanceId=" + instance, fmt.Sprint("DeviceIndex=", w.r.IntN(3)),
		}
	case 13:
		if i := w.world.Interface(vpc.InterfaceID(eni)); i != nil && i.Attachment != nil {
			return "DetachNetworkInterface", []string{"AttachmentId=" + string(i.Attachment.ID)}
		}
	case 14:
		verb := []string{"Start", "Stop", "Terminate", "Reboot"}[w.r.IntN(4)]
		return verb + "Instances", []string{"InstanceId.1=" + instance}
	}
	return "", nil
}

// report has a host tell of all its instances what it may.
func (w *randomWorld) report() {
	for h := range w.world.Hosts() {
		var reports []InstanceReport
		for i := range w.world.InstancesOn(h.ID) {
			can := map[vpc.InstanceState][]InstanceCondition{
				vpc.Pending: {InstanceUp, InstanceUp, InstanceFailed}, vpc.Running: {InstanceUp, InstanceGone},
				vpc.Stopping: {InstanceGone}, vpc.ShuttingDown: {InstanceGone}, vpc.Terminated: {InstanceUp},
				vpc.Stopped: {InstanceGone, InstanceUp},
			}[i.State]
			reports = append(reports, InstanceReport{ID: i.ID, Boot: i.Boot, Condition: can[w.r.IntN(len(can))]})
		}
		w.try(func(tx *state.Tx, c Call) error { return ReportInstances(tx, c, h.ID, reports) })
	}
}

// checkNetworks says what does not hold of a world that always must.
func checkNetworks(w *state.Snapshot) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	q := vpc.GuideQuotas()
	owner := map[string]vpc.InterfaceID{}
	for e := range w.All(vpc.KindInterface) {
		i := e.(*vpc.Interface)
		for _, a := range i.AllAddrs() {
			at := string(i.VPC) + a.String()
			if other, ok := owner[at]; ok {
				wrong("%s and %s have %s", other, i.ID, a)
			}
			owner[at] = i.ID
			in := slices.IndexFunc(subnetPrefixes(w.Subnet(i.Subnet)), func(p netip.Prefix) bool { return p.Contains(a) })
			if in < 0 {
				wrong("%s has %s, outside %s", i.ID, a, i.Subnet)
			}
			if a.Is4() && vpc.Reserved(w.Subnet(i.Subnet).Block, a) {
				wrong("%s has %s, which is reserved", i.ID, a)
			}
		}
		if len(i.Addrs) == 0 || len(i.Addrs) > q.AddrsPerInterface || len(i.IPv6Addrs) > q.AddrsPerInterface {
			wrong("%s has addresses %v", i.ID, i.AllAddrs())
		}
		if n := len(i.Groups); n < 1 || n > q.GroupsPerInterface || n > len(slices.Compact(slices.Sorted(slices.Values(i.Groups)))) {
			wrong("%s carries %v", i.ID, i.Groups)
		}
		for _, g := range i.Groups {
			if w.Group(g) == nil || w.Group(g).VPC != i.VPC {
				wrong("%s of %s carries %s", i.ID, i.VPC, g)
			}
		}
		if a := i.Attachment; a != nil && (w.Instance(a.Instance) == nil || w.Instance(a.Instance).State == vpc.Terminated) {
			wrong("%s is attached to %s, which is not", i.ID, a.Instance)
		}
	}
	errs = append(errs, checkInstances(w)...)
	for e := range w.All(vpc.KindSubnet) {
		if s := e.(*vpc.Subnet); available(w, s) < 0 {
			wrong("%s has %d addresses left", s.ID, available(w, s))
		}
	}
	return errors.Join(errs...)
}

func checkInstances(w *state.Snapshot) (errs []error) {
	on := map[vpc.HostID]int{}
	for e := range w.All(vpc.KindInstance) {
		i := e.(*vpc.Instance)
		var indexes []string
		for _, e := range interfacesOf(w, i.ID) {
			indexes = append(indexes, fmt.Sprint(e.Attachment.DeviceIndex))
			if e.Zone != i.Zone || e.VPC != i.VPC {
				errs = append(errs, fmt.Errorf("%s is in %s, its %s in %s", i.ID, i.Zone, e.ID, e.Zone))
			}
		}
		ended := i.State == vpc.Terminated
		if ended != (len(indexes) == 0) || len(indexes) > 0 && indexes[0] != "0" || len(slices.Compact(slices.Clone(indexes))) < len(indexes) {
			errs = append(errs, fmt.Errorf("%s is %s and has interfaces at %s", i.ID, i.State, strings.Join(indexes, ",")))
		}
		if ended != !i.Ended.IsZero() {
			errs = append(errs, fmt.Errorf("%s is %s and ended at %s", i.ID, i.State, i.Ended))
		}
		if !ended {
			on[i.Host]++
		}
	}
	for h, n := range on {
		if w.Host(h) == nil || n > w.Host(h).Capacity {
			errs = append(errs, fmt.Errorf("%s carries %d instances", h, n))
		}
	}
	return errs
}

func TestInterfaceQuota(t *testing.T) {
	s := newStory(t)
	s.try(func(tx *state.Tx, c Call) error { return EnsureRegion(tx, c) })
	most := vpc.GuideQuotas().Interfaces
	var subnet string
	s.commit(func(tx *state.Tx, c Call) {
		for e := range tx.SubnetsIn(c.Scope) {
			subnet = string(e.ID)
		}
		for range most - 1 {
			tx.Put(&vpc.Interface{ID: vpc.InterfaceID(c.IDs.New("eni")), Scope: c.Scope, Subnet: "subnet-0", VPC: "vpc-0"})
		}
	})
	if _, err := s.do("CreateNetworkInterface", []string{"SubnetId=" + subnet}); err != nil {
		t.Error(err)
	}
	_, err := s.do("CreateNetworkInterface", []string{"SubnetId=" + subnet})
	if !apierr.HasCode(err, apierr.CodeNetworkInterfaceLimitExceeded) {
		t.Errorf("interface %d: %v", most+1, err)
	}
}
