// Package acl is what the actions about network ACLs mean: the numbered rules at the border of a subnet.
//
// It enforces nothing, and so lets no entry be stored that a kernel would have to enforce.
//
// Invariants: a VPC has one default ACL for its life; every subnet is associated with exactly one ACL of its VPC.
package acl

import "sallyport.dev/sallyport/internal/call"

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation { return nil }
