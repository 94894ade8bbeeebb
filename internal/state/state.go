// Package state is the world as one immutable value: a Snapshot with indexes,
// and a Tx that proposes the next one. Readers take no lock and never wait:
// whoever has a Snapshot has a world that does not change.
//
// It is not the store: nothing here is durable, and nothing here waits. Package
// store commits what a Tx proposes. Entities that are in a Snapshot are never
// changed; a Tx puts copies. Built with the tag invariants, every commit checks
// that each index equals a scan and that no entity was changed in place.
package state

import (
	"fmt"
	"iter"
	"net/netip"

	"sallyport.dev/sallyport/internal/vpc"
)

// Revision counts the commits of a world. The empty world has revision 0.
type Revision uint64

// The indexes of each table, by position in newSnapshot.
const (
	keysByAccount = 0

	vpcsByScope   = 0
	vpcsByDefault = 1

	subnetsByVPC        = 0
	subnetsByScope      = 1
	subnetsByRouteTable = 2
	subnetsByACL        = 3

	groupsByVPC   = 0
	groupsByName  = 1
	groupsByScope = 2

	rulesByGroup  = 0
	rulesBySource = 1
	rulesByScope  = 2
	rulesByList   = 3

	interfacesByVPC      = 0
	interfacesBySubnet   = 1
	interfacesByGroup    = 2
	interfacesByInstance = 3
	interfacesByAddr     = 4
	interfacesByScope    = 5

	peeringsByVPC   = 0
	peeringsByScope = 1

	associationsByGroup = 0
	associationsByVPC   = 1
	associationsByScope = 2

	prefixListsByScope = 0

	versionsByPrefixList = 0

	gatewaysByScope = 0
	gatewaysByVPC   = 1

	routeTablesByVPC   = 0
	routeTablesByScope = 1
	routeTablesByMain  = 2
	routeTablesByList  = 3

	aclsByVPC     = 0
	aclsByScope   = 1
	aclsByDefault = 2

	dhcpOptionsByScope = 0

	imagesByScope = 0
	imagesByName  = 1

	instancesByScope = 0
	instancesByHost  = 1
	instancesByVPC   = 2
	liveByScope      = 3
	liveByHost       = 4
)

// Snapshot is a world at one revision.
type Snapshot struct {
	revision Revision
	tables   map[vpc.Kind]anyTable // never changed once the snapshot is shared
}

// NewSnapshot is the empty world.
func NewSnapshot() *Snapshot {
	return &Snapshot{tables: map[vpc.Kind]anyTable{
		vpc.KindAccount: newTable[*vpc.Account](nil),
		vpc.KindAccessKey: newTable(nil,
			func(k *vpc.AccessKey) []string { return []string{key(string(k.Account))} }),
		vpc.KindRegion: newTable[*vpc.RegionState](nil),
		vpc.KindHost:   newTable[*vpc.Host](nil),
		vpc.KindToken:  newTable[*vpc.Token](nil),
		vpc.KindVPC: newTable(nil,
			func(v *vpc.VPC) []string { return []string{scopeKey(v.Scope)} },
			func(v *vpc.VPC) []string {
				if !v.Default {
					return nil
				}
				return []string{scopeKey(v.Scope)}
			}).counting(vpcsByScope),
		vpc.KindSubnet: newTable(nil,
			func(s *vpc.Subnet) []string { return []string{key(string(s.VPC))} },
			func(s *vpc.Subnet) []string { return []string{scopeKey(s.Scope)} },
			func(s *vpc.Subnet) []string { return unlessEmpty(string(s.RouteTable)) },
			func(s *vpc.Subnet) []string { return unlessEmpty(string(s.ACL)) }).counting(subnetsByVPC),
		vpc.KindGroup: newTable(nil,
			func(g *vpc.SecurityGroup) []string { return []string{key(groupHome(g)...)} },
			func(g *vpc.SecurityGroup) []string {
				return []string{key(append(groupHome(g), vpc.NameKey(g.Name))...)}
			},
			func(g *vpc.SecurityGroup) []string { return []string{scopeKey(g.Scope)} }).counting(groupsByVPC, groupsByScope),
		vpc.KindRule: newTable(func(r *vpc.Rule) string { return fmt.Sprintf("%020d/%s", r.Seq, r.ID) },
			func(r *vpc.Rule) []string { return []string{key(string(r.Group))} },
			func(r *vpc.Rule) []string {
				if r.Source.Group == "" {
					return nil
				}
				return []string{key(string(r.Source.Group))}
			},
			func(r *vpc.Rule) []string { return []string{scopeKey(r.Scope)} },
			func(r *vpc.Rule) []string {
				if r.Source.PrefixList == "" {
					return nil
				}
				return []string{key(string(r.Source.PrefixList))}
			}),
		vpc.KindInterface: newInterfaces(),
		vpc.KindPeering: newTable(nil,
			func(p *vpc.Peering) []string {
				return twoKeys(key(string(p.Requester.VPC)), key(string(p.Accepter.VPC)))
			},
			func(p *vpc.Peering) []string {
				return twoKeys(scopeKey(p.Requester.Scope), scopeKey(p.Accepter.Scope))
			}),
		vpc.KindAssociation: newTable(nil,
			func(a *vpc.Association) []string { return []string{key(string(a.Group))} },
			func(a *vpc.Association) []string { return []string{key(string(a.VPC))} },
			func(a *vpc.Association) []string { return []string{scopeKey(a.Scope)} }),
		vpc.KindPrefixList: newTable(nil,
			func(l *vpc.PrefixList) []string { return []string{scopeKey(l.Scope)} }).counting(prefixListsByScope),
		vpc.KindPrefixListVersion: newTable(nil,
			func(v *vpc.PrefixListVersion) []string { return []string{key(string(v.List))} }),
		vpc.KindInternetGateway: newInternetGateways(),
		vpc.KindRouteTable:      newRouteTables(),
		vpc.KindNetworkACL:      newNetworkACLs(),
		vpc.KindDHCPOptions: newTable(nil,
			func(d *vpc.DHCPOptions) []string { return []string{scopeKey(d.Scope)} }),
		vpc.KindImage: newImages(),
		vpc.KindInstance: newTable(nil,
			func(i *vpc.Instance) []string { return []string{scopeKey(i.Scope)} },
			func(i *vpc.Instance) []string { return []string{key(string(i.Host))} },
			func(i *vpc.Instance) []string { return []string{key(string(i.VPC))} },
			func(i *vpc.Instance) []string { return live(i, scopeKey(i.Scope)) },
			func(i *vpc.Instance) []string { return live(i, key(string(i.Host))) }).counting(liveByScope, liveByHost),
	}}
}

