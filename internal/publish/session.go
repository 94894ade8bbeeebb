package publish

import (
	"context"
	"maps"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/compile"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
)

// session is one stream of one host. Its compiler is touched by Next alone,
// which one goroutine calls.
type session struct {
	p        *Publisher
	host     feed.HostID
	compiler *compile.Compiler
	sent     program.Revision

	mu        sync.Mutex
	world     *state.Snapshot
	changes   []state.Change // that lead to world from what was compiled; meaningless if whole
	whole     bool           // compile everything: the first time, or too much has changed
	stale     bool           // world is not compiled yet
	questions []feed.Question
	asked     map[uint64]chan feed.Answer
	lastAsked uint64
	err       error         // why the session has ended
	wake      chan struct{} // holds a token when something above changed
}

func newSession(p *Publisher, id feed.HostID, world *state.Snapshot) *session {
	return &session{
		p: p, host: id, compiler: compile.New(string(id)), world: world, whole: true, stale: true,
		asked: map[uint64]chan feed.Answer{}, wake: make(chan struct{}, 1),
	}
}

// step moves the session's world on.
func (s *session) step(world *state.Snapshot, changes []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world, s.stale = world, true
	if s.whole {
		return
	}
	if s.changes = append(s.changes, changes...); len(s.changes) > changesMax {
		s.changes, s.whole = nil, true
	}
	s.nudge()
}

// nudge wakes Next. The caller holds mu, or is the only one to know the session.
func (s *session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	for _, answer := range s.asked {
		close(answer)
	}
	s.asked = map[uint64]chan feed.Answer{}
	s.nudge()
}

// Next waits until there is something to send. Changes that come within the
// window go together.
func (s *session) Next(ctx context.Context) (feed.Outgoing, error) {
	for {
		s.mu.Lock()
		err, stale, asks := s.err, s.stale, len(s.questions) > 0
		s.mu.Unlock()
		switch {
		case err != nil:
			return feed.Outgoing{}, err
		case asks:
			return s.question(), nil
		case stale && s.sent == 0:
			return s.compile(), nil // a host that has nothing waits for nothing
		case stale:
			if err := pause(ctx, window); err != nil {
				return feed.Outgoing{}, err
			}
			return s.compile(), nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return feed.Outgoing{}, context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) question() feed.Outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.questions[0]
	s.questions = s.questions[1:]
	return feed.Outgoing{Question: &q}
}

// compile makes the batch that leads from what was sent to the newest world.
func (s *session) compile() feed.Outgoing {
	s.mu.Lock()
	world, changes, whole := s.world, s.changes, s.whole
	s.changes, s.whole, s.stale = nil, false, false
	s.mu.Unlock()
	if whole {
		s.compiler, changes = compile.New(string(s.host)), nil
	}
	batch := &feed.Batch{Base: s.sent, Delta: s.compiler.Update(world, changes)}
	s.sent = batch.Delta.Revision
	return feed.Outgoing{Batch: batch}
}

// Receipt takes what a host's kernel has.
func (s *session) Receipt(r feed.Receipt) {
	s.p.of(s, func(h *host) {
		h.revision, h.problem = r.Revision, r.Problem
		if r.Full {
			h.interfaces = map[program.InterfaceID]feed.InterfaceStatus{}
		}
		maps.Copy(h.interfaces, r.Interfaces)
		for _, id := range r.Gone {
			delete(h.interfaces, id)
		}
	})
}

// Instance hands on what a host reports of an instance.
func (s *session) Instance(id program.InstanceID, r feed.InstanceReport) {
	s.p.of(s, func(*host) {})
	s.p.mu.Lock()
	ctx := s.p.ctx
	s.p.mu.Unlock()
	if err := s.p.Options.Instance(ctx, s.host, id, r); err != nil {
		s.p.Log.ErrorContext(ctx, "a host's report was not taken", "host", string(s.host), "instance", string(id), "state", r.State.String(), "error", err)
	}
}

// Answer hands on what a host answered.
func (s *session) Answer(question uint64, a feed.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.asked[question]; answer != nil {
		answer <- a // has room for the one answer
		delete(s.asked, question)
	}
}

// Close ends the session with its stream.
func (s *session) Close() {
	s.end(context.Canceled)
	s.p.of(s, func(h *host) { h.session = nil })
}

// ask sends a question and waits for its answer.
func (s *session) ask(ctx context.Context, instance program.InstanceID) (feed.Answer, error) {
	answer := make(chan feed.Answer, 1)
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return feed.Answer{}, s.err
	}
	s.lastAsked++
	id := s.lastAsked
	s.asked[id] = answer
	s.questions = append(s.questions, feed.Question{ID: id, Console: instance})
	s.nudge()
	s.mu.Unlock()
	select {
	case a, ok := <-answer:
		if !ok {
			return feed.Answer{}, errSuperseded
		}
		return a, nil
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.asked, id)
		s.mu.Unlock()
		return feed.Answer{}, context.Cause(ctx)
	}
}
