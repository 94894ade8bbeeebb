package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// Bootstrap makes sure that there is a first account with a key, set up in a
// region, and returns the key.
func Bootstrap(ctx context.Context, st *store.Store, p iam.Preset, region vpc.Region, now time.Time) (*vpc.AccessKey, error) {
	ids, random := seed(), keyRandom()
	var key *vpc.AccessKey
	_, err := st.Do(ctx, func(tx *state.Tx) (err error) {
		if key, err = iam.Setup(tx, p, random, now.UTC()); err != nil {
			return err
		}
		c := call.Call{
			Scope: vpc.Scope{Region: region, Account: key.Account}, Principal: call.Principal{ARN: byServer},
			Action: "Bootstrap", Now: now.UTC(), IDs: call.NewIDs(ids),
		}
		if err := network.EnsureRegion(tx, c); err != nil {
			return err
		}
		return event.Append(tx, callMeta(c))
	})
	return key, err
}

func keyRandom() (out iam.KeyRandom) {
	_, _ = rand.Read(out[:]) // never fails: crypto/rand ends the process instead
	return out
}

// Control serves the host's operator on the unix socket, whose file says who
// may: everything of the JSON API for any account, and accounts and keys.
func (s *Server) Control() http.Handler {
	mux := s.jsonAPI()
	mux.HandleFunc("GET /healthz", s.health)
	for path, f := range map[string]answerer{
		"GET /api/v1/accounts": s.listAccounts,
		"GET /api/v1/keys":     s.listKeys,
		"POST /api/v1/keys":    s.createKey,
		"DELETE /api/v1/keys":  s.deleteKey,
	} {
		mux.Handle(path, s.answerJSON(f))
	}
	mux.HandleFunc("POST /api/v1/accounts", s.createAccount)
	mux.HandleFunc("POST /api/v1/quotas", s.changeQuotas)
	return mux
}

func (s *Server) listAccounts(context.Context, vpc.Scope, url.Values) (any, error) {
	out := answer.Accounts{Accounts: []answer.Account{}}
	for a := range s.Store.Snapshot().Accounts() {
		out.Accounts = append(out.Accounts, answer.OfAccount(a))
	}
	return out, nil
}

// readJSON reads a request's body into what it is to be; if it is not, it says so and answers false.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, in any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, jsonBodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil && !errors.Is(err, io.EOF) {
		s.fail(w, r, apierr.New(apierr.CodeInvalidParameterValue, "The body is not what was expected: %s", err))
		return false
	}
	return true
}

// createAccount makes an account, with the id that the body asks for or a free one.
func (s *Server) createAccount(w http.ResponseWriter, r *http.Request) {
	var in answer.Account
	if !s.readJSON(w, r, &in) {
		return
	}
	s.answerJSON(func(ctx context.Context, _ vpc.Scope, _ url.Values) (any, error) {
		random := seed()
		var made *vpc.Account
		err := s.act(ctx, byOperator, "CreateAccount", func(tx *state.Tx, c call.Call) (err error) {
			made, err = iam.CreateAccount(tx, iam.NewAccount{
				ID: vpc.AccountID(in.AccountID), Name: in.Name, Platforms: in.Platforms, Random: iam.AccountRandom(random[:8]),
			}, c.Now)
			return err
		})
		if err != nil {
			return nil, err
		}
		return answer.OfAccount(made), nil
	}).ServeHTTP(w, r)
}

func (s *Server) listKeys(_ context.Context, scope vpc.Scope, _ url.Values) (any, error) {
	out := answer.Keys{Keys: []answer.Key{}}
	for k := range iam.Keys(s.Store.Snapshot(), scope.Account) {
		out.Keys = append(out.Keys, answer.OfKey(k))
	}
	return out, nil
}

func (s *Server) createKey(ctx context.Context, scope vpc.Scope, _ url.Values) (any, error) {
	random := keyRandom()
	var made *vpc.AccessKey
	err := s.actOn(ctx, scope.Account, byOperator, "CreateAccessKey", func(tx *state.Tx, c call.Call) (err error) {
		made, err = iam.CreateKey(tx, scope.Account, random, c.Now)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := answer.OfKey(made)
	out.SecretAccessKey = made.Secret // the only time that it is told
	return out, nil
}

func (s *Server) deleteKey(ctx context.Context, scope vpc.Scope, q url.Values) (any, error) {
	id := vpc.AccessKeyID(q.Get("key"))
	err := s.actOn(ctx, scope.Account, byOperator, "DeleteAccessKey", func(tx *state.Tx, _ call.Call) error {
		return iam.DeleteKey(tx, scope.Account, id)
	})
	if err != nil {
		return nil, err
	}
	return answer.Key{AccountID: string(scope.Account), AccessKeyID: string(id)}, nil
}
