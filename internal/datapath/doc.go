// Package datapath writes what a host enforces into the kernel: lookup tables in
// BPF maps, and one program per direction that judges every packet of an
// interface on tc hooks (datapath.c). It compiles nothing (program.Build does)
// and decides nothing about which interfaces exist (the agent does).
//
// Invariants: an interface that is attached and has no program drops
// everything; a packet sees an interface's old pair of policies or its new
// one, never a mixture; what a policy refers to is in the kernel before the
// policy is, and goes after it; everything is pinned, and a process that knows
// nothing finds it again. DESIGN.md draws it.
package datapath
