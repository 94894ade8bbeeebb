package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/bench/measure"
)

// Goals (ours to moto's).
const (
	rateGoal    = 20.0
	latencyGoal = 10.0
)

// result is what a series came to, by target.
type result struct {
	series
	latency [2]measure.Samples    // ms, one client
	rate    [2][3]measure.Samples // requests a second, by the number of clients; a sample a round
}

// round measures one target once, with each number of clients.
func (r *result) round(ctx context.Context, i int, t *target) error {
	for c, n := range clients {
		total := r.many
		if n == 1 {
			total = r.single
		}
		if total == 0 {
			continue
		}
		begun := time.Now()
		var err error
		if n == 1 {
			err = r.alone(ctx, i, t, total)
		} else {
			err = r.together(ctx, t, n, total)
		}
		r.rate[i][c] = append(r.rate[i][c], float64(total)/time.Since(begun).Seconds())
		if err := errors.Join(err, t.undo(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (r *result) alone(ctx context.Context, i int, t *target, total int) error {
	for range total {
		begun := time.Now()
		if err := t.one(ctx, &r.series); err != nil {
			return err
		}
		r.latency[i] = append(r.latency[i], float64(time.Since(begun))/float64(time.Millisecond))
	}
	return nil
}

func (r *result) together(ctx context.Context, t *target, n, total int) error {
	g, ctx := errgroup.WithContext(ctx)
	var sent atomic.Int64
	for range n {
		g.Go(func() error {
			for sent.Add(1) <= int64(total) {
				if err := t.one(ctx, &r.series); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func report(w *measure.Page, results []*result, targets int) {
	w.Sayf("\none client, latency in ms; goal: 1/%.0f of moto's\n", latencyGoal)
	w.Sayf("%-42s %8s %8s %9s %9s %8s %8s\n", "", "p50", "p99", "moto p50", "moto p99", "p50", "p99")
	for _, r := range results {
		o, m := r.latency[0], r.latency[1]
		w.Sayf("%-42s %8.2f %8.2f", r.name, o.Median(), o.Quantile(0.99))
		if targets == 2 {
			middle, slow := m.Median()/o.Median(), m.Quantile(0.99)/o.Quantile(0.99)
			w.Sayf(" %9.2f %9.2f %8s %8s %s", m.Median(), m.Quantile(0.99), "1/"+short(middle), "1/"+short(slow), measure.Verdict(middle >= latencyGoal))
		}
		w.Sayf("\n")
	}
	w.Sayf("\nrequests a second, by the number of clients, medians of rounds; goal: %.0f times moto's\n", rateGoal)
	w.Sayf("%-42s", "")
	for _, n := range clients {
		w.Sayf(" %8d %8s %8s %-6s", n, "moto", "ratio", "")
	}
	w.Sayf("\n")
	for _, r := range results {
		w.Sayf("%-42s", r.name)
		for c := range clients {
			o, m := r.rate[0][c], r.rate[1][c]
			switch {
			case len(o) == 0:
			case targets < 2:
				w.Sayf(" %8.0f %8s %8s %-6s", o.Median(), "", "", "")
			default:
				ratio := o.Over(m)
				w.Sayf(" %8.0f %8.1f %8s %-6s", o.Median(), m.Median(), short(ratio)+"x", measure.Verdict(ratio >= rateGoal))
			}
		}
		w.Sayf("\n")
	}
}

func short(ratio float64) string { return fmt.Sprintf("%.1f", ratio) }

const floorSamples = 200

// measureFloors says what no server here could be faster than: a request without
// signature or world, and one write that reaches the disk.
func measureFloors(ctx context.Context, t *target) (string, error) {
	var bare, disk measure.Samples
	f, err := os.Create(filepath.Join(t.data, "floor"))
	if err != nil {
		return "", fmt.Errorf("measuring the disk: %w", err)
	}
	for range floorSamples {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/healthz", nil)
		if err != nil {
			return "", fmt.Errorf("making a request: %w", err)
		}
		begun := time.Now()
		if _, err := t.send(r); err != nil {
			return "", err
		}
		bare = append(bare, float64(time.Since(begun))/float64(time.Millisecond))
		begun = time.Now()
		if _, err = f.Write(make([]byte, 1024)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return "", fmt.Errorf("measuring the disk: %w", err)
		}
		disk = append(disk, float64(time.Since(begun))/float64(time.Millisecond))
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("measuring the disk: %w", err)
	}
	return fmt.Sprintf("Floors of this machine, p50 (p99): GET /healthz %.2f ms (%.2f); 1 KiB appended and fsynced %.2f ms (%.2f).",
		bare.Median(), bare.Quantile(0.99), disk.Median(), disk.Quantile(0.99)), nil
}
