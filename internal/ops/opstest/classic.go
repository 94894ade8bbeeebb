package opstest

import (
	"fmt"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// subnetOf is the subnet of an interface; of one in EC2-Classic, the whole network.
func subnetOf(w *state.Snapshot, i *vpc.Interface) *vpc.Subnet {
	if i.VPC.Classic() {
		return &vpc.Subnet{VPC: i.VPC, Block: vpc.ClassicBlock}
	}
	return w.Subnet(i.Subnet)
}

// checkClassic holds that nothing is of both platforms: groups and what carries them, rules and their sources. In
// EC2-Classic rules are inbound ones, of TCP, UDP and ICMP, and their sources exist.
func checkClassic(w *state.Snapshot) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := map[string]vpc.GroupID{}
	for e := range w.All(vpc.KindGroup) {
		g := e.(*vpc.SecurityGroup)
		if !g.VPC.Classic() {
			continue
		}
		name := string(g.Scope.Account) + "/" + string(g.Scope.Region) + "/" + vpc.NameKey(g.Name)
		if other, taken := names[name]; taken {
			wrong("%s and %s are both %s", other, g.ID, name)
		}
		names[name] = g.ID
		if g.VPC != vpc.ClassicNetwork(g.Scope.Region) {
			wrong("%s of %s is in the network of another region", g.ID, g.Scope.Region)
		}
	}
	for e := range w.All(vpc.KindInterface) {
		i := e.(*vpc.Interface)
		for _, id := range i.Groups {
			g := w.Group(id)
			if g != nil && (g.VPC.Classic() != i.VPC.Classic() || i.VPC.Classic() && g.Scope != i.Scope) {
				wrong("%s of %s in %s carries %s of %s in %s", i.ID, i.Scope.Account, i.VPC, g.ID, g.Scope.Account, g.VPC)
			}
		}
	}
	for e := range w.All(vpc.KindRule) {
		r := e.(*vpc.Rule)
		g, source := w.Group(r.Group), w.Group(r.Source.Group)
		switch {
		case source != nil && source.VPC.Classic() != g.VPC.Classic():
			wrong("%s of %s in %s is about %s in %s", r.ID, g.ID, g.VPC, source.ID, source.VPC)
		case !g.VPC.Classic():
		case r.Source.Group != "" && (source == nil || source.Name != r.Source.GroupName):
			wrong("%s of %s is about %s named %q, and that is %+v", r.ID, g.ID, r.Source.Group, r.Source.GroupName, source)
		case r.Direction != packet.Ingress || r.Source.CIDR.Addr().Is6() || r.Source.PrefixList != "":
			wrong("%s of %s is %s in EC2-Classic", r.ID, g.ID, r.Identity().Describe())
		case r.Service.Proto != packet.TCP && r.Service.Proto != packet.UDP && r.Service.Proto != packet.ICMP:
			wrong("%s of %s is for %s in EC2-Classic", r.ID, g.ID, r.Service.Proto)
		}
	}
	return errs
}
