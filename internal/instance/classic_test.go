package instance_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestRandomPlatforms makes random calls of three accounts, two of which have EC2-Classic, that mix groups, sources and
// instances of both platforms, and looks after each at what must always hold: among it, that nothing is of both, and
// that no instance in EC2-Classic ever carries other groups than at its launch (G67, G68, G69, G81).
func TestRandomPlatforms(t *testing.T) {
	r := opstest.Random(t)
	w := &platforms{randomWorld{Story: opstest.NewStory(t), r: r}}
	for n, account := range accounts {
		w.Scope.Account = account
		w.Commit(func(tx *state.Tx, c call.Call) {
			tx.Put(&vpc.Account{ID: account, Classic: n < 2})
			if err := network.EnsureRegion(tx, c); err != nil {
				t.Fatal(err)
			}
		})
		v := *w.MustDo("CreateVpc", "CidrBlock=10.0.0.0/16").(*ec2.CreateVpcResult).Vpc.VpcId
		w.MustDo("CreateSubnet", "VpcId="+v, "CidrBlock=10.0.0.0/24")
	}
	w.Commit(func(tx *state.Tx, c call.Call) { tx.Put(&vpc.Host{ID: "h1", Capacity: 12}) })
	refused := map[apierr.Code]int{}
	launched := map[vpc.InterfaceID][]vpc.GroupID{}
	foreign := map[vpc.RuleID]bool{}
	for n := range 4000 {
		w.Scope.Account = accounts[r.IntN(len(accounts))]
		action, params := w.next()
		if action == "" {
			w.report()
		} else if _, err := w.Do(action, params); err != nil {
			code := apierr.From(err).Code
			if code == apierr.CodeInternalError {
				t.Fatalf("call %d, %s %v: %v", n, action, params, err)
			}
			refused[code]++
		}
		if err := opstest.CheckNetworks(w.World); err != nil {
			t.Fatalf("after call %d of %s, %s %v: %v", n, w.Scope.Account, action, params, err)
		}
		for e := range w.World.All(vpc.KindRule) {
			if rule := e.(*vpc.Rule); rule.Source.GroupName != "" && rule.Source.GroupAccount != rule.Scope.Account {
				foreign[rule.ID] = true
			}
		}
		for i := range w.World.InterfacesOf(vpc.ClassicNetwork(w.Scope.Region)) {
			if launched[i.ID] == nil {
				launched[i.ID] = i.Groups
			}
			if d := cmp.Diff(launched[i.ID], i.Groups); d != "" {
				t.Fatalf("after call %d of %s, %s %v: groups of %s (-launched +now):\n%s", n, w.Scope.Account, action, params, i.ID, d)
			}
		}
	}
	for _, code := range []apierr.Code{
		apierr.CodeInvalidGroupInUse, apierr.CodeInvalidGroupReserved, apierr.CodeInvalidParameter, apierr.CodeInvalidGroupNotFound,
		apierr.CodeInvalidParameterCombination, apierr.CodeInvalidParameterValue, apierr.CodeInvalidGroupDuplicate,
	} {
		if refused[code] == 0 {
			t.Errorf("nothing was refused with %s: %v", code, refused)
		}
	}
	if len(launched) < 5 || len(foreign) < 2 {
		t.Errorf("%d instances were in EC2-Classic, %d rules there were about groups of other accounts", len(launched), len(foreign))
	}
}

var accounts = []vpc.AccountID{"000000000001", "000000000002", "000000000003"}

// platforms makes random calls about groups and instances of both platforms.
type platforms struct{ randomWorld }

// group is mostly one of the caller's.
func (w *platforms) group() string {
	own := slices.Collect(w.World.GroupsIn(w.Scope))
	if w.r.IntN(4) == 0 {
		return w.some(vpc.KindGroup)
	}
	return string(own[w.r.IntN(len(own))].ID)
}

// next is a random call, or none: then the host reports.
func (w *platforms) next() (action string, params []string) {
	group, name := w.group(), fmt.Sprint("g", w.r.IntN(5))
	owner := accounts[w.r.IntN(len(accounts))]
	target := []string{"GroupId=" + group}
	if w.r.IntN(2) == 0 {
		target = []string{fmt.Sprint("GroupName=g", w.r.IntN(5))}
	}
	permission := slices.Concat(target, [][]string{
		{"IpPermissions.1.IpProtocol=tcp", "IpPermissions.1.FromPort=80", "IpPermissions.1.ToPort=80"},
		{"IpPermissions.1.IpProtocol=udp", "IpPermissions.1.FromPort=53", "IpPermissions.1.ToPort=53"},
		{"IpPermissions.1.IpProtocol=tcp"},
		{"IpPermissions.1.IpProtocol=-1"},
		{}, // all that there is in EC2-Classic
	}[w.r.IntN(5)])
	permission = append(permission, [][]string{
		{"IpPermissions.1.Groups.1.GroupId=" + w.some(vpc.KindGroup)},
		{"IpPermissions.1.Groups.1.GroupId=" + w.some(vpc.KindGroup), "IpPermissions.1.Groups.1.UserId=" + string(owner)},
		{"IpPermissions.1.Groups.1.GroupName=" + name},
		{"IpPermissions.1.Groups.1.GroupName=" + name, "IpPermissions.1.Groups.1.UserId=" + string(owner)},
		{"IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"},
		{"IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0"},
	}[w.r.IntN(6)]...)
	launch := []string{"ImageId=" + string(instance.LabImage), "MinCount=1", "MaxCount=1", "SecurityGroupId.1=" + group}
	switch w.r.IntN(16) {
	case 0, 13:
		return "CreateSecurityGroup", []string{"GroupName=" + name, "GroupDescription=x"}
	case 1:
		return "CreateSecurityGroup", []string{"GroupName=" + name, "GroupDescription=x", "VpcId=" + w.some(vpc.KindVPC)}
	case 2, 3, 14:
		return "AuthorizeSecurityGroupIngress", permission
	case 4:
		return "AuthorizeSecurityGroupEgress", append(permission[len(target):], "GroupId="+group)
	case 5:
		return "RevokeSecurityGroupIngress", permission
	case 6:
		return "DeleteSecurityGroup", target
	case 7:
		return "RunInstances", launch
	case 8:
		return "RunInstances", append(launch, "SubnetId="+w.some(vpc.KindSubnet))
	case 9:
		return "ModifyInstanceAttribute", []string{"InstanceId=" + w.some(vpc.KindInstance), "GroupId.1=" + group}
	case 10:
		if w.r.IntN(2) == 0 {
			return "DeleteSecurityGroup", []string{"GroupName=default"}
		}
		return "ModifyNetworkInterfaceAttribute", []string{"NetworkInterfaceId=" + w.some(vpc.KindInterface), "SecurityGroupId.1=" + group}
	case 11:
		return []string{"Start", "Stop", "Terminate"}[w.r.IntN(3)] + "Instances", []string{"InstanceId.1=" + w.some(vpc.KindInstance)}
	}
	return "", nil
}
