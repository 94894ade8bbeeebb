//go:build linux

package bind

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/vpcnet"
)

// Limits bound what one instance takes from its host. A zero field means the
// default.
type Limits struct {
	MemoryBytes int64 // of all its processes and its files in memory
	Processes   int64
	CPUMillis   int64 // thousandths of a processor
}

// The defaults make a small machine: enough for a web server and a script, and
// little enough for dozens of them on a laptop.
const (
	memoryBytesDefault = 512 << 20
	processesDefault   = 512
	cpuMillisDefault   = 1000
)

// cgroupDefault is the parent of the instances' control groups.
const cgroupDefault = "sallyport"

// Options configure a Lab. StateDir, SelfExe, Net and Log are required.
type Options struct {
	StateDir string // instances/<id> in it keeps console output and what was started
	SelfExe  string // a program whose first argument "lab-init" leads to LabInit
	Cgroup   string // name of the instances' parent control group; empty: "sallyport"
	Limits   Limits
	Net      *vpcnet.Fabric
	Log      *slog.Logger
}

// Lab is the lab instances of one host. It remembers nothing: another Lab over
// the same options, in another process, is the same lab. Its methods may be
// called from several goroutines; calls for one instance take turns.
type Lab struct {
	dir     string
	selfExe string
	limits  Limits
	net     *vpcnet.Fabric
	log     *slog.Logger
	groups  cgroups

	turns [turnsMax]sync.Mutex // an instance's is chosen by its id
}

// turnsMax is how many instances can be worked on at once: more than the
// goroutines that a host's agent has for it.
const turnsMax = 64

