package call

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Limits of tags (EC2 user guide, "Tag restrictions").
const (
	tagKeyMax   = 128 // characters
	tagValueMax = 256 // characters
	tagReserved = "aws:"
)

// NewTags reads the tags that a request gives to what it makes, by type of resource; types are those that the
// operation makes.
func NewTags(tx *state.Tx, c Call, specs []ec2.TagSpecification, types ...ec2.ResourceType) (map[ec2.ResourceType]vpc.Tags, error) {
	out := map[ec2.ResourceType]vpc.Tags{}
	for i := range specs {
		t := specs[i].ResourceType
		if !slices.Contains(types, t) {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"'%s' is not a valid taggable resource type for this operation.", cmp.Or(string(t), "null"))
		}
		if _, ok := out[t]; ok {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"The same resource type may not be specified more than once in tag specifications: %s", t)
		}
		if len(specs[i].Tags) == 0 {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Tag specification must have at least one tag")
		}
		tags, err := ParseTags(specs[i].Tags)
		if err != nil {
			return nil, err
		}
		if err := CheckTagQuota(tx, c, "", tags); err != nil {
			return nil, err
		}
		out[t] = tags
	}
	return out, nil
}

// ParseTags reads tags that a user sets; they are sorted and have distinct keys.
func ParseTags(in []ec2.Tag) (vpc.Tags, error) {
	out := make(vpc.Tags, 0, len(in))
	for i := range in {
		t := vpc.Tag{Key: Text(in[i].Key), Value: Text(in[i].Value)}
		if err := CheckTag(t); err != nil {
			return nil, err
		}
		at, ok := slices.BinarySearchFunc(out, t.Key, func(t vpc.Tag, k string) int { return cmp.Compare(t.Key, k) })
		if ok {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Duplicate tag key '%s' specified.", t.Key)
		}
		out = slices.Insert(out, at, t)
	}
	return out, nil
}

// CheckTag refuses a tag that users may not set, or that is too long.
func CheckTag(t vpc.Tag) error {
	switch {
	case t.Key == "":
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag key cannot be null or empty")
	case Reserved(t.Key):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Tag keys starting with 'aws:' are reserved for internal use: '%s'", t.Key)
	case utf8.RuneCountInString(t.Key) > tagKeyMax:
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag key exceeds the maximum length of %d characters", tagKeyMax)
	case utf8.RuneCountInString(t.Value) > tagValueMax:
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag value exceeds the maximum length of %d characters", tagValueMax)
	}
	return nil
}

// Reserved says whether a key belongs to the service; such tags do not count and users do not change them.
func Reserved(key string) bool {
	return len(key) >= len(tagReserved) && strings.EqualFold(key[:len(tagReserved)], tagReserved)
}

// CheckTagQuota refuses more tags than a resource may have; id is empty for one that is about to be made.
func CheckTagQuota(tx *state.Tx, c Call, id string, tags vpc.Tags) error {
	n := 0
	for _, t := range tags {
		if !Reserved(t.Key) {
			n++
		}
	}
	most := Quotas(tx, c.Scope.Account).TagsPerResource
	if n <= most {
		return nil
	}
	return apierr.New(apierr.CodeTagLimitExceeded,
		"The maximum number of Tags for a resource has been reached. %s would have %d of %d.",
		cmp.Or(id, "The new resource"), n, most)
}

// WireTags is tags as responses have them; nil for none.
func WireTags(tags vpc.Tags) []ec2.Tag {
	if len(tags) == 0 {
		return nil
	}
	out := make([]ec2.Tag, len(tags))
	for i := range tags {
		out[i] = ec2.Tag{Key: &tags[i].Key, Value: &tags[i].Value}
	}
	return out
}
