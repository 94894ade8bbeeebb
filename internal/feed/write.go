package feed

import (
	"maps"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/program"
)

const (
	// partBytes is when a part of a batch is full: large enough to cost nothing
	// per message, small enough that no part nears messageBytesMax.
	partBytes = 512 << 10
	// messageBytesMax bounds one message. The largest single entry is a policy:
	// 1,000 rules of a few prefixes each, some 100 KB; or an instance's user data, 16 KB.
	messageBytesMax = 16 << 20
	// statusesPerReceipt keeps a receipt that names all interfaces of a large
	// host within a message.
	statusesPerReceipt = 10_000
)

// parts writes a batch, in as many parts as its size asks for, and hands each
// to send. Upserts come before removals, in an order that is the same each time.
func parts(b Batch, send func(*feedpb.Part) error) error {
	w := partWriter{batch: b, part: newPart(b), send: send}
	d := b.Delta
	for _, id := range slices.Sorted(maps.Keys(d.Networks)) {
		if n := d.Networks[id]; n != nil {
			m := writeNetwork(n)
			w.add(m, func(p *feedpb.Part) { p.Networks = append(p.Networks, m) })
		} else {
			w.add(nil, func(p *feedpb.Part) { p.RemovedNetworks = append(p.RemovedNetworks, string(id)) })
		}
	}
	for m, groups := range d.Members {
		pb := &feedpb.Member{Network: string(m.Network), Addr: m.Addr.AsSlice(), Groups: writeGroups(groups)}
		w.add(pb, func(p *feedpb.Part) { p.Members = append(p.Members, pb) })
	}
	for hash, policy := range d.Policies {
		if policy != nil {
			m := writePolicy(hash, policy)
			w.add(m, func(p *feedpb.Part) { p.Policies = append(p.Policies, m) })
		} else {
			w.add(nil, func(p *feedpb.Part) { p.RemovedPolicies = append(p.RemovedPolicies, hash[:]) })
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.Interfaces)) {
		if i := d.Interfaces[id]; i != nil {
			m := writeInterface(i)
			w.add(m, func(p *feedpb.Part) { p.Interfaces = append(p.Interfaces, m) })
		} else {
			w.add(nil, func(p *feedpb.Part) { p.RemovedInterfaces = append(p.RemovedInterfaces, string(id)) })
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.Instances)) {
		if i := d.Instances[id]; i != nil {
			m := writeInstance(i)
			w.add(m, func(p *feedpb.Part) { p.Instances = append(p.Instances, m) })
		} else {
			w.add(nil, func(p *feedpb.Part) { p.RemovedInstances = append(p.RemovedInstances, string(id)) })
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.Connections)) {
		if c := d.Connections[id]; c != nil {
			m := &feedpb.Connection{Id: string(id), Ends: []*feedpb.Network{writeNetwork(&c.Ends[0]), writeNetwork(&c.Ends[1])}}
			w.add(m, func(p *feedpb.Part) { p.Connections = append(p.Connections, m) })
		} else {
			w.add(nil, func(p *feedpb.Part) { p.RemovedConnections = append(p.RemovedConnections, string(id)) })
		}
	}
	if w.err != nil {
		return w.err
	}
	w.part.Last = true
	return send(w.part)
}

type partWriter struct {
	batch Batch
	part  *feedpb.Part
	bytes int
	send  func(*feedpb.Part) error
	err   error // the first; nothing is sent after it
}

func newPart(b Batch) *feedpb.Part {
	p := &feedpb.Part{Revision: uint64(b.Delta.Revision), Full: b.Delta.Full}
	if !p.Full {
		p.Base = uint64(b.Base)
	}
	return p
}

// removalBytes is what an entry costs that is an identifier alone.
const removalBytes = 40

func (w *partWriter) add(m proto.Message, put func(*feedpb.Part)) {
	if w.err != nil {
		return
	}
	size := removalBytes
	if m != nil {
		size = proto.Size(m)
	}
	if w.bytes > 0 && w.bytes+size > partBytes {
		w.err = w.send(w.part)
		w.part, w.bytes = newPart(w.batch), 0
	}
	put(w.part)
	w.bytes += size
}

func writeNetwork(n *program.Network) *feedpb.Network {
	return &feedpb.Network{Id: string(n.ID), Cidrs: writePrefixes(n.CIDRs)}
}

