package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sallyport.dev/sallyport/internal/answer"
)

// asking are the flags of commands that ask a server.
type asking struct {
	flags  *flag.FlagSet
	env    *environment
	data   *string
	output *string
	scope  struct{ account, region *string }
}

func newAsking(env *environment, name string) *asking {
	a := &asking{flags: newFlags(env, name), env: env}
	a.data = dataFlag(a.flags, env)
	a.output = a.flags.String("o", "text", "output: text or json")
	a.scope.account = a.flags.String("account", "", "the account; default: the server's first")
	a.scope.region = a.flags.String("region", "", "the region; default: the server's own")
	return a
}

func (a *asking) client() (*client, error) {
	if *a.output != "text" && *a.output != "json" {
		return nil, fmt.Errorf("output %q is neither text nor json", *a.output)
	}
	return newClient(a.env, *a.data, *a.scope.account, *a.scope.region)
}

func (a *asking) json() bool { return *a.output == "json" }

func runExplain(ctx context.Context, env *environment, args []string) (int, error) {
	a := newAsking(env, "explain")
	from := a.flags.String("from", "", "where the flow begins: i-…, eni-…, an address or internet")
	to := a.flags.String("to", "", "where it goes: i-…, eni-…, an address or internet")
	protocol := a.flags.String("protocol", "tcp", "tcp, udp, icmp, icmpv6 or a number")
	port := a.flags.String("port", "", "the destination port; for icmp the type, or type-code")
	vpcID := a.flags.String("vpc", "", "the VPC in which addresses are looked for")
	v6 := a.flags.Bool("6", false, "prefer the ends' IPv6 addresses")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	q := url.Values{"from": {*from}, "to": {*to}, "protocol": {*protocol}, "port": {*port}, "vpc": {*vpcID}, "ipv6": {strconv.FormatBool(*v6)}}
	var answer answer.Explanation
	if err := c.call(ctx, http.MethodGet, "explain", q, nil, &answer); err != nil {
		return exitError, err
	}
	code := exitNo
	if answer.Reachable {
		code = exitOK
	}
	if a.json() {
		return code, printJSON(env.stdout, answer)
	}
	env.sayf("%s", answer.Text())
	return code, nil
}

func runStatus(ctx context.Context, env *environment, args []string) (int, error) {
	a := newAsking(env, "status")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	var st answer.Status
	if err := c.call(ctx, http.MethodGet, "status", nil, nil, &st); err != nil {
		return exitError, err
	}
	code := exitOK
	if !st.Enforced {
		code = exitNo
	}
	if a.json() {
		return code, printJSON(env.stdout, st)
	}
	printStatus(env, st)
	return code, nil
}

func printStatus(env *environment, st answer.Status) {
	env.sayf("world: revision %d\n", st.Revision)
	if len(st.Hosts) == 0 {
		env.sayf("no host is connected: nothing is enforced\n")
	}
	for _, h := range st.Hosts {
		connected := "connected"
		if !h.Connected {
			connected = "NOT CONNECTED since " + h.LastSeen.Format(time.RFC3339)
		}
		env.sayf("host %s: %s, kernel at revision %d, room for %d instances\n", h.HostID, connected, h.Revision, h.Capacity)
		w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
		for _, i := range h.Interfaces {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\trevision %d\t%s\n", i.NetworkInterfaceID, i.InstanceID, i.PrivateIPAddress, i.Status, i.Revision, i.Reason)
		}
		_ = w.Flush() // writes to the terminal; nobody to tell
	}
}

func runWait(ctx context.Context, env *environment, args []string) (int, error) {
	a := newAsking(env, "wait")
	revision := a.flags.Uint64("revision", 0, "the revision (header x-sallyport-revision of an answer); 0: the newest")
	timeout := a.flags.Duration("timeout", 30*time.Second, "how long to wait")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	q := url.Values{"revision": {strconv.FormatUint(*revision, 10)}, "timeout": {timeout.String()}}
	var res answer.WaitResult
	if err := c.call(ctx, http.MethodGet, "wait", q, nil, &res); err != nil {
		return exitError, err
	}
	code := exitNo
	if res.Reached {
		code = exitOK
	}
	if a.json() {
		return code, printJSON(env.stdout, res)
	}
	if res.Reached {
		env.sayf("revision %d is in the kernel of every bound interface\n", res.Revision)
		return code, nil
	}
	env.sayf("revision %d is not everywhere: %s\n", res.Revision, res.Lagging)
	return code, nil
}

func runEvents(ctx context.Context, env *environment, args []string) (int, error) {
	a := newAsking(env, "events")
	resource := a.flags.String("resource", "", "only changes of this id")
	limit := a.flags.Int("limit", 50, "at most so many, the newest first")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	q := url.Values{"resource": {*resource}, "limit": {strconv.Itoa(*limit)}}
	var res answer.Events
	if err := c.call(ctx, http.MethodGet, "events", q, nil, &res); err != nil {
		return exitError, err
	}
	if a.json() {
		return exitOK, printJSON(env.stdout, res)
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, e := range res.Events {
		var ids []string
		for _, ch := range e.Changes {
			ids = append(ids, ch.ID)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", e.Revision, e.Time.Format(time.RFC3339), e.Principal, e.Action, strings.Join(ids, " "))
	}
	return exitOK, w.Flush()
}
