package acl

import (
	"net/netip"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// What no kernel enforces must not be in force. An ACL that blocks may be kept while no interface is under it; these
// functions are asked by every call that would bring the two together.

// directions are those that an ACL has entries for, in the order in which it is described.
func directions() [2]packet.Direction { return [...]packet.Direction{packet.Egress, packet.Ingress} }

// blocked says what of a subnet's traffic an ACL would block; empty: nothing.
func blocked(a *vpc.NetworkACL, s *vpc.Subnet) string {
	var families []netip.Prefix
	if s.Block.IsValid() {
		families = append(families, vpc.AllIPv4)
	}
	if len(s.IPv6Blocks) > 0 {
		families = append(families, vpc.AllIPv6)
	}
	for _, d := range directions() {
		for _, all := range families {
			if !a.Admits(d, all) {
				return d.String() + " traffic, " + all.String()
			}
		}
	}
	return ""
}

// CheckSubnet refuses a subnet for an interface if its ACL would block something.
func CheckSubnet(w *state.Snapshot, s *vpc.Subnet) error {
	a := w.NetworkACL(s.ACL)
	if a == nil {
		return nil // made by an older version, which had no ACLs
	}
	return checkPair(a, s, "an interface in "+string(s.ID))
}

// CheckUse is CheckSubnet for a subnet that changed, which does not matter while it has no interface.
func CheckUse(w *state.Snapshot, s *vpc.Subnet) error {
	for i := range w.InterfacesOfSubnet(s.ID) {
		if a := w.NetworkACL(s.ACL); a != nil {
			return checkPair(a, s, string(i.ID)+" in "+string(s.ID))
		}
	}
	return nil
}

// checkACL is CheckUse for all subnets of an ACL that changed.
func checkACL(w *state.Snapshot, a *vpc.NetworkACL) error {
	for s := range w.SubnetsUnder(a.ID) {
		if err := CheckUse(w, s); err != nil {
			return err
		}
	}
	return nil
}

func checkPair(a *vpc.NetworkACL, s *vpc.Subnet, what string) error {
	part := blocked(a, s)
	if part == "" {
		return nil
	}
	return apierr.New(apierr.CodeUnsupportedOperation,
		"The requested operation is not supported. Network ACLs are not enforced yet, and %s would block %s, of %s. Let it allow all protocols in both directions, or associate %s with an ACL that does.",
		a.ID, part, what, s.ID)
}
