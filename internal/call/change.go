package call

import (
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
)

// Change is one attribute that a Modify…Attribute call can change: its name and, if the call names it, how.
type Change[E any] struct {
	Name string
	Set  func(E) error // nil: the call does not name it
}

// OnlyChange is the one attribute that a call changes; EC2 takes exactly one.
func OnlyChange[E any](all []Change[E]) (Change[E], error) {
	var named []string
	var chosen Change[E]
	for _, ch := range all {
		if ch.Set != nil {
			named = append(named, ch.Name)
			chosen = ch
		}
	}
	switch len(named) {
	case 1:
		return chosen, nil
	case 0:
		return chosen, apierr.New(apierr.CodeInvalidParameterCombination, "No attributes specified.")
	}
	return chosen, apierr.New(apierr.CodeInvalidParameterCombination,
		"Fields for multiple attribute types specified: %s", strings.Join(named, ", "))
}

// Toggle is a change of a boolean of an entity.
func Toggle[E any](name string, in *ec2.AttributeBooleanValue, set func(E, bool)) Change[E] {
	if in == nil {
		return Change[E]{Name: name}
	}
	return Change[E]{name, func(e E) error {
		if in.Value == nil {
			return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter %s.Value", name)
		}
		set(e, *in.Value)
		return nil
	}}
}

// Refusal is an attribute that is part of the API and not of this system.
func Refusal[E any](name string, named bool, what string) Change[E] {
	if !named {
		return Change[E]{Name: name}
	}
	return Change[E]{name, func(E) error { return Unsupported(what) }}
}
