package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
)

// ErrUnsupported says that this process cannot enforce here; the message says what is missing.
var ErrUnsupported = errors.New("cannot enforce here")

// Probe says in one sentence what is missing to enforce on this machine, nil if nothing is.
func Probe() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: needs root", ErrUnsupported)
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("%w: the kernel does not let us lock memory for BPF maps: %w", ErrUnsupported, err)
	}
	if err := features.HaveProgramType(ebpf.SchedCLS); err != nil {
		return fmt.Errorf("%w: the kernel lacks BPF programs on tc hooks: %w", ErrUnsupported, err)
	}
	if err := features.HaveMapType(ebpf.RingBuf); err != nil {
		return fmt.Errorf("%w: the kernel lacks BPF ring buffers (5.8): %w", ErrUnsupported, err)
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("%w: the kernel has no BTF of itself (CONFIG_DEBUG_INFO_BTF)", ErrUnsupported)
	}
	return nil
}
