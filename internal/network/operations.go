// Package network is what the actions about VPCs, subnets and their CIDR blocks mean, what an account finds in a
// region that it comes to, and what it is told of regions, zones and its own limits.
//
// It is not what stands on a network: interfaces and instances are package instance's.
//
// Invariants: blocks of a VPC's subnets lie within its own and never overlap. A VPC has its default group from the
// transaction that makes it to the one that deletes it. An account has at most one default VPC in a region, and one
// default subnet in a zone.
package network

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(vpcActions(), subnetActions(), zoneActions(), accountActions())
}
