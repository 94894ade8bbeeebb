package api_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// hostile is a request that no honest client sends.
type hostile struct {
	name string
	form string
	code string
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i+1)
	}
	return b.String()
}

func hostileRequests(group string) []hostile {
	const describe = "Action=DescribeSecurityGroups&Version=2016-11-15"
	authorize := "Action=AuthorizeSecurityGroupIngress&Version=2016-11-15&GroupId=" + group
	permission := authorize + "&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=%s&IpPermissions.1.ToPort=%s&IpPermissions.1.IpRanges.1.CidrIp=%s"
	create := "Action=CreateSecurityGroup&Version=2016-11-15&GroupName=%s&GroupDescription=x"
	return []hostile{
		{"no action", "Version=2016-11-15", "MissingAction"},
		{"no such action", "Action=DropAllTables&Version=2016-11-15", "InvalidAction"},
		{"an action of another service", "Action=GetCallerIdentity&Version=2011-06-15", "InvalidAction"},
		{"an action left for later", "Action=CreateFlowLogs&Version=2016-11-15&ResourceId.1=vpc-1&ResourceType=VPC", "InvalidAction"},
		{"another case", "Action=describesecuritygroups&Version=2016-11-15", "InvalidAction"},
		{"no version", "Action=DescribeSecurityGroups", "MissingParameter"},
		{"a version of tomorrow", "Action=DescribeSecurityGroups&Version=2099-01-01", "NoSuchVersion"},
		{"no version at all", "Action=DescribeSecurityGroups&Version=latest", "NoSuchVersion"},
		{"100,000 parameters", describe + numbered(100_000, "&GroupId.%d=x"), "InvalidQueryParameter"},
		{"as many as there may be, none known", describe + numbered(9_000, "&X.%d=1"), "UnknownParameter"},
		{"as many as there may be, all malformed", describe + numbered(9_000, "&GroupId.%d=x"), "InvalidGroupId.Malformed"},
		{"10 MiB in one value", describe + "&NextToken=" + strings.Repeat("a", 10<<20), "InvalidQueryParameter"},
		{"10 MiB of names", describe + "&" + strings.Repeat("a", 10<<20), "InvalidQueryParameter"},
		{"a value of 128 KiB", describe + "&NextToken=" + strings.Repeat("a", 128<<10), "InvalidParameterValue"},
		{"a deep list", describe + "&GroupId" + strings.Repeat(".1", 100) + "=x", "UnknownParameter"},
		{"a list too deep for its structure", authorize + "&IpPermissions.1.IpRanges.1.CidrIp.1=x", "UnknownParameter"},
		{"a very deep list", describe + "&GroupId" + strings.Repeat(".1", 10_000) + "=x", "UnknownParameter"},
		{"an index beyond numbers, which only orders", describe + "&GroupId.99999999999999999999=sg-1", "InvalidGroup.NotFound"},
		{"a negative index", describe + "&GroupId.-1=sg-1", "UnknownParameter"},
		{"member lists of another protocol", describe + "&GroupId.member.1=sg-1", "UnknownParameter"},
		{"NUL in a value", fmt.Sprintf(create, "a%00b"), "InvalidCharacter"},
		{"NUL in a name", describe + "&Group%00Id=1", "InvalidCharacter"},
		{"invalid UTF-8", fmt.Sprintf(create, "%ff%fe"), "InvalidCharacter"},
		{"a surrogate in UTF-8", fmt.Sprintf(create, "%ed%a0%80"), "InvalidCharacter"},
		{"a broken escape", fmt.Sprintf(create, "%zz"), "MalformedQueryString"},
		{"markup in a name", fmt.Sprintf(create, "%3C%26%3E%22%27"), "InvalidParameterValue"},
		{"beyond ASCII in a name", fmt.Sprintf(create, "%C3%A9"), "InvalidParameterValue"},
		{"a line break in a name", fmt.Sprintf(create, "a%0Ab"), "InvalidParameterValue"},
		{"a name of 256 characters", fmt.Sprintf(create, strings.Repeat("a", 256)), "InvalidParameterValue"},
		{"a port beyond 32 bits", fmt.Sprintf(permission, "99999999999", "99999999999", "10.0.0.0/8"), "InvalidParameterValue"},
		{"a port beyond 16 bits", fmt.Sprintf(permission, "65536", "65536", "10.0.0.0/8"), "InvalidParameterValue"},
		{"a port in hexadecimal", fmt.Sprintf(permission, "0x50", "0x50", "10.0.0.0/8"), "InvalidParameterValue"},
		{"a block with a zone", fmt.Sprintf(permission, "80", "80", "fe80::1%25eth0/64"), "InvalidParameterValue"},
		{"a block with leading zeros", fmt.Sprintf(permission, "80", "80", "010.0.0.0/8"), "InvalidParameterValue"},
		{"a block with a blank", fmt.Sprintf(permission, "80", "80", "10.0.0.0/8+"), "InvalidParameterValue"},
		{"a mapped block", fmt.Sprintf(permission, "80", "80", "::ffff:10.0.0.0/104"), "InvalidParameterValue"},
		{"a parameter twice", authorize + "&GroupId=" + group, "InvalidParameterValue"},
		{"one rule twice", fmt.Sprintf(permission, "80", "80", "10.0.0.0/8") + "&IpPermissions.1.IpRanges.2.CidrIp=10.9.9.9/8", "InvalidParameterValue"},
		{"a good rule before a bad one", fmt.Sprintf(permission, "80", "80", "10.0.0.0/8") + "&IpPermissions.1.IpRanges.2.CidrIp=nonsense", "InvalidParameterValue"},
		{"1,500 rules", authorize + "&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=1&IpPermissions.1.ToPort=1" +
			numbered(1500, "&IpPermissions.1.IpRanges.%[1]d.CidrIp=10.%[1]d.0.0/32"), "InvalidParameterValue"},
		{"more rules than a group may have", authorize + "&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=1&IpPermissions.1.ToPort=1" +
			numbered(250, "&IpPermissions.1.IpRanges.%[1]d.CidrIp=10.%[1]d.0.0/32"), "RulesPerSecurityGroupLimitExceeded"},
		{"a boolean that is none", describe + "&DryRun=perhaps", "InvalidParameterValue"},
		{"a negative page", describe + "&MaxResults=-5", "InvalidParameterValue"},
		{"a token of nobody", describe + "&MaxResults=5&NextToken=%00", "InvalidCharacter"},
		{"51 filters", describe + numbered(51, "&Filter.%[1]d.Name=group-id&Filter.%[1]d.Value.1=x"), "FilterLimitExceeded"},
		{"201 values", describe + "&Filter.1.Name=group-id" + numbered(201, "&Filter.1.Value.%d=x"), "FilterLimitExceeded"},
		{"a filter of stars", describe + "&Filter.1.Name=group-name&Filter.1.Value.1=" + strings.Repeat("*a", 128), "InvalidParameterValue"},
		{"an unknown filter", describe + "&Filter.1.Name=colour&Filter.1.Value.1=red", "InvalidParameterValue"},
	}
}

