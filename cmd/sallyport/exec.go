package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"

	"sallyport.dev/sallyport/cmd/internal/host"
	"sallyport.dev/sallyport/internal/program"
)

// errNotRoot is why a command of the host's operator is refused.
var errNotRoot = errors.New("this needs root: it enters namespaces of this host")

// runExec runs a command inside a lab instance. It asks no server: whoever is
// root on the host may enter its namespaces.
func runExec(ctx context.Context, env *environment, args []string) (int, error) {
	f := newFlags(env, "exec")
	data := dataFlag(f, env)
	if err := f.Parse(args); err != nil {
		return exitError, err
	}
	rest := f.Args()
	if len(rest) > 1 && rest[1] == "--" {
		rest = append(rest[:1:1], rest[2:]...)
	}
	if len(rest) < 2 {
		return exitError, errors.New("say where and what: sallyport exec i-… -- COMMAND")
	}
	if os.Geteuid() != 0 {
		return exitError, errNotRoot
	}
	h, err := host.Open(*data, newLog(env))
	if err != nil {
		return exitError, err
	}
	return h.Lab.Exec(ctx, program.InstanceID(rest[0]), rest[1:], env.stdin, env.stdout, env.stderr)
}

func runVersion(_ context.Context, env *environment, _ []string) (int, error) {
	env.sayf("sallyport %s %s %s/%s\n", build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK, nil
}

// build is the version that the toolchain stamped.
func build() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
