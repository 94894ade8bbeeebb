package ops

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/peering"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// taggedAtOnceMax is how many resources one CreateTags or DeleteTags can name (EC2's API reference, CreateTags).
const taggedAtOnceMax = 1000

// taggableForms are the forms of everything that carries tags. No prefix here begins another one.
func taggableForms() []*call.IDForm {
	return []*call.IDForm{
		&call.InterfaceForm, &call.InstanceForm, &call.GroupForm, &call.RuleForm, &call.SubnetForm, &call.VPCForm,
		&call.PeeringForm, &call.PrefixListForm,
		&call.InternetGatewayForm, &call.RouteTableForm, &call.NetworkACLForm, &call.DHCPOptionsForm, &call.ImageForm,
	}
}

func tagActions() []call.Operation {
	return []call.Operation{call.Writes(createTags), call.Writes(deleteTags), call.Reads(describeTags)}
}

// findTagged is the resources with the identifiers, which may be of any kind that carries tags.
func findTagged(tx *state.Tx, c call.Call, ids []string) ([]vpc.Taggable, error) {
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
		i := slices.IndexFunc(forms, func(f *call.IDForm) bool { return strings.HasPrefix(id, f.Prefix) })
		if i < 0 {
			return nil, apierr.New(apierr.CodeInvalidID, "The ID '%s' is not valid", id)
		}
		e, err := call.Find[vpc.Taggable](tx, c, forms[i], id)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func createTags(tx *state.Tx, c call.Call, in *ec2.CreateTagsRequest) (ec2.Return, error) {
	found, err := findTagged(tx, c, in.Resources)
	if err != nil {
		return ec2.Return{}, err
	}
	if len(in.Tags) == 0 {
		return ec2.Return{}, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter tagSet")
	}
	tags, err := call.ParseTags(in.Tags)
	if err != nil {
		return ec2.Return{}, err
	}
	for _, e := range found {
		all := e.GetTags().With(tags...)
		if err := call.CheckTagQuota(tx, c, e.Key(), all); err != nil {
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
func deleteTags(tx *state.Tx, c call.Call, in *ec2.DeleteTagsRequest) (ec2.Return, error) {
	found, err := findTagged(tx, c, in.Resources)
	if err != nil {
		return ec2.Return{}, err
	}
	for i := range in.Tags {
		t := vpc.Tag{Key: call.Text(in.Tags[i].Key), Value: call.Text(in.Tags[i].Value)}
		if err := call.CheckTag(t); err != nil {
			return ec2.Return{}, err
		}
	}
	drop := func(t vpc.Tag) bool {
		return !call.Reserved(t.Key) && (len(in.Tags) == 0 || slices.ContainsFunc(in.Tags, func(w ec2.Tag) bool {
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

var tagListing = call.Listing[taggedAs]{
	Attributes: call.Attributes[taggedAs]{
		"key":           call.One(func(t taggedAs) string { return t.tag.Key }),
		"value":         call.One(func(t taggedAs) string { return t.tag.Value }),
		"resource-id":   call.One(func(t taggedAs) string { return t.id }),
		"resource-type": call.One(func(t taggedAs) string { return t.resourceType }),
	},
	Tags:   func(t taggedAs) vpc.Tags { return vpc.Tags{t.tag} },
	Key:    func(t taggedAs) string { return t.id + "\x00" + t.tag.Key },
	Paging: call.Paging{Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true, BadToken: apierr.CodeInvalidPaginationToken},
}

func describeTags(tx *state.Tx, c call.Call, in *ec2.DescribeTagsRequest) (*ec2.DescribeTagsResult, error) {
	all := tagsIn(tx, c, in.Filters)
	page, next, err := tagListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, slices.Values(all))
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
func tagsIn(tx *state.Tx, c call.Call, filters []ec2.Filter) []taggedAs {
	var out []taggedAs
	if ids, ok := call.ExactValues(filters, "resource-id"); ok {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			for _, f := range taggableForms() {
				if e, ok := f.Visible(tx, c, id).(vpc.Taggable); ok {
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
		out = appendAllTags(out, peering.Seen(tx, c))
		out = appendAllTags(out, tx.PrefixListsIn(c.Scope))
		out = appendAllTags(out, tx.InternetGatewaysIn(c.Scope))
		out = appendAllTags(out, tx.RouteTablesIn(c.Scope))
		out = appendAllTags(out, tx.NetworkACLsIn(c.Scope))
		out = appendAllTags(out, tx.DHCPOptionsIn(c.Scope))
		out = appendAllTags(out, tx.ImagesIn(c.Scope))
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
