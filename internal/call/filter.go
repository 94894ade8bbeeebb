package call

import (
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Limits of a request's filters (EC2 user guide, "Filter your resources").
const (
	filtersMax       = 50  // filters in a request
	filterValuesMax  = 200 // values in a request, over all its filters
	filterValueBytes = 255 // the longest text of a value
)

// Attribute is what a filter's name stands for: it offers the values that an entity has under the name, one
// after another, until is says true, and returns whether it did. A value that depends on other entities is
// looked up in w.
type Attribute[E any] func(w *state.Snapshot, e E, is func(value string) bool) bool

// Attributes are the filters of one kind of entity by name; the filters on tags come by themselves.
type Attributes[E any] map[string]Attribute[E]

// One is an attribute of exactly one value.
func One[E any](value func(E) string) Attribute[E] {
	return func(_ *state.Snapshot, e E, is func(string) bool) bool { return is(value(e)) }
}

// YesNo is an attribute that is true or false.
func YesNo[E any](value func(E) bool) Attribute[E] {
	return func(_ *state.Snapshot, e E, is func(string) bool) bool {
		if value(e) {
			return is("true")
		}
		return is("false")
	}
}

// Filters is a conjunction of conditions; none accept everything.
type Filters[E any] []condition[E]

// condition is one filter: one of the attribute's values matches one of the patterns.
type condition[E any] struct {
	values Attribute[E]
	match  func(string) bool
}

// Accept says whether every filter has a value that matches.
func (fs Filters[E]) Accept(w *state.Snapshot, e E) bool {
	for i := range fs {
		if !fs[i].values(w, e, fs[i].match) {
			return false
		}
	}
	return true
}

// ParseFilters reads a request's filters. tags gives an entity's tags; nil if it has none.
func ParseFilters[E any](known Attributes[E], tags func(E) vpc.Tags, in []ec2.Filter) (Filters[E], error) {
	if err := checkFilterLimits(in); err != nil {
		return nil, err
	}
	var out Filters[E]
	for i := range in {
		name := Text(in[i].Name)
		values, ok := known[name]
		if !ok && tags != nil {
			values, ok = tagAttribute(name, tags)
		}
		if !ok {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "The filter '%s' is invalid", orNull(in[i].Name))
		}
		if len(in[i].Values) == 0 {
			return nil, apierr.New(apierr.CodeMissingParameter,
				"The request must contain the parameter Filter.Value. The filter '%s' has none.", name)
		}
		out = append(out, condition[E]{values, anyPattern(in[i].Values)})
	}
	return out, nil
}

func checkFilterLimits(in []ec2.Filter) error {
	if len(in) > filtersMax {
		return apierr.New(apierr.CodeFilterLimitExceeded,
			"The maximum number of filters has been exceeded. There are %d of %d.", len(in), filtersMax)
	}
	n := 0
	for i := range in {
		n += len(in[i].Values)
		for _, v := range in[i].Values {
			if len(v) > filterValueBytes {
				return apierr.New(apierr.CodeInvalidParameterValue,
					"The filter '%s' is invalid. A value of it has %d characters of %d.", Text(in[i].Name), len(v), filterValueBytes)
			}
		}
	}
	if n > filterValuesMax {
		return apierr.New(apierr.CodeFilterLimitExceeded,
			"The maximum number of filter values has been exceeded. There are %d of %d.", n, filterValuesMax)
	}
	return nil
}

// orNull is a parameter as EC2's messages print it.
func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// tagAttribute is tag:<key>, tag-key or tag-value.
func tagAttribute[E any](name string, tags func(E) vpc.Tags) (Attribute[E], bool) {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(_ *state.Snapshot, e E, is func(string) bool) bool {
			v, ok := tags(e).Get(key)
			return ok && is(v)
		}, true
	}
	var part func(vpc.Tag) string
	switch name {
	case "tag-key":
		part = func(t vpc.Tag) string { return t.Key }
	case "tag-value":
		part = func(t vpc.Tag) string { return t.Value }
	default:
		return nil, false
	}
	return func(_ *state.Snapshot, e E, is func(string) bool) bool {
		for _, t := range tags(e) {
			if is(part(t)) {
				return true
			}
		}
		return false
	}, true
}

// TagsOf is the tags of a taggable entity.
func TagsOf[E vpc.Taggable](e E) vpc.Tags { return e.GetTags() }

// ExactValues is what the filter called name allows, if it is there and none of its values has a wildcard: then
// whoever has an index by that attribute need not look at everything.
func ExactValues(in []ec2.Filter, name string) ([]string, bool) {
	for i := range in {
		if Text(in[i].Name) != name {
			continue
		}
		for _, v := range in[i].Values {
			if !Literal(v) {
				return nil, false
			}
		}
		return in[i].Values, len(in[i].Values) > 0
	}
	return nil, false
}

// anyPattern matches what one of the patterns matches.
func anyPattern(patterns []string) func(string) bool {
	if len(patterns) == 1 {
		if p := patterns[0]; Literal(p) {
			return func(s string) bool { return s == p }
		}
	}
	exact := make(map[string]struct{}, len(patterns))
	var wild []string
	for _, p := range patterns {
		if Literal(p) {
			exact[p] = struct{}{}
		} else {
			wild = append(wild, p)
		}
	}
	return func(s string) bool {
		if _, ok := exact[s]; ok {
			return true
		}
		for _, p := range wild {
			if matchPattern(p, s) {
				return true
			}
		}
		return false
	}
}

// Literal says whether a pattern matches itself and nothing else.
func Literal(p string) bool { return !strings.ContainsAny(p, `*?\`) }

// matchPattern says whether s is of the pattern: * stands for any run of characters, ? for exactly one, and \
// takes from the character after it any special meaning. A last \ stands for itself. Case counts.
func matchPattern(p, s string) bool {
	i, j := 0, 0         // positions in s and p
	star, again := -1, 0 // position after the last * in p, and where in s to try it next
	for i < len(s) || j < len(p) {
		if j < len(p) && p[j] == '*' {
			j++
			star, again = j, i
			continue
		}
		if n, m := step(p[j:], s[i:]); m > 0 {
			i, j = i+m, j+n
			continue
		}
		if star < 0 || again >= len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[again:])
		again += size
		i, j = again, star
	}
	return true
}

// step matches the first character of s with the first element of p, which is no *: how many bytes of each, or
// zeros.
func step(p, s string) (n, m int) {
	if p == "" || s == "" {
		return 0, 0
	}
	if p[0] == '?' {
		_, m = utf8.DecodeRuneInString(s)
		return 1, m
	}
	if p[0] == '\\' && len(p) > 1 {
		if p[1] == s[0] {
			return 2, 1
		}
		return 0, 0
	}
	if p[0] == s[0] {
		return 1, 1
	}
	return 0, 0
}
