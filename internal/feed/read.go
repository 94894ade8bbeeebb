package feed

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

var errUnknownField = errors.New("a field of a newer protocol")

// known refuses a message with fields that this build cannot read: what they
// say might be a condition without which the rest means more than it should.
func known(m proto.Message) error {
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		return errUnknownField
	}
	return nil
}

// assembly puts the parts of one batch together.
type assembly struct {
	begun bool
	batch Batch
}

// add reads a part. It gives the batch when it was the last one.
func (a *assembly) add(p *feedpb.Part) (*Batch, error) {
	if !a.begun {
		*a = assembly{begun: true, batch: Batch{
			Base: program.Revision(p.GetBase()),
			Delta: &program.Delta{
				Revision: program.Revision(p.GetRevision()), Full: p.GetFull(),
				Interfaces:  map[program.InterfaceID]*program.Interface{},
				Policies:    map[program.PolicyHash]*program.Policy{},
				Members:     map[program.Member]program.Groups{},
				Networks:    map[program.NetworkID]*program.Network{},
				Instances:   map[program.InstanceID]*program.Instance{},
				Connections: map[program.ConnectionID]*program.Connection{},
			},
		}}
	}
	d := a.batch.Delta
	if uint64(d.Revision) != p.GetRevision() || d.Full != p.GetFull() || uint64(a.batch.Base) != p.GetBase() {
		return nil, fmt.Errorf("part of revision %d inside the batch of revision %d", p.GetRevision(), d.Revision)
	}
	if err := readPart(d, p); err != nil {
		return nil, fmt.Errorf("reading revision %d: %w", d.Revision, err)
	}
	if !p.GetLast() {
		return nil, nil
	}
	a.begun = false
	return &a.batch, nil
}

func readPart(d *program.Delta, p *feedpb.Part) error {
	if err := known(p); err != nil {
		return err
	}
	for _, m := range p.GetNetworks() {
		n, err := readNetwork(m)
		if err := errors.Join(err, put(d.Networks, n.ID, &n)); err != nil {
			return fmt.Errorf("network %s: %w", m.GetId(), err)
		}
	}
	for _, m := range p.GetMembers() {
		if err := readMember(d, m); err != nil {
			return fmt.Errorf("member %x of %s: %w", m.GetAddr(), m.GetNetwork(), err)
		}
	}
	for _, m := range p.GetPolicies() {
		if err := readPolicy(d, m); err != nil {
			return fmt.Errorf("policy %x: %w", m.GetHash(), err)
		}
	}
	for _, m := range p.GetInterfaces() {
		i, err := readInterface(m)
		if err := errors.Join(err, put(d.Interfaces, i.ID, i)); err != nil {
			return fmt.Errorf("interface %s: %w", m.GetId(), err)
		}
	}
	for _, m := range p.GetInstances() {
		i, err := readInstance(m)
		if err := errors.Join(err, put(d.Instances, i.ID, i)); err != nil {
			return fmt.Errorf("instance %s: %w", m.GetId(), err)
		}
	}
	for _, m := range p.GetConnections() {
		c, err := readConnection(m)
		if err := errors.Join(err, put(d.Connections, c.ID, c)); err != nil {
			return fmt.Errorf("connection %s: %w", m.GetId(), err)
		}
	}
	for _, b := range p.GetRemovedPolicies() {
		hash, err := readHash(b)
		if err := errors.Join(err, put(d.Policies, hash, nil)); err != nil {
			return fmt.Errorf("removed policy %x: %w", b, err)
		}
	}
	return errors.Join(
		putRemoved(d.Networks, p.GetRemovedNetworks()),
		putRemoved(d.Interfaces, p.GetRemovedInterfaces()),
		putRemoved(d.Instances, p.GetRemovedInstances()),
		putRemoved(d.Connections, p.GetRemovedConnections()),
	)
}

