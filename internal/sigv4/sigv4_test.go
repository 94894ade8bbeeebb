package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/sigv4"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	form   = "Action=DescribeVpcs&Version=2016-11-15&Filter.1.Name=tag%3AName&Filter.1.Value.1=a+b%2Fc"
)

func signedAt() time.Time { return time.Date(2026, 11, 22, 23, 50, 0, 0, time.UTC) }

func secretOf(id string) (string, bool) {
	if id == keyID {
		return secret, true
	}
	return "", false
}

func newVerifier() *sigv4.Verifier {
	return sigv4.NewVerifier(sigv4.Options{Services: []string{"ec2", "sts"}})
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func post(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r
}

// received is the request as a server gets it over a socket, and its body.
func received(t *testing.T, r *http.Request) (*http.Request, []byte) {
	t.Helper()
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		got = r.Clone(context.Background())
	}))
	defer s.Close()
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	r.URL.Host = strings.TrimPrefix(s.URL, "http://")
	r.URL.Scheme = "http"
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return got, body
}

func sdkSign(t *testing.T, r *http.Request, key, service string, at time.Time, token string) {
	t.Helper()
	creds := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: key, SessionToken: token}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hashOf(form), service, "eu-west-1", at); err != nil {
		t.Fatal(err)
	}
}

func sdkPresign(t *testing.T, target string, at time.Time, expires string) *http.Request {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if expires != "" {
		q.Set("X-Amz-Expires", expires)
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, header, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, hashOf(""), "ec2", "eu-west-1", at)
	if err != nil {
		t.Fatal(err)
	}
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		if name != "Host" {
			r.Header[name] = values
		}
	}
	return r
}

