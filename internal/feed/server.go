package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/program"
)

// A peer that is gone without a word (power, network) is noticed after these.
const (
	keepaliveEvery   = 10 * time.Second
	keepaliveTimeout = 10 * time.Second
)

var (
	serverKeepalive = keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}
	clientKeepalive = keepalive.ClientParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}
	// keepalivePolicy allows what our own clients do.
	keepalivePolicy = keepalive.EnforcementPolicy{MinTime: keepaliveEvery / 2}
)

// Hub is what a server serves.
type Hub interface {
	// Attach opens the session of a host that just connected and has proved its
	// name. An error refuses it. A host that connects again while it has a
	// session supersedes it.
	Attach(hello Hello) (Session, error)
	// Epoch names the process of the server; see Position.
	Epoch() string
}

// Session is one stream of one host, from its hub's side. Next is called by one
// goroutine, the others by another.
type Session interface {
	// Next waits until there is something to send. An error ends the stream.
	Next(ctx context.Context) (Outgoing, error)
	Receipt(r Receipt)
	Instance(id program.InstanceID, r InstanceReport)
	Answer(question uint64, a Answer)
	// Close says that the stream has ended. What is called after it counts for nothing.
	Close()
}

// Outgoing is one thing to send: a batch or a question.
type Outgoing struct {
	Batch    *Batch
	Question *Question
}

// service is what one call of Serve serves.
type service struct {
	feedpb.UnimplementedFeedServer
	hub     Hub
	log     *slog.Logger
	readers sync.WaitGroup
}

// Serve serves hub to the agents that come by l until ctx ends, then closes l
// and every stream that came by it. A hub may be served on several listeners.
func Serve(ctx context.Context, l *Listener, hub Hub, log *slog.Logger) error {
	server := grpc.NewServer(grpc.Creds(l.creds),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax),
		grpc.KeepaliveParams(serverKeepalive), grpc.KeepaliveEnforcementPolicy(keepalivePolicy),
		grpc.WaitForHandlers(true))
	s := &service{hub: hub, log: log}
	feedpb.RegisterFeedServer(server, s)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	err := server.Serve(l)
	server.Stop()
	s.readers.Wait()
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serving agents: %w", err)
}

// Attach is a host's stream; gRPC calls it.
func (s *service) Attach(stream feedpb.Feed_AttachServer) error {
	hello, err := s.receiveHello(stream)
	if err != nil {
		return err
	}
	log := s.log.With("host", string(hello.Host))
	session, err := s.hub.Attach(hello)
	if err != nil {
		log.Warn("agent refused", "error", err)
		return status.Errorf(codes.FailedPrecondition, "host %s: %v", hello.Host, err)
	}
	defer session.Close()
	log.Info("agent attached", "build", hello.Build, "revision", uint64(hello.Has.Revision))
	if err := stream.Send(&feedpb.FromServer{Body: &feedpb.FromServer_Welcome{
		Welcome: &feedpb.Welcome{Protocol: uint32(hello.Protocol), Epoch: s.hub.Epoch()},
	}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	// The reader ends when the stream does, which is after this function has
	// returned; Serve waits for it.
	s.readers.Go(func() { cancel(receive(stream, session)) })
	err = transmit(ctx, stream, session)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, io.EOF) {
		err = nil // the agent said goodbye
	}
	log.Info("agent detached", "error", err)
	return err
}

func (s *service) receiveHello(stream feedpb.Feed_AttachServer) (Hello, error) {
	first, err := stream.Recv()
	if err != nil {
		return Hello{}, err
	}
	if first.GetHello() == nil {
		return Hello{}, status.Error(codes.InvalidArgument, "the first message is no hello")
	}
	hello, err := readHello(first.GetHello())
	if err != nil {
		s.log.Warn("agent refused", "host", string(hello.Host), "error", err)
		return Hello{}, status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := proved(stream.Context(), hello.Host); err != nil {
		s.log.Warn("agent refused", "host", string(hello.Host), "error", err)
		return Hello{}, status.Error(codes.PermissionDenied, err.Error())
	}
	return hello, nil
}

// proved says whether the peer may speak for host: a certificate speaks for the
// host it names, whoever may use the machine's own socket for any.
func proved(ctx context.Context, host HostID) error {
	if !host.Valid() {
		return fmt.Errorf("%q cannot name a host", host)
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return errors.New("nobody is known at the other end")
	}
	switch auth := p.AuthInfo.(type) {
	case localAuth:
		return nil
	case credentials.TLSInfo:
		if len(auth.State.VerifiedChains) == 0 {
			return errors.New("no verified certificate")
		}
		if name := auth.State.VerifiedChains[0][0].Subject.CommonName; name != string(host) {
			return fmt.Errorf("the certificate is host %q's, not %q's", name, host)
		}
		return nil
	}
	return fmt.Errorf("nobody is known by %T", p.AuthInfo)
}

func receive(stream feedpb.Feed_AttachServer, session Session) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := dispatch(m, session); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
}

func dispatch(m *feedpb.FromAgent, session Session) error {
	switch body := m.GetBody().(type) {
	case *feedpb.FromAgent_Receipt:
		r, err := readReceipt(body.Receipt)
		if err != nil {
			return err
		}
		session.Receipt(r)
	case *feedpb.FromAgent_Instance:
		id, r, err := readInstanceReport(body.Instance)
		if err != nil {
			return err
		}
		session.Instance(id, r)
	case *feedpb.FromAgent_Answer:
		session.Answer(body.Answer.GetId(), Answer{Output: body.Answer.GetOutput(), Problem: body.Answer.GetProblem()})
	default:
		return fmt.Errorf("message %T at this point", body)
	}
	return nil
}

// transmit sends what the session has. When the agent does not read, Send
// waits, and the session's newest state waits with it.
func transmit(ctx context.Context, stream feedpb.Feed_AttachServer, session Session) error {
	for {
		out, err := session.Next(ctx)
		if err != nil {
			return err
		}
		if out.Question != nil {
			if err := stream.Send(&feedpb.FromServer{Body: &feedpb.FromServer_Question{
				Question: &feedpb.Question{Id: out.Question.ID, Console: string(out.Question.Console)},
			}}); err != nil {
				return err
			}
		}
		if out.Batch == nil {
			continue
		}
		if err := parts(*out.Batch, func(p *feedpb.Part) error {
			return stream.Send(&feedpb.FromServer{Body: &feedpb.FromServer_Part{Part: p}})
		}); err != nil {
			return err
		}
	}
}
