// Package compile turns a snapshot into what one host enforces, and a change of
// the snapshot into the difference. It is pure, and its output depends on the
// snapshot alone, never on the way there: Update after any changes leads to
// exactly what Host gives for the last snapshot.
//
// A host gets only what its own interfaces need: their policies, and the
// membership of those addresses whose groups these policies refer to.
//
// Invariants: what is missing in the snapshot (a group, a VPC) leaves the
// interface without a policy, which denies; a policy that would be too large is
// refused, never cut.
package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Host compiles everything that a host enforces in a world.
func Host(s *state.Snapshot, host string) *program.Host {
	h := program.NewHost()
	h.Apply(New(host).Update(s, nil))
	return h
}

// enforces says whether host carries the interface: it is attached to an
// instance that the host should be running.
func enforces(s *state.Snapshot, host vpc.HostID, i *vpc.Interface) bool {
	if i == nil || i.Attachment == nil {
		return false
	}
	inst := s.Instance(i.Attachment.Instance)
	return inst != nil && inst.Host == host && inst.State.Up()
}

// compileInterface makes the interface's program and its two policies.
func compileInterface(s *state.Snapshot, i *vpc.Interface) (*program.Interface, [2]*program.Policy) {
	out := &program.Interface{
		ID:          program.InterfaceID(i.ID),
		Network:     program.NetworkID(i.VPC),
		Kind:        program.KindLab,
		Addrs:       sortedAddrs(i.AllAddrs()),
		MAC:         i.MAC,
		CheckSource: i.SourceCheck,
		Unfiltered:  unfiltered(s, i),
	}
	for _, g := range i.Groups {
		out.Groups = append(out.Groups, program.GroupID(g))
	}
	slices.Sort(out.Groups)
	if t := i.Tracking; t != nil {
		out.Timeouts = program.Timeouts{
			TCPEstablished: time.Duration(t.TCPEstablished) * time.Second,
			UDPStream:      time.Duration(t.UDPStream) * time.Second,
			UDP:            time.Duration(t.UDP) * time.Second,
		}
	}
	policies := compilePolicies(s, i)
	for d, p := range policies {
		if len(p.Rules) > program.RulesMax {
			out.Refused = fmt.Sprintf("%d %s rules are more than the %d that one direction of an interface holds",
				len(p.Rules), packet.Direction(d), program.RulesMax)
			return out, [2]*program.Policy{}
		}
	}
	out.Ingress, out.Egress = policies[packet.Ingress].Hash(), policies[packet.Egress].Hash()
	return out, policies
}

// compilePolicies unites the rules of the interface's groups, each direction in canonical order.
func compilePolicies(s *state.Snapshot, i *vpc.Interface) [2]*program.Policy {
	out := [2]*program.Policy{{}, {}}
	if i.VPC.Classic() {
		out[packet.Egress].Rules = []program.Rule{classicOutbound()}
	}
	for _, g := range i.Groups {
		for r := range s.RulesOf(g) {
			p := out[r.Direction]
			p.Rules = append(p.Rules, compileRule(s, r))
		}
	}
	for _, p := range out {
		slices.SortFunc(p.Rules, func(a, b program.Rule) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out
}

// compileRule resolves a rule's source. A prefix list stands for what it holds now; one that is empty, or gone, for
// nobody.
func compileRule(s *state.Snapshot, r *vpc.Rule) program.Rule {
	out := program.Rule{ID: program.RuleID(r.ID), Service: r.Service, Group: program.GroupID(r.Source.Group)}
	if r.Source.CIDR.IsValid() {
		out.Prefixes = []netip.Prefix{r.Source.CIDR}
	}
	if l := s.PrefixList(r.Source.PrefixList); l != nil {
		for _, e := range l.Entries {
			out.Prefixes = append(out.Prefixes, e.Prefix)
		}
		slices.SortFunc(out.Prefixes, netip.Prefix.Compare)
	}
	return out
}

// linkLocalServices are the addresses of the VPC's own services that groups
// never filter (ec2-behaviour 7.6), and the router's link-local address.
func linkLocalServices() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("169.254.169.253"), // DNS
		netip.MustParseAddr("169.254.169.254"), // instance metadata
		netip.MustParseAddr("169.254.169.123"), // time
		netip.MustParseAddr("169.254.170.2"),   // container metadata
		netip.MustParseAddr("169.254.169.250"), // licence activation
		netip.MustParseAddr("169.254.169.251"), // licence activation
		netip.MustParseAddr("fd00:ec2::253"),
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("fd00:ec2::123"),
		netip.MustParseAddr("fe80::1"), // the VPC's router, on every link
	}
}

