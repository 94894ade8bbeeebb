package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/internal/feed"
)

// runHost makes what another host needs to connect. It works on the server's
// data folder; no server need run.
func runHost(_ context.Context, env *environment, args []string) (int, error) {
	what, args, err := verb(args, "enrol")
	if err != nil {
		return exitError, err
	}
	if what != "enrol" {
		return exitError, fmt.Errorf("there is no %q: enrol", what)
	}
	f := newFlags(env, "host enrol")
	data := dataFlag(f, env)
	name := f.String("name", "", "the host's name in the fleet")
	out := f.String("out", "", "the bundle's file; default NAME.bundle")
	if err := parse(f, args); err != nil {
		return exitError, err
	}
	if !feed.HostID(*name).Valid() {
		return exitError, errors.New("give the host's name: --name, of letters, digits, dots and hyphens")
	}
	ca, err := feed.OpenCA(filepath.Join(*data, caFolder))
	if err != nil {
		return exitError, fmt.Errorf("opening the fleet's authority: %w", err)
	}
	bundle, err := ca.Enrol(feed.HostID(*name))
	if err != nil {
		return exitError, fmt.Errorf("enrolling %s: %w", *name, err)
	}
	if *out == "" {
		*out = *name + ".bundle"
	}
	if err := os.WriteFile(*out, bundle.Marshal(), 0o600); err != nil {
		return exitError, fmt.Errorf("writing the bundle: %w", err)
	}
	env.sayf("%s: give it to the host, and run there: sallyport-agent --server ADDRESS --bundle %s\n", *out, *out)
	return exitOK, nil
}
