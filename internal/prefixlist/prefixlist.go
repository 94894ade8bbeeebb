package prefixlist

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// createManagedPrefixList makes a list at version 1.
func createManagedPrefixList(tx *state.Tx, c call.Call, in *ec2.CreateManagedPrefixListRequest) (*ec2.CreateManagedPrefixListResult, error) {
	same := *in
	same.ClientToken, same.DryRun = nil, nil
	first := func() (*ec2.CreateManagedPrefixListResult, []string, error) {
		l, err := create(tx, c, in)
		if err != nil {
			return nil, nil, err
		}
		return &ec2.CreateManagedPrefixListResult{PrefixList: wireUnderWay(l, ec2.PrefixListStateCreateInProgress)}, []string{string(l.ID)}, nil
	}
	again := func(ids []string) (*ec2.CreateManagedPrefixListResult, error) {
		l, err := find(tx, c, &ids[0])
		if err != nil {
			return nil, err
		}
		return &ec2.CreateManagedPrefixListResult{PrefixList: wireUnderWay(l, ec2.PrefixListStateCreateInProgress)}, nil
	}
	return call.Once(tx, c, in.ClientToken, &same, first, again)
}

func create(tx *state.Tx, c call.Call, in *ec2.CreateManagedPrefixListRequest) (*vpc.PrefixList, error) {
	l := &vpc.PrefixList{
		Scope:      c.Scope,
		Name:       call.Text(in.PrefixListName),
		MaxEntries: int(*in.MaxEntries),
		Version:    1,
		State:      vpc.PrefixListCreated,
		Created:    c.Now,
	}
	if err := checkName(l.Name); err != nil {
		return nil, err
	}
	switch family := call.Text(in.AddressFamily); family {
	case vpc.Family(false):
	case vpc.Family(true):
		l.IPv6 = true
	default:
		return nil, call.BadValue("addressFamily", family)
	}
	quotas := call.Quotas(tx, c.Scope.Account)
	if err := checkSize(l.MaxEntries, quotas); err != nil {
		return nil, err
	}
	if n := len(in.Entries); n > entriesAtOnceMax {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"The number of entries per request cannot exceeds limit (%d). There are %d.", entriesAtOnceMax, n)
	}
	entries, err := readEntries(l, in.Entries)
	if err != nil {
		return nil, err
	}
	if err := setEntries(l, entries); err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypePrefixList)
	if err != nil {
		return nil, err
	}
	if n := tx.CountPrefixLists(c.Scope); n >= quotas.PrefixLists {
		return nil, apierr.New(apierr.CodeResourceLimitExceeded,
			"The maximum number of prefix lists has been reached. There are %d of %d in %s.", n, quotas.PrefixLists, c.Scope.Region)
	}
	l.ID, l.Tags = vpc.PrefixListID(c.IDs.New("pl")), tags[ec2.ResourceTypePrefixList]
	tx.Put(l)
	tx.Put(&vpc.PrefixListVersion{List: l.ID, Version: l.Version, Entries: l.Entries})
	return l, nil
}

func checkName(name string) error {
	if name == "" {
		return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter PrefixListName")
	}
	return vpc.CheckPrefixListName(name)
}

