package call

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Listing is how one describe operation chooses and pages. The walk that it is given must be in the order of
// key, which stays with an entity for its life: then a page begins where the last one ended, whatever came or
// went in between, and nothing that was there all the time is left out or told twice.
type Listing[E any] struct {
	Attributes Attributes[E]
	Tags       func(E) vpc.Tags // nil: no filters on tags
	Key        func(E) string
	Paging     Paging
}

// Paging is the bounds of MaxResults and EC2's words, which differ from operation to operation.
type Paging struct {
	Min, Max int32
	Param    string // as the messages spell MaxResults
	OrEqual  bool   // the messages say "or equal to"
	// together is the message for identifiers with MaxResults; empty: they may come together.
	Together string
	// badToken is the code for a token that is none; empty: InvalidParameterValue with the words of subnets.
	BadToken apierr.Code
}

// Query is what a request says of choosing and paging.
type Query struct {
	Of         string   // whose things are listed, where a parameter says so; empty: the caller's
	IDs        []string // identifiers that were asked for by parameter
	Filters    []ec2.Filter
	MaxResults *int32
	NextToken  *string
}

// Run is the page of all that the query asks for, and the token of the next one, nil if there is none.
func (l *Listing[E]) Run(tx *state.Tx, c Call, q Query, all iter.Seq[E]) ([]E, *string, error) {
	limit, err := l.Paging.limit(q)
	if err != nil {
		return nil, nil, err
	}
	fs, err := ParseFilters(l.Attributes, l.Tags, q.Filters)
	if err != nil {
		return nil, nil, err
	}
	after, err := l.Paging.decode(c, q)
	if err != nil {
		return nil, nil, err
	}
	var page []E
	for e := range all {
		if after != "" && l.Key(e) <= after || !fs.Accept(tx.Snapshot, e) {
			continue
		}
		if limit > 0 && len(page) == limit {
			return page, encodeToken(c, q, l.Key(page[limit-1])), nil
		}
		page = append(page, e)
	}
	return page, nil, nil
}

// limit is the most items of a page; 0: no limit.
func (p Paging) limit(q Query) (int, error) {
	if q.MaxResults == nil {
		return 0, nil
	}
	switch n := *q.MaxResults; {
	case n < p.Min:
		return 0, p.outOfBounds(n, "greater than", p.Min)
	case n > p.Max:
		return 0, p.outOfBounds(n, "smaller than", p.Max)
	case len(q.IDs) > 0 && p.Together != "":
		return 0, apierr.New(apierr.CodeInvalidParameterCombination, "%s", p.Together)
	default:
		return int(n), nil
	}
}

func (p Paging) outOfBounds(n int32, than string, bound int32) error {
	if p.OrEqual {
		than += " or equal to"
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Value ( %d ) for parameter %s is invalid. Expecting a value %s %d.", n, p.Param, than, bound)
}

// A token is a digest of the query that it continues, and the key of the last item told. It is no secret and
// grants nothing: a forged one begins at another place of what its caller may see anyway.
const (
	tokenDigestLen = 12
	tokenTextMax   = 1024 // EC2's bound on tokens; ours are shorter
)

func encodeToken(c Call, q Query, last string) *string {
	sum := queryDigest(c, q)
	return new(base64.RawURLEncoding.EncodeToString(append(sum[:tokenDigestLen:tokenDigestLen], last...)))
}

// decode is the key after which the page begins; empty: at the beginning.
func (p Paging) decode(c Call, q Query) (string, error) {
	if Text(q.NextToken) == "" {
		return "", nil
	}
	sum := queryDigest(c, q)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(*q.NextToken)
	if err == nil && len(*q.NextToken) <= tokenTextMax && len(raw) > tokenDigestLen &&
		string(raw[:tokenDigestLen]) == string(sum[:tokenDigestLen]) {
		return string(raw[tokenDigestLen:]), nil
	}
	if p.BadToken != "" {
		return "", apierr.New(p.BadToken, "Next token '%s' is invalid", *q.NextToken)
	}
	return "", apierr.New(apierr.CodeInvalidParameterValue,
		"Value ( %s ) for parameter NextToken is invalid. The token is invalid.", *q.NextToken)
}

// queryDigest names a query but for its page: whose, which action, which filters.
func queryDigest(c Call, q Query) [sha256.Size]byte {
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
	part(q.Of)
	for _, id := range q.IDs {
		part("id")
		part(id)
	}
	for i := range q.Filters {
		part("filter")
		part(Text(q.Filters[i].Name))
		for _, v := range q.Filters[i].Values {
			part("value")
			part(v)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
