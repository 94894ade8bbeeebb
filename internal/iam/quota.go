package iam

import (
	"maps"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// QuotaChange is what is to become of an account's quotas. What it does not name stays.
type QuotaChange struct {
	Profile  vpc.QuotaProfile // empty: the one it has
	ResetAll bool             // everything is as the profile says, before anything is set
	Reset    []string         // names of what is as the profile says again
	Set      map[string]int   // by name
}

// ChangeQuotas sets an account's quotas. They bound what is added from now on: what there is already stays, however
// much it is.
func ChangeQuotas(tx *state.Tx, id vpc.AccountID, c QuotaChange) (*vpc.Account, error) {
	a, err := Account(tx.Snapshot, id)
	if err != nil {
		return nil, err
	}
	if c.Profile != "" && !slices.Contains(vpc.QuotaProfiles(), c.Profile) {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "There is no profile %q: %v", c.Profile, vpc.QuotaProfiles())
	}
	for _, name := range slices.Concat(c.Reset, slices.Sorted(maps.Keys(c.Set))) {
		if _, ok := vpc.QuotaNamed(name); !ok {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "There is no quota %q: %s", name, quotaNames())
		}
	}
	next := *a
	next.Quotas.Overrides = map[string]int{}
	if !c.ResetAll {
		maps.Copy(next.Quotas.Overrides, a.Quotas.Overrides)
	}
	for _, name := range c.Reset {
		delete(next.Quotas.Overrides, name)
	}
	maps.Copy(next.Quotas.Overrides, c.Set)
	if len(next.Quotas.Overrides) == 0 {
		next.Quotas.Overrides = nil // as it is stored
	}
	if c.Profile != "" {
		next.Quotas.Profile = c.Profile
	}
	if err := next.Quotas.Check(); err != nil {
		return nil, err
	}
	if next.Quotas.Equal(a.Quotas) {
		return a, nil // no change, no event
	}
	tx.Put(&next)
	return &next, nil
}

func quotaNames() string {
	var names []string
	for _, q := range vpc.EveryQuota() {
		names = append(names, q.Name)
	}
	return strings.Join(names, ", ")
}
