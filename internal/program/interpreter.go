package program

import (
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/packet"
)

// TCPFlags are the flags that matter to a flow's life.
type TCPFlags uint8

// The flags, as in the header's fourteenth byte.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	_
	ACK
)

// Packet is what the interpreter knows of a packet.
type Packet struct {
	packet.Tuple
	Flags  TCPFlags      // of TCP
	Quoted *packet.Tuple // of an ICMP error: the packet it is about; nil: none that could be read
}

// Idle timeouts that AWS does not document (those it does: Timeouts). A flow's
// state decides which one holds.
const (
	TCPOpeningTimeout = 60 * time.Second  // until both sides have acknowledged: two SYN retries fit
	TCPClosingTimeout = 120 * time.Second // one side has sent FIN
	TCPClosedTimeout  = 20 * time.Second  // both have
	TCPResetTimeout   = 10 * time.Second
	ICMPTimeout       = 30 * time.Second
)

// UDPStreamTurns is how often the sender must have changed for UDP to be a
// stream: request, response, request, response.
const UDPStreamTurns = 3

// WithDefaults replaces zero fields by AWS's defaults.
func (t Timeouts) WithDefaults() Timeouts {
	if t.TCPEstablished == 0 {
		t.TCPEstablished = TCPEstablishedDefault
	}
	if t.UDPStream == 0 {
		t.UDPStream = UDPStreamDefault
	}
	if t.UDP == 0 {
		t.UDP = UDPDefault
	}
	return t
}

type flowKey struct {
	id            InterfaceID
	proto         packet.Proto
	local, remote netip.Addr
	lport, rport  uint16           // ICMP: lport is the echo id, rport type<<8 | code
	by            packet.Direction // ICMP: who asks; answers have the asker's key
}

type flow struct {
	last     time.Duration
	ack      [2]bool // TCP, by direction
	fin, rst [2]bool
	turns    int // UDP: how often the direction changed
	lastDir  packet.Direction
}

// idleMax is how long the flow may be silent.
func (f *flow) idleMax(p packet.Proto, t Timeouts) time.Duration {
	switch {
	case p.HasTypes():
		return ICMPTimeout
	case p == packet.UDP && f.turns >= UDPStreamTurns:
		return t.UDPStream
	case p == packet.UDP:
		return t.UDP
	case p != packet.TCP:
		return OtherTimeout
	case f.rst[0] || f.rst[1]:
		return TCPResetTimeout
	case f.fin[0] && f.fin[1]:
		return TCPClosedTimeout
	case f.fin[0] || f.fin[1]:
		return min(TCPClosingTimeout, t.TCPEstablished)
	case f.ack[0] && f.ack[1]:
		return t.TCPEstablished
	}
	return TCPOpeningTimeout
}

// see follows the flow's state by one packet.
func (f *flow) see(dir packet.Direction, flags TCPFlags, now time.Duration) {
	f.last = now
	f.ack[dir] = f.ack[dir] || flags&ACK != 0
	f.fin[dir] = f.fin[dir] || flags&FIN != 0
	f.rst[dir] = flags&RST != 0 // whoever goes on after a reset did not send it
	if dir != f.lastDir {
		f.turns++
		f.lastDir = dir
	}
}

// restarts says whether a SYN begins another connection on the flow's ports:
// its sender had finished the handshake, or the connection is ending.
func (f *flow) restarts(dir packet.Direction, flags TCPFlags) bool {
	ending := f.fin[0] || f.fin[1] || f.rst[0] || f.rst[1]
	return begins(flags) && (f.ack[dir] || ending)
}

func begins(flags TCPFlags) bool { return flags&(SYN|ACK) == SYN }

// Interpreter judges packets on Tables, with flow state, as the kernel does. It
// is the second of the three voices: explain, interpreter, kernel. It knows no
// bytes: fragments, MAC addresses and malformed frames are the kernel's alone.
type Interpreter struct {
	// FlowsMax is each interface's flow budget; zero: no limit.
	FlowsMax int

	host   *Host
	tables map[PolicyHash]*Tables
	flows  map[flowKey]*flow
	count  map[InterfaceID]int // expired flows count until they are swept
}

// NewInterpreter starts with an empty host.
func NewInterpreter() *Interpreter {
	return &Interpreter{
		host: NewHost(), tables: map[PolicyHash]*Tables{},
		flows: map[flowKey]*flow{}, count: map[InterfaceID]int{},
	}
}

// SetHost makes h the programs to judge by; flows live on, except those of
// interfaces that are gone. h must not change until the next SetHost.
func (in *Interpreter) SetHost(h *Host) {
	tables := map[PolicyHash]*Tables{}
	for hash, p := range h.Policies {
		if tables[hash] = in.tables[hash]; tables[hash] == nil {
			tables[hash] = Build(p)
		}
	}
	in.host, in.tables = h, tables
	in.drop(func(k flowKey, _ *flow) bool { return h.Interfaces[k.id] == nil })
}

