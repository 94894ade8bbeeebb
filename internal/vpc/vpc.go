// Package vpc is the model of what users own: VPCs, subnets, security groups
// and their rules, network interfaces, instances, accounts and hosts, with the
// names, limits and invariants that EC2 gives them. It is pure: no clock, no
// I/O, no randomness, no store. Entities are values that nobody changes once
// they are in a world (room state); who wants another makes a copy.
//
// A value of a parsed type (Rule, Source, a canonical prefix) is valid because
// only its constructor makes it; the constructors answer with EC2's errors.
package vpc

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Identifiers as EC2 spells them.
type (
	// AccountID is twelve digits.
	AccountID string
	// Region is a region's name, us-east-1.
	Region string
	// Zone is an availability zone's name, us-east-1a.
	Zone string
	// VPCID is vpc-….
	VPCID string
	// SubnetID is subnet-….
	SubnetID string
	// GroupID is a security group's id, sg-….
	GroupID string
	// RuleID is a security group rule's id, sgr-….
	RuleID string
	// InterfaceID is a network interface's id, eni-….
	InterfaceID string
	// AttachmentID is eni-attach-….
	AttachmentID string
	// InstanceID is i-….
	InstanceID string
	// ReservationID is r-….
	ReservationID string
	// ImageID is ami-….
	ImageID string
	// HostID names a machine that carries interfaces; chosen by its operator.
	HostID string
	// AccessKeyID is the public half of an access key.
	AccessKeyID string
	// AssociationID names an association: of a CIDR block, vpc-cidr-assoc-… or subnet-cidr-assoc-…, of a route table,
	// rtbassoc-…, or of a network ACL, aclassoc-….
	AssociationID string
)

// Scope is the partition an object lives in: a region of an account.
type Scope struct {
	Region  Region
	Account AccountID
}

// Kind is a kind of entity; its text is part of the stored key and never changes.
type Kind string

// The kinds of entity that a world holds.
const (
	KindAccount   Kind = "account"
	KindAccessKey Kind = "key"
	KindVPC       Kind = "vpc"
	KindSubnet    Kind = "subnet"
	KindGroup     Kind = "group"
	KindRule      Kind = "rule"
	KindInterface Kind = "interface"
	KindInstance  Kind = "instance"
	KindHost      Kind = "host"
	KindToken     Kind = "token"
	KindRegion    Kind = "region"
	// Peering connections, associations of groups with VPCs, prefix lists.
	KindPeering           Kind = "peering"
	KindAssociation       Kind = "association"
	KindPrefixList        Kind = "prefixlist"
	KindPrefixListVersion Kind = "prefixlistversion"
	// What stands around a VPC, and images.
	KindInternetGateway Kind = "internetgateway"
	KindRouteTable      Kind = "routetable"
	KindNetworkACL      Kind = "networkacl"
	KindDHCPOptions     Kind = "dhcpoptions"
	KindImage           Kind = "image"
)

// Entity is anything a world holds under an id.
type Entity interface {
	Kind() Kind
	Key() string
}

// Tag is one label on a resource.
type Tag struct{ Key, Value string }

// Tags are sorted by key and hold each key once.
type Tags []Tag

// Get is the value of key.
func (t Tags) Get(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(t, key, func(t Tag, k string) int { return cmp.Compare(t.Key, k) })
	if !ok {
		return "", false
	}
	return t[i].Value, true
}

// With is t with the given tags added or replaced.
func (t Tags) With(more ...Tag) Tags {
	out := slices.Clone(t)
	for _, m := range more {
		i, ok := slices.BinarySearchFunc(out, m.Key, func(t Tag, k string) int { return cmp.Compare(t.Key, k) })
		if ok {
			out[i] = m
		} else {
			out = slices.Insert(out, i, m)
		}
	}
	return out
}

// Without is t without the tags that drop says.
func (t Tags) Without(drop func(Tag) bool) Tags {
	return slices.DeleteFunc(slices.Clone(t), drop)
}

