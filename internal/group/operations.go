// Package group is what the actions about security groups and their rules mean, and what every VPC's default
// group is made of.
//
// It is not the VPC that a group stands in nor the interface that carries it: those rooms call this one when they
// make, change or remove what groups depend on.
//
// Invariants: a group's rules are pairwise different and within the quotas, each direction and family on its own.
// A group goes only when no interface carries it, no rule of another one of its VPC references it and no other VPC
// is associated with it. A rule references what it reaches when it is made. A call that adds or
// removes several rules does all or nothing. No rule of a group in EC2-Classic is about a group in a VPC, nor the
// other way.
package group

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(groupActions(), ruleActions())
}
