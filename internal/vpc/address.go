package vpc

import (
	"encoding/binary"
	"net/netip"
)

// Addresses of a subnet that its users cannot have: the first four and the last (AWS VPC guide).
const (
	reservedFirst = 4
	reservedLast  = 1
)

// Router is the address of a subnet's router: base + 1.
func Router(block netip.Prefix) netip.Addr { return block.Masked().Addr().Next() }

// Usable is how many addresses of an IPv4 block users can have.
func Usable(block netip.Prefix) int {
	return 1<<(32-block.Bits()) - reservedFirst - reservedLast
}

// Reserved says whether an address of an IPv4 block is kept from users.
func Reserved(block netip.Prefix, a netip.Addr) bool {
	base := toUint(block.Masked().Addr())
	n := toUint(a) - base
	size := uint32(1) << (32 - block.Bits())
	return n < reservedFirst || n >= size-reservedLast
}

// Free is the lowest address of an IPv4 block that is neither reserved nor taken.
func Free(block netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	base := toUint(block.Masked().Addr())
	size := uint32(1) << (32 - block.Bits())
	for n := uint32(reservedFirst); n < size-reservedLast; n++ {
		if a := fromUint(base + n); !taken(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// reservedFirst6 is how many addresses at the start of an IPv6 block are kept
// from users; AWS keeps four as in IPv4.
const reservedFirst6 = 4

// Reserved6 says whether an address of an IPv6 block is kept from users.
func Reserved6(block netip.Prefix, a netip.Addr) bool {
	base, b := block.Masked().Addr().As16(), a.As16()
	if string(base[:8]) != string(b[:8]) {
		return false
	}
	n := binary.BigEndian.Uint64(b[8:]) - binary.BigEndian.Uint64(base[8:])
	return n < reservedFirst6 || n == ^uint64(0)
}

func toUint(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func fromUint(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
