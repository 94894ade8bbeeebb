// Package gateway is what the actions about Internet gateways, route tables and DHCP options mean: how a VPC is
// connected.
//
// It is not the VPC itself (package network) and routes no packet: what the lab routes follows from VPCs and peerings.
//
// Invariants: a VPC has one main route table from the transaction that makes it to the one that deletes it, and at most
// one Internet gateway. A subnet has at most one table of its own, of its VPC. A table has each destination once, and
// none that the lab would serve otherwise than the route says.
package gateway

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
)

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return slices.Concat(gatewayActions(), routeTableActions(), associationActions(), routeActions(), dhcpActions())
}
