// Package measure is what the benchmark programs share: medians and ratios of
// samples that were taken in turns, and the facts of a machine for the head of
// a result. It measures nothing itself.
package measure

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Samples are the results of one candidate, in the order of the rounds.
type Samples []float64

// Median is the middle sample, of an even number the mean of the two; 0 without samples.
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Quantile is the smallest sample that a share q of them does not exceed; 0 without samples.
func (s Samples) Quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// Over is the median of the ratios of the two candidates' samples, round by
// round: what disturbs the machine for longer than a round disturbs both.
func (s Samples) Over(base Samples) float64 {
	var ratios Samples
	for i := range min(len(s), len(base)) {
		if base[i] > 0 {
			ratios = append(ratios, s[i]/base[i])
		}
	}
	return ratios.Median()
}

// Spread is half the distance between the quartiles over the median: how far
// rounds of one candidate differ.
func (s Samples) Spread() float64 {
	if m := s.Median(); m > 0 {
		return (s.Quantile(0.75) - s.Quantile(0.25)) / 2 / m
	}
	return 0
}

// Verdict is the word for a goal.
func Verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// Head is the first lines of a result: what, when, on which machine.
func Head(what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s", what, time.Now().UTC().Format("2006-01-02 15:04 MST"))
	if commit, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		fmt.Fprintf(&b, ", commit %s", strings.TrimSpace(string(commit)))
	}
	fmt.Fprintf(&b, "\nkernel %s, %d cores of %s", kernel(), runtime.NumCPU(), processor())
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		fmt.Fprintf(&b, ", %.0f GiB, load before %.2f", float64(info.Totalram)*float64(info.Unit)/(1<<30), float64(info.Loads[0])/(1<<16))
	}
	fmt.Fprintf(&b, ", %s\n", runtime.Version())
	return b.String()
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "an unknown processor"
}

// Page is a result as it is written, line by line. The first error stays.
type Page struct {
	w   io.Writer
	err error
}

// NewPage is an empty page that goes to w.
func NewPage(w io.Writer) *Page { return &Page{w: w} }

// Sayf writes on.
func (p *Page) Sayf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Err is the first error of writing.
func (p *Page) Err() error { return p.err }
