package e2e

import (
	"os"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[2:]))
	}
	os.Exit(installation.Main(m, &programs))
}

// install makes an empty installation whose `sallyport up` is to be started.
func install(t *testing.T) *host {
	t.Helper()
	return &host{Installation: programs.Install(t, installation.Up), t: t}
}

// host is an installation with instances on this machine.
type host struct {
	*installation.Installation
	t *testing.T
}
