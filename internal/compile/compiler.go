package compile

import (
	"net/netip"
	"reflect"
	"slices"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Compiler keeps what one host enforces and follows the world's changes. The
// cost of an update is that of what changed on this host: a member that joins
// a group costs one entry, however large the group is.
type Compiler struct {
	host vpc.HostID
	full bool // nothing was compiled yet

	interfaces map[vpc.InterfaceID]*program.Interface
	policies   map[program.PolicyHash]*counted
	members    map[program.Member]program.Groups
	networks   map[vpc.VPCID]*program.Network
	instances  map[vpc.InstanceID]*program.Instance
	// peers are those of each of networks, connections what follows for this host.
	peers       map[vpc.VPCID][]peer
	connections map[program.ConnectionID]*program.Connection

	// carrying are the interfaces compiled here by each of their groups, and
	// referred counts the policies of a network here that refer to a group.
	carrying map[vpc.GroupID]map[vpc.InterfaceID]struct{}
	referred map[reference]int
	// counts are the values of referred that this update changed, as they were before.
	counts map[reference]int
}

// reference is a group that rules of interfaces in a network refer to.
type reference struct {
	network vpc.VPCID
	group   vpc.GroupID
}

// counted is a policy with the number of its uses in each network: a group that is associated with several VPCs
// has the same rules in all.
type counted struct {
	policy *program.Policy
	users  map[vpc.VPCID]int
}

// New is a compiler for a host; its first Update gives a full delta.
func New(host string) *Compiler {
	return &Compiler{
		host:       vpc.HostID(host),
		full:       true,
		interfaces: map[vpc.InterfaceID]*program.Interface{},
		policies:   map[program.PolicyHash]*counted{},
		members:    map[program.Member]program.Groups{},
		networks:   map[vpc.VPCID]*program.Network{},
		instances:  map[vpc.InstanceID]*program.Instance{},
		peers:      map[vpc.VPCID][]peer{},
		carrying:   map[vpc.GroupID]map[vpc.InterfaceID]struct{}{},
		referred:   map[reference]int{},
	}
}

// work is what an update has to look at again.
type work struct {
	interfaces  map[vpc.InterfaceID]struct{}
	instances   map[vpc.InstanceID]struct{}
	networks    map[vpc.VPCID]struct{}
	members     map[program.Member]struct{}
	peers       bool // of every network
	connections bool // networks came, went or changed, or their peers did
}

// Update brings the compiler to s and gives the difference. changes are all
// that happened since the last Update; nil on the first one.
func (c *Compiler) Update(s *state.Snapshot, changes []state.Change) *program.Delta {
	w := work{
		interfaces: map[vpc.InterfaceID]struct{}{},
		instances:  map[vpc.InstanceID]struct{}{},
		networks:   map[vpc.VPCID]struct{}{},
		members:    map[program.Member]struct{}{},
	}
	d := &program.Delta{
		Revision:    program.Revision(s.Revision()),
		Full:        c.full,
		Interfaces:  map[program.InterfaceID]*program.Interface{},
		Policies:    map[program.PolicyHash]*program.Policy{},
		Members:     map[program.Member]program.Groups{},
		Networks:    map[program.NetworkID]*program.Network{},
		Instances:   map[program.InstanceID]*program.Instance{},
		Connections: map[program.ConnectionID]*program.Connection{},
	}
	if c.full {
		c.full = false
		for inst := range s.InstancesOn(c.host) {
			c.touchInstance(s, inst, &w)
		}
	} else {
		for _, ch := range changes {
			c.touch(s, ch, &w)
		}
	}
	c.counts = map[reference]int{}
	for id := range w.interfaces {
		c.updateInterface(s, id, d)
	}
	for id := range w.instances {
		c.updateInstance(s, id, d)
	}
	for id := range w.networks {
		w.connections = c.updateNetwork(s, id, d) || w.connections
	}
	if w.peers || w.connections {
		c.updatePeers(s, &w)
	}
	c.touchReferred(s, &w)
	for m := range w.members {
		c.updateMember(s, m, d)
	}
	if w.connections {
		c.updateConnections(d)
	}
	return d
}

// touch notes what a change may affect here, in the world before and after it.
func (c *Compiler) touch(s *state.Snapshot, ch state.Change, w *work) {
	for _, e := range []vpc.Entity{ch.Before, ch.After} {
		switch e := e.(type) {
		case *vpc.Interface:
			c.touchInterface(s, e, w)
		case *vpc.Instance:
			if e.Host == c.host {
				c.touchInstance(s, e, w)
			}
		case *vpc.Rule:
			for id := range c.carrying[e.Group] {
				w.interfaces[id] = struct{}{}
			}
		case *vpc.PrefixList:
			c.touchPrefixList(s, e.ID, w)
		case *vpc.VPC:
			c.touchVPC(e.ID, w)
			w.peers = true
		case *vpc.Peering:
			w.peers = true
		case *vpc.Subnet:
			c.touchVPC(e.VPC, w)
		}
	}
}

func (c *Compiler) touchInterface(s *state.Snapshot, i *vpc.Interface, w *work) {
	w.interfaces[i.ID] = struct{}{}
	touchAddrs(i, i.VPC, w)
	for id, peers := range c.peers {
		if slices.ContainsFunc(peers, func(p peer) bool { return p.vpc == i.VPC }) {
			touchAddrs(i, id, w)
		}
	}
	if i.Attachment != nil {
		if inst := s.Instance(i.Attachment.Instance); inst != nil && inst.Host == c.host {
			w.instances[inst.ID] = struct{}{}
			w.networks[i.VPC] = struct{}{}
		}
	}
}

// touchAddrs notes an interface's addresses as they are seen in a network.
func touchAddrs(i *vpc.Interface, network vpc.VPCID, w *work) {
	for _, a := range i.AllAddrs() {
		w.members[program.Member{Network: program.NetworkID(network), Addr: a}] = struct{}{}
	}
}

func (c *Compiler) touchInstance(s *state.Snapshot, inst *vpc.Instance, w *work) {
	w.instances[inst.ID] = struct{}{}
	w.networks[inst.VPC] = struct{}{}
	for i := range s.InterfacesOfInstance(inst.ID) {
		w.interfaces[i.ID] = struct{}{}
	}
	if old := c.instances[inst.ID]; old != nil {
		for _, nic := range old.NICs {
			w.interfaces[vpc.InterfaceID(nic.Interface)] = struct{}{}
		}
	}
}

// touchPrefixList notes the interfaces here of which a rule names the list. Rules that began or ceased to name it
// are changes of their own.
func (c *Compiler) touchPrefixList(s *state.Snapshot, id vpc.PrefixListID, w *work) {
	for r := range s.RulesNaming(id) {
		for i := range c.carrying[r.Group] {
			w.interfaces[i] = struct{}{}
		}
	}
}

func (c *Compiler) touchVPC(id vpc.VPCID, w *work) {
	w.networks[id] = struct{}{}
	for iid, i := range c.interfaces {
		if i.Network == program.NetworkID(id) {
			w.interfaces[iid] = struct{}{}
		}
	}
	for iid, inst := range c.instances {
		if inst.Network == program.NetworkID(id) {
			w.instances[iid] = struct{}{}
		}
	}
}

// touchReferred notes the addresses of groups that policies here began or
// ceased to refer to.
func (c *Compiler) touchReferred(s *state.Snapshot, w *work) {
	for r, before := range c.counts {
		if (before == 0) == (c.referred[r] == 0) {
			continue
		}
		c.touchCarriers(s, r, w)
		if before > 0 {
			c.touchStaleMembers(r, w)
		}
	}
}

// touchCarriers notes the addresses in a network of those interfaces that carry a group, its own or its peers'.
func (c *Compiler) touchCarriers(s *state.Snapshot, r reference, w *work) {
	for i := range s.InterfacesWith(r.group) {
		touchAddrs(i, r.network, w)
	}
}

// touchStaleMembers notes addresses that carry a group here but no longer in the
// world: their interface went together with the last reference.
func (c *Compiler) touchStaleMembers(r reference, w *work) {
	for m, groups := range c.members {
		if m.Network == program.NetworkID(r.network) && groups.Has(program.GroupID(r.group)) {
			w.members[m] = struct{}{}
		}
	}
}

func (c *Compiler) updateInterface(s *state.Snapshot, id vpc.InterfaceID, d *program.Delta) {
	old := c.interfaces[id]
	var now *program.Interface
	var policies [2]*program.Policy
	if i := s.Interface(id); enforces(s, c.host, i) {
		now, policies = compileInterface(s, i)
	}
	if old == nil && now == nil || old != nil && now != nil && reflect.DeepEqual(old, now) {
		return
	}
	if now != nil {
		for dir, hash := range [2]program.PolicyHash{packet.Ingress: now.Ingress, packet.Egress: now.Egress} {
			c.use(hash, policies[dir], now.Network, d)
		}
		for _, g := range now.Groups {
			set := c.carrying[vpc.GroupID(g)]
			if set == nil {
				set = map[vpc.InterfaceID]struct{}{}
				c.carrying[vpc.GroupID(g)] = set
			}
			set[id] = struct{}{}
		}
		c.interfaces[id] = now
	}
	if old != nil {
		c.forget(id, old, now, d)
	}
	d.Interfaces[program.InterfaceID(id)] = now
}

// forget lets go of what the interface's old program used.
func (c *Compiler) forget(id vpc.InterfaceID, old, now *program.Interface, d *program.Delta) {
	for _, hash := range [2]program.PolicyHash{old.Ingress, old.Egress} {
		c.release(hash, old.Network, d)
	}
	for _, g := range old.Groups {
		if now != nil && program.Groups(now.Groups).Has(g) {
			continue
		}
		delete(c.carrying[vpc.GroupID(g)], id)
		if len(c.carrying[vpc.GroupID(g)]) == 0 {
			delete(c.carrying, vpc.GroupID(g))
		}
	}
	if now == nil {
		delete(c.interfaces, id)
	}
}

// use counts one more user of a policy; a first one puts it into the delta.
func (c *Compiler) use(hash program.PolicyHash, p *program.Policy, in program.NetworkID, d *program.Delta) {
	if p == nil {
		return
	}
	have := c.policies[hash]
	if have == nil {
		have = &counted{policy: p, users: map[vpc.VPCID]int{}}
		c.policies[hash] = have
		d.Policies[hash] = p
	}
	if have.users[vpc.VPCID(in)]++; have.users[vpc.VPCID(in)] == 1 {
		c.refer(p, vpc.VPCID(in), 1)
	}
}

// release counts one user of a policy less; the last one removes it.
func (c *Compiler) release(hash program.PolicyHash, in program.NetworkID, d *program.Delta) {
	have := c.policies[hash]
	if have == nil {
		return
	}
	if have.users[vpc.VPCID(in)]--; have.users[vpc.VPCID(in)] > 0 {
		return
	}
	delete(have.users, vpc.VPCID(in))
	c.refer(have.policy, vpc.VPCID(in), -1)
	if len(have.users) == 0 {
		delete(c.policies, hash)
		d.Policies[hash] = nil
	}
}

// refer counts what a policy refers to in a network.
func (c *Compiler) refer(p *program.Policy, in vpc.VPCID, by int) {
	for _, rule := range p.Rules {
		if rule.Group == "" {
			continue
		}
		r := reference{in, vpc.GroupID(rule.Group)}
		if _, seen := c.counts[r]; !seen {
			c.counts[r] = c.referred[r]
		}
		if c.referred[r] += by; c.referred[r] == 0 {
			delete(c.referred, r)
		}
	}
}

// updateMember brings one address's groups up to date: those of its interface
// that a policy here refers to.
func (c *Compiler) updateMember(s *state.Snapshot, m program.Member, d *program.Delta) {
	groups := c.groupsAt(s, vpc.VPCID(m.Network), m.Addr)
	old, had := c.members[m]
	switch {
	case len(groups) == 0 && !had, had && reflect.DeepEqual(old, groups):
		return
	case len(groups) == 0:
		delete(c.members, m)
		d.Members[m] = nil
	default:
		c.members[m] = groups
		d.Members[m] = groups
	}
}

// groupsAt is the groups that an address has in a network, of those that are referred to there.
func (c *Compiler) groupsAt(s *state.Snapshot, v vpc.VPCID, a netip.Addr) program.Groups {
	i := s.InterfaceAt(c.sees(v, a), a)
	if i == nil {
		return nil
	}
	var out []program.GroupID
	for _, g := range i.Groups {
		if c.referred[reference{v, g}] > 0 {
			out = append(out, program.GroupID(g))
		}
	}
	return program.MakeGroups(out)
}

func (c *Compiler) updateInstance(s *state.Snapshot, id vpc.InstanceID, d *program.Delta) {
	var now *program.Instance
	if inst := s.Instance(id); inst != nil && inst.Host == c.host {
		now = compileInstance(s, inst)
	}
	old := c.instances[id]
	if old == nil && now == nil || old != nil && now != nil && reflect.DeepEqual(old, now) {
		return
	}
	if now == nil {
		delete(c.instances, id)
	} else {
		c.instances[id] = now
	}
	d.Instances[program.InstanceID(id)] = now
}

// updateNetwork keeps a VPC's network while an instance here is in it, and says whether it changed.
func (c *Compiler) updateNetwork(s *state.Snapshot, id vpc.VPCID, d *program.Delta) bool {
	var now *program.Network
	if c.carries(program.NetworkID(id)) {
		now = compileNetwork(s, id)
	}
	old := c.networks[id]
	if old == nil && now == nil || old != nil && now != nil && reflect.DeepEqual(old, now) {
		return false
	}
	if now == nil {
		delete(c.networks, id)
	} else {
		c.networks[id] = now
	}
	d.Networks[program.NetworkID(id)] = now
	return true
}

func (c *Compiler) carries(id program.NetworkID) bool {
	for _, inst := range c.instances {
		if inst.Network == id && inst.Running {
			return true
		}
	}
	return false
}
