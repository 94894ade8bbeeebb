package ops

import (
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestIDs(t *testing.T) {
	seed := sha256.Sum256([]byte("a"))
	a, b := NewIDs(seed), NewIDs(seed)
	form := regexp.MustCompile(`^sg-0[0-9a-f]{16}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := a.New("sg")
		if again := b.New("sg"); again != id {
			t.Fatalf("%s and %s from one seed", id, again)
		}
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%s, seen before: %v", id, seen[id])
		}
		seen[id] = true
	}
	if mac := a.MAC(); mac != b.MAC() || !regexp.MustCompile(`^02(:[0-9a-f]{2}){5}$`).MatchString(mac) {
		t.Errorf("MAC %s", mac)
	}
	if a.Bytes() != b.Bytes() {
		t.Error("two blocks from one seed")
	}
	if NewIDs(sha256.Sum256([]byte("b"))).New("sg") == NewIDs(seed).New("sg") {
		t.Error("one identifier from two seeds")
	}
}

// TestOperationsFitTheModel holds that each operation stands once, under the name of an action of the model, and
// has the model's answer: Return where it has no output.
func TestOperationsFitTheModel(t *testing.T) {
	last := ""
	for _, o := range Operations() {
		a, err := ec2.Lookup(o.Name)
		if err != nil || o.Name <= last {
			t.Errorf("%s after %s: %v", o.Name, last, err)
		}
		last = o.Name
		reading := strings.HasPrefix(o.Name, "Describe") || strings.HasPrefix(o.Name, "Get")
		if o.Writes == reading {
			t.Errorf("%s: writes %v", o.Name, o.Writes)
		}
		if a.Name != a.New().ActionName() {
			t.Errorf("%s is made by %s", a.New().ActionName(), a.Name)
		}
	}
	if _, ok := Lookup("CreateNonsense"); ok {
		t.Error("CreateNonsense is served")
	}
	if err := NotServed("X"); err.Error() != "InvalidAction: The action X is not valid for this web service." {
		t.Error(err)
	}
}

// TestEveryErrorIsTold holds that each code that some file can answer is answered in some story or awaited by some
// test.
func TestEveryErrorIsTold(t *testing.T) {
	stories, tests := contents(t, "testdata/story/*.txt"), contents(t, "*_test.go")
	codes := codeConstants(t)
	for _, pattern := range []string{"*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`apierr\.(Code\w+)`).FindAllStringSubmatch(string(source), -1) {
				code := codes[m[1]] + ": "
				if !strings.Contains(stories, " "+code) && !strings.Contains(tests, `"`+code) && !strings.Contains(tests, m[0]) {
					t.Errorf("%s can answer %s, which no story tells", file, codes[m[1]])
				}
			}
		}
	}
}

// contents is all files of a pattern, one after another.
func contents(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	return out.String()
}

// codeConstants reads the names and values of the constants of package apierr.
func codeConstants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../apierr/codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out[spec.Names[0].Name] = value
		}
		return true
	})
	return out
}

// TestTextsAreAsLongAsTheyMayBe tries the bounds of names and descriptions (G25, G26, G47).
func TestTextsAreAsLongAsTheyMayBe(t *testing.T) {
	s := newStory(t)
	s.vpc("172.31.0.0/16", []string{"default"})
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, description, rule string
		ok                      bool
	}{
		{long(255), long(255), long(255), true},
		{long(256), "x", "", false},
		{"x", long(256), "", false},
		{"y", "y", long(256), false},
		{"z", "z", " ._-:/()#,@[]+=;{}!$*aZ0", true},
	} {
		res, err := s.do("CreateSecurityGroup", []string{"GroupName=" + test.name, "GroupDescription=" + test.description})
		if err == nil {
			_, err = s.do("AuthorizeSecurityGroupIngress", []string{
				"GroupId=" + *res.(*ec2.CreateSecurityGroupResult).GroupId, "IpPermissions.1.IpProtocol=-1",
				"IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0", "IpPermissions.1.IpRanges.1.Description=" + test.rule,
			})
		}
		if test.ok != (err == nil) || err != nil && !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
			t.Errorf("%d, %d and %d characters: %v", len(test.name), len(test.description), len(test.rule), err)
		}
	}
}

