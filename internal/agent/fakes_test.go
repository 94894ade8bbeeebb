package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"sallyport.dev/sallyport/internal/feed/feedtest"
	"sallyport.dev/sallyport/internal/program"
)

// machine is a host's kernel as datapath and lab share it. It outlives agents,
// and it judges: what breaks the contract of the order of writes fails the test.
type machine struct {
	t  *testing.T
	mu sync.Mutex

	programs *program.Host // what the kernel judges by
	attached map[program.InterfaceID]Attachment
	links    map[program.InterfaceID]*link
	networks map[program.NetworkID]*program.Network
	ways     map[program.ConnectionID]*program.Connection
	carried  map[program.InstanceID]*program.Instance
	started  map[program.InstanceID]int64 // boot that runs
	boots    map[program.InstanceID]int   // times something was started
	working  map[string]bool
	writes   int
	applies  int
	indexes  int

	rand    *rand.Rand // when set, calls fail now and then
	broken  error      // when set, Apply fails
	joined  error      // when set, RemoveConnection fails
	stuck   chan struct{}
	stuckAt program.InstanceID
}

type link struct {
	at    Attachment
	owner program.InstanceID
	up    bool
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{
		t: t, programs: program.NewHost(), attached: map[program.InterfaceID]Attachment{},
		links: map[program.InterfaceID]*link{}, networks: map[program.NetworkID]*program.Network{},
		ways:    map[program.ConnectionID]*program.Connection{},
		carried: map[program.InstanceID]*program.Instance{}, started: map[program.InstanceID]int64{},
		boots: map[program.InstanceID]int{}, working: map[string]bool{},
	}
}

var errNow = errors.New("not now")

// write begins a write; it may fail by chance.
func (m *machine) write() (unlock func(), err error) {
	m.mu.Lock()
	m.writes++
	if m.rand != nil && m.rand.IntN(5) == 0 {
		m.mu.Unlock()
		return nil, errNow
	}
	return m.mu.Unlock, nil
}

func (m *machine) count() (writes, applies int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes, m.applies
}

// fakeDatapath is a machine's datapath, of one process.
type fakeDatapath struct {
	*machine
	synced bool // a full Apply of this process succeeded, and none failed since
}

func (d *fakeDatapath) Attach(id program.InterfaceID, at Attachment) error {
	done, err := d.write()
	if err != nil {
		return err
	}
	defer done()
	l := d.links[id]
	if l == nil || l.at != at {
		d.t.Errorf("attach %s at %+v, where it is not: %+v", id, at, l)
	}
	if l.up && d.attached[id] != at {
		d.t.Errorf("attach %s after its link was raised", id)
	}
	d.attached[id] = at
	return nil
}

func (d *fakeDatapath) Detach(id program.InterfaceID) error {
	done, err := d.write()
	if err != nil {
		return err
	}
	defer done()
	if l := d.links[id]; l != nil && l.up && l.at == d.attached[id] {
		d.t.Errorf("detach %s while its link is up: nothing judges it", id)
	}
	delete(d.attached, id)
	return nil
}

func (d *fakeDatapath) Attached() ([]program.InterfaceID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.attached)), nil
}

func (d *fakeDatapath) Apply(h *program.Host, delta *program.Delta) error {
	d.mu.Lock()
	broken := d.broken
	d.mu.Unlock()
	done, err := d.write()
	if err = errors.Join(err, broken); err != nil {
		d.synced = false
		if done != nil {
			done()
		}
		return err
	}
	defer done()
	d.applies++
	for id, i := range h.Interfaces {
		for _, p := range []program.PolicyHash{i.Ingress, i.Egress} {
			if p != (program.PolicyHash{}) && h.Policies[p] == nil {
				d.t.Errorf("interface %s refers to policy %s, which is nowhere", id, p)
			}
		}
	}
	if delta != nil && !delta.Full {
		if !d.synced {
			d.t.Errorf("a delta to %d though the kernel's state is unknown", delta.Revision)
		}
		d.programs.Apply(delta)
	} else {
		d.programs = feedtest.Clone(h)
	}
	d.synced = true
	if diff := worldDiff(h, d.programs); diff != "" {
		d.t.Errorf("delta does not lead to what is desired: %s", diff)
	}
	return nil
}

func (d *fakeDatapath) Sweep(context.Context) error { return nil }

// fakeLab is a machine's lab.
type fakeLab struct{ *machine }

// turn fails the test if a thing is worked on twice at a time.
func (l fakeLab) turn(what string) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.working[what] {
		l.t.Errorf("%s is worked on twice at once", what)
	}
	l.working[what] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.working, what)
	}
}

func (l fakeLab) List() (Inventory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := Inventory{Networks: slices.Collect(maps.Keys(l.networks)), Instances: slices.Collect(maps.Keys(l.carried))}
	for id, c := range l.ways {
		i.Connections = append(i.Connections, Connected{ID: id, Ends: [2]program.NetworkID{c.Ends[0].ID, c.Ends[1].ID}})
	}
	return i, nil
}

func (l fakeLab) EnsureNetwork(n *program.Network) error {
	defer l.turn(string(n.ID))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	l.networks[n.ID] = n
	return nil
}