// Load is the world of exactly the entities, each key once, at a revision.
func Load(rev Revision, entities []vpc.Entity) *Snapshot {
	byKind := map[vpc.Kind][]vpc.Entity{}
	for _, e := range entities {
		byKind[e.Kind()] = append(byKind[e.Kind()], e)
	}
	s := NewSnapshot()
	s.revision = rev
	for kind, list := range byKind {
		s.tables[kind] = s.tables[kind].load(list)
	}
	return s
}

func newInterfaces() *table[*vpc.Interface] {
	return newTable(nil,
		func(i *vpc.Interface) []string { return []string{key(string(i.VPC))} },
		func(i *vpc.Interface) []string { return []string{key(string(i.Subnet))} },
		func(i *vpc.Interface) []string {
			var out []string
			set := groupSet(i.Groups)
			for _, g := range i.Groups {
				out = append(out, key(string(g), set))
			}
			return out
		},
		func(i *vpc.Interface) []string {
			if i.Attachment == nil {
				return nil
			}
			return []string{key(string(i.Attachment.Instance))}
		},
		func(i *vpc.Interface) []string {
			var out []string
			for _, a := range i.AllAddrs() {
				out = append(out, key(string(i.VPC), a.String()))
			}
			return out
		},
		func(i *vpc.Interface) []string {
			if i.VPC.Classic() {
				return nil
			}
			return []string{scopeKey(i.Scope)}
		}).counting(interfacesByGroup, interfacesByScope)
}

// groupHome is within what a group's name is unique and groups are counted: its VPC or, in EC2-Classic, its
// account's part of the region.
func groupHome(g *vpc.SecurityGroup) []string {
	if g.VPC.Classic() {
		return []string{string(g.VPC), string(g.Scope.Account)}
	}
	return []string{string(g.VPC)}
}

// live is the key of an instance that is not terminated.
func live(i *vpc.Instance, key string) []string {
	if i.State == vpc.Terminated {
		return nil
	}
	return []string{key}
}

// unlessEmpty is the key of an identifier, if there is one.
func unlessEmpty(id string) []string {
	if id == "" {
		return nil
	}
	return []string{key(id)}
}

