package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/program"
)

const (
	// backoffMin is the first wait before connecting again: a server that
	// restarts is back within a second.
	backoffMin = 50 * time.Millisecond
	// backoffMax bounds the wait, and with it how long a host may be late after
	// a long absence of the server.
	backoffMax = 5 * time.Second
	// questionsMax is how many questions a client works on at once; a server
	// that asks more waits.
	questionsMax = 8
)

// Receiver is the agent behind a client. Its methods are called from the
// client's goroutines.
type Receiver interface {
	// Batch takes a change of what the host should have, in the order of the
	// stream; the receiver owns d. It keeps the newest state and returns at once.
	Batch(d *program.Delta)
	// Ask answers a question, before ctx ends.
	Ask(ctx context.Context, q Question) Answer
}

// Link is how a client stands with its server.
type Link struct {
	Connected bool
	Since     time.Time
	Error     string // why the last stream ended, or could not be; empty while connected
}

// Client is a host's end of the feed.
type Client struct {
	endpoint Endpoint
	hello    Hello
	receiver Receiver
	log      *slog.Logger
	link     atomic.Pointer[Link]
	report   outbox
	holds    Position // of the goroutine of Run
	welcome  bool     // the stream has brought a batch; of the goroutine of Run
}

// NewClient is the client of the host that hello names (its Has is ignored: what
// a client holds is what its receiver was given).
func NewClient(e Endpoint, hello Hello, r Receiver, log *slog.Logger) *Client {
	c := &Client{endpoint: e, hello: hello, receiver: r, log: log}
	c.report.changed = make(chan struct{}, 1)
	c.link.Store(&Link{})
	return c
}

// Link says how the client stands with its server.
func (c *Client) Link() Link { return *c.link.Load() }

// Report replaces what the client has to tell the server. It never waits: what
// was not sent of an older report is sent as the newer one has it. r is not
// changed afterwards.
func (c *Client) Report(r *Report) { c.report.put(r) }

// outbox holds the newest report.
type outbox struct {
	mu      sync.Mutex
	newest  *Report
	refusal string        // why the last batch was not read; empty: it was
	changed chan struct{} // holds a token when something above was replaced
}

func (o *outbox) put(r *Report) {
	o.mu.Lock()
	o.newest = r
	o.mu.Unlock()
	o.wake()
}

func (o *outbox) refuse(reason string) {
	o.mu.Lock()
	same := o.refusal == reason
	o.refusal = reason
	o.mu.Unlock()
	if !same {
		o.wake()
	}
}

func (o *outbox) wake() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// get is what there is to say; nil: nothing yet.
func (o *outbox) get() *Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusal == "" {
		return o.newest
	}
	r := Report{}
	if o.newest != nil {
		r = *o.newest
	}
	r.Problem = o.refusal
	return &r
}

// Run keeps a stream to the server, connecting again whenever it ends, until
// ctx does.
func (c *Client) Run(ctx context.Context) error {
	wait := backoffMin
	for {
		begun := time.Now()
		c.welcome = false
		err := c.stream(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stream ended because it was told to
		}
		if c.welcome || time.Since(begun) > backoffMax {
			wait = backoffMin
		}
		if errors.Is(err, ErrRefused) {
			wait = backoffMax
		}
		if text := err.Error(); c.Link().Error != text {
			c.log.WarnContext(ctx, "no connection to the server", "server", c.endpoint.String(), "error", err)
			c.link.Store(&Link{Since: time.Now(), Error: text})
		}
		// Between half and all of the wait, so that a fleet does not come at once.
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, backoffMax)
	}
}

// stream is one connection, from hello to end.
func (c *Client) stream(ctx context.Context) (err error) {
	conn, err := c.endpoint.connect()
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := feedpb.NewFeedClient(conn).Attach(ctx)
	if err != nil {
		return named(err)
	}
	hello := c.hello
	hello.Has = c.holds
	if err := stream.Send(&feedpb.FromAgent{Body: &feedpb.FromAgent_Hello{Hello: writeHello(hello)}}); err != nil {
		_, err = stream.Recv() // the reason is on the other side
		return named(err)
	}
	welcome, err := stream.Recv()
	if err != nil {
		return named(err)
	}
	epoch := welcome.GetWelcome().GetEpoch()
	if p := int(welcome.GetWelcome().GetProtocol()); p != Protocol {
		return fmt.Errorf("%w: server answers in protocol %d, this agent speaks %d", ErrRefused, p, Protocol)
	}
	c.link.Store(&Link{Connected: true, Since: time.Now()})
	c.log.InfoContext(ctx, "connected to the server", "server", c.endpoint.String(), "revision", uint64(c.holds.Revision))
	answers := make(chan *feedpb.Answer, questionsMax)
	group, ctx := errgroup.WithContext(ctx)
	// A failed Send breaks the stream, and Recv has the reason.
	group.Go(func() error { c.send(ctx, stream, answers); return nil })
	group.Go(func() error { return named(c.receive(ctx, stream, epoch, answers)) })
	return group.Wait()
}

