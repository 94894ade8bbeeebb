package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/installation"
)

// talker is a probe that is spoken to over its standard input.
type talker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (s *host) talk(instance string, args ...string) *talker {
	s.t.Helper()
	cmd := s.inside(instance, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	k := &talker{s.t, cmd, in, bufio.NewScanner(out)}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return k
}

// line is the next line it says; "" at its end.
func (k *talker) line() string {
	k.out.Scan()
	return k.out.Text()
}

// say sends a line and returns the answer.
func (k *talker) say(text string) string {
	k.t.Helper()
	if _, err := fmt.Fprintln(k.in, text); err != nil {
		k.t.Fatal(err)
	}
	return k.line()
}

// end closes the input and returns the last line.
func (k *talker) end() string {
	k.t.Helper()
	_ = k.in.Close()
	return k.line()
}

// pair is two instances of a VPC, one of which serves.
func pair(t *testing.T) (s *site, client, server *machine) {
	t.Helper()
	s = &site{host: install(t)}
	s.Start()
	s.vpc = s.AWS("create-vpc", "--cidr-block", "10.30.0.0/16", "--amazon-provided-ipv6-cidr-block", "--query", "Vpc.VpcId")
	v6 := s.AWS("describe-vpcs", "--vpc-ids", s.vpc, "--query", "Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock")
	s.subnet = s.AWS("create-subnet", "--vpc-id", s.vpc, "--cidr-block", "10.30.1.0/24",
		"--ipv6-cidr-block", strings.Replace(v6, "/56", "/64", 1), "--query", "Subnet.SubnetId")
	s.web, s.strangersOnly = s.group("server", "serves"), s.group("client", "asks")
	server, client = s.launch("server", s.web), s.launch("client", s.strangersOnly)
	return s, client, server
}

// G16 G17 G18: a removed rule stops new flows and leaves tracked ones, and cuts
// at once what was never tracked.
func TestRemovedRuleLeavesTrackedFlows(t *testing.T) {
	s, client, server := pair(t)
	s.allow(s.web, "tcp", "22", client.v4+"/32")
	s.allow(s.web, "tcp", "80", "0.0.0.0/0")
	s.Settled()
	s.serve(server.id, "tcp/22", "tcp/80")
	tracked := s.talk(client.id, "hold", server.v4+":22")
	untracked := s.talk(client.id, "hold", server.v4+":80")
	for _, k := range []*talker{tracked, untracked} {
		if got := k.line(); got != "connected" {
			t.Fatalf("not connected: %q", got)
		}
		if got := k.say("one"); got != "echo one" {
			t.Fatalf("echo of one is %q", got)
		}
	}
	s.AWS("revoke-security-group-ingress", "--group-id", s.web, "--protocol", "tcp", "--port", "22", "--cidr", client.v4+"/32")
	s.AWS("revoke-security-group-ingress", "--group-id", s.web, "--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0")
	s.Settled()
	if got := tracked.say("two"); got != "echo two" {
		t.Errorf("the tracked connection did not outlive its rule: %q", got)
	}
	if got := untracked.say("two"); !strings.HasPrefix(got, "lost") {
		t.Errorf("the untracked connection outlived its rule: %q", got)
	}
	s.connectivity(dropped(client.id, "tcp/"+server.v4+":22", "tcp/"+server.v4+":80"))
}

// While the server and the agent are killed and started again under traffic, no
// permitted packet is lost and no forbidden one is let in.
func TestKilledUnderTraffic(t *testing.T) {
	s, client, server := pair(t)
	s.allow(s.web, "udp", "53", client.v4+"/32", client.v6+"/128")
	s.Settled()
	s.serve(server.id, "udp/53")
	forbidden := s.talk(server.id, "count", "9999")
	if got := forbidden.line(); got != "counting" {
		t.Fatalf("the counter said %q", got)
	}
	var streams []*talker
	for _, to := range []string{server.v4 + ":53", "[" + server.v6 + "]:53"} {
		streams = append(streams, s.talk(client.id, "stream", to))
	}
	intruder := s.talk(client.id, "stream", server.v4+":9999")
	for range 3 {
		s.Kill()
		s.Start()
		s.Settled()
	}
	s.connectivity(allowed(client.id, "udp/"+server.v4+":53"), dropped(client.id, "udp/"+server.v4+":9998"))
	for _, k := range streams {
		var sent, lost int
		if _, err := fmt.Sscan(k.end(), &sent, &lost); err != nil || sent < 500 || lost != 0 {
			t.Errorf("sent %d, lost %d (%v); want some and none", sent, lost, err)
		}
	}
	intruder.end()
	if got := forbidden.end(); got != "0" {
		t.Errorf("%s forbidden datagrams came through", got)
	}
}

// After a clean stop and a start everything is there: ids, instances, their
// processes, their console.
func TestEverythingIsFoundAgain(t *testing.T) {
	s, client, server := pair(t)
	s.allow(s.web, "tcp", "80", "0.0.0.0/0", "::/0")
	talkative := s.AWS("run-instances", "--image-id", "ami-00000000000000001", "--subnet-id", s.subnet, "--security-group-ids", s.web,
		"--user-data", "#!/bin/sh\necho hello from user data; id -u; exec nc -lk 80", "--query", "Instances[0].InstanceId")
	addr := s.AWS("describe-instances", "--instance-ids", talkative, "--query", "Reservations[0].Instances[0].PrivateIpAddress")
	s.Settled()
	s.serve(server.id, "tcp/80")
	s.connectivity(allowed(client.id, server.tcp(80)...))
	s.opens(client.id, addr+":80")
	before := s.AWS("describe-instances", "--query", "Reservations[].Instances[].[InstanceId,State.Name,PrivateIpAddress]")
	s.Stop()
	s.Start()
	s.Settled()
	if after := s.AWS("describe-instances", "--query", "Reservations[].Instances[].[InstanceId,State.Name,PrivateIpAddress]"); after != before {
		t.Errorf("instances before:\n%s\nafter:\n%s", before, after)
	}
	s.connectivity(allowed(client.id, server.tcp(80)...), dropped(client.id, server.tcp(22)...))
	s.opens(client.id, addr+":80")
	if out := s.AWS("get-console-output", "--instance-id", talkative, "--query", "Output"); !strings.Contains(out, "hello from user data") {
		t.Errorf("console output is %q", out)
	}
}

// opens waits until a port of an instance accepts, as its user data may still be starting.
func (s *host) opens(from, addr string) {
	s.t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	deadline := time.Now().Add(10 * time.Second)
	for {
		out, err := s.Command("exec", from, "--", "nc", "-z", "-w", "1", host, port).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not accept: %v %s", addr, err, out)
		}
	}
}

