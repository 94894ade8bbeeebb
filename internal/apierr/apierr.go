// Package apierr is what a client may see of a failure: one of EC2's error codes and a message.
//
// It is a leaf. It knows no HTTP status (that is one table in package ec2), no XML and no request; it only
// keeps a code and a sentence together on their way from the room that refused to the wire.
//
// Invariant: what is not an *Error never reaches a client as text. [From] turns any other error into
// InternalError and drops its words, which stay with whoever logs the original.
package apierr

import (
	"errors"
	"fmt"
)

// Code is an error code with EC2's spelling, such as "InvalidGroup.NotFound". The constants name the codes
// that AWS documents; an empty Code means nothing and is sent as InternalError.
type Code string

// Error is an answer that refuses: a code that programs read and a message that people read.
// Message begins with AWS's words where AWS has some, and then names the culprit.
type Error struct {
	Code    Code
	Message string
}

// New returns an error with the code and the formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error is the form for logs: code, colon, message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is says that two API errors are the same kind of refusal when their codes agree, so that
// errors.Is(err, &Error{Code: c}) asks for a code whatever the message says.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// From is the error as the client may see it: the *Error inside err, or InternalError in place of anything
// else. It is nil for nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e != nil && e.Code != "" {
		return e
	}
	return &Error{Code: CodeInternalError, Message: "An internal error has occurred"}
}

// HasCode says whether err is, or wraps, an API error with the code.
func HasCode(err error, code Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e != nil && e.Code == code
}
