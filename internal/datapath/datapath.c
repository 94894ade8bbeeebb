//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
// The verdict on one packet at one interface. design.md draws the way; the
// interpreter in internal/program says the same in Go, and a test holds the two
// together. Whatever is not understood is dropped.
#include "parse.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static const struct vector zeros;

static const __u8 debruijn[64] = {
	0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4, 62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5,
	63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6,
};

static __always_inline __u32 lowest_bit(__u64 w)
{
	return debruijn[((w & -w) * 0x03f79d71b4cb0a89ULL) >> 58];
}

/* A question to one policy, and its answer. */
struct query {
	addr remote;
	__u32 policy, network;
	__u16 value; /* port, or type << 8 | code */
	__u8 proto, family;
	__u8 any;    /* out: an all-address rule is among those that admit */
	__u8 open;   /* out: the policy's open bits */
	__u16 rule;  /* out: the first rule that admits */
	__u32 generation; /* for the record to be made */
	__u8 dir, replace, pad[2];
};

static __always_inline const struct vector *service(__u32 policy, __u8 proto, __u16 value)
{
	struct service_key k = { 56, policy, proto, value >> 8, value, 0 };

	return bpf_map_lookup_elem(&services, &k);
}

/* admit asks whether a rule admits the packet: (prefixes | groups) & services. */
__noinline int admit(struct query *q)
{
	if (!q)
		return MALFORMED;
	const struct vector *pfx = &zeros, *grp = &zeros, *svc, *v;
	const struct policy *p;
	__u32 id = q->policy, found = 0;

	q->any = 0;
	q->rule = 0;
	p = id ? bpf_map_lookup_elem(&policies, &id) : 0;
	if (!p)
		return NO_PROGRAM;
	q->open = p->open;
	svc = service(id, q->proto, q->value);
	if (!svc)
		return NO_RULE;
	const __u64 *any = p->any[q->family & 1];
	if (p->deep & (1 << (q->family & 1))) {
		struct prefix_key k = { 160, id };
		__builtin_memcpy(k.a, &q->remote, 16);
		v = bpf_map_lookup_elem(&prefixes, &k);
		if (v)
			pfx = v;
	} else {
		pfx = (const struct vector *)any;
	}
	if (p->deep & 4) {
		struct member_key k = { q->network, 0, q->remote };
		__u32 *identity = bpf_map_lookup_elem(&members, &k);
		if (identity) {
			struct group_key g = { id, *identity };
			v = bpf_map_lookup_elem(&groups, &g);
			if (v)
				grp = v;
		}
	}
	for (__u32 i = 0; i < WORDS; i++) {
		if (i >= p->words)
			break;
		__u64 w = (pfx->w[i] | grp->w[i]) & svc->w[i];
		if (!w)
			continue;
		if (!found) {
			found = 1;
			q->rule = i * 64 + lowest_bit(w);
		}
		if (w & any[i]) {
			q->any = 1;
			break;
		}
	}
	return found ? RULE : NO_RULE;
}

static __always_inline __u32 open_bit(__u8 proto, __u8 family)
{
	return proto == TCP ? 1 << 2 * family : proto == UDP ? 2 << 2 * family : 0;
}

/* untracked classes a packet that q's policy admits; other is the policy of the other direction. */
__noinline int untracked(struct query *q, __u32 other, __u16 sport, int begins)
{
	if (!q)
		return MALFORMED;
	__u32 open = open_bit(q->proto, q->family & 1);
	const struct vector *svc;
	const struct policy *p;

	if (!(q->any || (q->open & open)) || !open || !other)
		return NONE;
	p = bpf_map_lookup_elem(&policies, &other);
	if (!p)
		return NONE;
	if (q->any && (p->open & open))
		return UNTRACKED;
	if (!(q->open & open) || begins)
		return NONE;
	svc = service(other, q->proto, sport);
	if (!svc)
		return NONE;
	for (__u32 i = 0; i < WORDS; i++) {
		if (i >= p->words)
			break;
		if (svc->w[i] & p->any[q->family & 1][i])
			return UNTRACKED_REPLY;
	}
	return NONE;
}

static __always_inline __u64 idle_max(const struct iface *i, const struct flow *f, __u8 proto)
{
	__u32 s = f->state;

	switch (proto) {
	case ICMP:
	case ICMP6:
		return 30 * SECOND;
	case UDP:
		return f->turns >= 3 ? i->udp_stream : i->udp;
	case TCP:
		if (s & (RST0 | RST1))
			return 10 * SECOND;
		if ((s & (FIN0 | FIN1)) == (FIN0 | FIN1))
			return 20 * SECOND;
		if (s & (FIN0 | FIN1))
			return i->tcp_established < 120 * SECOND ? i->tcp_established : 120 * SECOND;
		if ((s & (ACK0 | ACK1)) == (ACK0 | ACK1))
			return i->tcp_established;
		return 60 * SECOND;
	}
	return 600 * SECOND;
}

