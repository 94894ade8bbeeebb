package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"

	"sallyport.dev/sallyport/internal/answer"
)

// runQuota lists an account's quotas, or changes them. Each verb that changes them tells what they are then.
func runQuota(ctx context.Context, env *environment, args []string) (int, error) {
	what, args, err := verb(args, "list, set, reset or profile")
	if err != nil {
		return exitError, err
	}
	a := newAsking(env, "quota "+what)
	words, err := parseWords(a.flags, args)
	if err != nil {
		return exitError, err
	}
	change, err := quotaChange(what, words)
	if err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	var list answer.Quotas
	if change == nil {
		err = c.call(ctx, http.MethodGet, "quotas", nil, nil, &list)
	} else {
		err = c.call(ctx, http.MethodPost, "quotas", nil, change, &list)
	}
	if err != nil {
		return exitError, err
	}
	if a.json() {
		return exitOK, printJSON(env.stdout, list)
	}
	return exitOK, printQuotas(env, list)
}

// quotaChange is what a verb and its words ask for; nil: only to list.
func quotaChange(what string, words []string) (*answer.QuotaChange, error) {
	switch what {
	case "list":
		if len(words) > 0 {
			return nil, fmt.Errorf("unexpected argument %q", words[0])
		}
		return nil, nil
	case "set":
		return quotasToSet(words)
	case "reset":
		return &answer.QuotaChange{Reset: words, ResetAll: len(words) == 0}, nil
	case "profile":
		if len(words) != 1 {
			return nil, errors.New("say which profile: guide-2018 or aws-today")
		}
		return &answer.QuotaChange{Profile: words[0]}, nil
	}
	return nil, fmt.Errorf("there is no %q: list, set, reset or profile", what)
}

func quotasToSet(words []string) (*answer.QuotaChange, error) {
	if len(words) == 0 {
		return nil, errors.New("say what to set: NAME=N")
	}
	out := &answer.QuotaChange{Set: map[string]int{}}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("%q is not NAME=N with a number N", w)
		}
		if _, twice := out.Set[name]; twice {
			return nil, fmt.Errorf("%s is set twice", name)
		}
		out.Set[name] = n
	}
	return out, nil
}

func printQuotas(env *environment, list answer.Quotas) error {
	env.sayf("account %s, profile %s\n", list.AccountID, list.Profile)
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, q := range list.Quotas {
		source := q.Source
		if q.Value != q.Profile {
			source = fmt.Sprintf("%s, profile: %d", source, q.Profile)
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\n", q.Name, q.Value, source)
	}
	return w.Flush()
}
