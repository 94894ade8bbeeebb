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

// Free is an address of an IPv4 block that is neither reserved nor taken: the
// lowest, as long as those taken are the lowest.
func Free(block netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	base := toUint(block.Masked().Addr())
	size := uint64(1) << (32 - block.Bits())
	at := func(n uint64) netip.Addr { return fromUint(base + uint32(n)) }
	n, ok := firstFree(reservedFirst, size-reservedLast, func(n uint64) bool { return taken(at(n)) })
	return at(n), ok
}

// Free6 is Free for an IPv6 block of a subnet (/64).
func Free6(block netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, bool) {
	base := block.Masked().Addr().As16()
	at := func(n uint64) netip.Addr {
		b := base
		binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(base[8:])+n)
		return netip.AddrFrom16(b)
	}
	// No subnet holds anywhere near as many interfaces: the walk ends.
	const span = 1 << 32
	n, ok := firstFree(reservedFirst6, span, func(n uint64) bool { return taken(at(n)) })
	return at(n), ok
}

// firstFree is a number from lo up to, not including, hi that is not taken. It
// asks log n times where the taken ones stand together at the start, which is
// how they are handed out, and only looks at each where that finds none.
func firstFree(lo, hi uint64, taken func(uint64) bool) (uint64, bool) {
	if lo >= hi {
		return 0, false
	}
	if !taken(lo) {
		return lo, true
	}
	used := lo // is taken
	for step := uint64(1); used < hi-1; step *= 2 {
		free := min(used+step, hi-1)
		if taken(free) {
			used = free
			continue
		}
		for free-used > 1 {
			if mid := used + (free-used)/2; taken(mid) {
				used = mid
			} else {
				free = mid
			}
		}
		return free, true
	}
	for n := lo; n < hi; n++ {
		if !taken(n) {
			return n, true
		}
	}
	return 0, false
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