static __always_inline int expired(const struct iface *i, const struct flow *f, __u8 proto, __u64 now)
{
	return f->epoch != i->epoch || (__s64)(now - f->last) >= (__s64)idle_max(i, f, proto);
}

static __always_inline __u32 tcp_bits(__u8 flags, __u32 dir)
{
	return ((flags & F_ACK ? ACK0 : 0) | (flags & F_FIN ? FIN0 : 0) | (flags & F_RST ? RST0 : 0)) << dir;
}

/* begins: a SYN that starts a connection. restarts: another one on the ports of f. */
static __always_inline int begins(const struct packet *p)
{
	return p->proto == TCP && (p->flags & (F_SYN | F_ACK)) == F_SYN;
}

static __always_inline int restarts(const struct flow *f, const struct packet *p, __u32 dir)
{
	return begins(p) && (f->state & ((ACK0 << dir) | FIN0 | FIN1 | RST0 | RST1));
}

static __always_inline void see(struct flow *f, const struct packet *p, __u32 dir, __u64 now)
{
	if (f->last != now)
		f->last = now;
	if (p->proto == TCP) {
		__u32 bits = tcp_bits(p->flags, dir), rst = RST0 << dir;
		if (bits & ~f->state)
			__sync_fetch_and_or(&f->state, bits);
		if ((f->state & rst) && !(bits & rst))
			__sync_fetch_and_and(&f->state, ~rst);
	} else if (f->dir != dir) {
		f->dir = dir;
		if (f->turns < 3)
			f->turns++;
	}
}

static __always_inline void count(struct flow *f, struct __sk_buff *skb, const struct packet *p, __u32 dir)
{
	__sync_fetch_and_add(&f->packets[dir & 1], segments(skb));
	__sync_fetch_and_add(&f->bytes[dir & 1], p->len);
}

static __always_inline void make_key(struct flow_key *k, __u32 ifnum, const struct packet *p, __u32 dir)
{
	__builtin_memset(k, 0, sizeof(*k));
	k->ifnum = ifnum;
	k->proto = p->proto;
	k->local = dir ? p->src : p->dst;
	k->remote = dir ? p->dst : p->src;
	if (is_icmp(p)) {
		k->lport = p->id;
		k->rport = p->type << 8 | p->code;
		k->by = dir;
	} else {
		k->lport = dir ? p->sport : p->dport;
		k->rport = dir ? p->dport : p->sport;
	}
}

/* find looks up the packet's live flow and sets k to its key; without one, k is
 * the key under which the packet would begin a flow. An expired record with
 * that key is left in *stale. */
static __always_inline struct flow *find(const struct iface *i, struct flow_key *k, const struct packet *p, __u32 ifnum, __u32 dir,
					 __u64 now, struct flow **stale)
{
	struct flow *f;

	make_key(k, ifnum, p, dir);
	if (is_icmp(p) && p->type == (p->proto == ICMP ? 0 : 129)) { /* an echo reply: has someone asked? */
		k->rport = (p->proto == ICMP ? 8 : 128) << 8 | p->code;
		k->by = !dir;
		f = bpf_map_lookup_elem(&flows, k);
		if (f && !expired(i, f, p->proto, now))
			return f;
		k->rport = p->type << 8 | p->code;
		k->by = dir;
	}
	f = bpf_map_lookup_elem(&flows, k);
	if (f && expired(i, f, p->proto, now)) {
		*stale = f;
		return 0;
	}
	return f;
}

__noinline int error_passes(struct __sk_buff *skb, struct iface *i, const struct packet *p, __u32 ifnum, __u32 dir)
{
	if (!i || !p)
		return NONE;
	struct packet quoted;
	__u32 back = !dir;

	__builtin_memset(&quoted, 0, sizeof(quoted));
	if (parse(skb, &quoted, p->l4 + 8, p->proto == ICMP ? 0 : 1, 1) != NONE)
		return NONE;
	if (quoted.frag == FRAG_LATER || !same(&quoted.src, &p->dst))
		return NONE;
	{
		struct flow *stale = 0;
		struct flow_key k;
		if (find(i, &k, &quoted, ifnum, back, bpf_ktime_get_coarse_ns(), &stale))
			return ICMP_ERROR;
	}
	__u64 both = i->policies;
	struct query q = {
		.remote = quoted.dst, .policy = back ? both >> 32 : (__u32)both, .network = i->network,
		.value = is_icmp(&quoted) ? quoted.type << 8 | quoted.code : quoted.dport,
		.proto = quoted.proto, .family = quoted.family,
	};
	if (admit(&q) != RULE)
		return NONE;
	return untracked(&q, dir ? both >> 32 : (__u32)both, quoted.sport, 0) == NONE ? NONE : ICMP_ERROR;
}

