package vpc

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/packet"
)

// Source is what a rule says of the other end: exactly one of a CIDR block, a
// prefix list or a group. The zero Source matches nobody.
type Source struct {
	CIDR       netip.Prefix // canonical; invalid: the source is no CIDR block
	PrefixList PrefixListID // empty: the source is no prefix list
	Group      GroupID      // empty: the source is no group
	// GroupAccount owns Group.
	GroupAccount AccountID
	// GroupName is the name of a Group in EC2-Classic, where EC2 tells it; empty in VPCs. It holds: no group gets
	// another name, and one of EC2-Classic that is referenced cannot go.
	GroupName string
	// GroupVPC is Group's VPC where that is not the rule's own; empty: it is. A
	// rule keeps it when the group is gone.
	GroupVPC VPCID
	// Peering is the last connection over which the rule's VPC reached Group; empty:
	// there was none. Whether it still does is asked of the world.
	Peering PeeringID
}

// Rule is one security group rule: one direction, one service, one source.
type Rule struct {
	ID          RuleID
	Scope       Scope
	Group       GroupID
	Direction   packet.Direction
	Service     packet.Service
	Source      Source
	Description string
	Tags        Tags
	// Seq orders the rules of a group as they were added.
	Seq     uint64
	Created time.Time
}

// Identity is what makes two rules of a group the same rule to EC2: direction,
// canonical protocol, ports and source; neither description nor tags
// (ec2-behaviour 2.2).
type Identity struct {
	Direction  packet.Direction
	Service    packet.Service
	CIDR       netip.Prefix
	PrefixList PrefixListID
	Group      GroupID
}

// Identity is r's.
func (r *Rule) Identity() Identity {
	return Identity{r.Direction, r.Service, r.Source.CIDR, r.Source.PrefixList, r.Source.Group}
}

// NewService reads a protocol with its ports or ICMP type and code as EC2's
// parameters give them; nil stands for a parameter that was not sent.
func NewService(protocol *string, from, to *int32) (packet.Service, error) {
	if protocol == nil || *protocol == "" {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.")
	}
	proto, err := packet.ParseProto(*protocol)
	if err != nil {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value '%s' for IP protocol. Unknown protocol.", *protocol)
	}
	switch {
	case proto.HasPorts():
		return newPorts(proto, from, to)
	case proto.HasTypes():
		return newTypes(proto, from, to)
	}
	return packet.Service{Proto: proto}, nil
}

func newPorts(proto packet.Proto, from, to *int32) (packet.Service, error) {
	if from == nil || to == nil {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value for portRange. Must specify both from and to ports with TCP/UDP.")
	}
	for _, p := range []int32{*from, *to} {
		if p < 0 || p > 65535 {
			return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue, "TCP/UDP port (%d) out of range", p)
		}
	}
	if *from > *to {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid TCP/UDP port range (%d:%d)", *from, *to)
	}
	return packet.Service{Proto: proto, Ports: packet.PortRange{From: uint16(*from), To: uint16(*to)}}, nil
}

func newTypes(proto packet.Proto, from, to *int32) (packet.Service, error) {
	if proto == packet.ICMPv6 && from == nil && to == nil {
		return packet.Service{Proto: proto, Type: packet.Any, Code: packet.Any}, nil
	}
	if from == nil || to == nil {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value for portRange. Must specify both from and to ports with ICMP.")
	}
	if *from < -1 || *from > 255 {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue, "ICMP type (%d) out of range", *from)
	}
	if *to < -1 || *to > 255 {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue, "ICMP code (%d) out of range", *to)
	}
	if *from == -1 && *to != -1 {
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"ICMP code (%d) may not be given when the type is all (-1)", *to)
	}
	return packet.Service{Proto: proto, Type: int16(*from), Code: int16(*to)}, nil
}

// PortsOf is the rule's FromPort and ToPort as EC2 reports them in rules: the
// ports, the ICMP type and code, or -1 and -1 for protocols that have neither.
// ok is false for the latter: IpPermission leaves the members out.
func PortsOf(s packet.Service) (from, to int32, ok bool) {
	switch {
	case s.Proto.HasPorts():
		return int32(s.Ports.From), int32(s.Ports.To), true
	case s.Proto.HasTypes():
		return int32(s.Type), int32(s.Code), true
	}
	return -1, -1, false
}

// ParseCIDR reads an IPv4 block; host bits are cleared as EC2 does.
func ParseCIDR(s string) (netip.Prefix, error) { return parseBlock(s, true) }

// ParseCIDR6 reads an IPv6 block; host bits are cleared as EC2 does.
func ParseCIDR6(s string) (netip.Prefix, error) { return parseBlock(s, false) }

func parseBlock(s string, v4 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4() != v4 || p.Addr().Is4In6() {
		return netip.Prefix{}, apierr.New(apierr.CodeInvalidParameterValue, "CIDR block %s is malformed", s)
	}
	return p.Masked(), nil
}

// Text is the rule as EC2's messages spell it: peer: 0.0.0.0/0, TCP, from
// port: 22, to port: 22, ALLOW.
func (i Identity) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "peer: %s, ", i.peer())
	s := i.Service
	switch {
	case s.Proto == packet.AllProtos:
		b.WriteString("ALL, ")
	case s.Proto.HasPorts():
		fmt.Fprintf(&b, "%s, from port: %d, to port: %d, ", strings.ToUpper(s.Proto.String()), s.Ports.From, s.Ports.To)
	case s.Proto.HasTypes():
		fmt.Fprintf(&b, "%s, type: %s, code: %s, ", strings.ToUpper(s.Proto.String()), orAll(s.Type), orAll(s.Code))
	default:
		fmt.Fprintf(&b, "%s, ", s.Proto)
	}
	b.WriteString("ALLOW")
	return b.String()
}

func (i Identity) peer() string {
	switch {
	case i.CIDR.IsValid():
		return i.CIDR.String()
	case i.PrefixList != "":
		return string(i.PrefixList)
	}
	return string(i.Group)
}

func orAll(n int16) string {
	if n == packet.Any {
		return "ALL"
	}
	return fmt.Sprint(n)
}

// Describe is a short text form for people: tcp 22 from 10.0.0.0/8.
func (i Identity) Describe() string {
	word := "from"
	if i.Direction == packet.Egress {
		word = "to"
	}
	return ServiceText(i.Service) + " " + word + " " + i.peer()
}

// ServiceText is a service for people: tcp 80-443, icmp type 8 code 0, all traffic.
func ServiceText(s packet.Service) string {
	switch {
	case s.Proto == packet.AllProtos:
		return "all traffic"
	case s.Proto.HasPorts() && s.Ports == packet.AllPorts:
		return s.Proto.String() + " all ports"
	case s.Proto.HasPorts() && s.Ports.From == s.Ports.To:
		return fmt.Sprintf("%s %d", s.Proto, s.Ports.From)
	case s.Proto.HasPorts():
		return fmt.Sprintf("%s %d-%d", s.Proto, s.Ports.From, s.Ports.To)
	case s.Proto.HasTypes() && s.Type == packet.Any:
		return s.Proto.String() + " all types"
	case s.Proto.HasTypes() && s.Code == packet.Any:
		return fmt.Sprintf("%s type %d", s.Proto, s.Type)
	case s.Proto.HasTypes():
		return fmt.Sprintf("%s type %d code %d", s.Proto, s.Type, s.Code)
	}
	return "protocol " + s.Proto.String()
}
