/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The maps and their records. The Go side has the same records from BTF (datapath_bpfel.go). */
#pragma once

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define WORDS 16        /* of a vector: program.RulesMax bits */
#define REASONS 18      /* program.Reasons */
#define FRAGS 64        /* fragmented datagrams under way per interface */
#define SECOND 1000000000ULL

struct ip { __u64 hi, lo; };
typedef struct ip addr; /* network order; IPv4 mapped into IPv6 */

/* program.Reason */
enum reason {
	NONE, KNOWN_FLOW, RULE, UNTRACKED, UNTRACKED_REPLY, STATELESS, UNFILTERED, ICMP_ERROR, FRAGMENT,
	NO_RULE, NO_PROGRAM, UNBOUND, SPOOFED, MALFORMED, ORPHAN_FRAGMENT, BUDGET, ETHER_TYPE, HEADERS,
};

enum iface_flags { BOUND = 1, CHECK_SOURCE = 2, STRICT_ICMP = 4, CHECK_MAC = 8 };

/* One per interface, in memory shared with the agent, which writes single words atomically. */
struct iface {
	__u64 policies;   /* ingress in the low half, egress in the high: switched in one store; 0: none */
	__u64 flows;      /* records in the flow table, expired ones included; the kernel counts */
	__u64 flows_max;
	__u64 tcp_established, udp_stream, udp; /* idle time-outs, ns */
	__u32 network;
	__u32 flags;
	__u32 epoch;      /* flows of another epoch are void: the interface was someone else's */
	__u32 generation; /* of addrs and flags: flows of another generation check their address again */
	__u8 mac[8];
	__u8 pad[56];     /* to cache lines of its own */
};

struct policy {
	__u32 words;      /* of its vectors that can be other than zero */
	__u32 open;       /* program.Open */
	__u32 deep;       /* bit per family: has prefixes other than the all-address one; bit 2: has groups */
	__u32 pad;
	__u64 any[2][WORDS];
};

struct vector { __u64 w[WORDS]; };

struct addr_key { __u32 ifnum; __u32 pad; addr a; };
enum addr_flags { OWN = 1, EXEMPT = 2 };

struct prefix_key { __u32 bits; __u32 policy; __u8 a[16]; };
struct service_key { __u32 bits; __u32 policy; __u8 proto, hi, lo, pad; };
struct member_key { __u32 network; __u32 pad; addr a; };
struct group_key { __u32 policy, identity; };

struct flow_key {
	__u32 ifnum;
	__u16 lport, rport; /* host order; ICMP: echo id, type << 8 | code */
	__u8 proto;
	__u8 by;            /* ICMP: direction of who asks */
	__u16 pad;
	__u32 pad2;
	addr local, remote;
};

/* Bits of flow.state; the two of a pair are by direction. */
enum flow_state { ACK0 = 1, ACK1 = 2, FIN0 = 4, FIN1 = 8, RST0 = 16, RST1 = 32 };

struct flow {
	__u64 last, created; /* ns, coarse monotonic clock */
	__u64 packets[2], bytes[2]; /* by direction */
	__u32 epoch, generation;
	__u32 policy;        /* that admitted it, and which of its rules */
	__u16 rule;
	__u8 turns;          /* UDP: how often the direction changed, to 3 */
	__u8 dir;            /* of the newest packet */
	__u32 state;
	__u8 first;          /* direction of the first packet */
	__u8 pad[3];
};

struct frag {
	struct bpf_spin_lock lock;
	__u32 id;
	__u64 until;
	__u32 epoch;
	__u8 proto, dir, pad[2];
	addr src, dst;
};

struct counter {
	__u64 packets[REASONS], bytes[REASONS];
	__u64 next_sample;
};

struct hit_key { __u32 policy, rule; };
struct hit { __u64 packets, bytes, flows, last; };

struct drop {
	__u64 at;
	__u32 ifnum, len;
	addr src, dst;
	__u16 sport, dport;
	__u8 reason, dir, proto, type, code, family, pad[2];
};

struct name_key { __u32 kind, number; };
struct name { __u8 text[128]; };

#define MAP(map, kind, k, v, n, f) \
	struct { \
		__uint(type, BPF_MAP_TYPE_##kind); \
		__type(key, k); \
		__type(value, v); \
		__uint(max_entries, n); \
		__uint(map_flags, f); \
	} map SEC(".maps")

/* Sizes are the agent's to set; these are the least that load. */
MAP(ifaces, ARRAY, __u32, struct iface, 1, BPF_F_MMAPABLE);
MAP(addrs, HASH, struct addr_key, __u32, 1, BPF_F_NO_PREALLOC);
MAP(policies, HASH, __u32, struct policy, 1, BPF_F_NO_PREALLOC);
MAP(prefixes, LPM_TRIE, struct prefix_key, struct vector, 1, BPF_F_NO_PREALLOC);
MAP(services, LPM_TRIE, struct service_key, struct vector, 1, BPF_F_NO_PREALLOC);
MAP(members, HASH, struct member_key, __u32, 1, BPF_F_NO_PREALLOC);
MAP(groups, HASH, struct group_key, struct vector, 1, BPF_F_NO_PREALLOC);
MAP(flows, HASH, struct flow_key, struct flow, 1, BPF_F_NO_PREALLOC);
MAP(frags, ARRAY, __u32, struct frag, 1, 0);
MAP(counters, PERCPU_ARRAY, __u32, struct counter, 1, 0);
MAP(hits, HASH, struct hit_key, struct hit, 1, BPF_F_NO_PREALLOC);
/* Read by the agent alone: what the numbers above mean, so that it may forget. */
MAP(names, HASH, struct name_key, struct name, 1, BPF_F_NO_PREALLOC);
MAP(numbers, ARRAY, __u32, __u32, 8, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} drops SEC(".maps");
const struct drop *drop_type __attribute__((unused)); /* names it in BTF */
