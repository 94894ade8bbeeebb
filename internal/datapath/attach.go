package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

// Attachment says where an interface is.
type Attachment struct {
	NetNS   string // path of its network namespace; empty: the caller's
	IfIndex int
	// Reversed: this is the interface itself (a host's own NIC), not the host's
	// side of a pair: what it sends is egress.
	Reversed bool
}

// hook is one of a device's two tc hooks.
type hook struct {
	name   string
	tcx    ebpf.AttachType
	parent uint32 // of a clsact filter
}

func hooks() [2]hook {
	return [2]hook{
		{"ingress", ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS},
		{"egress", ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS},
	}
}

// filterName marks our clsact filters.
const (
	filterName   = "sallyport"
	filterHandle = 0x5a11
)

// Attach puts the programs on an interface's hooks, before Apply has given it a
// program or after: until then everything is dropped. Attaching again replaces
// what is there without a gap; attaching elsewhere moves the interface.
func (d *Datapath) Attach(id program.InterfaceID, at Attachment) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, err := d.number(id)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	place, err := placeOf(at)
	if err != nil {
		return fmt.Errorf("attach interface %s: %w", id, err)
	}
	moved := i.attached && d.k.name(kindAttachment, i.num) != place
	err = inNetNS(at.NetNS, func() error {
		for n, h := range hooks() {
			slot := slotFromInstance
			if (n == 1) != at.Reversed {
				slot = slotToInstance
			}
			if err := d.attachHook(i.num, h, slot, at.IfIndex, moved); err != nil {
				return fmt.Errorf("%s hook: %w", h.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("attach interface %s: %w", id, err)
	}
	i.attached = true
	return d.k.setName(kindAttachment, i.num, []byte(place))
}

// Attached lists the interfaces that are attached, by whichever process.
func (d *Datapath) Attached() ([]program.InterfaceID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []program.InterfaceID
	for id, i := range d.ifaces {
		if i.attached {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Detach takes the programs off an interface; its traffic is not filtered any
// more. One that is not known has none.
func (d *Datapath) Detach(id program.InterfaceID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.ifaces[id]
	if i == nil {
		return nil
	}
	return d.detach(id, i)
}

// placeOf tells places apart: a namespace by its inode, a device by its index.
func placeOf(at Attachment) (string, error) {
	path := at.NetNS
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("network namespace %s: %w", path, err)
	}
	return fmt.Sprintf("%d %d %t %q", st.Ino, at.IfIndex, at.Reversed, at.NetNS), nil
}

func (k *kernel) name(kind, num uint32) string {
	var n kernelName
	if err := k.Names.Lookup(kernelNameKey{Kind: kind, Number: num}, &n); err != nil {
		return ""
	}
	return n.String()
}

func (d *Datapath) linkPath(num uint32, h hook) string {
	return filepath.Join(d.opts.PinDir, "links", fmt.Sprintf("%d_%s", num, h.name))
}

// stub is the program on a hook: it says which interface this is, and goes on
// to the program of the slot. While a slot is empty nothing passes.
func (k *kernel) stub(num, slot uint32) (*ebpf.Program, error) {
	const cb = 4 * skbCB // offset of __sk_buff.cb
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: filterName, Type: ebpf.SchedCLS, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm32(asm.R2, int32(num)),
			asm.StoreMem(asm.R1, cb, asm.R2, asm.Word),
			asm.LoadMapPtr(asm.R2, k.progs.FD()),
			asm.Mov.Imm(asm.R3, int32(slot)),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, 2), // TC_ACT_SHOT
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load stub: %w", err)
	}
	return p, nil
}

func (d *Datapath) attachHook(num uint32, h hook, slot uint32, ifindex int, moved bool) (err error) {
	stub, err := d.k.stub(num, slot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stub.Close()) }()
	if !d.opts.clsact {
		err := d.attachTCX(num, h, stub, ifindex, moved)
		if !errors.Is(err, link.ErrNotSupported) {
			return err
		}
	}
	return attachClsact(h, stub, ifindex)
}

func (d *Datapath) attachTCX(num uint32, h hook, stub *ebpf.Program, ifindex int, moved bool) error {
	path := d.linkPath(num, h)
	old, err := link.LoadPinnedLink(path, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if err == nil {
		if !moved && onDevice(old, ifindex) {
			return errors.Join(old.Update(stub), old.Close())
		}
	}
	fresh, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: stub, Attach: h.tcx})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if old != nil {
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return errors.Join(fmt.Errorf("drop the old link: %w", err), fresh.Close())
		}
	}
	if err := fresh.Pin(path); err != nil {
		return errors.Join(fmt.Errorf("pin %s: %w", path, err), fresh.Close())
	}
	if err := fresh.Close(); err != nil {
		return fmt.Errorf("close link: %w", err)
	}
	return nil
}

