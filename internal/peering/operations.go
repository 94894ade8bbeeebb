// Package peering is what the actions about VPC peering connections mean, and those about groups that are used in
// another VPC than their own.
//
// It is not the rules that reference groups across VPCs: those are package group's. Nor does it carry a packet:
// which VPCs reach each other is read off the world by others.
//
// Invariants: two VPCs have at most one connection that is pending or active, and blocks of VPCs with an active one
// do not overlap. Each owner sees his own tags and options. Which rules are stale follows from the world and is
// stored nowhere.
package peering

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(connectionActions(), staleActions(), associationActions())
}
