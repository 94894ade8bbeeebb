package ec2

import (
	"net/http"

	"sallyport.dev/sallyport/internal/apierr"
)

// statusInternal is where the statuses begin that blame the server.
const statusInternal = http.StatusInternalServerError

// Status is the HTTP status of an error code: 400 but for these.
func Status(code apierr.Code) int {
	switch code {
	case apierr.CodeAuthFailure:
		return http.StatusUnauthorized
	case apierr.CodeUnauthorizedOperation, apierr.CodeAccessDenied, apierr.CodeInvalidClientTokenId,
		apierr.CodeSignatureDoesNotMatch, apierr.CodeMissingAuthenticationToken:
		return http.StatusForbidden
	case apierr.CodeDryRunOperation:
		return http.StatusPreconditionFailed
	case apierr.CodeInternalError, apierr.CodeInternalFailure, apierr.CodeServerInternal, "":
		return http.StatusInternalServerError
	case apierr.CodeRequestLimitExceeded, apierr.CodeUnavailable, apierr.CodeServiceUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}
