// Package sigv4 verifies AWS Signature Version 4 on a request, in its headers or presigned in its query, and
// makes such signatures for our own clients.
//
// It is not authorisation: an [Identity] says who signed what scope, not what they may do. It holds no keys but
// derived ones; secrets come from the caller. It verifies exactly the headers that the client signed, so any AWS
// client's choice is served, and refuses a request in which something that matters is not among them: the host,
// the date, any x-amz- header.
//
// Invariants: no request passes whose method, path, query, signed headers or body differ from what was signed;
// signatures are compared in constant time; a refusal does not tell an unknown key from a wrong signature to a
// client of EC2; one signature is not accepted outside its time. What proxies rewrite (Host, path) breaks a
// signature: that is its purpose.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"

	// skewMax is how far a request's date may be from ours; AWS's value.
	skewMax = 15 * time.Minute
	// expiresMax is how long a presigned request may live; AWS's value, seven days.
	expiresMax = 604800 * time.Second
	// signedHeadersMax bounds the headers one signature names; clients name up to ten.
	signedHeadersMax = 64
)

// Identity is what a valid signature proves.
type Identity struct {
	AccessKeyID string
	// SessionToken is the signed X-Amz-Security-Token, empty for keys without one. Whether it belongs to the key
	// is for the caller to decide; who issues no tokens must refuse one.
	SessionToken string
	// Region and Service are the credential scope's.
	Region  string
	Service string
	// SignedAt is the date that the client put into the signature.
	SignedAt time.Time
	// Presigned says that the signature came in the query.
	Presigned bool
}

// Options configure a Verifier.
type Options struct {
	// Services are the names that a credential scope may have; with none, every request is refused.
	Services []string
}

// Verifier verifies signatures. It is safe for concurrent use.
type Verifier struct {
	services []string
	keys     keyCache
}

// NewVerifier returns a verifier for the services named in the options.
func NewVerifier(o Options) *Verifier { return &Verifier{services: slices.Clone(o.Services)} }

// claim is a signature as the request presents it, not verified yet.
type claim struct {
	Identity
	date          string // of the scope, YYYYMMDD
	signedHeaders []string
	signature     [sha256.Size]byte
	expires       time.Duration // of a presigned request
}

// Verify checks the signature of a request whose body is body, at the time now. secretOf gives the secret of an
// access key. The error is a *[Refusal].
func (v *Verifier) Verify(r *http.Request, body []byte, now time.Time, secretOf func(accessKeyID string) (secret string, ok bool)) (Identity, error) {
	c, refusal := parseClaim(r)
	if refusal != nil {
		return Identity{}, refusal
	}
	for _, check := range []func() *Refusal{
		func() *Refusal { return v.checkScope(c) },
		func() *Refusal { return checkTime(c, now) },
		func() *Refusal { return checkSigned(r, c) },
	} {
		if refusal := check(); refusal != nil {
			return Identity{}, refusal
		}
	}
	payload, refusal := payloadHash(r, body)
	if refusal != nil {
		return Identity{}, refusal
	}
	secret, ok := secretOf(c.AccessKeyID)
	if !ok {
		return Identity{}, refuse(ReasonUnknownKey, "no such access key")
	}
	query, err := canonicalQuery(r.URL.RawQuery, c.Presigned)
	if err != nil {
		return Identity{}, refuse(ReasonMalformed, "the query string has a broken escape")
	}
	scope := keyScope{secret: secret, date: c.date, region: c.Region, service: c.Service}
	key, cached := v.keys.get(scope)
	if !cached {
		key = signingKey(scope)
	}
	want := sign(key, c.SignedAt, scope, canonicalRequest(r, query, c.signedHeaders, payload))
	if !hmac.Equal(want[:], c.signature[:]) {
		return Identity{}, refuse(ReasonSignature, "the signature is another one")
	}
	if !cached {
		v.keys.put(scope, key) // only keys that signed something: a stranger cannot fill the cache
	}
	return c.Identity, nil
}

// Credentials are an access key with its secret.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string // empty for keys without one
}

