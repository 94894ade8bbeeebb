// Package ops is the table of every action that is served, and the few operations that are about resources of
// all kinds: tags, and the removal of what is over.
//
// It is not where an action gets its meaning: each kind of resource has a room of its own, which this one gathers.
//
// Invariants: every operation stands once, under the name of an action of the API's model; what is not in the
// table is answered InvalidAction. Every kind of resource that carries tags is in taggableForms and in tagsIn.
package ops

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/gateway"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/peering"
	"sallyport.dev/sallyport/internal/prefixlist"
)

var operations = operationTable()

// operationTable gathers the operations of every room, sorted by name.
func operationTable() []call.Operation {
	out := slices.Concat(group.Operations(), prefixlist.Operations(), gateway.Operations(), acl.Operations(),
		network.Operations(), peering.Operations(), instance.Operations(), tagActions())
	slices.SortFunc(out, func(a, b call.Operation) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Operations lists every operation, sorted by name.
func Operations() []call.Operation { return slices.Clone(operations) }

// Lookup finds the operation of an action. Not every action of the API model has one.
func Lookup(action string) (call.Operation, bool) {
	i, ok := slices.BinarySearchFunc(operations, action,
		func(o call.Operation, name string) int { return strings.Compare(o.Name, name) })
	if !ok {
		return call.Operation{}, false
	}
	return operations[i], true
}

// NotServed is the answer to an action that has no operation.
func NotServed(action string) error {
	return apierr.New(apierr.CodeInvalidAction, "The action %s is not valid for this web service.", action)
}
