package call

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
)

// SomeOf lists things for a message; of many, the first and how many more there are.
func SomeOf(things []string) string {
	const most = 10 // a person looks at no more, and an answer stays small
	if len(things) <= most {
		return strings.Join(things, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(things[:most], ", "), len(things)-most)
}

// Unsupported is the answer to what is part of the API and not of this system: it is refused, never ignored.
func Unsupported(what string) error {
	return apierr.New(apierr.CodeUnsupportedOperation, "The requested operation is not supported. There are no %s here.", what)
}

// BadValue is the answer to a value that is none of those that a parameter can have.
func BadValue(param, value string) error {
	return apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for parameter %s is invalid.", value, param)
}

// InTheWay is the error for a resource that cannot be deleted because of others; kind is how EC2 calls its kind.
func InTheWay(kind, id string, others []string) error {
	return apierr.New(apierr.CodeDependencyViolation,
		"The %s '%s' has dependencies and cannot be deleted. It has %s.", kind, id, SomeOf(others))
}

// BadAttribute is the answer to an attribute that does not exist, or was not named.
func BadAttribute(name string) error {
	if name == "" {
		return apierr.New(apierr.CodeInvalidParameterCombination, "No attributes specified.")
	}
	return apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for parameter attribute is invalid. Unknown attribute.", name)
}
