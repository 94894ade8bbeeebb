package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/cmd/internal/host"
	"sallyport.dev/sallyport/internal/api"
	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/publish"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

const (
	listenDefault   = "127.0.0.1:4750"
	regionDefault   = "us-east-1"
	capacityDefault = 64 // lab instances on this host unless --capacity says otherwise
)

// serving is what up and server are told.
type serving struct {
	env       *environment
	listen    string
	feedAddr  string // TCP with mutual TLS, for agents on other hosts; empty: none
	data      string
	etcd      string
	region    string
	regions   string
	hostID    string
	capacity  int
	userData  bool
	logLevel  string
	withAgent bool
}

func (s *serving) flags(name string) *flag.FlagSet {
	f := newFlags(s.env, name)
	f.StringVar(&s.listen, "listen", listenDefault, "the API's address; port 0 takes a free one")
	f.StringVar(&s.feedAddr, "feed", "", "address for agents on other hosts (mutual TLS); empty: none")
	f.StringVar(&s.data, "data", defaultData(s.env), "the data folder")
	f.StringVar(&s.etcd, "etcd-endpoints", "", "an external etcd cluster, comma separated; empty: one inside this process")
	f.StringVar(&s.region, "region", regionDefault, "the region of the credentials that are written")
	f.StringVar(&s.regions, "regions", "", "the regions that are served, comma separated; empty: any")
	f.BoolVar(&s.userData, "lab-user-data", false, "let instances run user data though the API listens beyond loopback")
	f.StringVar(&s.logLevel, "log", "warn", "what is logged: debug, info, warn or error")
	return f
}

func runUp(ctx context.Context, env *environment, args []string) (int, error) {
	s := &serving{env: env, withAgent: true}
	f := s.flags("up")
	f.StringVar(&s.hostID, "host-id", defaultHostID(), "this host's name in the fleet")
	f.IntVar(&s.capacity, "capacity", capacityDefault, "lab instances this host has room for")
	if err := parse(f, args); err != nil {
		return exitError, err
	}
	return s.run(ctx)
}

func runServer(ctx context.Context, env *environment, args []string) (int, error) {
	s := &serving{env: env}
	if err := parse(s.flags("server"), args); err != nil {
		return exitError, err
	}
	return s.run(ctx)
}

// defaultHostID is the machine's name as far as a host's name may have it.
func defaultHostID() string {
	name, err := os.Hostname()
	if id := feed.HostID(strings.ToLower(name)); err == nil && id.Valid() {
		return string(id)
	}
	return "localhost"
}

// run serves until ctx ends; then everything is stopped in order and the state stays.
func (s *serving) run(ctx context.Context) (int, error) {
	log, err := s.logger()
	if err != nil {
		return exitError, err
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return exitError, fmt.Errorf("making the data folder: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return exitError, fmt.Errorf("listening: %w", err)
	}
	defer func() { _ = listener.Close() }() // served and closed by then, or never used
	st, err := store.Open(ctx, store.Options{Dir: filepath.Join(s.data, "etcd"), Endpoints: split(s.etcd), Log: log})
	if err != nil {
		return exitError, fmt.Errorf("opening the world: %w", err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			log.ErrorContext(ctx, "the store did not close cleanly", "error", err)
		}
	}()
	endpoint := "http://" + listener.Addr().String()
	creds, err := s.bootstrap(ctx, st, endpoint)
	if err != nil {
		return exitError, err
	}
	if err := s.serve(ctx, log, st, listener, creds); err != nil {
		return exitError, err
	}
	return exitOK, nil
}

func (s *serving) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", s.logLevel)
	}
	return slog.New(slog.NewTextHandler(s.env.stderr, &slog.HandlerOptions{Level: level})), nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// bootstrap makes the first account and key, and writes how to use them.
func (s *serving) bootstrap(ctx context.Context, st *store.Store, endpoint string) (credentials, error) {
	preset := iam.Preset{
		Account: vpc.AccountID(s.env.getenv("SALLYPORT_ACCOUNT_ID")),
		Key:     vpc.AccessKeyID(s.env.getenv("SALLYPORT_ROOT_ACCESS_KEY_ID")),
		Secret:  s.env.getenv("SALLYPORT_ROOT_SECRET_ACCESS_KEY"),
	}
	file := filepath.Join(s.data, credentialsFile)
	key, err := api.Bootstrap(ctx, st, preset, vpc.Region(s.region), time.Now())
	if err != nil {
		return credentials{}, fmt.Errorf("making the first account: %w", err)
	}
	c := credentials{endpoint: endpoint, region: s.region, key: key}
	return c, c.write(file)
}

// credentials are what a client needs.
type credentials struct {
	endpoint, region string
	key              *vpc.AccessKey
}

