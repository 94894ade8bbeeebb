package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Query asks whether a new flow gets from one end to the other. An end is an
// instance id, an interface id, an address, or "internet".
type Query struct {
	Scope    vpc.Scope
	From, To string
	Service  packet.Service // one protocol; one port, or one ICMP type and code
	// VPC says from inside which VPC addresses are meant; empty: from inside the other end's, else from any of the
	// scope's. It may be vpc.ClassicName.
	VPC vpc.VPCID
	// IPv6 prefers the ends' IPv6 addresses.
	IPv6 bool
	// AnyAccount lets ends be of other accounts than the scope's. What their rules say is not for everybody to
	// know: it is for the host's operator.
	AnyAccount bool
}

// mayName says whether the query may name what is in a scope.
func (q Query) mayName(s vpc.Scope) bool {
	return s == q.Scope || q.AnyAccount && s.Region == q.Scope.Region
}

// Side is one interface's part in the answer. Of an interface that the query may
// not name, which its end reaches over a peering connection, it tells what packets
// would tell too: whether it admits them, not by or for want of which rule.
type Side struct {
	Interface *vpc.Interface // nil: another account's
	Owner     vpc.AccountID
	Direction packet.Direction
	Local     netip.Addr
	Remote    netip.Addr
	Judgement Judgement // of another account's interface: the verdict alone
	// Missing says, in a sentence, what would have to be there; empty if allowed.
	Missing string
}

// Answer is the way of a flow's first packet. Sides that were not asked are absent.
type Answer struct {
	Reachable bool
	Tuple     packet.Tuple
	Sides     []Side
	// NoWay says why no packet gets from one end to the other whatever the
	// groups say; empty: there is a way.
	NoWay string
}

// errNoEnd is wrapped by every error about an end that cannot be found.
var errNoEnd = errors.New("no such end")

// end is one end of a query, found.
type end struct {
	iface *vpc.Interface // nil: outside
	addr  netip.Addr
}

// foreign says whether the end is an interface that the query may not name.
func (e end) foreign(q Query) bool { return !q.mayName(e.iface.Scope) }

// internet4 and internet6 stand for "some address of the internet": addresses
// reserved for documentation, which only rules for all addresses, or for
// exactly these, contain (RFC 5737, RFC 3849).
var (
	internet4 = netip.MustParseAddr("203.0.113.113")
	internet6 = netip.MustParseAddr("2001:db8:ffff::113")
)

// Reach answers a query from a snapshot.
func Reach(s *state.Snapshot, q Query) (Answer, error) {
	from, err := find(s, q, q.From)
	if err != nil {
		return Answer{}, err
	}
	to, err := find(s, q, q.To)
	if err != nil {
		return Answer{}, err
	}
	if from.iface == nil && to.iface == nil {
		return Answer{}, fmt.Errorf("%w: neither %q nor %q is an interface here", errNoEnd, q.From, q.To)
	}
	if err := pairAddrs(&from, &to, q); err != nil {
		return Answer{}, err
	}
	a := Answer{Tuple: tuple(q, from.addr, to.addr), NoWay: noWay(s, q, from, to)}
	a.Reachable = a.NoWay == ""
	if from.iface != nil {
		a.add(s, q, from, packet.Egress, to.addr)
	}
	if to.iface != nil {
		a.add(s, q, to, packet.Ingress, from.addr)
	}
	return a, nil
}

func (a *Answer) add(s *state.Snapshot, q Query, e end, d packet.Direction, remote netip.Addr) {
	j := Judge(s, e.iface, d, Packet{Tuple: a.Tuple})
	admits := j.Verdict == packet.Allow
	a.Reachable = a.Reachable && admits
	side := Side{Owner: e.iface.Scope.Account, Direction: d, Local: e.addr, Remote: remote}
	if e.foreign(q) {
		side.Judgement.Verdict = j.Verdict
		if !admits {
			side.Missing = fmt.Sprintf("no %s rule that account %s has on %s admits it", d, side.Owner, e.addr)
		}
	} else {
		side.Interface, side.Judgement = e.iface, j
		if !admits {
			side.Missing = missing(s, e.iface, d, a.Tuple, remote)
		}
	}
	a.Sides = append(a.Sides, side)
}

