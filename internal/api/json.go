package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/publish"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// Limits of the JSON API.
const (
	jsonBodyMax   = 64 << 10         // its requests are a few members
	eventsMax     = 1000             // of one answer
	eventsScanMax = 20_000           // records looked at for one answer
	waitMax       = 10 * time.Minute // a client that wants longer asks again
)

// callerKey is the context's key of the caller that signed a JSON request.
type callerKey struct{}

// signed lets only signed requests through, and tells who signed.
func (s *Server) signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, jsonBodyMax))
		if err != nil {
			s.fail(w, r, apierr.New(apierr.CodeMalformedQueryString, "The body of the request could not be read."))
			return
		}
		c, err := s.authenticate(r, body)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if c.service != serviceJSON {
			s.fail(w, r, apierr.New(apierr.CodeAuthFailure, "Credential should be scoped to the service %s.", serviceJSON))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// answerer is one call of the JSON API: it gives what is encoded, or an error.
type answerer func(ctx context.Context, scope vpc.Scope, q url.Values) (any, error)

// jsonAPI are the calls that any account may make, each about its own things.
func (s *Server) jsonAPI() *http.ServeMux {
	mux := http.NewServeMux()
	for path, f := range map[string]answerer{
		"GET /api/v1/explain": s.explain,
		"GET /api/v1/status":  s.status,
		"GET /api/v1/wait":    s.wait,
		"GET /api/v1/events":  s.events,
		"GET /api/v1/quotas":  s.listQuotas,
	} {
		mux.Handle(path, s.answerJSON(f))
	}
	return mux
}

// answerJSON serves one call.
func (s *Server) answerJSON(f answerer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		scope := vpc.Scope{Region: vpc.Region(q.Get("region")), Account: vpc.AccountID(q.Get("account"))}
		if c, ok := r.Context().Value(callerKey{}).(caller); ok {
			scope = c.scope // whoever signed sees their own
		}
		if scope.Region == "" {
			scope.Region = s.Home
		}
		if scope.Account == "" {
			scope.Account = s.firstAccount()
		}
		out, err := f(r.Context(), scope, q)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("x-sallyport-revision", strconv.FormatUint(uint64(s.Store.Snapshot().Revision()), 10))
		if err := json.NewEncoder(w).Encode(out); err != nil {
			s.Log.DebugContext(r.Context(), "answer not delivered", "path", r.URL.Path, "error", err)
		}
	})
}

// fail answers an error of the JSON API: its code, its message, the code's status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := apierr.From(err)
	if e.Code == apierr.CodeInternalError {
		s.Log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(ec2.Status(e.Code))
	_ = json.NewEncoder(w).Encode(struct{ Code, Message string }{string(e.Code), e.Message}) // the client went away
}

// firstAccount is the account that is meant where a request on the unix socket names none.
func (s *Server) firstAccount() vpc.AccountID {
	for a := range s.Store.Snapshot().Accounts() {
		return a.ID
	}
	return ""
}

func (s *Server) explain(ctx context.Context, scope vpc.Scope, q url.Values) (any, error) {
	service, err := answer.ParseService(q.Get("protocol"), q.Get("port"))
	if err != nil {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "%s", err)
	}
	snap, err := s.Store.Barrier(ctx)
	if err != nil {
		return nil, err
	}
	_, signed := ctx.Value(callerKey{}).(caller)
	a, err := explain.Reach(snap, explain.Query{
		Scope: scope, From: q.Get("from"), To: q.Get("to"), Service: service,
		VPC: vpc.VPCID(q.Get("vpc")), IPv6: q.Get("ipv6") == "true", AnyAccount: !signed,
	})
	if err != nil {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "%s", err)
	}
	return answer.Explain(a), nil
}

// status tells what is enforced where, of the account's interfaces.
func (s *Server) status(_ context.Context, scope vpc.Scope, _ url.Values) (any, error) {
	snap := s.Store.Snapshot()
	out := answer.Status{Revision: uint64(snap.Revision()), Hosts: []answer.HostStatus{}, Enforced: true}
	connected := false
	for _, h := range s.Publisher.Hosts() {
		hs := hostStatus(snap, scope.Account, h)
		connected = connected || h.Connected
		for _, i := range hs.Interfaces {
			out.Enforced = out.Enforced && i.Status == feed.Enforced.String()
		}
		out.Enforced = out.Enforced && (h.Connected || len(hs.Interfaces) == 0)
		out.Hosts = append(out.Hosts, hs)
	}
	out.Enforced = out.Enforced && connected
	return out, nil
}

func hostStatus(snap *state.Snapshot, account vpc.AccountID, h publish.HostStatus) answer.HostStatus {
	out := answer.HostStatus{
		HostID: string(h.Host), Connected: h.Connected, LastSeen: h.LastSeen, Revision: uint64(h.Revision),
		Capacity: h.Capacity, Interfaces: []answer.InterfaceStatus{},
	}
	for _, i := range h.Interfaces {
		e := snap.Interface(vpc.InterfaceID(i.ID))
		if e == nil || e.Scope.Account != account {
			continue
		}
		is := answer.InterfaceStatus{
			NetworkInterfaceID: string(i.ID), Status: i.State.String(), Reason: i.Reason, Revision: uint64(i.Revision),
		}
		if e.Attachment != nil {
			is.InstanceID = string(e.Attachment.Instance)
		}
		if a := e.Primary(); a.IsValid() {
			is.PrivateIPAddress = a.String()
		}
		out.Interfaces = append(out.Interfaces, is)
	}
	return out
}

func (s *Server) wait(ctx context.Context, _ vpc.Scope, q url.Values) (any, error) {
	revision, err := strconv.ParseUint(q.Get("revision"), 10, 64)
	if err != nil {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "revision %q is no number", q.Get("revision"))
	}
	timeout, err := time.ParseDuration(q.Get("timeout"))
	if err != nil || timeout < 0 {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "timeout %q is no duration such as 30s", q.Get("timeout"))
	}
	if revision == 0 {
		revision = uint64(s.Store.Snapshot().Revision())
	}
	ctx, cancel := context.WithTimeout(ctx, min(timeout, waitMax))
	defer cancel()
	out := answer.WaitResult{Revision: revision}
	if err := s.Publisher.Wait(ctx, state.Revision(revision)); err != nil {
		out.Lagging = err.Error()
		return out, nil
	}
	out.Reached = true
	return out, nil
}

// events lists what was changed in the scope, the newest first.
func (s *Server) events(ctx context.Context, scope vpc.Scope, q url.Values) (any, error) {
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "limit %q is no number above 0", q.Get("limit"))
	}
	limit = min(limit, eventsMax)
	filter := event.Filter{Account: scope.Account, Region: scope.Region, Resource: q.Get("resource"), Action: q.Get("action")}
	out := answer.Events{Events: []*event.Event{}}
	var at store.Position
	for range eventsScanMax / eventsMax {
		records, err := s.Store.JournalBefore(ctx, at, eventsMax)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			e, err := event.Decode(r.Data)
			if err != nil {
				return nil, errors.Join(errors.New("reading the journal"), err)
			}
			if filter.Match(e) {
				out.Events = append(out.Events, e)
			}
			if len(out.Events) == limit {
				return out, nil
			}
			at = r.Position
		}
		if len(records) < eventsMax {
			return out, nil
		}
	}
	return out, nil
}