static __always_inline __u32 owned(__u32 ifnum, const addr *a)
{
	struct addr_key k = { ifnum, 0, *a };
	__u32 *flags = bpf_map_lookup_elem(&addrs, &k);

	return flags ? *flags : 0;
}

/* address is the source/destination check, then what is never filtered; NONE: go on. */
__noinline int address(struct __sk_buff *skb, const struct iface *i, const struct packet *p, __u32 ifnum, __u32 dir)
{
	if (!i || !p)
		return MALFORMED;
	const addr *local = dir ? &p->src : &p->dst;
	int helper = is_discovery(p, dir) || is_dhcp(p, dir);

	if ((i->flags & CHECK_SOURCE) && !(owned(ifnum, local) & OWN)) {
		if (!(!dir && is_group(local)) && !(helper && (is_link_local(local) || (dir && is_unspecified(local)))))
			return SPOOFED;
	}
	if (helper) {
		addr target;
		if ((i->flags & CHECK_SOURCE) && dir && p->type == 136 && p->proto == ICMP6) { /* who claims an address must own it */
			if (bpf_skb_load_bytes(skb, p->l4 + 8, &target, 16))
				return MALFORMED;
			if (!is_link_local(&target) && !(owned(ifnum, &target) & OWN))
				return SPOOFED;
		}
		return UNFILTERED;
	}
	return owned(ifnum, dir ? &p->dst : &p->src) & EXEMPT ? UNFILTERED : NONE;
}

static __always_inline void credit(struct __sk_buff *skb, const struct query *q, const struct packet *p, __u64 now, __u32 flow)
{
	struct hit_key k = { q->policy, q->rule };
	struct hit *h = bpf_map_lookup_elem(&hits, &k);

	if (!h) {
		struct hit zero = {};
		bpf_map_update_elem(&hits, &k, &zero, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&hits, &k);
		if (!h)
			return;
	}
	__sync_fetch_and_add(&h->packets, segments(skb));
	__sync_fetch_and_add(&h->bytes, p->len);
	__sync_fetch_and_add(&h->flows, flow);
	h->last = now;
}

/* record makes the flow, within the interface's budget. */
__noinline int record(struct __sk_buff *skb, struct iface *i, const struct flow_key *k, const struct packet *p, struct query *q)
{
	if (!i || !k || !p || !q)
		return MALFORMED;
	__u64 now = bpf_ktime_get_coarse_ns();
	struct flow f = {
		.last = now, .created = now, .epoch = i->epoch, .generation = q->generation, .policy = q->policy, .rule = q->rule,
		.dir = q->dir, .first = q->dir, .state = p->proto == TCP ? tcp_bits(p->flags, q->dir & 1) : 0,
	};

	f.packets[q->dir & 1] = segments(skb);
	f.bytes[q->dir & 1] = p->len;
	if (q->replace && !bpf_map_update_elem(&flows, k, &f, BPF_EXIST))
		goto made;
	if (__sync_fetch_and_add(&i->flows, 1) >= i->flows_max) {
		__sync_fetch_and_add(&i->flows, -1);
		return BUDGET;
	}
	long err = bpf_map_update_elem(&flows, k, &f, BPF_NOEXIST);
	if (err) {
		__sync_fetch_and_add(&i->flows, -1);
		return err == -17 /* EEXIST: another CPU was first */ ? RULE : BUDGET;
	}
made:
	credit(skb, q, p, now, 1);
	return RULE;
}

