// Command api measures the API's rates and latencies against moto server in one
// run: the same signed requests, in turns. Sallyport verifies every signature
// and answers a write when it is on disk; moto verifies nothing and keeps
// everything in memory. Where moto is not installed, ours is shown alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/bench/measure"
)

const (
	roundsUsual = 7
	roundsShort = 3
)

// clients are the numbers of concurrent clients; the first is one, whose
// latencies are shown.
var clients = [3]int{1, 8, 64}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	short := flag.Bool("short", false, "fewer rounds")
	program := flag.String("program", "bin/sallyport", "the program to start")
	only := flag.String("only", "", "for a profile: the series of this name alone")
	flag.Parse()
	rounds := roundsUsual
	if *short {
		rounds = roundsShort
	}
	err := run(ctx, measure.NewPage(os.Stdout), *program, rounds, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/api:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w *measure.Page, program string, rounds int, only string) (err error) {
	w.Sayf("%s", measure.Head("API"))
	ours, err := startSallyport(ctx, program)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	targets := []*target{ours}
	w.Sayf("sallyport: one process with its embedded etcd, fsync before each answer to a write, signatures verified.\n")
	if moto, err := startMoto(ctx); err != nil {
		w.Sayf("moto server is left out: %v\n", err)
	} else {
		defer func() { err = errors.Join(err, moto.stop()) }()
		targets = append(targets, moto)
		w.Sayf("moto server %s: one Python process, all in memory, no signature verified, a connection for each request.\n", motoVersion(ctx))
	}
	for _, t := range targets {
		if err := t.furnish(ctx); err != nil {
			return fmt.Errorf("furnishing %s: %w", t.name, err)
		}
	}
	w.Sayf("Both hold %d groups of %d rules; the client signs, reads the answer to its end and shares the machine with both; %d rounds in turns.\n",
		stored, rulesEach, rounds)
	floors, err := measureFloors(ctx, ours)
	if err != nil {
		return err
	}
	w.Sayf("%s\n", floors)
	var results []*result
	for _, s := range all() {
		if only != "" && s.name != only {
			continue
		}
		r := &result{series: s}
		for range rounds {
			for i, t := range targets {
				if err := r.round(ctx, i, t); err != nil {
					return fmt.Errorf("%s: %s: %w", t.name, s.name, err)
				}
			}
		}
		results = append(results, r)
	}
	report(w, results, len(targets))
	return w.Err()
}
