package clients_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
)

// answer is a body for botocore to parse, and what it makes of it.
type answer struct {
	Service string         `json:"service"`
	Action  string         `json:"action"`
	Status  int            `json:"status"`
	Body    string         `json:"body"`
	Sent    map[string]any `json:"sent"`
	Parsed  map[string]any `json:"parsed,omitempty"`
	// Unknown are the members, or the operation, that this botocore does not know; Sent is without them.
	Unknown []string `json:"unknown,omitempty"`
}

// modelVersion is the botocore that our model was cut from: it, and what came after it, knows all of it. An older
// one, such as Debian's, is held to what it knows.
const modelVersion = "1.43.11"

// older says whether the version a is before b.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x < y
		}
	}
	return false
}

// botocore is the Python that has botocore; without one the test is skipped.
func botocore(t *testing.T) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3, which is not installed")
	}
	if err := exec.CommandContext(t.Context(), python, "-c", "import botocore").Run(); err != nil {
		t.Skip("needs botocore, which python3 cannot import")
	}
	return python
}

// parseWithBotocore gives the bodies to botocore's own parsers, which the AWS CLI and boto3 use.
func parseWithBotocore(t *testing.T, in []answer) []answer {
	t.Helper()
	python := botocore(t)
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/parse.py")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("botocore: %v\n%s", err, exit.Stderr)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.UseNumber()
	var parsed struct {
		Version string
		Answers []answer
	}
	if err := dec.Decode(&parsed); err != nil || len(parsed.Answers) != len(in) {
		t.Fatalf("botocore parsed %d of %d bodies: %v", len(parsed.Answers), len(in), err)
	}
	for _, a := range parsed.Answers {
		if len(a.Unknown) > 0 && !older(parsed.Version, modelVersion) {
			t.Errorf("botocore %s does not know %v", parsed.Version, a.Unknown)
		}
	}
	return parsed.Answers
}

// fill sets everything in v to values that differ from one another.
func fill(v reflect.Value, next *int) {
	*next++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), next)
		fill(v.Index(1), next)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 1000*1000**next%1000, time.UTC)))
			return
		}
		for _, field := range v.Fields() {
			fill(field, next)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("é<&\"%d", *next))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*next))
	case reflect.Float64:
		v.SetFloat(float64(*next) / 8)
	case reflect.Bool:
		v.SetBool(*next%2 == 0)
	default:
		panic("a response has a member of kind " + v.Kind().String())
	}
}

// plain is a value as JSON has it, without what is absent.
func plain(t *testing.T, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	m := map[string]any{}
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A response with everything set arrives whole in botocore: nothing missing, nothing under another name.
func TestBotocoreReadsEveryResponse(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	var in []answer
	for _, a := range ec2.Actions() {
		version, expected := ec2.VersionCurrent, map[string]any{}
		if a.Service == ec2.ServiceSTS {
			version = ec2.VersionSTS
		}
		var response ec2.Response
		if a.Output {
			response = a.NewResponse()
			fill(reflect.ValueOf(response).Elem(), new(int))
			expected = plain(t, response)
		}
		in = append(in, answer{Service: string(a.Service), Action: a.Name, Status: 200, Sent: expected, Body: string(ec2.AppendResponse(nil, a, version, id, response))})
	}
	for i, got := range parseWithBotocore(t, in) {
		t.Run(got.Action, func(t *testing.T) {
			if slices.Contains(got.Unknown, got.Action) {
				t.Skip("this botocore does not know the operation")
			}
			got.Sent["ResponseMetadata"] = map[string]any{"RequestId": id, "HTTPStatusCode": json.Number("200"), "HTTPHeaders": map[string]any{}}
			if diff := cmp.Diff(got.Sent, got.Parsed, sameNumbers()); diff != "" {
				t.Errorf("(-sent +botocore):\n%s\n%s", diff, in[i].Body)
			}
		})
	}
}

// sameNumbers compares 1.0 with 1.
func sameNumbers() cmp.Option {
	return cmp.Comparer(func(a, b json.Number) bool {
		trim := func(n json.Number) string { return strings.TrimSuffix(n.String(), ".0") }
		return trim(a) == trim(b)
	})
}

// A list without elements is a key with an empty list: boto3's users index it.
func TestBotocoreSeesEmptyLists(t *testing.T) {
	a, err := ec2.Lookup("DescribeSecurityGroups")
	if err != nil {
		t.Fatal(err)
	}
	body := ec2.AppendResponse(nil, a, ec2.VersionCurrent, "id", &ec2.DescribeSecurityGroupsResult{
		SecurityGroups: []ec2.SecurityGroup{{GroupId: new("sg-1"), IpPermissions: []ec2.IpPermission{{IpProtocol: new("-1")}}}},
	})
	got := parseWithBotocore(t, []answer{{Service: "ec2", Action: a.Name, Status: 200, Sent: map[string]any{}, Body: string(body)}})[0].Parsed
	delete(got, "ResponseMetadata")
	empty := []any{}
	want := map[string]any{"SecurityGroups": []any{map[string]any{
		"GroupId":             "sg-1", // no Tags: an untagged group has no tagSet
		"IpPermissionsEgress": empty,
		"IpPermissions": []any{map[string]any{
			"IpProtocol": "-1", "IpRanges": empty, "Ipv6Ranges": empty, "PrefixListIds": empty, "UserIdGroupPairs": empty,
		}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +botocore):\n%s", diff)
	}
}

func TestBotocoreReadsErrors(t *testing.T) {
	e := apierr.New(apierr.CodeInvalidGroupNotFound, "The security group '%s' does not exist", "sg-<1>")
	in := []answer{
		{Service: "ec2", Action: "DescribeSecurityGroups", Status: ec2.Status(e.Code), Sent: map[string]any{}, Body: string(ec2.AppendError(nil, ec2.ServiceEC2, "id", e))},
		{Service: "sts", Action: "GetCallerIdentity", Status: ec2.Status(e.Code), Sent: map[string]any{}, Body: string(ec2.AppendError(nil, ec2.ServiceSTS, "id", e))},
	}
	for _, got := range parseWithBotocore(t, in) {
		t.Run(got.Service, func(t *testing.T) {
			said, _ := got.Parsed["Error"].(map[string]any)
			meta, _ := got.Parsed["ResponseMetadata"].(map[string]any)
			if said["Code"] != string(e.Code) || said["Message"] != e.Message || meta["RequestId"] != "id" {
				t.Errorf("botocore reads %v", got.Parsed)
			}
		})
	}
}