// named gives an error of gRPC the meaning that Run acts on.
func named(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.FailedPrecondition, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
		return fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
	default:
		return err
	}
}

func (c *Client) receive(ctx context.Context, stream feedpb.Feed_AttachClient, epoch string, answers chan<- *feedpb.Answer) error {
	var asked errgroup.Group
	asked.SetLimit(questionsMax)
	defer asked.Wait() //nolint:errcheck // questions are answered, with an error's text if need be
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var batch assembly
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch body := m.GetBody().(type) {
		case *feedpb.FromServer_Part:
			if err := c.part(&batch, body.Part, epoch); err != nil {
				// What follows cannot be trusted; begin again from nothing, and
				// tell the server why.
				c.holds = Position{}
				c.report.refuse(err.Error())
				return err
			}
		case *feedpb.FromServer_Question:
			q := Question{ID: body.Question.GetId(), Console: program.InstanceID(body.Question.GetConsole())}
			// Never wait here: behind a question there may be a policy.
			if !asked.TryGo(func() error {
				a := c.receiver.Ask(ctx, q)
				select {
				case answers <- &feedpb.Answer{Id: q.ID, Output: a.Output, Problem: a.Problem}:
				case <-ctx.Done():
				}
				return nil
			}) {
				c.log.WarnContext(ctx, "question dropped, too many at once", "question", q.ID)
			}
		default:
			return fmt.Errorf("%w: message %T", ErrRefused, body)
		}
	}
}

func (c *Client) part(batch *assembly, p *feedpb.Part, epoch string) error {
	b, err := batch.add(p)
	if err != nil || b == nil {
		return err
	}
	if !b.Delta.Full && (epoch != c.holds.Epoch || b.Base != c.holds.Revision) {
		return fmt.Errorf("batch of revision %d starts from %d of epoch %s, not from %d of %s",
			b.Delta.Revision, b.Base, epoch, c.holds.Revision, c.holds.Epoch)
	}
	c.receiver.Batch(b.Delta)
	c.holds = Position{Epoch: epoch, Revision: b.Delta.Revision}
	c.welcome = true
	c.report.refuse("")
	return nil
}

// send tells the server what it has not heard on this stream, until the stream
// or ctx ends.
func (c *Client) send(ctx context.Context, stream feedpb.Feed_AttachClient, answers <-chan *feedpb.Answer) {
	var heard *Report
	for {
		if r := c.report.get(); r != nil {
			if sendReport(stream, heard, r) != nil {
				return
			}
			heard = r
		}
		select {
		case <-ctx.Done():
			return
		case <-c.report.changed:
		case a := <-answers:
			if stream.Send(&feedpb.FromAgent{Body: &feedpb.FromAgent_Answer{Answer: a}}) != nil {
				return
			}
		}
	}
}

// sendReport sends the difference between what was heard (nil: nothing) and r.
func sendReport(stream feedpb.Feed_AttachClient, heard, r *Report) error {
	receipt := Receipt{
		Revision: r.Revision, Full: heard == nil, Problem: r.Problem, KernelTime: r.KernelTime,
		Interfaces: map[program.InterfaceID]InterfaceStatus{},
	}
	if heard == nil {
		heard = &Report{}
	}
	for id, s := range r.Interfaces {
		old, ok := heard.Interfaces[id]
		// An enforced interface has the receipt's own revision: a new one says nothing new.
		if ok && old.State == s.State && old.Reason == s.Reason && (s.State == Enforced || old.Revision == s.Revision) {
			continue
		}
		receipt.Interfaces[id] = s
	}
	for id := range heard.Interfaces {
		if _, ok := r.Interfaces[id]; !ok {
			receipt.Gone = append(receipt.Gone, id)
		}
	}
	slices.Sort(receipt.Gone)
	if receipt.Full || len(receipt.Interfaces)+len(receipt.Gone) > 0 ||
		receipt.Revision != heard.Revision || receipt.Problem != heard.Problem {
		for _, m := range writeReceipts(receipt) {
			if err := stream.Send(&feedpb.FromAgent{Body: &feedpb.FromAgent_Receipt{Receipt: m}}); err != nil {
				return err
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.Instances)) {
		if old, ok := heard.Instances[id]; ok && old == r.Instances[id] {
			continue
		}
		m := writeInstanceReport(id, r.Instances[id])
		if err := stream.Send(&feedpb.FromAgent{Body: &feedpb.FromAgent_Instance{Instance: m}}); err != nil {
			return err
		}
	}
	return nil
}