func TestSDKSignaturesVerify(t *testing.T) {
	at := signedAt()
	for _, c := range []struct {
		name string
		make func() *http.Request
		want sigv4.Identity
	}{
		{"headers", func() *http.Request {
			r := post(t, "http://ec2.example:4750/")
			sdkSign(t, r, secret, "ec2", at, "")
			return r
		}, sigv4.Identity{Service: "ec2"}},
		{"session token", func() *http.Request {
			r := post(t, "http://ec2.example/")
			sdkSign(t, r, secret, "sts", at, "token")
			return r
		}, sigv4.Identity{Service: "sts", SessionToken: "token"}},
		{"path prefix with escapes and a query", func() *http.Request {
			r := post(t, "http://ec2.example/a%20b/c%2Fd/~e/?z=1&a=%20x%2B&a=b")
			sdkSign(t, r, secret, "ec2", at, "")
			return r
		}, sigv4.Identity{Service: "ec2"}},
		{"content hash, user agent and spaces in a header", func() *http.Request {
			r := post(t, "http://ec2.example/")
			r.Header.Set("X-Amz-Content-Sha256", hashOf(form))
			r.Header.Set("X-Amz-User-Agent", "aws-sdk-js/3  ua")
			r.Header.Set("Amz-Sdk-Invocation-Id", "  a   b  ")
			r.Header.Add("X-Amz-Meta", "one")
			r.Header.Add("X-Amz-Meta", "two")
			sdkSign(t, r, secret, "ec2", at, "")
			return r
		}, sigv4.Identity{Service: "ec2"}},
		{"user agent header that is not signed", func() *http.Request {
			r := post(t, "http://ec2.example/")
			sdkSign(t, r, secret, "ec2", at, "")
			r.Header.Set("X-Amz-User-Agent", "added later")
			return r
		}, sigv4.Identity{Service: "ec2"}},
		{"presigned", func() *http.Request {
			return sdkPresign(t, "http://ec2.example/?"+form, at, "3600")
		}, sigv4.Identity{Service: "ec2", Presigned: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, body := received(t, c.make())
			got, err := newVerifier().Verify(r, body, at.Add(time.Minute), secretOf)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			want.AccessKeyID, want.Region, want.SignedAt = keyID, "eu-west-1", at
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

// The example of AWS's "Signature Version 4 signing process": GET iam.amazonaws.com ListUsers.
func TestAWSExample(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	err = sigv4.Sign(r, nil, sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: secret}, "us-east-1", "iam", at)
	const want = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
		"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	if got := r.Header.Get("Authorization"); err != nil || got != want {
		t.Errorf("got  %s\nwant %s\n%v", got, want, err)
	}
}

func TestOwnSignaturesVerify(t *testing.T) {
	for _, token := range []string{"", "a token"} {
		r := post(t, "http://ec2.example/x y/?q=a%20b&empty")
		creds := sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: token}
		if err := sigv4.Sign(r, []byte(form), creds, "us-east-1", "ec2", signedAt()); err != nil {
			t.Fatal(err)
		}
		got, body := received(t, r)
		id, err := newVerifier().Verify(got, body, signedAt(), secretOf)
		if err != nil || id.SessionToken != token {
			t.Errorf("token %q: %+v, %v", token, id, err)
		}
	}
}

// signed is a request signed by the SDK, as the server has it.
func signed(t *testing.T) *http.Request {
	t.Helper()
	r := post(t, "http://ec2.example/")
	sdkSign(t, r, secret, "ec2", signedAt(), "")
	r.ContentLength = int64(len(form))
	return r
}

func presigned(t *testing.T, expires string) *http.Request {
	t.Helper()
	return sdkPresign(t, "http://ec2.example/?"+form, signedAt(), expires)
}

// edit replaces a part of the Authorization header.
func edit(r *http.Request, from, to string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
}

// own is a request signed by Sign, with a header more.
func own(t *testing.T, service, header, value string) *http.Request {
	t.Helper()
	r := post(t, "http://ec2.example/")
	if header != "" {
		r.Header.Set(header, value)
	}
	if err := sigv4.Sign(r, []byte(form), sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, "us-east-1", service, signedAt()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTampering(t *testing.T) {
	headers := func(change func(r *http.Request)) func() *http.Request {
		return func() *http.Request { r := signed(t); change(r); return r }
	}
	query := func(expires string, change func(q url.Values)) func() *http.Request {
		return func() *http.Request {
			r := presigned(t, expires)
			r.ContentLength = 0
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
			return r
		}
	}
	asSigned := headers(func(*http.Request) {})
	other := strings.Replace(form, "DescribeVpcs", "DeleteVpc", 1)
	for _, c := range []struct {
		name   string
		make   func() *http.Request
		body   string
		late   time.Duration
		reason sigv4.Reason
		ec2    apierr.Code
		sts    apierr.Code
	}{
		{"no signature", headers(func(r *http.Request) { r.Header.Del("Authorization") }), form, 0, "missing", "MissingAuthenticationToken", "MissingAuthenticationToken"},
		{"another kind of signature", headers(func(r *http.Request) { edit(r, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"two signatures", headers(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"header and query", headers(func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=1" }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"no signed headers", headers(func(r *http.Request) { edit(r, "SignedHeaders=", "Signed=") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"part given twice", headers(func(r *http.Request) { edit(r, "Signature=", "Signature=0, Signature=") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"short scope", headers(func(r *http.Request) { edit(r, "/aws4_request", "") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"other terminator", headers(func(r *http.Request) { edit(r, "aws4_request", "aws5_request") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"short signature", headers(func(r *http.Request) { edit(r, "Signature=", "Signature=00") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"upper-case header name", headers(func(r *http.Request) { edit(r, "host", "Host") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"date unreadable", headers(func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"two dates", headers(func(r *http.Request) { r.Header.Add("X-Amz-Date", "20261122T235000Z") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"no date", headers(func(r *http.Request) { r.Header.Del("X-Amz-Date") }), form, 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"host not signed", headers(func(r *http.Request) { edit(r, "host;", "") }), form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"date not signed", headers(func(r *http.Request) { edit(r, ";x-amz-date", "") }), form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"x-amz header not signed", headers(func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") }), form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"signed header gone", headers(func(r *http.Request) { r.Header.Del("Content-Type") }), form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"unsigned payload", func() *http.Request {
			return own(t, "ec2", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}, form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"streamed payload", func() *http.Request {
			return own(t, "ec2", "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
		}, form, 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"other content hash", func() *http.Request {
			return own(t, "ec2", "X-Amz-Content-Sha256", hashOf("x"))
		}, form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"wrong service", func() *http.Request { return own(t, "s3", "", "") }, form, 0, "scope", "AuthFailure", "SignatureDoesNotMatch"},
		{"scope of another day", headers(func(r *http.Request) { edit(r, "/20261122/", "/20261121/") }), form, 0, "scope", "AuthFailure", "SignatureDoesNotMatch"},
		{"too old", asSigned, form, 16 * time.Minute, "expired", "RequestExpired", "SignatureDoesNotMatch"},
		{"too young", asSigned, form, -16 * time.Minute, "expired", "RequestExpired", "SignatureDoesNotMatch"},
		{"unknown key", headers(func(r *http.Request) { edit(r, keyID, "AKIAXXXXXXXXXXXXXXXX") }), form, 0, "unknown_key", "AuthFailure", "InvalidClientTokenId"},
		{"wrong secret", func() *http.Request {
			r := post(t, "http://ec2.example/")
			sdkSign(t, r, secret+"x", "ec2", signedAt(), "")
			return r
		}, form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other body", asSigned, other, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"no body", asSigned, "", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other method", headers(func(r *http.Request) { r.Method = http.MethodPut }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other path", headers(func(r *http.Request) { r.URL.Path = "/x" }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other query", headers(func(r *http.Request) { r.URL.RawQuery = "Action=DeleteVpc" }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other host", headers(func(r *http.Request) { r.Host = "other.example" }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other header", headers(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other time", headers(func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261122T235001Z") }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other region", headers(func(r *http.Request) { edit(r, "eu-west-1", "eu-west-2") }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"other service", headers(func(r *http.Request) { edit(r, "/ec2/", "/sts/") }), form, 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},

		{"presigned, expired", query("60", func(url.Values) {}), "", 61 * time.Second, "expired", "RequestExpired", "SignatureDoesNotMatch"},
		{"presigned, from the future", query("3600", func(url.Values) {}), "", -16 * time.Minute, "expired", "RequestExpired", "SignatureDoesNotMatch"},
		{"presigned for too long", query("604801", func(url.Values) {}), "", 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"presigned for no time", query("0", func(url.Values) {}), "", 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"presigned without end", query("", func(url.Values) {}), "", 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"presigned, longer later", query("60", func(q url.Values) { q.Set("X-Amz-Expires", "3600") }), "", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"presigned, other action", query("60", func(q url.Values) { q.Set("Action", "DeleteVpc") }), "", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"presigned, parameter added", query("60", func(q url.Values) { q.Set("DryRun", "true") }), "", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"presigned, token added", query("60", func(q url.Values) { q.Set("X-Amz-Security-Token", "t") }), "", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"presigned, date twice", query("60", func(q url.Values) { q.Add("X-Amz-Date", "20261122T235000Z") }), "", 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"presigned, signature gone", query("60", func(q url.Values) { q.Del("X-Amz-Signature") }), "", 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
		{"presigned, host not signed", query("60", func(q url.Values) { q.Set("X-Amz-SignedHeaders", "date") }), "", 0, "incomplete", "IncompleteSignature", "IncompleteSignature"},
		{"presigned, with a body", query("60", func(url.Values) {}), "DryRun=true", 0, "signature", "AuthFailure", "SignatureDoesNotMatch"},
		{"presigned, broken escape", func() *http.Request {
			r := presigned(t, "60")
			r.URL.RawQuery += "&x=%zz"
			return r
		}, "", 0, "malformed", "IncompleteSignature", "IncompleteSignature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := newVerifier().Verify(c.make(), []byte(c.body), signedAt().Add(c.late), secretOf)
			refusal, ok := errors.AsType[*sigv4.Refusal](err)
			if !ok {
				t.Fatalf("got %+v, %v; want a refusal", id, err)
			}
			if id != (sigv4.Identity{}) {
				t.Errorf("a refusal with an identity: %+v", id)
			}
			if refusal.Reason != c.reason || apierr.From(err).Code != c.ec2 || refusal.STS().Code != c.sts {
				t.Errorf("got %s (ec2 %s, sts %s), want %s (%s, %s)", refusal, apierr.From(err).Code, refusal.STS().Code, c.reason, c.ec2, c.sts)
			}
			if strings.Contains(err.Error()+refusal.STS().Message, secret) {
				t.Error("the secret is in the error")
			}
		})
	}
}

// A stranger cannot tell whether a key exists.
func TestUnknownKeyLooksLikeWrongSignature(t *testing.T) {
	unknown := &sigv4.Refusal{Reason: sigv4.ReasonUnknownKey, Detail: "a"}
	wrong := &sigv4.Refusal{Reason: sigv4.ReasonSignature, Detail: "b"}
	if diff := cmp.Diff(unknown.EC2(), wrong.EC2()); diff != "" {
		t.Error(diff)
	}
}

func TestZeroVerifierRefuses(t *testing.T) {
	var v sigv4.Verifier
	if _, err := v.Verify(signed(t), []byte(form), signedAt(), secretOf); err == nil {
		t.Error("a verifier for no service verified a request")
	}
}

// A secret that was changed takes its cached signing key with it.
func TestRotatedSecret(t *testing.T) {
	v := newVerifier()
	for range 2 {
		if _, err := v.Verify(signed(t), []byte(form), signedAt(), secretOf); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.Verify(signed(t), []byte(form), signedAt(), func(string) (string, bool) { return "another", true })
	if refusal, ok := errors.AsType[*sigv4.Refusal](err); !ok || refusal.Reason != sigv4.ReasonSignature {
		t.Errorf("with another secret: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=A/20261122/r/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature="+hashOf(""), "a=b&c", "20261122T235000Z")
	f.Add("", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20261122/r/ec2/aws4_request&X-Amz-Date=20261122T235000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="+hashOf(""), "")
	f.Fuzz(func(t *testing.T, authorization, query, date string) {
		r := &http.Request{Method: http.MethodPost, Host: "h", Header: http.Header{}, URL: &url.URL{Path: "/", RawQuery: query}}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if date != "" {
			r.Header.Set("X-Amz-Date", date)
		}
		// A secret that the input cannot know: nothing may pass, and nothing may panic.
		if id, err := newVerifier().Verify(r, nil, signedAt(), func(string) (string, bool) { return "unknown to all", true }); err == nil {
			t.Errorf("verified %+v", id)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://ec2.example/", bytes.NewReader(nil))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds := sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}
	if err := sigv4.Sign(r, []byte(form), creds, "us-east-1", "ec2", signedAt()); err != nil {
		b.Fatal(err)
	}
	v := newVerifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, []byte(form), signedAt(), secretOf); err != nil {
			b.Fatal(err)
		}
	}
}
