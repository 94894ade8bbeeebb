package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
)

// reconciler is the one goroutine that decides. Slow work (the lab's) is done by
// workers, whose results come back to it; writes to the datapath are its own.
type reconciler struct {
	agent *Agent
	dp    Datapath
	lab   Lab
	log   *slog.Logger

	desired *program.Host
	inSync  bool // a full state is here: from now on we may write
	kernel  program.Revision
	since   time.Time // when the kernel had it
	apply   failure   // of Apply
	find    failure   // of the inventory and of taking off what is left over
	listed  listing

	instances   map[program.InstanceID]*instance
	networks    map[program.NetworkID]*network
	connections map[program.ConnectionID]*connection
	// owner is the instance here that an interface is desired on; carrier the
	// one whose link it is attached to by this process.
	owner    map[program.InterfaceID]program.InstanceID
	carrier  map[program.InterfaceID]program.InstanceID
	enforced map[program.InterfaceID]program.Revision // the last one, of each that ever was
	leftover bool                                     // something may be attached that is not wanted

	queue   []unit // wants work; each at most once
	busy    int
	workers errgroup.Group
	results chan func()
	changed bool // a new report is due
}

// listing says whether the inventory of the host was taken.
type listing int

const (
	unlisted listing = iota
	listingNow
	listed
)

// failure is something that did not work and will be tried again.
type failure struct {
	err  error
	next time.Time // when
	wait time.Duration
}

func (f *failure) failed(err error) {
	f.wait = min(max(2*f.wait, retryMin), retryMax)
	f.err, f.next = err, time.Now().Add(f.wait)
}

func (f *failure) over() { *f = failure{} }

func (f *failure) due() bool { return f.err == nil || !time.Now().Before(f.next) }

func newReconciler(a *Agent) *reconciler {
	return &reconciler{
		agent: a, dp: a.opts.Datapath, lab: a.opts.Lab, log: a.opts.Log,
		desired:     program.NewHost(),
		instances:   map[program.InstanceID]*instance{},
		networks:    map[program.NetworkID]*network{},
		connections: map[program.ConnectionID]*connection{},
		owner:       map[program.InterfaceID]program.InstanceID{},
		carrier:     map[program.InterfaceID]program.InstanceID{},
		enforced:    map[program.InterfaceID]program.Revision{},
		results:     make(chan func(), workersMax),
	}
}

func (r *reconciler) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer r.workers.Wait() //nolint:errcheck // workers answer through results
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.agent.inbox.ready:
			if d := r.agent.inbox.take(); d != nil {
				r.take(ctx, d)
			}
		case result := <-r.results:
			r.busy--
			result()
			r.changed = true
		case <-timer.C:
		}
		if r.inSync {
			r.retryApply(ctx)
			r.schedule()
		}
		if r.changed {
			r.changed = false
			r.report()
		}
		timer.Reset(r.nextRetry())
	}
}

// take makes d desired and, without waiting for anything else, enforced.
func (r *reconciler) take(ctx context.Context, d *program.Delta) {
	if !r.inSync && !d.Full {
		return // cannot be: the first batch of a process is full
	}
	r.inSync = true
	r.desired.Apply(d)
	if d.Full {
		r.log.InfoContext(ctx, "in sync with the server", "revision", uint64(d.Revision), "interfaces", len(r.desired.Interfaces))
		r.leftover = true
		for _, i := range r.instances {
			r.want(i)
		}
		for _, n := range r.networks {
			r.want(n)
		}
		for _, c := range r.connections {
			r.want(c)
		}
	}
	// What failed as it was wanted before may do as it is wanted now.
	for id := range d.Instances {
		r.instance(id).fail.next = time.Time{}
		r.want(r.instance(id))
	}
	for id := range d.Networks {
		r.network(id).fail.next = time.Time{}
		r.want(r.network(id))
	}
	for id := range d.Connections {
		r.connection(id).fail.next = time.Time{}
		r.want(r.connection(id))
	}
	if d.Full || len(d.Instances) > 0 {
		clear(r.owner)
		for _, i := range r.desired.Instances {
			for _, nic := range i.NICs {
				if i.Running {
					r.owner[nic.Interface] = i.ID
				}
			}
		}
	}
	r.applyDelta(ctx, d)
	r.changed = true
}

