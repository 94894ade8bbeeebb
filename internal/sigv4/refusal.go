package sigv4

import (
	"fmt"

	"sallyport.dev/sallyport/internal/apierr"
)

// Reason says why a request was refused.
type Reason string

// The reasons.
const (
	// ReasonMissing: there is no signature.
	ReasonMissing Reason = "missing"
	// ReasonMalformed: there is one that cannot be read, or of another kind.
	ReasonMalformed Reason = "malformed"
	// ReasonIncomplete: it does not cover what it must.
	ReasonIncomplete Reason = "incomplete"
	// ReasonScope: it is for another service or another day.
	ReasonScope Reason = "scope"
	// ReasonExpired: it is too old, or from the future.
	ReasonExpired Reason = "expired"
	// ReasonUnknownKey: nobody has this access key.
	ReasonUnknownKey Reason = "unknown_key"
	// ReasonSignature: the request or the secret is not what was signed with.
	ReasonSignature Reason = "signature"
)

// Refusal is the error of Verify. It unwraps to the *apierr.Error that a client of EC2 sees.
type Refusal struct {
	Reason Reason
	// Detail is for logs, and part of the client's message unless that would tell a stranger about keys.
	Detail string
}

func refuse(why Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: why, Detail: fmt.Sprintf(format, args...)}
}

// Error is the form for logs.
func (r *Refusal) Error() string {
	return "verifying the signature: " + string(r.Reason) + ": " + r.Detail
}

// Unwrap is the error for a client of EC2.
func (r *Refusal) Unwrap() error { return r.EC2() }

const (
	messageAuthFailure = "AWS was not able to validate the provided access credentials"
	messageMissing     = "Request is missing Authentication Token"
)

// EC2 is the error for a client of EC2.
func (r *Refusal) EC2() *apierr.Error {
	switch r.Reason {
	case ReasonMissing:
		return apierr.New(apierr.CodeMissingAuthenticationToken, messageMissing)
	case ReasonMalformed, ReasonIncomplete:
		return apierr.New(apierr.CodeIncompleteSignature, "%s", r.Detail)
	case ReasonExpired:
		return apierr.New(apierr.CodeRequestExpired, "%s", r.Detail)
	case ReasonScope:
		return apierr.New(apierr.CodeAuthFailure, messageAuthFailure+". %s", r.Detail)
	case ReasonUnknownKey, ReasonSignature:
	}
	return apierr.New(apierr.CodeAuthFailure, messageAuthFailure)
}

// STS is the error for a client of STS, which has other words.
func (r *Refusal) STS() *apierr.Error {
	switch r.Reason {
	case ReasonMissing:
		return apierr.New(apierr.CodeMissingAuthenticationToken, messageMissing)
	case ReasonMalformed, ReasonIncomplete:
		return apierr.New(apierr.CodeIncompleteSignature, "%s", r.Detail)
	case ReasonUnknownKey:
		return apierr.New(apierr.CodeInvalidClientTokenId, "The security token included in the request is invalid.")
	case ReasonExpired:
		return apierr.New(apierr.CodeSignatureDoesNotMatch, "Signature expired: %s", r.Detail)
	case ReasonScope:
		return apierr.New(apierr.CodeSignatureDoesNotMatch, "%s", r.Detail)
	case ReasonSignature:
	}
	return apierr.New(apierr.CodeSignatureDoesNotMatch, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}
