package opstest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// CheckNetworks says what does not hold of a world that always must.
func CheckNetworks(w *state.Snapshot) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	q := vpc.GuideQuotas()
	owner := map[string]vpc.InterfaceID{}
	for e := range w.All(vpc.KindInterface) {
		i := e.(*vpc.Interface)
		subnet := subnetOf(w, i)
		for _, a := range i.AllAddrs() {
			at := string(i.VPC) + a.String()
			if other, ok := owner[at]; ok {
				wrong("%s and %s have %s", other, i.ID, a)
			}
			owner[at] = i.ID
			in := slices.IndexFunc(network.SubnetPrefixes(subnet), func(p netip.Prefix) bool { return p.Contains(a) })
			if in < 0 {
				wrong("%s has %s, outside %s", i.ID, a, i.Subnet)
			}
			if a.Is4() && vpc.Reserved(subnet.Block, a) {
				wrong("%s has %s, which is reserved", i.ID, a)
			}
		}
		if len(i.Addrs) == 0 || len(i.Addrs) > q.AddrsPerInterface || len(i.IPv6Addrs) > q.AddrsPerInterface {
			wrong("%s has addresses %v", i.ID, i.AllAddrs())
		}
		most := q.GroupsPerInterface
		if i.VPC.Classic() {
			most = q.ClassicGroupsPerInstance
		}
		if n := len(i.Groups); n < 1 || n > most || n > len(slices.Compact(slices.Sorted(slices.Values(i.Groups)))) {
			wrong("%s carries %v", i.ID, i.Groups)
		}
		for _, g := range i.Groups {
			if w.Group(g) == nil || w.Group(g).VPC != i.VPC && w.Association(g, i.VPC) == nil {
				wrong("%s of %s carries %s", i.ID, i.VPC, g)
			}
		}
		if a := i.Attachment; a != nil && (w.Instance(a.Instance) == nil || w.Instance(a.Instance).State == vpc.Terminated) {
			wrong("%s is attached to %s, which is not", i.ID, a.Instance)
		}
	}
	errs = append(errs, checkInstances(w)...)
	errs = append(errs, checkConnections(w)...)
	errs = append(errs, checkSurroundings(w)...)
	errs = append(errs, checkClassic(w)...)
	for e := range w.All(vpc.KindSubnet) {
		s := e.(*vpc.Subnet)
		left := vpc.Usable(s.Block)
		for i := range w.InterfacesOfSubnet(s.ID) {
			left -= len(i.Addrs)
		}
		if left < 0 {
			wrong("%s has %d addresses left", s.ID, left)
		}
	}
	return errors.Join(errs...)
}

// checkConnections holds that two VPCs are connected once, that their blocks do not overlap, and that groups are
// associated with VPCs that exist.
func checkConnections(w *state.Snapshot) (errs []error) {
	for e := range w.All(vpc.KindPeering) {
		p := e.(*vpc.Peering)
		if !p.Active() {
			continue
		}
		a, b := w.VPC(p.Requester.VPC), w.VPC(p.Accepter.VPC)
		if a == nil || b == nil {
			errs = append(errs, fmt.Errorf("%s connects %s and %s, which are not both there", p.ID, p.Requester.VPC, p.Accepter.VPC))
			continue
		}
		if other := w.ActivePeering(a.ID, b.ID); other != p {
			errs = append(errs, fmt.Errorf("%s and %s connect %s and %s", p.ID, other.ID, a.ID, b.ID))
		}
		for _, block := range a.Blocks {
			if slices.ContainsFunc(b.Blocks, func(o vpc.Block) bool { return o.Prefix.Overlaps(block.Prefix) }) {
				errs = append(errs, fmt.Errorf("%s connects %s and %s, which both have %s", p.ID, a.ID, b.ID, block.Prefix))
			}
		}
	}
	for e := range w.All(vpc.KindAssociation) {
		if a := e.(*vpc.Association); w.Group(a.Group) == nil || w.VPC(a.VPC) == nil {
			errs = append(errs, fmt.Errorf("%s is associated with %s, and not both are there", a.Group, a.VPC))
		}
	}
	return errs
}

func checkInstances(w *state.Snapshot) (errs []error) {
	on := map[vpc.HostID]int{}
	for e := range w.All(vpc.KindInstance) {
		i := e.(*vpc.Instance)
		var indexes []string
		for _, e := range slices.SortedFunc(w.InterfacesOfInstance(i.ID), func(a, b *vpc.Interface) int {
			return cmp.Compare(a.Attachment.DeviceIndex, b.Attachment.DeviceIndex)
		}) {
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
