package group

import (
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Groups are used in their own VPC and in those that they are associated with. A rule reaches the groups that are
// used in the VPC of its own group, and in the VPCs that have an active peering connection to that (G41). All
// that is said of it here follows from the world as it is.

// Reaches says whether rules of a VPC's groups may reference a group. link is a connection over which they do; nil:
// none is needed, or there is none.
func Reaches(w *state.Snapshot, home vpc.VPCID, g *vpc.SecurityGroup) (link *vpc.Peering, ok bool) {
	if g.VPC == home {
		return nil, true
	}
	if link = w.ActivePeering(home, g.VPC); link != nil {
		return link, true
	}
	for a := range w.AssociationsOf(g.ID) {
		if link = w.ActivePeering(home, a.VPC); link != nil {
			return link, true
		}
	}
	return nil, w.Association(g.ID, home) != nil
}

// Stale says whether a rule can match nobody any more because of what became of another VPC: the group that it
// references is deleted, or nothing connects the two VPCs (G64, G65, G92).
func Stale(w *state.Snapshot, r *vpc.Rule) bool {
	if r.Source.GroupVPC == "" {
		return false
	}
	own, g := w.Group(r.Group), w.Group(r.Source.Group)
	if own == nil || g == nil {
		return true
	}
	_, ok := Reaches(w, own.VPC, g)
	return !ok
}

// Link is the connection over which a rule reaches its group in another VPC, or, if none does, the last one that
// did; both empty: there was none.
func Link(w *state.Snapshot, r *vpc.Rule) (id vpc.PeeringID, s vpc.PeeringStatus) {
	own, g := w.Group(r.Group), w.Group(r.Source.Group)
	if r.Source.GroupVPC == "" || own == nil {
		return "", ""
	}
	var link *vpc.Peering
	if g != nil {
		link, _ = Reaches(w, own.VPC, g)
	} else {
		link = w.ActivePeering(own.VPC, r.Source.GroupVPC)
	}
	if link == nil {
		link = w.Peering(r.Source.Peering)
	}
	switch {
	case link != nil && link.Active():
		return link.ID, vpc.PeeringActive
	case r.Source.Peering != "":
		return r.Source.Peering, vpc.PeeringDeleted
	}
	return "", ""
}

// Unlink is called before a connection ends: rules that reach their groups over it go on naming it.
func Unlink(tx *state.Tx, p *vpc.Peering) {
	for _, end := range []*vpc.PeeringEnd{&p.Requester, &p.Accepter} {
		for g := range tx.GroupsOf(end.VPC) {
			for r := range tx.RulesOf(g.ID) {
				if id, _ := Link(tx.Snapshot, r); id == p.ID && r.Source.Peering != p.ID {
					changed := *r
					changed.Source.Peering = p.ID
					tx.Put(&changed)
				}
			}
		}
	}
}

// far is what answers tell of a source in another VPC than the rule's own; all nil: it is in that.
type far struct{ vpc, link, status *string }

func farSide(w *state.Snapshot, r *vpc.Rule) far {
	if r.Source.GroupVPC == "" {
		return far{}
	}
	id, status := Link(w, r)
	return far{new(string(r.Source.GroupVPC)), call.Optional(string(id)), call.Optional(string(status))}
}

// known says whether the caller knows of a peering connection between two VPCs, in whatever state.
func known(tx *state.Tx, c call.Call, a, b vpc.VPCID) bool {
	for p := range tx.PeeringsOf(a) {
		if end, _ := p.Other(a); end.VPC == b && p.SeenBy(c.Scope, c.Now) != nil {
			return true
		}
	}
	return false
}
