package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Slots of the progs array: which program a stub calls.
const (
	slotFromInstance uint32 = iota // egress of the network interface
	slotToInstance
)

const fragsPerInterface = 64 // FRAGS in maps.h

// kernel is the loaded objects.
type kernel struct {
	kernelObjects
	progs  *ebpf.Map
	mem    []byte        // ifaces, shared with the programs
	ifaces []kernelIface // the same
}

// openKernel finds or makes the maps pinned in the options' folder and loads the programs onto them.
func openKernel(opts Options) (_ *kernel, err error) {
	if err := mountPins(opts.PinDir); err != nil {
		return nil, err
	}
	spec, err := loadKernel()
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	sizes := map[string]int{
		"ifaces": opts.Interfaces, "addrs": opts.Interfaces * 64, "policies": 4*opts.Interfaces + unusedMax,
		"prefixes": opts.PolicyEntries, "services": opts.PolicyEntries, "groups": opts.PolicyEntries, "hits": opts.PolicyEntries,
		"members": opts.Members, "flows": opts.Flows, "frags": opts.Interfaces * fragsPerInterface,
		"counters": opts.Interfaces * 2, "names": opts.PolicyEntries,
	}
	replace := map[string]*ebpf.Map{}
	defer func() {
		if err != nil {
			for _, m := range replace {
				err = errors.Join(err, m.Close())
			}
		}
	}()
	for name, ms := range spec.Maps {
		if name[0] == '.' {
			continue // constants of this load
		}
		if n := sizes[name]; n > 0 {
			ms.MaxEntries = uint32(n)
		}
		if replace[name], err = pinnedMap(opts.PinDir, name, ms); err != nil {
			return nil, err
		}
		ms.MaxEntries = replace[name].MaxEntries()
	}
	k := &kernel{}
	if k.progs, err = pinnedMap(opts.PinDir, "progs", &ebpf.MapSpec{
		Name: "progs", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 8,
	}); err != nil {
		return nil, err
	}
	if err = spec.LoadAndAssign(&k.kernelObjects, &ebpf.CollectionOptions{MapReplacements: replace}); err != nil {
		return nil, fmt.Errorf("load the programs: %w", err)
	}
	for _, m := range replace {
		err = errors.Join(err, m.Close()) // the objects hold clones
	}
	if err != nil {
		return nil, err
	}
	clear(replace)
	if err = k.share(); err != nil {
		return nil, err
	}
	for slot, p := range map[uint32]*ebpf.Program{slotFromInstance: k.FromInstance, slotToInstance: k.ToInstance} {
		if err = k.install(slot, p); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// pinnedMap finds a map by its pin, or makes and pins it. What exists keeps its size.
func pinnedMap(dir, name string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	path := filepath.Join(dir, name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err == nil {
		if m.Type() != spec.Type || m.KeySize() != spec.KeySize || m.ValueSize() != spec.ValueSize || m.Flags() != spec.Flags {
			err = fmt.Errorf("%s: %w", path, ErrOtherVersion)
			return nil, errors.Join(err, m.Close())
		}
		return m, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if m, err = ebpf.NewMap(spec); err != nil {
		return nil, fmt.Errorf("make map %s: %w", name, err)
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pin %s: %w", path, err), m.Close())
	}
	return m, nil
}

// share maps the interfaces' records into this process, so that a change is
// one store that programs see whole.
func (k *kernel) share() error {
	size := int(k.Ifaces.MaxEntries()) * int(unsafe.Sizeof(kernelIface{}))
	page := os.Getpagesize()
	mem, err := unix.Mmap(k.Ifaces.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the interfaces' records: %w", err)
	}
	k.mem = mem
	k.ifaces = unsafe.Slice((*kernelIface)(unsafe.Pointer(&mem[0])), k.Ifaces.MaxEntries())
	return nil
}

// install puts p into a slot, unless the program there is the same.
func (k *kernel) install(slot uint32, p *ebpf.Program) error {
	var id uint32
	if err := k.progs.Lookup(slot, &id); err == nil {
		if old, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
			have, err1 := old.Info()
			want, err2 := p.Info()
			if err := old.Close(); err != nil {
				return fmt.Errorf("close program: %w", err)
			}
			if err1 == nil && err2 == nil && have.Tag == want.Tag {
				return nil
			}
		}
	}
	if err := k.progs.Put(slot, p); err != nil {
		return fmt.Errorf("install program %d: %w", slot, err)
	}
	return nil
}

func (k *kernel) close() error {
	var errs []error
	if k.mem != nil {
		errs = append(errs, unix.Munmap(k.mem))
		k.mem, k.ifaces = nil, nil
	}
	if k.progs != nil {
		errs = append(errs, k.progs.Close(), k.kernelObjects.Close())
		k.progs = nil
	}
	return errors.Join(errs...)
}

// Stores that a program sees whole.
func store32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
func store64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// barrier waits until every program that was running when it was called is done
// (membarrier's global command is an RCU grace period).
func barrier() error {
	const membarrierGlobal = 1
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		return fmt.Errorf("membarrier: %w", errno)
	}
	return nil
}

// marker is a folder at the root of a BPF file system that we have mounted.
const marker = "mounted_by_sallyport"

// mountPins makes sure dir exists on a BPF file system: the usual one, or one
// of its own for a folder elsewhere.
func mountPins(dir string) error {
	root := dir
	if rel, err := filepath.Rel("/sys/fs/bpf", dir); err == nil && filepath.IsLocal(rel) {
		root = "/sys/fs/bpf"
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	on, err := isBPF(root)
	if err != nil {
		return err
	}
	if !on {
		if err := unix.Mount("bpf", root, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount a BPF file system at %s: %w", root, err)
		}
		if err := os.Mkdir(filepath.Join(root, marker), 0o700); err != nil {
			return fmt.Errorf("mark %s: %w", root, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "links"), 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}

func isBPF(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("stat %s: %w", dir, err)
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

// foreign names are in a BPF file system without anybody's pin: our mark and the kernel's own.
func foreign(name string) bool {
	return name == marker || name == "maps.debug" || name == "progs.debug"
}

// removePins removes dir, the folders above it that this leaves empty, and the
// mount below if it is ours and empty.
func removePins(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	for _, e := range entries {
		if !foreign(e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove pins: %w", err)
			}
		}
	}
	root := dir
	for os.Remove(root) == nil { // up to what others use, or to the mount point, which is busy
		root = filepath.Dir(root)
	}
	left, err := os.ReadDir(root)
	if err != nil || slices.ContainsFunc(left, func(e fs.DirEntry) bool { return !foreign(e.Name()) }) {
		return nil //nolint:nilerr // in use by somebody else
	}
	if err := os.Remove(filepath.Join(root, marker)); errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else's mount
	} else if err != nil {
		return fmt.Errorf("remove mark: %w", err)
	}
	if err := unix.Unmount(root, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", root, err)
	}
	if root == dir {
		if err := os.Remove(dir); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return nil
}
