//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"sallyport.dev/sallyport/bench/measure"
	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

const testRuns = 20_000 // of the program, a sample: some 3 ms

// sizes are the worlds that verdicts are measured in.
var sizes = []worldSize{{10, 10}, {1000, 10}, {10, 100_000}, {1000, 100_000}}

type worldSize struct{ rules, members int }

// verdictCost is the time in ns of the program on the hook to an instance,
// tail call included, over an empty program's: for a flow that is known, and
// for one that is new and admitted by the last rule, by group. No record of the
// new flow is made, since the interface's budget is used up: this is the verdict alone.
type verdictCost struct {
	worldSize
	known, fresh measure.Samples
}

// verdicts measures all sizes in turns.
func verdicts(s *stage, rounds int) (out []*verdictCost, err error) {
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("loading an empty program: %w", err)
	}
	defer func() { err = errors.Join(err, empty.Close()) }()
	type world struct {
		*verdictCost
		hook *ebpf.Program
	}
	var worlds []world
	for i, size := range sizes {
		hook, undo, err := startWorld(s, i, size)
		defer func() { err = errors.Join(err, undo()) }()
		if err != nil {
			return nil, err
		}
		worlds = append(worlds, world{&verdictCost{worldSize: size}, hook})
	}
	known, fresh := tcpFrame(9, ack), tcpFrame(10, syn)
	for range rounds {
		for _, w := range worlds {
			for _, m := range []struct {
				frame []byte
				to    *measure.Samples
			}{{known, &w.known}, {fresh, &w.fresh}} {
				base, err := perRun(empty, m.frame)
				if err != nil {
					return nil, err
				}
				cost, err := perRun(w.hook, m.frame)
				if err != nil {
					return nil, err
				}
				*m.to = append(*m.to, cost-base)
			}
		}
	}
	for _, w := range worlds {
		out = append(out, w.verdictCost)
	}
	return out, nil
}

// startWorld binds a world of its own to the stage's device and returns the program on its hook.
func startWorld(s *stage, n int, size worldSize) (hook *ebpf.Program, undo func() error, err error) {
	undo = func() error { return nil }
	dir := fmt.Sprintf("%s-%d", pinDir(s), n)
	d, err := datapath.Open(datapath.Options{PinDir: dir, Flows: 64, FlowsPerInterface: 1, Members: 2 * 100_000})
	if err != nil {
		return nil, undo, fmt.Errorf("opening: %w", err)
	}
	undo = d.Remove
	index, err := s.device(sides[1])
	if err != nil {
		return nil, undo, err
	}
	if err := d.Attach("eni-1", datapath.Attachment{NetNS: path(s.router), IfIndex: index}); err != nil {
		return nil, undo, fmt.Errorf("attaching: %w", err)
	}
	if err := d.Apply(verdictWorld(size), nil); err != nil {
		return nil, undo, fmt.Errorf("applying: %w", err)
	}
	// The one flow of the budget is the known one.
	if v, why, rule, err := d.Test(packet.Ingress, "eni-1", tcpFrame(9, syn)); err != nil || v != packet.Allow || rule != "sgr-99999" {
		return nil, undo, fmt.Errorf("the first packet is not let in: %s by %q, %w", why, rule, err)
	}
	l, err := link.LoadPinnedLink(filepath.Join(dir, "links", "1_egress"), nil)
	if err != nil {
		return nil, undo, fmt.Errorf("finding the hook (kernels before 6.6 have none that can be asked): %w", err)
	}
	info, err := l.Info()
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, undo, fmt.Errorf("asking the hook: %w", err)
	}
	hook, err = ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, undo, fmt.Errorf("taking the hook's program: %w", err)
	}
	return hook, func() error { return errors.Join(hook.Close(), d.Remove()) }, nil
}

// verdictWorld has as many rules, the last of which admits the peer by its
// group, and as many members of that group.
func verdictWorld(size worldSize) *program.Host {
	h := program.NewHost()
	in, out := policies(size.rules+1, true)
	last := program.Rule{ID: "sgr-99999", Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: portServed, To: portServed}}, Group: "sg-1"}
	in.Rules = append(in.Rules[:size.rules-1], last)
	h.Policies[in.Hash()], h.Policies[out.Hash()] = in, out
	h.Interfaces["eni-1"] = &program.Interface{
		ID: "eni-1", Network: "vpc-1", Ingress: in.Hash(), Egress: out.Hash(), CheckSource: true,
		Addrs: []netip.Addr{netip.MustParseAddr(serverAddr)},
	}
	h.Members[program.Member{Network: "vpc-1", Addr: netip.MustParseAddr(clientAddr)}] = program.Groups{"sg-1"}
	for n := range size.members - 1 {
		a := netip.AddrFrom4([4]byte{100, byte(64 + n>>16), byte(n >> 8), byte(n)})
		h.Members[program.Member{Network: "vpc-1", Addr: a}] = program.Groups{"sg-1"}
	}
	return h
}

// perRun is the time of one run of a program over a frame, in ns.
func perRun(p *ebpf.Program, frame []byte) (float64, error) {
	begun := time.Now()
	if _, err := p.Run(&ebpf.RunOptions{Data: frame, Repeat: testRuns}); err != nil {
		return 0, fmt.Errorf("test run: %w", err)
	}
	return float64(time.Since(begun).Nanoseconds()) / testRuns, nil
}

// TCP flags.
const (
	syn = 0x02
	ack = 0x10
)

// tcpFrame is a packet from the client's address to the served port. Checksums are not looked at.
func tcpFrame(sourcePort uint16, flags byte) []byte {
	b := make([]byte, 14+20+20)
	b[12] = 0x08 // IPv4
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, byte(packet.TCP)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], netip.MustParseAddr(clientAddr).AsSlice())
	copy(ip[16:], netip.MustParseAddr(serverAddr).AsSlice())
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, sourcePort)
	binary.BigEndian.PutUint16(tcp[2:], portServed)
	tcp[12], tcp[13] = 5<<4, flags
	return b
}
