package apierr_test

import (
	"errors"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
)

func TestFromHidesWhatIsNotAPI(t *testing.T) {
	api := apierr.New(apierr.CodeInvalidGroupNotFound, "The security group '%s' does not exist", "sg-1")
	var typedNil *apierr.Error
	for _, c := range []struct {
		name string
		err  error
		code apierr.Code
		text string
	}{
		{"api error", api, "InvalidGroup.NotFound", "The security group 'sg-1' does not exist"},
		{"wrapped api error", fmt.Errorf("creating: %w", api), "InvalidGroup.NotFound", "The security group 'sg-1' does not exist"},
		{"joined api error", errors.Join(errors.New("x"), api), "InvalidGroup.NotFound", "The security group 'sg-1' does not exist"},
		{"anything else", errors.New("etcd: password is hunter2"), "InternalError", "An internal error has occurred"},
		{"api error without a code", &apierr.Error{Message: "secret"}, "InternalError", "An internal error has occurred"},
		{"typed nil", typedNil, "InternalError", "An internal error has occurred"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := apierr.From(c.err)
			if got.Code != c.code || got.Message != c.text {
				t.Errorf("From = %s, want %s: %s", got, c.code, c.text)
			}
		})
	}
	if got := apierr.From(nil); got != nil {
		t.Errorf("From(nil) = %v", got)
	}
}

func TestIsComparesCodes(t *testing.T) {
	err := fmt.Errorf("x: %w", apierr.New(apierr.CodeDryRunOperation, "would have"))
	if !errors.Is(err, &apierr.Error{Code: apierr.CodeDryRunOperation}) {
		t.Error("same code, no message asked for: want a match")
	}
	if errors.Is(err, &apierr.Error{Code: apierr.CodeDryRunOperation, Message: "other"}) {
		t.Error("other message: want no match")
	}
	if !apierr.HasCode(err, apierr.CodeDryRunOperation) || apierr.HasCode(err, apierr.CodeAuthFailure) {
		t.Error("HasCode is wrong")
	}
	if apierr.HasCode(errors.New("x"), "") {
		t.Error("HasCode of a foreign error: want false")
	}
	const want = "DryRunOperation: would have"
	if e := apierr.From(err); e.Error() != want {
		t.Errorf("Error() = %q, want %q", e.Error(), want)
	}
}