// twoKeys are the keys of what has two ends, which may be one.
func twoKeys(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

func scopeKey(s vpc.Scope) string { return key(string(s.Account), string(s.Region)) }

// Revision is the world's revision.
func (s *Snapshot) Revision() Revision { return s.revision }

// Get is the entity of a kind under a key; nil if there is none.
func (s *Snapshot) Get(kind vpc.Kind, key string) vpc.Entity { return s.tables[kind].get(key) }

// All walks the entities of a kind in the order of their keys.
func (s *Snapshot) All(kind vpc.Kind) iter.Seq[vpc.Entity] { return s.tables[kind].all() }

// Kinds lists the kinds of entity of any world, with a maker of an empty one
// for whoever decodes them.
func Kinds() map[vpc.Kind]func() vpc.Entity {
	return map[vpc.Kind]func() vpc.Entity{
		vpc.KindAccount:   func() vpc.Entity { return new(vpc.Account) },
		vpc.KindAccessKey: func() vpc.Entity { return new(vpc.AccessKey) },
		vpc.KindRegion:    func() vpc.Entity { return new(vpc.RegionState) },
		vpc.KindHost:      func() vpc.Entity { return new(vpc.Host) },
		vpc.KindToken:     func() vpc.Entity { return new(vpc.Token) },
		vpc.KindVPC:       func() vpc.Entity { return new(vpc.VPC) },
		vpc.KindSubnet:    func() vpc.Entity { return new(vpc.Subnet) },
		vpc.KindGroup:     func() vpc.Entity { return new(vpc.SecurityGroup) },
		vpc.KindRule:      func() vpc.Entity { return new(vpc.Rule) },
		vpc.KindInterface: func() vpc.Entity { return new(vpc.Interface) },
		vpc.KindInstance:  func() vpc.Entity { return new(vpc.Instance) },

		vpc.KindPeering:           func() vpc.Entity { return new(vpc.Peering) },
		vpc.KindAssociation:       func() vpc.Entity { return new(vpc.Association) },
		vpc.KindPrefixList:        func() vpc.Entity { return new(vpc.PrefixList) },
		vpc.KindPrefixListVersion: func() vpc.Entity { return new(vpc.PrefixListVersion) },

		vpc.KindInternetGateway: func() vpc.Entity { return new(vpc.InternetGateway) },
		vpc.KindRouteTable:      func() vpc.Entity { return new(vpc.RouteTable) },
		vpc.KindNetworkACL:      func() vpc.Entity { return new(vpc.NetworkACL) },
		vpc.KindDHCPOptions:     func() vpc.Entity { return new(vpc.DHCPOptions) },
		vpc.KindImage:           func() vpc.Entity { return new(vpc.Image) },
	}
}

func tableOf[E vpc.Entity](s *Snapshot, kind vpc.Kind) *table[E] { return s.tables[kind].(*table[E]) }

func lookup[E vpc.Entity](s *Snapshot, kind vpc.Kind, key string) E {
	e, _ := tableOf[E](s, kind).rows.Get([]byte(key))
	return e
}

// Account is the account with the id, or nil.
func (s *Snapshot) Account(id vpc.AccountID) *vpc.Account {
	return lookup[*vpc.Account](s, vpc.KindAccount, string(id))
}

// Accounts walks all accounts.
func (s *Snapshot) Accounts() iter.Seq[*vpc.Account] {
	return tableOf[*vpc.Account](s, vpc.KindAccount).each()
}

// AccessKey is the key with the id, or nil.
func (s *Snapshot) AccessKey(id vpc.AccessKeyID) *vpc.AccessKey {
	return lookup[*vpc.AccessKey](s, vpc.KindAccessKey, string(id))
}

// AccessKeysOf walks the keys of an account.
func (s *Snapshot) AccessKeysOf(id vpc.AccountID) iter.Seq[*vpc.AccessKey] {
	return tableOf[*vpc.AccessKey](s, vpc.KindAccessKey).by(keysByAccount, string(id))
}

// RegionState is what is known of an account in a region, or nil if it was never there.
func (s *Snapshot) RegionState(scope vpc.Scope) *vpc.RegionState {
	return lookup[*vpc.RegionState](s, vpc.KindRegion, (&vpc.RegionState{Scope: scope}).Key())
}

// Host is the host with the id, or nil.
func (s *Snapshot) Host(id vpc.HostID) *vpc.Host {
	return lookup[*vpc.Host](s, vpc.KindHost, string(id))
}

// Hosts walks all hosts.
func (s *Snapshot) Hosts() iter.Seq[*vpc.Host] { return tableOf[*vpc.Host](s, vpc.KindHost).each() }

// Token is what a client token made, or nil.
func (s *Snapshot) Token(scope vpc.Scope, action, value string) *vpc.Token {
	return lookup[*vpc.Token](s, vpc.KindToken, vpc.TokenKey(scope, action, value))
}

// VPC is the VPC with the id, or nil.
func (s *Snapshot) VPC(id vpc.VPCID) *vpc.VPC { return lookup[*vpc.VPC](s, vpc.KindVPC, string(id)) }

// VPCsIn walks the VPCs of a scope.
func (s *Snapshot) VPCsIn(scope vpc.Scope) iter.Seq[*vpc.VPC] {
	return tableOf[*vpc.VPC](s, vpc.KindVPC).by(vpcsByScope, string(scope.Account), string(scope.Region))
}

// CountVPCs is how many VPCs a scope has.
func (s *Snapshot) CountVPCs(scope vpc.Scope) int {
	return tableOf[*vpc.VPC](s, vpc.KindVPC).count(vpcsByScope, string(scope.Account), string(scope.Region))
}

// DefaultVPC is a scope's default VPC, or nil.
func (s *Snapshot) DefaultVPC(scope vpc.Scope) *vpc.VPC {
	return first(tableOf[*vpc.VPC](s, vpc.KindVPC).by(vpcsByDefault, string(scope.Account), string(scope.Region)))
}

// Subnet is the subnet with the id, or nil.
func (s *Snapshot) Subnet(id vpc.SubnetID) *vpc.Subnet {
	return lookup[*vpc.Subnet](s, vpc.KindSubnet, string(id))
}

// SubnetsOf walks the subnets of a VPC.
func (s *Snapshot) SubnetsOf(id vpc.VPCID) iter.Seq[*vpc.Subnet] {
	return tableOf[*vpc.Subnet](s, vpc.KindSubnet).by(subnetsByVPC, string(id))
}

// CountSubnets is how many subnets a VPC has.
func (s *Snapshot) CountSubnets(id vpc.VPCID) int {
	return tableOf[*vpc.Subnet](s, vpc.KindSubnet).count(subnetsByVPC, string(id))
}

// SubnetsIn walks the subnets of a scope.
func (s *Snapshot) SubnetsIn(scope vpc.Scope) iter.Seq[*vpc.Subnet] {
	return tableOf[*vpc.Subnet](s, vpc.KindSubnet).by(subnetsByScope, string(scope.Account), string(scope.Region))
}

// Group is the security group with the id, or nil.
func (s *Snapshot) Group(id vpc.GroupID) *vpc.SecurityGroup {
	return lookup[*vpc.SecurityGroup](s, vpc.KindGroup, string(id))
}

// GroupsOf walks the groups of a VPC, or those of all accounts in a region's EC2-Classic.
func (s *Snapshot) GroupsOf(id vpc.VPCID) iter.Seq[*vpc.SecurityGroup] {
	return tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).by(groupsByVPC, string(id))
}

