//go:build linux

package bind

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// deniedCalls are system calls that no user data needs and that would show it
// more of the kernel than a stranger should see. They answer EPERM. Most would
// fail for want of a capability; then this keeps their code out of reach.
var deniedCalls = []uint32{
	// The kernel itself and the machine.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SYSLOG,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL,
	unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY,
	// Large, young or often broken parts of it.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_FANOTIFY_INIT,
	// Keyrings know no namespaces.
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	// Other namespaces and mounts.
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT,
	unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_BY_HANDLE_AT,
}

// allowedFamilies are the kinds of socket that stay within the instance. Others
// do not (vsock reaches the hypervisor past every rule) or are kernel surface.
var allowedFamilies = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// Offsets in struct seccomp_data, which is the "packet" that the filter reads.
const (
	seccompNumber = 0
	seccompArch   = 4
	seccompArg0   = 16 // its low half: both architectures are little-endian
)

// x32Bit marks calls of x86-64's other ABI, whose numbers we do not list.
const x32Bit = 0x4000_0000

// seccompFilter is the filter as bubblewrap reads it: an array of sock_filter.
// Calls of another architecture than the host's own are denied whole.
func seccompFilter() ([]byte, error) {
	var arch uint32
	switch runtime.GOARCH {
	case "amd64":
		arch = unix.AUDIT_ARCH_X86_64
	case "arm64":
		arch = unix.AUDIT_ARCH_AARCH64
	default:
		return nil, fmt.Errorf("no system call filter for %s", runtime.GOARCH)
	}
	const (
		load        = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpIfEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jumpIfOver  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer      = unix.BPF_RET | unix.BPF_K
	)
	deny := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}
	prog := []unix.SockFilter{
		{Code: load, K: seccompArch},
		{Code: jumpIfEqual, K: arch, Jt: 1},
		deny,
		{Code: load, K: seccompNumber},
		{Code: jumpIfOver, K: x32Bit, Jf: 1},
		deny,
	}
	for _, nr := range deniedCalls {
		prog = append(prog, unix.SockFilter{Code: jumpIfEqual, K: nr, Jf: 1}, deny)
	}
	prog = append(prog, unix.SockFilter{Code: jumpIfEqual, K: unix.SYS_SOCKET, Jt: 1}, allow,
		unix.SockFilter{Code: load, K: seccompArg0})
	for _, family := range allowedFamilies {
		prog = append(prog, unix.SockFilter{Code: jumpIfEqual, K: family, Jf: 1}, allow)
	}
	prog = append(prog, deny)
	var out bytes.Buffer
	if err := binary.Write(&out, binary.NativeEndian, prog); err != nil {
		return nil, fmt.Errorf("encode system call filter: %w", err)
	}
	return out.Bytes(), nil
}