// TestIPv6OpensUntouchedGroups associates an IPv6 block with a VPC: groups whose outbound rules are still the
// original ones get the one for IPv6, once (G33, G36).
func TestIPv6OpensUntouchedGroups(t *testing.T) {
	s := newStory(t)
	s.vpc("172.31.0.0/16", []string{"default"})
	made := func(name string) string {
		return *s.mustDo("CreateSecurityGroup", "GroupName="+name, "GroupDescription=x").(*ec2.CreateSecurityGroupResult).GroupId
	}
	all := []string{"IpPermissions.1.IpProtocol=-1", "IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"}
	made("untouched")
	s.mustDo("RevokeSecurityGroupEgress", append(all, "GroupId="+made("revoked"))...)
	again := append(all, "GroupId="+made("revoked-and-back"))
	s.mustDo("RevokeSecurityGroupEgress", again...)
	s.mustDo("AuthorizeSecurityGroupEgress", again...)
	s.mustDo("AuthorizeSecurityGroupEgress", "IpPermissions.1.IpProtocol=6", "IpPermissions.1.FromPort=1", "IpPermissions.1.ToPort=1",
		"IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0", "GroupId="+made("added"))
	s.mustDo("AuthorizeSecurityGroupIngress", append(all, "GroupId="+made("ingress"))...)
	modified := made("modified")
	rules := s.mustDo("DescribeSecurityGroupRules", "Filter.1.Name=group-id", "Filter.1.Value.1="+modified).(*ec2.DescribeSecurityGroupRulesResult)
	s.mustDo("ModifySecurityGroupRules", "GroupId="+modified,
		"SecurityGroupRule.1.SecurityGroupRuleId="+*rules.SecurityGroupRules[0].SecurityGroupRuleId,
		"SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1", "SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=10.0.0.0/8")
	s.mustDo("UpdateSecurityGroupRuleDescriptionsEgress", append(all, "IpPermissions.1.IpRanges.1.Description=ours", "GroupId="+made("described"))...)

	for range 2 { // a second block changes nothing
		s.commit(func(tx *state.Tx, c Call) {
			v := *tx.DefaultVPC(s.scope)
			v.IPv6Blocks = append(slices.Clone(v.IPv6Blocks), vpc.Block{Prefix: vpc.AllIPv6})
			tx.Put(&v)
			openIPv6Egress(tx, c, &v)
		})
	}
	for g := range s.world.GroupsIn(s.scope) {
		want := 0
		if slices.Contains([]string{"default", "untouched", "ingress", "described"}, g.Name) {
			want = 1
		}
		got := 0
		for r := range s.world.RulesOf(g.ID) {
			if r.Source.CIDR == vpc.AllIPv6 {
				got++
			}
		}
		if got != want {
			t.Errorf("%s has %d rules to ::/0, want %d", g.Name, got, want)
		}
	}
}

// TestGroupsOfAnInterface tries which groups an interface may carry (G2, G9, G77).
func TestGroupsOfAnInterface(t *testing.T) {
	s := newStory(t)
	s.vpc("172.31.0.0/16", []string{"default"})
	s.vpc("10.0.0.0/16", nil)
	home := s.world.DefaultVPC(s.scope).ID
	var ids []string
	for i := range 6 {
		ids = append(ids, *s.mustDo("CreateSecurityGroup", "GroupName=g"+fmt.Sprint(i), "GroupDescription=x").(*ec2.CreateSecurityGroupResult).GroupId)
	}
	elsewhere := ""
	for g := range s.world.GroupsIn(s.scope) {
		if g.VPC != home {
			elsewhere = string(g.ID)
		}
	}
	for _, test := range []struct {
		name   string
		groups []string
		want   int
		err    string
	}{
		{"five", ids[:5], 5, ""},
		{"twice the same", []string{ids[1], ids[0], ids[1]}, 2, ""},
		{"six", ids, 0, "SecurityGroupsPerInterfaceLimitExceeded: The maximum number of security groups per interface has been reached."},
		{"unknown", []string{"sg-00000000"}, 0, "InvalidSecurityGroupID.NotFound: The securityGroup ID 'sg-00000000' does not exist"},
		{"malformed", []string{"x"}, 0, `InvalidGroupId.Malformed: Invalid id: "x"`},
		{"of another VPC", []string{elsewhere}, 0, "InvalidParameter: Security group " + elsewhere + " and subnet subnet-1 belong to different networks."},
	} {
		got, err := interfaceGroups(s.world.Begin(), s.newCall(""), &usedGroupForm, test.groups, &vpc.Subnet{ID: "subnet-1", VPC: home})
		if len(got) != test.want || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	if g := defaultGroupOf(s.world.Begin(), home); g == nil || !g.IsDefault() || g.VPC != home { // G29
		t.Errorf("the default group is %v", g)
	}
}

// TestClientTokens sends a request again: alike, changed, and with another token.
func TestClientTokens(t *testing.T) {
	s := newStory(t)
	made := 0
	send := func(token, parameter string) (string, error) {
		tx := s.world.Begin()
		out, err := once(tx, s.newCall("CreateThing"), &token, struct{ P string }{parameter},
			func() (string, []string, error) {
				made++
				id := "x-" + strconv.Itoa(made)
				return "new " + id, []string{id}, nil
			},
			func(ids []string) (string, error) { return "old " + ids[0], nil })
		if err == nil {
			s.world = tx.Next(s.world.Revision() + 1)
		}
		return out, err
	}
	for _, test := range []struct{ token, parameter, want string }{
		{"a", "p", "new x-1"},
		{"a", "p", "old x-1"},
		{"b", "p", "new x-2"},
		{"", "p", "new x-3"},
		{"", "p", "new x-4"},
	} {
		if got, err := send(test.token, test.parameter); got != test.want || err != nil {
			t.Errorf("token %q, parameter %q: %q, %v; want %q", test.token, test.parameter, got, err, test.want)
		}
	}
	if _, err := send("a", "q"); !apierr.HasCode(err, apierr.CodeIdempotentParameterMismatch) || !strings.Contains(err.Error(), "x-1") {
		t.Errorf("other parameters: %v", err)
	}
	if _, err := send(strings.Repeat("a", 65), "q"); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
		t.Errorf("long token: %v", err)
	}
	s.scope.Account = "000000000002"
	if got, err := send("a", "q"); got != "new x-5" || err != nil {
		t.Errorf("another account's token: %q, %v", got, err)
	}
}

