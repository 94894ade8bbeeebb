package e2e

import (
	"slices"
	"strings"
	"testing"
)

// tenant is an account with EC2-Classic, and its part of the installation.
type tenant struct {
	*host
	account string
}

// newTenant makes an account with a key, as the host's operator does.
func newTenant(s *host, account string) tenant {
	s.t.Helper()
	var made struct {
		AccountId string
		Platforms []string
	}
	s.Ask(&made, "account", "create", "--account", account, "--platform", "classic")
	if made.AccountId != account || !slices.Equal(made.Platforms, []string{"EC2", "VPC"}) {
		s.t.Fatalf("account create answered %+v", made)
	}
	var key struct{ AccessKeyId, SecretAccessKey string }
	s.Ask(&key, "key", "create", "--account", account)
	own := *s.Installation
	own.Env = append(slices.Clone(s.Env), "AWS_ACCESS_KEY_ID="+key.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
	return tenant{&host{&own, s.t}, account}
}

// launch runs an instance in EC2-Classic with groups, by name.
func (n tenant) launch(groups ...string) *machine {
	n.t.Helper()
	f := strings.Fields(n.AWS(append([]string{
		"run-instances", "--image-id", "ami-00000000000000001", "--instance-type", "m3.medium",
		"--query", "Instances[0].[InstanceId,PrivateIpAddress,VpcId]", "--security-groups",
	}, groups...)...))
	if len(f) != 3 || f[2] != "None" {
		n.t.Fatalf("run-instances answered %v, and in EC2-Classic there is no VPC", f)
	}
	return &machine{id: f[0], v4: f[1]}
}

func (n tenant) group(name string) {
	n.t.Helper()
	n.AWS("create-security-group", "--group-name", name, "--description", "of EC2-Classic")
}

// refused wants the AWS CLI to be answered an error that begins so.
func (n tenant) refused(want string, args ...string) {
	n.t.Helper()
	if _, err := n.TryAWS(args...); err == nil || !strings.Contains(err.Error(), want) {
		n.t.Errorf("aws %s: %v, want %s", strings.Join(args, " "), err, want)
	}
}

// Two accounts in EC2-Classic, with the AWS CLI and real packets. G74 G78 G81 G83 G90: one account's group admits
// another's by name, everything may leave, and nothing changes after launch.
func TestClassic(t *testing.T) {
	s := install(t)
	s.Start()
	web, db := newTenant(s, "000000000002"), newTenant(s, "000000000003")
	if got := web.AWS("describe-account-attributes", "--attribute-names", "supported-platforms", "--query", "AccountAttributes[0].AttributeValues[].AttributeValue"); got != "EC2\tVPC" {
		t.Errorf("supported platforms: %q", got)
	}
	web.group("web")
	db.group("db")
	a, b := web.launch("web"), web.launch("default")
	c, d := db.launch("db"), db.launch("default")
	e := db.launch("default")
	db.AWS("authorize-security-group-ingress", "--group-name", "db", "--protocol", "tcp", "--port", "5432",
		"--source-group", "web", "--group-owner", web.account)
	web.AWS("authorize-security-group-ingress", "--group-name", "web", "--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0")
	s.Settled()
	for _, m := range []*machine{a, b, c, d, e} {
		s.serve(m.id, "tcp/22", "tcp/80", "tcp/5432", "udp/53")
	}
	to := func(m *machine, service string) string { return service + "/" + m.v4 }
	port := func(m *machine, n string) string { return to(m, "tcp") + ":" + n }
	s.connectivity(
		allowed(a.id, port(c, "5432")), dropped(b.id, port(c, "5432")), dropped(d.id, port(c, "5432")),
		dropped(a.id, port(c, "22"), to(c, "ping"), to(c, "udp")+":53"),
		allowed(b.id, port(a, "80")), allowed(c.id, port(a, "80")), dropped(c.id, port(a, "22")),
		allowed(d.id, port(e, "22"), to(e, "udp")+":53", to(e, "ping")),           // default groups reach their own
		dropped(b.id, port(d, "22"), to(d, "ping")), dropped(d.id, port(b, "22")), // and not each other's
		allowed(a.id, "ping/10.0.0.1"), // the network's router is never filtered
	)
	t.Run("explain says the same", func(t *testing.T) { explainsClassic(t, s, a, b, c) })
	t.Run("a rule for a group without a protocol", func(*testing.T) {
		web.AWS("authorize-security-group-ingress", "--group-name", "web", "--ip-permissions",
			"UserIdGroupPairs=[{UserId="+db.account+",GroupName=db}]")
		s.Settled()
		s.connectivity(allowed(c.id, port(a, "22"), to(a, "udp")+":53", to(a, "ping")), dropped(d.id, port(a, "22")))
	})
	t.Run("a rule goes", func(*testing.T) {
		db.AWS("revoke-security-group-ingress", "--group-name", "db", "--protocol", "tcp", "--port", "5432",
			"--source-group", "web", "--group-owner", web.account)
		s.Settled()
		s.connectivity(dropped(a.id, port(c, "5432")))
	})
	t.Run("what is refused", func(*testing.T) {
		web.refused("(InvalidParameterCombination)", "modify-instance-attribute", "--instance-id", a.id, "--groups",
			web.AWS("describe-security-groups", "--group-names", "default", "--query", "SecurityGroups[0].GroupId"))
		web.refused("(InvalidGroup.InUse)", "delete-security-group", "--group-name", "web")
		db.refused("(InvalidGroup.InUse)", "delete-security-group", "--group-name", "db")
		db.refused("(InvalidGroup.Reserved)", "delete-security-group", "--group-name", "default")
		db.refused("(VPCResourceNotSpecified)", "run-instances", "--image-id", "ami-00000000000000001", "--instance-type", "t3.micro")
	})
	t.Run("stopped, started, terminated", func(*testing.T) {
		web.AWS("stop-instances", "--instance-ids", a.id)
		web.AWS("wait", "instance-stopped", "--instance-ids", a.id)
		s.connectivity(dropped(b.id, port(a, "80")))
		web.AWS("start-instances", "--instance-ids", a.id)
		web.AWS("wait", "instance-running", "--instance-ids", a.id)
		s.Settled()
		s.serve(a.id, "tcp/80", "tcp/22")
		s.connectivity(allowed(b.id, port(a, "80")), dropped(b.id, port(a, "22")))
		web.AWS("terminate-instances", "--instance-ids", a.id)
		web.AWS("wait", "instance-terminated", "--instance-ids", a.id)
		web.AWS("delete-security-group", "--group-name", "web")
	})
}

// explainsClassic asks the host's operator's tool, which may know of both accounts, about both.
func explainsClassic(t *testing.T, s *host, a, b, c *machine) {
	t.Helper()
	for _, row := range []struct {
		from, to, port string
		want           int
	}{
		{a.id, c.id, "5432", 0}, {b.id, c.id, "5432", 1}, {c.id, a.id, "80", 0}, {c.id, a.id, "22", 1},
	} {
		var answer struct {
			Reachable bool
			Sides     []struct {
				Direction, Missing string
				Rule               *struct{ SecurityGroupRuleId, GroupId string }
			}
		}
		code := s.Ask(&answer, "explain", "--from", row.from, "--to", row.to, "--protocol", "tcp", "--port", row.port)
		if code != row.want || len(answer.Sides) != 2 {
			t.Errorf("%+v: exit %d, %+v", row, code, answer)
			continue
		}
		out, in := answer.Sides[0], answer.Sides[1]
		if out.Rule == nil || out.Rule.SecurityGroupRuleId != "ec2-classic-outbound" || out.Rule.GroupId != "" {
			t.Errorf("%+v: what leaves is credited to %+v", row, out.Rule)
		}
		if (in.Rule != nil) != (row.want == 0) || (in.Missing != "") != (row.want == 1) {
			t.Errorf("%+v: what comes in is %+v", row, in)
		}
	}
}
