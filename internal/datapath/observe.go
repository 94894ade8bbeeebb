package datapath

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// Counters are packets and bytes by reason.
type Counters struct {
	Packets, Bytes [program.Reasons]uint64
}

// InterfaceStats is what an interface has seen since it got its number.
type InterfaceStats struct {
	ID       program.InterfaceID
	Bound    bool
	Attached bool
	Flows    uint64 // tracked, expired ones included until swept
	FlowsMax uint64
	Counters [2]Counters // by packet.Direction
}

// Interfaces is every interface that has a number, by id.
func (d *Datapath) Interfaces() ([]InterfaceStats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []InterfaceStats
	for id, i := range d.ifaces {
		rec := &d.k.ifaces[i.num]
		s := InterfaceStats{
			ID: id, Bound: rec.Flags&flagBound != 0, Attached: i.attached, Flows: rec.Flows, FlowsMax: rec.FlowsMax,
		}
		for dir := range s.Counters {
			var per []kernelCounter
			if err := d.k.Counters.Lookup(i.num*2+uint32(dir), &per); err != nil {
				return nil, fmt.Errorf("read counters of %s: %w", id, err)
			}
			for _, c := range per {
				for r := range c.Packets {
					s.Counters[dir].Packets[r] += c.Packets[r]
					s.Counters[dir].Bytes[r] += c.Bytes[r]
				}
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b InterfaceStats) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

// Hit is what a rule has admitted: packets that began a flow or passed
// untracked. Packets of known flows are counted at their flow.
type Hit struct {
	Packets, Bytes, Flows uint64
	Last                  time.Time
}

func (h Hit) plus(k kernelHit, now time.Time, mono uint64) Hit {
	h.Packets, h.Bytes, h.Flows = h.Packets+k.Packets, h.Bytes+k.Bytes, h.Flows+k.Flows
	if last := now.Add(time.Duration(k.Last - mono)); last.After(h.Last) {
		h.Last = last
	}
	return h
}

// Hits is the credit of every rule since this process began to look, over all interfaces.
func (d *Datapath) Hits() (map[program.RuleID]Hit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := maps.Clone(d.gone)
	if out == nil {
		out = map[program.RuleID]Hit{}
	}
	for _, p := range d.policies {
		if err := d.hitsOf(p, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *Datapath) hitsOf(p *policy, sum map[program.RuleID]Hit) error {
	if p.tables == nil {
		return nil
	}
	now, mono := time.Now(), monotonic()
	for n, id := range p.tables.Rules {
		var h kernelHit
		err := d.k.Hits.Lookup(kernelHitKey{Policy: p.num, Rule: uint32(n)}, &h)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read hits: %w", err)
		}
		sum[id] = sum[id].plus(h, now, mono)
	}
	return nil
}

// keepHits saves the credit of a policy that goes.
func (d *Datapath) keepHits(p *policy) error {
	if err := d.hitsOf(p, d.gone); err != nil {
		return err
	}
	if p.tables == nil {
		return nil
	}
	for n := range p.tables.Rules {
		if err := d.k.Hits.Delete(kernelHitKey{Policy: p.num, Rule: uint32(n)}); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete hits: %w", err)
		}
	}
	return nil
}

// monotonic is the programs' clock, in ns.
func monotonic() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot be: the clock exists
	}
	return uint64(ts.Nano())
}

// Flow is one tracked flow as its interface sees it.
type Flow struct {
	Interface     program.InterfaceID
	Initiator     packet.Direction // of its first packet
	Tuple         packet.Tuple     // of a packet in that direction
	Rule          program.RuleID   // that admitted it; empty when its policy is gone
	Created, Last time.Time
	Packets       [2]uint64 // by packet.Direction
	Bytes         [2]uint64
	Established   bool // TCP: both sides have acknowledged; UDP: a stream
}

// Flows walks the tracked flows of an interface, of all when id is empty. Flows
// that come and go meanwhile may be seen or not.
func (d *Datapath) Flows(id program.InterfaceID) iter.Seq2[Flow, error] {
	return func(yield func(Flow, error) bool) {
		ids, rules := d.numbering()
		now, mono := time.Now(), monotonic()
		at := func(t uint64) time.Time { return now.Add(time.Duration(t - mono)) }
		var key kernelFlowKey
		var rec kernelFlow
		it := d.k.Flows.Iterate()
		for it.Next(&key, &rec) {
			owner := ids[key.Ifnum]
			if owner == "" || id != "" && owner != id || rec.Epoch != d.k.ifaces[key.Ifnum].Epoch {
				continue
			}
			f := Flow{
				Interface: owner, Initiator: packet.Direction(rec.First), Created: at(rec.Created), Last: at(rec.Last),
				Packets: rec.Packets, Bytes: rec.Bytes, Established: rec.State&3 == 3 || rec.Turns >= program.UDPStreamTurns,
			}
			f.Tuple = tupleOf(key, f.Initiator)
			if r := rules[rec.Policy]; int(rec.Rule) < len(r) {
				f.Rule = r[rec.Rule]
			}
			if !yield(f, nil) {
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Flow{}, fmt.Errorf("read flows: %w", err))
		}
	}
}

// numbering is what numbers mean now.
func (d *Datapath) numbering() (map[uint32]program.InterfaceID, map[uint32][]program.RuleID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids, rules := map[uint32]program.InterfaceID{}, map[uint32][]program.RuleID{}
	for id, i := range d.ifaces {
		ids[i.num] = id
	}
	for _, p := range d.policies {
		if p.tables != nil {
			rules[p.num] = p.tables.Rules
		}
	}
	return ids, rules
}

func tupleOf(k kernelFlowKey, first packet.Direction) packet.Tuple {
	t := packet.Tuple{Proto: packet.Proto(k.Proto), Src: addrOf(k.Local), Dst: addrOf(k.Remote)}
	if t.Proto.HasTypes() {
		t.ID, t.Type, t.Code = k.Lport, uint8(k.Rport>>8), uint8(k.Rport)
	} else {
		t.SrcPort, t.DstPort = k.Lport, k.Rport
	}
	if first == packet.Ingress {
		return t.Reverse()
	}
	return t
}

// Drop is a sample of a dropped packet; at most ten a second per interface,
// direction and CPU are taken.
type Drop struct {
	At        time.Time
	Interface program.InterfaceID // empty: unknown by now
	Direction packet.Direction
	Reason    program.Reason
	Tuple     packet.Tuple // addresses are invalid where the packet could not be read
	Bytes     int
}

// Drops calls f with each sampled drop until ctx ends. One reader at a time.
func (d *Datapath) Drops(ctx context.Context, f func(Drop)) error {
	r, err := ringbuf.NewReader(d.k.Drops)
	if err != nil {
		return fmt.Errorf("read drops: %w", err)
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- r.Close() }) // wakes the read
	var rec ringbuf.Record
	for {
		if err := r.ReadInto(&rec); err != nil {
			if !stop() {
				return <-closed
			}
			return errors.Join(fmt.Errorf("read drops: %w", err), r.Close())
		}
		if drop, ok := d.dropOf(rec.RawSample); ok {
			f(drop)
		}
	}
}

