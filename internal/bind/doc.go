// Package bind finds or makes the interface of an ENI on this host. Here are lab
// instances: an instance is a network namespace and, when it has user data, a
// tree of sandboxed processes in it.
//
// It is not the network (that is vpcnet) and not the firewall: it hands out
// where to attach, and raises a link only when it is told that this is done.
//
// Invariants: what an instance runs is nobody on the host: an unprivileged user
// of its own, no capabilities, no way to new ones, no view of the host but its
// system folders, bounded memory, processes, CPU and output. It outlives the
// process that started it and is found again by names, a lock and control
// groups, never by memory. User data runs once for each boot of an instance.
package bind
