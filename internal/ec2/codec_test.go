package ec2_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
)

// decode parses and decodes a form with its Action.
func decode(form string) (ec2.Request, error) {
	p, err := ec2.ParseForm(form)
	if err != nil {
		return nil, err
	}
	action, err := p.Action()
	if err != nil {
		return nil, err
	}
	return ec2.Decode(action, p)
}

func TestDecode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name, form string
		want       ec2.Request
	}{
		{
			"protocol parameters are no members",
			"Action=CreateVpc&Version=2016-11-15&AWSAccessKeyId=a&Signature=b&SignatureVersion=2&SignatureMethod=HmacSHA256&Timestamp=t&Expires=e&SecurityToken=s&X-Amz-Date=d&x-amz-signature=z&CidrBlock=10.0.0.0%2F16",
			&ec2.CreateVpcRequest{CidrBlock: new("10.0.0.0/16")},
		},
		{
			"list out of order, with gaps, from zero, more than nine",
			"Action=CreateTags&ResourceId.10=c&ResourceId.0=a&ResourceId.9=b&Tag.7.Key=k",
			&ec2.CreateTagsRequest{Resources: []string{"a", "b", "c"}, Tags: []ec2.Tag{{Key: new("k")}}},
		},
		{
			"an index of any size",
			"Action=DescribeVpcs&VpcId.99999999999999999999999=b&VpcId.2=a",
			&ec2.DescribeVpcsRequest{VpcIds: []string{"a", "b"}},
		},
		{
			"an empty list",
			"Action=DescribeVpcs&VpcId=&Filter=",
			&ec2.DescribeVpcsRequest{VpcIds: []string{}, Filters: []ec2.Filter{}},
		},
		{
			"empty is not absent, plus is a space",
			"Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId=sg-1&SecurityGroupRuleDescription.1.Description=&SecurityGroupRuleDescription.1.SecurityGroupRuleId=a+b%2B",
			&ec2.UpdateSecurityGroupRuleDescriptionsIngressRequest{
				GroupId:                       new("sg-1"),
				SecurityGroupRuleDescriptions: []ec2.SecurityGroupRuleDescription{{SecurityGroupRuleId: new("a b+"), Description: new("")}},
			},
		},
		{
			"empty pairs and pairs without a value",
			"&&Action=CreateSecurityGroup&&GroupDescription&GroupName=&",
			&ec2.CreateSecurityGroupRequest{Description: new(""), GroupName: new("")},
		},
		{
			"ModifyInstanceAttribute names its groups GroupId, and a blob is base64",
			"Action=ModifyInstanceAttribute&InstanceId=i&GroupId.1=sg-1&UserData.Value=aGk%3D&DisableApiTermination.Value=false",
			&ec2.ModifyInstanceAttributeRequest{
				InstanceId: new("i"), Groups: []string{"sg-1"}, UserData: &ec2.BlobAttributeValue{Value: []byte("hi")},
				DisableApiTermination: &ec2.AttributeBooleanValue{Value: new(false)},
			},
		},
		{
			"numbers below zero, and times",
			"Action=DescribeNetworkInsightsAnalyses&AnalysisStartTime=2026-01-02T03%3A04%3A05Z&AnalysisEndTime=2026-01-02T05%3A04%3A05.000%2B02:00&MaxResults=-7",
			&ec2.DescribeNetworkInsightsAnalysesRequest{AnalysisStartTime: &at, AnalysisEndTime: &at, MaxResults: new(int32(-7))},
		},
		{"an operation without members", "Action=GetCallerIdentity&Version=2011-06-15", &ec2.GetCallerIdentityRequest{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decode(c.form)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, c := range []struct {
		name, form string
		code       apierr.Code
		message    string
	}{
		{"no action", "Version=2016-11-15", "MissingAction", "The request must contain the parameter Action"},
		{"unknown action", "Action=MakeCoffee", "InvalidAction", "The action MakeCoffee is not valid for this web service."},
		{"action in another case", "Action=createvpc", "InvalidAction", "The action createvpc is not valid for this web service."},
		{"unknown parameter", "Action=DescribeVpcs&Colour=red", "UnknownParameter", "The parameter Colour is not recognized"},
		{"parameter in another case", "Action=DescribeVpcs&vpcId.1=x", "UnknownParameter", "The parameter vpcId.1 is not recognized"},
		{"the member's name where the wire has another", "Action=DescribeVpcs&Filters.1.Name=x", "UnknownParameter", "The parameter Filters.1.Name is not recognized"},
		{"unknown parameter within a list", "Action=DescribeVpcs&Filter.1.Name=x&Filter.1.Values.1=y", "UnknownParameter", "The parameter Filter.1.Values.1 is not recognized"},
		{"no DryRun there", "Action=ModifyVpcAttribute&VpcId=v&DryRun=true", "UnknownParameter", "The parameter DryRun is not recognized"},
		{"list without an index", "Action=DescribeVpcs&VpcId=vpc-1", "UnknownParameter", "The parameter VpcId is not recognized"},
		{"STS-style list", "Action=DescribeVpcs&VpcId.member.1=vpc-1", "UnknownParameter", "The parameter VpcId.member.1 is not recognized"},
		{"index with leading zero", "Action=DescribeVpcs&VpcId.1=a&VpcId.01=b", "UnknownParameter", "The parameter VpcId.01 is not recognized"},
		{"negative index", "Action=DescribeVpcs&VpcId.-1=b", "UnknownParameter", "The parameter VpcId.-1 is not recognized"},
		{"scalar with an index", "Action=CreateSecurityGroup&GroupName.1=x", "UnknownParameter", "The parameter GroupName.1 is not recognized"},
		{"scalar and more", "Action=CreateSecurityGroup&GroupName=a&GroupName.1=x", "UnknownParameter", "The parameter GroupName.1 is not recognized"},
		{"structure as scalar", "Action=ModifyVpcAttribute&VpcId=v&EnableDnsSupport=true", "UnknownParameter", "The parameter EnableDnsSupport is not recognized"},
		{"element as scalar", "Action=DescribeVpcs&Filter.1=x", "UnknownParameter", "The parameter Filter.1 is not recognized"},
		{"empty segment", "Action=DescribeVpcs&Filter..Name=x", "UnknownParameter", "The parameter Filter..Name is not recognized"},
		{"name ending in a dot", "Action=DescribeVpcs&VpcId.1.=x", "UnknownParameter", "The parameter VpcId.1. is not recognized"},
		{"too deep", "Action=DescribeVpcs&Filter" + strings.Repeat(".1", 40) + "=x", "UnknownParameter", "The parameter Filter" + strings.Repeat(".1", 40) + " is not recognized"},
		{"name too long", "Action=DescribeVpcs&" + long[:300] + "=1", "UnknownParameter", "The parameter " + long[:128] + "… is not recognized"},
		{"unknown before missing", "Action=CreateVpc&Color=1&DeleteSecurityGroup=1", "UnknownParameter", "The parameter Color is not recognized"},
		{"unknown before wrong type", "Action=DescribeVpcs&MaxResults=x&Zebra=1", "UnknownParameter", "The parameter Zebra is not recognized"},
		{"not a number", "Action=DescribeVpcs&MaxResults=ten", "InvalidParameterValue", "Value (ten) for parameter MaxResults is invalid. Expecting an integer."},
		{"number with a fraction", "Action=DescribeVpcs&MaxResults=1.0", "InvalidParameterValue", "Value (1.0) for parameter MaxResults is invalid. Expecting an integer."},
		{"number too large", "Action=DescribeVpcs&MaxResults=2147483648", "InvalidParameterValue", "Value (2147483648) for parameter MaxResults is invalid. Expecting an integer."},
		{"number with a sign or none", "Action=DescribeVpcs&MaxResults=", "InvalidParameterValue", "Value () for parameter MaxResults is invalid. Expecting an integer."},
		{"not a boolean", "Action=DescribeVpcs&DryRun=yes", "InvalidParameterValue", "Value (yes) for parameter DryRun is invalid. Expecting true or false."},
		{"not a time", "Action=DescribeNetworkInsightsAnalyses&AnalysisEndTime=noon", "InvalidParameterValue", "Value (noon) for parameter AnalysisEndTime is invalid. Expecting a time like 2006-01-02T15:04:05Z."},
		{"not base64", "Action=ModifyInstanceAttribute&InstanceId=i&UserData.Value=%21", "InvalidParameterValue", "Value (!) for parameter UserData.Value is invalid. Expecting base64."},
		{"empty enumeration", "Action=CreateVpc&InstanceTenancy=", "InvalidParameterValue", "Value () for parameter InstanceTenancy is invalid. It must not be empty."},
		{"wrong type deep in a list", "Action=AuthorizeSecurityGroupIngress&IpPermissions.3.FromPort=http", "InvalidParameterValue", "Value (http) for parameter IpPermissions.3.FromPort is invalid. Expecting an integer."},
		{"repeated", "Action=DescribeVpcs&VpcId.1=a&VpcId.1=b", "InvalidParameterValue", "The parameter VpcId.1 is given more than once"},
		{"repeated action", "Action=DescribeVpcs&Action=DeleteVpc", "InvalidParameterValue", "The parameter Action is given more than once"},
		{"required", "Action=CreateSecurityGroup&GroupName=x", "MissingParameter", "The request must contain the parameter GroupDescription"},
		{"required list, EC2's own spelling", "Action=CreateTags&Tag.1.Key=x", "MissingParameter", "The request must contain the parameter resourceIdSet"},
		{"required list, empty", "Action=CreateTags&ResourceId=&Tag.1.Key=x", "MissingParameter", "The request must contain the parameter resourceIdSet"},
		{"required in an element", "Action=ModifySecurityGroupRules&GroupId=sg-1&SecurityGroupRule.1.SecurityGroupRuleId=a&SecurityGroupRule.2.SecurityGroupRule.IpProtocol=-1", "MissingParameter", "The request must contain the parameter SecurityGroupRule.2.SecurityGroupRuleId"},
		{"broken escape in a value", "Action=DescribeVpcs&VpcId.1=%4", "MalformedQueryString", "The query string is malformed: the value of VpcId.1 has a broken escape"},
		{"broken escape in a name", "Action=DescribeVpcs&Vpc%zz=1", "MalformedQueryString", `The query string is malformed: the name "Vpc%zz" has a broken escape`},
		{"NUL", "Action=CreateVpc&CidrBlock=a%00b", "InvalidCharacter", "The value of the parameter CidrBlock has a character that is not allowed: it must be UTF-8 without NUL"},
		{"not UTF-8", "Action=CreateVpc&CidrBlock=%ff", "InvalidCharacter", "The value of the parameter CidrBlock has a character that is not allowed: it must be UTF-8 without NUL"},
		{"name not UTF-8", "Action=CreateVpc&%ff=1", "InvalidCharacter", `The name of the parameter "\xff" has a character that is not allowed`},
		{"value too long", "Action=CreateVpc&CidrBlock=" + long, "InvalidParameterValue", "Value (" + long[:128] + "…) for parameter CidrBlock is invalid. It is longer than 65536 bytes."},
		{"too many parameters", "Action=CreateVpc" + strings.Repeat("&", 10_000), "InvalidQueryParameter", "The request has more than 10000 parameters."},
		{"too many bytes", "Action=CreateVpc&CidrBlock=" + strings.Repeat("x", 1<<20), "InvalidQueryParameter", "The request is larger than 1048576 bytes."},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := decode(c.form)
			if r != nil || err == nil {
				t.Fatalf("decoded %#v", r)
			}
			if diff := cmp.Diff(apierr.New(c.code, "%s", c.message), apierr.From(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is kept of a request does not keep its body.
func TestDecodedTextIsACopy(t *testing.T) {
	form := "Action=CreateVpc&CidrBlock=10.0.0.0/16&InstanceTenancy=default"
	r, err := decode(form)
	if err != nil {
		t.Fatal(err)
	}
	vpc, ok := r.(*ec2.CreateVpcRequest)
	if !ok {
		t.Fatalf("decoded %T", r)
	}
	for _, kept := range []string{*vpc.CidrBlock, string(vpc.InstanceTenancy)} {
		i := strings.Index(form, kept)
		if i < 0 || unsafe.StringData(form[i:]) == unsafe.StringData(kept) {
			t.Errorf("%q lies in the form (at %d)", kept, i)
		}
	}
}

// A request in the query and again in the body has one value for a parameter, or is refused.
func TestQueryAndBody(t *testing.T) {
	p, err := ec2.ParseForm("Action=DescribeVpcs&X-Amz-Date=x", "VpcId.1=a")
	if err != nil || p.Len() != 3 {
		t.Fatalf("%v, %v", p, err)
	}
	if v, ok := p.Get("VpcId.1"); !ok || v != "a" {
		t.Errorf("VpcId.1 = %q, %t", v, ok)
	}
	var names []string
	for name := range p.All() {
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"Action", "VpcId.1", "X-Amz-Date"}, names); diff != "" {
		t.Error(diff)
	}
	if _, err := ec2.ParseForm("VpcId.1=a", "VpcId.1=a"); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
		t.Errorf("one parameter in both: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		service ec2.Service
		query   string
		code    apierr.Code
	}{
		{ec2.ServiceEC2, "Version=2016-11-15", ""},
		{ec2.ServiceEC2, "Version=2008-02-01", ""},
		{ec2.ServiceEC2, "Version=2010-11-15", ""},
		{ec2.ServiceEC2, "Version=2007-12-31", "NoSuchVersion"},
		{ec2.ServiceEC2, "Version=2016-11-16", "NoSuchVersion"},
		{ec2.ServiceEC2, "Version=2014-02-30", "NoSuchVersion"},
		{ec2.ServiceEC2, "Version=2014-2-3", "NoSuchVersion"},
		{ec2.ServiceEC2, "Version=latest", "NoSuchVersion"},
		{ec2.ServiceEC2, "Version=", "MissingParameter"},
		{ec2.ServiceEC2, "", "MissingParameter"},
		{ec2.ServiceSTS, "Version=2011-06-15", ""},
		{ec2.ServiceSTS, "Version=2016-11-15", "NoSuchVersion"},
	} {
		t.Run(string(c.service)+" "+c.query, func(t *testing.T) {
			p, err := ec2.ParseForm(c.query)
			if err != nil {
				t.Fatal(err)
			}
			v, err := ec2.ParseVersion(c.service, p)
			if c.code == "" && (err != nil || "Version="+string(v) != c.query) || c.code != "" && !apierr.HasCode(err, c.code) {
				t.Errorf("got %q, %v; want code %q", v, err, c.code)
			}
		})
	}
	if v := ec2.Version("2010-11-15"); !v.Before("2011-01-01") || v.Before("2010-11-15") || v.Before("2009-07-15") {
		t.Error("Before compares wrongly")
	}
}

func TestStatus(t *testing.T) {
	for code, want := range map[apierr.Code]int{
		"InvalidGroup.NotFound": 400, "RequestExpired": 400, "DryRunOperation": 412, "AuthFailure": 401, "UnauthorizedOperation": 403,
		"RequestLimitExceeded": 503, "Unavailable": 503, "InternalError": 500, "": 500,
	} {
		if got := ec2.Status(code); got != want {
			t.Errorf("Status(%q) = %d %s, want %d", code, got, http.StatusText(got), want)
		}
	}
}

func TestActions(t *testing.T) {
	all := ec2.Actions()
	if len(all) != 128 || !slices.IsSortedFunc(all, func(a, b ec2.Action) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("%d actions, or not sorted", len(all))
	}
	for name, want := range map[string]string{
		"DescribeSecurityGroups": "ec2 dry=true paginated=true output=true",
		"CreateTags":             "ec2 dry=true paginated=false output=false",
		"ModifyVpcAttribute":     "ec2 dry=false paginated=false output=false",
		"GetCallerIdentity":      "sts dry=false paginated=false output=true",
	} {
		a, err := ec2.Lookup(name)
		got := fmt.Sprintf("%s dry=%t paginated=%t output=%t", a.Service, a.DryRun, a.Paginated, a.Output)
		if err != nil || got != want || a.New().ActionName() != name || a.Output != (a.NewResponse != nil) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	r, err := decode("Action=DescribeVpcs&DryRun=true")
	if err != nil || !r.WantsDryRun() {
		t.Errorf("WantsDryRun of DryRun=true: %v", err)
	}
	if (&ec2.DescribeVpcsRequest{}).WantsDryRun() || (&ec2.ModifyVpcAttributeRequest{}).WantsDryRun() {
		t.Error("WantsDryRun without DryRun")
	}
}

const declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func TestEnvelopes(t *testing.T) {
	lookup := func(name string) ec2.Action {
		a, err := ec2.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	refusal := apierr.New("InvalidGroup.NotFound", "The security group '%s' does not exist", "<&>")
	for _, c := range []struct{ name, got, want string }{
		{
			"a response",
			string(ec2.AppendResponse(nil, lookup("CreateSecurityGroup"), "2014-06-15", "id-1", &ec2.CreateSecurityGroupResult{GroupId: new("sg-1")})),
			`<CreateSecurityGroupResponse xmlns="http://ec2.amazonaws.com/doc/2014-06-15/"><requestId>id-1</requestId><groupId>sg-1</groupId></CreateSecurityGroupResponse>`,
		},
		{
			"tags that were given and are none",
			string(ec2.AppendResponse(nil, lookup("CreateSecurityGroup"), "2016-11-15", "id-1", &ec2.CreateSecurityGroupResult{Tags: []ec2.Tag{}})),
			`<CreateSecurityGroupResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><tagSet/></CreateSecurityGroupResponse>`,
		},
		{
			"a rule has all four lists",
			string(ec2.AppendResponse(nil, lookup("DescribeSecurityGroups"), "2016-11-15", "id-1", &ec2.DescribeSecurityGroupsResult{
				SecurityGroups: []ec2.SecurityGroup{{GroupId: new("sg-1"), IpPermissions: []ec2.IpPermission{{IpProtocol: new("-1"), IpRanges: []ec2.IpRange{{CidrIp: new("0.0.0.0/0")}}}}}},
			})),
			`<DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><securityGroupInfo><item><groupId>sg-1</groupId><ipPermissionsEgress/>` +
				`<ipPermissions><item><ipProtocol>-1</ipProtocol><groups/><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges><ipv6Ranges/><prefixListIds/></item></ipPermissions></item></securityGroupInfo></DescribeSecurityGroupsResponse>`,
		},
		{
			"an action that only returns",
			string(ec2.AppendResponse(nil, lookup("CreateTags"), "2016-11-15", "id-1", nil)),
			`<CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><return>true</return></CreateTagsResponse>`,
		},
		{
			"the same, said",
			string(ec2.AppendResponse(nil, lookup("CreateTags"), "2016-11-15", "id-1", ec2.Return{})),
			`<CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><return>true</return></CreateTagsResponse>`,
		},
		{
			"nothing to say",
			string(ec2.AppendResponse(nil, lookup("CreateVpc"), "2016-11-15", "id-1", (*ec2.CreateVpcResult)(nil))),
			`<CreateVpcResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId></CreateVpcResponse>`,
		},
		{
			"STS",
			string(ec2.AppendResponse(nil, lookup("GetCallerIdentity"), "2011-06-15", "id-1", &ec2.GetCallerIdentityResponse{Account: new("000000000001")})),
			`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>000000000001</Account></GetCallerIdentityResult>` +
				`<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`,
		},
		{
			"an error",
			string(ec2.AppendError(nil, ec2.ServiceEC2, "id-1", refusal)),
			`<Response><Errors><Error><Code>InvalidGroup.NotFound</Code><Message>The security group &#39;&lt;&amp;&gt;&#39; does not exist</Message></Error></Errors><RequestID>id-1</RequestID></Response>`,
		},
		{
			"an error of STS",
			string(ec2.AppendError(nil, ec2.ServiceSTS, "id-1", apierr.New("InvalidClientTokenId", "no"))),
			`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>no</Message></Error><RequestId>id-1</RequestId></ErrorResponse>`,
		},
		{
			"an error of STS that is ours",
			string(ec2.AppendError(nil, ec2.ServiceSTS, "id-1", apierr.New("InternalFailure", "oh"))),
			`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>oh</Message></Error><RequestId>id-1</RequestId></ErrorResponse>`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(declaration+c.want, c.got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// throughXML is the text as a parser reads it back.
func throughXML(tb testing.TB, text string) string {
	tb.Helper()
	body := ec2.AppendError(nil, ec2.ServiceEC2, "id", &apierr.Error{Code: "C", Message: text})
	var r struct {
		Message string `xml:"Errors>Error>Message"`
		ID      string `xml:"RequestID"`
	}
	if err := xml.Unmarshal(body, &r); err != nil || r.ID != "id" {
		tb.Fatalf("%v, id %q, in %q", err, r.ID, body)
	}
	return r.Message
}

// carried is what XML can carry of a text; the definition, against which the fast way is held.
func carried(text string) string {
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestTextSurvivesXML(t *testing.T) {
	for _, text := range []string{
		"", "plain", `a<b>&"c'`, "]]>", "tab\tline\nreturn\r\n", "\x00\x01\x1f\x7f\u0080", "\ufffe\uffff\ufffd", "caf\xe9", "漢字😀", "\xed\xa0\x80", "&amp;", "<!--",
	} {
		if got, want := throughXML(t, text), carried(text); got != want {
			t.Errorf("%q comes back as %q, want %q", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a<b>&\"c'\r\n\x00\xff\ufffe")
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := throughXML(t, text), carried(text); got != want {
			t.Errorf("%q comes back as %q, want %q", text, got, want)
		}
	})
}

// Whatever comes, a request is decoded or refused in words that XML can carry; and what was decoded does not
// depend on the order in which it was sent.
func FuzzDecode(f *testing.F) {
	for i, g := range goldens(f) {
		if i%20 == 0 {
			f.Add(g.form())
		}
	}
	f.Fuzz(func(t *testing.T, form string) {
		got, err := decode(form)
		if err != nil {
			e := apierr.From(err)
			if e.Code == apierr.CodeInternalError || e.Message == "" || len(e.Message) > 4096 {
				t.Errorf("refused with %v", e)
			}
			throughXML(t, e.Message)
			return
		}
		pairs := strings.Split(form, "&")
		slices.Reverse(pairs)
		again, err := decode(strings.Join(pairs, "&"))
		if err != nil {
			t.Fatalf("in reverse: %v", err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("in reverse (-forth +back):\n%s", diff)
		}
	})
}

// manyGroups is the body that DescribeSecurityGroups has to write on a busy day.
func manyGroups(groups, rules int) *ec2.DescribeSecurityGroupsResult {
	r := &ec2.DescribeSecurityGroupsResult{}
	for g := range groups {
		sg := ec2.SecurityGroup{
			GroupId: new(fmt.Sprintf("sg-%017x", g)), GroupName: new(fmt.Sprintf("group-%d", g)), OwnerId: new("000000000001"),
			VpcId: new("vpc-0123456789abcdef0"), Description: new("a group of the benchmark"),
			SecurityGroupArn: new(fmt.Sprintf("arn:aws:ec2:us-east-1:000000000001:security-group/sg-%017x", g)),
		}
		for p := range rules {
			sg.IpPermissions = append(sg.IpPermissions, ec2.IpPermission{
				IpProtocol: new("tcp"), FromPort: new(int32(p)), ToPort: new(int32(p)),
				IpRanges: []ec2.IpRange{{CidrIp: new(fmt.Sprintf("10.0.%d.0/24", p)), Description: new("an office")}},
			})
		}
		r.SecurityGroups = append(r.SecurityGroups, sg)
	}
	return r
}

func TestEncodeAllocatesNothing(t *testing.T) {
	a, err := ec2.Lookup("DescribeSecurityGroups")
	if err != nil {
		t.Fatal(err)
	}
	r := manyGroups(10, 10)
	buf := ec2.AppendResponse(nil, a, ec2.VersionCurrent, "id", r)
	if n := testing.AllocsPerRun(10, func() { buf = ec2.AppendResponse(buf[:0], a, ec2.VersionCurrent, "id", r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEncode1000GroupsOf10Rules(b *testing.B) {
	a, err := ec2.Lookup("DescribeSecurityGroups")
	if err != nil {
		b.Fatal(err)
	}
	r := manyGroups(1000, 10)
	buf := ec2.AppendResponse(nil, a, ec2.VersionCurrent, "id", r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = ec2.AppendResponse(buf[:0], a, ec2.VersionCurrent, "id", r)
	}
}

func BenchmarkDecode(b *testing.B) {
	rules := strings.Builder{}
	for i := range 1000 {
		fmt.Fprintf(&rules, "&IpPermissions.%d.IpProtocol=tcp&IpPermissions.%d.FromPort=%d&IpPermissions.%d.ToPort=%d&IpPermissions.%d.IpRanges.1.CidrIp=10.0.0.0%%2F8", i+1, i+1, i, i+1, i, i+1)
	}
	for _, c := range []struct{ name, form string }{
		{"describe", "Action=DescribeSecurityGroups&Version=2016-11-15&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-0123456789abcdef0&Filter.2.Name=group-name&Filter.2.Value.1=web"},
		{"authorize", "Action=AuthorizeSecurityGroupIngress&Version=2016-11-15&GroupId=sg-0123456789abcdef0&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=443&IpPermissions.1.ToPort=443&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0%2F8"},
		{"authorize1000", "Action=AuthorizeSecurityGroupIngress&Version=2016-11-15&GroupId=sg-0123456789abcdef0" + rules.String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(c.form); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