// put adds an entry of a batch. A batch says at most one thing of each.
func put[K comparable, V any](m map[K]V, k K, v V) error {
	var zero K
	if k == zero {
		return errors.New("no identifier")
	}
	if _, ok := m[k]; ok {
		return errors.New("twice in one batch")
	}
	m[k] = v
	return nil
}

func putRemoved[K ~string, V any](m map[K]*V, ids []string) error {
	for _, id := range ids {
		if err := put(m, K(id), nil); err != nil {
			return fmt.Errorf("removed %q: %w", id, err)
		}
	}
	return nil
}

func readNetwork(m *feedpb.Network) (program.Network, error) {
	cidrs, err := readPrefixes(m.GetCidrs())
	return program.Network{ID: program.NetworkID(m.GetId()), CIDRs: cidrs}, errors.Join(known(m), err)
}

func readConnection(m *feedpb.Connection) (*program.Connection, error) {
	c := &program.Connection{ID: program.ConnectionID(m.GetId())}
	if err := known(m); err != nil {
		return c, err
	}
	if len(m.GetEnds()) != len(c.Ends) {
		return c, fmt.Errorf("%d ends", len(m.GetEnds()))
	}
	for i, end := range m.GetEnds() {
		var err error
		if c.Ends[i], err = readNetwork(end); err != nil {
			return c, fmt.Errorf("network %s: %w", end.GetId(), err)
		}
	}
	if c.Ends[0].ID == "" || c.Ends[0].ID >= c.Ends[1].ID {
		return c, fmt.Errorf("ends %q and %q", c.Ends[0].ID, c.Ends[1].ID)
	}
	return c, nil
}

func readMember(d *program.Delta, m *feedpb.Member) error {
	addr, err := readAddr(m.GetAddr())
	if err := errors.Join(known(m), err); err != nil {
		return err
	}
	if m.GetNetwork() == "" {
		return errors.New("no network")
	}
	groups := program.Groups(readGroups(m.GetGroups()))
	for i := range groups {
		if groups[i] == "" || i > 0 && groups[i-1] >= groups[i] {
			return errors.New("groups that are no canonical set")
		}
	}
	return put(d.Members, program.Member{Network: program.NetworkID(m.GetNetwork()), Addr: addr}, groups)
}

func readPolicy(d *program.Delta, m *feedpb.Policy) error {
	hash, err := readHash(m.GetHash())
	if err := errors.Join(known(m), err); err != nil {
		return err
	}
	if len(m.GetRules()) > program.RulesMax {
		return fmt.Errorf("%d rules, more than %d", len(m.GetRules()), program.RulesMax)
	}
	policy := &program.Policy{}
	for _, r := range m.GetRules() {
		rule, err := readRule(r)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.GetId(), err)
		}
		policy.Rules = append(policy.Rules, rule)
	}
	// The name is the content: what was lost or misread on the way shows here.
	if got := policy.Hash(); got != hash {
		return fmt.Errorf("content of %s", got)
	}
	return put(d.Policies, hash, policy)
}

func readRule(m *feedpb.Rule) (program.Rule, error) {
	prefixes, err := readPrefixes(m.GetPrefixes())
	if err := errors.Join(known(m), err); err != nil {
		return program.Rule{}, err
	}
	proto := m.GetProto()
	switch {
	case m.GetId() == "":
		return program.Rule{}, errors.New("no identifier")
	case proto < int32(packet.AllProtos) || proto > math.MaxUint8:
		return program.Rule{}, fmt.Errorf("protocol %d", proto)
	case m.GetFromPort() > math.MaxUint16 || m.GetToPort() > math.MaxUint16:
		return program.Rule{}, fmt.Errorf("ports %d to %d", m.GetFromPort(), m.GetToPort())
	case !typeOrAny(m.GetType()) || !typeOrAny(m.GetCode()):
		return program.Rule{}, fmt.Errorf("type %d code %d", m.GetType(), m.GetCode())
	}
	return program.Rule{
		ID: program.RuleID(m.GetId()),
		Service: packet.Service{
			Proto: packet.Proto(proto),
			Ports: packet.PortRange{From: uint16(m.GetFromPort()), To: uint16(m.GetToPort())},
			Type:  int16(m.GetType()), Code: int16(m.GetCode()),
		},
		Prefixes: prefixes, Group: program.GroupID(m.GetGroup()),
	}, nil
}

