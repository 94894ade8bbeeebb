// Package packet holds what a rule and a verdict say about a packet: protocol,
// ports or ICMP type and code, addresses, direction and verdict. It knows no
// byte layout and no rule; it is the vocabulary shared by the control side and
// the agent side. Its zero values are safe: the zero Verdict is Deny.
package packet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is an IP protocol number (IANA), 0 to 255, or AllProtos. Every number
// is a legal rule, zero included, so "all" has a value of its own outside them.
type Proto int16

// The protocols that rules treat specially; every other number matches by
// number alone (ec2-behaviour 7.1).
const (
	AllProtos Proto = -1
	ICMP      Proto = 1
	TCP       Proto = 6
	UDP       Proto = 17
	ICMPv6    Proto = 58
)

// protoMax is the largest protocol number: the field has eight bits (RFC 791, RFC 8200).
const protoMax = 255

// ParseProto reads a protocol as EC2 spells it: a name that EC2 knows in any
// case, a number 0 to 255, "-1" or "all".
func ParseProto(s string) (Proto, error) {
	switch strings.ToLower(s) {
	case "-1", "all":
		return AllProtos, nil
	case "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	case "icmp":
		return ICMP, nil
	case "icmpv6":
		return ICMPv6, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > protoMax || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("unknown protocol %q", s)
	}
	return Proto(n), nil
}

// String is EC2's canonical spelling: a name for the four it names, "-1" for
// all, the number otherwise.
func (p Proto) String() string {
	switch p { //nolint:exhaustive // all others, and all of them together, are told by number
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMP:
		return "icmp"
	case ICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(p))
}

// HasPorts says whether a rule for p names ports.
func (p Proto) HasPorts() bool { return p == TCP || p == UDP }

// HasTypes says whether a rule for p names an ICMP type and code.
func (p Proto) HasTypes() bool { return p == ICMP || p == ICMPv6 }

// Any stands for every ICMP type or every code.
const Any int16 = -1

// PortRange is an inclusive range of destination ports. The zero value is port 0 alone.
type PortRange struct{ From, To uint16 }

// AllPorts is every port.
var AllPorts = PortRange{0, 65535}

// Contains says whether port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.From <= port && port <= r.To }

// Service is what a rule admits besides addresses: a protocol with its ports
// (TCP, UDP) or its type and code (ICMP, ICMPv6; Any for all). For other
// protocols, and for AllProtos, ports, type and code are ignored.
type Service struct {
	Proto Proto
	Ports PortRange
	Type  int16
	Code  int16
}

// Matches says whether t's protocol, destination port, type and code are
// admitted. A rule for ICMP matches IPv4 packets only and one for ICMPv6 IPv6
// packets only, since the protocol numbers differ.
func (s Service) Matches(t Tuple) bool {
	switch {
	case s.Proto == AllProtos:
		return true
	case s.Proto != t.Proto:
		return false
	case s.Proto.HasPorts():
		return s.Ports.Contains(t.DstPort)
	case s.Proto.HasTypes():
		return (s.Type == Any || s.Type == int16(t.Type)) && (s.Code == Any || s.Code == int16(t.Code))
	}
	return true
}

// Tuple identifies the flow a packet belongs to. Ports are zero unless the
// protocol has ports; Type, Code and ID are zero unless it is ICMP or ICMPv6.
type Tuple struct {
	Proto            Proto // never AllProtos
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Type, Code       uint8
	ID               uint16 // ICMP echo identifier
}

func (t Tuple) String() string {
	switch {
	case t.Proto.HasPorts():
		return fmt.Sprintf("%s %s > %s", t.Proto, netip.AddrPortFrom(t.Src, t.SrcPort), netip.AddrPortFrom(t.Dst, t.DstPort))
	case t.Proto.HasTypes():
		return fmt.Sprintf("%s %s > %s type %d code %d id %d", t.Proto, t.Src, t.Dst, t.Type, t.Code, t.ID)
	}
	return fmt.Sprintf("proto %s %s > %s", t.Proto, t.Src, t.Dst)
}

// Reverse is the tuple of an answer to t: addresses and ports exchanged.
// Type and code are kept; who matches ICMP answers maps types itself.
func (t Tuple) Reverse() Tuple {
	t.Src, t.Dst = t.Dst, t.Src
	t.SrcPort, t.DstPort = t.DstPort, t.SrcPort
	return t
}

// Direction is seen from the network interface that judges: Ingress towards
// its instance, Egress away from it.
type Direction uint8

// The directions of a rule.
const (
	Ingress Direction = iota
	Egress
)

func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Other is the opposite direction.
func (d Direction) Other() Direction { return d ^ 1 }

// Verdict is what happens to a packet. The zero value drops it.
type Verdict uint8

// The verdicts.
const (
	Deny Verdict = iota
	Allow
)

func (v Verdict) String() string {
	if v == Allow {
		return "allow"
	}
	return "deny"
}

// EchoReply maps an ICMP echo request type to its reply type, and reports
// whether t is an echo request (RFC 792, RFC 4443).
func EchoReply(p Proto, t uint8) (uint8, bool) {
	switch {
	case p == ICMP && t == 8:
		return 0, true
	case p == ICMPv6 && t == 128:
		return 129, true
	}
	return 0, false
}