static __always_inline enum reason judge_ip(struct __sk_buff *skb, struct iface *i, const struct packet *p, __u32 ifnum, __u32 dir)
{
	__u64 now = bpf_ktime_get_coarse_ns(), both;
	struct flow *f, *stale = 0;
	struct flow_key k;
	enum reason why;

	f = find(i, &k, p, ifnum, dir, now, &stale);
	__u32 generation = *(volatile __u32 *)&i->generation; /* read before what it is the generation of */
	if (!f || f->generation != generation || is_group(&k.local)) { /* a group receives and never sends */
		why = address(skb, i, p, ifnum, dir);
		if (why != NONE)
			return why;
		if (f)
			f->generation = generation;
	}
	if (f && !restarts(f, p, dir)) {
		see(f, p, dir, now);
		count(f, skb, p, dir);
		return KNOWN_FLOW;
	}
	if (is_icmp_error(p) && !(i->flags & STRICT_ICMP) && error_passes(skb, i, p, ifnum, dir) == ICMP_ERROR)
		return ICMP_ERROR;
	both = *(volatile __u64 *)&i->policies;
	struct query q = {
		.remote = k.remote, .policy = dir ? both >> 32 : (__u32)both, .network = i->network,
		.value = is_icmp(p) ? p->type << 8 | p->code : p->dport, .proto = p->proto, .family = p->family,
	};
	why = admit(&q);
	if (why != RULE)
		return why;
	skb->cb[2] = q.policy;
	skb->cb[3] = q.rule;
	why = untracked(&q, dir ? (__u32)both : both >> 32, p->sport, begins(p));
	if (why != NONE) {
		if ((f || stale) && !bpf_map_delete_elem(&flows, &k))
			__sync_fetch_and_add(&i->flows, -1);
		credit(skb, &q, p, now, 0);
		return why;
	}
	if (p->proto == TCP && ((p->flags & F_RST) || (!begins(p) && (q.open & open_bit(TCP, p->family & 1))))) {
		credit(skb, &q, p, now, 0);
		return STATELESS;
	}
	q.generation = generation;
	q.dir = dir;
	q.replace = f || stale;
	return record(skb, i, &k, p, &q);
}

/* fragment finds or, with put, leaves the verdict on a datagram's first fragment. */
__noinline int fragment(const struct iface *i, const struct packet *p, __u32 ifnum, __u32 dir, int put)
{
	if (!i || !p)
		return MALFORMED;
	__u64 mix = p->src.lo ^ p->src.hi ^ (p->dst.lo << 1) ^ ((__u64)p->frag_id << 20) ^ p->proto ^ dir, now = bpf_ktime_get_coarse_ns();
	__u32 slot = ifnum * FRAGS + ((mix * 0x9e3779b97f4a7c15ULL) >> 58);
	struct frag *f = bpf_map_lookup_elem(&frags, &slot);
	enum reason why = ORPHAN_FRAGMENT;

	if (!f)
		return why;
	bpf_spin_lock(&f->lock);
	if (put) {
		f->id = p->frag_id;
		f->until = now + 30 * SECOND;
		f->epoch = i->epoch;
		f->proto = p->proto;
		f->dir = dir;
		f->src = p->src;
		f->dst = p->dst;
	} else if (f->id == p->frag_id && f->proto == p->proto && f->dir == dir && f->epoch == i->epoch && f->until > now &&
		   f->src.hi == p->src.hi && f->src.lo == p->src.lo && f->dst.hi == p->dst.hi && f->dst.lo == p->dst.lo) {
		why = FRAGMENT;
	}
	bpf_spin_unlock(&f->lock);
	return why;
}

__noinline int judge_arp(struct __sk_buff *skb, const struct iface *i, __u32 off, __u32 ifnum, __u32 dir)
{
	if (!i)
		return MALFORMED;
	struct {
		__u16 hardware, protocol;
		__u8 hlen, plen;
		__u16 op;
		__u8 sha[6], spa[4], tha[6], tpa[4];
	} a;

	if (bpf_skb_load_bytes(skb, off, &a, sizeof(a)))
		return MALFORMED;
	if (a.protocol != bpf_htons(ETH_P_IP) || a.hlen != 6 || a.plen != 4)
		return MALFORMED;
	if (!dir || !(i->flags & CHECK_SOURCE))
		return UNFILTERED;
	addr who;
	mapped(&who, a.spa);
	if ((i->flags & CHECK_MAC) && differ6(a.sha, i->mac))
		return SPOOFED;
	if (!is_unspecified(&who) && !(owned(ifnum, &who) & OWN))
		return SPOOFED;
	return UNFILTERED;
}

/* spoofed_mac: sending, the source is the interface's; receiving, the destination is, or a group. */
static __always_inline int spoofed_mac(const struct iface *i, const struct ethhdr *eth, __u32 dir)
{
	if (!(i->flags & CHECK_MAC))
		return 0;
	return dir ? differ6(eth->h_source, i->mac) : !(eth->h_dest[0] & 1) && differ6(eth->h_dest, i->mac);
}

