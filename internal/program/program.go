// Package program is what one host enforces, and nothing about why: interface
// programs, the policies they use, the group membership of addresses, and the
// lab networks and instances the host carries. The control side compiles it
// from a snapshot; the agent side writes it into the kernel. It is pure: no
// clock, no I/O, no goroutine.
//
// Invariants: a value that was handed out is never changed; the content of a
// Host depends on the world it was compiled from and on nothing else (canonical
// order everywhere); what is missing denies: an interface without a policy, a
// policy hash nobody knows and an address without membership match nothing.
package program

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/packet"
)

// Identifiers as EC2 spells them; the agent side only compares and prints them.
type (
	// InterfaceID is a network interface's id, eni-….
	InterfaceID string
	// GroupID is a security group's id, sg-….
	GroupID string
	// RuleID is a security group rule's id, sgr-….
	RuleID string
	// NetworkID is a VPC's id, vpc-…, or stands for a region's EC2-Classic: the
	// space in which addresses are unique.
	NetworkID string
	// InstanceID is an instance's id, i-….
	InstanceID string
	// ConnectionID is a VPC peering connection's id, pcx-….
	ConnectionID string
	// Revision is the revision of the world that something was compiled from.
	Revision uint64
)

// PolicyHash names a policy by its content. The zero value names none.
type PolicyHash [16]byte

func (h PolicyHash) String() string { return hex.EncodeToString(h[:]) }

// RulesMax is the most rules that one direction of an interface holds: AWS caps
// groups × rules at 1,000, and vectors are this many bits wide.
const RulesMax = 1024

// Rule is one entry of a policy. It matches when its service matches and the
// remote address is in one of Prefixes or, if Group is set, carries that group.
// Neither prefixes nor a group: it matches nobody (an empty prefix list).
type Rule struct {
	ID       RuleID
	Service  packet.Service
	Prefixes []netip.Prefix // canonical (masked), sorted, both families allowed; IPv4 never as mapped IPv6
	Group    GroupID        // empty: no group
}

// Policy is the rules of one direction of an interface, the union over its
// groups, in canonical order: by ID, ascending. The first rule that matches is
// the one that is credited. A Policy that is empty admits nothing.
type Policy struct {
	Rules []Rule
}

// Hash is the name of the policy: equal content, equal name, on every host and
// in every process.
func (p *Policy) Hash() PolicyHash {
	h := sha256.New()
	var b []byte
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Rules)))
	for i := range p.Rules {
		b = p.Rules[i].appendTo(b)
	}
	h.Write(b)
	var out PolicyHash
	copy(out[:], h.Sum(nil))
	return out
}

