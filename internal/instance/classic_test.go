package instance_test

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// classicStory is a world in which the first account has EC2-Classic and there is a host.
func classicStory(t *testing.T) *opstest.Story {
	t.Helper()
	s := opstest.NewStory(t)
	s.Commit(func(tx *state.Tx, c call.Call) {
		tx.Put(&vpc.Account{ID: s.Scope.Account, Classic: true})
		if err := network.EnsureRegion(tx, c); err != nil {
			t.Fatal(err)
		}
		if err := instance.RegisterHost(tx, c, vpc.Host{ID: "h1", Capacity: 100}); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

// TestClassicQuotas holds what EC2-Classic has more of: 500 groups a region (G70), 100 rules a group (G72), 500
// groups an instance (G76); and fewer of: 800 rules for an instance over all its groups.
func TestClassicQuotas(t *testing.T) {
	s := classicStory(t)
	q := vpc.GuideQuotas()
	launch := []string{"ImageId=" + "ami-00000000000000001", "MinCount=1", "MaxCount=1"}
	for n := range 499 {
		id := *s.MustDo("CreateSecurityGroup", fmt.Sprintf("GroupName=g%d", n), "GroupDescription=x").(*ec2.CreateSecurityGroupResult).GroupId
		launch = append(launch, fmt.Sprintf("SecurityGroupId.%d=%s", n+1, id))
	}
	launch = append(launch, "SecurityGroup.1=default")
	if _, err := s.Do("CreateSecurityGroup", []string{"GroupName=more", "GroupDescription=x"}); !apierr.HasCode(err, apierr.CodeSecurityGroupLimitExceeded) {
		t.Errorf("the 501st group: %v", err)
	}
	made := s.MustDo("RunInstances", launch...).(*ec2.Reservation)
	if n := len(made.Instances[0].SecurityGroups); n != 500 {
		t.Errorf("the instance has %d groups", n)
	}
	rule := func(group, port int) error {
		_, err := s.Do("AuthorizeSecurityGroupIngress", []string{
			fmt.Sprintf("GroupName=g%d", group), "IpProtocol=tcp", fmt.Sprintf("FromPort=%d", port), fmt.Sprintf("ToPort=%d", port), "CidrIp=10.0.0.0/8",
		})
		return err
	}
	rules := 3 // the default group's
	for g := range 7 {
		for port := range q.ClassicRulesPerGroup {
			if err := rule(g, port); err != nil {
				t.Fatalf("rule %d of group %d: %v", port, g, err)
			}
			rules++
		}
		if err := rule(g, 9999); !apierr.HasCode(err, apierr.CodeRulesPerSecurityGroupLimitExceeded) {
			t.Fatalf("rule 101 of group %d: %v", g, err)
		}
	}
	for ; rules < q.ClassicRulesPerInstance; rules++ {
		if err := rule(8, rules); err != nil {
			t.Fatalf("rule %d of the instance: %v", rules, err)
		}
	}
	if err := rule(9, 1); !apierr.HasCode(err, apierr.CodeRulesPerSecurityGroupLimitExceeded) {
		t.Errorf("rule %d of the instance: %v", rules+1, err)
	}
}

// TestClassicLaunchLimits refuses more groups, and groups of more rules, than an instance in EC2-Classic can have.
func TestClassicLaunchLimits(t *testing.T) {
	s := classicStory(t)
	s.Commit(func(tx *state.Tx, c call.Call) {
		var ids []string
		for n := range 501 {
			g := &vpc.SecurityGroup{ID: vpc.GroupID(fmt.Sprintf("sg-%03d", n)), Scope: c.Scope, VPC: vpc.ClassicNetwork(c.Scope.Region), Name: fmt.Sprint(n)}
			tx.Put(g)
			ids = append(ids, string(g.ID))
		}
		if got, err := group.ForClassicInstance(tx, c, append(ids[:500:500], ids[0])); err != nil || len(got) != 500 {
			t.Errorf("500 groups, one of them twice: %d, %v", len(got), err)
		}
		if _, err := group.ForClassicInstance(tx, c, ids); !apierr.HasCode(err, apierr.CodeSecurityGroupsPerInstanceLimitExceeded) {
			t.Errorf("501 groups: %v", err)
		}
		for n := range 801 {
			tx.Put(&vpc.Rule{ID: vpc.RuleID(fmt.Sprintf("sgr-%d", n)), Scope: c.Scope, Group: "sg-000"})
		}
		if _, err := group.ForClassicInstance(tx, c, ids[:1]); !apierr.HasCode(err, apierr.CodeRulesPerSecurityGroupLimitExceeded) {
			t.Errorf("801 rules: %v", err)
		}
	})
}
