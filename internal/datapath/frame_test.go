package datapath

import (
	"encoding/binary"
	"net/netip"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// frame is what a test wants on the wire; the zero value of a field is the ordinary case.
type frame struct {
	program.Packet
	src, dst   [6]byte
	vlans      []uint16
	fragment   uint16 // IPv4's flags and offset, IPv6's offset and flags
	id         uint32 // of the fragment
	extensions []byte // IPv6 next-header numbers before the transport header
	hops       uint8  // 0: 255
	payload    int
	claims     netip.Addr
	cut        int // bytes to leave out at the end
}

// bytes writes the frame. Checksums are not looked at by the programs and stay zero.
func (f frame) bytes() []byte {
	b := append(f.dst[:], f.src[:]...)
	for _, v := range f.vlans {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), v)
	}
	ip := f.ip(f.transport(f.Packet))
	if f.Src.Is4() {
		b = append(b, 0x08, 0x00)
	} else {
		b = append(b, 0x86, 0xdd)
	}
	b = append(b, ip...)
	return b[:len(b)-f.cut]
}

func (f frame) ip(l4 []byte) []byte {
	hops := f.hops
	if hops == 0 {
		hops = 255
	}
	if f.Src.Is4() {
		b := make([]byte, 20, 20+len(l4))
		b[0], b[8], b[9] = 0x45, hops, uint8(f.Proto)
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(l4)))
		binary.BigEndian.PutUint16(b[4:], uint16(f.id))
		binary.BigEndian.PutUint16(b[6:], f.fragment)
		copy(b[12:], f.Src.AsSlice())
		copy(b[16:], f.Dst.AsSlice())
		return append(b, l4...)
	}
	b := make([]byte, 40, 40+len(l4))
	b[0], b[7] = 0x60, hops
	copy(b[8:], f.Src.AsSlice())
	copy(b[24:], f.Dst.AsSlice())
	b[6] = uint8(f.Proto)
	if len(f.extensions) > 0 {
		b[6] = f.extensions[0]
	}
	for i, e := range f.extensions {
		h := make([]byte, 8)
		h[0] = uint8(f.Proto)
		if i+1 < len(f.extensions) {
			h[0] = f.extensions[i+1]
		}
		switch e {
		case 44:
			binary.BigEndian.PutUint16(h[2:], f.fragment)
			binary.BigEndian.PutUint32(h[4:], f.id)
		case 43:
			h[2] = 4
		}
		b = append(b, h...)
	}
	b = append(b, l4...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func (f frame) transport(p program.Packet) []byte {
	var b []byte
	switch {
	case p.Proto == packet.TCP:
		b = make([]byte, 20)
		b[12], b[13] = 5<<4, uint8(p.Flags)
	case p.Proto == packet.UDP:
		b = make([]byte, 8)
		binary.BigEndian.PutUint16(b[4:], uint16(8+f.payload))
	case p.Proto.HasTypes():
		b = make([]byte, 8)
		b[0], b[1] = p.Type, p.Code
		binary.BigEndian.PutUint16(b[4:], p.ID)
	}
	if p.Proto.HasPorts() {
		binary.BigEndian.PutUint16(b, p.SrcPort)
		binary.BigEndian.PutUint16(b[2:], p.DstPort)
	}
	if p.Quoted != nil {
		q := frame{Packet: program.Packet{Tuple: *p.Quoted}}
		b = append(b, q.ip(q.transport(q.Packet))...)
	}
	if p.Proto == packet.ICMPv6 && p.Type == 136 {
		b = append(b, f.target()...)
	}
	return append(b, make([]byte, f.payload)...)
}

// target is the address that a neighbour advertisement claims: claims, or a link-local one.
func (f frame) target() []byte {
	if f.claims.IsValid() {
		return f.claims.AsSlice()
	}
	return addr("fe80::1").AsSlice()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