// applyDelta is the whole way of a change of rules or members.
func (r *reconciler) applyDelta(ctx context.Context, d *program.Delta) {
	if r.apply.err != nil {
		d = nil // what the kernel has is unknown: compare everything
	}
	if err := r.dp.Apply(r.desired, d); err != nil {
		if r.apply.err == nil || r.apply.err.Error() != err.Error() {
			r.log.ErrorContext(ctx, "programs not in the kernel", "revision", uint64(r.desired.Revision), "error", err)
		}
		r.apply.failed(err)
		return
	}
	r.apply.over()
	r.kernel, r.since = r.desired.Revision, time.Now()
}

func (r *reconciler) retryApply(ctx context.Context) {
	if r.apply.err != nil && r.apply.due() {
		r.applyDelta(ctx, nil)
		r.changed = true
	}
}

// nextRetry is how long there is nothing to do if nothing happens.
func (r *reconciler) nextRetry() time.Duration {
	next := time.Now().Add(retryMax)
	soonest := func(f failure) {
		if f.err != nil && f.next.Before(next) {
			next = f.next
		}
	}
	soonest(r.apply)
	soonest(r.find)
	if r.busy < workersMax {
		for _, u := range r.queue {
			soonest(u.shared().fail)
		}
	}
	// Never at once again: a unit may be due and have to wait for another.
	return max(time.Until(next), retryMin/10)
}

// want puts a unit in the queue.
func (r *reconciler) want(u unit) {
	if s := u.shared(); !s.queued {
		s.queued = true
		r.queue = append(r.queue, u)
	}
}

// schedule gives work to idle workers: first of all to take the inventory, since
// what is there already must be known before anything is made or removed; at
// last, when nothing else is left, to take judgement off links that are gone.
func (r *reconciler) schedule() {
	switch {
	case r.listed == unlisted && r.find.due():
		r.listed = listingNow
		r.work(func() func() {
			found, err := r.lab.List()
			return func() { r.found(found, err) }
		})
		return
	case r.listed != listed:
		return
	}
	for n := 0; n < len(r.queue) && r.busy < workersMax; {
		u := r.queue[n]
		s := u.shared()
		if s.at || !s.fail.due() || !u.ready(r) {
			n++
			continue
		}
		r.queue = slices.Delete(r.queue, n, n+1)
		s.queued = false
		u.next(r)
	}
	if r.leftover && r.busy == 0 && len(r.queue) == 0 && r.find.due() {
		r.detachLeftover()
	}
}

// work has a worker do something, and then the reconciler do what it gives.
func (r *reconciler) work(do func() (then func())) {
	r.busy++
	r.workers.Go(func() error {
		r.results <- do() // never waits: there is room for every worker
		return nil
	})
}

func (r *reconciler) found(i Inventory, err error) {
	if err != nil {
		r.listed = unlisted
		r.find.failed(fmt.Errorf("looking for what is on the host: %w", err))
		return
	}
	r.find.over()
	r.listed = listed
	for _, id := range i.Instances {
		r.instance(id).present = true
		r.want(r.instance(id))
	}
	for _, id := range i.Networks {
		r.network(id).present = true
		r.want(r.network(id))
	}
	for _, found := range i.Connections {
		c := r.connection(found.ID)
		c.present = true
		if r.desired.Connections[found.ID] == nil {
			c.ends = found.Ends
		}
		r.want(c)
	}
}

// detachLeftover takes judgement off what an earlier process attached and nobody
// wants. All work is done, so no link of theirs is left that it could uncover.
func (r *reconciler) detachLeftover() {
	have, err := r.dp.Attached()
	if err == nil {
		for _, id := range have {
			wanted := r.desired.Interfaces[id]
			if r.owner[id] != "" || wanted != nil && wanted.Kind == program.KindAdopted {
				continue
			}
			if err = r.dp.Detach(id); err != nil {
				break
			}
		}
	}
	if err != nil {
		r.find.failed(fmt.Errorf("taking off what is left over: %w", err))
	} else {
		r.find.over()
		r.leftover = false
	}
	r.changed = true
}

