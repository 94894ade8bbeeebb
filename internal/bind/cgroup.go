//go:build linux

package bind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// controllers are those that hold an instance's limits.
var controllers = []string{"memory", "pids", "cpu"}

// cpuPeriodMicros is the kernel's own default: bursts of a tenth of a second.
const cpuPeriodMicros = 100_000

// supervisorsGroup holds all supervisors: outside the daemon's own group, for a
// service manager that stops the daemon ends everything in that; without limits,
// for what they keep is bounded.
const supervisorsGroup = "supervisors"

// cgroups are the hierarchies of this host that we use and our parent in them.
// A host has version 2, or version 1 in several hierarchies, or both with the
// controllers shared out between them.
type cgroups struct {
	parent string
	trees  []tree
}

type tree struct {
	mount       string
	unified     bool
	controllers []string // that this hierarchy offers, of ours
}

// findCgroups reads the hierarchies from the mount table.
func findCgroups(parent string) (cgroups, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}, fmt.Errorf("read mounts: %w", err)
	}
	trees, err := parseTrees(string(table))
	return cgroups{parent: parent, trees: trees}, err
}

// parseTrees finds the hierarchies in a mount table as proc(5) describes
// mountinfo. One that is mounted twice counts once.
func parseTrees(table string) ([]tree, error) {
	var out []tree
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 {
			continue
		}
		device, t := where[2], tree{mount: where[4], unified: what[0] == "cgroup2"}
		options := strings.Split(what[2], ",")
		switch {
		case seen[device]:
			continue
		case t.unified:
			have, err := os.ReadFile(filepath.Join(t.mount, "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("read controllers: %w", err)
			}
			options = strings.Fields(string(have))
		case what[0] != "cgroup":
			continue
		}
		for _, c := range controllers {
			if slices.Contains(options, c) {
				t.controllers = append(t.controllers, c)
			}
		}
		// systemd's own hierarchy decides what it kills with a service.
		if t.unified || len(t.controllers) > 0 || slices.Contains(options, "name=systemd") {
			seen[device] = true
			out = append(out, t)
		}
	}
	return out, nil
}

func (g cgroups) path(t tree, name string) string { return filepath.Join(t.mount, g.parent, name) }

// ensure makes a group with limits, and says which of them this host cannot
// hold.
func (g cgroups) ensure(name string, lim Limits) (unlimited []string) {
	held := map[string]bool{}
	trouble := map[string]error{}
	for _, t := range g.trees {
		dir := g.path(t, name)
		made := os.MkdirAll(dir, 0o755)
		for _, c := range t.controllers {
			err := made
			if err == nil {
				err = g.enable(t, c)
			}
			if err == nil {
				err = t.limit(dir, c, lim)
			}
			held[c], trouble[c] = err == nil, err
		}
	}
	for _, c := range controllers {
		switch {
		case held[c]:
		case trouble[c] != nil:
			unlimited = append(unlimited, c+": "+trouble[c].Error())
		default:
			unlimited = append(unlimited, c+": no such control group controller on this host")
		}
	}
	return unlimited
}

// enable passes a controller on to our groups; version 1 has no such step.
func (g cgroups) enable(t tree, controller string) error {
	if !t.unified {
		return nil
	}
	for _, dir := range []string{t.mount, g.path(t, "")} {
		if err := writeFile(dir, "cgroup.subtree_control", "+"+controller); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) limit(dir, controller string, lim Limits) error {
	memory, swap := strconv.FormatInt(lim.MemoryBytes, 10), "memory.memsw.limit_in_bytes"
	quota := strconv.FormatInt(lim.CPUMillis*cpuPeriodMicros/1000, 10)
	period := strconv.Itoa(cpuPeriodMicros)
	switch {
	case controller == "pids":
		return writeFile(dir, "pids.max", strconv.FormatInt(lim.Processes, 10))
	case controller == "cpu" && t.unified:
		return writeFile(dir, "cpu.max", quota+" "+period)
	case controller == "cpu":
		if err := writeFile(dir, "cpu.cfs_period_us", period); err != nil {
			return err
		}
		return writeFile(dir, "cpu.cfs_quota_us", quota)
	case t.unified:
		swap = "memory.swap.max"
		if err := writeFile(dir, "memory.max", memory); err != nil {
			return err
		}
		memory = "0"
	default:
		if err := writeFile(dir, "memory.limit_in_bytes", memory); err != nil {
			return err
		}
	}
	// A kernel without swap accounting has no such file; the bound on memory
	// holds all the same.
	if err := writeFile(dir, swap, memory); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeFile writes a control file that exists; it never makes one.
func writeFile(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("set limit: %w", err)
	}
	_, err = f.WriteString(value)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("set limit: %w", err)
	}
	return nil
}

// join moves the calling thread, which ends soon, into the group in every
// version 1 hierarchy, so that what it starts is born there; for version 2 it
// returns an open folder for the new process's attributes, nil if there is none.
func (g cgroups) join(name string) (*os.File, error) {
	var unified *os.File
	tid := strconv.Itoa(unix.Gettid())
	for _, t := range g.trees {
		dir := g.path(t, name)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !t.unified {
			if err := writeFile(dir, "tasks", tid); err != nil {
				return nil, errors.Join(fmt.Errorf("join control group: %w", err), closeFile(unified))
			}
			continue
		}
		var err error
		if unified, err = os.Open(dir); err != nil {
			return nil, fmt.Errorf("join control group: %w", err)
		}
	}
	return unified, nil
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// joinSupervisors moves this process among the supervisors.
func (g cgroups) joinSupervisors() error {
	for _, t := range g.trees {
		if err := os.MkdirAll(g.path(t, supervisorsGroup), 0o755); err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
		if err := writeFile(g.path(t, supervisorsGroup), "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
			return fmt.Errorf("join control group: %w", err)
		}
	}
	return nil
}

// processes are the members of the group, in whatever hierarchy.
func (g cgroups) processes(name string) ([]int, error) {
	var out []int
	for _, t := range g.trees {
		b, err := os.ReadFile(filepath.Join(g.path(t, name), "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read control group: %w", err)
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return nil, fmt.Errorf("read control group: %w", err)
			}
			out = append(out, pid)
		}
	}
	return out, nil
}

// remove removes a group that has no processes any more; the kernel may take a
// moment to agree.
func (g cgroups) remove(name string) error {
	for _, t := range g.trees {
		for deadline := time.Now().Add(killWaitMax); ; time.Sleep(killPoll) {
			err := os.Remove(g.path(t, name))
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove control group: %w", err)
			}
		}
	}
	return nil
}

// removeParent removes what is left when all instances are gone.
func (g cgroups) removeParent() error {
	return errors.Join(g.remove(supervisorsGroup), g.remove(""))
}
