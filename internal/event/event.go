// Package event is the record of a change: who asked for what, and what each
// entity was before and after. It is committed together with the change it
// tells of, so there is no change without its event and none without its change.
//
// It is not a log of requests: what failed or changed nothing has no event. It
// neither stores nor reads; package store keeps the records as bytes.
//
// Invariants: an event holds no secret and no user data, and its encoding is
// bounded whatever the request and the change were.
package event

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

const (
	// changesMax bounds how many changes an event lists. The rest is counted.
	changesMax = 500
	// entitiesBytesMax bounds all befores and afters of an event together: a
	// group with its fifty rules fits many times.
	entitiesBytesMax = 48 << 10
	// requestBytesMax bounds names and values of the parameters together.
	requestBytesMax = 16 << 10
	// textBytesMax bounds one text that the client chose freely.
	textBytesMax = 1 << 10
)

// Removed stands in an event for a value that must not be kept.
const Removed = "(removed)"

// cutMark ends a text that was cut.
const cutMark = "…"

// Meta says who did something, and what they asked for.
type Meta struct {
	ID        string
	Time      time.Time
	Account   vpc.AccountID
	Region    vpc.Region
	Principal string // ARN
	AccessKey vpc.AccessKeyID
	SourceIP  string // empty: the host itself, by the server's socket
	UserAgent string
	Action    string
	RequestID string
	// Request is the parameters as they were sent.
	Request map[string]string
}

// Event is one change of the world as an operation made it.
type Event struct {
	Meta
	Revision state.Revision
	Changes  []Change
	// RequestOmitted and ChangesOmitted count what was left out because there
	// was too much of it.
	RequestOmitted int `json:",omitzero"`
	ChangesOmitted int `json:",omitzero"`
}

// Change is one entity before and after; nil Before, it was made; nil After,
// it was deleted.
type Change struct {
	Kind   vpc.Kind
	ID     string
	Before json.RawMessage `json:",omitempty"`
	After  json.RawMessage `json:",omitempty"`
	Made   bool            `json:",omitzero"`
	Gone   bool            `json:",omitzero"`
	// Truncated says that Before and After were left out for their size.
	Truncated bool `json:",omitzero"`
}

// Append puts the event of what tx changed so far into its journal; there is
// none if it changed nothing. It is the operation's last act.
func Append(tx *state.Tx, m Meta) error {
	changes := tx.Changes()
	if len(changes) == 0 {
		return nil
	}
	e, err := Make(m, tx.Revision()+1, changes)
	if err != nil {
		return err
	}
	data, err := e.Encode()
	if err != nil {
		return err
	}
	tx.Journal(data)
	return nil
}

// Make is the event of the changes that became the revision. Secrets are
// removed and sizes bounded.
func Make(m Meta, rev state.Revision, changes []state.Change) (*Event, error) {
	e := &Event{Meta: m, Revision: rev}
	e.UserAgent = cut(m.UserAgent)
	e.Request, e.RequestOmitted = cleanRequest(m.Request)
	if len(changes) > changesMax {
		e.ChangesOmitted = len(changes) - changesMax
		changes = changes[:changesMax]
	}
	room := entitiesBytesMax
	for _, c := range changes {
		before, err := encodeEntity(c.Before)
		if err != nil {
			return nil, fmt.Errorf("recording %s %s: %w", c.Kind, c.Key, err)
		}
		after, err := encodeEntity(c.After)
		if err != nil {
			return nil, fmt.Errorf("recording %s %s: %w", c.Kind, c.Key, err)
		}
		out := Change{Kind: c.Kind, ID: cut(c.Key), Made: c.Before == nil, Gone: c.After == nil}
		if size := len(before) + len(after); size <= room {
			out.Before, out.After = before, after
			room -= size
		} else {
			out.Truncated = true
		}
		e.Changes = append(e.Changes, out)
	}
	return e, nil
}

// encodeEntity is an entity's JSON without what nobody may read later.
func encodeEntity(e vpc.Entity) (json.RawMessage, error) {
	switch v := e.(type) {
	case nil:
		return nil, nil
	case *vpc.AccessKey:
		c := *v
		c.Secret = Removed
		e = &c
	case *vpc.Instance:
		c := *v
		c.UserData = nil
		e = &c
	}
	return json.Marshal(e)
}

// cleanRequest is the parameters without secrets, cut to size. Which are left
// out when there are too many depends on their names alone.
func cleanRequest(request map[string]string) (out map[string]string, omitted int) {
	names := make([]string, 0, len(request))
	for name := range request {
		names = append(names, name)
	}
	slices.Sort(names)
	out = make(map[string]string, len(request))
	room := requestBytesMax
	for _, name := range names {
		value := cut(request[name])
		if secret(name) {
			value = Removed
		}
		if room -= len(name) + len(value); room < 0 {
			return out, len(request) - len(out)
		}
		out[name] = value
	}
	return out, 0
}

// secret says whether a parameter's value is a credential or a program of the user's.
func secret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"userdata", "secret", "password", "privatekey", "x-amz-signature", "x-amz-security-token"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// cut shortens a text to its bound, between characters.
func cut(s string) string {
	if len(s) <= textBytesMax {
		return s
	}
	return strings.ToValidUTF8(s[:textBytesMax-len(cutMark)], "") + cutMark
}

// Encode is the event as bytes for the journal.
func (e *Event) Encode() ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding event %s: %w", e.ID, err)
	}
	return data, nil
}

// Decode reads what Encode made. Members it does not know, of a newer
// version's events, are passed over: the journal is for reading only.
func Decode(data []byte) (*Event, error) {
	e := new(Event)
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("decoding an event: %w", err)
	}
	return e, nil
}

// Filter asks for events; an empty member asks nothing. The zero Filter
// matches every event of every account.
type Filter struct {
	Account  vpc.AccountID
	Region   vpc.Region
	Resource string // id of what was changed, or that the request named
	Action   string
	Since    time.Time // inclusive
}

// Match says whether e is asked for.
func (f Filter) Match(e *Event) bool {
	return cmp.Or(f.Account, e.Account) == e.Account &&
		(e.Region == "" || cmp.Or(f.Region, e.Region) == e.Region) && // a whole account's is of every region
		cmp.Or(f.Action, e.Action) == e.Action &&
		!e.Time.Before(f.Since) &&
		(f.Resource == "" || e.touches(f.Resource))
}

// touches says whether the event is about the id: a group's rules have ids of
// their own, but the request that changed them names the group.
func (e *Event) touches(id string) bool {
	for _, c := range e.Changes {
		if c.ID == id {
			return true
		}
	}
	for _, v := range e.Request {
		if v == id {
			return true
		}
	}
	return false
}
