package ec2

import (
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
)

// Limits of a request. The largest honest request is an Authorize of 1,000 rules with descriptions and tags:
// some 6,000 parameters, 400 KiB.
const (
	// BodyMax bounds the bytes of a request's parameters, as sent.
	BodyMax = 1 << 20
	// paramsMax bounds the number of parameters, and so of everything that decoding makes.
	paramsMax = 10_000
	// nameLenMax bounds a parameter's name; the longest that means something is about 100 bytes.
	nameLenMax = 255
	// valueLenMax bounds a value; the largest is 16 KiB of user data in base64.
	valueLenMax = 64 << 10
)

// Param is one parameter of a request, unescaped.
type Param struct{ Name, Value string }

// Params are the parameters of a request. Each name occurs once. They are sorted by name, segment by segment,
// numbers by value; the order in which the client sent them means nothing.
type Params struct{ sorted []Param }

// ParseForm reads the form encoding of a body, a query string, or both: "Name=Value&…". It refuses a broken
// escape (MalformedQueryString), a repeated name, also one in the query and again in the body, since whoever
// sends two values for one parameter of a firewall must not have one of them chosen (InvalidParameterValue), and
// what is beyond the limits. An empty pair is skipped; a pair without "=" has an empty value.
func ParseForm(forms ...string) (Params, error) {
	size, count := 0, 0
	for _, form := range forms {
		size += len(form)
		count += strings.Count(form, "&") + 1
	}
	if size > BodyMax {
		return Params{}, apierr.New(apierr.CodeInvalidQueryParameter, "The request is larger than %d bytes.", BodyMax)
	}
	if count > paramsMax {
		return Params{}, apierr.New(apierr.CodeInvalidQueryParameter, "The request has more than %d parameters.", paramsMax)
	}
	list := make([]Param, 0, count)
	for _, form := range forms {
		for pair := range strings.SplitSeq(form, "&") {
			if pair == "" {
				continue
			}
			p, err := parsePair(pair)
			if err != nil {
				return Params{}, err
			}
			list = append(list, p)
		}
	}
	return newParams(list)
}

// newParams sorts the list, which it takes over, and refuses repeated names.
func newParams(list []Param) (Params, error) {
	slices.SortFunc(list, func(a, b Param) int { return comparePaths(a.Name, b.Name) })
	for i := 1; i < len(list); i++ {
		if list[i].Name == list[i-1].Name {
			return Params{}, apierr.New(apierr.CodeInvalidParameterValue, "The parameter %s is given more than once", list[i].Name)
		}
	}
	return Params{sorted: list}, nil
}

func parsePair(pair string) (Param, error) {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(rawName)
	if err != nil {
		return Param{}, apierr.New(apierr.CodeMalformedQueryString, "The query string is malformed: the name %q has a broken escape", shorten(rawName))
	}
	value, err := url.QueryUnescape(rawValue)
	switch {
	case err != nil:
		return Param{}, apierr.New(apierr.CodeMalformedQueryString, "The query string is malformed: the value of %s has a broken escape", shorten(name))
	case !plain(name):
		return Param{}, apierr.New(apierr.CodeInvalidCharacter, "The name of the parameter %q has a character that is not allowed", shorten(name))
	case len(name) > nameLenMax:
		return Param{}, unknownParameter(name)
	case !plain(value):
		return Param{}, apierr.New(apierr.CodeInvalidCharacter, "The value of the parameter %s has a character that is not allowed: it must be UTF-8 without NUL", name)
	case len(value) > valueLenMax:
		return Param{}, apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for parameter %s is invalid. It is longer than %d bytes.", shorten(value), name, valueLenMax)
	}
	return Param{Name: name, Value: value}, nil
}

// plain says whether the text is UTF-8 without NUL.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func unknownParameter(name string) *apierr.Error {
	return apierr.New(apierr.CodeUnknownParameter, "The parameter %s is not recognized", shorten(name))
}

// Get returns the value of the parameter of exactly this name.
func (p Params) Get(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(p.sorted, name, func(q Param, name string) int { return comparePaths(q.Name, name) })
	if !ok {
		return "", false
	}
	return p.sorted[i].Value, true
}

// Len is the number of parameters.
func (p Params) Len() int { return len(p.sorted) }

// All yields names and values, sorted.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, q := range p.sorted {
			if !yield(q.Name, q.Value) {
				return
			}
		}
	}
}

// Action is the value of the parameter Action; without one the error is MissingAction.
func (p Params) Action() (string, error) {
	if v, ok := p.Get("Action"); ok && v != "" {
		return v, nil
	}
	return "", apierr.New(apierr.CodeMissingAction, "The request must contain the parameter Action")
}

// reserved says whether the parameter belongs to the protocol (action, version, signature) and is no member of
// any request.
func reserved(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion",
		"Timestamp", "Expires", "SecurityToken":
		return true
	}
	const prefix = "X-Amz-"
	return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// comparePaths orders parameter names so that those below one member, and those of one element of a list, stand
// together, elements by number.
func comparePaths(a, b string) int {
	i, n := 0, min(len(a), len(b))
	for i < n && a[i] == b[i] {
		i++
	}
	if i == len(a) && i == len(b) {
		return 0
	}
	start := strings.LastIndexByte(a[:i], '.') + 1
	sa, _, moreA := strings.Cut(a[start:], ".")
	sb, _, _ := strings.Cut(b[start:], ".")
	if c := compareSegments(sa, sb); c != 0 {
		return c
	}
	if moreA { // one ends where the other goes on
		return 1
	}
	return -1
}

// compareSegments is zero only for equal segments; indexes come first, by value.
func compareSegments(a, b string) int {
	switch ia, ib := isIndex(a), isIndex(b); {
	case ia && ib && len(a) != len(b):
		return len(a) - len(b)
	case ia && !ib:
		return -1
	case ib && !ia:
		return 1
	}
	return strings.Compare(a, b)
}

// isIndex says whether a segment is the number of a list's element: decimal, without leading zeros. Clients
// count from 1, a few from 0; gaps mean nothing, so the number has no bound but that of a name.
func isIndex(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