static __always_inline enum reason judge_frame(struct __sk_buff *skb, struct iface *i, struct packet *p, __u32 ifnum, __u32 dir)
{
	__u32 off = sizeof(struct ethhdr);
	struct ethhdr eth;
	enum reason why;

	p->len = skb->len;
	if (!(i->flags & BOUND))
		return UNBOUND;
	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return MALFORMED;
	if (spoofed_mac(i, &eth, dir))
		return SPOOFED;
	__u16 type = eth.h_proto;
	for (int n = 0; n < 2; n++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, off + 2, &type, 2))
			return MALFORMED;
		off += 4;
	}
	switch (type) {
	case bpf_htons(ETH_P_ARP):
		return judge_arp(skb, i, off, ifnum, dir);
	case bpf_htons(ETH_P_IP):
	case bpf_htons(ETH_P_IPV6):
		break;
	default:
		return ETHER_TYPE;
	}
	why = parse(skb, p, off, type != bpf_htons(ETH_P_IP), 0);
	if (why != NONE)
		return why;
	if (p->frag == FRAG_LATER)
		return fragment(i, p, ifnum, dir, 0);
	why = judge_ip(skb, i, p, ifnum, dir);
	if (p->frag == FRAG_FIRST && why < NO_RULE)
		fragment(i, p, ifnum, dir, 1);
	return why;
}

__noinline int sample(struct counter *c, const struct packet *p, __u32 ifnum, __u32 dir, __u32 why)
{
	if (!c || !p)
		return 0;
	__u64 now = bpf_ktime_get_coarse_ns();

	if (now < c->next_sample)
		return 0;
	c->next_sample = now + SECOND / 10; /* ten a second per interface, direction and CPU */
	struct drop *d = bpf_ringbuf_reserve(&drops, sizeof(*d), 0);
	if (!d)
		return 0;
	__builtin_memset(d, 0, sizeof(*d));
	d->at = now;
	d->ifnum = ifnum;
	d->len = p->len;
	d->src = p->src;
	d->dst = p->dst;
	d->sport = p->sport;
	d->dport = p->dport;
	d->reason = why;
	d->dir = dir;
	d->proto = p->proto;
	d->type = p->type;
	d->code = p->code;
	d->family = p->family;
	bpf_ringbuf_submit(d, 0);
	return 0;
}

static __always_inline int judge(struct __sk_buff *skb, __u32 dir)
{
	__u32 ifnum = skb->cb[0], slot = ifnum * 2 + dir;
	struct iface *i = bpf_map_lookup_elem(&ifaces, &ifnum);
	struct packet p = {};

	if (!i)
		return TC_ACT_SHOT;
	enum reason why = judge_frame(skb, i, &p, ifnum, dir);
	skb->cb[1] = why;
	struct counter *c = bpf_map_lookup_elem(&counters, &slot);
	if (why >= REASONS || !c)
		return TC_ACT_SHOT;
	c->packets[why] += segments(skb);
	c->bytes[why] += p.len;
	if (why > NONE && why < NO_RULE)
		return TC_ACT_UNSPEC; /* go on: other programs on the device have their say */
	sample(c, &p, ifnum, dir, why);
	return TC_ACT_SHOT;
}

/* The program sits on the host's end: what its instance sends is egress of the network interface. */
SEC("tc")
int from_instance(struct __sk_buff *skb) { return judge(skb, 1); }

SEC("tc")
int to_instance(struct __sk_buff *skb) { return judge(skb, 0); }

/* empty is what benchmarks subtract. */
SEC("tc")
int empty(struct __sk_buff *skb) { return TC_ACT_UNSPEC; }

struct seq_file;
struct bpf_map;
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
} __attribute__((preserve_access_index));
struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __attribute__((preserve_access_index));

/* What a sweep tells: flows it looked at, flows it removed. */
struct swept { __u64 flows, expired; };

static long sweep_flow(struct bpf_map *map, const struct flow_key *key, const struct flow *f, struct swept *out)
{
	struct flow_key k;
	__builtin_memcpy(&k, key, sizeof(k));
	struct iface *i = bpf_map_lookup_elem(&ifaces, &k.ifnum);

	out->flows++;
	if (i && expired(i, f, k.proto, bpf_ktime_get_ns()) && !bpf_map_delete_elem(&flows, &k)) {
		__sync_fetch_and_add(&i->flows, -1);
		out->expired++;
	}
	return 0;
}

/* sweep deletes expired flows. It is called for each map of the system and works at the first one: an iterator
 * over the elements of our map is what some kernels that are locked down refuse, since it could write. It runs in
 * the reader's process, so packets go on being judged meanwhile. */
SEC("iter/bpf_map")
int sweep(struct bpf_iter__bpf_map *ctx)
{
	struct swept out = {};

	if (ctx->meta->seq_num)
		return 0;
	bpf_for_each_map_elem(&flows, sweep_flow, &out, 0);
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}
