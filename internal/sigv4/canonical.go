package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// canonicalRequest is the text whose hash is signed:
//
//	method \n path \n query \n name:value \n … \n \n name;name \n hash of the body
func canonicalRequest(r *http.Request, query string, names []string, payload string) []byte {
	b := make([]byte, 0, 512+len(query))
	b = append(b, r.Method...)
	b = append(b, '\n')
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	b = appendEscaped(b, path, '/') // a second time: every service but S3
	b = append(b, '\n')
	b = append(b, query...)
	b = append(b, '\n')
	for _, name := range names {
		b = append(b, name...)
		b = append(b, ':')
		for i, value := range values(r, name) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendTrimmed(b, value)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range names {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, payload...)
}

// values are a header's values. Three headers are not where net/http keeps the others.
func values(r *http.Request, name string) []string {
	switch name {
	case "host":
		if r.Host == "" && r.URL != nil {
			return []string{r.URL.Host} // a request about to be sent
		}
		return []string{r.Host}
	case "content-length":
		if r.Header.Get("Content-Length") == "" && r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return r.TransferEncoding
		}
	}
	return r.Header.Values(name)
}

// present says whether the request has the header.
func present(r *http.Request, name string) bool {
	v := values(r, name)
	return len(v) > 0 && (name != "host" || v[0] != "")
}

// appendTrimmed appends a header's value without spaces around it and with single spaces within.
func appendTrimmed(b []byte, value string) []byte {
	space := false
	for i, c := range []byte(strings.Trim(value, " \t")) {
		if c == ' ' && space && i > 0 {
			continue
		}
		space = c == ' '
		b = append(b, c)
	}
	return b
}

// canonicalQuery is the query with its pairs escaped one way and sorted, without the signature itself where that
// is in the query.
func canonicalQuery(raw string, presigned bool) (string, error) {
	if raw == "" {
		return "", nil
	}
	type pair struct{ name, value string }
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return "", err
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return "", err
		}
		if presigned && name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, pair{string(appendEscaped(nil, name, 0)), string(appendEscaped(nil, value, 0))})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String(), nil
}

// appendEscaped escapes everything but RFC 3986's unreserved characters and keep.
func appendEscaped(b []byte, s string, keep byte) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~', c == keep && keep != 0:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// keyScope is what a signing key is derived from.
type keyScope struct{ secret, date, region, service string }

// String is the scope as it is sent, without the secret.
func (s keyScope) String() string {
	return s.date + "/" + s.region + "/" + s.service + "/" + terminator
}

// GoString keeps the secret out of %#v.
func (s keyScope) GoString() string { return s.String() }

func signingKey(s keyScope) [sha256.Size]byte {
	key := mac([]byte("AWS4"+s.secret), s.date)
	key = mac(key[:], s.region)
	key = mac(key[:], s.service)
	return mac(key[:], terminator)
}

func mac(key []byte, text string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	h.Sum(sum[:0])
	return sum
}

// sign signs a canonical request.
func sign(key [sha256.Size]byte, at time.Time, scope keyScope, canonical []byte) [sha256.Size]byte {
	hash := sha256.Sum256(canonical)
	return mac(key[:], algorithm+"\n"+at.Format(timeFormat)+"\n"+scope.String()+"\n"+hex.EncodeToString(hash[:]))
}

// keysMax bounds each of a cache's two generations; a key with its scope is some 200 bytes.
const keysMax = 4096

// keyCache remembers signing keys. When one generation is full the one before it goes. The zero value is empty.
type keyCache struct {
	mu         sync.Mutex
	young, old map[keyScope][sha256.Size]byte
}

func (k *keyCache) get(s keyScope) ([sha256.Size]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.young[s]; ok {
		return key, true
	}
	key, ok := k.old[s]
	if ok {
		k.keep(s, key)
	}
	return key, ok
}

func (k *keyCache) put(s keyScope, key [sha256.Size]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(s, key)
}

// keep puts the key into the young generation; the lock is held.
func (k *keyCache) keep(s keyScope, key [sha256.Size]byte) {
	if k.young == nil || len(k.young) >= keysMax {
		k.old, k.young = k.young, map[keyScope][sha256.Size]byte{}
	}
	k.young[s] = key
}
