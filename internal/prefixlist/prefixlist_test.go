package prefixlist_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }

// newList makes an IPv4 list and returns its identifier.
func newList(s *opstest.Story, size int, blocks ...string) string {
	params := []string{"PrefixListName=x", "AddressFamily=IPv4", fmt.Sprintf("MaxEntries=%d", size)}
	for i, b := range blocks {
		params = append(params, fmt.Sprintf("Entry.%d.Cidr=%s", i+1, b))
	}
	return *s.MustDo("CreateManagedPrefixList", params...).(*ec2.CreateManagedPrefixListResult).PrefixList.PrefixListId
}

// entryParams are n entries of a parameter, different ones for each n and first.
func entryParams(name string, first, n int) []string {
	var out []string
	for i := range n {
		at := first + i
		out = append(out, fmt.Sprintf("%s.%d.Cidr=10.%d.%d.0/24", name, i+1, at/256, at%256))
	}
	return out
}

// TestEntriesAtOnce sends as many entries as one request may have, and one more.
func TestEntriesAtOnce(t *testing.T) {
	s := opstest.NewStory(t)
	create := []string{"PrefixListName=x", "AddressFamily=IPv4", "MaxEntries=1000"}
	if _, err := s.Do("CreateManagedPrefixList", append(entryParams("Entry", 0, 101), create...)); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) ||
		!strings.Contains(err.Error(), "The number of entries per request cannot exceeds limit (100).") {
		t.Errorf("101 entries: %v", err)
	}
	made := s.MustDo("CreateManagedPrefixList", append(entryParams("Entry", 0, 100), create...)...).(*ec2.CreateManagedPrefixListResult)
	id := "PrefixListId=" + *made.PrefixList.PrefixListId
	for _, name := range []string{"AddEntry", "RemoveEntry"} {
		if _, err := s.Do("ModifyManagedPrefixList", append(entryParams(name, 0, 101), id)); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) ||
			!strings.Contains(err.Error(), "cannot contain more than 100 entry additions or removals") {
			t.Errorf("101 × %s: %v", name, err)
		}
	}
	s.MustDo("ModifyManagedPrefixList", append(append(entryParams("AddEntry", 100, 100), entryParams("RemoveEntry", 0, 100)...), id)...)
	got := s.MustDo("GetManagedPrefixListEntries", id).(*ec2.GetManagedPrefixListEntriesResult)
	if len(got.Entries) != 100 || *got.Entries[0].Cidr != "10.0.100.0/24" {
		t.Errorf("%d entries, the first is %s", len(got.Entries), *got.Entries[0].Cidr)
	}
}

// TestVersionsAreKept makes more versions than are kept: the oldest goes.
func TestVersionsAreKept(t *testing.T) {
	s := opstest.NewStory(t)
	id := newList(s, 2, "10.0.0.0/8")
	kept := vpc.GuideQuotas().PrefixListVersions
	for n := range kept {
		s.MustDo("ModifyManagedPrefixList", "PrefixListId="+id, "AddEntry.1.Cidr=10.0.0.0/8", fmt.Sprintf("AddEntry.1.Description=%d", n))
	}
	at := func(version int) error {
		_, err := s.Do("GetManagedPrefixListEntries", []string{"PrefixListId=" + id, fmt.Sprintf("TargetVersion=%d", version)})
		return err
	}
	if err := at(1); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) || !strings.Contains(err.Error(), fmt.Sprintf("the versions 2 to %d", kept+1)) {
		t.Errorf("the first version: %v", err)
	}
	if err := at(2); err != nil {
		t.Errorf("the second version: %v", err)
	}
	if n := len(slices.Collect(s.World.PrefixListVersions(vpc.PrefixListID(id)))); n != kept {
		t.Errorf("%d versions of %d", n, kept)
	}
	s.MustDo("DeleteManagedPrefixList", "PrefixListId="+id)
	for v := range s.World.All(vpc.KindPrefixListVersion) {
		t.Fatalf("%s is left", v.Key())
	}
}