// CountGroups is how many groups a VPC has.
func (s *Snapshot) CountGroups(id vpc.VPCID) int {
	return tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).count(groupsByVPC, string(id))
}

// CountGroupsIn is how many groups VPCs of a scope have.
func (s *Snapshot) CountGroupsIn(scope vpc.Scope) int {
	return tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).count(groupsByScope, string(scope.Account), string(scope.Region)) -
		s.CountClassicGroups(scope)
}

// GroupNamed is the group of a VPC with a name, whatever its case, or nil.
func (s *Snapshot) GroupNamed(id vpc.VPCID, name string) *vpc.SecurityGroup {
	return first(tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).by(groupsByName, string(id), vpc.NameKey(name)))
}

// ClassicGroupNamed is a scope's group of EC2-Classic with a name, whatever its case, or nil.
func (s *Snapshot) ClassicGroupNamed(scope vpc.Scope, name string) *vpc.SecurityGroup {
	return first(tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).by(groupsByName,
		string(vpc.ClassicNetwork(scope.Region)), string(scope.Account), vpc.NameKey(name)))
}

// CountClassicGroups is how many groups of EC2-Classic a scope has.
func (s *Snapshot) CountClassicGroups(scope vpc.Scope) int {
	return tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).count(groupsByVPC,
		string(vpc.ClassicNetwork(scope.Region)), string(scope.Account))
}

// GroupsIn walks the groups of a scope.
func (s *Snapshot) GroupsIn(scope vpc.Scope) iter.Seq[*vpc.SecurityGroup] {
	return tableOf[*vpc.SecurityGroup](s, vpc.KindGroup).by(groupsByScope, string(scope.Account), string(scope.Region))
}

// Rule is the rule with the id, or nil.
func (s *Snapshot) Rule(id vpc.RuleID) *vpc.Rule {
	return lookup[*vpc.Rule](s, vpc.KindRule, string(id))
}

