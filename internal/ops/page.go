package ops

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// listing is how one describe operation chooses and pages. The walk that it is given must be in the order of
// key, which stays with an entity for its life: then a page begins where the last one ended, whatever came or
// went in between, and nothing that was there all the time is left out or told twice.
type listing[E any] struct {
	attributes attributes[E]
	tags       func(E) vpc.Tags // nil: no filters on tags
	key        func(E) string
	paging     paging
}

// paging is the bounds of MaxResults and EC2's words, which differ from operation to operation
// (ec2-behaviour 1.5).
type paging struct {
	min, max int32
	param    string // as the messages spell MaxResults
	orEqual  bool   // the messages say "or equal to"
	// together is the message for identifiers with MaxResults; empty: they may come together.
	together string
	// badToken is the code for a token that is none; empty: InvalidParameterValue with the words of subnets.
	badToken apierr.Code
}

// query is what a request says of choosing and paging.
type query struct {
	ids        []string // identifiers that were asked for by parameter
	filters    []ec2.Filter
	maxResults *int32
	nextToken  *string
}

// run is the page of all that the query asks for, and the token of the next one, nil if there is none.
func (l *listing[E]) run(tx *state.Tx, c Call, q query, all iter.Seq[E]) ([]E, *string, error) {
	limit, err := l.paging.limit(q)
	if err != nil {
		return nil, nil, err
	}
	fs, err := parseFilters(l.attributes, l.tags, q.filters)
	if err != nil {
		return nil, nil, err
	}
	after, err := l.paging.decode(c, q)
	if err != nil {
		return nil, nil, err
	}
	var page []E
	for e := range all {
		if after != "" && l.key(e) <= after || !fs.accept(tx.Snapshot, e) {
			continue
		}
		if limit > 0 && len(page) == limit {
			return page, encodeToken(c, q, l.key(page[limit-1])), nil
		}
		page = append(page, e)
	}
	return page, nil, nil
}

// limit is the most items of a page; 0: no limit.
func (p paging) limit(q query) (int, error) {
	if q.maxResults == nil {
		return 0, nil
	}
	switch n := *q.maxResults; {
	case n < p.min:
		return 0, p.outOfBounds(n, "greater than", p.min)
	case n > p.max:
		return 0, p.outOfBounds(n, "smaller than", p.max)
	case len(q.ids) > 0 && p.together != "":
		return 0, apierr.New(apierr.CodeInvalidParameterCombination, "%s", p.together)
	default:
		return int(n), nil
	}
}

func (p paging) outOfBounds(n int32, than string, bound int32) error {
	if p.orEqual {
		than += " or equal to"
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Value ( %d ) for parameter %s is invalid. Expecting a value %s %d.", n, p.param, than, bound)
}

// A token is a digest of the query that it continues, and the key of the last item told. It is no secret and
// grants nothing: a forged one begins at another place of what its caller may see anyway.
const (
	tokenDigestLen = 12
	tokenTextMax   = 1024 // EC2's bound on tokens; ours are shorter
)

func encodeToken(c Call, q query, last string) *string {
	sum := queryDigest(c, q)
	return new(base64.RawURLEncoding.EncodeToString(append(sum[:tokenDigestLen:tokenDigestLen], last...)))
}

// decode is the key after which the page begins; empty: at the beginning.
func (p paging) decode(c Call, q query) (string, error) {
	if text(q.nextToken) == "" {
		return "", nil
	}
	sum := queryDigest(c, q)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(*q.nextToken)
	if err == nil && len(*q.nextToken) <= tokenTextMax && len(raw) > tokenDigestLen &&
		string(raw[:tokenDigestLen]) == string(sum[:tokenDigestLen]) {
		return string(raw[tokenDigestLen:]), nil
	}
	if p.badToken != "" {
		return "", apierr.New(p.badToken, "Next token '%s' is invalid", *q.nextToken)
	}
	return "", apierr.New(apierr.CodeInvalidParameterValue,
		"Value ( %s ) for parameter NextToken is invalid. The token is invalid.", *q.nextToken)
}

// queryDigest names a query but for its page: whose, which action, which filters.
func queryDigest(c Call, q query) [sha256.Size]byte {
	h := sha256.New()
	part := func(s string) {
		var size [4]byte
		for i := range size {
			size[i] = byte(len(s) >> (8 * i))
		}
		h.Write(size[:])
		h.Write([]byte(s))
	}
	part(string(c.Scope.Account))
	part(string(c.Scope.Region))
	part(c.Action)
	for _, id := range q.ids {
		part("id")
		part(id)
	}
	for i := range q.filters {
		part("filter")
		part(text(q.filters[i].Name))
		for _, v := range q.filters[i].Values {
			part("value")
			part(v)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
