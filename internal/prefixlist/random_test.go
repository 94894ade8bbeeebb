package prefixlist_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestListsHoldTheirInvariants changes lists and the rules that name them at random, and looks after each call whether
// the quota of rules holds and every list is as it has to be (G8).
func TestListsHoldTheirInvariants(t *testing.T) {
	w := &world{Story: opstest.NewStory(t), r: opstest.Random(t), told: map[string][]vpc.PrefixListEntry{}}
	w.VPC("172.31.0.0/16", []string{"default"})
	for n := range 3 {
		g := w.MustDo("CreateSecurityGroup", fmt.Sprintf("GroupName=g%d", n), "GroupDescription=d").(*ec2.CreateSecurityGroupResult)
		w.groups = append(w.groups, vpc.GroupID(*g.GroupId))
	}
	outcomes := map[string]int{}
	for range 3000 {
		action, params := w.next()
		res, err := w.Do(action, params)
		switch {
		case err != nil:
			outcomes[string(apierr.From(err).Code)]++
		case action == "CreateManagedPrefixList":
			w.lists = append(w.lists, *res.(*ec2.CreateManagedPrefixListResult).PrefixList.PrefixListId)
		default:
			outcomes[action]++
		}
		w.checkGroups(t)
		for _, l := range w.lists {
			w.checkList(t, w.World.PrefixList(vpc.PrefixListID(l)), outcomes)
		}
	}
	for _, must := range []string{
		"ModifyManagedPrefixList", "RestoreManagedPrefixListVersion", "DeleteManagedPrefixList", "ModifySecurityGroupRules",
		"AuthorizeSecurityGroupIngress", "RevokeSecurityGroupEgress", string(vpc.PrefixListModifyFailed),
		string(apierr.CodeRulesPerSecurityGroupLimitExceeded), string(apierr.CodePrefixListMaxEntriesExceeded), string(apierr.CodeDependencyViolation),
	} {
		if outcomes[must] == 0 {
			t.Errorf("never: %s; %v", must, outcomes)
		}
	}
}

// world is a story with what the next call may be about.
type world struct {
	*opstest.Story
	r      *rand.Rand
	groups []vpc.GroupID
	lists  []string
	told   map[string][]vpc.PrefixListEntry // each version as it was seen first
}

