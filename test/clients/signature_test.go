package clients_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/sigv4"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// receive starts a server that verifies each request it gets with the secret and decodes it, and gives its
// address. It answers an error's text, or the identity's service, region and session token and the action.
func receive(t *testing.T, secret string) string {
	t.Helper()
	verifier := sigv4.NewVerifier(sigv4.Options{Services: []string{"ec2", "sts"}})
	serve := func(r *http.Request) (string, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return "", err
		}
		id, err := verifier.Verify(r, body, time.Now(), func(id string) (string, bool) { return secret, id == keyID })
		if err != nil {
			return "", err
		}
		p, err := ec2.ParseForm(r.URL.RawQuery, string(body))
		if err != nil {
			return "", err
		}
		action, err := p.Action()
		if err != nil {
			return "", err
		}
		if _, err := ec2.Decode(action, p); err != nil {
			return "", err
		}
		return strings.TrimSpace(strings.Join([]string{id.Service, id.Region, action, id.SessionToken}, " ")), nil
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := serve(r)
		if err != nil {
			text = err.Error()
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// What botocore signs, in headers and presigned, verifies after a real trip through HTTP; with another secret
// nothing does.
func TestBotocoreSignatures(t *testing.T) {
	python := botocore(t)
	out, err := exec.CommandContext(t.Context(), python, "testdata/sign.py", keyID, secret).Output()
	if err != nil {
		t.Fatalf("botocore: %v", err)
	}
	var signed []struct {
		Name, Method, URL, Body string
		Headers                 map[string]string
	}
	if err := json.Unmarshal(out, &signed); err != nil || len(signed) != 7 {
		t.Fatalf("botocore signed %d requests: %v", len(signed), err)
	}
	want := map[string]string{
		"ec2": "ec2 eu-west-1 DescribeVpcs", "sts": "sts eu-west-1 GetCallerIdentity", "path prefix": "ec2 eu-west-1 DescribeVpcs",
		"session token": "ec2 eu-west-1 DescribeVpcs to/ken+==", "presigned None": "ec2 eu-west-1 DescribeVpcs",
		"presigned to/ken+==": "ec2 eu-west-1 DescribeVpcs to/ken+==", "presigned sts": "sts eu-west-1 GetCallerIdentity",
	}
	right, wrong := receive(t, secret), receive(t, "another")
	for _, s := range signed {
		t.Run(s.Name, func(t *testing.T) {
			for address, want := range map[string]string{right: want[s.Name], wrong: "verifying the signature: signature: the signature is another one"} {
				r, err := http.NewRequestWithContext(t.Context(), s.Method, s.URL, strings.NewReader(s.Body))
				if err != nil {
					t.Fatal(err)
				}
				for name, value := range s.Headers {
					r.Header.Set(name, value)
				}
				r.Host, r.URL.Host = r.URL.Host, address // signed for one address, sent to another
				if got := send(t, r); got != want {
					t.Errorf("%s %s\ngot  %s\nwant %s", s.Method, s.URL, got, want)
				}
			}
		})
	}
}

func send(t *testing.T, r *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestCurlSignatures(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl, which is not installed")
	}
	address := receive(t, secret)
	for name, args := range map[string][]string{
		"post": {"http://" + address + "/", "--data", "Action=DescribeVpcs&Version=2016-11-15"},
		"get":  {"http://" + address + "/?Action=DescribeVpcs&Version=2016-11-15"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-sS", "--noproxy", "*", "--user", keyID + ":" + secret, "--aws-sigv4", "aws:amz:us-east-1:ec2"}, args...)
			out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
			if strings.Contains(string(out), "--aws-sigv4") {
				t.Skip("needs curl 7.75 or newer, which signs")
			}
			if got := string(out); err != nil || got != "ec2 us-east-1 DescribeVpcs" {
				t.Errorf("%v: %s", err, got)
			}
		})
	}
}