// TestResizeNamesTen lets a list grow that twelve groups name, none of which can bear it.
func TestResizeNamesTen(t *testing.T) {
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	id := newList(s, 50)
	for n := range 12 {
		g := s.MustDo("CreateSecurityGroup", fmt.Sprintf("GroupName=g%d", n), "GroupDescription=d").(*ec2.CreateSecurityGroupResult)
		s.MustDo("AuthorizeSecurityGroupIngress", "GroupId="+*g.GroupId, "IpPermissions.1.IpProtocol=-1", "IpPermissions.1.PrefixListIds.1.PrefixListId="+id)
	}
	s.MustDo("ModifyManagedPrefixList", "PrefixListId="+id, "MaxEntries=51")
	l := s.World.PrefixList(vpc.PrefixListID(id))
	if l.State != vpc.PrefixListModifyFailed || l.MaxEntries != 50 ||
		strings.Count(l.StateMessage, "sg-") != 10 || !strings.HasSuffix(l.StateMessage, " and 2 more") {
		t.Errorf("%s, %d entries: %s", l.State, l.MaxEntries, l.StateMessage)
	}
	if _, err := s.Do("DeleteManagedPrefixList", []string{"PrefixListId=" + id}); !apierr.HasCode(err, apierr.CodeDependencyViolation) {
		t.Errorf("deleting it: %v", err)
	}
}

// TestEditReachesRules changes a list, and with it what a group admits; the group's rules are not touched.
func TestEditReachesRules(t *testing.T) {
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	g := s.World.GroupNamed(s.World.DefaultVPC(s.Scope).ID, "default")
	id := newList(s, 2, "192.0.2.0/24")
	s.MustDo("AuthorizeSecurityGroupIngress", "GroupId="+string(g.ID), "IpPermissions.1.IpProtocol=tcp",
		"IpPermissions.1.FromPort=22", "IpPermissions.1.ToPort=22", "IpPermissions.1.PrefixListIds.1.PrefixListId="+id)
	eni := &vpc.Interface{
		ID: "eni-1", Scope: s.Scope, VPC: g.VPC, Groups: []vpc.GroupID{g.ID}, Addrs: []netip.Addr{netip.MustParseAddr("172.31.0.10")},
	}
	s.Commit(func(tx *state.Tx, _ call.Call) { tx.Put(eni) })
	admitted := func(from string) bool {
		return explain.Judge(s.World, eni, packet.Ingress, explain.Packet{Tuple: packet.Tuple{
			Proto: packet.TCP, Src: netip.MustParseAddr(from), Dst: eni.Primary(), SrcPort: 50000, DstPort: 22,
		}}).Verdict == packet.Allow
	}
	rules := slices.Collect(s.World.RulesOf(g.ID))
	for _, step := range []struct {
		action   string
		params   []string
		old, new bool // whether 192.0.2.7 and 198.51.100.7 get in then
	}{
		{"ModifyManagedPrefixList", []string{"PrefixListName=y"}, true, false},
		{"ModifyManagedPrefixList", []string{"AddEntry.1.Cidr=198.51.100.0/24"}, true, true},
		{"ModifyManagedPrefixList", []string{"RemoveEntry.1.Cidr=192.0.2.0/24"}, false, true},
		{"ModifyManagedPrefixList", []string{"RemoveEntry.1.Cidr=198.51.100.0/24"}, false, false},
		{"RestoreManagedPrefixListVersion", []string{"PreviousVersion=1", "CurrentVersion=4"}, true, false},
	} {
		s.MustDo(step.action, append(step.params, "PrefixListId="+id)...)
		if o, n := admitted("192.0.2.7"), admitted("198.51.100.7"); o != step.old || n != step.new {
			t.Errorf("after %s %v: %v and %v", step.action, step.params, o, n)
		}
	}
	if !slices.Equal(rules, slices.Collect(s.World.RulesOf(g.ID))) {
		t.Error("the rules were touched")
	}
}
