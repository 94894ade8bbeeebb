// Package ec2 is the wire of the EC2 Query API, and of the one STS operation that clients need: parameters in,
// XML out.
//
// The types of requests and responses, their decoders and their encoders are generated from the API model
// (gen/); member names are the model's own, as in AWS's SDKs. By hand there is one codec: [ParseForm] and
// [Decode] on the way in, [AppendResponse] and [AppendError] on the way out, and the tables that belong to the
// protocol: [Actions], [Version], [Status].
//
// It is not an HTTP server, checks no signature and knows no meaning: whether a group exists, whether an
// enumeration's value is one of its values, and how many items a page may have is for the operations to say.
//
// Invariants: a request is understood whole or refused (an unknown parameter, a repeated parameter, a number
// that is none); decoding is linear in the request, its memory bounded by the constants here; encoding into a
// buffer with room allocates nothing and always gives well-formed XML, whatever the strings hold.
package ec2

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
)

//go:generate go run ./gen/cmd

// Service is an AWS service as a credential scope spells it.
type Service string

// The services that share the endpoint.
const (
	ServiceEC2 Service = "ec2"
	ServiceSTS Service = "sts"
)

// Request is the decoded input of an action: a pointer to one of the generated XRequest structures.
//
// Absent scalars and structures are nil, absent enumerations are empty. A list is nil when no parameter named
// it and empty when the client sent it empty ("X="), which means the same.
type Request interface {
	// ActionName is the action that the request is for.
	ActionName() string
	// WantsDryRun says whether the caller only asks whether it would work; false for actions without DryRun.
	WantsDryRun() bool

	decode(d *decoder, n *node)
}

// Response is the output of an action: a pointer to one of the generated structures, or [Return]. Nil scalars
// and structures have no element. A list has one always, but for the few that are absent when nil (gen/choices.go).
type Response interface {
	appendResponse(dst []byte) []byte
}

// Return is the response of an action that has nothing to tell but that it was done.
type Return struct{}

func (Return) appendResponse(dst []byte) []byte { return append(dst, "<return>true</return>"...) }

// Action is one row of the table of actions.
type Action struct {
	Name    string
	Service Service
	// DryRun says that the input has the member DryRun.
	DryRun bool
	// Paginated says that the input has MaxResults and NextToken.
	Paginated bool
	// Output says that the response has members of its own; without, it is Return.
	Output bool
	// New makes an empty request.
	New func() Request
	// NewResponse makes an empty response; nil without Output.
	NewResponse func() Response
}

var actions = actionTable()

// Actions lists every action there is, sorted by name.
func Actions() []Action { return slices.Clone(actions) }

// Lookup finds an action by its name, which is case-sensitive; the error is InvalidAction.
func Lookup(name string) (Action, error) {
	i, ok := slices.BinarySearchFunc(actions, name, func(a Action, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return Action{}, apierr.New(apierr.CodeInvalidAction, "The action %s is not valid for this web service.", shorten(name))
	}
	return actions[i], nil
}

// saidMax bounds what an error message repeats of a client's text.
const saidMax = 128

// shorten is the part of a client's text that an error message repeats.
func shorten(s string) string {
	if len(s) <= saidMax {
		return s
	}
	return strings.ToValidUTF8(s[:saidMax], "") + "…"
}
