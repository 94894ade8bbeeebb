package api_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/api"
	"sallyport.dev/sallyport/internal/sigv4"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// operator serves what the host's operator can ask of a server's world.
func operator(t *testing.T, s *server) *httptest.Server {
	t.Helper()
	o := api.New(api.Options{Store: s.store, Log: slog.New(slog.DiscardHandler), Now: time.Now, Home: "us-east-1"})
	h := httptest.NewServer(o.Control())
	t.Cleanup(h.Close)
	return h
}

// ask sends a request and gives status and body.
func ask(t *testing.T, c *http.Client, r *http.Request) (int, string) {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func newRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAccountsHavePlatforms(t *testing.T) {
	h := operator(t, newServer(t))
	for _, row := range []struct {
		wanted string
		status int
		part   string // of the answer
	}{
		{`{"AccountId":"000000000002","Platforms":["EC2","VPC"]}`, 200, `"Platforms":["EC2","VPC"]`},
		{`{"AccountId":"000000000003","Platforms":["EC2"]}`, 400, "An account has the platforms EC2 and VPC, or VPC alone"},
		{`{"AccountId":"000000000003","Platforms":["VPC"]}`, 200, `"AccountId":"000000000003"`},
	} {
		status, body := ask(t, h.Client(), newRequest(t, http.MethodPost, h.URL+"/api/v1/accounts", row.wanted))
		if status != row.status || !strings.Contains(body, row.part) {
			t.Errorf("%s: %d %s", row.wanted, status, body)
		}
	}
	_, list := ask(t, h.Client(), newRequest(t, http.MethodGet, h.URL+"/api/v1/accounts", ""))
	if n := strings.Count(list, "Platforms"); n != 1 {
		t.Errorf("%d accounts of three tell platforms: %s", n, list)
	}
}

// TestExplainAcrossAccounts: the host's operator may ask between accounts; who signed is told of his own alone.
func TestExplainAcrossAccounts(t *testing.T) {
	s := newServer(t)
	h := operator(t, s)
	_, err := s.store.Do(t.Context(), func(tx *state.Tx) error {
		network := vpc.ClassicNetwork("us-east-1")
		for n, account := range []vpc.AccountID{"000000000001", "000000000002"} {
			owner, id := vpc.Scope{Account: account, Region: "us-east-1"}, string(rune('a'+n))
			tx.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + id), Scope: owner, VPC: network, State: vpc.Running})
			tx.Put(&vpc.SecurityGroup{ID: vpc.GroupID("sg-" + id), Scope: owner, VPC: network, Name: id})
			tx.Put(&vpc.Interface{
				ID: vpc.InterfaceID("eni-" + id), Scope: owner, VPC: network, Groups: []vpc.GroupID{vpc.GroupID("sg-" + id)},
				Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(4 + n)})}, Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + id)},
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const query = "/api/v1/explain?from=i-a&to=i-b&protocol=tcp&port=80"
	status, body := ask(t, h.Client(), newRequest(t, http.MethodGet, h.URL+query, ""))
	if status != http.StatusOK || !strings.Contains(body, "sg-b") || !strings.Contains(body, "ec2-classic-outbound") {
		t.Errorf("the operator is answered %d %s", status, body)
	}
	r := newRequest(t, http.MethodGet, s.URL+query, "")
	if err := sigv4.Sign(r, nil, s.key, "us-east-1", "sallyport", time.Now()); err != nil {
		t.Fatal(err)
	}
	if status, body := ask(t, s.Client(), r); status != http.StatusBadRequest || strings.Contains(body, "sg-b") {
		t.Errorf("the first account is answered %d %s", status, body)
	}
}

// TestUnservedActions are InvalidAction whatever their parameters are.
func TestUnservedActions(t *testing.T) {
	s := newServer(t)
	for _, action := range []string{"AttachClassicLinkVpc", "DescribeVpcClassicLink", "CreateNonsense"} {
		got, err := s.send(t.Context(), form(action))
		if err != nil || got.code != "InvalidAction" || got.status != http.StatusBadRequest {
			t.Errorf("%s: %+v, %v", action, got, err)
		}
	}
}