// dropOf reads a sample (struct drop of maps.h).
func (d *Datapath) dropOf(raw []byte) (Drop, bool) {
	if len(raw) < int(unsafe.Sizeof(kernelDrop{})) {
		return Drop{}, false
	}
	k := *(*kernelDrop)(unsafe.Pointer(&raw[0]))
	out := Drop{
		At: time.Now().Add(time.Duration(k.At - monotonic())), Direction: packet.Direction(k.Dir),
		Reason: program.Reason(k.Reason), Bytes: int(k.Len),
	}
	if k.Src != (kernelIp{}) || k.Dst != (kernelIp{}) {
		out.Tuple = packet.Tuple{
			Proto: packet.Proto(k.Proto), Src: addrOf(k.Src), Dst: addrOf(k.Dst),
			SrcPort: k.Sport, DstPort: k.Dport, Type: k.Type, Code: k.Code,
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, i := range d.ifaces {
		if i.num == k.Ifnum {
			out.Interface = id
		}
	}
	return out, true
}

// skb is struct __sk_buff as BPF_PROG_TEST_RUN takes and returns it; cb starts at the thirteenth word.
type skb [48]uint32

const skbCB = 12

// frameMin is the shortest frame that the kernel's test run takes: an Ethernet header.
const frameMin = 14

// Test says what the kernel does with a frame that passes an interface in a
// direction, and does it: flows, budgets and counters change as with a real
// packet. The rule is the one that admits it now; empty for other reasons.
func (d *Datapath) Test(dir packet.Direction, id program.InterfaceID, frame []byte) (packet.Verdict, program.Reason, program.RuleID, error) {
	if len(frame) < frameMin {
		return packet.Deny, program.ReasonMalformed, "", nil // no such frame reaches a hook
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.ifaces[id]
	if i == nil {
		return packet.Deny, program.ReasonUnbound, "", nil
	}
	p := d.k.ToInstance
	if dir == packet.Egress {
		p = d.k.FromInstance
	}
	var in, out skb
	in[skbCB] = i.num
	ret, err := p.Run(&ebpf.RunOptions{Data: frame, Context: &in, ContextOut: &out})
	if err != nil {
		return packet.Deny, program.ReasonNone, "", fmt.Errorf("test run: %w", err)
	}
	reason := program.Reason(out[skbCB+1])
	if ret != tcNext {
		return packet.Deny, reason, "", nil
	}
	return packet.Allow, reason, d.ruleOf(reason, out[skbCB+2], out[skbCB+3]), nil
}

// tcNext is what the programs answer for a packet that passes: the next program has its say.
const tcNext = 0xffffffff

func (d *Datapath) ruleOf(reason program.Reason, num, bit uint32) program.RuleID {
	switch reason {
	case program.ReasonRule, program.ReasonUntracked, program.ReasonUntrackedReply, program.ReasonStateless:
	default:
		return ""
	}
	for _, p := range d.policies {
		if p.num == num && p.tables != nil && int(bit) < len(p.tables.Rules) {
			return p.tables.Rules[bit]
		}
	}
	return ""
}
