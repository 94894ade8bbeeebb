//go:build linux

package vpcnet

import (
	"testing"

	"sallyport.dev/sallyport/internal/program"
)

func TestNames(t *testing.T) {
	for id, want := range map[program.InterfaceID]string{
		"eni-0123456789abcdef0": "e3456789abcdef0", // 15 characters, the most that Linux takes
		"eni-12345678":          "e12345678",
	} {
		if got := outerName(id); got != want {
			t.Errorf("outerName(%s) = %s, want %s", id, got, want)
		}
	}
	if i, err := deviceIndex(innerName(7)); i != 7 || err != nil {
		t.Errorf("device index of %s: %d, %v", innerName(7), i, err)
	}
}

func TestAlias(t *testing.T) {
	if eni, i, ok := parseAlias(alias("eni-1", "i-2")); eni != "eni-1" || i != "i-2" || !ok {
		t.Errorf("read back: %s, %s, %v", eni, i, ok)
	}
	for _, s := range []string{"", "x", "eni-1", "eni-1 x", "i-2 eni-1", " i-2"} {
		if _, _, ok := parseAlias(s); ok {
			t.Errorf("%q is taken for ours", s)
		}
	}
}
