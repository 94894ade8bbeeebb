package vpc

import (
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/packet"
)

// What is EC2-Classic's own: a flat network that all accounts of a region share, and groups that belong to no VPC.

// Platform is a platform that an account can launch instances on, as supported-platforms names it.
type Platform string

// The platforms. Every account has VPCs.
const (
	PlatformClassic Platform = "EC2"
	PlatformVPC     Platform = "VPC"
)

// Platforms are those that the account has.
func (a *Account) Platforms() []Platform {
	if a.Classic {
		return []Platform{PlatformClassic, PlatformVPC}
	}
	return []Platform{PlatformVPC}
}

// classicPrefix begins the name of every network of EC2-Classic. No VPC's id begins so.
const classicPrefix = "classic-"

// ClassicNetwork stands where a VPC's id does for what is in EC2-Classic. It is the same for all accounts of a
// region, is no VPC, and is never told to clients.
func ClassicNetwork(r Region) VPCID { return VPCID(classicPrefix + r) }

// ClassicName is what people call it.
const ClassicName = "EC2-Classic"

// Classic says whether the id is not a VPC's but stands for EC2-Classic.
func (id VPCID) Classic() bool { return strings.HasPrefix(string(id), classicPrefix) }

// String is the id as messages tell it: what stands for EC2-Classic is no id that anybody could use.
func (id VPCID) String() string {
	if id.Classic() {
		return ClassicName
	}
	return string(id)
}

// ClassicBlock is the addresses of EC2-Classic's network, as EC2's were. It is one subnet without an id.
var ClassicBlock = netip.MustParsePrefix("10.0.0.0/8")

// ClassicOutbound is the rule id that is credited with what leaves an instance of EC2-Classic: its groups have no
// outbound rules, and everything may leave.
const ClassicOutbound RuleID = "ec2-classic-outbound"

// printable is the characters that a name or description of EC2-Classic may hold.
const printable = "printable ASCII"

// CheckClassicName answers EC2's error for a Classic group's name. The caller has refused an empty one.
func CheckClassicName(name string) error {
	switch {
	case strings.HasPrefix(strings.ToLower(name), "sg-"):
		return errNameLikeID(name)
	case !ascii(name):
		return errNotASCII("GroupName", name)
	case len(name) > textMax || !inPrintable(name):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid security group name. Valid names are non-empty strings less than 256 characters from the following set:  %s", printable)
	case NameKey(name) == DefaultGroupName:
		return apierr.New(apierr.CodeInvalidGroupReserved, "The security group '%s' is reserved", DefaultGroupName)
	}
	return nil
}

// CheckClassicDescription answers EC2's error for a Classic group's description.
func CheckClassicDescription(text string) error {
	switch {
	case !ascii(text):
		return errNotASCII("GroupDescription", text)
	case len(text) > textMax || !inPrintable(text):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid security group description. Valid descriptions are strings less than 256 characters from the following set:  %s", printable)
	}
	return nil
}

func inPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// ClassicServices reads the protocol and ports of a rule of EC2-Classic. Only TCP, UDP and ICMP exist there (G84),
// with ports (G87); a rule for a group may leave out the protocol, and is then for all three (G83).
func ClassicServices(protocol *string, from, to *int32, forGroup bool) ([]packet.Service, error) {
	if protocol == nil || *protocol == "" {
		switch {
		case !forGroup:
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"Invalid value 'null' for protocol. Only rules of EC2-Classic whose source is a group need not specify one.")
		case from != nil || to != nil:
			return nil, apierr.New(apierr.CodeInvalidParameterCombination, "Ports may not be specified without a protocol.")
		}
		return []packet.Service{
			{Proto: packet.TCP, Ports: packet.AllPorts},
			{Proto: packet.UDP, Ports: packet.AllPorts},
			{Proto: packet.ICMP, Type: packet.Any, Code: packet.Any},
		}, nil
	}
	s, err := NewService(protocol, from, to)
	if err != nil {
		return nil, err
	}
	if s.Proto == packet.TCP || s.Proto == packet.UDP || s.Proto == packet.ICMP {
		return []packet.Service{s}, nil
	}
	return nil, apierr.New(apierr.CodeInvalidParameterValue,
		"Invalid value '%s' for IP protocol. EC2-Classic has tcp, udp and icmp only; others are for VPC security groups.", *protocol)
}
