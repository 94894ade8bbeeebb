// Package acl is what the actions about network ACLs mean: the numbered rules at the border of a subnet.
//
// It enforces nothing, and so lets no entry be stored that a kernel would have to enforce, and no ACL stand over an
// interface that does not let everything pass.
//
// Invariants: a VPC has one default ACL for its life; every subnet is associated with exactly one ACL of its VPC. The
// ACL of a subnet with interfaces admits everything of the subnet's families in both directions.
package acl

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(aclActions(), entryActions(), associationActions())
}
