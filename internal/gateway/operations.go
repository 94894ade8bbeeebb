// Package gateway is what the actions about Internet gateways, route tables and DHCP options mean: how a VPC is
// connected.
//
// It is not the VPC itself (package network) and routes no packet: what the lab routes follows from VPCs and peerings.
//
// Invariants: a VPC has one main route table from the transaction that makes it to the one that deletes it.
package gateway

import "sallyport.dev/sallyport/internal/call"

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation { return nil }
