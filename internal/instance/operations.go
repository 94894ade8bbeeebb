// Package instance is what the actions about network interfaces and instances mean, what hosts tell of the
// instances that they run, and what there is to launch: images and types.
//
// It is not a scheduler that watches: an instance is placed by the transaction that launches it, and its state
// changes by calls and by hosts' reports alone.
//
// Invariants: an address is on one interface of a VPC, within its subnet, and on none that EC2 keeps for itself. An
// interface carries at least one group, all of its own VPC. An instance that is not terminated has a primary
// interface, and all its interfaces are in its VPC and zone; no host carries more instances than it has room for.
package instance

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(interfaceActions(), instanceActions(), imageActions())
}
