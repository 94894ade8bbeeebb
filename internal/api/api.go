// Package api is the path of a request: signature, decoding, the operation on
// a world, the commit, the answer, the event. It serves the EC2 Query API and
// STS on one address, and the small JSON API that the command line and the
// console use, there (signed) and on a unix socket (the host's operator).
//
// It decides nothing about groups and rules (room group does) and keeps nothing
// (room store does). Nothing is served unsigned on the network but health, the
// error answers and the console's files.
package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/publish"
	"sallyport.dev/sallyport/internal/sigv4"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// serviceJSON is the credential scope's service for the JSON API.
const serviceJSON = "sallyport"

// Options are what a server needs; all of it is required but Regions.
type Options struct {
	Store *store.Store
	Log   *slog.Logger
	Now   func() time.Time
	// Regions limits the regions that are served; empty: any that looks like one.
	Regions []vpc.Region
	// Home is the region that is meant where a request on the unix socket names none.
	Home vpc.Region
	// UserData says that instances may run user data, although the API listens
	// beyond loopback, or because it does not.
	UserData bool
}

// Server answers requests.
type Server struct {
	Options
	// Publisher feeds the hosts; its owner runs it and serves it to them.
	Publisher *publish.Publisher
	verifier  *sigv4.Verifier
}

// New makes a server, and the publisher that feeds its hosts.
func New(o Options) *Server {
	s := &Server{
		Options: o,
		verifier: sigv4.NewVerifier(sigv4.Options{
			Services: []string{string(ec2.ServiceEC2), string(ec2.ServiceSTS), serviceJSON},
		}),
	}
	s.Publisher = s.newPublisher()
	return s
}

// Handler serves the network: the Query API at any path, the JSON API, health.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("/api/v1/", s.signed(s.jsonAPI()))
	mux.HandleFunc("/", s.query)
	return mux
}

// health answers 200 when the server can serve: its world is loaded.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "ok %d\n", s.Store.Snapshot().Revision()) // the client went away
}

// caller is who signed a request, and where.
type caller struct {
	scope     vpc.Scope
	service   ec2.Service
	principal iam.Principal
}

// seed is a new random seed for an operation's ids.
func seed() (out [32]byte) {
	_, _ = rand.Read(out[:]) // never fails: crypto/rand ends the process instead
	return out
}

// newRequestID is a random UUID, as AWS's request ids are (RFC 9562, version 4).
func newRequestID() string {
	b := seed()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// ensureRegion sets an account up in a region at its first call there: default
// VPC, default subnets, default group.
func (s *Server) ensureRegion(ctx context.Context, c call.Call) error {
	if err := network.CheckRegion(c); err != nil {
		return err
	}
	if network.IsReady(s.Store.Snapshot(), c.Scope) {
		return nil
	}
	ids := seed()
	_, err := s.Store.Do(ctx, func(tx *state.Tx) error {
		c.IDs = call.NewIDs(ids)
		if err := network.EnsureRegion(tx, c); err != nil {
			return err
		}
		return event.Append(tx, callMeta(c))
	})
	if err != nil {
		return fmt.Errorf("setting up %s in %s: %w", c.Scope.Account, c.Scope.Region, err)
	}
	return nil
}
