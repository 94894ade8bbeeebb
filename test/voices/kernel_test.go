package voices

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// kernelVoice judges by BPF_PROG_TEST_RUN of the programs that hosts run.
type kernelVoice struct{ d *datapath.Datapath }

// openKernelVoice loads the programs; nil, and a word, where that cannot be.
func openKernelVoice(t *testing.T) *kernelVoice {
	t.Helper()
	if err := datapath.Probe(); err != nil {
		t.Logf("the kernel has no voice: %v", err)
		return nil
	}
	dir := filepath.Join(datapath.PinDirDefault, "voices-"+strconv.Itoa(os.Getpid()))
	d, err := datapath.Open(datapath.Options{PinDir: dir, Interfaces: 64, Flows: 1 << 16, Members: 1 << 14, PolicyEntries: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &kernelVoice{d}
}

// with is the kernel's voice in another world; no flow of an earlier one lives on.
func (k *kernelVoice) with(t *testing.T, h *program.Host) voice {
	t.Helper()
	if err := k.d.Apply(program.NewHost(), nil); err != nil {
		t.Fatal(err)
	}
	if err := k.d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.d.Apply(h, nil); err != nil {
		t.Fatal(err)
	}
	return voice{"kernel", func(id program.InterfaceID, d packet.Direction, p explain.Packet) opinion {
		v, reason, rule, err := k.d.Test(d, id, frame(p))
		if err != nil {
			t.Fatal(err)
		}
		return opinion{v, rule, reason}
	}, func(t *testing.T, h *program.Host) {
		t.Helper()
		if err := k.d.Apply(h, nil); err != nil {
			t.Fatal(err)
		}
	}}
}

// frame is the packet on the wire. Nobody looks at its checksums.
func frame(p explain.Packet) []byte {
	l4 := transport(p)
	b := make([]byte, 12, 128) // no hardware addresses: the worlds' interfaces have none
	if p.Src.Is4() {
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, byte(p.Proto)
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
		put(ip[12:], p.Src)
		put(ip[16:], p.Dst)
		return append(append(append(b, 0x08, 0x00), ip...), l4...)
	}
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, byte(p.Proto), 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	put(ip[8:], p.Src)
	put(ip[24:], p.Dst)
	return append(append(append(b, 0x86, 0xdd), ip...), l4...)
}

func put(b []byte, a netip.Addr) { copy(b, a.AsSlice()) }

func transport(p explain.Packet) []byte {
	switch {
	case p.Proto == packet.TCP:
		b := make([]byte, 20)
		binary.BigEndian.PutUint16(b, p.SrcPort)
		binary.BigEndian.PutUint16(b[2:], p.DstPort)
		b[12], b[13] = 5<<4, byte(flagsOf(p))
		return b
	case p.Proto == packet.UDP:
		b := make([]byte, 8)
		binary.BigEndian.PutUint16(b, p.SrcPort)
		binary.BigEndian.PutUint16(b[2:], p.DstPort)
		binary.BigEndian.PutUint16(b[4:], 8)
		return b
	case p.Proto.HasTypes():
		b := make([]byte, 8)
		b[0], b[1] = p.Type, p.Code
		binary.BigEndian.PutUint16(b[4:], p.ID)
		return b
	}
	return make([]byte, 8)
}