// RulesOf walks the rules of a group in the order they were added.
func (s *Snapshot) RulesOf(id vpc.GroupID) iter.Seq[*vpc.Rule] {
	return tableOf[*vpc.Rule](s, vpc.KindRule).by(rulesByGroup, string(id))
}

// RulesAbout walks the rules whose source is the group.
func (s *Snapshot) RulesAbout(id vpc.GroupID) iter.Seq[*vpc.Rule] {
	return tableOf[*vpc.Rule](s, vpc.KindRule).by(rulesBySource, string(id))
}

// RulesIn walks the rules of a scope in the order they were added.
func (s *Snapshot) RulesIn(scope vpc.Scope) iter.Seq[*vpc.Rule] {
	return tableOf[*vpc.Rule](s, vpc.KindRule).by(rulesByScope, string(scope.Account), string(scope.Region))
}

// Interface is the interface with the id, or nil.
func (s *Snapshot) Interface(id vpc.InterfaceID) *vpc.Interface {
	return lookup[*vpc.Interface](s, vpc.KindInterface, string(id))
}

func (s *Snapshot) interfaces(index int, parts ...string) iter.Seq[*vpc.Interface] {
	return tableOf[*vpc.Interface](s, vpc.KindInterface).by(index, parts...)
}

// InterfacesOf walks the interfaces of a VPC.
func (s *Snapshot) InterfacesOf(id vpc.VPCID) iter.Seq[*vpc.Interface] {
	return s.interfaces(interfacesByVPC, string(id))
}

// InterfacesOfSubnet walks the interfaces of a subnet.
func (s *Snapshot) InterfacesOfSubnet(id vpc.SubnetID) iter.Seq[*vpc.Interface] {
	return s.interfaces(interfacesBySubnet, string(id))
}

// InterfacesWith walks the interfaces that carry a group.
func (s *Snapshot) InterfacesWith(id vpc.GroupID) iter.Seq[*vpc.Interface] {
	return s.interfaces(interfacesByGroup, string(id))
}

// InterfacesOfInstance walks the interfaces attached to an instance.
func (s *Snapshot) InterfacesOfInstance(id vpc.InstanceID) iter.Seq[*vpc.Interface] {
	return s.interfaces(interfacesByInstance, string(id))
}

// InterfaceAt is the interface that has an address in a VPC, or nil.
func (s *Snapshot) InterfaceAt(id vpc.VPCID, a netip.Addr) *vpc.Interface {
	return first(s.interfaces(interfacesByAddr, string(id), a.String()))
}

// InterfacesIn walks the interfaces of a scope that clients see: those in VPCs.
func (s *Snapshot) InterfacesIn(scope vpc.Scope) iter.Seq[*vpc.Interface] {
	return s.interfaces(interfacesByScope, string(scope.Account), string(scope.Region))
}

// CountInterfaces is how many interfaces a scope has in VPCs.
func (s *Snapshot) CountInterfaces(scope vpc.Scope) int {
	return tableOf[*vpc.Interface](s, vpc.KindInterface).count(interfacesByScope, string(scope.Account), string(scope.Region))
}

// Instance is the instance with the id, or nil.
func (s *Snapshot) Instance(id vpc.InstanceID) *vpc.Instance {
	return lookup[*vpc.Instance](s, vpc.KindInstance, string(id))
}

// InstancesIn walks the instances of a scope.
func (s *Snapshot) InstancesIn(scope vpc.Scope) iter.Seq[*vpc.Instance] {
	return tableOf[*vpc.Instance](s, vpc.KindInstance).by(instancesByScope, string(scope.Account), string(scope.Region))
}

// CountLiveInstances is how many instances of a scope are not terminated.
func (s *Snapshot) CountLiveInstances(scope vpc.Scope) int {
	return tableOf[*vpc.Instance](s, vpc.KindInstance).count(liveByScope, string(scope.Account), string(scope.Region))
}

// CountLiveOn is how many instances have a place on a host: those that are not terminated.
func (s *Snapshot) CountLiveOn(id vpc.HostID) int {
	return tableOf[*vpc.Instance](s, vpc.KindInstance).count(liveByHost, string(id))
}

// InstancesOn walks the instances that a host carries or carried.
func (s *Snapshot) InstancesOn(id vpc.HostID) iter.Seq[*vpc.Instance] {
	return tableOf[*vpc.Instance](s, vpc.KindInstance).by(instancesByHost, string(id))
}

// InstancesOf walks the instances whose primary interface is in a VPC.
func (s *Snapshot) InstancesOf(id vpc.VPCID) iter.Seq[*vpc.Instance] {
	return tableOf[*vpc.Instance](s, vpc.KindInstance).by(instancesByVPC, string(id))
}
