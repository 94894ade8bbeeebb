package group_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }

// TestTextsAreAsLongAsTheyMayBe tries the bounds of names and descriptions (G25, G26, G47).
func TestTextsAreAsLongAsTheyMayBe(t *testing.T) {
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, description, rule string
		ok                      bool
	}{
		{long(255), long(255), long(255), true},
		{long(256), "x", "", false},
		{"x", long(256), "", false},
		{"y", "y", long(256), false},
		{"z", "z", " ._-:/()#,@[]+=;{}!$*aZ0", true},
	} {
		res, err := s.Do("CreateSecurityGroup", []string{"GroupName=" + test.name, "GroupDescription=" + test.description})
		if err == nil {
			_, err = s.Do("AuthorizeSecurityGroupIngress", []string{
				"GroupId=" + *res.(*ec2.CreateSecurityGroupResult).GroupId, "IpPermissions.1.IpProtocol=-1",
				"IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0", "IpPermissions.1.IpRanges.1.Description=" + test.rule,
			})
		}
		if test.ok != (err == nil) || err != nil && !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
			t.Errorf("%d, %d and %d characters: %v", len(test.name), len(test.description), len(test.rule), err)
		}
	}
}

// TestIPv6OpensUntouchedGroups associates an IPv6 block with a VPC: groups whose outbound rules are still the
// original ones get the one for IPv6, once (G33, G36).
func TestIPv6OpensUntouchedGroups(t *testing.T) {
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	made := func(name string) string {
		return *s.MustDo("CreateSecurityGroup", "GroupName="+name, "GroupDescription=x").(*ec2.CreateSecurityGroupResult).GroupId
	}
	all := []string{"IpPermissions.1.IpProtocol=-1", "IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"}
	made("untouched")
	s.MustDo("RevokeSecurityGroupEgress", append(all, "GroupId="+made("revoked"))...)
	again := append(all, "GroupId="+made("revoked-and-back"))
	s.MustDo("RevokeSecurityGroupEgress", again...)
	s.MustDo("AuthorizeSecurityGroupEgress", again...)
	s.MustDo("AuthorizeSecurityGroupEgress", "IpPermissions.1.IpProtocol=6", "IpPermissions.1.FromPort=1", "IpPermissions.1.ToPort=1",
		"IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0", "GroupId="+made("added"))
	s.MustDo("AuthorizeSecurityGroupIngress", append(all, "GroupId="+made("ingress"))...)
	modified := made("modified")
	rules := s.MustDo("DescribeSecurityGroupRules", "Filter.1.Name=group-id", "Filter.1.Value.1="+modified).(*ec2.DescribeSecurityGroupRulesResult)
	s.MustDo("ModifySecurityGroupRules", "GroupId="+modified,
		"SecurityGroupRule.1.SecurityGroupRuleId="+*rules.SecurityGroupRules[0].SecurityGroupRuleId,
		"SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1", "SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=10.0.0.0/8")
	s.MustDo("UpdateSecurityGroupRuleDescriptionsEgress", append(all, "IpPermissions.1.IpRanges.1.Description=ours", "GroupId="+made("described"))...)

	for range 2 { // a second block changes nothing
		s.Commit(func(tx *state.Tx, c call.Call) {
			v := *tx.DefaultVPC(s.Scope)
			v.IPv6Blocks = append(slices.Clone(v.IPv6Blocks), vpc.Block{Prefix: vpc.AllIPv6})
			tx.Put(&v)
			group.OpenIPv6Egress(tx, c, &v)
		})
	}
	for g := range s.World.GroupsIn(s.Scope) {
		want := 0
		if slices.Contains([]string{"default", "untouched", "ingress", "described"}, g.Name) {
			want = 1
		}
		got := 0
		for r := range s.World.RulesOf(g.ID) {
			if r.Source.CIDR == vpc.AllIPv6 {
				got++
			}
		}
		if got != want {
			t.Errorf("%s has %d rules to ::/0, want %d", g.Name, got, want)
		}
	}
}

// TestGroupsOfAnInterface tries which groups an interface may carry (G2, G9, G77).
func TestGroupsOfAnInterface(t *testing.T) {
	s := opstest.NewStory(t)
	s.VPC("172.31.0.0/16", []string{"default"})
	s.VPC("10.0.0.0/16", nil)
	home := s.World.DefaultVPC(s.Scope).ID
	var ids []string
	for i := range 6 {
		ids = append(ids, *s.MustDo("CreateSecurityGroup", "GroupName=g"+fmt.Sprint(i), "GroupDescription=x").(*ec2.CreateSecurityGroupResult).GroupId)
	}
	elsewhere := ""
	for g := range s.World.GroupsIn(s.Scope) {
		if g.VPC != home {
			elsewhere = string(g.ID)
		}
	}
	for _, test := range []struct {
		name   string
		groups []string
		want   int
		err    string
	}{
		{"five", ids[:5], 5, ""},
		{"twice the same", []string{ids[1], ids[0], ids[1]}, 2, ""},
		{"six", ids, 0, "SecurityGroupsPerInterfaceLimitExceeded: The maximum number of security groups per interface has been reached."},
		{"unknown", []string{"sg-00000000"}, 0, "InvalidSecurityGroupID.NotFound: The securityGroup ID 'sg-00000000' does not exist"},
		{"malformed", []string{"x"}, 0, `InvalidGroupId.Malformed: Invalid id: "x"`},
		{"of another VPC", []string{elsewhere}, 0, "InvalidParameter: Security group " + elsewhere + " and subnet subnet-1 belong to different networks."},
	} {
		got, err := group.ForInterface(s.World.Begin(), s.NewCall(""), &call.UsedGroupForm, test.groups, &vpc.Subnet{ID: "subnet-1", VPC: home})
		if len(got) != test.want || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	if g := group.DefaultOf(s.World.Begin(), home); g == nil || !g.IsDefault() || g.VPC != home { // G29
		t.Errorf("the default group is %v", g)
	}
}
