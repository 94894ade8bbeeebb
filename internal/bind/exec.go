//go:build linux

package bind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/vpcnet"
)

// ErrNotRunning says that the instance has no namespace on this host.
var ErrNotRunning = errors.New("the instance does not run on this host")

// Exec runs a command inside the instance's network, as the root of the host and
// with the host's files: it is the operator's hand, not the instance's. It is
// part of the instance: Stop ends it. The result is its exit code as a shell
// tells it; the error says why it could not run.
func (l *Lab) Exec(ctx context.Context, id program.InstanceID, argv []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if len(argv) == 0 {
		return 0, errors.New("no command")
	}
	path := l.net.InstancePath(id)
	if _, err := spaceOf(path); errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w", id, ErrNotRunning)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := vpcnet.Inside(path, func() error {
		unified, err := l.groups.join(string(id))
		if err != nil {
			return err
		}
		if unified != nil {
			defer unified.Close() //nolint:errcheck // nothing was written
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(unified.Fd())}
		}
		if err := ownSys(); err != nil {
			return err
		}
		return cmd.Start()
	})
	if err != nil {
		return 0, fmt.Errorf("run in %s: %w", id, err)
	}
	err = cmd.Wait()
	if cmd.ProcessState == nil || (err != nil && !isExit(err)) {
		return 0, fmt.Errorf("run in %s: %w", id, err)
	}
	return exitCode(cmd.ProcessState), nil
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}

// ownSys gives the calling thread a view of its own in which /sys shows the
// network that it is in.
func ownSys() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separate mounts: %w", err)
	}
	// What was mounted below goes with it, as with `ip netns exec`.
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	return nil
}