// Sweep forgets flows that have expired.
func (in *Interpreter) Sweep(now time.Duration) {
	in.drop(func(k flowKey, f *flow) bool { return in.expired(k, f, now) })
}

// Flows is how many flows an interface has, expired ones included until swept.
func (in *Interpreter) Flows(id InterfaceID) int { return in.count[id] }

func (in *Interpreter) drop(when func(flowKey, *flow) bool) {
	for k, f := range in.flows {
		if when(k, f) {
			in.forget(k)
		}
	}
}

func (in *Interpreter) forget(k flowKey) {
	delete(in.flows, k)
	in.count[k.id]--
}

func (in *Interpreter) expired(k flowKey, f *flow, now time.Duration) bool {
	return now-f.last >= f.idleMax(k.proto, in.host.Interfaces[k.id].Timeouts.WithDefaults())
}

// Judge says what happens to p at an interface at a time. The rule is the one
// that admits it now; empty for every other reason.
func (in *Interpreter) Judge(id InterfaceID, dir packet.Direction, p Packet, now time.Duration) (packet.Verdict, RuleID, Reason) {
	rule, reason := in.judge(id, dir, p, now)
	if reason.Allows() {
		return packet.Allow, rule, reason
	}
	return packet.Deny, "", reason
}

func (in *Interpreter) judge(id InterfaceID, dir packet.Direction, p Packet, now time.Duration) (RuleID, Reason) {
	i := in.host.Interfaces[id]
	if i == nil {
		return "", ReasonUnbound
	}
	if malformed(p.Tuple) {
		return "", ReasonMalformed
	}
	local, remote := sides(dir, p.Tuple)
	helper := isDiscovery(dir, p.Tuple) || isDHCP(dir, p.Tuple)
	if i.CheckSource && !ownsLocal(i, dir, local, helper) {
		return "", ReasonSpoofed
	}
	if helper || slices.Contains(i.Unfiltered, remote) {
		return "", ReasonUnfiltered
	}
	key, known := in.find(id, dir, p.Tuple, now)
	if known != nil && (p.Proto != packet.TCP || !known.restarts(dir, p.Flags)) {
		known.see(dir, p.Flags, now)
		return "", ReasonKnownFlow
	}
	if !i.StrictICMP && in.errorPasses(i, dir, p, now) {
		return "", ReasonICMPError
	}
	t := in.tables[policyOf(i, dir)]
	if t == nil {
		return "", ReasonNoProgram
	}
	allow := t.Allow(remote, in.host.Members[Member{i.Network, remote}], p.Proto, value(p.Tuple))
	bit, ok := allow.First()
	if !ok {
		return "", ReasonNoRule
	}
	if reason := in.untracked(i, dir, p.Tuple, &allow, begins(p.Flags)); reason != ReasonNone {
		if in.flows[key] != nil {
			in.forget(key)
		}
		return t.Rules[bit], reason
	}
	if stateless(t, p) {
		return t.Rules[bit], ReasonStateless
	}
	if in.flows[key] == nil {
		if in.FlowsMax > 0 && in.count[id] >= in.FlowsMax {
			return "", ReasonBudget
		}
		in.count[id]++
	}
	in.flows[key] = &flow{lastDir: dir}
	in.flows[key].see(dir, p.Flags, now)
	return t.Rules[bit], ReasonRule
}

// stateless: a TCP packet in the middle of a connection nobody knows makes no
// flow if its direction is open to all. It may be the answer of an untracked
// flow whose rule has just gone, and a flow would keep that connection alive.
// Nor does a reset: nothing follows it.
func stateless(t *Tables, p Packet) bool {
	return p.Proto == packet.TCP &&
		(p.Flags&RST != 0 || !begins(p.Flags) && t.Open&OpenBit(FamilyOf(p.Src), p.Proto) != 0)
}

// untracked classes a packet that its own direction's rules admit by allow.
func (in *Interpreter) untracked(i *Interface, dir packet.Direction, t packet.Tuple, allow *Vector, begins bool) Reason {
	own, other := in.tables[policyOf(i, dir)], in.tables[policyOf(i, dir.Other())]
	f := FamilyOf(t.Src)
	open := OpenBit(f, t.Proto)
	if open == 0 || own == nil || other == nil {
		return ReasonNone
	}
	if all := allow.And(&own.Any[f]); !all.Empty() && other.Open&open != 0 {
		return ReasonUntracked
	}
	if own.Open&open == 0 || begins {
		return ReasonNone
	}
	back := other.Service(t.Proto, t.SrcPort)
	if back = back.And(&other.Any[f]); !back.Empty() {
		return ReasonUntrackedReply
	}
	return ReasonNone
}