func tuple(q Query, from, to netip.Addr) packet.Tuple {
	t := packet.Tuple{Proto: q.Service.Proto, Src: from, Dst: to}
	switch {
	case t.Proto.HasPorts():
		t.SrcPort, t.DstPort = ephemeral, q.Service.Ports.From
	case t.Proto.HasTypes():
		t.Type, t.Code = uint8(max(q.Service.Type, 0)), uint8(max(q.Service.Code, 0))
	}
	return t
}

// ephemeral is the source port of the packets that are asked about: the first
// of the dynamic ports (RFC 6335). Rules never look at it.
const ephemeral = 49152

// find resolves an end by its form.
func find(s *state.Snapshot, q Query, name string) (end, error) {
	switch {
	case name == "internet":
		return end{}, nil
	case strings.HasPrefix(name, "eni-"):
		if i := s.Interface(vpc.InterfaceID(name)); i != nil && q.mayName(i.Scope) {
			return end{iface: i}, nil
		}
		return end{}, fmt.Errorf("%w: interface %s", errNoEnd, name)
	case strings.HasPrefix(name, "i-"):
		return findInstance(s, q, vpc.InstanceID(name))
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return end{}, fmt.Errorf("%w: %q is no instance, interface, address or \"internet\"", errNoEnd, name)
	}
	return findAddr(s, q, addr.Unmap())
}

func findInstance(s *state.Snapshot, q Query, id vpc.InstanceID) (end, error) {
	inst := s.Instance(id)
	if inst == nil || !q.mayName(inst.Scope) {
		return end{}, fmt.Errorf("%w: instance %s", errNoEnd, id)
	}
	for i := range s.InterfacesOfInstance(id) {
		if i.Attachment.DeviceIndex == 0 {
			return end{iface: i}, nil
		}
	}
	return end{}, fmt.Errorf("%w: instance %s is %s and has no primary interface", errNoEnd, id, inst.State)
}

// findAddr is the interface that has an address: as it is meant inside a network, if one is known; else where the
// scope's networks have it. An address that nobody has is an end by itself.
func findAddr(s *state.Snapshot, q Query, a netip.Addr) (end, error) {
	home := q.VPC
	switch v := s.VPC(home); {
	case home == "":
		home = vpcOfOther(s, q, a)
	case home == vpc.ClassicName:
		home = vpc.ClassicNetwork(q.Scope.Region)
	case v == nil || !q.mayName(v.Scope):
		return end{}, fmt.Errorf("%w: VPC %s", errNoEnd, home)
	}
	// In EC2-Classic all accounts are in one network: that does not make them peers of each other's.
	if i := meant(s, home, a); i != nil && (q.mayName(i.Scope) || !home.Classic()) {
		return end{iface: i, addr: a}, nil
	}
	have := having(s, q, a)
	switch {
	case q.VPC != "" || len(have) == 0:
	case len(have) == 1:
		return end{iface: have[0], addr: a}, nil
	case home == "":
		return end{}, fmt.Errorf("%w: %s is an address in %s and in %s: name the VPC", errNoEnd, a, have[0].VPC, have[1].VPC)
	}
	return end{addr: a}, nil
}

// having is the interfaces that have an address in the scope's networks, one in each.
func having(s *state.Snapshot, q Query, a netip.Addr) []*vpc.Interface {
	var networks []vpc.VPCID
	if account := s.Account(q.Scope.Account); account != nil && account.Classic {
		networks = append(networks, vpc.ClassicNetwork(q.Scope.Region))
	}
	for v := range s.VPCsIn(q.Scope) {
		networks = append(networks, v.ID)
	}
	var out []*vpc.Interface
	for _, id := range networks {
		if i := s.InterfaceAt(id, a); i != nil && q.mayName(i.Scope) {
			out = append(out, i)
		}
	}
	return out
}

// vpcOfOther is the VPC of the end that a is not: named by an id, or by an address that one VPC alone has.
func vpcOfOther(s *state.Snapshot, q Query, a netip.Addr) vpc.VPCID {
	for _, name := range []string{q.From, q.To} {
		if name == a.String() {
			continue
		}
		if addr, err := netip.ParseAddr(name); err == nil {
			if have := having(s, q, addr.Unmap()); len(have) == 1 {
				return have[0].VPC
			}
		} else if e, err := find(s, q, name); err == nil && e.iface != nil {
			return e.iface.VPC
		}
	}
	return ""
}

