package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// site is the guide's example: web servers open to the world on 80 and 443 and
// to one range for ssh, a database that only they reach.
type site struct {
	*host
	vpc, subnet   string
	web, db       string // groups
	a, b, d, x    *machine
	strangersOnly string // a group with no inbound rule
}

// machine is a lab instance.
type machine struct{ id, eni, v4, v6 string }

func (m *machine) tcp(port int) []string {
	return []string{fmt.Sprintf("tcp/%s:%d", m.v4, port), fmt.Sprintf("tcp/[%s]:%d", m.v6, port)}
}

func (m *machine) ping() []string { return []string{"ping/" + m.v4, "ping/" + m.v6} }

// launch runs an instance in the site's subnet with groups.
func (s *site) launch(name string, groups ...string) *machine {
	s.t.Helper()
	args := []string{
		"run-instances", "--image-id", "ami-00000000000000001", "--instance-type", "t3.micro", "--subnet-id", s.subnet,
		"--ipv6-address-count", "1", "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=" + name + "}]",
		"--query", "Instances[0].[InstanceId,NetworkInterfaces[0].NetworkInterfaceId,PrivateIpAddress,NetworkInterfaces[0].Ipv6Addresses[0].Ipv6Address]",
		"--security-group-ids",
	}
	f := strings.Fields(s.AWS(append(args, groups...)...))
	if len(f) != 4 {
		s.t.Fatalf("run-instances answered %v", f)
	}
	return &machine{id: f[0], eni: f[1], v4: f[2], v6: f[3]}
}

func (s *site) group(name, description string) string {
	s.t.Helper()
	return s.AWS("create-security-group", "--group-name", name, "--description", description, "--vpc-id", s.vpc, "--query", "GroupId")
}

// allow adds one inbound rule per source.
func (s *site) allow(group, protocol, ports string, sources ...string) {
	s.t.Helper()
	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}
	for _, src := range sources {
		source := "IpRanges=[{CidrIp=" + src + "}]"
		switch {
		case strings.HasPrefix(src, "sg-"):
			source = "UserIdGroupPairs=[{GroupId=" + src + "}]"
		case strings.HasPrefix(src, "pl-"):
			source = "PrefixListIds=[{PrefixListId=" + src + "}]"
		case strings.Contains(src, ":"):
			source = "Ipv6Ranges=[{CidrIpv6=" + src + "}]"
		}
		s.AWS("authorize-security-group-ingress", "--group-id", group, "--ip-permissions",
			fmt.Sprintf("IpProtocol=%s,FromPort=%s,ToPort=%s,%s", protocol, from, to, source))
	}
}

// newSite builds the guide's example with a running sallyport.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{host: install(t)}
	s.Start()
	s.vpc = s.AWS("create-vpc", "--cidr-block", "10.20.0.0/16", "--amazon-provided-ipv6-cidr-block", "--query", "Vpc.VpcId")
	v6 := s.AWS("describe-vpcs", "--vpc-ids", s.vpc, "--query", "Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock")
	s.subnet = s.AWS("create-subnet", "--vpc-id", s.vpc, "--cidr-block", "10.20.1.0/24",
		"--ipv6-cidr-block", strings.Replace(v6, "/56", "/64", 1), "--query", "Subnet.SubnetId")
	s.web = s.group("web", "web servers")
	s.db = s.group("db", "database servers")
	s.strangersOnly = s.group("stranger", "no inbound rule")
	for _, port := range []string{"80", "443"} {
		s.allow(s.web, "tcp", port, "0.0.0.0/0", "::/0")
	}
	s.allow(s.db, "tcp", "5432", s.web)
	s.a, s.b = s.launch("web-a", s.web), s.launch("web-b", s.web)
	s.d, s.x = s.launch("db", s.db), s.launch("stranger", s.strangersOnly)
	admin := s.launch("admin", s.strangersOnly)
	s.allow(s.web, "tcp", "22", admin.v4+"/32", admin.v6+"/128")
	s.Settled()
	for _, m := range []*machine{s.a, s.b, s.d, s.x} {
		s.serve(m.id, "tcp/22", "tcp/80", "tcp/443", "tcp/8080", "tcp/5432", "udp/53")
	}
	s.connectivity(
		allowed(admin.id, s.a.tcp(22)...), allowed(admin.id, s.b.tcp(22)...),
		dropped(admin.id, s.d.tcp(22)...), dropped(admin.id, s.a.tcp(8080)...),
	)
	return s
}

