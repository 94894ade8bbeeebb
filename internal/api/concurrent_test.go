package api_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/vpc"
)

var seedFlag = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of random calls")

// TestNoGroupGoesWhileItIsHeld lets clients that know nothing of one another make, use, reference and delete the
// same few groups at once. Whatever was answered, no interface and no rule then names a group that is gone.
func TestNoGroupGoesWhileItIsHeld(t *testing.T) {
	t.Logf("seed %d", *seedFlag)
	s := newServer(t)
	var subnet string
	for n := range s.store.Snapshot().SubnetsOf(s.group(t, "default").VPC) {
		subnet = string(n.ID)
	}
	const clients, calls, names = 8, 100, 6
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(*seedFlag, uint64(n)))
			for range calls {
				name := fmt.Sprint("g", r.IntN(names))
				id := s.named(name)
				other := s.named(fmt.Sprint("g", r.IntN(names)))
				var action string
				var params []string
				switch r.IntN(8) {
				case 0:
					action, params = "CreateSecurityGroup", []string{"GroupName=" + name, "GroupDescription=x"}
				case 1:
					action, params = "CreateNetworkInterface", []string{"SubnetId=" + subnet, "SecurityGroupId.1=" + id}
				case 2:
					action, params = "AuthorizeSecurityGroupIngress", []string{
						"GroupId=" + id, "IpPermissions.1.IpProtocol=-1", "IpPermissions.1.Groups.1.GroupId=" + other,
					}
				case 3:
					action, params = "DeleteSecurityGroup", []string{"GroupId=" + id}
				default:
					action, params = s.release(r, id)
				}
				got, err := s.send(t.Context(), form(action, params...))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answers[action+" "+got.code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, must := range []string{
		"CreateSecurityGroup ", "CreateNetworkInterface ", "AuthorizeSecurityGroupIngress ", "DeleteSecurityGroup ",
		"DeleteSecurityGroup DependencyViolation",
	} {
		if answers[must] == 0 {
			t.Errorf("no %q among %v", must, answers)
		}
	}
	w := s.store.Snapshot()
	for e := range w.All(vpc.KindInterface) {
		for _, g := range e.(*vpc.Interface).Groups {
			if w.Group(g) == nil {
				t.Errorf("%s carries %s, which is gone", e.Key(), g)
			}
		}
	}
	for e := range w.All(vpc.KindRule) {
		if r := e.(*vpc.Rule); w.Group(r.Group) == nil || r.Source.Group != "" && w.Group(r.Source.Group) == nil {
			t.Errorf("%s of %s is about %q: one of them is gone", r.ID, r.Group, r.Source.Group)
		}
	}
}

// named is the identifier of the group with a name, or of none.
func (s *server) named(name string) string {
	for e := range s.store.Snapshot().All(vpc.KindGroup) {
		if e.(*vpc.SecurityGroup).Name == name {
			return e.Key()
		}
	}
	return "sg-00000000000000000"
}

// release is a call that lets go of a group: an interface that carries it, or a rule that references it.
func (s *server) release(r *rand.Rand, id string) (action string, params []string) {
	w := s.store.Snapshot()
	for i := range w.InterfacesWith(vpc.GroupID(id)) {
		return "DeleteNetworkInterface", []string{"NetworkInterfaceId=" + string(i.ID)}
	}
	for rule := range w.RulesAbout(vpc.GroupID(id)) {
		return "RevokeSecurityGroupIngress", []string{"GroupId=" + string(rule.Group), "SecurityGroupRuleId.1=" + string(rule.ID)}
	}
	return "DescribeSecurityGroups", []string{fmt.Sprint("MaxResults=", 5+r.IntN(10))}
}

// TestPagesUnderChange reads pages while groups come and go: what was there all the time is told exactly once.
func TestPagesUnderChange(t *testing.T) {
	s := newServer(t)
	const kept = 30
	for n := range kept {
		s.call(t, "CreateSecurityGroup", fmt.Sprint("GroupName=kept", n), "GroupDescription=x")
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.send(t.Context(), form("CreateSecurityGroup", fmt.Sprint("GroupName=gone", n), "GroupDescription=x")); err != nil {
				t.Error(err)
				return
			}
			if _, err := s.send(t.Context(), form("DeleteSecurityGroup", "GroupId="+s.named(fmt.Sprint("gone", n)))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	name, token := regexp.MustCompile(`<groupName>([^<]+)</groupName>`), regexp.MustCompile(`<nextToken>([^<]+)</nextToken>`)
	for range 5 {
		seen := map[string]int{}
		params := []string{"MaxResults=5"}
		for {
			got := s.call(t, "DescribeSecurityGroups", params...)
			if got.status != http.StatusOK {
				t.Fatal(got.body)
			}
			for _, m := range name.FindAllStringSubmatch(got.body, -1) {
				seen[m[1]]++
			}
			m := token.FindStringSubmatch(got.body)
			if m == nil {
				break
			}
			params = []string{"MaxResults=5", "NextToken=" + m[1]}
		}
		for n := range kept {
			if told := seen[fmt.Sprint("kept", n)]; told != 1 {
				t.Errorf("kept%d was told %d times", n, told)
			}
		}
	}
	close(stop)
	wg.Wait()
}
