// Command api measures the API's rates and latencies against moto server in
// the same run: the same signed requests, in turn. Sallyport verifies every
// signature and answers a write when it is on disk; moto verifies nothing and
// keeps everything in memory. Where moto is not installed, only ours is shown.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/sigv4"
)

const (
	groups   = 300 // with ten rules each; the default VPC's quota is 500
	rulesPer = 10
	writes   = 150 // of each kind
	reads    = 100
	readsAll = 5 // of everything at once: moto needs about half a second for one
)

// target is a server under test.
type target struct {
	name, url string
	creds     sigv4.Credentials
	client    *http.Client
	subnet    string
	group     string
	eni       string
	stop      func()
}

var idForm = regexp.MustCompile(`<(groupId|subnetId|networkInterfaceId)>([^<]+)<`)

// call sends one signed request and returns the answer's body.
func (t *target) call(params ...string) (string, error) {
	form := url.Values{"Version": {"2016-11-15"}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := []byte(form.Encode())
	r, err := http.NewRequest(http.MethodPost, t.url+"/", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := sigv4.Sign(r, body, t.creds, "us-east-1", "ec2", time.Now()); err != nil {
		return "", err
	}
	res, err := t.client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return string(text), err
}

func id(text, element string) string {
	for _, m := range idForm.FindAllStringSubmatch(text, -1) {
		if m[1] == element {
			return m[2]
		}
	}
	return ""
}

// series is one kind of request, n times.
type series struct {
	name   string
	n      int
	params func(t *target, i int) []string
}

func all() []series {
	return []series{
		{"CreateSecurityGroup", writes, func(_ *target, i int) []string {
			return []string{"Action", "CreateSecurityGroup", "GroupName", fmt.Sprintf("new%d", i), "GroupDescription", "d"}
		}},
		{"AuthorizeSecurityGroupIngress", 40, func(t *target, i int) []string {
			return []string{
				"Action", "AuthorizeSecurityGroupIngress", "GroupId", t.group, "IpPermissions.1.IpProtocol", "tcp",
				"IpPermissions.1.FromPort", fmt.Sprint(5000 + i), "IpPermissions.1.ToPort", fmt.Sprint(5000 + i), "IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8",
			}
		}},
		{"ModifyNetworkInterfaceAttribute", writes, func(t *target, i int) []string {
			return []string{"Action", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", t.eni, "Description.Value", fmt.Sprint(i)}
		}},
		{"DescribeNetworkInterfaces, one by id", reads, func(t *target, _ int) []string {
			return []string{"Action", "DescribeNetworkInterfaces", "NetworkInterfaceId.1", t.eni}
		}},
		{"DescribeSecurityGroups, one by id", reads, func(t *target, _ int) []string {
			return []string{"Action", "DescribeSecurityGroups", "GroupId.1", t.group}
		}},
		{fmt.Sprintf("DescribeSecurityGroups, %d x %d rules", groups, rulesPer), readsAll, func(*target, int) []string {
			return []string{"Action", "DescribeSecurityGroups", "Filter.1.Name", "description", "Filter.1.Value.1", "full"}
		}},
	}
}

// prepare makes what the series are about.
func (t *target) prepare() error {
	text, err := t.call("Action", "DescribeSubnets")
	if err != nil {
		return err
	}
	t.subnet = id(text, "subnetId")
	for i := range groups {
		text, err := t.call("Action", "CreateSecurityGroup", "GroupName", fmt.Sprintf("full%d", i), "GroupDescription", "full")
		if err != nil {
			return err
		}
		t.group = id(text, "groupId")
		params := []string{"Action", "AuthorizeSecurityGroupIngress", "GroupId", t.group}
		for r := range rulesPer {
			p := fmt.Sprintf("IpPermissions.%d.", r+1)
			params = append(params, p+"IpProtocol", "tcp", p+"FromPort", fmt.Sprint(r), p+"ToPort", fmt.Sprint(r), p+"IpRanges.1.CidrIp", "10.0.0.0/8")
		}
		if _, err := t.call(params...); err != nil {
			return err
		}
	}
	text, err = t.call("Action", "CreateNetworkInterface", "SubnetId", t.subnet, "SecurityGroupId.1", t.group)
	t.eni = id(text, "networkInterfaceId")
	return err
}

// measure runs a series one after the other; the result is sorted latencies.
func (t *target) measure(s series) ([]time.Duration, error) {
	out := make([]time.Duration, s.n)
	for i := range s.n {
		begun := time.Now()
		if _, err := t.call(s.params(t, i)...); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", s.name, t.name, err)
		}
		out[i] = time.Since(begun)
	}
	slices.Sort(out)
	return out, nil
}

func startSallyport(program string) (*target, error) {
	data, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "up", "--data", data, "--listen", "127.0.0.1:0", "--capacity", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &target{name: "sallyport", client: &http.Client{}, stop: func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = exec.Command(program, "down", "--data", data).Run() // nothing is there without root
		_ = os.RemoveAll(data)
	}}
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		if _, rest, ok := strings.Cut(scan.Text(), "sallyport is ready at "); ok {
			t.url = strings.Fields(rest)[0]
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // it goes on talking
	text, err := os.ReadFile(filepath.Join(data, "credentials.env"))
	if err != nil {
		t.stop()
		return nil, errors.Join(errors.New("sallyport did not start"), err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			t.creds.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			t.creds.SecretAccessKey = value
		}
	}
	return t, nil
}

func startMoto() (*target, error) {
	path, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-H", "127.0.0.1", "-p", fmt.Sprint(addr.Port))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &target{
		name: "moto", url: "http://" + addr.String(), client: &http.Client{},
		creds: sigv4.Credentials{AccessKeyID: "test", SecretAccessKey: "test"},
		stop:  func() { _ = cmd.Process.Kill(); _ = cmd.Wait() },
	}
	for range 100 {
		if _, err = t.call("Action", "DescribeRegions"); err == nil {
			return t, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.stop()
	return nil, err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/api:", err)
		os.Exit(1)
	}
}

func run() error {
	program := "bin/sallyport"
	if len(os.Args) > 1 {
		program = os.Args[1]
	}
	ours, err := startSallyport(program)
	if err != nil {
		return err
	}
	defer ours.stop()
	targets := []*target{ours}
	if moto, err := startMoto(); err != nil {
		fmt.Println("moto is left out:", err)
	} else {
		defer moto.stop()
		targets = append(targets, moto)
	}
	for _, t := range targets {
		if err := t.prepare(); err != nil {
			return err
		}
	}
	fmt.Printf("API, %s, %d cores, %s; one client, one request after the other\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	fmt.Println("sallyport: fsync on, signatures verified; moto server: in memory, verifies nothing. Goals: rate x20, latency 1/10.")
	fmt.Printf("\n%-42s %10s %10s %10s %10s %8s\n", "", "ours p50", "ours p99", "moto p50", "moto p99", "ratio")
	for _, s := range all() {
		var cells []string
		var medians []time.Duration
		for _, t := range targets {
			v, err := t.measure(s)
			if err != nil {
				return err
			}
			medians = append(medians, v[len(v)/2])
			cells = append(cells, fmt.Sprintf("%10s %10s", short(v[len(v)/2]), short(v[len(v)*99/100])))
		}
		line := fmt.Sprintf("%-42s %s", s.name, strings.Join(cells, " "))
		if len(medians) == 2 {
			ratio := float64(medians[1]) / float64(medians[0])
			line += fmt.Sprintf(" %7.1fx %s", ratio, map[bool]string{true: "met", false: "MISSED"}[ratio >= 20])
		}
		fmt.Println(line)
	}
	return nil
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.2fms", float64(d)/float64(time.Millisecond))
}
