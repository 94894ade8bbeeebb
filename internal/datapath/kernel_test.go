package datapath

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random tests")

// pinDir is a folder of the test's own, which mountPins makes a BPF file system.
func pinDir(tb testing.TB) string {
	tb.Helper()
	if err := Probe(); err != nil {
		tb.Skip(err)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
}

func testOptions(dir string) Options {
	return Options{PinDir: dir, Interfaces: 16, Flows: 4096, FlowsPerInterface: 1024, Members: 4096, PolicyEntries: 1 << 16}
}

// open is a Datapath on a pin folder of its own, gone when the test ends.
func open(tb testing.TB, opts Options) *Datapath {
	tb.Helper()
	d, err := Open(opts)
	if err != nil {
		tb.Fatalf("%+v", err)
	}
	tb.Cleanup(func() {
		if err := d.Remove(); err != nil {
			tb.Errorf("remove: %v", err)
		}
		if _, err := os.Stat(opts.PinDir); !os.IsNotExist(err) {
			tb.Errorf("%s is left: %v", opts.PinDir, err)
		}
	})
	return d
}

func TestOpenAndRemove(t *testing.T) {
	opts := testOptions(pinDir(t))
	d := open(t, opts)
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}
