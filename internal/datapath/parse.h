/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Reading a packet's headers. What cannot be read whole is refused. */
#pragma once

#include "maps.h"
#include <linux/if_ether.h>

enum proto { ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58 };
enum tcp_flags { F_FIN = 1, F_SYN = 2, F_RST = 4, F_ACK = 16 };
enum frag_place { FRAG_NONE, FRAG_FIRST, FRAG_LATER };

struct packet {
	addr src, dst;
	__u32 len;          /* of the frame */
	__u32 l4;           /* where the transport header is */
	__u32 frag_id;
	__u16 sport, dport; /* host order; zero unless TCP or UDP */
	__u16 id;           /* of an ICMP echo */
	__u8 proto, family; /* family 1: IPv6 */
	__u8 flags;         /* of TCP */
	__u8 type, code;    /* of ICMP */
	__u8 frag;
	__u8 hops;          /* IPv6 hop limit: tells neighbour discovery from what a router has passed on */
	__u8 pad[7];
};

static __always_inline __u32 segments(struct __sk_buff *skb)
{
	__u32 n = skb->gso_segs;

	return n ? n : 1;
}

static __always_inline int is_icmp(const struct packet *p) { return p->proto == ICMP || p->proto == ICMP6; }

static __always_inline int is_icmp_error(const struct packet *p)
{
	return p->proto == ICMP ? p->type == 3 || p->type == 11 || p->type == 12 : p->proto == ICMP6 && p->type >= 1 && p->type <= 4;
}

/* An instance is nobody's router: it solicits, and takes advertisements. */
static __always_inline int is_discovery(const struct packet *p, __u32 dir)
{
	return p->proto == ICMP6 && !p->code && p->hops == 255 &&
	       (p->type == 135 || p->type == 136 || p->type == (dir ? 133 : 134));
}

/* An instance is a client of DHCP, never a server. */
static __always_inline int is_dhcp(const struct packet *p, __u32 dir)
{
	__u16 client = dir ? p->sport : p->dport, server = dir ? p->dport : p->sport;

	return p->proto == UDP && (p->family ? client == 546 && server == 547 : client == 68 && server == 67);
}

static __always_inline int same(const addr *a, const addr *b) { return a->hi == b->hi && a->lo == b->lo; }

static __always_inline int is_mapped(const addr *a) { return !a->hi && (__u32)a->lo == bpf_htonl(0xffff); }

static __always_inline int is_unspecified(const addr *a) { return !a->hi && (!a->lo || a->lo == bpf_htonl(0xffff)); }

static __always_inline int is_link_local(const addr *a) { return (a->hi & 0xc0ff) == 0x80fe; }

/* is_group: multicast of either family, or the limited broadcast. */
static __always_inline int is_group(const addr *a)
{
	__u32 v4 = a->lo >> 32;

	return is_mapped(a) ? (v4 & 0xf0) == 0xe0 || v4 == 0xffffffff : (a->hi & 0xff) == 0xff;
}

static __always_inline void mapped(addr *to, const __u8 v4[4])
{
	__u32 w;

	__builtin_memcpy(&w, v4, 4);
	to->hi = 0;
	to->lo = (__u64)w << 32 | bpf_htonl(0xffff);
}

static __always_inline int differ6(const __u8 *a, const __u8 *b)
{
	return a[0] != b[0] || a[1] != b[1] || a[2] != b[2] || a[3] != b[3] || a[4] != b[4] || a[5] != b[5];
}

/* transport reads the transport header, of which room bytes lie inside the IP
 * packet. Of a quoted packet only the first eight bytes need be there. */
static __always_inline enum reason transport(struct __sk_buff *skb, struct packet *p, __u32 room, int quoted)
{
	__u8 h[20];

	switch (p->proto) {
	case TCP:
		if (quoted ? room < 8 || bpf_skb_load_bytes(skb, p->l4, h, 8) : room < 20 || bpf_skb_load_bytes(skb, p->l4, h, 20))
			return MALFORMED;
		if (!quoted) {
			if ((h[12] >> 4) < 5 || (__u32)(h[12] >> 4) * 4 > room)
				return MALFORMED;
			p->flags = h[13];
		}
		break;
	case UDP:
		if (room < 8 || bpf_skb_load_bytes(skb, p->l4, h, 8))
			return MALFORMED;
		break;
	case ICMP:
	case ICMP6:
		if ((p->proto == ICMP6) != p->family)
			return MALFORMED;
		if (room < 8 || bpf_skb_load_bytes(skb, p->l4, h, 8))
			return MALFORMED;
		p->type = h[0];
		p->code = h[1];
		if (p->proto == ICMP ? p->type == 8 || p->type == 0 : p->type == 128 || p->type == 129)
			p->id = h[4] << 8 | h[5];
		return NONE;
	default:
		return NONE;
	}
	p->sport = h[0] << 8 | h[1];
	p->dport = h[2] << 8 | h[3];
	return NONE;
}