// unfiltered lists the addresses whose traffic the interface never judges: its
// subnet's router, the VPC's DNS server (base + 2) and the link-local services.
func unfiltered(s *state.Snapshot, i *vpc.Interface) []netip.Addr {
	out := linkLocalServices()
	if router := routerOf(s, i); router.IsValid() {
		out = append(out, router)
	}
	if blocks := blocksOf(s, i.VPC); len(blocks) > 0 {
		out = append(out, vpc.Router(blocks[0]).Next())
	}
	return sortedAddrs(out)
}

// routerOf is the IPv4 address of the router that an interface sees; invalid if it sees none.
func routerOf(s *state.Snapshot, i *vpc.Interface) netip.Addr {
	if i.VPC.Classic() {
		return vpc.Router(vpc.ClassicBlock)
	}
	if sub := s.Subnet(i.Subnet); sub != nil && sub.Block.IsValid() {
		return vpc.Router(sub.Block)
	}
	return netip.Addr{}
}

// blocksOf are the blocks of a network, IPv4's first, the primary one before others; none if there is no such network.
func blocksOf(s *state.Snapshot, id vpc.VPCID) []netip.Prefix {
	if id.Classic() {
		return []netip.Prefix{vpc.ClassicBlock}
	}
	v := s.VPC(id)
	if v == nil {
		return nil
	}
	var out []netip.Prefix
	for _, b := range slices.Concat(v.Blocks, v.IPv6Blocks) {
		out = append(out, b.Prefix)
	}
	return out
}

func sortedAddrs(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// compileInstance makes what the lab needs to carry an instance; nil if there
// is nothing to carry.
func compileInstance(s *state.Snapshot, inst *vpc.Instance) *program.Instance {
	if inst.State == vpc.Terminated {
		return nil
	}
	out := &program.Instance{
		ID:       program.InstanceID(inst.ID),
		Network:  program.NetworkID(inst.VPC),
		Running:  inst.State.Up(),
		Boot:     inst.Boot,
		Hostname: inst.PrivateDNS,
		UserData: inst.UserData,
	}
	for i := range s.InterfacesOfInstance(inst.ID) {
		nic := program.NIC{
			Interface:   program.InterfaceID(i.ID),
			DeviceIndex: i.Attachment.DeviceIndex,
			MAC:         i.MAC,
			Addrs:       i.AllAddrs(),
			Gateway:     routerOf(s, i),
		}
		out.NICs = append(out.NICs, nic)
	}
	slices.SortFunc(out.NICs, func(a, b program.NIC) int { return cmp.Compare(a.DeviceIndex, b.DeviceIndex) })
	return out
}

// compileNetwork makes the network of a VPC or of EC2-Classic; nil if there is none.
func compileNetwork(s *state.Snapshot, id vpc.VPCID) *program.Network {
	blocks := blocksOf(s, id)
	if blocks == nil {
		return nil
	}
	slices.SortFunc(blocks, netip.Prefix.Compare)
	return &program.Network{ID: program.NetworkID(id), CIDRs: blocks}
}

// classicOutbound admits everything that an instance in EC2-Classic sends: its groups have no outbound rules.
func classicOutbound() program.Rule {
	return program.Rule{
		ID:       program.RuleID(vpc.ClassicOutbound),
		Service:  packet.Service{Proto: packet.AllProtos},
		Prefixes: []netip.Prefix{vpc.AllIPv4},
	}
}