func (r *Rule) appendTo(b []byte) []byte {
	b = appendString(b, string(r.ID))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Service.Proto))
	b = binary.BigEndian.AppendUint16(b, r.Service.Ports.From)
	b = binary.BigEndian.AppendUint16(b, r.Service.Ports.To)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Service.Type))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Service.Code))
	b = appendString(b, string(r.Group))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Prefixes)))
	for _, p := range r.Prefixes {
		b = appendString(b, p.String())
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// Timeouts are an interface's idle timeouts (ConnectionTrackingSpecification).
// A zero field means AWS's default.
type Timeouts struct {
	TCPEstablished time.Duration
	UDPStream      time.Duration
	UDP            time.Duration
}

// AWS's defaults for Timeouts (ec2-behaviour 7.4).
const (
	TCPEstablishedDefault = 432000 * time.Second
	UDPStreamDefault      = 180 * time.Second
	UDPDefault            = 30 * time.Second
	OtherTimeout          = 600 * time.Second
)

// Kind says how an interface comes to be on its host.
type Kind uint8

// The kinds of interface. KindLab is made by the host for an instance; the
// others exist already and are adopted.
const (
	KindLab Kind = iota
	KindAdopted
)

// Interface is one network interface's program.
type Interface struct {
	ID       InterfaceID
	Network  NetworkID
	Kind     Kind
	Addrs    []netip.Addr // its own addresses, both families, sorted
	MAC      string       // aa:bb:cc:dd:ee:ff; empty: not checked
	Ingress  PolicyHash   // zero: denies all
	Egress   PolicyHash   // zero: denies all
	Groups   []GroupID    // for explanations and logs only
	Timeouts Timeouts
	// CheckSource drops what does not carry the interface's own address
	// (EC2's SourceDestCheck).
	CheckSource bool
	// StrictICMP judges ICMP errors by the rules alone, as AWS reads; otherwise
	// those that quote a flow of the interface pass.
	StrictICMP bool
	// Unfiltered are addresses whose traffic is never judged: the VPC's router
	// and the link-local services (ec2-behaviour 7.6).
	Unfiltered []netip.Addr
	// Refused says why the interface could not be compiled; it then has no
	// policies, denies all and is reported as not enforced. Empty: it was compiled.
	Refused string
}

// Groups is a canonical set of groups: sorted, without duplicates.
type Groups []GroupID

// MakeGroups sorts and compacts ids in place.
func MakeGroups(ids []GroupID) Groups {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Key is the set as one comparable string.
func (g Groups) Key() string {
	ids := make([]string, len(g))
	for i, id := range g {
		ids[i] = string(id)
	}
	return strings.Join(ids, ",")
}

// Has says whether id is in the set.
func (g Groups) Has(id GroupID) bool {
	_, ok := slices.BinarySearch(g, id)
	return ok
}

// Member names an address as seen from inside a network: its own addresses and
// those of the networks that it is connected with, on whichever host they are.
type Member struct {
	Network NetworkID
	Addr    netip.Addr
}

// Network is a VPC as a lab host builds it: one router, its own address space.
type Network struct {
	ID    NetworkID
	CIDRs []netip.Prefix // all blocks, both families, sorted
}

// Connection joins two networks of a host, which is a VPC peering connection:
// while it is there, the router of each has a way to the blocks of the other, and
// to nothing behind it. The blocks of the two do not overlap, nor do those of two
// networks that are connected with the same one.
type Connection struct {
	ID   ConnectionID
	Ends [2]Network // by ID; as in Host.Networks
}

// NIC is an interface of a lab instance as the lab builds it.
type NIC struct {
	Interface   InterfaceID
	DeviceIndex int
	MAC         string
	Addrs       []netip.Addr // primary IPv4 first, then secondary, then IPv6
	Gateway     netip.Addr   // the subnet's IPv4 router address, base + 1; may be invalid for IPv6-only
}

// Instance is a lab instance that this host should carry. Boot counts starts: a
// higher number than the one running means the instance was stopped or rebooted
// in between and must be started anew.
type Instance struct {
	ID       InstanceID
	Network  NetworkID
	Running  bool // false: stopped, keep what is kept over a stop
	Boot     int64
	Hostname string
	UserData []byte // decoded; empty: none
	NICs     []NIC  // by device index
}

// Host is everything one host should have in place at one revision.
type Host struct {
	Revision   Revision
	Interfaces map[InterfaceID]*Interface
	Policies   map[PolicyHash]*Policy
	Members    map[Member]Groups // only groups that a policy here refers to
	Networks   map[NetworkID]*Network
	Instances  map[InstanceID]*Instance
	// Connections are those of which both ends are among Networks.
	Connections map[ConnectionID]*Connection
}

// NewHost is an empty host: nothing bound, everything denied.
func NewHost() *Host {
	return &Host{
		Interfaces:  map[InterfaceID]*Interface{},
		Policies:    map[PolicyHash]*Policy{},
		Members:     map[Member]Groups{},
		Networks:    map[NetworkID]*Network{},
		Instances:   map[InstanceID]*Instance{},
		Connections: map[ConnectionID]*Connection{},
	}
}

// Delta turns one Host into a later one. A nil value in a map removes the
// entry. Full means: forget everything else first.
type Delta struct {
	Revision    Revision
	Full        bool
	Interfaces  map[InterfaceID]*Interface
	Policies    map[PolicyHash]*Policy
	Members     map[Member]Groups // empty set removes
	Networks    map[NetworkID]*Network
	Instances   map[InstanceID]*Instance
	Connections map[ConnectionID]*Connection
}

// Apply advances h by d in place; the cost is the delta's, not the host's. The
// caller owns h: who hands a Host on stops applying to it.
func (h *Host) Apply(d *Delta) {
	if d.Full {
		*h = *NewHost()
	}
	h.Revision = d.Revision
	apply(h.Interfaces, d.Interfaces)
	apply(h.Policies, d.Policies)
	apply(h.Networks, d.Networks)
	apply(h.Instances, d.Instances)
	apply(h.Connections, d.Connections)
	for m, groups := range d.Members {
		if len(groups) == 0 {
			delete(h.Members, m)
		} else {
			h.Members[m] = groups
		}
	}
}

func apply[K comparable, V any](have, change map[K]*V) {
	for k, v := range change {
		if v == nil {
			delete(have, k)
		} else {
			have[k] = v
		}
	}
}

// Empty says that d changes nothing but the revision.
func (d *Delta) Empty() bool {
	return !d.Full && len(d.Interfaces)+len(d.Policies)+len(d.Members)+len(d.Networks)+len(d.Instances)+len(d.Connections) == 0
}
