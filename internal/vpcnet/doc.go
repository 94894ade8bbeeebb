// Package vpcnet is the VPC network of one host: a router in a network
// namespace of its own for each VPC and each region's EC2-Classic, and a veth
// pair for each network interface of a lab instance, from the router's
// namespace into the instance's.
//
// It is not the firewall: it makes the links on which the datapath's programs
// sit, and it knows neither groups nor rules.
//
// A connection is a link between two routers, for what goes from the addresses of
// the one VPC to those of the other, and nothing else.
//
// Invariants: two VPCs share no namespace, so equal ranges never meet. A link is
// born down on both sides and only [Fabric.Up] raises it, so that whoever
// enforces can be there first. Every object is recognised by its name, alias or
// route protocol, never by memory: a process that knows nothing finds all of it
// again. Every Ensure writes only the difference between what is and what should
// be. What the router does not know it drops without a word, as AWS does.
package vpcnet
