package api

import (
	"context"
	"net/http"
	"net/url"

	"sallyport.dev/sallyport/internal/answer"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// listQuotas tells an account's quotas.
func (s *Server) listQuotas(ctx context.Context, scope vpc.Scope, _ url.Values) (any, error) {
	snap, err := s.Store.Barrier(ctx)
	if err != nil {
		return nil, err
	}
	a, err := iam.Account(snap, scope.Account)
	if err != nil {
		return nil, err
	}
	return answer.OfQuotas(a), nil
}

// changeQuotas sets an account's quotas as the body says, all of it or nothing, and tells them.
func (s *Server) changeQuotas(w http.ResponseWriter, r *http.Request) {
	var in answer.QuotaChange
	if !s.readJSON(w, r, &in) {
		return
	}
	s.answerJSON(func(ctx context.Context, scope vpc.Scope, _ url.Values) (any, error) {
		var changed *vpc.Account
		err := s.actOn(ctx, scope.Account, byOperator, "ChangeQuotas", func(tx *state.Tx, _ call.Call) (err error) {
			changed, err = iam.ChangeQuotas(tx, scope.Account, iam.QuotaChange{
				Profile: vpc.QuotaProfile(in.Profile), Set: in.Set, Reset: in.Reset, ResetAll: in.ResetAll,
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		return answer.OfQuotas(changed), nil
	}).ServeHTTP(w, r)
}