// memoryMax bounds what one request may make the server allocate: ten times the largest body that is read.
const memoryMax = 64 << 20

// TestHostileRequests holds that bad input gets AWS's error, changes nothing and costs little.
func TestHostileRequests(t *testing.T) {
	s := newServer(t)
	group := string(s.group(t, "default").ID)
	for _, h := range hostileRequests(group) {
		t.Run(h.name, func(t *testing.T) {
			before := s.store.Snapshot().Revision()
			var start, end runtime.MemStats
			runtime.ReadMemStats(&start)
			got, err := s.send(t.Context(), h.form)
			runtime.ReadMemStats(&end)
			if err != nil {
				t.Fatal(err)
			}
			if got.code != h.code || got.status/100 != 4 {
				t.Errorf("%d %s: %.200s; want %s", got.status, got.code, got.message, h.code)
			}
			if len(got.body) > 4<<10 {
				t.Errorf("the refusal has %d bytes", len(got.body))
			}
			if now := s.store.Snapshot().Revision(); now != before {
				t.Errorf("revision %d became %d", before, now)
			}
			if n := end.TotalAlloc - start.TotalAlloc; n > memoryMax {
				t.Errorf("%d MiB were allocated", n>>20)
			}
		})
	}
}

// TestHostileMethods holds that other methods, and bodies without a signature, are refused before they are read.
func TestHostileMethods(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct {
		method, body string
		code         string
	}{
		{http.MethodPut, form("DescribeSecurityGroups"), "UnsupportedProtocol"},
		{http.MethodDelete, "", "UnsupportedProtocol"},
		{http.MethodPost, form("DescribeSecurityGroups"), "MissingAuthenticationToken"},
		{http.MethodPost, "{}", "MissingAuthenticationToken"},
		{http.MethodGet, "", "MissingAuthenticationToken"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, s.URL+"/", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.do(r)
		if err != nil || got.status/100 != 4 {
			t.Errorf("%s %q: %d %s, %v", test.method, test.body, got.status, got.code, err)
		}
		if test.code != got.code {
			t.Errorf("%s %q: %s: %s, want %s", test.method, test.body, got.code, got.message, test.code)
		}
	}
}

// TestMarkupIsText holds that what a client may store comes back as the text that it was.
func TestMarkupIsText(t *testing.T) {
	s := newServer(t)
	id := string(s.group(t, "default").ID)
	const text = `</value></item><script>alert("&amp;'x'")</script>]]>`
	if got := s.call(t, "CreateTags", "ResourceId.1="+id, "Tag.1.Key="+text, "Tag.1.Value="+text); got.status != http.StatusOK {
		t.Fatal(got.body)
	}
	got := s.call(t, "DescribeTags", "Filter.1.Name=resource-id", "Filter.1.Value.1="+id)
	if strings.Contains(got.body, "<script>") || !strings.Contains(got.body, "&lt;script&gt;") {
		t.Error(got.body)
	}
}
