package datapath

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"sallyport.dev/sallyport/internal/program"
)

// table is one kernel map while it is written. In a full Apply it knows what the
// kernel held, writes only what differs, and at the end deletes what is left.
type table[K, V comparable] struct {
	m    *ebpf.Map
	have map[K]V // nil: write everything, delete nothing
}

func (t *table[K, V]) load() error {
	t.have = map[K]V{}
	var k K
	var v V
	it := t.m.Iterate()
	for it.Next(&k, &v) {
		t.have[k] = v
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read %s: %w", t.m, err)
	}
	return nil
}

func (t *table[K, V]) put(k K, v V) error {
	old, ok := t.have[k]
	delete(t.have, k)
	if ok && old == v {
		return nil
	}
	if err := t.m.Put(k, v); err != nil {
		return fmt.Errorf("write %s: %w", t.m, err)
	}
	return nil
}

func (t *table[K, V]) remove(k K) error {
	delete(t.have, k)
	if err := t.m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from %s: %w", t.m, err)
	}
	return nil
}

// removeRest deletes what nobody put.
func (t *table[K, V]) removeRest() error {
	for k := range t.have {
		if err := t.remove(k); err != nil {
			return err
		}
	}
	t.have = nil
	return nil
}

// tables are the maps that a change writes.
type tables struct {
	addrs    table[kernelAddrKey, uint32]
	policies table[uint32, kernelPolicy]
	prefixes table[kernelPrefixKey, program.Vector]
	services table[kernelServiceKey, program.Vector]
	members  table[kernelMemberKey, uint32]
	groups   table[kernelGroupKey, program.Vector]
}

func (k *kernel) tables() *tables {
	return &tables{
		addrs:    table[kernelAddrKey, uint32]{m: k.Addrs},
		policies: table[uint32, kernelPolicy]{m: k.Policies},
		prefixes: table[kernelPrefixKey, program.Vector]{m: k.Prefixes},
		services: table[kernelServiceKey, program.Vector]{m: k.Services},
		members:  table[kernelMemberKey, uint32]{m: k.Members},
		groups:   table[kernelGroupKey, program.Vector]{m: k.Groups},
	}
}

func (t *tables) load() error {
	return errors.Join(t.addrs.load(), t.policies.load(), t.prefixes.load(), t.services.load(), t.members.load(), t.groups.load())
}

// Bits of kernelPolicy.Deep.
const (
	deepIPv4 = 1 << iota
	deepIPv6
	deepGroups
)

// mappedBits is the length of the prefix under which IPv4 lives.
const mappedBits = 96

// writePolicy writes a policy under a number nobody uses yet; its own record
// comes last. The keys are kept to be deleted by.
func (t *tables) writePolicy(to *policy, p *program.Tables, identities map[string]*identity) error {
	rec := kernelPolicy{
		Words: uint32(len(p.Rules)+63) / 64, Open: uint32(p.Open),
		Any: [2][16]uint64{p.Any[program.IPv4], p.Any[program.IPv6]},
	}
	to.prefixes, to.services = nil, nil
	for _, e := range p.Prefixes {
		if netip.AddrFrom16(e.Addr).Is4In6() && e.Bits >= mappedBits {
			if e.Bits > mappedBits {
				rec.Deep |= deepIPv4
			}
		} else if e.Bits > 0 {
			rec.Deep |= deepIPv6
		}
	}
	if rec.Deep != 0 {
		for _, e := range p.Prefixes {
			key := kernelPrefixKey{Bits: 32 + uint32(e.Bits), Policy: to.num, A: e.Addr}
			to.prefixes = append(to.prefixes, key)
			if err := t.prefixes.put(key, e.Rules); err != nil {
				return err
			}
		}
	}
	for _, e := range p.Services {
		key := kernelServiceKey{Bits: 32 + uint32(e.Bits), Policy: to.num, Proto: e.Proto, Hi: uint8(e.Value >> 8), Lo: uint8(e.Value)}
		to.services = append(to.services, key)
		if err := t.services.put(key, e.Rules); err != nil {
			return err
		}
	}
	if len(p.Groups) > 0 {
		rec.Deep |= deepGroups
		for _, i := range identities {
			if err := t.writeVector(to, i); err != nil {
				return err
			}
		}
	}
	return t.policies.put(to.num, rec)
}

