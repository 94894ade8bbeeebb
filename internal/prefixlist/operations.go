// Package prefixlist is what the actions about managed prefix lists mean: named sets of CIDR blocks, with
// versions, that rules stand on.
//
// It is not the rules that name a list: those are package group's.
//
// Invariants: entries are canonical, of the list's family and each once, and no more than the list may have; a version
// that was told is never changed. A list that something names is not deleted, and does not grow beyond what all that
// name it may have.
package prefixlist

import "sallyport.dev/sallyport/internal/call"

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation {
	return []call.Operation{
		call.Writes(createManagedPrefixList),
		call.Writes(modifyManagedPrefixList),
		call.Writes(restoreManagedPrefixListVersion),
		call.Writes(deleteManagedPrefixList),
		call.Reads(describeManagedPrefixLists),
		call.Reads(getManagedPrefixListEntries),
		call.Reads(getManagedPrefixListAssociations),
		call.Reads(describePrefixLists),
	}
}