// errorPasses: an ICMP error passes if what it quotes is a packet of a tracked
// flow, or one that would pass untracked, sent the other way.
func (in *Interpreter) errorPasses(i *Interface, dir packet.Direction, p Packet, now time.Duration) bool {
	if !IsICMPError(p.Proto, p.Type) || p.Quoted == nil || p.Quoted.Src != p.Dst {
		return false
	}
	q, back := *p.Quoted, dir.Other()
	if malformed(q) {
		return false
	}
	if _, f := in.find(i.ID, back, q, now); f != nil {
		return true
	}
	t := in.tables[policyOf(i, back)]
	if t == nil {
		return false
	}
	allow := t.Allow(q.Dst, in.host.Members[Member{i.Network, q.Dst}], q.Proto, value(q))
	return !allow.Empty() && in.untracked(i, back, q, &allow, false) != ReasonNone
}

// find looks up the live flow of a packet. Without one, the key is the one
// under which the packet would begin a flow.
func (in *Interpreter) find(id InterfaceID, dir packet.Direction, t packet.Tuple, now time.Duration) (flowKey, *flow) {
	k := flowKey{id: id, proto: t.Proto}
	k.local, k.remote = sides(dir, t)
	k.lport, k.rport = t.SrcPort, t.DstPort
	if dir == packet.Ingress {
		k.lport, k.rport = t.DstPort, t.SrcPort
	}
	if t.Proto.HasTypes() {
		k.lport, k.rport, k.by = t.ID, value(t), dir
		for _, request := range []uint8{8, 128} {
			if reply, ok := packet.EchoReply(t.Proto, request); ok && reply == t.Type {
				asked := k
				asked.rport, asked.by = uint16(request)<<8|uint16(t.Code), dir.Other()
				if f := in.flows[asked]; f != nil && !in.expired(asked, f, now) {
					return asked, f
				}
			}
		}
	}
	if f := in.flows[k]; f != nil && !in.expired(k, f, now) {
		return k, f
	}
	return k, nil
}

func policyOf(i *Interface, dir packet.Direction) PolicyHash {
	if dir == packet.Egress {
		return i.Egress
	}
	return i.Ingress
}

func sides(dir packet.Direction, t packet.Tuple) (local, remote netip.Addr) {
	if dir == packet.Egress {
		return t.Src, t.Dst
	}
	return t.Dst, t.Src
}

// value is what the services table holds for a packet besides the protocol.
func value(t packet.Tuple) uint16 {
	if t.Proto.HasTypes() {
		return uint16(t.Type)<<8 | uint16(t.Code)
	}
	return t.DstPort
}

func malformed(t packet.Tuple) bool {
	return !t.Src.IsValid() || !t.Dst.IsValid() || t.Src.Is4() != t.Dst.Is4() || t.Src.Is4In6() || t.Dst.Is4In6() ||
		t.Proto == packet.ICMP && !t.Src.Is4() || t.Proto == packet.ICMPv6 && t.Src.Is4()
}

// IsICMPError says whether a type is one of the errors that follow a flow:
// destination unreachable, packet too big, time exceeded, parameter problem.
func IsICMPError(p packet.Proto, t uint8) bool {
	return p == packet.ICMP && (t == 3 || t == 11 || t == 12) || p == packet.ICMPv6 && t >= 1 && t <= 4
}

// isDiscovery: neighbour solicitation and advertisement both ways, router
// solicitation out, router advertisement in. An instance is nobody's router.
func isDiscovery(dir packet.Direction, t packet.Tuple) bool {
	return t.Proto == packet.ICMPv6 && t.Code == 0 && (t.Type == 135 || t.Type == 136 ||
		t.Type == 133 && dir == packet.Egress || t.Type == 134 && dir == packet.Ingress)
}

// isDHCP: an instance is a client, never a server.
func isDHCP(dir packet.Direction, t packet.Tuple) bool {
	if t.Proto != packet.UDP {
		return false
	}
	if dir == packet.Ingress {
		t = t.Reverse()
	}
	return t.Src.Is4() && t.SrcPort == 68 && t.DstPort == 67 || t.Src.Is6() && t.SrcPort == 546 && t.DstPort == 547
}

// ownsLocal is the source/destination check. Discovery and DHCP may use
// link-local and, sending, unspecified addresses; what arrives may be for a group.
func ownsLocal(i *Interface, dir packet.Direction, local netip.Addr, helper bool) bool {
	switch {
	case slices.Contains(i.Addrs, local):
		return true
	case dir == packet.Ingress && (local.IsMulticast() || local == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		return true
	}
	return helper && (local.Is6() && local.IsLinkLocalUnicast() || dir == packet.Egress && local.IsUnspecified())
}
