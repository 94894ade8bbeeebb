package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// What every server holds before anything is measured: groups that carry ten
// rules each, in five VPCs (an account's quota), fewer than 500 in each (the
// quota of a VPC).
const (
	rulesEach  = 10
	written    = 200 // in the default VPC: those that get rules
	hundred    = 100 // in a VPC of their own
	thousand   = 1000
	stored     = written + hundred + thousand
	interfaces = 64
	furnishers = 8 // clients that furnish
)

// thousandIn says how the thousand groups are spread over three VPCs.
var thousandIn = []int{400, 400, 200}

// world is what a server was furnished with.
type world struct {
	subnet     string
	written    []string // group ids
	vpcHundred string
	vpcsOther  []string // of the thousand
	interfaces []string

	mu   sync.Mutex
	next map[string]int // numbers that were given out, by series
	made []string       // groups to delete again
}

// number counts the requests of a series, over all rounds.
func (w *world) number(series string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next[series]++
	return w.next[series]
}

var idForm = regexp.MustCompile(`<(groupId|vpcId|subnetId|networkInterfaceId)>([^<]+)<`)

// id is the first identifier of an element.
func id(text, element string) string {
	for _, m := range idForm.FindAllStringSubmatch(text, -1) {
		if m[1] == element {
			return m[2]
		}
	}
	return ""
}

// full is the description of the groups that are counted in answers.
const full = "full of rules"

// furnish makes the world.
func (t *target) furnish(ctx context.Context) error {
	w := &t.world
	w.next = map[string]int{}
	text, err := t.call(ctx, []string{"Action", "DescribeSubnets"})
	if err != nil {
		return err
	}
	w.subnet = id(text, "subnetId")
	if w.written, err = t.groups(ctx, id(text, "vpcId"), written); err != nil {
		return err
	}
	for i, n := range append([]int{hundred}, thousandIn...) {
		text, err := t.call(ctx, []string{"Action", "CreateVpc", "CidrBlock", fmt.Sprintf("10.%d.0.0/16", 100+i)})
		if err != nil {
			return err
		}
		vpc := id(text, "vpcId")
		if _, err := t.groups(ctx, vpc, n); err != nil {
			return err
		}
		if i == 0 {
			w.vpcHundred = vpc
		} else {
			w.vpcsOther = append(w.vpcsOther, vpc)
		}
	}
	w.interfaces = make([]string, interfaces)
	return t.each(ctx, interfaces, func(ctx context.Context, i int) error {
		text, err := t.call(ctx, []string{"Action", "CreateNetworkInterface", "SubnetId", w.subnet, "SecurityGroupId.1", w.written[i]})
		w.interfaces[i] = id(text, "networkInterfaceId")
		return err
	})
}

// each does n things with several clients.
func (t *target) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(furnishers)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// groups makes n groups with their rules.
func (t *target) groups(ctx context.Context, vpc string, n int) ([]string, error) {
	ids := make([]string, n)
	err := t.each(ctx, n, func(ctx context.Context, i int) error {
		text, err := t.call(ctx, []string{
			"Action", "CreateSecurityGroup", "GroupName", "full-" + strconv.Itoa(i), "GroupDescription", full, "VpcId", vpc,
		})
		if err != nil {
			return err
		}
		ids[i] = id(text, "groupId")
		params := []string{"Action", "AuthorizeSecurityGroupIngress", "GroupId", ids[i]}
		for r := range rulesEach {
			params = append(params, permission(r+1, 1000+r, fmt.Sprintf("10.0.%d.0/24", r))...)
		}
		_, err = t.call(ctx, params)
		return err
	})
	return ids, err
}

func permission(n, port int, cidr string) []string {
	p := fmt.Sprintf("IpPermissions.%d.", n)
	return []string{p + "IpProtocol", "tcp", p + "FromPort", strconv.Itoa(port), p + "ToPort", strconv.Itoa(port), p + "IpRanges.1.CidrIp", cidr}
}

