package acl

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func associationActions() []call.Operation {
	return []call.Operation{call.Writes(replaceNetworkAclAssociation)}
}

// Associate puts a subnet that is about to be stored under the default ACL of its VPC.
func Associate(tx *state.Tx, c call.Call, s *vpc.Subnet) {
	if a := tx.DefaultNetworkACL(s.VPC); a != nil {
		associate(c, s, a)
	}
}

func associate(c call.Call, s *vpc.Subnet, a *vpc.NetworkACL) {
	s.ACL, s.ACLAssociation = a.ID, vpc.AssociationID(c.IDs.New("aclassoc"))
}

func replaceNetworkAclAssociation(tx *state.Tx, c call.Call, in *ec2.ReplaceNetworkAclAssociationRequest) (*ec2.ReplaceNetworkAclAssociationResult, error) {
	s, err := findAssociated(tx, c, call.Text(in.AssociationId))
	if err != nil {
		return nil, err
	}
	a, err := findACL(tx, c, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if a.VPC != s.VPC {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"network ACL %s and subnet %s belong to different networks. The ACL is of %s, the subnet of %s.", a.ID, s.ID, a.VPC, s.VPC)
	}
	next := *s
	associate(c, &next, a)
	tx.Put(&next)
	if err := CheckUse(tx.Snapshot, &next); err != nil {
		return nil, err
	}
	return &ec2.ReplaceNetworkAclAssociationResult{NewAssociationId: new(string(next.ACLAssociation))}, nil
}

// findAssociated is the subnet of an association with an ACL.
func findAssociated(tx *state.Tx, c call.Call, id string) (*vpc.Subnet, error) {
	for s := range tx.SubnetsIn(c.Scope) {
		if s.ACLAssociation != "" && string(s.ACLAssociation) == id {
			return s, nil
		}
	}
	return nil, apierr.New(apierr.CodeInvalidAssociationIDNotFound, "The association ID '%s' does not exist", id)
}
