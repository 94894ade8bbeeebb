// Package prefixlist is what the actions about managed prefix lists mean: named sets of CIDR blocks, with
// versions, that rules stand on.
//
// It is not the rules that name a list: those are package group's.
//
// Invariants: entries are canonical, of the list's family and each once; a version that was told is never changed.
package prefixlist

import "sallyport.dev/sallyport/internal/call"

// Operations are the actions that this room gives their meaning.
func Operations() []call.Operation { return nil }