// onDevice says whether a link is alive and on the device.
func onDevice(l link.Link, ifindex int) bool {
	info, err := l.Info()
	if err != nil || info.TCX() == nil {
		return false
	}
	return int(info.TCX().Ifindex) == ifindex
}

// attachClsact is for kernels without tcx (before 6.6).
func attachClsact(h hook, stub *ebpf.Program, ifindex int) error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("add clsact: %w", err)
	}
	if err := netlink.FilterReplace(filterOn(h, ifindex, stub.FD())); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

func filterOn(h hook, ifindex, fd int) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: ifindex, Parent: h.parent, Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:          fd, Name: filterName, DirectAction: true,
	}
}

// detach removes links, or filters where there are none, and forgets the place.
func (d *Datapath) detach(id program.InterfaceID, i *iface) error {
	var errs []error
	linked := false
	for _, h := range hooks() {
		l, err := link.LoadPinnedLink(d.linkPath(i.num, h), nil)
		if err == nil {
			linked = true
			// Detach works at once; the end of the last reference only soon. The device may be gone.
			if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
				errs = append(errs, err)
			}
			errs = append(errs, l.Unpin(), l.Close())
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if place := d.k.name(kindAttachment, i.num); place != "" && !linked {
		errs = append(errs, detachClsact(place))
	}
	if err := errors.Join(append(errs, d.k.dropName(kindAttachment, i.num))...); err != nil {
		return fmt.Errorf("detach %s: %w", id, err)
	}
	i.attached = false
	return nil
}

// detachClsact removes our filters from where an interface was, if that still exists.
func detachClsact(place string) error {
	var ifindex int
	var reversed bool
	var ino uint64
	var path string
	if _, err := fmt.Sscanf(place, "%d %d %t %q", &ino, &ifindex, &reversed, &path); err != nil {
		return fmt.Errorf("read place %q: %w", place, err)
	}
	if now, err := placeOf(Attachment{NetNS: path, IfIndex: ifindex, Reversed: reversed}); err != nil || now != place {
		return nil //nolint:nilerr // the namespace is gone, and the device with it
	}
	return inNetNS(path, func() error {
		for _, h := range hooks() {
			filters, err := netlink.FilterList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}, h.parent)
			if err != nil {
				return nil //nolint:nilerr // no device, or no clsact on it
			}
			for _, f := range filters {
				if ours, ok := f.(*netlink.BpfFilter); ok && ours.Name == filterName && ours.Handle == filterHandle {
					if err := netlink.FilterDel(ours); err != nil {
						return fmt.Errorf("remove filter: %w", err)
					}
				}
			}
		}
		return nil
	})
}

// inNetNS runs f in a network namespace, on a thread of its own; should the way
// back fail, the thread ends with its goroutine.
func inNetNS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	done := make(chan error)
	go func() {
		done <- func() error {
			runtime.LockOSThread()
			target, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("open namespace: %w", err)
			}
			defer target.Close() //nolint:errcheck // read only
			home, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return fmt.Errorf("open namespace: %w", err)
			}
			defer home.Close() //nolint:errcheck // read only
			if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", path, err)
			}
			err = f()
			if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
				runtime.UnlockOSThread()
			}
			return err
		}()
	}()
	return <-done
}
