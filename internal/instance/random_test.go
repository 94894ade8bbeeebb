package instance_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }

// TestRandomNetworks makes random calls about interfaces, addresses and instances in subnets that are too small for
// them, and looks after each at what must always hold.
func TestRandomNetworks(t *testing.T) {
	r := opstest.Random(t)
	w := &randomWorld{Story: opstest.NewStory(t), r: r}
	w.Try(func(tx *state.Tx, c call.Call) error { return network.EnsureRegion(tx, c) })
	for i, capacity := range []int{3, 4} {
		w.Try(func(tx *state.Tx, c call.Call) error {
			return instance.RegisterHost(tx, c, vpc.Host{ID: vpc.HostID(fmt.Sprint("h", i)), Capacity: capacity})
		})
	}
	w.MustDo("CreateVpc", "CidrBlock=10.0.0.0/16", "AmazonProvidedIpv6CidrBlock=true")
	for _, v := range w.vpcs() {
		if v.Default {
			continue
		}
		w.MustDo("CreateSubnet", "VpcId="+string(v.ID), "CidrBlock=10.0.0.0/28",
			"Ipv6CidrBlock="+netip.PrefixFrom(v.IPv6Blocks[0].Prefix.Addr(), 64).String())
		w.MustDo("CreateSubnet", "VpcId="+string(v.ID), "CidrBlock=10.0.0.16/28")
		for n := range 7 {
			w.MustDo("CreateSecurityGroup", "VpcId="+string(v.ID), fmt.Sprint("GroupName=g", n), "GroupDescription=x")
		}
	}
	refused := map[apierr.Code]int{}
	for n := range 1500 {
		action, params := w.next()
		if action == "" {
			w.report()
		} else if _, err := w.Do(action, params); err != nil {
			code := apierr.From(err).Code
			if code == apierr.CodeInternalError {
				t.Fatalf("call %d, %s %v: %v", n, action, params, err)
			}
			refused[code]++
		}
		if err := opstest.CheckNetworks(w.World); err != nil {
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
	*opstest.Story
	r *rand.Rand
}

func (w *randomWorld) vpcs() []*vpc.VPC { return slices.Collect(w.World.VPCsIn(w.Scope)) }

// some is one of the identifiers of a kind, or one that is none.
func (w *randomWorld) some(kind vpc.Kind) string {
	var all []string
	for e := range w.World.All(kind) {
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
			for g := range w.World.GroupsOf(v.ID) {
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
	eni, id := w.some(vpc.KindInterface), w.some(vpc.KindInstance)
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
		return "RunInstances", []string{"ImageId=" + string(instance.LabImage), subnet, "MinCount=1", fmt.Sprint("MaxCount=", 1+w.r.IntN(3))}
	case 11:
		return "RunInstances", []string{
			"ImageId=" + string(instance.LabImage), "MinCount=1", "MaxCount=1",
			"NetworkInterface.1.DeviceIndex=0", "NetworkInterface.1.NetworkInterfaceId=" + eni,
		}
	case 12:
		return "AttachNetworkInterface", []string{
			"NetworkInterfaceId=" + eni, "InstanceId=" + id, fmt.Sprint("DeviceIndex=", w.r.IntN(3)),
		}
	case 13:
		if i := w.World.Interface(vpc.InterfaceID(eni)); i != nil && i.Attachment != nil {
			return "DetachNetworkInterface", []string{"AttachmentId=" + string(i.Attachment.ID)}
		}
	case 14:
		verb := []string{"Start", "Stop", "Terminate", "Reboot"}[w.r.IntN(4)]
		return verb + "Instances", []string{"InstanceId.1=" + id}
	}
	return "", nil
}

// report has a host tell of all its instances what it may.
func (w *randomWorld) report() {
	for h := range w.World.Hosts() {
		var reports []instance.Report
		for i := range w.World.InstancesOn(h.ID) {
			can := map[vpc.InstanceState][]instance.Condition{
				vpc.Pending: {instance.Up, instance.Up, instance.Failed}, vpc.Running: {instance.Up, instance.Gone},
				vpc.Stopping: {instance.Gone}, vpc.ShuttingDown: {instance.Gone}, vpc.Terminated: {instance.Up},
				vpc.Stopped: {instance.Gone, instance.Up},
			}[i.State]
			reports = append(reports, instance.Report{ID: i.ID, Boot: i.Boot, Condition: can[w.r.IntN(len(can))]})
		}
		w.Try(func(tx *state.Tx, c call.Call) error { return instance.ReportInstances(tx, c, h.ID, reports) })
	}
}

func TestInterfaceQuota(t *testing.T) {
	s := opstest.NewStory(t)
	s.Try(func(tx *state.Tx, c call.Call) error { return network.EnsureRegion(tx, c) })
	most := vpc.GuideQuotas().Interfaces
	var subnet string
	s.Commit(func(tx *state.Tx, c call.Call) {
		for e := range tx.SubnetsIn(c.Scope) {
			subnet = string(e.ID)
		}
		for range most - 1 {
			tx.Put(&vpc.Interface{ID: vpc.InterfaceID(c.IDs.New("eni")), Scope: c.Scope, Subnet: "subnet-0", VPC: "vpc-0"})
		}
	})
	if _, err := s.Do("CreateNetworkInterface", []string{"SubnetId=" + subnet}); err != nil {
		t.Error(err)
	}
	_, err := s.Do("CreateNetworkInterface", []string{"SubnetId=" + subnet})
	if !apierr.HasCode(err, apierr.CodeNetworkInterfaceLimitExceeded) {
		t.Errorf("interface %d: %v", most+1, err)
	}
}