// TestTagLengths tries the bounds of tags, which count characters and not bytes.
func TestTagLengths(t *testing.T) {
	for _, test := range []struct {
		key, value int
		ok         bool
	}{{128, 256, true}, {129, 0, false}, {1, 257, false}} {
		_, err := parseTags([]ec2.Tag{{Key: new(strings.Repeat("ä", test.key)), Value: new(strings.Repeat("ß", test.value))}})
		if test.ok != (err == nil) {
			t.Errorf("%d and %d characters: %v", test.key, test.value, err)
		}
	}
	s := newStory(t)
	if _, err := findTagged(s.world.Begin(), s.newCall(""), make([]string, 1001)); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
		t.Errorf("1001 resources: %v", err)
	}
}

// manyGroups is a world of groups with ten rules each, and a caller in it.
func manyGroups(tb testing.TB, n int) (*state.Snapshot, Call) {
	tb.Helper()
	c := Call{
		Scope: vpc.Scope{Region: "us-east-1", Account: "000000000001"}, Action: "DescribeSecurityGroups",
		IDs: NewIDs([32]byte{}), Now: time.Unix(0, 0),
	}
	tx := state.NewSnapshot().Begin()
	v := &vpc.VPC{ID: "vpc-1", Scope: c.Scope, Default: true}
	tx.Put(v)
	for i := range n {
		g := newGroup(tx, c, v, "g"+strconv.Itoa(i), "many", nil)
		var in []ec2.IpPermission
		for p := range int32(9) {
			in = append(in, ec2.IpPermission{
				IpProtocol: new("tcp"), FromPort: new(p), ToPort: new(p),
				IpRanges: []ec2.IpRange{{CidrIp: new("10.0.0.0/8"), Description: new("office")}},
			})
		}
		if _, err := authorize(tx, c, g, 0, in, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return tx.Next(1), c
}

func BenchmarkDescribeSecurityGroups(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n)+"x10", func(b *testing.B) {
			w, c := manyGroups(b, n)
			op, _ := Lookup("DescribeSecurityGroups")
			a, _ := ec2.Lookup("DescribeSecurityGroups")
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				res, err := op.Run(w.Begin(), c, &ec2.DescribeSecurityGroupsRequest{})
				if err != nil {
					b.Fatal(err)
				}
				out = ec2.AppendResponse(out[:0], a, ec2.VersionCurrent, "r", res)
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	w, c := manyGroups(b, 1000)
	var id string
	for g := range w.GroupsIn(c.Scope) {
		id = string(g.ID)
	}
	op, _ := Lookup("AuthorizeSecurityGroupIngress")
	req := &ec2.AuthorizeSecurityGroupIngressRequest{
		GroupId: &id, IpProtocol: new("tcp"), FromPort: new(int32(99)), ToPort: new(int32(99)), CidrIp: new("10.0.0.0/8"),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Run(w.Begin(), c, req); err != nil {
			b.Fatal(err)
		}
	}
}
