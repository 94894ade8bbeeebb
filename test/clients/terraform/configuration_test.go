package terraform_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/test/installation"
)

// configuration is a folder of testdata and the life that it is led through: its steps, then an import of all it
// made into an empty state, then its destruction.
type configuration struct {
	name  string
	steps []step
	// partner is a second account, whose keys the configuration has as well.
	partner bool
	// notImported are addresses of what the provider cannot import as it is configured.
	notImported []string
	// leaves are the calls that list something else in the end than in the beginning: what is adopted keeps its
	// tags, and so do peering connections and instances that are over, as long as they are told.
	leaves []string
}

// step is one application of a configuration.
type step struct {
	name string
	set  variables
	// before is what somebody else does before it; nil is nothing.
	before func(scene)
	// want is what is done, by address; nil is the first step's: everything is created.
	want changes
	// outputs are those that are looked at.
	outputs map[string]any
}

// scene is what a step finds.
type scene struct {
	t       *testing.T
	server  *installation.Installation
	account installation.Credentials
	outputs map[string]any // of the step before
}

// play leads a configuration through its life in an account of its own.
func (c configuration) play(t *testing.T, server *installation.Installation) {
	t.Helper()
	account := server.NewAccount(c.name)
	given := access(server, account)
	if c.partner {
		p := server.NewAccount(c.name + "'s partner")
		maps.Copy(given, variables{"partner_access_key": p.AccessKeyID, "partner_secret_key": p.SecretAccessKey})
	}
	s := newStage(t, c.name, given)
	before := inventory(server, account)
	var outputs map[string]any
	for _, step := range c.steps {
		s.set(step.set)
		if step.before != nil {
			step.before(scene{t, server, account, outputs})
		}
		var done changes
		done, outputs = s.apply()
		if step.want == nil {
			step.want = allCreated(done)
		}
		if diff := cmp.Diff(step.want, done); diff != "" {
			t.Errorf("%s: (-want +done):\n%s", step.name, diff)
		}
		for name, want := range step.outputs {
			if diff := cmp.Diff(want, outputs[name]); diff != "" {
				t.Errorf("%s: output %s (-want +got):\n%s", step.name, name, diff)
			}
		}
		s.settled()
		if t.Failed() {
			break
		}
	}
	if !t.Failed() {
		newStage(t, c.name, given).imported(s, c.notImported)
	}
	s.apply("-destroy")
	after := inventory(server, account)
	for _, call := range c.leaves {
		delete(before, call)
		delete(after, call)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("an apply and a destroy leave (-before +after):\n%s", diff)
	}
}

// call makes a call that is to succeed.
func (s scene) call(action string, parameters ...string) {
	if status, answer := s.server.Call(s.account, action, parameters...); status != http.StatusOK {
		s.t.Fatalf("%s answered %d: %s", action, status, answer)
	}
}

// letGuestIn adds a rule to the group host, of which Terraform knows nothing.
func letGuestIn(s scene) {
	ids := s.outputs["host_and_guest"].([]any)
	s.call("AuthorizeSecurityGroupIngress", "GroupId", ids[0].(string), "IpPermissions.1.IpProtocol", "-1",
		"IpPermissions.1.Groups.1.GroupId", ids[1].(string))
}

// allCreated is what was done, had all of it been a creation.
func allCreated(done changes) changes {
	want := maps.Clone(done)
	for address := range want {
		want[address] = created
	}
	return want
}

// inventoried are the calls that list what an account has, each with the element of the identifier. What is over
// is listed for a while by two of them, and left out.
var inventoried = []struct {
	action, element string
	parameters      []string
}{
	{"DescribeVpcs", "vpcId", nil},
	{"DescribeSubnets", "subnetId", nil},
	{"DescribeSecurityGroups", "groupId", nil},
	{"DescribeSecurityGroupRules", "securityGroupRuleId", []string{"Filter.1.Name", "tag:Name", "Filter.1.Value.1", "*"}},
	{"DescribeNetworkInterfaces", "networkInterfaceId", nil},
	{"DescribeInternetGateways", "internetGatewayId", nil},
	{"DescribeRouteTables", "routeTableId", nil},
	{"DescribeNetworkAcls", "networkAclId", nil},
	{"DescribeManagedPrefixLists", "prefixListId", nil},
	{"DescribeVpcPeeringConnections", "vpcPeeringConnectionId", []string{
		"Filter.1.Name", "status-code", "Filter.1.Value.1", "active", "Filter.1.Value.2", "pending-acceptance",
	}},
	{"DescribeInstances", "instanceId", []string{
		"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "pending", "Filter.1.Value.2", "running", "Filter.1.Value.3", "stopped",
	}},
	{"DescribeTags", "resourceId", nil},
}

// inventory is what an account has: identifiers by the call that lists them.
func inventory(s *installation.Installation, as installation.Credentials) map[string][]string {
	all := map[string][]string{}
	for _, i := range inventoried {
		_, answer := s.Call(as, i.action, i.parameters...)
		var ids []string
		for _, m := range regexp.MustCompile("<"+i.element+">([^<]*)<").FindAllStringSubmatch(answer, -1) {
			ids = append(ids, m[1])
		}
		slices.Sort(ids)
		all[i.action] = slices.Compact(ids)
	}
	return all
}

// Whatever Terraform makes it finds again unchanged, changes in place where EC2 can, imports and destroys: here
// where instances run, of which the provider sees little within ten seconds.
func TestConfigurationsWithInstances(t *testing.T) {
	needsTerraform(t)
	installation.NeedsRoot(t)
	t.Parallel()
	server := programs.Install(t, installation.Up)
	server.Start()
	server.NeedsEnforcement()
	play(t, server, withHost)
}

// TestConfigurations is the same where no instance is needed.
func TestConfigurations(t *testing.T) {
	needsTerraform(t)
	t.Parallel()
	server := programs.Install(t, installation.Server)
	server.Start()
	play(t, server, withoutHost)
}

func play(t *testing.T, server *installation.Installation, all []configuration) {
	t.Helper()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.play(t, server.For(t))
		})
	}
}
