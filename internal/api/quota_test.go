package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// twoServers share the world of one etcd.
func twoServers(t *testing.T) [2]*server {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd") //nolint:usetesting // TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "data")
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.MaxTxnOps, c.MaxRequestBytes = 1<<20, 16<<20
	socket := url.URL{Scheme: "unix", Path: filepath.Join(dir, "client")}
	peer := url.URL{Scheme: "unix", Path: filepath.Join(dir, "peer")}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{socket}, []url.URL{socket}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	o := store.Options{Endpoints: []string{socket.String()}, Prefix: store.DefaultPrefix}
	return [2]*server{newServerOn(t, o), newServerOn(t, o)}
}

// operator asks the server's unix socket.
func (s *server) operator(t *testing.T, method, path string, in, out any) apierr.Code {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.api.Control().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body)))
	if w.Code != http.StatusOK {
		var e struct{ Code apierr.Code }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return e.Code
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		t.Fatal(err)
	}
	return ""
}

// TestQuotasAreNeverExceeded lets clients of two servers that share a world ask for more than there may be, at once.
func TestQuotasAreNeverExceeded(t *testing.T) {
	t.Logf("seed %d", *seedFlag)
	servers := twoServers(t)
	r := rand.New(rand.NewPCG(*seedFlag, 1))
	set := map[string]int{
		"vpcs-per-region": 2 + r.IntN(3), "groups-per-vpc": 2 + r.IntN(3), "groups-per-region": 6 + r.IntN(4),
		"rules-per-group": 1 + r.IntN(4), "groups-per-interface": 1 + r.IntN(2), "interfaces-per-region": 1 + r.IntN(6),
	}
	var told answer.Quotas
	if code := servers[0].operator(t, http.MethodPost, "/api/v1/quotas", answer.QuotaChange{Set: set}, &told); code != "" {
		t.Fatal(code)
	}
	q := vpc.QuotaSetting{Overrides: set}.Quotas()
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			s, r := servers[n%2], rand.New(rand.NewPCG(*seedFlag, uint64(n)+2))
			for range 120 {
				got, err := s.send(t.Context(), greed(s, r))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answers[got.code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// Which of the others is reached depends on who came first.
	for _, code := range []apierr.Code{
		apierr.CodeSecurityGroupLimitExceeded, apierr.CodeRulesPerSecurityGroupLimitExceeded, apierr.CodeNetworkInterfaceLimitExceeded, "",
	} {
		if answers[string(code)] == 0 {
			t.Errorf("nothing was answered %q: %v", code, answers)
		}
	}
	checkQuotas(t, servers[1], q)
}

// greed is a random call that asks for one more of something.
func greed(s *server, r *rand.Rand) string {
	w := s.store.Snapshot()
	var groups, vpcs, subnets []string
	for e := range w.All(vpc.KindGroup) {
		groups = append(groups, e.Key())
	}
	for e := range w.All(vpc.KindVPC) {
		vpcs = append(vpcs, e.Key())
	}
	for e := range w.All(vpc.KindSubnet) {
		subnets = append(subnets, e.Key())
	}
	some := func(of []string) string { return of[r.IntN(len(of))] }
	port := fmt.Sprint(r.IntN(20))
	switch r.IntN(6) {
	case 0:
		return form("CreateVpc", "CidrBlock=10.0.0.0/16")
	case 1:
		return form("CreateSecurityGroup", "GroupDescription=x", "VpcId="+some(vpcs), fmt.Sprint("GroupName=g", r.IntN(30)))
	case 2:
		return form("CreateNetworkInterface", "SubnetId="+some(subnets))
	case 3:
		home := w.Subnet(vpc.SubnetID(subnets[0])).VPC
		params := []string{"SubnetId=" + subnets[0]}
		for g := range w.GroupsOf(home) {
			params = append(params, fmt.Sprintf("SecurityGroupId.%d=%s", len(params), g.ID))
			if r.IntN(3) == 0 {
				break
			}
		}
		return form("CreateNetworkInterface", params...)
	}
	source := []string{"IpRanges.1.CidrIp=10.0.0.0/8", "Ipv6Ranges.1.CidrIpv6=::/0", "Groups.1.GroupId="}[r.IntN(3)]
	id := some(groups)
	if strings.HasSuffix(source, "GroupId=") {
		source += id
	}
	direction := []string{"Ingress", "Egress"}[r.IntN(2)]
	return form("AuthorizeSecurityGroup"+direction, "GroupId="+id, "IpPermissions.1.IpProtocol=tcp",
		"IpPermissions.1.FromPort="+port, "IpPermissions.1.ToPort="+port, "IpPermissions.1."+source)
}

// checkQuotas counts what there is in the server's world, by itself.
func checkQuotas(t *testing.T, s *server, q vpc.Quotas) {
	t.Helper()
	w, err := s.store.Barrier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	within := func(what string, n, most int) {
		if n > most {
			t.Errorf("%s: %d of %d", what, n, most)
		}
	}
	count := map[vpc.Kind]int{}
	inVPC := map[vpc.VPCID]int{}
	rules := map[string]int{}
	for e := range w.All(vpc.KindGroup) {
		count[vpc.KindGroup]++
		inVPC[e.(*vpc.SecurityGroup).VPC]++
	}
	for e := range w.All(vpc.KindRule) {
		r := e.(*vpc.Rule)
		for family, counts := range map[string]bool{
			"IPv4": r.Source.Group != "" || r.Source.CIDR.Addr().Is4(), "IPv6": r.Source.Group != "" || r.Source.CIDR.Addr().Is6(),
		} {
			if counts {
				rules[fmt.Sprint(r.Group, " ", r.Direction, " ", family)]++
			}
		}
	}
	for e := range w.All(vpc.KindInterface) {
		count[vpc.KindInterface]++
		within(e.Key(), len(e.(*vpc.Interface).Groups), q.GroupsPerInterface)
	}
	for range w.All(vpc.KindVPC) {
		count[vpc.KindVPC]++
	}
	within("VPCs", count[vpc.KindVPC], q.VPCs)
	within("groups", count[vpc.KindGroup], q.Groups)
	within("interfaces", count[vpc.KindInterface], q.Interfaces)
	for id, n := range inVPC {
		within(string(id), n, q.GroupsPerVPC)
	}
	for set, n := range rules {
		within(set, n, q.RulesPerGroup)
	}
}

// TestQuotasOfAnAccount sets quotas through one server and sees them through another, and in the events.
func TestQuotasOfAnAccount(t *testing.T) {
	servers := twoServers(t)
	value := func(s *server, name string) answer.Quota {
		t.Helper()
		var list answer.Quotas
		s.operator(t, http.MethodGet, "/api/v1/quotas", nil, &list)
		if list.AccountID != string(iam.FirstAccount) || len(list.Quotas) != len(vpc.EveryQuota()) {
			t.Errorf("%+v", list)
		}
		for _, q := range list.Quotas {
			if q.Name == name {
				return q
			}
		}
		t.Fatalf("no %s in %+v", name, list)
		return answer.Quota{}
	}
	change := func(c answer.QuotaChange) apierr.Code {
		t.Helper()
		var list answer.Quotas
		return servers[0].operator(t, http.MethodPost, "/api/v1/quotas", c, &list)
	}
	const name = "rules-per-group"
	for _, test := range []struct {
		change answer.QuotaChange
		code   apierr.Code
		want   answer.Quota
	}{
		{answer.QuotaChange{}, "", answer.Quota{Name: name, Value: 50, Source: "profile", Profile: 50, Max: 1000}},
		{answer.QuotaChange{Set: map[string]int{name: 7}}, "", answer.Quota{Name: name, Value: 7, Source: "override", Profile: 50, Max: 1000}},
		{answer.QuotaChange{Profile: "aws-today"}, "", answer.Quota{Name: name, Value: 7, Source: "override", Profile: 60, Max: 1000}},
		{answer.QuotaChange{Set: map[string]int{name: 1001}}, apierr.CodeInvalidParameterValue, answer.Quota{Name: name, Value: 7, Source: "override", Profile: 60, Max: 1000}},
		{answer.QuotaChange{Reset: []string{name}}, "", answer.Quota{Name: name, Value: 60, Source: "profile", Profile: 60, Max: 1000}},
	} {
		if code := change(test.change); code != test.code {
			t.Errorf("%+v: %q", test.change, code)
		}
		if got := value(servers[1], name); got != test.want {
			t.Errorf("after %+v: %+v, want %+v", test.change, got, test.want)
		}
	}
	var events answer.Events
	servers[1].operator(t, http.MethodGet, "/api/v1/events?limit=10&action=ChangeQuotas", nil, &events)
	if len(events.Events) != 3 || events.Events[0].Account != iam.FirstAccount || len(events.Events[0].Changes) != 1 {
		t.Errorf("%d events of three changes: %+v", len(events.Events), events.Events)
	}
	if code := servers[0].operator(t, http.MethodPost, "/api/v1/quotas?account=000000000099", answer.QuotaChange{}, &events); code != apierr.CodeInvalidParameterValue {
		t.Errorf("quotas of no account: %q", code)
	}
	if code := servers[0].operator(t, http.MethodPost, "/api/v1/quotas", struct{ Shoes int }{2}, &events); code != apierr.CodeInvalidParameterValue {
		t.Errorf("a change of what is not: %q", code)
	}
}
