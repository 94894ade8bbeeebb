package e2e

import (
	"strings"
	"testing"
)

// A prefix list is followed as it changes, in both families: the group and its rules are left alone, and packets obey
// what the list holds. An entry that goes is to a tracked flow as a rule that goes.
func TestPrefixListIsFollowed(t *testing.T) {
	s, client, server := pair(t)
	v4, v6 := s.list("IPv4"), s.list("IPv6")
	s.allow(s.web, "tcp", "22", v4, v6)
	s.serve(server.id, "tcp/22")
	to4, to6 := server.tcp(22)[:1], server.tcp(22)[1:]
	s.Settled()
	s.connectivity(dropped(client.id, to4...), dropped(client.id, to6...))

	s.edit(v4, "--add-entries", "Cidr="+client.v4+"/32")
	s.connectivity(allowed(client.id, to4...), dropped(client.id, to6...))
	tracked := s.talk(client.id, "hold", server.v4+":22")
	if got := tracked.line(); got != "connected" {
		t.Fatalf("not connected: %q", got)
	}

	s.edit(v6, "--add-entries", "Cidr="+client.v6+"/128")
	s.edit(v4, "--remove-entries", "Cidr="+client.v4+"/32", "--add-entries", "Cidr=192.0.2.0/24,Description=elsewhere")
	s.connectivity(dropped(client.id, to4...), allowed(client.id, to6...))
	if got := tracked.say("two"); got != "echo two" {
		t.Errorf("the tracked connection did not outlive its entry: %q", got)
	}

	var e struct {
		Sides []struct{ Missing string }
	}
	if code := s.Ask(&e, "explain", "--from", client.id, "--to", server.id, "--protocol", "tcp", "--port", "22"); code != 1 {
		t.Errorf("explain exits %d", code)
	}
	// Both rules miss by their source alone: either may be told as the nearest, with what its list holds now.
	if n := len(e.Sides); n == 0 || !strings.Contains(e.Sides[n-1].Missing, v4+` ("office", which has 192.0.2.0/24)`) &&
		!strings.Contains(e.Sides[n-1].Missing, v6+` ("office", which has `+client.v6+"/128)") {
		t.Errorf("explain says %+v", e)
	}
}

// list makes an empty prefix list.
func (s *site) list(family string) string {
	s.t.Helper()
	return s.AWS("create-managed-prefix-list", "--prefix-list-name", "office", "--address-family", family, "--max-entries", "2",
		"--query", "PrefixList.PrefixListId")
}

// edit changes what a prefix list holds, as someone who has just looked at it, and waits until the kernel has it.
func (s *site) edit(list string, how ...string) {
	s.t.Helper()
	version := s.AWS("describe-managed-prefix-lists", "--prefix-list-ids", list, "--query", "PrefixLists[0].Version")
	s.AWS(append([]string{"modify-managed-prefix-list", "--prefix-list-id", list, "--current-version", version}, how...)...)
	s.Settled()
}
