package agent

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
)

// unit is something on the host that is made and removed by itself: an instance,
// a network or a connection. A unit is worked on by one worker at a time.
type unit interface {
	shared() *step
	// ready says that nothing else must be done first.
	ready(r *reconciler) bool
	// next begins the next step towards what is desired, if there is one.
	next(r *reconciler)
}

// step is what units share.
type step struct {
	at      bool // work is under way
	queued  bool // it waits for work
	fail    failure
	present bool // something of it may be on the host
}

func (s *step) shared() *step { return s }

// network is a VPC's network on this host.
type network struct {
	step
	id   program.NetworkID
	made *program.Network // as it was last made
}

func (r *reconciler) network(id program.NetworkID) *network {
	n := r.networks[id]
	if n == nil {
		n = &network{id: id}
		r.networks[id] = n
	}
	return n
}

// ready: a network goes after its connections and the last instance that may be in it.
func (n *network) ready(r *reconciler) bool {
	if r.desired.Networks[n.id] != nil {
		return true
	}
	for _, c := range r.connections {
		if c.present && slices.Contains(c.ends[:], n.id) {
			return false
		}
	}
	for _, i := range r.instances {
		if want := r.desired.Instances[i.id]; i.present && (want == nil || !want.Running || want.Network == n.id) {
			return false
		}
	}
	return true
}

func (n *network) next(r *reconciler) {
	want := r.desired.Networks[n.id]
	switch {
	case want == nil && !n.present:
		delete(r.networks, n.id)
	case want == nil:
		n.begin(r, nil, func() error { return r.lab.RemoveNetwork(n.id) })
	case n.made == nil || !same(n.made, want):
		n.present = true
		n.begin(r, want, func() error { return r.lab.EnsureNetwork(want) })
	}
}

func (n *network) begin(r *reconciler, want *program.Network, do func() error) {
	n.at = true
	r.work(func() func() {
		err := do()
		return func() {
			n.at = false
			r.want(n)
			if err != nil {
				n.made = nil
				n.fail.failed(fmt.Errorf("network %s: %w", n.id, err))
				r.log.Warn("network not as wanted", "network", string(n.id), "error", err)
				return
			}
			n.fail.over()
			n.made, n.present = want, want != nil
		}
	})
}

// networkMade says whether a network is there as it is desired.
func (r *reconciler) networkMade(id program.NetworkID) bool {
	n := r.networks[id]
	return n != nil && !n.at && n.made != nil && same(n.made, r.desired.Networks[id])
}

// instance is a lab instance on this host.
type instance struct {
	step
	id     program.InstanceID
	up     *program.Instance // as it was last started; nil: not by this process
	report feed.InstanceReport
}

func (r *reconciler) instance(id program.InstanceID) *instance {
	i := r.instances[id]
	if i == nil {
		i = &instance{id: id}
		r.instances[id] = i
	}
	return i
}

// ready: an instance comes after its network.
func (i *instance) ready(r *reconciler) bool {
	want := r.desired.Instances[i.id]
	if want == nil || !want.Running {
		return true
	}
	return r.networkMade(want.Network)
}

func (i *instance) next(r *reconciler) {
	want := r.desired.Instances[i.id]
	switch {
	case want == nil && !i.present:
		delete(r.instances, i.id)
	case want == nil:
		i.remove(r, 0, r.lab.Terminate)
	case !want.Running && i.present:
		i.remove(r, want.Boot, r.lab.Stop)
	case !want.Running:
		i.report = feed.InstanceReport{Boot: want.Boot, State: feed.InstanceGone}
		r.changed = true
	case i.up == nil || !same(i.up, want):
		i.prepare(r, want)
	}
}

// prepare has the links made, down; what judges them comes next.
func (i *instance) prepare(r *reconciler, want *program.Instance) {
	i.at, i.present = true, true
	r.work(func() func() {
		links, err := r.lab.Prepare(want)
		return func() {
			i.at = false
			if err == nil {
				err = r.attach(i.id, links)
			}
			if err != nil {
				i.failed(r, want.Boot, err)
				return
			}
			if !same(want, r.desired.Instances[i.id]) {
				r.want(i) // overtaken; begin again
				return
			}
			i.start(r, want)
		}
	})
}

// start raises links that are judged.
func (i *instance) start(r *reconciler, want *program.Instance) {
	i.at = true
	r.work(func() func() {
		err := r.lab.Start(want)
		return func() {
			i.at = false
			if err != nil {
				i.failed(r, want.Boot, err)
				return
			}
			i.fail.over()
			i.up = want
			i.report = feed.InstanceReport{Boot: want.Boot, State: feed.InstanceUp}
			r.want(i) // in case it was overtaken
		}
	})
}

// remove ends the instance; when its links are gone, so may their judgement be.
func (i *instance) remove(r *reconciler, boot int64, end func(program.InstanceID) error) {
	i.at, i.up = true, nil
	r.work(func() func() {
		err := end(i.id)
		return func() {
			i.at = false
			if err == nil {
				err = r.detach(i.id, nil)
			}
			if err != nil {
				i.failed(r, boot, err)
				return
			}
			i.fail.over()
			i.present = false
			i.report = feed.InstanceReport{Boot: boot, State: feed.InstanceGone}
			r.want(i)
		}
	})
}

func (i *instance) failed(r *reconciler, boot int64, err error) {
	i.up = nil
	i.fail.failed(fmt.Errorf("instance %s: %w", i.id, err))
	i.report = feed.InstanceReport{Boot: boot, State: feed.InstanceFailed, Reason: err.Error()}
	r.log.Warn("instance not as wanted", "instance", string(i.id), "error", err)
	r.want(i)
}
