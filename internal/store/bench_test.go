package store

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// largeWorldSize is the scale of the project's goal: 100,000 interfaces,
// 100,000 rules, 10,000 groups.
const largeWorldSize = 100_000

func createGroup(tx *state.Tx, n int64) error {
	id := fmt.Sprintf("sg-%017x", n)
	if tx.GroupNamed("vpc-1", id) != nil {
		return fmt.Errorf("%s is taken", id)
	}
	tx.Put(&vpc.SecurityGroup{ID: vpc.GroupID(id), VPC: "vpc-1", Name: id, Description: "made by a benchmark"})
	tx.Put(&vpc.Rule{ID: vpc.RuleID("sgr" + id), Group: vpc.GroupID(id), Seq: tx.NextSeq(), Source: vpc.Source{CIDR: vpc.AllIPv4}})
	tx.Journal(make([]byte, 1000))
	return nil
}

// One writer: the latency of an acknowledged operation.
func BenchmarkDo(b *testing.B) {
	s := openNew(b)
	ctx := testContext(b)
	n := int64(0)
	for b.Loop() {
		n++
		if _, err := s.Do(ctx, func(tx *state.Tx) error { return createGroup(tx, n) }); err != nil {
			b.Fatal(err)
		}
	}
}

// Sixty-four writers: the throughput.
func BenchmarkDoOf64(b *testing.B) {
	s := openNew(b)
	ctx := testContext(b)
	var n atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := n.Add(1)
			if _, err := s.Do(ctx, func(tx *state.Tx) error { return createGroup(tx, id) }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// From nothing to a readable world of 210,000 entities, etcd's start included.
func BenchmarkOpenLarge(b *testing.B) {
	dir := b.TempDir()
	s := openDir(b, dir)
	for world := largeWorld(largeWorldSize); len(world) > 0; {
		n := min(len(world), batchOpsMax-1)
		mustDo(b, s, put(world[:n]...))
		world = world[n:]
	}
	mustClose(b, s)
	s = nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		s = openDir(b, dir)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		mustClose(b, s)
		b.StartTimer()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
	runtime.KeepAlive(s)
}

func BenchmarkOpenEmpty(b *testing.B) {
	dir := b.TempDir()
	mustClose(b, openDir(b, dir))
	for b.Loop() {
		mustClose(b, openDir(b, dir))
	}
}