// Taggable is an entity that carries tags.
type Taggable interface {
	Entity
	Scoped
	GetTags() Tags
	WithTags(Tags) Entity // a copy with other tags
	ResourceType() string // as TagSpecification spells it
}

// Scoped is an entity of one region of one account.
type Scoped interface{ In() Scope }

// Shared is an entity that more than one account may know of, each in its own way.
type Shared interface {
	Entity
	// SeenBy is the entity as calls of a scope see it at a time; nil if they do not.
	SeenBy(Scope, time.Time) Entity
}

// Account owns resources.
type Account struct {
	ID      AccountID
	Name    string
	Classic bool // it has EC2-Classic beside VPCs
	Quotas  QuotaSetting
	Created time.Time
}

// AccessKey signs requests for its account.
type AccessKey struct {
	ID      AccessKeyID
	Secret  string
	Account AccountID
	Created time.Time
}

// RegionState says that an account was set up in a region (default VPC or, in
// EC2-Classic, default group made), so that a default VPC which its owner
// deleted does not come back.
type RegionState struct {
	Scope       Scope
	DHCPOptions string // of all its VPCs, dopt-…
	// Surrounded says that its VPCs have route tables, ACLs and what else one is born with: those of older versions
	// were given it.
	Surrounded bool
	Created    time.Time
}

// Host is a machine with an agent. Capacity counts the instances it has room for.
type Host struct {
	ID       HostID
	Region   Region // empty: serves every region
	Capacity int    // lab instances; 0: none, it enforces only on what it adopts
	Created  time.Time
}

// Token remembers what a client token made, so that a retry answers alike.
type Token struct {
	Scope     Scope
	Action    string
	Value     string
	Digest    string   // of the request's parameters but the token
	Resources []string // ids that the first call made
	Created   time.Time
}

// Block is a CIDR block of a VPC or subnet.
type Block struct {
	Association AssociationID
	Prefix      netip.Prefix // canonical
}

// VPC is a virtual network: an address space with groups, subnets and interfaces.
type VPC struct {
	ID                  VPCID
	Scope               Scope
	Blocks              []Block // IPv4, the primary one first
	IPv6Blocks          []Block
	Default             bool
	DNSSupport          bool
	DNSHostnames        bool
	AddressUsageMetrics bool
	DHCPOptions         string
	Tenancy             string
	Tags                Tags
	Created             time.Time
}

// Subnet is a range of a VPC in one zone.
type Subnet struct {
	ID                  SubnetID
	Scope               Scope
	VPC                 VPCID
	Zone                Zone
	Block               netip.Prefix // IPv4; invalid for an IPv6-only subnet
	IPv6Blocks          []Block
	DefaultForZone      bool
	MapPublicIP         bool // MapPublicIpOnLaunch, stored as clients set it
	AssignIPv6          bool // AssignIpv6AddressOnCreation
	DNS64               bool
	HostnameType        string // private DNS name options
	DNSNameA, DNSNameAA bool
	RouteTable          RouteTableID  // empty: the VPC's main table
	RouteAssociation    AssociationID // with RouteTable; empty without one
	ACL                 NetworkACLID
	ACLAssociation      AssociationID // with ACL
	Tags                Tags
	Created             time.Time
}

// Attachment binds an interface to an instance.
type Attachment struct {
	ID                  AttachmentID
	Instance            InstanceID
	DeviceIndex         int
	DeleteOnTermination bool
	Attached            time.Time
}

// ConnectionTracking is an interface's own idle timeouts in seconds; zero: EC2's default.
type ConnectionTracking struct {
	TCPEstablished, UDPStream, UDP int
}