// exports are lines for a shell. The region stands twice: version 1 of the AWS
// CLI reads the second name alone.
func (c credentials) exports() string {
	return fmt.Sprintf("export AWS_ENDPOINT_URL=%s\nexport AWS_REGION=%s\nexport AWS_DEFAULT_REGION=%s\n"+
		"export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n",
		c.endpoint, c.region, c.region, c.key.ID, c.key.Secret)
}

// write replaces the file at once, readable by its owner alone.
func (c credentials) write(file string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(c.exports()), 0o600); err != nil {
		return fmt.Errorf("writing the credentials: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("writing the credentials: %w", err)
	}
	return nil
}

// serve runs the server's parts, and this host's agent if it has one.
func (s *serving) serve(ctx context.Context, log *slog.Logger, st *store.Store, listener net.Listener, creds credentials) error {
	group, ctx := errgroup.WithContext(ctx)
	server := s.server(log, st, listener)
	publisher := server.Publisher
	group.Go(func() error { return publisher.Run(ctx) })
	group.Go(func() error { return server.Housekeep(ctx) })
	memory, local := feed.Memory()
	group.Go(func() error { return feed.Serve(ctx, memory, publisher, log) })
	unix, err := feed.ListenUnix(filepath.Join(s.data, feedSocket))
	if err != nil {
		return fmt.Errorf("listening for agents: %w", err)
	}
	group.Go(func() error { return feed.Serve(ctx, unix, publisher, log) })
	if s.feedAddr != "" {
		if err := s.serveFleet(ctx, group, publisher, log); err != nil {
			return err
		}
	}
	control, err := listenControl(ctx, filepath.Join(s.data, controlSocket))
	if err != nil {
		return err
	}
	serveHTTP(ctx, group, control, server.Control())
	serveHTTP(ctx, group, listener, server.Handler())
	enforces := "nothing is enforced by this process: it is a server alone"
	if s.withAgent {
		enforces = s.startAgent(ctx, group, log, local)
	}
	s.announce(creds, enforces)
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func (s *serving) server(log *slog.Logger, st *store.Store, listener net.Listener) *api.Server {
	var regions []vpc.Region
	for _, r := range split(s.regions) {
		regions = append(regions, vpc.Region(r))
	}
	return api.New(api.Options{
		Store: st, Log: log, Now: time.Now, Regions: regions, Home: vpc.Region(s.region),
		UserData: s.userData || onLoopback(listener.Addr()),
	})
}

// onLoopback says whether an address is reached from this machine alone.
func onLoopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().IsLoopback()
}

func (s *serving) serveFleet(ctx context.Context, group *errgroup.Group, p *publish.Publisher, log *slog.Logger) error {
	ca, err := feed.OpenCA(filepath.Join(s.data, caFolder))
	if err != nil {
		return fmt.Errorf("opening the fleet's authority: %w", err)
	}
	l, err := feed.ListenTLS(s.feedAddr, ca)
	if err != nil {
		return fmt.Errorf("listening for the fleet: %w", err)
	}
	group.Go(func() error { return feed.Serve(ctx, l, p, log) })
	return nil
}

// listenControl opens the operator's socket, for this user alone.
func listenControl(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing an old socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on the operator's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the operator's socket to others: %w", err), l.Close())
	}
	return l, nil
}

// Time-outs of the HTTP servers: a client that sends slowly cannot hold a
// connection for ever, and a stop waits for answers under way, not for idlers.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	idleTimeout       = 5 * time.Minute
	stopTimeout       = 10 * time.Second
)

func serveHTTP(ctx context.Context, group *errgroup.Group, l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	group.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return srv.Close()
		}
		return nil
	})
}

// startAgent makes this process this host's agent too, and says what that is worth.
func (s *serving) startAgent(ctx context.Context, group *errgroup.Group, log *slog.Logger, server feed.Endpoint) string {
	h, err := host.Open(s.data, log)
	if err == nil {
		err = datapath.Probe()
	}
	if err != nil {
		return "NOTHING IS ENFORCED HERE: " + err.Error()
	}
	run, err := h.Agent(host.AgentOptions{
		ID: feed.HostID(s.hostID), Server: server, Capacity: s.capacity, Build: build(),
	})
	if err != nil {
		return "NOTHING IS ENFORCED HERE: " + err.Error()
	}
	group.Go(func() error { return run(ctx) })
	return fmt.Sprintf("this host is %q: it enforces groups, and has room for %d lab instances", s.hostID, s.capacity)
}

func (s *serving) announce(c credentials, enforces string) {
	var b strings.Builder
	fmt.Fprintf(&b, "sallyport is ready at %s (account %s, region %s)\n", c.endpoint, c.key.Account, c.region)
	fmt.Fprintf(&b, "%s\n\n", enforces)
	fmt.Fprintf(&b, "  source %s\n\n%s\n", filepath.Join(s.data, credentialsFile), c.exports())
	fmt.Fprintf(&b, "Ctrl-C stops it and leaves its state; `sallyport down` then removes every trace on this host.\n")
	_, _ = io.WriteString(s.env.stdout, b.String()) // nobody reads: it serves all the same
}
