package api

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/sigv4"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// request is one Query API request on its way.
type request struct {
	http      *http.Request
	id        string
	params    ec2.Params
	service   ec2.Service
	caller    caller
	action    ec2.Action
	operation call.Operation // what the action means; zero: it is of STS
	version   ec2.Version
	revision  state.Revision
	unsettled []vpc.InstanceID
}

// query serves the EC2 Query API and STS.
func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	q := &request{http: r, id: newRequestID(), service: ec2.ServiceEC2}
	res, err := s.answer(q)
	var body []byte
	status := http.StatusOK
	if err != nil {
		e := clientError(q.service, err)
		if e.Code == apierr.CodeInternalError {
			s.Log.ErrorContext(q.http.Context(), "request failed", "request_id", q.id, "action", q.action.Name, "error", err)
		}
		status = ec2.Status(e.Code)
		body = ec2.AppendError(nil, q.service, q.id, e)
	} else {
		body = ec2.AppendResponse(nil, q.action, q.version, q.id, res)
	}
	h := w.Header()
	h.Set("Content-Type", ec2.ContentType)
	h.Set("x-amzn-requestid", q.id)
	h.Set("x-sallyport-revision", strconv.FormatUint(uint64(q.revision), 10))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away: nothing left to tell it
}

// clientError is the error in the words of the service that was asked.
func clientError(service ec2.Service, err error) *apierr.Error {
	if refusal, ok := errors.AsType[*sigv4.Refusal](err); ok && service == ec2.ServiceSTS {
		return refusal.STS()
	}
	return apierr.From(err)
}

// answer takes the request through signature, decoding and operation. A panic
// is one request's failure, not the server's.
func (s *Server) answer(q *request) (res ec2.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.ErrorContext(q.http.Context(), "request panicked", "request_id", q.id, "action", q.action.Name, "panic", p, "stack", string(debug.Stack()))
			res, err = nil, apierr.New(apierr.CodeInternalError, "An internal error has occurred")
		}
	}()
	q.revision = s.Store.Snapshot().Revision()
	body, err := readBody(q.http)
	if err != nil {
		return nil, err
	}
	q.params, err = ec2.ParseForm(q.http.URL.RawQuery, string(body))
	if v, ok := q.params.Get("Version"); ok && v == string(ec2.VersionSTS) {
		q.service = ec2.ServiceSTS // says whose words a refusal is in, before anything is verified
	}
	if err != nil {
		return nil, err
	}
	if q.caller, err = s.authenticate(q.http, body); err != nil {
		return nil, err
	}
	q.service = q.caller.service
	if err := q.parseAction(); err != nil {
		return nil, err
	}
	in, err := ec2.Decode(q.action.Name, q.params)
	if err != nil {
		return nil, err
	}
	if q.service == ec2.ServiceSTS {
		return s.callerIdentity(q), nil
	}
	return s.operate(q, in)
}

// readBody reads a form body; a GET has none.
func readBody(r *http.Request) ([]byte, error) {
	switch r.Method {
	case http.MethodGet:
		return nil, nil
	case http.MethodPost:
	default:
		return nil, apierr.New(apierr.CodeUnsupportedProtocol, "The method %s is not supported; use POST or GET.", r.Method)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, ec2.BodyMax+1))
	if err != nil {
		return nil, apierr.New(apierr.CodeMalformedQueryString, "The body of the request could not be read.")
	}
	return body, nil
}

// authenticate finds out who signed a request.
func (s *Server) authenticate(r *http.Request, body []byte) (caller, error) {
	snap := s.Store.Snapshot()
	var who iam.Principal
	id, err := s.verifier.Verify(r, body, s.Now(), func(id string) (secret string, ok bool) {
		who, secret, ok = iam.Authenticate(snap, vpc.AccessKeyID(id))
		return secret, ok
	})
	if err != nil {
		return caller{}, err
	}
	if id.SessionToken != "" {
		return caller{}, apierr.New(apierr.CodeAuthFailure,
			"AWS was not able to validate the provided access credentials. Session tokens are not issued here.")
	}
	return caller{
		scope:     vpc.Scope{Region: vpc.Region(id.Region), Account: who.Account},
		service:   ec2.Service(id.Service),
		principal: who,
	}, nil
}

