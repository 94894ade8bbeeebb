//go:build linux

package main

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/bench/measure"
)

func (c *candidate) of(m metric) measure.Samples { return c.samples[m] }

func find(all []*candidate, name string) *candidate {
	i := slices.IndexFunc(all, func(c *candidate) bool { return c.name == name })
	return all[i]
}

func reportPackets(w *measure.Page, all []*candidate, r rounds) {
	base := find(all, none)
	w.Sayf("\nestablished flow: sender's CPU a packet, router and receiver included, %d rounds of %d packets\n", r.known, knownPackets)
	w.Sayf("first packets: flows begun in a second of the sender's CPU by a raw socket, %d rounds of %d; nothing known before\n", r.first, firstPackets)
	w.Sayf("sockets: the same with a UDP socket made and closed for each flow, %d rounds of %d\n\n", r.first, begunFlows)
	w.Sayf("%-28s %9s %7s %6s %10s %7s %6s %10s %7s %6s\n", "", "ns/packet", "ratio", "±", "first/s", "ratio", "±", "sockets/s", "ratio", "±")
	for _, c := range all {
		e, f, b := c.of(established), c.of(first), c.of(begun)
		w.Sayf("%-28s %9.0f %7.3f %6s %10.0f %7.3f %6s %10.0f %7.3f %6s\n", c.name,
			e.Median(), e.Over(base.of(established)), percent(e.Spread()),
			f.Median(), f.Over(base.of(first)), percent(f.Spread()),
			b.Median(), b.Over(base.of(begun)), percent(b.Spread()))
	}
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

func reportConnections(w *measure.Page, few []*candidate, r rounds) {
	base := find(few, none)
	w.Sayf("\nTCP: throughput of one connection by iperf3, %d rounds of 1 s; connect, accept, close, close: %d clients at a time, %d rounds of %d\n\n",
		r.throughput, connectors, r.connected, connections)
	w.Sayf("%-28s %10s %8s %8s %14s %8s %8s\n", "", "Gbit/s", "ratio", "±", "connections/s", "ratio", "±")
	for _, c := range few {
		t, n := c.of(throughput), c.of(connected)
		w.Sayf("%-28s %10.2f %8.3f %8s %14.0f %8.3f %8s\n", c.name, t.Median(), t.Over(base.of(throughput)), percent(t.Spread()),
			n.Median(), n.Over(base.of(connected)), percent(n.Spread()))
	}
}

func reportVerdicts(w *measure.Page, costs []*verdictCost, r rounds) {
	w.Sayf("\nthe program on one hook by BPF_PROG_TEST_RUN, over an empty program, %d rounds of %d runs; ratios are to the first line\n\n", r.verdict, testRuns)
	w.Sayf("%8s %10s %12s %8s %14s %8s\n", "rules", "members", "known ns", "ratio", "verdict ns", "ratio")
	for _, c := range costs {
		w.Sayf("%8d %10d %12.0f %8.2f %14.0f %8.2f\n", c.rules, c.members, c.known.Median(), c.known.Over(costs[0].known),
			c.fresh.Median(), c.fresh.Over(costs[0].fresh))
	}
}

func reportGoals(w *measure.Page, all []*candidate, costs []*verdictCost) {
	base, it := find(all, none), find(all, ours)
	ratio := func(m metric) float64 { return it.of(m).Over(base.of(m)) }
	w.Sayf("\ngoals, %s, against no firewall\n", ours)
	e := ratio(established)
	w.Sayf("  CPU a packet, established    %6.3f  at most  1.10  %s\n", e, measure.Verdict(e <= 1.10))
	for _, g := range []struct {
		name string
		of   metric
		min  float64
	}{
		{"first packets, raw socket", first, 0.85},
		{"first packets, socket each", begun, 0.85},
		{"TCP throughput", throughput, 0.97},
		{"connections", connected, 0.85},
	} {
		if len(it.of(g.of)) > 0 {
			w.Sayf("  %-27s  %6.3f  at least %.2f  %s\n", g.name, ratio(g.of), g.min, measure.Verdict(ratio(g.of) >= g.min))
		}
	}
	last := costs[len(costs)-1]
	v := last.fresh.Over(costs[0].fresh)
	w.Sayf("  verdict, %d rules and %d members to %d and %d  %.2f  at most 1.10  %s\n",
		last.rules, last.members, costs[0].rules, costs[0].members, v, measure.Verdict(v <= 1.10))
}