static __always_inline enum reason parse4(struct __sk_buff *skb, struct packet *p, __u32 off, int quoted)
{
	__u8 h[20];

	if (bpf_skb_load_bytes(skb, off, h, 20))
		return MALFORMED;
	__u32 header = (h[0] & 15) * 4, total = h[2] << 8 | h[3], rest = p->len - off, place = h[6] << 8 | h[7];
	if (h[0] >> 4 != 4 || header < 20)
		return MALFORMED;
	if (!total && skb->gso_size)
		total = rest; /* larger than the field holds */
	if (total < header || (!quoted && total > rest))
		return MALFORMED;
	p->proto = h[9];
	mapped(&p->src, h + 12);
	mapped(&p->dst, h + 16);
	p->l4 = off + header;
	__u32 at = place & 0x1fff;
	if (at || (place & 0x2000)) {
		p->frag = at ? FRAG_LATER : FRAG_FIRST;
		p->frag_id = h[4] << 8 | h[5];
		if (at)
			return p->proto == TCP && at < 3 ? MALFORMED : NONE; /* would overwrite the header that was judged */
	}
	return transport(skb, p, total - header, quoted);
}

static __always_inline enum reason parse6(struct __sk_buff *skb, struct packet *p, __u32 off, int quoted)
{
	__u8 h[40];

	if (bpf_skb_load_bytes(skb, off, h, 40))
		return MALFORMED;
	__u32 room = h[4] << 8 | h[5], rest = p->len - off - 40, at = off + 40;
	if (h[0] >> 4 != 6)
		return MALFORMED;
	if (!room && skb->gso_size)
		room = rest; /* jumbogram of the local stack */
	if (!quoted && room > rest)
		return MALFORMED;
	__builtin_memcpy(&p->src, h + 8, 16);
	__builtin_memcpy(&p->dst, h + 24, 16);
	if (is_mapped(&p->src) || is_mapped(&p->dst))
		return MALFORMED; /* IPv4's own place in our tables */
	__u8 next = h[6];
	p->hops = h[7];
	for (int n = 0; n < 7; n++) {
		__u8 e[8];
		if (next != 0 && next != 43 && next != 44 && next != 60) {
			p->proto = next;
			p->l4 = at;
			return transport(skb, p, room, quoted);
		}
		if ((next == 0 && n) || room < 8 || bpf_skb_load_bytes(skb, at, e, 8))
			return MALFORMED;
		if (next == 43 && !e[2])
			return MALFORMED; /* RFC 5095 */
		__u32 size = next == 44 ? 8 : (e[1] + 1) * 8;
		if (next == 44) {
			__u32 place = e[2] << 8 | e[3];
			if (p->frag)
				return MALFORMED;
			if (place & 0xfff9) {
				p->frag = place & 0xfff8 ? FRAG_LATER : FRAG_FIRST;
				__builtin_memcpy(&p->frag_id, e + 4, 4);
			}
			if (p->frag == FRAG_LATER) {
				p->proto = e[0];
				return e[0] == TCP && place >> 3 < 3 ? MALFORMED : NONE;
			}
		}
		if (size > room)
			return MALFORMED;
		next = e[0];
		at += size;
		room -= size;
	}
	return HEADERS;
}

/* parse reads an IP packet at off. quoted: it is the excerpt in an ICMP error. */
__noinline int parse(struct __sk_buff *skb, struct packet *p, __u32 off, int six, int quoted)
{
	if (!p)
		return MALFORMED;
	p->family = six;
	p->len = skb->len;
	return six ? parse6(skb, p, off, quoted) : parse4(skb, p, off, quoted);
}