func typeOrAny(n int32) bool { return n >= int32(packet.Any) && n <= math.MaxUint8 }

func readInterface(m *feedpb.Interface) (*program.Interface, error) {
	i := &program.Interface{
		ID: program.InterfaceID(m.GetId()), Network: program.NetworkID(m.GetNetwork()),
		Kind: program.Kind(m.GetKind()), MAC: m.GetMac(), Groups: readGroups(m.GetGroups()),
		Timeouts: program.Timeouts{
			TCPEstablished: time.Duration(m.GetTcpEstablishedNs()),
			UDPStream:      time.Duration(m.GetUdpStreamNs()),
			UDP:            time.Duration(m.GetUdpNs()),
		},
		CheckSource: m.GetCheckSource(),
	}
	var errs [6]error
	errs[0] = known(m)
	i.Addrs, errs[1] = readAddrs(m.GetAddrs())
	i.Unfiltered, errs[2] = readAddrs(m.GetUnfiltered())
	i.Ingress, errs[3] = readHashOrNone(m.GetIngress())
	i.Egress, errs[4] = readHashOrNone(m.GetEgress())
	errs[5] = checkMAC(m.GetMac())
	if err := errors.Join(errs[:]...); err != nil {
		return i, err
	}
	switch {
	case m.GetKind() > uint32(program.KindAdopted):
		return i, fmt.Errorf("kind %d", m.GetKind())
	case i.Network == "":
		return i, errors.New("no network")
	case min(i.Timeouts.TCPEstablished, i.Timeouts.UDPStream, i.Timeouts.UDP) < 0:
		return i, errors.New("a timeout below zero")
	}
	return i, nil
}

func readInstance(m *feedpb.Instance) (*program.Instance, error) {
	i := &program.Instance{
		ID: program.InstanceID(m.GetId()), Network: program.NetworkID(m.GetNetwork()),
		Running: m.GetRunning(), Boot: m.GetBoot(), Hostname: m.GetHostname(), UserData: m.GetUserData(),
	}
	if err := known(m); err != nil {
		return i, err
	}
	if i.Network == "" {
		return i, errors.New("no network")
	}
	for _, n := range m.GetNics() {
		nic := program.NIC{
			Interface: program.InterfaceID(n.GetInterface()), DeviceIndex: int(n.GetDeviceIndex()), MAC: n.GetMac(),
		}
		var errs [5]error
		errs[0] = known(n)
		nic.Addrs, errs[1] = readAddrs(n.GetAddrs())
		if len(n.GetGateway()) > 0 {
			nic.Gateway, errs[2] = readAddr(n.GetGateway())
		}
		errs[3] = checkMAC(nic.MAC)
		if nic.Interface == "" {
			errs[4] = errors.New("no identifier")
		}
		if err := errors.Join(errs[:]...); err != nil {
			return i, fmt.Errorf("interface %q of device %d: %w", nic.Interface, nic.DeviceIndex, err)
		}
		i.NICs = append(i.NICs, nic)
	}
	return i, nil
}

func readHash(b []byte) (program.PolicyHash, error) {
	var h program.PolicyHash
	if copy(h[:], b) != len(h) || len(b) != len(h) {
		return h, fmt.Errorf("hash of %d bytes", len(b))
	}
	return h, nil
}

func readHashOrNone(b []byte) (program.PolicyHash, error) {
	if len(b) == 0 {
		return program.PolicyHash{}, nil
	}
	return readHash(b)
}