// parseAction reads Action and Version, and refuses an action of another service.
func (q *request) parseAction() error {
	name, err := q.params.Action()
	if err != nil {
		return err
	}
	a, err := ec2.Lookup(name)
	if err != nil {
		return err
	}
	if a.Service != q.service {
		return apierr.New(apierr.CodeInvalidAction, "The action %s is not valid for this web service.", name)
	}
	served := a.Service == ec2.ServiceSTS
	if !served {
		q.operation, served = ops.Lookup(name)
	}
	if !served {
		return ops.NotServed(name) // whatever its parameters are
	}
	q.action = a
	q.version, err = ec2.ParseVersion(q.service, q.params)
	return err
}

func (s *Server) callerIdentity(q *request) ec2.Response {
	account := string(q.caller.scope.Account)
	return &ec2.GetCallerIdentityResponse{UserId: &q.caller.principal.UserID, Account: &account, Arn: &q.caller.principal.ARN}
}

// operate runs the action's operation: a read on the newest world, a write in a
// commit together with the event that tells of it.
func (s *Server) operate(q *request, in ec2.Request) (ec2.Response, error) {
	c := call.Call{
		Scope:     q.caller.scope,
		Principal: call.Principal{ARN: q.caller.principal.ARN, UserID: q.caller.principal.UserID},
		Action:    q.action.Name,
		Version:   q.version,
		RequestID: q.id,
		Now:       s.Now().UTC(),
		ClientIP:  clientIP(q.http),
		Regions:   s.Regions,
		Endpoint:  q.http.Host,
		UserData:  s.UserData,
		Console:   s.console(q.http.Context()),
	}
	if err := s.ensureRegion(q.http.Context(), c); err != nil {
		return nil, err
	}
	if !q.operation.Writes {
		snap, err := s.Store.Barrier(q.http.Context())
		if err != nil {
			return nil, err
		}
		q.revision = snap.Revision()
		c.IDs = call.NewIDs(seed())
		return q.operation.Run(snap.Begin(), c, in)
	}
	return s.write(q, c, in)
}

func (s *Server) write(q *request, c call.Call, in ec2.Request) (ec2.Response, error) {
	ids := seed()
	var res ec2.Response
	revision, err := s.Store.Do(q.http.Context(), func(tx *state.Tx) (err error) {
		c.IDs = call.NewIDs(ids) // the same ids if it is run again on a newer world
		if res, err = q.operation.Run(tx, c, in); err != nil {
			return err
		}
		q.unsettled = unsettled(tx.Changes())
		return event.Append(tx, q.meta(c))
	})
	if err != nil {
		return nil, err
	}
	q.revision = revision
	s.settle(q.http.Context(), q.unsettled)
	return res, nil
}

// meta is what the event of the request's change says of it.
func (q *request) meta(c call.Call) event.Meta {
	m := callMeta(c)
	m.AccessKey = q.caller.principal.Key
	m.UserAgent = q.http.UserAgent()
	if c.ClientIP.IsValid() {
		m.SourceIP = c.ClientIP.String()
	}
	m.Request = maps.Collect(q.params.All())
	return m
}

// callMeta is what every call's event says.
func callMeta(c call.Call) event.Meta {
	return event.Meta{
		ID: newRequestID(), Time: c.Now, Account: c.Scope.Account, Region: c.Scope.Region,
		Principal: c.Principal.ARN, Action: c.Action, RequestID: c.RequestID,
	}
}

// clientIP is the peer's address; invalid on a unix socket.
func clientIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(strings.TrimSpace(r.RemoteAddr))
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
