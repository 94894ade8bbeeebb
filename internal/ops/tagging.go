package ops

import (
	"cmp"
	"iter"
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
	tagKeyMax       = 128  // characters
	tagValueMax     = 256  // characters
	taggedAtOnceMax = 1000 // resources of one CreateTags or DeleteTags
	tagReserved     = "aws:"
)

func tagActions() []Operation {
	return []Operation{writes(createTags), writes(deleteTags), reads(describeTags)}
}

// newTags reads the tags that a request gives to what it makes, by type of resource; types are those that the
// operation makes.
func newTags(tx *state.Tx, c Call, specs []ec2.TagSpecification, types ...ec2.ResourceType) (map[ec2.ResourceType]vpc.Tags, error) {
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
		tags, err := parseTags(specs[i].Tags)
		if err != nil {
			return nil, err
		}
		if err := checkTagQuota(tx, c, "", tags); err != nil {
			return nil, err
		}
		out[t] = tags
	}
	return out, nil
}

// parseTags reads tags that a user sets; they are sorted and have distinct keys.
func parseTags(in []ec2.Tag) (vpc.Tags, error) {
	out := make(vpc.Tags, 0, len(in))
	for i := range in {
		t := vpc.Tag{Key: text(in[i].Key), Value: text(in[i].Value)}
		if err := checkTag(t); err != nil {
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

func checkTag(t vpc.Tag) error {
	switch {
	case t.Key == "":
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag key cannot be null or empty")
	case reserved(t.Key):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Tag keys starting with 'aws:' are reserved for internal use: '%s'", t.Key)
	case utf8.RuneCountInString(t.Key) > tagKeyMax:
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag key exceeds the maximum length of %d characters", tagKeyMax)
	case utf8.RuneCountInString(t.Value) > tagValueMax:
		return apierr.New(apierr.CodeInvalidParameterValue, "Tag value exceeds the maximum length of %d characters", tagValueMax)
	}
	return nil
}

// reserved says whether a key belongs to the service; such tags do not count and users do not change them.
func reserved(key string) bool {
	return len(key) >= len(tagReserved) && strings.EqualFold(key[:len(tagReserved)], tagReserved)
}

// checkTagQuota refuses more tags than a resource may have; id is empty for one that is about to be made.
func checkTagQuota(tx *state.Tx, c Call, id string, tags vpc.Tags) error {
	n := 0
	for _, t := range tags {
		if !reserved(t.Key) {
			n++
		}
	}
	most := quotas(tx, c.Scope.Account).TagsPerResource
	if n <= most {
		return nil
	}
	return apierr.New(apierr.CodeTagLimitExceeded,
		"The maximum number of Tags for a resource has been reached. %s would have %d of %d.",
		cmp.Or(id, "The new resource"), n, most)
}

// wireTags is tags as responses have them; nil for none.
func wireTags(tags vpc.Tags) []ec2.Tag {
	if len(tags) == 0 {
		return nil
	}
	out := make([]ec2.Tag, len(tags))
	for i := range tags {
		out[i] = ec2.Tag{Key: &tags[i].Key, Value: &tags[i].Value}
	}
	return out
}

// findTagged is the resources with the identifiers, which may be of any kind that carries tags.
func findTagged(tx *state.Tx, c Call, ids []string) ([]vpc.Taggable, error) {
	if len(ids) == 0 {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter resourceIdSet")
	}
	if len(ids) > taggedAtOnceMax {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"The maximum number of resources in one request is %d. There are %d.", taggedAtOnceMax, len(ids))
	}
	var out []vpc.Taggable
	forms := taggableForms()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		i := slices.IndexFunc(forms, func(f *idForm) bool { return strings.HasPrefix(id, f.prefix) })
		if i < 0 {
			return nil, apierr.New(apierr.CodeInvalidID, "The ID '%s' is not valid", id)
		}
		e, err := find[vpc.Taggable](tx, c, forms[i], id)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func createTags(tx *state.Tx, c Call, in *ec2.CreateTagsRequest) (ec2.Return, error) {
	found, err := findTagged(tx, c, in.Resources)
	if err != nil {
		return ec2.Return{}, err
	}
	if len(in.Tags) == 0 {
		return ec2.Return{}, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter tagSet")
	}
	tags, err := parseTags(in.Tags)
	if err != nil {
		return ec2.Return{}, err
	}
	for _, e := range found {
		all := e.GetTags().With(tags...)
		if err := checkTagQuota(tx, c, e.Key(), all); err != nil {
			return ec2.Return{}, err
		}
		if !slices.Equal(all, e.GetTags()) {
			tx.Put(e.WithTags(all))
		}
	}
	return ec2.Return{}, nil
}

// deleteTags removes tags: a key alone whatever its value, a key with a value (the empty one too) only if it
// has that value, and all tags if none is named. What is not there is no error.
func deleteTags(tx *state.Tx, c Call, in *ec2.DeleteTagsRequest) (ec2.Return, error) {
	found, err := findTagged(tx, c, in.Resources)
	if err != nil {
		return ec2.Return{}, err
	}
	for i := range in.Tags {
		t := vpc.Tag{Key: text(in.Tags[i].Key), Value: text(in.Tags[i].Value)}
		if err := checkTag(t); err != nil {
			return ec2.Return{}, err
		}
	}
	drop := func(t vpc.Tag) bool {
		return !reserved(t.Key) && (len(in.Tags) == 0 || slices.ContainsFunc(in.Tags, func(w ec2.Tag) bool {
			return *w.Key == t.Key && (w.Value == nil || *w.Value == t.Value)
		}))
	}
	for _, e := range found {
		if rest := e.GetTags().Without(drop); len(rest) < len(e.GetTags()) {
			tx.Put(e.WithTags(rest))
		}
	}
	return ec2.Return{}, nil
}

// taggedAs is one tag of one resource.
type taggedAs struct {
	tag          vpc.Tag
	id           string
	resourceType string
}

var tagListing = listing[taggedAs]{
	attributes: attributes[taggedAs]{
		"key":           one(func(t taggedAs) string { return t.tag.Key }),
		"value":         one(func(t taggedAs) string { return t.tag.Value }),
		"resource-id":   one(func(t taggedAs) string { return t.id }),
		"resource-type": one(func(t taggedAs) string { return t.resourceType }),
	},
	tags:   func(t taggedAs) vpc.Tags { return vpc.Tags{t.tag} },
	key:    func(t taggedAs) string { return t.id + "\x00" + t.tag.Key },
	paging: paging{min: 5, max: 1000, param: "MaxResults", orEqual: true, badToken: apierr.CodeInvalidPaginationToken},
}

func describeTags(tx *state.Tx, c Call, in *ec2.DescribeTagsRequest) (*ec2.DescribeTagsResult, error) {
	all := tagsIn(tx, c, in.Filters)
	page, next, err := tagListing.run(tx, c,
		query{filters: in.Filters, maxResults: in.MaxResults, nextToken: in.NextToken}, slices.Values(all))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeTagsResult{NextToken: next, Tags: make([]ec2.TagDescription, len(page))}
	for i := range page {
		out.Tags[i] = ec2.TagDescription{
			Key: &page[i].tag.Key, Value: &page[i].tag.Value,
			ResourceId: &page[i].id, ResourceType: ec2.ResourceType(page[i].resourceType),
		}
	}
	return out, nil
}

// tagsIn lists the tags that the caller can see, by resource and key; those of the resources only that the
// filters name exactly, if they do.
func tagsIn(tx *state.Tx, c Call, filters []ec2.Filter) []taggedAs {
	var out []taggedAs
	if ids, ok := exactValues(filters, "resource-id"); ok {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			for _, f := range taggableForms() {
				if e, ok := f.visible(tx, c, id).(vpc.Taggable); ok {
					out = appendTags(out, e)
				}
			}
		}
	} else {
		out = appendAllTags(out, tx.InterfacesIn(c.Scope))
		out = appendAllTags(out, tx.InstancesIn(c.Scope))
		out = appendAllTags(out, tx.GroupsIn(c.Scope))
		out = appendAllTags(out, tx.RulesIn(c.Scope))
		out = appendAllTags(out, tx.SubnetsIn(c.Scope))
		out = appendAllTags(out, tx.VPCsIn(c.Scope))
	}
	slices.SortFunc(out, func(a, b taggedAs) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.tag.Key, b.tag.Key))
	})
	return out
}

func appendAllTags[E vpc.Taggable](out []taggedAs, all iter.Seq[E]) []taggedAs {
	for e := range all {
		out = appendTags(out, e)
	}
	return out
}

func appendTags(out []taggedAs, e vpc.Taggable) []taggedAs {
	for _, tag := range e.GetTags() {
		out = append(out, taggedAs{tag, e.Key(), e.ResourceType()})
	}
	return out
}