// writeVector writes which rules of a policy refer to a group of an identity.
func (t *tables) writeVector(p *policy, i *identity) error {
	v := p.tables.VectorOf(i.groups)
	if v.Empty() {
		return nil
	}
	return t.groups.put(kernelGroupKey{Policy: p.num, Identity: i.num}, v)
}

// ipOf is an address as the kernel keeps it: IPv4 mapped into IPv6.
func ipOf(a netip.Addr) kernelIp {
	b := a.As16()
	return kernelIp{Hi: binary.NativeEndian.Uint64(b[:8]), Lo: binary.NativeEndian.Uint64(b[8:])}
}

func addrOf(ip kernelIp) netip.Addr {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], ip.Hi)
	binary.NativeEndian.PutUint64(b[8:], ip.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// Kinds of names, and of numbers.
const (
	kindInterface uint32 = iota + 1
	kindPolicy
	kindIdentity
	kindNetwork
	kindAttachment
)

// String is the name as text; policies and identities have hashes instead.
func (n kernelName) String() string { return string(bytes.TrimRight(n.Text[:], "\x00")) }

func (k *kernel) setName(kind, num uint32, text []byte) error {
	var n kernelName
	if len(text) >= len(n.Text) {
		return fmt.Errorf("name %q is too long", text)
	}
	copy(n.Text[:], text)
	if err := k.Names.Put(kernelNameKey{Kind: kind, Number: num}, n); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	return nil
}

func (k *kernel) dropName(kind, num uint32) error {
	if err := k.Names.Delete(kernelNameKey{Kind: kind, Number: num}); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from names: %w", err)
	}
	return nil
}

// nextNumber hands out numbers that were never used before, by any process: a
// flow's credit names a policy long after it is gone.
func (k *kernel) nextNumber(kind uint32) (uint32, error) {
	var n uint32
	if err := k.Numbers.Lookup(kind, &n); err != nil {
		return 0, fmt.Errorf("read numbers: %w", err)
	}
	n++
	if n == 0 {
		return 0, fmt.Errorf("number %d: %w", kind, ErrFull)
	}
	if err := k.Numbers.Put(kind, n); err != nil {
		return 0, fmt.Errorf("write numbers: %w", err)
	}
	return n, nil
}

// erase deletes what a policy that nobody uses has in the kernel.
func (t *tables) erase(p *policy, identities map[string]*identity) error {
	errs := []error{t.policies.remove(p.num)}
	for _, k := range p.prefixes {
		errs = append(errs, t.prefixes.remove(k))
	}
	for _, k := range p.services {
		errs = append(errs, t.services.remove(k))
	}
	if len(p.tables.Groups) > 0 {
		for _, i := range identities {
			errs = append(errs, t.groups.remove(kernelGroupKey{Policy: p.num, Identity: i.num}))
		}
	}
	return errors.Join(errs...)
}

// hashOf names a set of groups by content.
func hashOf(g program.Groups) [16]byte {
	sum := sha256.Sum256([]byte(g.Key()))
	return [16]byte(sum[:16])
}

// recover learns the numbering from the names.
func (d *Datapath) recover() error {
	var key kernelNameKey
	var n kernelName
	attached := map[uint32]bool{}
	it := d.k.Names.Iterate()
	for it.Next(&key, &n) {
		text := n.String()
		switch key.Kind {
		case kindInterface:
			d.ifaces[program.InterfaceID(text)] = &iface{num: key.Number}
		case kindPolicy:
			d.policies[program.PolicyHash(n.Text[:16])] = &policy{num: key.Number}
		case kindIdentity:
			d.recovered[[16]byte(n.Text[:16])] = key.Number
		case kindNetwork:
			d.networks[program.NetworkID(text)] = key.Number
		case kindAttachment:
			attached[key.Number] = true
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	for _, i := range d.ifaces {
		i.attached = attached[i.num]
	}
	return nil
}
