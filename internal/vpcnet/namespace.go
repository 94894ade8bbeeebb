//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctl is one setting below /proc/sys/net.
type sysctl struct{ key, value string }

// commonSysctls hold in every namespace of ours. A new namespace takes IPv4's
// values from the host's, so what we rely on is said here. "default" reaches the links
// that are made later; "all" is needed as well where the kernel combines both.
var commonSysctls = []sysctl{
	// Addresses are given by us and unique by the control plane's word: usable
	// at once, without duplicate detection and without advice from the wire.
	{"ipv6/conf/all/disable_ipv6", "0"},
	{"ipv6/conf/default/disable_ipv6", "0"},
	{"ipv6/conf/all/accept_dad", "0"},
	{"ipv6/conf/default/accept_dad", "0"},
	{"ipv6/conf/default/dad_transmits", "0"},
	{"ipv6/conf/all/accept_ra", "0"},
	{"ipv6/conf/default/accept_ra", "0"},
	{"ipv6/conf/default/autoconf", "0"},
	{"ipv6/conf/all/accept_redirects", "0"},
	{"ipv6/conf/default/accept_redirects", "0"},
	{"ipv4/conf/all/accept_redirects", "0"},
	{"ipv4/conf/default/accept_redirects", "0"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/conf/all/rp_filter", "0"},
	{"ipv4/conf/default/rp_filter", "0"},
	{"ipv4/conf/all/route_localnet", "0"},
	{"ipv4/conf/default/route_localnet", "0"},
	{"ipv4/conf/all/proxy_arp", "0"},
	{"ipv4/conf/default/proxy_arp", "0"},
}

// routerSysctls make a router. Its links have one link-local address, the
// gateway's, which we give: none is generated.
var routerSysctls = append(slices.Clip(commonSysctls),
	sysctl{"ipv4/ip_forward", "1"},
	sysctl{"ipv4/conf/all/arp_ignore", "0"},
	sysctl{"ipv4/conf/default/arp_ignore", "0"},
	sysctl{"ipv6/conf/all/forwarding", "1"},
	sysctl{"ipv6/conf/default/addr_gen_mode", "1"},
)

// instanceSysctls make a host that is nobody's router; what runs in it has no
// capabilities, and may use low ports and ping all the same, as on a machine of
// its own. With several interfaces, each answers only for its own addresses.
var instanceSysctls = append(slices.Clip(commonSysctls),
	sysctl{"ipv4/ip_forward", "0"},
	sysctl{"ipv6/conf/all/forwarding", "0"},
	sysctl{"ipv4/ip_unprivileged_port_start", "0"},
	sysctl{"ipv4/ping_group_range", "0\t2147483647"},
	sysctl{"ipv4/conf/all/arp_ignore", "1"},
	sysctl{"ipv4/conf/all/arp_announce", "2"},
)

// setSysctls writes what differs, in the calling thread's namespace.
func setSysctls(list []sysctl) error {
	for _, s := range list {
		if strings.HasPrefix(s.key, "ipv6/") && !hasIPv6() {
			continue
		}
		path := "/proc/sys/net/" + s.key
		have, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read sysctl: %w", err)
		}
		if string(have) == s.value+"\n" {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0); err != nil {
			return fmt.Errorf("write sysctl: %w", err)
		}
	}
	return nil
}

// hasIPv6 says whether this host's kernel does IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// isNamespace says whether a namespace is mounted at path; a plain file is what
// a crash between its making and the mount leaves.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// ensureNamespace makes a network namespace that lives at path, as `ip netns
// add` does.
func (f *Fabric) ensureNamespace(path string) error {
	if isNamespace(path) {
		return nil
	}
	f.spaces.Lock()
	defer f.spaces.Unlock()
	if isNamespace(path) {
		return nil
	}
	if err := shareMounts(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make namespace: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("make namespace: %w", err)
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make namespace %s: %w", path, err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount namespace %s: %w", path, err)
		}
		return nil
	})
}

// shareMounts makes dir a mount whose mounts are seen by every mount namespace
// that came from ours, so that removing a namespace here removes it everywhere.
func shareMounts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make namespace folder: %w", err)
	}
	err := unix.Mount("", dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return err // nil, or nothing that a bind mount would cure
	}
	if err := unix.Mount(dir, dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount namespace folder: %w", err)
	}
	if err := unix.Mount("", dir, "none", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share namespace folder: %w", err)
	}
	return nil
}

// removeNamespace unmounts and removes path; absent is fine.
func (f *Fabric) removeNamespace(path string) error {
	f.spaces.Lock()
	defer f.spaces.Unlock()
	for isNamespace(path) { // a second mount on top is nobody's intent, yet possible
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace: %w", err)
	}
	return nil
}

// onThread runs fn on a thread that ends with it, so that fn may change the
// thread's namespaces. It returns when fn did.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		done <- fn()
	}()
	return <-done
}

// Inside runs fn on a thread of its own inside the network namespace at path.
// What fn starts is born there; the thread ends with fn, so fn may change
// whatever a thread has (other namespaces, its cgroup) without giving it back.
func Inside(path string, fn func() error) error {
	return onThread(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open namespace %s: %w", path, err)
		}
		err = unix.Setns(fd, unix.CLONE_NEWNET)
		if closeErr := unix.Close(fd); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("enter namespace %s: %w", path, err)
		}
		return fn()
	})
}