// Sign signs a request in its headers, as it is about to be sent with body. It signs the host, the date, the
// content type and every x-amz- header; other headers may be added later.
func Sign(r *http.Request, body []byte, c Credentials, region, service string, now time.Time) error {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(timeFormat))
	if c.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}
	names := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); name == "content-type" || strings.HasPrefix(name, amzPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	query, err := canonicalQuery(r.URL.RawQuery, false)
	if err != nil {
		return fmt.Errorf("reading the query to sign: %w", err)
	}
	sum := sha256.Sum256(body)
	scope := keyScope{secret: c.SecretAccessKey, date: now.Format(dateFormat), region: region, service: service}
	signature := sign(signingKey(scope), now, scope, canonicalRequest(r, query, names, hex.EncodeToString(sum[:])))
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+scope.String()+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+hex.EncodeToString(signature[:]))
	return nil
}

// checkScope refuses a scope that is not for us, or of another day than the signature.
func (v *Verifier) checkScope(c *claim) *Refusal {
	switch {
	case !slices.Contains(v.services, c.Service):
		return refuse(ReasonScope, "Credential should be scoped to correct service: '%s'.", strings.Join(v.services, "' or '"))
	case c.date != c.SignedAt.Format(dateFormat):
		return refuse(ReasonScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.",
			c.date, c.SignedAt.Format(dateFormat))
	}
	return nil
}

// checkTime refuses what is too old or too young.
func checkTime(c *claim, now time.Time) *Refusal {
	lives := skewMax
	if c.Presigned {
		lives = c.expires
	}
	if now.After(c.SignedAt.Add(lives)) || now.Before(c.SignedAt.Add(-skewMax)) {
		return refuse(ReasonExpired, "Request has expired. It was signed at %s; the time here is %s.",
			c.SignedAt.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkSigned refuses a request in which a header that matters is not signed, or a signed one is not there.
func checkSigned(r *http.Request, c *claim) *Refusal {
	if !slices.Contains(c.signedHeaders, "host") {
		return refuse(ReasonIncomplete, "'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, amzPrefix) && name != "x-amz-user-agent" && !slices.Contains(c.signedHeaders, name) {
			return refuse(ReasonIncomplete, "'%s' must be a 'SignedHeader' in the AWS Authorization.", http.CanonicalHeaderKey(name))
		}
	}
	if !c.Presigned && r.Header.Get("X-Amz-Date") == "" && !slices.Contains(c.signedHeaders, "date") {
		return refuse(ReasonIncomplete, "'Date' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for _, name := range c.signedHeaders {
		if !present(r, name) {
			return refuse(ReasonIncomplete, "The signed header '%s' is not in the request.", name)
		}
	}
	return nil
}

// payloadHash is the hash of the body as the canonical request has it. A client may state it in a header; then
// it must be the body's own. Unsigned and streamed bodies are S3's privilege.
func payloadHash(r *http.Request, body []byte) (string, *Refusal) {
	sum := sha256.Sum256(body)
	own := hex.EncodeToString(sum[:])
	switch stated := r.Header.Values("X-Amz-Content-Sha256"); {
	case len(stated) == 0 || len(stated) == 1 && stated[0] == own:
		return own, nil
	case len(stated) == 1 && !isHash(stated[0]):
		return "", refuse(ReasonIncomplete, "The value of 'X-Amz-Content-Sha256' must be the SHA-256 of the body in hexadecimal.")
	}
	return "", refuse(ReasonSignature, "the body is not the one that was signed")
}

// isHash says whether the text is a SHA-256 in lower-case hexadecimal.
func isHash(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 2*sha256.Size && s == strings.ToLower(s)
}

// parseExpires reads the seconds that a presigned request lives.
func parseExpires(s string) (time.Duration, *Refusal) {
	seconds, err := strconv.ParseUint(s, 10, 32)
	d := time.Duration(seconds) * time.Second
	if err != nil || d < time.Second || d > expiresMax {
		return 0, refuse(ReasonIncomplete, "X-Amz-Expires must be a number of seconds from 1 to %d.", int(expiresMax/time.Second))
	}
	return d, nil
}