// NewLab is the lab of this host. It touches nothing yet.
func NewLab(o Options) (*Lab, error) {
	l := &Lab{
		dir: filepath.Join(o.StateDir, "instances"), selfExe: o.SelfExe, limits: o.Limits,
		net: o.Net, log: o.Log,
	}
	for _, f := range []struct {
		field *int64
		value int64
	}{
		{&l.limits.MemoryBytes, memoryBytesDefault},
		{&l.limits.Processes, processesDefault},
		{&l.limits.CPUMillis, cpuMillisDefault},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if o.Cgroup == "" {
		o.Cgroup = cgroupDefault
	}
	var err error
	l.groups, err = findCgroups(o.Cgroup)
	return l, err
}

// Bound is an interface and where its program goes.
type Bound struct {
	Interface program.InterfaceID
	vpcnet.Attachment
}

// Prepare makes the instance's namespace and exactly its interfaces, and says
// where to attach their programs; new links are down. The network must exist. An
// instance that is running an earlier boot is stopped first.
func (l *Lab) Prepare(inst *program.Instance) ([]Bound, error) {
	defer l.turn(inst.ID)()
	if err := checkID(inst.ID); err != nil {
		return nil, err
	}
	rec, found, err := l.readRecord(inst.ID)
	if err != nil {
		return nil, err
	}
	if found && rec.Boot != inst.Boot {
		if err := l.stop(inst.ID); err != nil {
			return nil, err
		}
	}
	if err := l.net.EnsureInstance(inst.ID); err != nil {
		return nil, err
	}
	if err := l.removeSurplus(inst); err != nil {
		return nil, err
	}
	var out []Bound
	for i := range inst.NICs {
		at, err := l.net.EnsureLink(linkOf(inst, i))
		if err != nil {
			return nil, err
		}
		out = append(out, Bound{Interface: inst.NICs[i].Interface, Attachment: at})
	}
	return out, nil
}

// removeSurplus removes interfaces that the instance has no longer.
func (l *Lab) removeSurplus(inst *program.Instance) error {
	have, err := l.net.Interfaces(inst.ID)
	if err != nil {
		return err
	}
	for _, id := range have {
		if slices.ContainsFunc(inst.NICs, func(n program.NIC) bool { return n.Interface == id }) {
			continue
		}
		if err := l.net.RemoveLink(inst.ID, id); err != nil {
			return err
		}
	}
	return nil
}

func linkOf(inst *program.Instance, i int) vpcnet.Link {
	return vpcnet.Link{Network: inst.Network, Instance: inst.ID, NIC: inst.NICs[i]}
}

// Start raises the instance's links and, if this boot has not run its user data
// yet, runs it. Prepare came before, and what enforces is attached. An error of
// the user data's sandbox leaves the instance up.
func (l *Lab) Start(inst *program.Instance) error {
	defer l.turn(inst.ID)()
	for i := range inst.NICs {
		if err := l.net.Up(linkOf(inst, i)); err != nil {
			return err
		}
	}
	here, err := l.here(inst.ID)
	if err != nil {
		return err
	}
	rec, found, err := l.readRecord(inst.ID)
	if err != nil {
		return err
	}
	if found && rec.Boot == inst.Boot && rec.Place == here {
		return nil
	}
	// Leftovers of a start that did not finish, or of a namespace that is gone.
	if err := l.kill(inst.ID); err != nil {
		return err
	}
	if err := os.MkdirAll(l.instanceDir(inst.ID), 0o700); err != nil {
		return fmt.Errorf("make folder of %s: %w", inst.ID, err)
	}
	rec = record{Boot: inst.Boot, Place: here, Started: time.Now().UTC(), UserData: UserDataNone}
	if len(inst.UserData) == 0 {
		return rec.write(l.instanceDir(inst.ID))
	}
	if err := l.runUserData(inst, rec); err != nil {
		return fmt.Errorf("user data of %s: %w", inst.ID, err)
	}
	return nil
}

// Stop ends the instance's processes and removes its interfaces and namespace.
// Its console output stays. Stopping what does not run is fine.
func (l *Lab) Stop(id program.InstanceID) error {
	defer l.turn(id)()
	if err := checkID(id); err != nil {
		return err
	}
	return l.stop(id)
}

// Terminate stops the instance and forgets it.
func (l *Lab) Terminate(id program.InstanceID) error {
	defer l.turn(id)()
	if err := checkID(id); err != nil {
		return err
	}
	if err := l.stop(id); err != nil {
		return err
	}
	if err := os.RemoveAll(l.instanceDir(id)); err != nil {
		return fmt.Errorf("forget %s: %w", id, err)
	}
	return nil
}

func (l *Lab) stop(id program.InstanceID) error {
	if err := l.kill(id); err != nil {
		return err
	}
	if err := l.groups.remove(string(id)); err != nil {
		return fmt.Errorf("control groups of %s: %w", id, err)
	}
	if err := l.net.RemoveInstance(id); err != nil {
		return err
	}
	return removeRecord(l.instanceDir(id))
}

// Status is what is known of an instance on this host.
type Status struct {
	ID       program.InstanceID
	Running  bool // it has its namespace, and Start got through
	Boot     int64
	Started  time.Time
	UserData UserData
	ExitCode int    // of the user data, when it is UserDataEnded
	Problem  string // why the user data did not run, when it is UserDataFailed
	// Unlimited names the limits that this host cannot hold, with the reason.
	Unlimited []string
}

// List says which instances this host has something of, sorted by id.
func (l *Lab) List() ([]Status, error) {
	inv, err := l.net.List()
	if err != nil {
		return nil, err
	}
	ids := inv.Instances
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	for _, e := range entries {
		ids = append(ids, program.InstanceID(e.Name()))
	}
	slices.Sort(ids)
	var out []Status
	for _, id := range slices.Compact(ids) {
		s, err := l.Status(id)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Status says what is known of one instance.
func (l *Lab) Status(id program.InstanceID) (Status, error) {
	s := Status{ID: id}
	if err := checkID(id); err != nil {
		return s, err
	}
	watched, err := supervisor(l.instanceDir(id)) // before the record, which it writes last of all
	if err != nil {
		return s, err
	}
	rec, found, err := l.readRecord(id)
	if !found || err != nil {
		return s, err
	}
	if rec.UserData == UserDataRunning && watched == 0 {
		rec.UserData = UserDataLost
	}
	here, err := l.here(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.Running = here != "" && here == rec.Place
	s.Boot, s.Started = rec.Boot, rec.Started
	s.UserData, s.ExitCode, s.Problem, s.Unlimited = rec.UserData, rec.ExitCode, rec.Problem, rec.Unlimited
	return s, err
}

// RemoveAll stops every instance and removes what the lab made on the host. The
// instances' folders stay: they are data.
func (l *Lab) RemoveAll() error {
	all, err := l.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, l.Stop(s.ID))
	}
	errs = append(errs, l.net.RemoveAll(), l.groups.removeParent())
	return errors.Join(errs...)
}

// turn waits until nobody else works on the instance (or on one that shares its
// lock); the result ends the turn.
func (l *Lab) turn(id program.InstanceID) func() {
	m := &l.turns[hash(string(id))%turnsMax]
	m.Lock()
	return m.Unlock
}

func (l *Lab) instanceDir(id program.InstanceID) string { return filepath.Join(l.dir, string(id)) }

// checkID keeps an id that becomes a file's name from being anything else.
func checkID(id program.InstanceID) error {
	digits, ok := strings.CutPrefix(string(id), "i-")
	if !ok || digits == "" || strings.Trim(digits, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return fmt.Errorf("%q is not an instance id", id)
	}
	return nil
}
