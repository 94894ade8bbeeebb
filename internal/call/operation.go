package call

import (
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

// Reads makes the operation of a function that only reads; the request's type says which action it is.
func Reads[In ec2.Request, Out ec2.Response](f func(*state.Tx, Call, In) (Out, error)) Operation {
	var in In
	return Operation{
		Name: in.ActionName(),
		run: func(tx *state.Tx, c Call, req ec2.Request) (ec2.Response, error) {
			return f(tx, c, req.(In))
		},
	}
}

// Writes makes the operation of a function that may change the world.
func Writes[In ec2.Request, Out ec2.Response](f func(*state.Tx, Call, In) (Out, error)) Operation {
	o := Reads(f)
	o.Writes = true
	return o
}