func checkSize(n int, q vpc.Quotas) error {
	if n >= 1 && n <= q.PrefixListEntries {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Must specify a max size between 1 and %d. Value (%d) for parameter maxEntries is invalid.", q.PrefixListEntries, n)
}

func find(tx *state.Tx, c call.Call, id *string) (*vpc.PrefixList, error) {
	return call.Find[*vpc.PrefixList](tx, c, &call.ManagedPrefixListForm, call.Text(id))
}

// deleteManagedPrefixList removes a list that nothing names, with all its versions.
func deleteManagedPrefixList(tx *state.Tx, c call.Call, in *ec2.DeleteManagedPrefixListRequest) (*ec2.DeleteManagedPrefixListResult, error) {
	l, err := find(tx, c, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	if users := usersOf(tx.Snapshot, l.ID); len(users) > 0 {
		var named []string
		for _, u := range users {
			named = append(named, u.id+" ("+call.SomeOf(u.by)+")")
		}
		return nil, apierr.New(apierr.CodeDependencyViolation,
			"The prefix list '%s' has dependencies and cannot be deleted. It is named by %s.", l.ID, call.SomeOf(named))
	}
	for _, v := range slices.Collect(tx.PrefixListVersions(l.ID)) {
		tx.Delete(v)
	}
	tx.Delete(l)
	return &ec2.DeleteManagedPrefixListResult{PrefixList: wireUnderWay(l, ec2.PrefixListStateDeleteInProgress)}, nil
}

var listing = call.Listing[*vpc.PrefixList]{
	Attributes: call.Attributes[*vpc.PrefixList]{
		"owner-id":         call.One(func(l *vpc.PrefixList) string { return string(l.Scope.Account) }),
		"prefix-list-id":   call.One((*vpc.PrefixList).Key),
		"prefix-list-name": call.One(func(l *vpc.PrefixList) string { return l.Name }),
	},
	Tags:   call.TagsOf[*vpc.PrefixList],
	Key:    (*vpc.PrefixList).Key,
	Paging: call.Paging{Min: 1, Max: 100, Param: "MaxResults", OrEqual: true},
}

func describeManagedPrefixLists(tx *state.Tx, c call.Call, in *ec2.DescribeManagedPrefixListsRequest) (*ec2.DescribeManagedPrefixListsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.ManagedPrefixListForm, in.PrefixListIds, tx.PrefixListsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := listing.Run(tx, c, call.Query{
		IDs: in.PrefixListIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken,
	}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeManagedPrefixListsResult{NextToken: next, PrefixLists: make([]ec2.ManagedPrefixList, len(page))}
	for i, l := range page {
		out.PrefixLists[i] = *wire(l)
	}
	return out, nil
}

// awsListing is that of AWS's own lists, of which there is none here: they name services that are not here either.
var awsListing = call.Listing[*vpc.PrefixList]{
	Attributes: call.Attributes[*vpc.PrefixList]{
		"prefix-list-id":   call.One((*vpc.PrefixList).Key),
		"prefix-list-name": call.One(func(l *vpc.PrefixList) string { return l.Name }),
	},
	Key:    (*vpc.PrefixList).Key,
	Paging: call.Paging{Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true},
}

// describePrefixLists lists AWS's own prefix lists, not those that users made.
func describePrefixLists(tx *state.Tx, c call.Call, in *ec2.DescribePrefixListsRequest) (*ec2.DescribePrefixListsResult, error) {
	for _, id := range in.PrefixListIds {
		if err := call.PrefixListForm.Fits(id); err != nil {
			return nil, err
		}
	}
	if len(in.PrefixListIds) > 0 {
		return nil, apierr.New(call.PrefixListForm.Missing, call.PrefixListForm.MissingText+". AWS has no prefix lists of its own here.", in.PrefixListIds[0])
	}
	_, _, err := awsListing.Run(tx, c, call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken},
		slices.Values([]*vpc.PrefixList{}))
	return &ec2.DescribePrefixListsResult{}, err
}

// wire is a list as it is described.
func wire(l *vpc.PrefixList) *ec2.ManagedPrefixList {
	return &ec2.ManagedPrefixList{
		PrefixListId:   new(string(l.ID)),
		PrefixListArn:  new(call.ARN(l.Scope, l.ResourceType(), string(l.ID))),
		PrefixListName: &l.Name,
		AddressFamily:  new(vpc.Family(l.IPv6)),
		State:          ec2.PrefixListState(l.State),
		StateMessage:   call.Optional(l.StateMessage),
		MaxEntries:     call.Amount(l.MaxEntries),
		Version:        new(l.Version),
		OwnerId:        new(string(l.Scope.Account)),
		Tags:           call.WireTags(l.Tags),
	}
}

// wireUnderWay is a list as the call answers that changes it: EC2 says that it has begun. Here it is done, and every
// later call is told so.
func wireUnderWay(l *vpc.PrefixList, s ec2.PrefixListState) *ec2.ManagedPrefixList {
	out := wire(l)
	out.State, out.StateMessage = s, nil
	return out
}