// attach puts judgement on the links of an instance that was prepared, and takes
// it off those that are gone.
func (r *reconciler) attach(id program.InstanceID, links map[program.InterfaceID]Attachment) error {
	for _, eni := range slices.Sorted(maps.Keys(links)) {
		if err := r.dp.Attach(eni, links[eni]); err != nil {
			return err
		}
		r.carrier[eni] = id
	}
	return r.detach(id, links)
}

// detach takes judgement off the links of an instance that are not among keep.
func (r *reconciler) detach(id program.InstanceID, keep map[program.InterfaceID]Attachment) error {
	for eni, on := range r.carrier {
		if _, ok := keep[eni]; ok || on != id {
			continue
		}
		if err := r.dp.Detach(eni); err != nil {
			return err
		}
		delete(r.carrier, eni)
	}
	return nil
}

// report says how everything stands, to the server and to Status.
func (r *reconciler) report() {
	s := &Status{
		Host: r.agent.opts.Hello.Host, InSync: r.inSync,
		Desired: r.desired.Revision, Kernel: r.kernel, KernelTime: r.since,
		Interfaces: make(map[program.InterfaceID]feed.InterfaceStatus, len(r.desired.Interfaces)),
		Instances:  make(map[program.InstanceID]feed.InstanceReport, len(r.instances)),
	}
	s.Problem = r.problem()
	unsettled := r.unsettled()
	for id, i := range r.desired.Interfaces {
		st := r.interfaceStatus(i)
		if other, ok := unsettled[i.Network]; ok && st.State == feed.Enforced {
			st = other
		}
		if st.State == feed.Enforced {
			r.enforced[id] = r.kernel
		}
		st.Revision = r.enforced[id]
		s.Interfaces[id] = st
	}
	maps.DeleteFunc(r.enforced, func(id program.InterfaceID, _ program.Revision) bool { return r.desired.Interfaces[id] == nil })
	for id, i := range r.instances {
		if i.report.State != 0 {
			s.Instances[id] = i.report
		}
	}
	r.agent.status.Store(s)
	r.agent.client.Report(&feed.Report{
		Revision: s.Kernel, Problem: s.Problem, KernelTime: s.KernelTime, Interfaces: s.Interfaces, Instances: s.Instances,
	})
}

// problem is the worst that is known of the host as a whole.
func (r *reconciler) problem() string {
	failures := []failure{r.apply, r.find}
	for _, id := range slices.Sorted(maps.Keys(r.networks)) {
		failures = append(failures, r.networks[id].fail)
	}
	for _, id := range slices.Sorted(maps.Keys(r.connections)) {
		failures = append(failures, r.connections[id].fail)
	}
	for _, f := range failures {
		if f.err != nil {
			return f.err.Error()
		}
	}
	return ""
}

// interfaceStatus never says less than is known: whatever is not enforced has a
// reason.
func (r *reconciler) interfaceStatus(i *program.Interface) feed.InterfaceStatus {
	var none program.PolicyHash
	owner := r.instances[r.owner[i.ID]]
	switch {
	case r.apply.err != nil:
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: r.apply.err.Error()}
	case i.Ingress != none && r.desired.Policies[i.Ingress] == nil:
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: fmt.Sprintf("ingress policy %s is missing: everything is denied", i.Ingress)}
	case i.Egress != none && r.desired.Policies[i.Egress] == nil:
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: fmt.Sprintf("egress policy %s is missing: everything is denied", i.Egress)}
	case i.Kind == program.KindAdopted:
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: "no link of this host is bound to it"}
	case owner == nil:
		return feed.InterfaceStatus{State: feed.Unbound, Reason: "no instance that runs here has it"}
	case r.carrier[i.ID] == owner.id:
		return feed.InterfaceStatus{State: feed.Enforced}
	case owner.fail.err != nil:
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: "its link is not made: " + owner.fail.err.Error()}
	}
	if n := r.networks[i.Network]; n != nil && n.fail.err != nil {
		return feed.InterfaceStatus{State: feed.NotEnforced, Reason: "its link is not made: " + n.fail.err.Error()}
	}
	return feed.InterfaceStatus{State: feed.Pending, Reason: "its link is being made"}
}

func same[V any](a, b *V) bool { return a == b || a != nil && b != nil && reflect.DeepEqual(*a, *b) }
