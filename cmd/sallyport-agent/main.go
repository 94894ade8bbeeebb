//go:build linux

// Command sallyport-agent makes one host of a fleet enforce what its server
// wants. It runs as root and links nothing of the control plane.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"sallyport.dev/sallyport/cmd/internal/host"
	"sallyport.dev/sallyport/internal/bind"
	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/feed"
)

// The exit codes of every command.
const (
	exitOK    = 0
	exitNo    = 1 // this host cannot enforce
	exitError = 2
)

const usage = `sallyport-agent: this host's agent of Sallyport, EC2 security groups for your own machines

  sallyport-agent --server HOST:PORT --bundle FILE    enforce what a server wants, until stopped
  sallyport-agent --server /PATH/TO/SOCKET            the same, with the server on this machine
  sallyport-agent check                               say whether this host can enforce
  sallyport-agent down [--data DIR]                   remove every trace on this host (not the data)

`

const dataDefault = "/var/lib/sallyport-agent"

// capacityDefault is how many lab instances a host takes unless it is told:
// each has a namespace, and 512 processes at most.
const capacityDefault = 100

func main() {
	if len(os.Args) > 1 && os.Args[1] == bind.LabInitCommand {
		os.Exit(bind.LabInit(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "sallyport-agent:", err) // there is nowhere else to say it
	if errors.Is(err, datapath.ErrUnsupported) {
		return exitNo
	}
	return exitError
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("sallyport-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage) // there is nowhere else to say it
		flags.PrintDefaults()
	}
	var o options
	flags.StringVar(&o.data, "data", dataDefault, "folder of what this host's side keeps")
	if name == "" {
		o.add(flags)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	switch name {
	case "":
		return serve(ctx, o, log)
	case "check":
		if err := datapath.Probe(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, "this host can enforce")
		return err
	case "down":
		h, err := host.Open(o.data, log)
		if err != nil {
			return err
		}
		release, err := h.Lock()
		if err != nil {
			return fmt.Errorf("this host's agent: %w", err)
		}
		defer release()
		return h.Remove()
	}
	return fmt.Errorf("there is no command %q", name)
}

// options are what an agent is told.
type options struct {
	data, server, bundle, id, region string
	capacity                         int
}

func (o *options) add(flags *flag.FlagSet) {
	flags.StringVar(&o.server, "server", "", "the server: HOST:PORT, or the path of its socket on this machine")
	flags.StringVar(&o.bundle, "bundle", "", "file that `sallyport host enrol` made for this host")
	flags.StringVar(&o.id, "host-id", "", "name of this host; default: the bundle's, else the host's own")
	flags.StringVar(&o.region, "region", "", "the only region to serve; default: every region")
	flags.IntVar(&o.capacity, "capacity", capacityDefault, "how many lab instances there is room for")
}

func serve(ctx context.Context, o options, log *slog.Logger) error {
	endpoint, id, err := o.connect()
	if err != nil {
		return err
	}
	h, err := host.Open(o.data, log)
	if err != nil {
		return err
	}
	agent, err := h.Agent(host.AgentOptions{
		ID: id, Server: endpoint, Region: o.region, Capacity: o.capacity, Build: build(),
	})
	if err != nil {
		return fmt.Errorf("starting this host's agent: %w", err)
	}
	log.InfoContext(ctx, "agent begins", "host", string(id), "server", endpoint.String())
	return agent(ctx)
}

// connect says how the server is reached, and as whom.
func (o options) connect() (feed.Endpoint, feed.HostID, error) {
	if o.server == "" {
		return feed.Endpoint{}, "", errors.New("--server is missing")
	}
	id := feed.HostID(o.id)
	var bundle *feed.Bundle
	if o.bundle != "" {
		text, err := os.ReadFile(o.bundle)
		if err != nil {
			return feed.Endpoint{}, "", fmt.Errorf("reading the enrolment: %w", err)
		}
		if bundle, err = feed.ParseBundle(text); err != nil {
			return feed.Endpoint{}, "", err
		}
		enrolled, err := bundle.Host()
		if err != nil {
			return feed.Endpoint{}, "", err
		}
		if id == "" {
			id = enrolled
		}
		if id != enrolled {
			return feed.Endpoint{}, "", fmt.Errorf("%s enrols host %s, not %s", o.bundle, enrolled, id)
		}
	}
	if id == "" {
		name, err := os.Hostname()
		if err != nil {
			return feed.Endpoint{}, "", fmt.Errorf("asking for this host's name: %w", err)
		}
		id = feed.HostID(name)
	}
	if !id.Valid() {
		return feed.Endpoint{}, "", fmt.Errorf("%q cannot name a host: letters, digits, dots, hyphens and underscores, at most 63", id)
	}
	endpoint, err := feed.ParseEndpoint(o.server, bundle)
	return endpoint, id, err
}

func build() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
