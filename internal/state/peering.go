package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

// Peering is the peering connection with the id, or nil.
func (s *Snapshot) Peering(id vpc.PeeringID) *vpc.Peering {
	return lookup[*vpc.Peering](s, vpc.KindPeering, string(id))
}

// PeeringsOf walks the peering connections that a VPC is or was an end of.
func (s *Snapshot) PeeringsOf(id vpc.VPCID) iter.Seq[*vpc.Peering] {
	return tableOf[*vpc.Peering](s, vpc.KindPeering).by(peeringsByVPC, string(id))
}

// PeeringsIn walks the peering connections with an end in a scope.
func (s *Snapshot) PeeringsIn(scope vpc.Scope) iter.Seq[*vpc.Peering] {
	return tableOf[*vpc.Peering](s, vpc.KindPeering).by(peeringsByScope, string(scope.Account), string(scope.Region))
}

// ActivePeering is the active connection between two VPCs, or nil; there is at most one.
func (s *Snapshot) ActivePeering(a, b vpc.VPCID) *vpc.Peering {
	for p := range s.PeeringsOf(a) {
		if end, ok := p.Other(a); ok && end.VPC == b && p.Active() {
			return p
		}
	}
	return nil
}

// Association is a group's association with a VPC, or nil.
func (s *Snapshot) Association(g vpc.GroupID, v vpc.VPCID) *vpc.Association {
	return lookup[*vpc.Association](s, vpc.KindAssociation, vpc.AssociationKey(g, v))
}

// AssociationsOf walks the associations of a group.
func (s *Snapshot) AssociationsOf(g vpc.GroupID) iter.Seq[*vpc.Association] {
	return tableOf[*vpc.Association](s, vpc.KindAssociation).by(associationsByGroup, string(g))
}

// AssociationsWith walks the associations with a VPC.
func (s *Snapshot) AssociationsWith(v vpc.VPCID) iter.Seq[*vpc.Association] {
	return tableOf[*vpc.Association](s, vpc.KindAssociation).by(associationsByVPC, string(v))
}

// AssociationsIn walks the associations of a scope's groups.
func (s *Snapshot) AssociationsIn(scope vpc.Scope) iter.Seq[*vpc.Association] {
	return tableOf[*vpc.Association](s, vpc.KindAssociation).by(associationsByScope, string(scope.Account), string(scope.Region))
}
