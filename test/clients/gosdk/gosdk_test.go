// Package gosdk_test holds our wire against the AWS SDK for Go, whole, in both directions.
//
// It stands alone because the SDK's EC2 package takes more than a minute to compile.
package gosdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/sigv4"
)

const requestID = "11111111-2222-3333-4444-555555555555"

// server answers the SDK's requests in its own process: it verifies the signature, decodes the request and
// encodes a response with everything set, or the refusal.
type server struct {
	request  ec2.Request
	response ec2.Response
	refusal  *apierr.Error
}

// Do is the HTTP client that the SDK is given.
func (s *server) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	secretOf := func(string) (string, bool) { return "secret", true }
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	verifier := sigv4.NewVerifier(sigv4.Options{Services: []string{"ec2"}})
	if _, err := verifier.Verify(r, body, time.Now(), secretOf); err != nil {
		return nil, err
	}
	p, err := ec2.ParseForm(r.URL.RawQuery, string(body))
	if err != nil {
		return nil, err
	}
	action, err := p.Action()
	if err != nil {
		return nil, err
	}
	version, err := ec2.ParseVersion(ec2.ServiceEC2, p)
	if err != nil {
		return nil, err
	}
	if s.request, err = ec2.Decode(action, p); err != nil {
		return nil, err
	}
	a, err := ec2.Lookup(action)
	if err != nil {
		return nil, err
	}
	out, status := ec2.AppendResponse(nil, a, version, requestID, s.response), http.StatusOK
	if s.refusal != nil {
		out, status = ec2.AppendError(nil, ec2.ServiceEC2, requestID, s.refusal), ec2.Status(s.refusal.Code)
	}
	header := http.Header{"Content-Type": {ec2.ContentType}, "X-Amzn-Requestid": {requestID}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(out)), Request: r}, nil
}

func newClient(s *server) *sdk.Client {
	return sdk.New(sdk.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://127.0.0.1:4750"),
		HTTPClient:   s,
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		}),
	})
}

// fill sets every exported field in v to values that differ from one another.
func fill(v reflect.Value, next *int) {
	*next++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{0, 255, byte(*next)})
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), next)
		fill(v.Index(1), next)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, *next%60, 0, time.UTC)))
			return
		}
		for f, field := range v.Fields() {
			if f.IsExported() && !slices.Contains(newer(), v.Type().Name()+"."+f.Name) {
				fill(field, next)
			}
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("é<&\" +%%%d", *next))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*next))
	case reflect.Float64:
		v.SetFloat(float64(*next) / 8)
	case reflect.Bool:
		v.SetBool(*next%2 == 0)
	default:
		panic("a member of kind " + v.Kind().String())
	}
}

// plain is a value as JSON has it, without what is absent and without the SDK's own fields.
func plain(t *testing.T, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "ResultMetadata")
	dropNulls(m)
	return m
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil || x == "" { // an enumeration that is absent
				delete(v, k)
			}
			dropNulls(x)
		}
	case []any:
		for _, x := range v {
			dropNulls(x)
		}
	}
}

// newer are members of requests that this version of the SDK knows and our model does not. Members of responses
// need no list: the SDK reads what it gets.
func newer() []string {
	return []string{"CreateFlowLogsInput.TagFieldSpecifications", "ModifyInstanceAttributeInput.EnclaveOptions"}
}

// Every request with everything set arrives whole; every response with everything set is read whole.
func TestGoSDK(t *testing.T) {
	for _, a := range ec2.Actions() {
		if a.Service != ec2.ServiceEC2 {
			continue
		}
		t.Run(a.Name, func(t *testing.T) {
			s := &server{}
			call := reflect.ValueOf(newClient(s)).MethodByName(a.Name)
			input := reflect.New(call.Type().In(1).Elem())
			fill(input.Elem(), new(int))
			want := map[string]any{}
			if a.Output {
				s.response = a.NewResponse()
				fill(reflect.ValueOf(s.response).Elem(), new(int))
				want = plain(t, s.response)
			}
			results := call.Call([]reflect.Value{reflect.ValueOf(t.Context()), input})
			if err, _ := reflect.TypeAssert[error](results[1]); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain(t, input.Interface()), plain(t, s.request)); diff != "" {
				t.Errorf("request (-SDK +ours):\n%s", diff)
			}
			if diff := cmp.Diff(want, plain(t, results[0].Interface())); diff != "" {
				t.Errorf("response (-ours +SDK):\n%s", diff)
			}
		})
	}
}

func TestGoSDKReadsErrors(t *testing.T) {
	s := &server{refusal: apierr.New(apierr.CodeDryRunOperation, "Request would have succeeded, but DryRun flag is set.")}
	_, err := newClient(s).DescribeVpcs(t.Context(), &sdk.DescribeVpcsInput{DryRun: aws.Bool(true)})
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != "DryRunOperation" || api.ErrorMessage() != s.refusal.Message || !strings.Contains(err.Error(), requestID) {
		t.Errorf("the SDK reads %v", err)
	}
}
