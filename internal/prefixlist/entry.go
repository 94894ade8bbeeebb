package prefixlist

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// entriesAtOnceMax is how many entries one request can name, of those to add and of those to remove (EC2's API
// reference, ModifyManagedPrefixList).
const entriesAtOnceMax = 100

// readEntries are entries that a request adds to a list; none may stand in it twice.
func readEntries(l *vpc.PrefixList, in []ec2.AddPrefixListEntry) ([]vpc.PrefixListEntry, error) {
	out := make([]vpc.PrefixListEntry, 0, len(in))
	for i := range in {
		e, err := vpc.NewPrefixListEntry(call.Text(in[i].Cidr), call.Text(in[i].Description), l.IPv6)
		if err != nil {
			return nil, err
		}
		if at(out, e) >= 0 {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Request cannot contain Cidr %s more than once in AddPrefixListEntries", e.Prefix)
		}
		out = append(out, e)
	}
	return out, nil
}

// at is where the block of an entry stands among others; -1: nowhere.
func at(entries []vpc.PrefixListEntry, e vpc.PrefixListEntry) int {
	return slices.IndexFunc(entries, func(o vpc.PrefixListEntry) bool { return o.Prefix == e.Prefix })
}

// setEntries makes the entries those of the list, in canonical order, if it may have as many.
func setEntries(l *vpc.PrefixList, entries []vpc.PrefixListEntry) error {
	if len(entries) > l.MaxEntries {
		return apierr.New(apierr.CodePrefixListMaxEntriesExceeded,
			"You've reached the maximum number of entries for the prefix list. There would be %d of %d.", len(entries), l.MaxEntries)
	}
	l.Entries = entries
	slices.SortFunc(l.Entries, func(a, b vpc.PrefixListEntry) int { return strings.Compare(a.Order(), b.Order()) })
	return nil
}

var entryListing = call.Listing[vpc.PrefixListEntry]{
	Key:    vpc.PrefixListEntry.Order,
	Paging: call.Paging{Min: 1, Max: 100, Param: "MaxResults", OrEqual: true},
}

// getManagedPrefixListEntries tells what a list holds, now or at an earlier version.
func getManagedPrefixListEntries(tx *state.Tx, c call.Call, in *ec2.GetManagedPrefixListEntriesRequest) (*ec2.GetManagedPrefixListEntriesResult, error) {
	l, err := find(tx, c, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	query := call.Query{IDs: []string{string(l.ID)}, MaxResults: in.MaxResults, NextToken: in.NextToken}
	entries := l.Entries
	if in.TargetVersion != nil {
		v, err := findVersion(tx, l, *in.TargetVersion)
		if err != nil {
			return nil, err
		}
		query.IDs, entries = append(query.IDs, v.Key()), v.Entries
	}
	page, next, err := entryListing.Run(tx, c, query, slices.Values(entries))
	if err != nil {
		return nil, err
	}
	out := &ec2.GetManagedPrefixListEntriesResult{NextToken: next, Entries: make([]ec2.PrefixListEntry, len(page))}
	for i := range page {
		out.Entries[i] = ec2.PrefixListEntry{Cidr: new(page[i].Prefix.String()), Description: call.Optional(page[i].Description)}
	}
	return out, nil
}

// findVersion is what a list held at a version that is still kept.
func findVersion(tx *state.Tx, l *vpc.PrefixList, n int64) (*vpc.PrefixListVersion, error) {
	if v := tx.PrefixListVersion(l.ID, n); v != nil {
		return v, nil
	}
	oldest := l.Version
	for v := range tx.PrefixListVersions(l.ID) {
		oldest = v.Version
		break
	}
	return nil, apierr.New(apierr.CodeInvalidParameterValue,
		"The specified value for version is not valid. %s has the versions %d to %d, not %d.", l.ID, oldest, l.Version, n)
}
