package call

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// clientTokenMax is EC2's bound on client tokens, in characters.
const clientTokenMax = 64

// Once lets an operation with a client token be sent again. Without a token, or with one that is new, it is
// first, which makes resources and says their ids. With one that is known, again answers for those ids, if the
// parameters are the same. request is the request without its token and without DryRun.
func Once[Out any](tx *state.Tx, c Call, token *string, request any,
	first func() (Out, []string, error), again func(ids []string) (Out, error),
) (Out, error) {
	value := Text(token)
	if value == "" {
		out, _, err := first()
		return out, err
	}
	var none Out
	if len(value) > clientTokenMax {
		return none, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter clientToken is invalid. It has %d characters of %d.", value, len(value), clientTokenMax)
	}
	digest, err := requestDigest(request)
	if err != nil {
		return none, err
	}
	if t := tx.Token(c.Scope, c.Action, value); t != nil {
		if t.Digest != digest {
			return none, apierr.New(apierr.CodeIdempotentParameterMismatch,
				"Arguments on this idempotent request are inconsistent with arguments used in previous request(s). The client token '%s' made %s.",
				value, strings.Join(t.Resources, ", "))
		}
		return again(t.Resources)
	}
	out, ids, err := first()
	if err != nil {
		return none, err
	}
	tx.Put(&vpc.Token{Scope: c.Scope, Action: c.Action, Value: value, Digest: digest, Resources: ids, Created: c.Now})
	return out, nil
}

// requestDigest names a request's parameters.
func requestDigest(request any) (string, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("digesting a %T: %w", request, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
