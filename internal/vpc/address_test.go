package vpc_test

import (
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/internal/vpc"
)

func TestFreeHandsOutEveryAddressOnce(t *testing.T) {
	for _, text := range []string{"10.0.0.0/28", "10.0.0.0/24", "172.31.16.0/20"} {
		block := netip.MustParsePrefix(text)
		taken := map[netip.Addr]bool{}
		has := func(a netip.Addr) bool { return taken[a] }
		last := netip.Addr{}
		for range vpc.Usable(block) {
			a, ok := vpc.Free(block, has)
			if !ok || taken[a] || !block.Contains(a) || vpc.Reserved(block, a) {
				t.Fatalf("%s: Free = %s, %t with %d taken", block, a, ok, len(taken))
			}
			if last.IsValid() && a != last.Next() {
				t.Fatalf("%s: Free = %s after %s", block, a, last)
			}
			taken[a], last = true, a
		}
		if a, ok := vpc.Free(block, has); ok {
			t.Errorf("%s: Free = %s of a full block", block, a)
		}
		// A hole anywhere is found.
		for a := range taken {
			delete(taken, a)
			if got, ok := vpc.Free(block, has); !ok || got != a {
				t.Fatalf("%s: Free = %s, %t, want %s", block, got, ok, a)
			}
			taken[a] = true
		}
	}
}

func TestFree6(t *testing.T) {
	block := netip.MustParsePrefix("fd00:1:2:3::/64")
	taken := map[netip.Addr]bool{}
	for range 1000 {
		a, ok := vpc.Free6(block, func(a netip.Addr) bool { return taken[a] })
		if !ok || taken[a] || !block.Contains(a) || vpc.Reserved6(block, a) {
			t.Fatalf("Free6 = %s, %t with %d taken", a, ok, len(taken))
		}
		taken[a] = true
	}
	if first := netip.MustParseAddr("fd00:1:2:3::4"); !taken[first] {
		t.Errorf("%s was not handed out first", first)
	}
}

func TestFreeAsksSeldom(t *testing.T) {
	block := netip.MustParsePrefix("10.0.0.0/16")
	taken := map[netip.Addr]bool{}
	for range vpc.Usable(block) {
		asked := 0
		a, ok := vpc.Free(block, func(a netip.Addr) bool {
			asked++
			return taken[a]
		})
		if !ok || asked > 35 {
			t.Fatalf("%d questions with %d taken", asked, len(taken))
		}
		taken[a] = true
	}
}