// pairAddrs chooses addresses of one family for both ends.
func pairAddrs(from, to *end, q Query) error {
	v6 := q.IPv6 || q.Service.Proto == packet.ICMPv6 || from.addr.Is6() || to.addr.Is6()
	for _, e := range []*end{from, to} {
		switch {
		case e.addr.IsValid():
		case e.iface == nil && v6:
			e.addr = internet6
		case e.iface == nil:
			e.addr = internet4
		case v6 && len(e.iface.IPv6Addrs) > 0:
			e.addr = e.iface.IPv6Addrs[0]
		case !v6 && e.iface.Primary().IsValid():
			e.addr = e.iface.Primary()
		default:
			return fmt.Errorf("%w: %s has no address of that family", errNoEnd, e.iface.ID)
		}
	}
	if from.addr.Is4() != to.addr.Is4() {
		return fmt.Errorf("%w: %s and %s are of different families", errNoEnd, from.addr, to.addr)
	}
	return nil
}

// noWay says why there is no path at all: an end that does not run, or networks
// or hosts between which there is none.
func noWay(s *state.Snapshot, q Query, from, to end) string {
	for _, e := range []end{from, to} {
		if e.iface == nil {
			continue
		}
		if why := idle(s, e); why != "" && e.foreign(q) {
			return fmt.Sprintf("nothing of account %s that runs has %s", e.iface.Scope.Account, e.addr)
		} else if why != "" {
			return why
		}
	}
	switch {
	case from.iface == nil:
		return fmt.Sprintf("%s has no way in from %s", to.iface.VPC, from.addr)
	case to.iface == nil:
		return fmt.Sprintf("%s has no way out to %s", from.iface.VPC, to.addr)
	}
	if why := noRoute(s, from.iface.VPC, to.iface.VPC); why != "" {
		return why
	}
	if s.Instance(from.iface.Attachment.Instance).Host != s.Instance(to.iface.Attachment.Instance).Host {
		return "no route: the instances are on different hosts, between which there is no network yet"
	}
	return ""
}

// idle says why an interface sends and receives nothing; empty: it does.
func idle(s *state.Snapshot, e end) string {
	if e.iface.Attachment == nil {
		return fmt.Sprintf("%s is attached to no instance", e.iface.ID)
	}
	if inst := s.Instance(e.iface.Attachment.Instance); inst == nil || !inst.State.Up() {
		return fmt.Sprintf("%s, which has %s, is not running", e.iface.Attachment.Instance, e.iface.ID)
	}
	return ""
}

// missing words the nearest miss: a rule for the service that does not cover
// the other end, else a rule that covers it for another service, else neither.
func missing(s *state.Snapshot, i *vpc.Interface, d packet.Direction, t packet.Tuple, remote netip.Addr) string {
	word := "from"
	if d == packet.Egress {
		word = "to"
	}
	groups := make([]string, len(i.Groups))
	for n, g := range i.Groups {
		groups[n] = string(g)
	}
	slices.Sort(groups)
	what := serviceOf(t)
	miss := fmt.Sprintf("no %s rule of %s admits %s %s %s", d, strings.Join(groups, ", "), what, word, remote)
	var near *vpc.Rule
	for _, r := range rules(s, i, d) {
		if r.Service.Matches(t) {
			return fmt.Sprintf("%s; nearest: %s of %s admits %s", miss, r.ID, r.Group, told(s, r))
		}
		if near == nil && covers(s, i.VPC, r.Source, remote) {
			near = r
		}
	}
	if near != nil {
		return fmt.Sprintf("%s; nearest: %s of %s admits %s", miss, near.ID, near.Group, told(s, near))
	}
	return miss
}

// told is what a rule admits, for people; a prefix list with its name and what it holds.
func told(s *state.Snapshot, r *vpc.Rule) string {
	const most = 3 // entries that a sentence still bears
	text := r.Identity().Describe()
	list := s.PrefixList(r.Source.PrefixList)
	if list == nil {
		return text
	}
	if len(list.Entries) == 0 {
		return fmt.Sprintf("%s (%q, which is empty)", text, list.Name)
	}
	var holds []string
	for _, e := range list.Entries[:min(len(list.Entries), most)] {
		holds = append(holds, e.Prefix.String())
	}
	more := ""
	if n := len(list.Entries) - len(holds); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s (%q, which has %s%s)", text, list.Name, strings.Join(holds, ", "), more)
}

func serviceOf(t packet.Tuple) string {
	return vpc.ServiceText(packet.Service{
		Proto: t.Proto, Ports: packet.PortRange{From: t.DstPort, To: t.DstPort}, Type: int16(t.Type), Code: int16(t.Code),
	})
}