func writeInterface(i *program.Interface) *feedpb.Interface {
	return &feedpb.Interface{
		Id: string(i.ID), Network: string(i.Network), Kind: uint32(i.Kind),
		Addrs: writeAddrs(i.Addrs), Mac: i.MAC,
		Ingress: writeHash(i.Ingress), Egress: writeHash(i.Egress),
		Groups:           writeGroups(i.Groups),
		TcpEstablishedNs: i.Timeouts.TCPEstablished.Nanoseconds(),
		UdpStreamNs:      i.Timeouts.UDPStream.Nanoseconds(),
		UdpNs:            i.Timeouts.UDP.Nanoseconds(),
		CheckSource:      i.CheckSource,
		Unfiltered:       writeAddrs(i.Unfiltered),
	}
}

func writePolicy(hash program.PolicyHash, policy *program.Policy) *feedpb.Policy {
	out := &feedpb.Policy{Hash: hash[:], Rules: make([]*feedpb.Rule, 0, len(policy.Rules))}
	for _, r := range policy.Rules {
		out.Rules = append(out.Rules, &feedpb.Rule{
			Id: string(r.ID), Proto: int32(r.Service.Proto),
			FromPort: uint32(r.Service.Ports.From), ToPort: uint32(r.Service.Ports.To),
			Type: int32(r.Service.Type), Code: int32(r.Service.Code),
			Prefixes: writePrefixes(r.Prefixes), Group: string(r.Group),
		})
	}
	return out
}

func writeInstance(i *program.Instance) *feedpb.Instance {
	out := &feedpb.Instance{
		Id: string(i.ID), Network: string(i.Network), Running: i.Running, Boot: i.Boot,
		Hostname: i.Hostname, UserData: i.UserData,
	}
	for _, n := range i.NICs {
		out.Nics = append(out.Nics, &feedpb.NIC{
			Interface: string(n.Interface), DeviceIndex: uint32(n.DeviceIndex), Mac: n.MAC,
			Addrs: writeAddrs(n.Addrs), Gateway: n.Gateway.AsSlice(),
		})
	}
	return out
}

func writeHash(h program.PolicyHash) []byte {
	if h == (program.PolicyHash{}) {
		return nil
	}
	return h[:]
}

func writeGroups[S ~[]program.GroupID](groups S) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = string(g)
	}
	return out
}

func writeAddrs(addrs []netip.Addr) [][]byte {
	out := make([][]byte, len(addrs))
	for i, a := range addrs {
		out[i] = a.AsSlice()
	}
	return out
}

func writePrefixes(prefixes []netip.Prefix) []*feedpb.Prefix {
	out := make([]*feedpb.Prefix, len(prefixes))
	for i, p := range prefixes {
		out[i] = &feedpb.Prefix{Addr: p.Addr().AsSlice(), Bits: uint32(p.Bits())}
	}
	return out
}

func writeHello(h Hello) *feedpb.Hello {
	return &feedpb.Hello{
		Protocol: Protocol, Host: string(h.Host), Build: h.Build, Region: h.Region,
		Capacity: uint32(max(h.Capacity, 0)), Epoch: h.Has.Epoch, Revision: uint64(h.Has.Revision),
	}
}

// writeReceipts writes r in one message, or several if it names very many interfaces.
func writeReceipts(r Receipt) []*feedpb.Receipt {
	next := func(full bool) *feedpb.Receipt {
		m := &feedpb.Receipt{Revision: uint64(r.Revision), Full: full, Problem: r.Problem}
		if !r.KernelTime.IsZero() {
			m.KernelTimeNs = r.KernelTime.UnixNano()
		}
		return m
	}
	out := []*feedpb.Receipt{next(r.Full)}
	for _, id := range slices.Sorted(maps.Keys(r.Interfaces)) {
		last := out[len(out)-1]
		if len(last.Interfaces) == statusesPerReceipt {
			last = next(false)
			out = append(out, last)
		}
		s := r.Interfaces[id]
		last.Interfaces = append(last.Interfaces, &feedpb.InterfaceStatus{
			Id: string(id), State: uint32(s.State), Reason: s.Reason, Revision: uint64(s.Revision),
		})
	}
	for _, id := range r.Gone {
		out[0].Gone = append(out[0].Gone, string(id))
	}
	return out
}

func writeInstanceReport(id program.InstanceID, r InstanceReport) *feedpb.InstanceReport {
	return &feedpb.InstanceReport{Id: string(id), Boot: r.Boot, State: uint32(r.State), Reason: r.Reason}
}
