package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/vpc"
)

// verb takes the first argument of a command that has verbs.
func verb(args []string, verbs string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, fmt.Errorf("say what: %s", verbs)
	}
	return args[0], args[1:], nil
}

func runAccount(ctx context.Context, env *environment, args []string) (int, error) {
	what, args, err := verb(args, "create or list")
	if err != nil {
		return exitError, err
	}
	a := newAsking(env, "account "+what)
	name := a.flags.String("name", "", "a name for people")
	platform := a.flags.String("platform", "vpc", "vpc, or classic: EC2-Classic beside VPCs, and no default VPC (create)")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	switch what {
	case "create":
		wanted := answer.Account{AccountID: *a.scope.account, Name: *name}
		if wanted.Platforms, err = platforms(*platform); err != nil {
			return exitError, err
		}
		var made answer.Account
		if err := c.call(ctx, http.MethodPost, "accounts", nil, wanted, &made); err != nil {
			return exitError, err
		}
		if a.json() {
			return exitOK, printJSON(env.stdout, made)
		}
		env.sayf("account %s\n", made.AccountID)
		return exitOK, nil
	case "list":
		var list answer.Accounts
		if err := c.call(ctx, http.MethodGet, "accounts", nil, nil, &list); err != nil {
			return exitError, err
		}
		if a.json() {
			return exitOK, printJSON(env.stdout, list)
		}
		for _, acc := range list.Accounts {
			classic := ""
			if len(acc.Platforms) > 0 {
				classic = "  (EC2-Classic)"
			}
			env.sayf("%s  %s%s\n", acc.AccountID, acc.Name, classic)
		}
		return exitOK, nil
	}
	return exitError, fmt.Errorf("there is no %q: create or list", what)
}

// platforms are those that an account of a kind has; none, those of every account.
func platforms(kind string) ([]vpc.Platform, error) {
	switch kind {
	case "vpc":
		return nil, nil
	case "classic":
		return []vpc.Platform{vpc.PlatformClassic, vpc.PlatformVPC}, nil
	}
	return nil, fmt.Errorf("platform %q is neither vpc nor classic", kind)
}

func runKey(ctx context.Context, env *environment, args []string) (int, error) {
	what, args, err := verb(args, "create, list or delete")
	if err != nil {
		return exitError, err
	}
	a := newAsking(env, "key "+what)
	id := a.flags.String("key", "", "the access key's id (delete)")
	if err := parse(a.flags, args); err != nil {
		return exitError, err
	}
	c, err := a.client()
	if err != nil {
		return exitError, err
	}
	switch what {
	case "create":
		return createKey(ctx, a, c)
	case "list":
		return listKeys(ctx, a, c)
	case "delete":
		var gone answer.Key
		if err := c.call(ctx, http.MethodDelete, "keys", url.Values{"key": {*id}}, nil, &gone); err != nil {
			return exitError, err
		}
		if a.json() {
			return exitOK, printJSON(env.stdout, gone)
		}
		env.sayf("deleted %s of account %s\n", gone.AccessKeyID, gone.AccountID)
		return exitOK, nil
	}
	return exitError, fmt.Errorf("there is no %q: create, list or delete", what)
}

func createKey(ctx context.Context, a *asking, c *client) (int, error) {
	var made answer.Key
	if err := c.call(ctx, http.MethodPost, "keys", nil, struct{}{}, &made); err != nil {
		return exitError, err
	}
	if a.json() {
		return exitOK, printJSON(a.env.stdout, made)
	}
	a.env.sayf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", made.AccessKeyID, made.SecretAccessKey)
	return exitOK, nil
}

func listKeys(ctx context.Context, a *asking, c *client) (int, error) {
	var list answer.Keys
	if err := c.call(ctx, http.MethodGet, "keys", nil, nil, &list); err != nil {
		return exitError, err
	}
	if a.json() {
		return exitOK, printJSON(a.env.stdout, list)
	}
	w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
	for _, k := range list.Keys {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", k.AccountID, k.AccessKeyID, k.Created.Format(time.RFC3339))
	}
	return exitOK, w.Flush()
}
