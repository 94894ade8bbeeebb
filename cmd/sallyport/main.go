// Command sallyport is the server, the one-machine mode and the operator's tool
// of Sallyport: EC2 security groups for your own machines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"sallyport.dev/sallyport/internal/bind"
)

// The exit codes of every command.
const (
	exitOK    = 0
	exitNo    = 1 // the answer is no: not reachable, not enforced, not in time
	exitError = 2
)

// command is one of sallyport's commands.
type command struct {
	name  string
	usage string // arguments
	help  string
	run   func(ctx context.Context, env *environment, args []string) (int, error)
}

// environment is what commands have of the process: nothing else reads it.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// sayf answers. Who closed our output wants to hear no more, and the exit code still tells.
func (e *environment) sayf(format string, args ...any) { _, _ = fmt.Fprintf(e.stdout, format, args...) }

// complainf says what went wrong.
func (e *environment) complainf(format string, args ...any) {
	_, _ = fmt.Fprintf(e.stderr, format, args...)
}

func commands() []command {
	return []command{
		{"up", "[--listen ADDR] [--data DIR]", "run the server and this host's agent in one process", runUp},
		{"server", "[--listen ADDR] [--data DIR] [--feed ADDR]", "run the server alone", runServer},
		{"down", "[--data DIR]", "remove every trace on this host: namespaces, links, pins (not the data)", runDown},
		{"status", "[-o json]", "what is enforced where, and what is not", runStatus},
		{"wait", "[--revision N] [--timeout D]", "wait until every bound interface has the revision in its kernel", runWait},
		{"explain", "--from X --to Y --protocol P [--port N]", "whether a flow gets through, and which rule decided", runExplain},
		{"events", "[--resource ID] [--limit N]", "who changed what", runEvents},
		{"exec", "i-… -- COMMAND", "run a command inside a lab instance, as this host's root", runExec},
		{"account", "create|list [--name NAME] [--platform vpc|classic]", "accounts, on the server's host", runAccount},
		{"key", "create|list|delete --account ID", "access keys, on the server's host", runKey},
		{"quota", "list|set NAME=N…|reset [NAME…]|profile guide-2018|aws-today [--account ID]", "how much an account may have; changing it, on the server's host", runQuota},
		{"host", "enrol --name NAME", "make the bundle with which another host's agent connects", runHost},
		{"doctor", "", "what this host can enforce, and what it lacks", runDoctor},
		{"version", "", "this build", runVersion},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == bind.LabInitCommand {
		os.Exit(bind.LabInit(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := &environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	os.Exit(run(ctx, env, os.Args[1:]))
}

// run finds the command and runs it.
func run(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		usage(env.stdout)
		return exitOK
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
	if i < 0 {
		env.complainf("sallyport: there is no command %q\n", args[0])
		usage(env.stderr)
		return exitError
	}
	code, err := commands()[i].run(ctx, env, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		env.complainf("sallyport %s: %v\n", args[0], err)
		return exitError
	}
	return code
}

func usage(w io.Writer) {
	var b strings.Builder
	b.WriteString("Sallyport: security groups for your own machines.\n\n")
	for _, c := range commands() {
		b.WriteString("  sallyport " + strings.TrimSpace(c.name+" "+c.usage) + "\n      " + c.help + "\n")
	}
	_, _ = io.WriteString(w, b.String()) // see sayf
}

// newFlags is a command's flag set; it answers errors instead of ending the process.
func newFlags(env *environment, name string) *flag.FlagSet {
	f := flag.NewFlagSet("sallyport "+name, flag.ContinueOnError)
	f.SetOutput(env.stderr)
	return f
}

// parse reads flags and refuses arguments that the command does not take.
func parse(f *flag.FlagSet, args []string) error {
	words, err := parseWords(f, args)
	if err != nil {
		return err
	}
	if len(words) > 0 {
		return fmt.Errorf("unexpected argument %q", words[0])
	}
	return nil
}

// parseWords reads flags that may stand before, between and after the words that a command takes.
func parseWords(f *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
}
