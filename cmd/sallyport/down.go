package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"sallyport.dev/sallyport/cmd/internal/host"
	"sallyport.dev/sallyport/internal/datapath"
)

// newLog writes warnings and worse for people.
func newLog(env *environment) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func runDown(_ context.Context, env *environment, args []string) (int, error) {
	f := newFlags(env, "down")
	data := dataFlag(f, env)
	if err := parse(f, args); err != nil {
		return exitError, err
	}
	if os.Geteuid() != 0 {
		return exitError, errNotRoot
	}
	if _, err := os.Stat(*data); err != nil {
		return exitError, fmt.Errorf("there is no data folder %s, so nothing of it is on this host", *data)
	}
	h, err := host.Open(*data, newLog(env))
	if err != nil {
		return exitError, err
	}
	release, err := h.Lock()
	if errors.Is(err, host.ErrRunning) {
		return exitError, fmt.Errorf("`sallyport up` over %s is running: stop it first (Ctrl-C)", *data)
	}
	if err != nil {
		return exitError, err
	}
	defer release()
	if err := h.Remove(); err != nil {
		return exitError, err
	}
	env.sayf("nothing of %s is left on this host; the data folder stays\n", *data)
	return exitOK, nil
}

// runDoctor says what this host can enforce.
func runDoctor(_ context.Context, env *environment, args []string) (int, error) {
	f := newFlags(env, "doctor")
	data := dataFlag(f, env)
	if err := parse(f, args); err != nil {
		return exitError, err
	}
	code := exitOK
	say := func(what string, err error) {
		if err != nil {
			code = exitNo
			env.sayf("no   %s: %v\n", what, err)
			return
		}
		env.sayf("yes  %s\n", what)
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease") // a kernel without it says nothing of itself
	env.sayf("sallyport %s on %s, kernel %s\n", build(), runtime.GOARCH, strings.TrimSpace(string(release)))
	say("groups are enforced in this kernel", datapath.Probe())
	say("user data can be sandboxed (bubblewrap)", inPath("bwrap"))
	_, err := os.Stat(filepath.Join(*data, controlSocket))
	say("a server answers in "+*data, err)
	return code, nil
}

func inPath(program string) error {
	for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err == nil && info.Mode()&0o111 != 0 {
			return nil
		}
	}
	return fmt.Errorf("%s is not installed", program)
}
