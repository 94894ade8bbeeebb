package group_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// naiveValues is what a group has under a filter's name, read off the answer of DescribeSecurityGroups as a
// person would.
func naiveValues(w *state.Snapshot, g *ec2.SecurityGroup, name string) []string {
	permissions := g.IpPermissions
	if rest, ok := strings.CutPrefix(name, "egress."); ok {
		name, permissions = rest, g.IpPermissionsEgress
	}
	var out []string
	for _, p := range permissions {
		switch name {
		case "ip-permission.protocol":
			out = append(out, *p.IpProtocol)
		case "ip-permission.from-port":
			if p.FromPort != nil {
				out = append(out, fmt.Sprint(*p.FromPort))
			}
		case "ip-permission.to-port":
			if p.ToPort != nil {
				out = append(out, fmt.Sprint(*p.ToPort))
			}
		case "ip-permission.cidr":
			for _, r := range p.IpRanges {
				out = append(out, *r.CidrIp)
			}
		case "ip-permission.ipv6-cidr":
			for _, r := range p.Ipv6Ranges {
				out = append(out, *r.CidrIpv6)
			}
		case "ip-permission.prefix-list-id":
			for _, r := range p.PrefixListIds {
				out = append(out, *r.PrefixListId)
			}
		case "ip-permission.group-id":
			for _, r := range p.UserIdGroupPairs {
				out = append(out, *r.GroupId)
			}
		case "ip-permission.user-id":
			for _, r := range p.UserIdGroupPairs {
				out = append(out, *r.UserId)
			}
		case "ip-permission.group-name":
			for _, r := range p.UserIdGroupPairs {
				out = append(out, w.Group(vpc.GroupID(*r.GroupId)).Name)
			}
		}
	}
	for _, tag := range g.Tags {
		switch name {
		case "tag:" + *tag.Key, "tag-value":
			out = append(out, *tag.Value)
		case "tag-key":
			out = append(out, *tag.Key)
		}
	}
	switch name {
	case "group-id":
		return []string{*g.GroupId}
	case "group-name":
		return []string{*g.GroupName}
	case "description":
		return []string{*g.Description}
	case "owner-id":
		return []string{*g.OwnerId}
	case "vpc-id":
		return []string{*g.VpcId}
	}
	return out
}

// randomGroups makes a world of groups by the operations themselves.
func randomGroups(t *testing.T, s *opstest.Story, r *rand.Rand, n int) {
	t.Helper()
	s.VPC("172.31.0.0/16", []string{"default", "ipv6"})
	s.VPC("10.0.0.0/16", nil)
	var vpcs []string
	for v := range s.World.VPCsIn(s.Scope) {
		vpcs = append(vpcs, string(v.ID))
	}
	lists := []string{prefixList(s, "IPv4", 1), prefixList(s, "IPv6", 2), prefixList(s, "IPv4", 2)}
	for i := range n {
		in := vpcs[r.IntN(len(vpcs))]
		s.MustDo("CreateSecurityGroup", fmt.Sprintf("GroupName=%c%d", 'a'+r.IntN(3), i), "GroupDescription=d"+fmt.Sprint(r.IntN(5)), "VpcId="+in,
			"TagSpecification.1.ResourceType=security-group", "TagSpecification.1.Tag.1.Key=k"+fmt.Sprint(r.IntN(3)),
			"TagSpecification.1.Tag.1.Value=v"+fmt.Sprint(r.IntN(3)))
		var ids []string
		for g := range s.World.GroupsOf(vpc.VPCID(in)) {
			ids = append(ids, string(g.ID))
		}
		port := fmt.Sprint(r.IntN(4) + 20)
		source := []string{
			"IpRanges.1.CidrIp=10." + fmt.Sprint(r.IntN(4)) + ".0.0/16",
			"Ipv6Ranges.1.CidrIpv6=2001:db8:" + fmt.Sprint(r.IntN(4)) + "::/48",
			"Groups.1.GroupId=" + ids[r.IntN(len(ids))],
			"PrefixListIds.1.PrefixListId=" + lists[r.IntN(len(lists))],
		}[r.IntN(4)]
		action := "AuthorizeSecurityGroup" + []string{"Ingress", "Egress"}[r.IntN(2)]
		_, err := s.Do(action, []string{
			"GroupId=" + ids[r.IntN(len(ids))], "IpPermissions.1.IpProtocol=" + []string{"tcp", "udp", "-1", "47"}[r.IntN(4)],
			"IpPermissions.1.FromPort=" + port, "IpPermissions.1.ToPort=" + port, "IpPermissions.1." + source,
		})
		if err != nil && !apierr.HasCode(err, apierr.CodeInvalidPermissionDuplicate) {
			t.Fatal(err)
		}
	}
}

// prefixList makes an empty prefix list.
func prefixList(s *opstest.Story, family string, size int) string {
	out := s.MustDo("CreateManagedPrefixList", "PrefixListName=x", "AddressFamily="+family, fmt.Sprintf("MaxEntries=%d", size))
	return *out.(*ec2.CreateManagedPrefixListResult).PrefixList.PrefixListId
}

func groups(t *testing.T, s *opstest.Story, params ...string) *ec2.DescribeSecurityGroupsResult {
	t.Helper()
	return s.MustDo("DescribeSecurityGroups", params...).(*ec2.DescribeSecurityGroupsResult)
}

