//go:build linux

package bind

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

const (
	// killWaitMax is how long the kernel may take to end killed processes.
	killWaitMax = 10 * time.Second
	killPoll    = 2 * time.Millisecond
	// farewellMax is how long a supervisor may take to write the last output
	// after all its processes are dead.
	farewellMax = 2 * time.Second
)

// kill ends every process of the instance: those in its control groups, those
// in its network namespace, and its supervisor.
func (l *Lab) kill(id program.InstanceID) error {
	if err := l.killMembers(id); err != nil {
		return err
	}
	// Its processes gone, the supervisor writes what it still has and ends by
	// itself.
	dir := l.instanceDir(id)
	farewell := time.Now().Add(farewellMax)
	for deadline := time.Now().Add(killWaitMax); ; time.Sleep(killPoll) {
		pid, err := supervisor(dir)
		if err != nil {
			return err
		}
		if pid == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("supervisor %d of %s does not end", pid, id)
		}
		if time.Now().After(farewell) {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already: the next look sees it
		}
	}
	return l.killMembers(id) // what the supervisor started in between
}

func (l *Lab) killMembers(id program.InstanceID) error {
	for deadline := time.Now().Add(killWaitMax); ; time.Sleep(killPoll) {
		pids, err := l.members(id)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of %s do not end", pids, id)
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d of %s: %w", pid, id, err)
			}
		}
	}
}

// members are the instance's live processes. A thread of this very process may
// be on its way into the group: it is never a member.
func (l *Lab) members(id program.InstanceID) ([]int, error) {
	pids, err := l.groups.processes(string(id))
	if err != nil {
		return nil, err
	}
	space, err := spaceOf(l.net.InstancePath(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		inside, err := processesIn(space)
		if err != nil {
			return nil, err
		}
		pids = append(pids, inside...)
	}
	slices.Sort(pids)
	pids = slices.Compact(pids)
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() || dead(pid) }), nil
}

// processesIn finds the processes in a network namespace.
func processesIn(space string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := spaceOf(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && s == space {
			out = append(out, pid)
		}
	}
	return out, nil
}

// dead says whether a process has ended, waited for or not.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the name, which is in brackets and may hold any character.
	i := bytes.LastIndexByte(stat, ')')
	return i >= 0 && i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X')
}

// lockName is the file that an instance's supervisor holds locked for as long
// as it lives; the kernel knows by whom.
const lockName = "lock"

// supervisor is the process that holds the instance's lock, 0 if none does.
func supervisor(dir string) (int, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read supervisor lock: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("read supervisor lock: %w", err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}

// takeLock makes this process the instance's supervisor until it ends. The file
// must stay open and must not be opened again here: closing any descriptor of it
// would give the lock away.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take supervisor lock: %w", err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		return nil, errors.Join(fmt.Errorf("take supervisor lock: %w", err), f.Close())
	}
	return f, nil
}