func one[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// next is a random call.
func (w *world) next() (action string, params []string) {
	family := one(w.r, []string{"IPv4", "IPv6"})
	size := fmt.Sprintf("MaxEntries=%d", 1+w.r.IntN(40))
	if len(w.lists) < 4 {
		return "CreateManagedPrefixList", []string{"PrefixListName=x", "AddressFamily=" + family, size}
	}
	list := one(w.r, w.lists)
	id := "PrefixListId=" + list
	block := fmt.Sprintf("10.%d.0.0/16", w.r.IntN(6))
	if l := w.World.PrefixList(vpc.PrefixListID(list)); l != nil && l.IPv6 {
		block = fmt.Sprintf("fd00:%d::/32", w.r.IntN(6))
	}
	direction := one(w.r, []string{"Ingress", "Egress"})
	port := w.r.IntN(4)
	rule := []string{
		"GroupId=" + string(one(w.r, w.groups)), "IpPermissions.1.IpProtocol=tcp",
		fmt.Sprintf("IpPermissions.1.FromPort=%d", port), fmt.Sprintf("IpPermissions.1.ToPort=%d", port),
		one(w.r, []string{"IpPermissions.1.PrefixListIds.1.PrefixListId=" + list, "IpPermissions.1.IpRanges.1.CidrIp=" + "0.0.0.0/0"}),
	}
	switch w.r.IntN(12) {
	case 0, 1:
		return "ModifyManagedPrefixList", []string{id, "AddEntry.1.Cidr=" + block, fmt.Sprintf("AddEntry.1.Description=%d", w.r.IntN(3))}
	case 2:
		return "ModifyManagedPrefixList", []string{id, "RemoveEntry.1.Cidr=" + block}
	case 3, 4:
		return "ModifyManagedPrefixList", []string{id, size}
	case 5:
		version := int64(1)
		if l := w.World.PrefixList(vpc.PrefixListID(list)); l != nil {
			version = l.Version
		}
		return "RestoreManagedPrefixListVersion", []string{id, fmt.Sprintf("PreviousVersion=%d", 1+w.r.Int64N(version)), fmt.Sprintf("CurrentVersion=%d", version)}
	case 6:
		return "DeleteManagedPrefixList", []string{id}
	case 7, 8:
		return "AuthorizeSecurityGroup" + direction, rule
	case 9, 10:
		return "RevokeSecurityGroup" + direction, rule
	}
	return w.otherList(list, port)
}

// otherList puts a list into the place of the one that some rule names.
func (w *world) otherList(list string, port int) (action string, params []string) {
	for r := range w.World.RulesIn(w.Scope) {
		if r.Source.PrefixList != "" && w.r.IntN(3) == 0 {
			one, body := "SecurityGroupRule.1.", "SecurityGroupRule.1.SecurityGroupRule."
			return "ModifySecurityGroupRules", []string{
				"GroupId=" + string(r.Group), one + "SecurityGroupRuleId=" + string(r.ID), body + "IpProtocol=tcp",
				fmt.Sprintf("%sFromPort=%d", body, port), fmt.Sprintf("%sToPort=%d", body, port), body + "PrefixListId=" + list,
			}
		}
	}
	return "DescribeManagedPrefixLists", nil
}

// checkGroups fails if a group has more rules than it may, or names a list that is not there.
func (w *world) checkGroups(t *testing.T) {
	t.Helper()
	most := vpc.GuideQuotas().RulesPerGroup
	for _, g := range w.groups {
		sum := map[packet.Direction][2]int{} // a naive count: IPv4, IPv6
		for r := range w.World.RulesOf(g) {
			n := sum[r.Direction]
			switch l := w.World.PrefixList(r.Source.PrefixList); {
			case r.Source.PrefixList == "":
				n[0]++ // all blocks here are of IPv4
			case l == nil:
				t.Fatalf("%s of %s names %s, which is gone", r.ID, g, r.Source.PrefixList)
			case l.IPv6:
				n[1] += l.MaxEntries
			default:
				n[0] += l.MaxEntries
			}
			sum[r.Direction] = n
		}
		for d, n := range sum {
			if n[0] > most || n[1] > most {
				t.Fatalf("%s has %v %s rules of %d", g, n, d, most)
			}
		}
	}
}

// checkList fails if a list is not as it has to be, or a version is no longer what it was.
func (w *world) checkList(t *testing.T, l *vpc.PrefixList, outcomes map[string]int) {
	t.Helper()
	if l == nil {
		w.lists = slices.DeleteFunc(slices.Clone(w.lists), func(id string) bool { return w.World.PrefixList(vpc.PrefixListID(id)) == nil })
		return
	}
	outcomes[string(l.State)]++
	if (l.State == vpc.PrefixListModifyFailed) != (l.StateMessage != "") {
		t.Fatalf("%s is %s: %q", l.ID, l.State, l.StateMessage)
	}
	if len(l.Entries) > l.MaxEntries || !slices.IsSortedFunc(l.Entries, func(a, b vpc.PrefixListEntry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	}) {
		t.Fatalf("%s of %d entries has %v", l.ID, l.MaxEntries, l.Entries)
	}
	for i, e := range l.Entries {
		if e.Prefix != e.Prefix.Masked() || e.Prefix.Addr().Is6() != l.IPv6 || i > 0 && l.Entries[i-1].Prefix == e.Prefix {
			t.Fatalf("%s has %v", l.ID, l.Entries)
		}
	}
	newest := w.World.PrefixListVersion(l.ID, l.Version)
	if newest == nil || !slices.Equal(newest.Entries, l.Entries) {
		t.Fatalf("%s has %v, its version %d is %v", l.ID, l.Entries, l.Version, newest)
	}
	for v := range w.World.PrefixListVersions(l.ID) {
		if was, ok := w.told[v.Key()]; ok && !slices.Equal(was, v.Entries) {
			t.Fatalf("%s was %v and is %v", v.Key(), was, v.Entries)
		}
		w.told[v.Key()] = v.Entries
	}
}
