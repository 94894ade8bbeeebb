// Package peering is what the actions about VPC peering connections mean, and those about groups that are used in
// another VPC than their own.
//
// It is not the rules that reference groups across VPCs: those are package group's.
//
// Invariants: two VPCs have at most one connection that is pending or active; which rules are stale follows from the world and is stored nowhere.
package peering

import "sallyport.dev/sallyport/internal/call"

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation { return nil }
