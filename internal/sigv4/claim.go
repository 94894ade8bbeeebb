package sigv4

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const amzPrefix = "x-amz-"

// nameMax bounds an access key id, a region and a service name; AWS's longest are 128, 14 and some 20.
const nameMax = 128

// parseClaim reads the signature of a request, wherever it is. Two signatures are one too many.
func parseClaim(r *http.Request) (*claim, *Refusal) {
	headers := r.Header.Values("Authorization")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(ReasonMalformed, "the query string is malformed")
	}
	presigned := query.Has("X-Amz-Algorithm") || query.Has("X-Amz-Signature")
	switch {
	case len(headers) == 0 && !presigned:
		return nil, refuse(ReasonMissing, "no Authorization header and no X-Amz-Signature")
	case len(headers) > 1 || len(headers) == 1 && presigned:
		return nil, refuse(ReasonMalformed, "The request has more than one signature.")
	case presigned:
		return claimOfQuery(query)
	}
	return claimOfHeader(r, headers[0])
}

// claimOfHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…".
func claimOfHeader(r *http.Request, header string) (*claim, *Refusal) {
	kind, rest, _ := strings.Cut(header, " ")
	if kind != algorithm {
		return nil, refuse(ReasonMalformed, "The signature must be of the kind %s.", algorithm)
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; !ok || twice {
			return nil, refuse(ReasonMalformed, "The Authorization header must be a list of key=value, each key once.")
		}
		parts[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return nil, refuse(ReasonMalformed, "Authorization header requires '%s' parameter.", name)
		}
	}
	if len(parts) != 3 {
		return nil, refuse(ReasonMalformed, "The Authorization header has a parameter that is not known.")
	}
	signedAt, refusal := headerDate(r)
	if refusal != nil {
		return nil, refusal
	}
	c := &claim{}
	c.SignedAt = signedAt
	c.SessionToken = r.Header.Get("X-Amz-Security-Token")
	return c, c.fill(parts["Credential"], parts["SignedHeaders"], parts["Signature"])
}

// headerDate is the date of a request signed in its headers: X-Amz-Date, else Date.
func headerDate(r *http.Request) (time.Time, *Refusal) {
	if dates := r.Header.Values("X-Amz-Date"); len(dates) > 0 {
		t, err := time.Parse(timeFormat, dates[0])
		if err != nil || len(dates) > 1 {
			return time.Time{}, refuse(ReasonMalformed, "X-Amz-Date must be one date of the form YYYYMMDDTHHMMSSZ.")
		}
		return t, nil
	}
	dates := r.Header.Values("Date")
	if len(dates) != 1 {
		return time.Time{}, refuse(ReasonMalformed, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if t, err := time.Parse(timeFormat, dates[0]); err == nil {
		return t, nil
	}
	t, err := http.ParseTime(dates[0])
	if err != nil {
		return time.Time{}, refuse(ReasonMalformed, "Date must be an HTTP date or of the form YYYYMMDDTHHMMSSZ.")
	}
	return t.UTC(), nil
}

// claimOfQuery reads a presigned request.
func claimOfQuery(query url.Values) (*claim, *Refusal) {
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if v := query[name]; len(v) != 1 || v[0] == "" {
			return nil, refuse(ReasonMalformed, "The query must have the parameter '%s' once.", name)
		}
	}
	if len(query["X-Amz-Security-Token"]) > 1 {
		return nil, refuse(ReasonMalformed, "The query must have the parameter 'X-Amz-Security-Token' once.")
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, refuse(ReasonMalformed, "The signature must be of the kind %s.", algorithm)
	}
	signedAt, err := time.Parse(timeFormat, query.Get("X-Amz-Date"))
	if err != nil {
		return nil, refuse(ReasonMalformed, "X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ.")
	}
	expires, refusal := parseExpires(query.Get("X-Amz-Expires"))
	if refusal != nil {
		return nil, refusal
	}
	c := &claim{expires: expires}
	c.SignedAt = signedAt
	c.Presigned = true
	c.SessionToken = query.Get("X-Amz-Security-Token")
	return c, c.fill(query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature"))
}

// fill reads the three parts that both forms have.
func (c *claim) fill(credential, signedHeaders, signature string) *Refusal {
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != terminator || slices.ContainsFunc(scope, func(s string) bool { return !isName(s) }) {
		return refuse(ReasonMalformed, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	c.AccessKeyID, c.date, c.Region, c.Service = scope[0], scope[1], scope[2], scope[3]
	c.signedHeaders = strings.Split(signedHeaders, ";")
	for i, name := range c.signedHeaders {
		if name == "" || name != strings.ToLower(name) || i > 0 && name <= c.signedHeaders[i-1] || i >= signedHeadersMax {
			return refuse(ReasonMalformed, "SignedHeaders must be lower-case names in order, each once, at most %d.", signedHeadersMax)
		}
	}
	if !isHash(signature) {
		return refuse(ReasonMalformed, "The signature must be 64 hexadecimal digits.")
	}
	_, err := hex.Decode(c.signature[:], []byte(signature))
	if err != nil {
		return refuse(ReasonMalformed, "The signature must be 64 hexadecimal digits.")
	}
	return nil
}

// isName says whether an element of the scope is of the characters that such names have.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= nameMax
}