// The guide's own example, with the AWS CLI and real packets.
// G1 G3 G5 G12 G13 G16 G17 G19: web servers open to the world, ssh from one
// range, the database reachable from the web group alone, in both families.
func TestGuideExample(t *testing.T) {
	s := newSite(t)
	a, b, d, x := s.a, s.b, s.d, s.x
	s.connectivity(
		allowed(x.id, a.tcp(80)...), allowed(x.id, a.tcp(443)...), allowed(x.id, b.tcp(80)...),
		dropped(x.id, a.tcp(22)...), dropped(x.id, a.tcp(8080)...), dropped(x.id, a.tcp(5432)...),
		dropped(x.id, "udp/"+a.v4+":53"), dropped(x.id, a.ping()...),
		allowed(a.id, d.tcp(5432)...), allowed(b.id, d.tcp(5432)...),
		dropped(x.id, d.tcp(5432)...), dropped(a.id, d.tcp(22)...), dropped(a.id, d.tcp(80)...),
		allowed(a.id, b.tcp(80)...), dropped(a.id, b.tcp(22)...), dropped(a.id, b.tcp(5432)...),
		allowed(d.id, a.tcp(80)...), dropped(d.id, x.tcp(80)...),
		allowed(x.id, "ping/10.20.1.1"), // the VPC's router is never filtered
	)
	t.Run("explain says the same", func(t *testing.T) { s.explains(t) })
	t.Run("groups of a running instance", func(*testing.T) { s.regroupsRunning() })
	t.Run("groups of a stopped instance", func(*testing.T) { s.regroupsStopped() })
	t.Run("status", func(t *testing.T) { s.reports(t) })
}

func (s *site) explains(t *testing.T) {
	t.Helper()
	for _, row := range []struct {
		from, to, port string
		want           int
	}{
		{s.x.id, s.a.id, "80", 0},
		{s.x.id, s.a.id, "22", 1},
		{s.a.id, s.d.id, "5432", 0},
		{s.x.id, s.d.id, "5432", 1},
		{s.a.v4, s.d.eni, "22", 1},
	} {
		var e struct {
			Reachable bool
			Sides     []struct {
				Direction, Verdict, Missing string
				Rule                        *struct{ SecurityGroupRuleId, GroupId string }
			}
		}
		code := s.Ask(&e, "explain", "--from", row.from, "--to", row.to, "--protocol", "tcp", "--port", row.port)
		if code != row.want || e.Reachable != (row.want == 0) {
			t.Errorf("%s to %s port %s: exit %d, reachable %v; want exit %d", row.from, row.to, row.port, code, e.Reachable, row.want)
		}
		in := e.Sides[len(e.Sides)-1]
		if row.want == 0 && (in.Rule == nil || !strings.HasPrefix(in.Rule.SecurityGroupRuleId, "sgr-")) {
			t.Errorf("%s to %s port %s: no rule is named: %+v", row.from, row.to, row.port, in)
		}
		if row.want == 1 && in.Missing == "" {
			t.Errorf("%s to %s port %s: nothing is said to be missing: %+v", row.from, row.to, row.port, in)
		}
	}
}

// G22 G121 G125: the groups of a running instance are changed, and its packets follow.
func (s *site) regroupsRunning() {
	s.connectivity(dropped(s.x.id, s.d.tcp(5432)...))
	s.AWS("modify-instance-attribute", "--instance-id", s.x.id, "--groups", s.web)
	s.Settled()
	s.connectivity(allowed(s.x.id, s.d.tcp(5432)...), allowed(s.d.id, s.x.tcp(80)...))
	s.AWS("modify-network-interface-attribute", "--network-interface-id", s.x.eni, "--groups", s.strangersOnly)
	s.Settled()
	s.connectivity(dropped(s.x.id, s.d.tcp(5432)...), dropped(s.d.id, s.x.tcp(80)...))
}

// G122: the groups of a stopped instance are changed and hold when it is started.
func (s *site) regroupsStopped() {
	s.AWS("stop-instances", "--instance-ids", s.b.id)
	s.AWS("wait", "instance-stopped", "--instance-ids", s.b.id)
	s.connectivity(dropped(s.a.id, s.b.tcp(80)...))
	s.AWS("modify-instance-attribute", "--instance-id", s.b.id, "--groups", s.strangersOnly)
	s.AWS("start-instances", "--instance-ids", s.b.id)
	s.AWS("wait", "instance-running", "--instance-ids", s.b.id)
	s.Settled()
	s.serve(s.b.id, "tcp/80", "tcp/22")
	s.connectivity(dropped(s.a.id, s.b.tcp(80)...), dropped(s.b.id, s.d.tcp(5432)...), allowed(s.b.id, s.a.tcp(80)...))
	s.AWS("modify-instance-attribute", "--instance-id", s.b.id, "--groups", s.web)
	s.Settled()
	s.connectivity(allowed(s.a.id, s.b.tcp(80)...), allowed(s.b.id, s.d.tcp(5432)...))
}

func (s *site) reports(t *testing.T) {
	t.Helper()
	var st struct {
		Enforced bool
		Hosts    []struct {
			Connected  bool
			Interfaces []struct{ NetworkInterfaceId, Status string }
		}
	}
	if code := s.Ask(&st, "status"); code != 0 || !st.Enforced {
		t.Errorf("status: exit %d, %+v", code, st)
	}
	if len(st.Hosts) != 1 || len(st.Hosts[0].Interfaces) != 5 {
		t.Errorf("status shows %+v, want one host with five interfaces", st.Hosts)
	}
}