func checkMAC(s string) error {
	if s == "" {
		return nil
	}
	if mac, err := net.ParseMAC(s); err != nil || mac.String() != s {
		return fmt.Errorf("MAC %q", s)
	}
	return nil
}

func readGroups(in []string) []program.GroupID {
	if len(in) == 0 {
		return nil
	}
	out := make([]program.GroupID, len(in))
	for i, g := range in {
		out[i] = program.GroupID(g)
	}
	return out
}

func readAddr(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("address %x", b)
	}
	return a, nil
}

func readAddrs(in [][]byte) ([]netip.Addr, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]netip.Addr, len(in))
	for i, b := range in {
		var err error
		if out[i], err = readAddr(b); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readPrefixes(in []*feedpb.Prefix) ([]netip.Prefix, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]netip.Prefix, len(in))
	for i, m := range in {
		addr, err := readAddr(m.GetAddr())
		if err := errors.Join(known(m), err); err != nil {
			return nil, err
		}
		bits := int(min(m.GetBits(), math.MaxUint8))
		out[i] = netip.PrefixFrom(addr, bits)
		if !out[i].IsValid() || out[i] != out[i].Masked() {
			return nil, fmt.Errorf("prefix %s/%d", addr, m.GetBits())
		}
	}
	return out, nil
}

func readHello(m *feedpb.Hello) (Hello, error) {
	h := Hello{
		Host: HostID(m.GetHost()), Protocol: int(m.GetProtocol()), Build: m.GetBuild(), Region: m.GetRegion(),
		Capacity: int(m.GetCapacity()),
		Has:      Position{Epoch: m.GetEpoch(), Revision: program.Revision(m.GetRevision())},
	}
	switch {
	case h.Protocol > Protocol:
		return h, fmt.Errorf("agent speaks protocol %d, this server up to %d: upgrade the server first", h.Protocol, Protocol)
	case h.Protocol < protocolMin:
		return h, fmt.Errorf("agent speaks protocol %d, this server from %d: upgrade the agent", h.Protocol, protocolMin)
	case h.Host == "":
		return h, errors.New("agent names no host")
	}
	return h, known(m)
}

func readReceipt(m *feedpb.Receipt) (Receipt, error) {
	r := Receipt{
		Revision: program.Revision(m.GetRevision()), Full: m.GetFull(), Problem: m.GetProblem(),
		Interfaces: make(map[program.InterfaceID]InterfaceStatus, len(m.GetInterfaces())),
	}
	if ns := m.GetKernelTimeNs(); ns != 0 {
		r.KernelTime = time.Unix(0, ns)
	}
	for _, s := range m.GetInterfaces() {
		if s.GetState() >= uint32(stateEnd) {
			return r, fmt.Errorf("receipt: interface %s: state %d", s.GetId(), s.GetState())
		}
		status := InterfaceStatus{State: State(s.GetState()), Reason: s.GetReason(), Revision: program.Revision(s.GetRevision())}
		if err := errors.Join(known(s), put(r.Interfaces, program.InterfaceID(s.GetId()), status)); err != nil {
			return r, fmt.Errorf("receipt: interface %s: %w", s.GetId(), err)
		}
	}
	for _, id := range m.GetGone() {
		r.Gone = append(r.Gone, program.InterfaceID(id))
	}
	if slices.Contains(r.Gone, "") {
		return r, errors.New("receipt: gone interface without identifier")
	}
	return r, known(m)
}

func readInstanceReport(m *feedpb.InstanceReport) (program.InstanceID, InstanceReport, error) {
	id := program.InstanceID(m.GetId())
	r := InstanceReport{Boot: m.GetBoot(), State: InstanceState(m.GetState()), Reason: m.GetReason()}
	if id == "" || m.GetState() == 0 || m.GetState() >= uint32(instanceStateEnd) {
		return id, r, fmt.Errorf("report of instance %q: state %d", id, m.GetState())
	}
	return id, r, known(m)
}