// After `sallyport down` the host is as it was before the installation: no
// namespace, link, pin or control group of it is left.
func TestDownLeavesNothing(t *testing.T) {
	installation.NeedsRoot(t)
	var s *site
	t.Cleanup(func() { // after down, which the installation's own cleanup runs
		if left := s.traces(); len(left) > 0 {
			t.Errorf("left on the host:\n%s", strings.Join(left, "\n"))
		}
		if pins, err := os.ReadDir("/sys/fs/bpf/sallyport"); err == nil && len(pins) == 0 {
			t.Error("the folder of pins is left, empty")
		}
	})
	s, _, _ = pair(t)
	if found := s.traces(); len(found) < 4 { // a router, two instances, a folder of pins
		t.Errorf("while it runs, an installation with two instances shows only %q: the test sees nothing", found)
	}
	s.Stop()
	if found := s.traces(); len(found) < 4 {
		t.Errorf("after Ctrl-C only %q is left: state and instances should stay", found)
	}
}

// traces lists what the installation has on the host. Everything carries its
// tag, the first digits of its data folder's hash; links are in its namespaces.
func (s *host) traces() []string {
	s.t.Helper()
	sum := sha256.Sum256([]byte(s.Data))
	tag := hex.EncodeToString(sum[:])[:6]
	var out []string
	for _, pattern := range []string{
		"/run/netns/*" + tag + "*", "/sys/fs/bpf/sallyport/" + tag,
		"/sys/fs/cgroup/*/sallyport-" + tag, "/sys/fs/cgroup/sallyport-" + tag,
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, found...)
	}
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range links {
		if regexp.MustCompile(`^e[0-9a-f]{14}$`).MatchString(l.Name()) {
			out = append(out, "link "+l.Name())
		}
	}
	return out
}
