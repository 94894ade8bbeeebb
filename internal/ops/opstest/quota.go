package opstest

import (
	"strings"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// quota plays the directive quota: words are NAME=N, or profile=NAME.
func (s *Story) quota(words []string) string {
	change := iam.QuotaChange{ResetAll: len(words) == 0, Set: map[string]int{}}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		if name == "profile" {
			change.Profile = vpc.QuotaProfile(value)
			continue
		}
		change.Set[name] = s.number(value)
	}
	return s.Try(func(tx *state.Tx, c call.Call) error {
		if tx.Account(c.Scope.Account) == nil {
			tx.Put(&vpc.Account{ID: c.Scope.Account})
		}
		_, err := iam.ChangeQuotas(tx, c.Scope.Account, change)
		return err
	})
}
