package ops

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
)

// Operation is one action that is served.
type Operation struct {
	Name string
	// Writes says that the operation may change the world; one that does not is run on a transaction that
	// nobody commits.
	Writes bool
	run    func(tx *state.Tx, c Call, req ec2.Request) (ec2.Response, error)
}

var operations = operationTable()

// operationTable gathers the operations of every file, sorted by name.
func operationTable() []Operation {
	out := slices.Concat(
		groupActions(),
		ruleActions(),
		tagActions(),
		vpcActions(),
		subnetActions(),
		interfaceActions(),
		instanceActions(),
		imageActions(),
		zoneActions(),
		accountActions(),
	)
	slices.SortFunc(out, func(a, b Operation) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Operations lists every operation, sorted by name.
func Operations() []Operation { return slices.Clone(operations) }

// Lookup finds the operation of an action. Not every action of the API model has one.
func Lookup(action string) (Operation, bool) {
	i, ok := slices.BinarySearchFunc(operations, action,
		func(o Operation, name string) int { return strings.Compare(o.Name, name) })
	if !ok {
		return Operation{}, false
	}
	return operations[i], true
}

// NotServed is the answer to an action that has no operation.
func NotServed(action string) error {
	return apierr.New(apierr.CodeInvalidAction, "The action %s is not valid for this web service.", action)
}

// Run evaluates the operation on a transaction. With an error the transaction is to be discarded, whatever was
// written to it. A dry run is evaluated like any other, so that it answers what the real one would, and then
// answers DryRunOperation.
func (o Operation) Run(tx *state.Tx, c Call, req ec2.Request) (ec2.Response, error) {
	res, err := o.run(tx, c, req)
	switch {
	case err != nil:
		return nil, err
	case req.WantsDryRun():
		return nil, apierr.New(apierr.CodeDryRunOperation, "Request would have succeeded, but DryRun flag is set.")
	}
	return res, nil
}

// reads makes the operation of a function that only reads; the request's type says which action it is.
func reads[In ec2.Request, Out ec2.Response](f func(*state.Tx, Call, In) (Out, error)) Operation {
	var in In
	return Operation{
		Name: in.ActionName(),
		run: func(tx *state.Tx, c Call, req ec2.Request) (ec2.Response, error) {
			return f(tx, c, req.(In))
		},
	}
}

// writes makes the operation of a function that may change the world.
func writes[In ec2.Request, Out ec2.Response](f func(*state.Tx, Call, In) (Out, error)) Operation {
	o := reads(f)
	o.Writes = true
	return o
}