// Interface is a network interface: what groups are put on.
type Interface struct {
	ID           InterfaceID
	Scope        Scope
	VPC          VPCID    // of an instance in EC2-Classic, whose interface no client sees: ClassicNetwork
	Subnet       SubnetID // empty in EC2-Classic
	Zone         Zone
	Description  string
	Type         string // interface, efa, …
	MAC          string
	Addrs        []netip.Addr // IPv4, the primary first
	IPv6Addrs    []netip.Addr
	Groups       []GroupID // in the order given, without duplicates; never empty
	SourceCheck  bool      // EC2's SourceDestCheck
	Tracking     *ConnectionTracking
	Attachment   *Attachment // nil: available
	Requester    string
	ClientToken  string
	Tags         Tags
	Created      time.Time
	PrimaryIPv6  bool
	AutoAssigned bool // made by RunInstances, not by CreateNetworkInterface
}

// Primary is the interface's primary IPv4 address; invalid if it has none.
func (i *Interface) Primary() netip.Addr {
	if len(i.Addrs) == 0 {
		return netip.Addr{}
	}
	return i.Addrs[0]
}

// AllAddrs is every private address, IPv4 first: what a reference to one of
// the interface's groups stands for.
func (i *Interface) AllAddrs() []netip.Addr {
	return append(slices.Clone(i.Addrs), i.IPv6Addrs...)
}

// InstanceState is where an instance is in its life.
type InstanceState string

// The states of an instance.
const (
	Pending      InstanceState = "pending"
	Running      InstanceState = "running"
	ShuttingDown InstanceState = "shutting-down"
	Terminated   InstanceState = "terminated"
	Stopping     InstanceState = "stopping"
	Stopped      InstanceState = "stopped"
)

// Code is the number EC2 gives with the state.
func (s InstanceState) Code() int32 {
	switch s {
	case Running:
		return 16
	case ShuttingDown:
		return 32
	case Terminated:
		return 48
	case Stopping:
		return 64
	case Stopped:
		return 80
	case Pending:
	}
	return 0
}

// Up says whether a host should be carrying the instance.
func (s InstanceState) Up() bool { return s == Pending || s == Running }

// Instance is a lab instance: a network namespace on a host.
type Instance struct {
	ID                    InstanceID
	Scope                 Scope
	Reservation           ReservationID
	LaunchIndex           int
	Image                 ImageID
	Type                  string
	KeyName               string
	VPC                   VPCID    // or ClassicNetwork
	Subnet                SubnetID // of the primary interface; empty in EC2-Classic
	Zone                  Zone
	Host                  HostID
	State                 InstanceState
	Boot                  int64 // counts starts; the host starts anew when it grows
	UserData              []byte
	ClientToken           string
	DisableAPITermination bool
	DisableAPIStop        bool
	ShutdownBehavior      string // stop or terminate
	Monitoring            bool
	EBSOptimized          bool
	Reason                string // why it is in its state, as EC2 words it
	ReasonCode            string
	Launched              time.Time
	Ended                 time.Time // when it became terminated
	PrivateDNS            string
	Tags                  Tags
}

// SecurityGroup is a named set of rules in a VPC or in EC2-Classic.
type SecurityGroup struct {
	ID          GroupID
	Scope       Scope
	VPC         VPCID // or ClassicNetwork
	Name        string
	Description string
	Tags        Tags
	Created     time.Time
	// DefaultEgress says that the outbound rules are still those the group was
	// born with: only then does ::/0 join when the VPC gets an IPv6 block.
	DefaultEgress bool
}

// DefaultGroupName is the name of the group that every VPC comes with, and an account's EC2-Classic in a region.
const DefaultGroupName = "default"

// LegacyGroupName is the name of the group that VPCs made with API versions before 2011-01-01 have besides (G131).
const LegacyGroupName = "2009-07-15-default"

// IsLegacy says whether g is its VPC's 2009-07-15-default group: no other may have the name.
func (g *SecurityGroup) IsLegacy() bool { return g.Name == LegacyGroupName }

// IsDefault says whether g is the default group of its VPC or of its account's EC2-Classic: no other may have the name.
func (g *SecurityGroup) IsDefault() bool { return g.Name == DefaultGroupName }

// NameKey is the form in which group names are unique in a VPC: case does not count.
func NameKey(name string) string { return strings.ToLower(name) }
