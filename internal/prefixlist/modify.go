package prefixlist

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/gateway"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// modifyManagedPrefixList changes what a list holds, which makes a new version, or its name, or how much it may hold.
func modifyManagedPrefixList(tx *state.Tx, c call.Call, in *ec2.ModifyManagedPrefixListRequest) (*ec2.ModifyManagedPrefixListResult, error) {
	old, err := find(tx, c, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	entries := len(in.AddEntries)+len(in.RemoveEntries) > 0
	if err := checkModification(in, entries); err != nil {
		return nil, err
	}
	if in.CurrentVersion != nil {
		if err := isCurrent(old, *in.CurrentVersion); err != nil {
			return nil, err
		}
	}
	l := *old
	if in.PrefixListName != nil {
		if err := checkName(*in.PrefixListName); err != nil {
			return nil, err
		}
		l.Name = *in.PrefixListName
	}
	switch {
	case entries:
		if err := changeEntries(&l, in); err != nil {
			return nil, err
		}
		if err := newVersion(tx, c, &l, vpc.PrefixListModified); err != nil {
			return nil, err
		}
	case in.MaxEntries != nil:
		if err := checkResize(tx, c, &l, int(*in.MaxEntries)); err != nil {
			return nil, err
		}
		l = *resize(tx, old, l, int(*in.MaxEntries))
	default: // a name alone is no change of state
		tx.Put(&l)
		return &ec2.ModifyManagedPrefixListResult{PrefixList: wire(&l)}, nil
	}
	return &ec2.ModifyManagedPrefixListResult{PrefixList: wireUnderWay(&l, ec2.PrefixListStateModifyInProgress)}, nil
}

// checkModification refuses what a request may not ask for, whatever the list is.
func checkModification(in *ec2.ModifyManagedPrefixListRequest, entries bool) error {
	switch {
	case in.IpamPrefixListResolverSyncEnabled != nil:
		return call.Unsupported("resolvers of prefix lists")
	case entries && in.MaxEntries != nil:
		return apierr.New(apierr.CodeInvalidParameterCombination,
			"You cannot modify the entries and the maximum entries for the prefix list in the same request.")
	case !entries && in.MaxEntries == nil && in.PrefixListName == nil:
		return apierr.New(apierr.CodeInvalidRequest,
			"The request received was invalid. It names nothing to change: no entries, name or maximum number of entries.")
	case len(in.AddEntries) > entriesAtOnceMax || len(in.RemoveEntries) > entriesAtOnceMax:
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Request cannot contain more than %d entry additions or removals. There are %d additions and %d removals.",
			entriesAtOnceMax, len(in.AddEntries), len(in.RemoveEntries))
	}
	return nil
}

// isCurrent refuses a change of a list by someone who has not seen its newest version.
func isCurrent(l *vpc.PrefixList, version int64) error {
	if version == l.Version {
		return nil
	}
	return apierr.New(apierr.CodePrefixListVersionMismatch,
		"The prefix list has the incorrect version number. %s is at version %d, not %d.", l.ID, l.Version, version)
}

// changeEntries removes entries from the list and adds others. One that is there gets its new description.
func changeEntries(l *vpc.PrefixList, in *ec2.ModifyManagedPrefixListRequest) error {
	added, err := readEntries(l, in.AddEntries)
	if err != nil {
		return err
	}
	entries := slices.Clone(l.Entries)
	for i := range in.RemoveEntries {
		text := call.Text(in.RemoveEntries[i].Cidr)
		block, err := vpc.ParsePrefixListBlock(text, l.IPv6)
		if err != nil {
			return err
		}
		gone := vpc.PrefixListEntry{Prefix: block}
		if at(added, gone) >= 0 {
			return apierr.New(apierr.CodeInvalidParameterValue,
				"Request cannot contain Cidr %s in both AddPrefixListEntries and RemovePrefixListEntries", text)
		}
		n := at(entries, gone)
		if n < 0 {
			return apierr.New(apierr.CodeInvalidPrefixListModification,
				"An entry with the CIDR (%s) does not exist. Version %d of %s has no such one.", text, l.Version, l.ID)
		}
		entries = slices.Delete(entries, n, n+1)
	}
	for i, e := range added {
		switch n := at(entries, e); {
		case n < 0:
			entries = append(entries, e)
		case entries[n] == e:
			return apierr.New(apierr.CodeInvalidPrefixListModification,
				"An entry with the CIDR (%s) and description (%s) already exists.", call.Text(in.AddEntries[i].Cidr), e.Description)
		default:
			entries[n] = e
		}
	}
	return setEntries(l, entries)
}

// newVersion puts the list with its entries as its next version, if the routes to it bear them, and drops the oldest
// versions beyond those that are kept.
func newVersion(tx *state.Tx, c call.Call, l *vpc.PrefixList, s vpc.PrefixListState) error {
	l.Version++
	l.State, l.StateMessage = s, ""
	tx.Put(l)
	tx.Put(&vpc.PrefixListVersion{List: l.ID, Version: l.Version, Entries: l.Entries})
	kept := call.Quotas(tx, c.Scope.Account).PrefixListVersions
	for v := range tx.PrefixListVersions(l.ID) {
		if v.Version > l.Version-int64(kept) {
			break
		}
		tx.Delete(v)
	}
	return gateway.CheckList(tx, l.ID)
}

// restoreManagedPrefixListVersion makes what a list held at an earlier version its next one.
func restoreManagedPrefixListVersion(tx *state.Tx, c call.Call, in *ec2.RestoreManagedPrefixListVersionRequest) (*ec2.RestoreManagedPrefixListVersionResult, error) {
	old, err := find(tx, c, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	if err := isCurrent(old, *in.CurrentVersion); err != nil {
		return nil, err
	}
	v, err := findVersion(tx, old, *in.PreviousVersion)
	if err != nil {
		return nil, err
	}
	l := *old
	if err := setEntries(&l, slices.Clone(v.Entries)); err != nil {
		return nil, err
	}
	if err := newVersion(tx, c, &l, vpc.PrefixListRestored); err != nil {
		return nil, err
	}
	return &ec2.RestoreManagedPrefixListVersionResult{PrefixList: wireUnderWay(&l, ec2.PrefixListStateRestoreInProgress)}, nil
}

// checkResize refuses a size that no list may have, or that is less than what this one holds.
func checkResize(tx *state.Tx, c call.Call, l *vpc.PrefixList, size int) error {
	if err := checkSize(size, call.Quotas(tx, c.Scope.Account)); err != nil {
		return err
	}
	if size < len(l.Entries) {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter maxEntries is invalid. Version %d of %s has %d entries.", size, l.Version, l.ID, len(l.Entries))
	}
	return nil
}

// resize puts the list l, which is old with another name perhaps, with another size. If something that names it cannot
// have as much, the change has failed: the call is answered, the list stays as it was and tells why.
func resize(tx *state.Tx, old *vpc.PrefixList, l vpc.PrefixList, size int) *vpc.PrefixList {
	grows := size > l.MaxEntries
	l.MaxEntries, l.State, l.StateMessage = size, vpc.PrefixListModified, ""
	tx.Put(&l)
	if !grows {
		return &l
	}
	unable := overQuota(tx, l.ID)
	if len(unable) == 0 {
		return &l
	}
	failed := *old
	failed.State = vpc.PrefixListModifyFailed
	failed.StateMessage = "The following resources do not support a maximum size of " + call.Decimal(size) + ": " + call.SomeOf(unable)
	tx.Put(&failed)
	return &failed
}