func (l fakeLab) RemoveNetwork(id program.NetworkID) error {
	defer l.turn(string(id))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	for i, inst := range l.carried {
		if inst.Network == id {
			l.t.Errorf("network %s removed under instance %s", id, i)
		}
	}
	for way, c := range l.ways {
		if c.Ends[0].ID == id || c.Ends[1].ID == id {
			l.t.Errorf("network %s removed under connection %s", id, way)
		}
	}
	delete(l.networks, id)
	return nil
}

func (l fakeLab) EnsureConnection(c *program.Connection) error {
	defer l.turn(string(c.ID))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	for _, end := range c.Ends {
		if l.networks[end.ID] == nil {
			l.t.Errorf("connection %s made to %s, which is not there", c.ID, end.ID)
		}
	}
	l.ways[c.ID] = c
	return nil
}

func (l fakeLab) RemoveConnection(id program.ConnectionID) error {
	defer l.turn(string(id))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	if l.joined != nil {
		return l.joined
	}
	delete(l.ways, id)
	return nil
}

func (l fakeLab) Prepare(i *program.Instance) (map[program.InterfaceID]Attachment, error) {
	defer l.turn(string(i.ID))()
	if i.ID == l.stuckAt {
		<-l.stuck
	}
	done, err := l.write()
	if err != nil {
		return nil, err
	}
	defer done()
	if l.networks[i.Network] == nil {
		l.t.Errorf("instance %s prepared in network %s, which is not there", i.ID, i.Network)
	}
	if boot, ok := l.started[i.ID]; ok && boot != i.Boot {
		l.end(i.ID)
	}
	l.carried[i.ID] = i
	out := map[program.InterfaceID]Attachment{}
	for _, n := range i.NICs {
		have := l.links[n.Interface]
		if have == nil || have.owner != i.ID {
			l.indexes++
			have = &link{at: Attachment{NetNS: string(i.Network), IfIndex: l.indexes}, owner: i.ID}
			l.links[n.Interface] = have
		}
		out[n.Interface] = have.at
	}
	for id, have := range l.links {
		if _, ok := out[id]; !ok && have.owner == i.ID {
			delete(l.links, id)
		}
	}
	return out, nil
}

func (l fakeLab) Start(i *program.Instance) error {
	defer l.turn(string(i.ID))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	for _, n := range i.NICs {
		have := l.links[n.Interface]
		switch {
		case have == nil || have.owner != i.ID:
			l.t.Errorf("instance %s started without its link %s", i.ID, n.Interface)
			continue
		case l.attached[n.Interface] != have.at:
			l.t.Errorf("link %s of %s raised before what judges it is attached", n.Interface, i.ID)
		}
		have.up = true
	}
	if boot, ok := l.started[i.ID]; !ok || boot != i.Boot {
		l.boots[i.ID]++
	}
	l.started[i.ID] = i.Boot
	return nil
}

// end is what Stop does; the caller holds mu.
func (l fakeLab) end(id program.InstanceID) {
	delete(l.started, id)
	delete(l.carried, id)
	maps.DeleteFunc(l.links, func(_ program.InterfaceID, have *link) bool { return have.owner == id })
}

func (l fakeLab) Stop(id program.InstanceID) error {
	defer l.turn(string(id))()
	done, err := l.write()
	if err != nil {
		return err
	}
	defer done()
	l.end(id)
	return nil
}

func (l fakeLab) Terminate(id program.InstanceID) error { return l.Stop(id) }

func (l fakeLab) Console(id program.InstanceID) ([]byte, error) {
	return fmt.Appendf(nil, "console of %s", id), nil
}

// converged says what of the machine is not as h wants it; empty: nothing.
func (m *machine) converged(h *program.Host) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := worldDiff(h, m.programs); diff != "" {
		return diff
	}
	if !reflect.DeepEqual(m.networks, h.Networks) {
		return fmt.Sprintf("networks %v, want %v", slices.Sorted(maps.Keys(m.networks)), slices.Sorted(maps.Keys(h.Networks)))
	}
	if !reflect.DeepEqual(m.ways, h.Connections) {
		return fmt.Sprintf("connections %v, want %v", slices.Sorted(maps.Keys(m.ways)), slices.Sorted(maps.Keys(h.Connections)))
	}
	links := map[program.InterfaceID]bool{}
	for id, i := range h.Instances {
		if !i.Running {
			if m.carried[id] != nil {
				return fmt.Sprintf("instance %s is there", id)
			}
			continue
		}
		if boot, ok := m.started[id]; !ok || boot != i.Boot {
			return fmt.Sprintf("instance %s runs boot %d (%t), want %d", id, boot, ok, i.Boot)
		}
		for _, n := range i.NICs {
			links[n.Interface] = true
			l := m.links[n.Interface]
			if l == nil || !l.up || l.owner != id || m.attached[n.Interface] != l.at {
				return fmt.Sprintf("interface %s: link %+v, attached at %+v", n.Interface, l, m.attached[n.Interface])
			}
		}
	}
	if len(m.links) != len(links) || len(m.attached) != len(links) {
		return fmt.Sprintf("%d links, %d attached, want %d", len(m.links), len(m.attached), len(links))
	}
	for id := range m.carried {
		if h.Instances[id] == nil {
			return fmt.Sprintf("instance %s is left over", id)
		}
	}
	return ""
}