// TestFiltersAreWhatTheySay compares what filters choose with what a naive reader of the whole answer chooses.
func TestFiltersAreWhatTheySay(t *testing.T) {
	r := opstest.Random(t)
	s := opstest.NewStory(t)
	randomGroups(t, s, r, 60)
	all := groups(t, s).SecurityGroups
	names := append(group.FilterNames(), "tag:k0", "tag:k1", "tag-key", "tag-value", "tag:none")
	slices.Sort(names)
	chosen := 0
	for range 400 {
		want := slices.Clone(all)
		var params []string
		for f := range 1 + r.IntN(2) {
			name := names[r.IntN(len(names))]
			params = append(params, fmt.Sprintf("Filter.%d.Name=%s", f+1, name))
			var patterns []*regexp.Regexp
			for v := range 1 + r.IntN(3) {
				value := "nothing"
				if values := naiveValues(s.World, &all[r.IntN(len(all))], name); len(values) > 0 {
					value = values[r.IntN(len(values))]
				}
				switch cut := r.IntN(len(value) + 1); r.IntN(4) {
				case 0:
					value = value[:cut] + "*"
				case 1:
					value = value[:max(cut, 1)-1] + "?" + value[max(cut, 1):]
				}
				params = append(params, fmt.Sprintf("Filter.%d.Value.%d=%s", f+1, v+1, value))
				patterns = append(patterns, opstest.Pattern(value))
			}
			want = slices.DeleteFunc(want, func(g ec2.SecurityGroup) bool {
				return !slices.ContainsFunc(naiveValues(s.World, &g, name), func(v string) bool {
					return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(v) })
				})
			})
		}
		got := groups(t, s, params...).SecurityGroups
		chosen += len(got)
		if d := cmp.Diff(ids(want), ids(got)); d != "" {
			t.Fatalf("%q (-want +got):\n%s", params, d)
		}
	}
	if chosen == 0 {
		t.Error("no filter ever chose anything")
	}
}

func ids(groups []ec2.SecurityGroup) []string {
	out := []string{}
	for _, g := range groups {
		out = append(out, *g.GroupId)
	}
	return out
}

// TestPagesAreCompleteAndStable walks pages while groups come and go: every group that was there all the time
// is told exactly once, and none twice.
func TestPagesAreCompleteAndStable(t *testing.T) {
	r := opstest.Random(t)
	s := opstest.NewStory(t)
	randomGroups(t, s, r, 60)
	stays := map[string]bool{}
	for _, id := range ids(groups(t, s).SecurityGroups) {
		stays[id] = true
	}
	told := map[string]int{}
	var next *string
	for page := 0; ; page++ {
		params := []string{fmt.Sprintf("MaxResults=%d", 5+r.IntN(4)), "Filter.1.Name=owner-id", "Filter.1.Value.1=" + string(s.Scope.Account)}
		if next != nil {
			params = append(params, "NextToken="+*next)
		}
		res := groups(t, s, params...)
		for _, id := range ids(res.SecurityGroups) {
			told[id]++
		}
		if next = res.NextToken; next == nil {
			break
		}
		s.MustDo("CreateSecurityGroup", fmt.Sprintf("GroupName=new%d", page), "GroupDescription=x")
		all := ids(groups(t, s).SecurityGroups)
		victim := all[r.IntN(len(all))]
		if _, err := s.Do("DeleteSecurityGroup", []string{"GroupId=" + victim}); err == nil {
			delete(stays, victim)
		}
	}
	for id, n := range told {
		if n > 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	for id := range stays {
		if told[id] != 1 {
			t.Errorf("%s was there all the time and told %d times", id, told[id])
		}
	}
}

// TestRulesHoldTheirInvariants adds and removes random rules, and looks after each call whether the quota holds
// and no rule is there twice (G8).
func TestRulesHoldTheirInvariants(t *testing.T) {
	r := opstest.Random(t)
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	g := s.World.GroupNamed(s.World.DefaultVPC(s.Scope).ID, "default")
	outcomes := map[apierr.Code]int{}
	for range 1500 {
		action := []string{"Authorize", "Authorize", "Authorize", "Revoke"}[r.IntN(4)] + "SecurityGroup" + []string{"Ingress", "Egress"}[r.IntN(2)]
		params := []string{"GroupId=" + string(g.ID)}
		for i := range 1 + r.IntN(3) {
			prefix := fmt.Sprintf("IpPermissions.%d.", i+1)
			port := fmt.Sprint(r.IntN(60))
			params = append(params, prefix+"IpProtocol=tcp", prefix+"FromPort="+port, prefix+"ToPort="+port,
				prefix+[]string{"IpRanges.1.CidrIp=10.0.0.0/8", "Ipv6Ranges.1.CidrIpv6=::/0", "Groups.1.GroupId=" + string(g.ID)}[r.IntN(3)])
		}
		_, err := s.Do(action, params)
		outcome := apierr.Code("ok")
		if err != nil {
			outcome = apierr.From(err).Code
		}
		outcomes[outcome]++
		var count vpc.RuleCount
		seen := map[vpc.Identity]bool{}
		for rule := range s.World.RulesOf(g.ID) {
			if seen[rule.Identity()] {
				t.Fatalf("%s is there twice", rule.Identity().Text())
			}
			seen[rule.Identity()] = true
			count.Add(rule.Direction, s.World.Weight(rule.Source))
		}
		for _, d := range []packet.Direction{packet.Ingress, packet.Egress} {
			if count[d].IPv4 > 50 || count[d].IPv6 > 50 {
				t.Fatalf("%d and %d %s rules of 50", count[d].IPv4, count[d].IPv6, d)
			}
		}
	}
	for _, code := range []apierr.Code{"ok", apierr.CodeRulesPerSecurityGroupLimitExceeded, apierr.CodeInvalidPermissionDuplicate} {
		if outcomes[code] == 0 {
			t.Errorf("no call ended with %s: %v", code, outcomes)
		}
	}
}