// series is one kind of request. The numbers of requests are for one round and
// one server; quotas bound those of writes.
type series struct {
	name   string
	single int // by one client
	many   int // by several together; 0: not measured so
	groups int // how many full groups the answer must hold; 0: any
	params func(w *world, n int) []string
	// after sees each answer of a write that is to be undone.
	after func(w *world, answer string)
}

func all() []series {
	const single, many = 40, 256
	byVPC := func(vpcs ...string) []string {
		p := []string{"Action", "DescribeSecurityGroups", "Filter.1.Name", "description", "Filter.1.Value.1", full, "Filter.2.Name", "vpc-id"}
		for i, v := range vpcs {
			p = append(p, "Filter.2.Value."+strconv.Itoa(i+1), v)
		}
		return p
	}
	return []series{
		{name: "CreateSecurityGroup", single: single, many: many, params: func(_ *world, n int) []string {
			return []string{"Action", "CreateSecurityGroup", "GroupName", "new-" + strconv.Itoa(n), "GroupDescription", "new"}
		}, after: func(w *world, answer string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.made = append(w.made, id(answer, "groupId"))
		}},
		{name: "AuthorizeSecurityGroupIngress, 1 rule", single: single, many: many, params: func(w *world, n int) []string {
			p := []string{"Action", "AuthorizeSecurityGroupIngress", "GroupId", w.written[n%written]}
			return append(p, permission(1, 10_000+n, "10.0.0.0/8")...)
		}},
		{name: "ModifyNetworkInterfaceAttribute, groups", single: single, many: many, params: func(w *world, n int) []string {
			return []string{
				"Action", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", w.interfaces[n%interfaces],
				"SecurityGroupId.1", w.written[n%written], "SecurityGroupId.2", w.written[(n+1)%written],
			}
		}},
		{name: "DescribeNetworkInterfaces, 1 by id", single: single, many: many, params: func(w *world, n int) []string {
			return []string{"Action", "DescribeNetworkInterfaces", "NetworkInterfaceId.1", w.interfaces[n%interfaces]}
		}},
		{name: fmt.Sprintf("DescribeSecurityGroups, 1 by id of %d", stored), single: single, many: many, groups: 1, params: func(w *world, n int) []string {
			return []string{"Action", "DescribeSecurityGroups", "GroupId.1", w.written[n%written]}
		}},
		{name: "DescribeSecurityGroups, 1 by name", single: single, many: many, groups: 1, params: func(w *world, n int) []string {
			return append(byVPC(w.vpcHundred), "Filter.3.Name", "group-name", "Filter.3.Value.1", "full-"+strconv.Itoa(n%hundred))
		}},
		{name: "DescribeSecurityGroups, 100", single: 6, many: 16, groups: hundred, params: func(w *world, _ int) []string { return byVPC(w.vpcHundred) }},
		{name: "DescribeSecurityGroups, 1000", single: 2, groups: thousand, params: func(w *world, _ int) []string { return byVPC(w.vpcsOther...) }},
	}
}

// one sends the next request of a series and checks the answer.
func (t *target) one(ctx context.Context, s *series) error {
	answer, err := t.call(ctx, s.params(&t.world, t.world.number(s.name)))
	if err != nil {
		return err
	}
	if got := strings.Count(answer, "<groupDescription>"+full+"<"); s.groups > 0 && got != s.groups {
		return fmt.Errorf("%d groups in the answer, want %d", got, s.groups)
	}
	if s.after != nil {
		s.after(&t.world, answer)
	}
	return nil
}

// undo deletes the groups that a series made, so that the quota is never reached.
func (t *target) undo(ctx context.Context) error {
	w := &t.world
	err := t.each(ctx, len(w.made), func(ctx context.Context, i int) error {
		_, err := t.call(ctx, []string{"Action", "DeleteSecurityGroup", "GroupId", w.made[i]})
		return err
	})
	w.made = nil
	return err
}
