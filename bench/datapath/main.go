//go:build linux

// Command datapath measures what judging packets costs on this machine, as
// ratios within one run: a client and a server that talk through a router, with
// no firewall, with Sallyport at both interfaces, with nftables and with
// iptables. Candidates take turns, the numbers are medians, and every sample
// counts what arrived. It needs root, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/bench/measure"
	"sallyport.dev/sallyport/internal/datapath"
)

// metric is a thing that is measured for every candidate.
type metric int

const (
	established metric = iota
	first
	begun
	throughput
	connected
)

// measurement takes one sample.
type measurement func(ctx context.Context, s *stage) (float64, error)

// Names of candidates that goals speak of.
const (
	none      = "no firewall"
	noneAgain = "no firewall, again"
	ours      = "sallyport, 1000 rules"
)

// firewalls are all candidates.
func firewalls() []*firewall {
	return []*firewall{
		{name: none},
		{name: noneAgain},
		sallyport("sallyport, 10 rules", 10, true),
		sallyport(ours, 1000, true),
		sallyport("sallyport, untracked server", 10, false),
		nftables(10),
		nftablesChains(10),
		nftablesSet(1000),
		nftables(1000),
		iptables(250),
		iptables(1000),
	}
}

// rounds says how often every candidate has its turn.
type rounds struct{ known, first, throughput, connected, verdict int }

var (
	usualRounds = rounds{known: 25, first: 15, throughput: 10, connected: 15, verdict: 15}
	shortRounds = rounds{known: 10, first: 10, throughput: 3, connected: 5, verdict: 5}
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	short := flag.Bool("short", false, "fewer rounds")
	only := flag.String("only", "", "for a profile: no candidates but no firewall and that of this name, packets alone")
	flag.Parse()
	r := usualRounds
	if *short {
		r = shortRounds
	}
	err := run(ctx, measure.NewPage(os.Stdout), r, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/datapath:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w *measure.Page, r rounds, only string) (err error) {
	if err := datapath.Probe(); err != nil {
		return fmt.Errorf("this machine cannot load the datapath: %w", err)
	}
	head := measure.Head("datapath")
	list := slices.DeleteFunc(firewalls(), func(f *firewall) bool { return only != "" && f.name != none && f.name != only })
	all, undo, err := setUp(list)
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return err
	}
	w.Sayf("%s64-byte UDP through a router between veth pairs; each candidate has its own namespaces; candidates take turns; every packet arrived.\n", head)
	w.Sayf("Sallyport and nftables' chains judge at both interfaces, the others once. Numbers are medians of rounds, ratios medians of the rounds' ratios.\n")
	w.Sayf("%s; %s.\n", version("nft", "-v"), version("iptables", "-V"))
	for _, f := range list {
		if f.lacks != "" {
			w.Sayf("left out: %s (%s)\n", f.name, f.lacks)
		}
	}
	if err := takeTurns(ctx, all, established, r.known, knownFlow); err != nil {
		return err
	}
	if err := takeTurns(ctx, all, first, r.first, newFlows); err != nil {
		return err
	}
	if err := takeTurns(ctx, all, begun, r.first, begunFlowsRate); err != nil {
		return err
	}
	reportPackets(w, all, r)
	if only != "" {
		return w.Err()
	}
	few := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool {
		return !slices.Contains([]string{none, noneAgain, ours, "sallyport, untracked server", "nftables, 10 rules", "nftables, chains, 10 rules", "iptables, 1000 rules"}, c.name)
	})
	if _, err := exec.LookPath("iperf3"); err != nil {
		w.Sayf("\nthroughput is left out: %v\n", err)
	} else if err := takeTurns(ctx, few, throughput, r.throughput, iperf(1)); err != nil {
		return err
	}
	if err := takeTurns(ctx, few, connected, r.connected, connects); err != nil {
		return err
	}
	reportConnections(w, few, r)
	costs, err := verdicts(all[0].stage, r.verdict)
	if err != nil {
		return err
	}
	reportVerdicts(w, costs, r)
	reportGoals(w, all, costs)
	return w.Err()
}

// takeTurns measures every candidate once a round, in alternating order.
func takeTurns(ctx context.Context, all []*candidate, m metric, rounds int, take measurement) error {
	for round := range rounds {
		for i := range all {
			c := all[i]
			if round%2 == 1 {
				c = all[len(all)-1-i]
			}
			if ctx.Err() != nil {
				return fmt.Errorf("measuring: %w", context.Cause(ctx))
			}
			if c.forget != nil {
				if err := c.forget(c.stage); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			v, err := take(ctx, c.stage)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.samples[m] = append(c.samples[m], v)
		}
	}
	return nil
}

// version is what a program says of itself.
func version(args ...string) string {
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return "no " + args[0]
	}
	return strings.TrimSpace(string(out))
}
