package terraform_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/encoding/protowire"
)

// Two questions that Terraform asks a provider in each of its commands cost some ten seconds of processor time: for
// the schema of all that it has, and whether its own block in the configuration is in order, upon which it examines
// itself. So Terraform talks to the provider through us. We keep provider processes alive, one for each configuration
// that is in use, and answer those two questions ourselves: the first from the first answer, cut down to what the
// configurations name; the second as it was answered the first time, with what was asked. All else passes as it is.

const (
	providerName     = "hashicorp/aws"
	providerVersion  = "5.100.0"
	schemaMethod     = "/tfplugin5.Provider/GetSchema"
	prepareMethod    = "/tfplugin5.Provider/PrepareProviderConfig"
	configureMethod  = "/tfplugin5.Provider/Configure"
	messageBytesMax  = 256 << 20 // what Terraform itself accepts
	namedSchemaField = 2         // of the schema's answer: resources, by name
	dataSchemaField  = 3         // and data sources
)

// providerPool lends providers.
type providerPool struct {
	binary string
	named  []string // resources and data sources of which the schema is told
	dir    string
	server *grpc.Server

	mu         sync.Mutex
	examiner   *provider   // answers what is asked before a configuration is given
	configured []*provider // all others
	schema     raw         // nil until asked
	prepared   bool        // the provider's block was found in order once
}

// provider is a process of the AWS provider.
type provider struct {
	cmd  *exec.Cmd
	conn *grpc.ClientConn
	done chan struct{}

	configuration raw // what it was given last
	users         int // connections that gave it this; one that has none may be given another
}

// newPool serves the pool on a socket; no provider is started yet.
func newPool(binary string, named []string) (*providerPool, error) {
	dir, err := os.MkdirTemp("", "provider-")
	if err != nil {
		return nil, err
	}
	p := &providerPool{binary: binary, named: named, dir: dir}
	l, err := net.Listen("unix", p.socket())
	if err != nil {
		return nil, err
	}
	p.server = grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(p.forward), grpc.StatsHandler(p),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax))
	go p.server.Serve(l)
	return p, nil
}

func (p *providerPool) socket() string { return filepath.Join(p.dir, "socket") }

// folder is the folder of plugins that the provider was found in.
func (p *providerPool) folder() string {
	host := strings.TrimSuffix(p.binary[:strings.Index(p.binary, providerName)], "/")
	return filepath.Dir(host)
}

// end ends the pool and its processes.
func (p *providerPool) end() {
	p.server.Stop()
	for _, o := range append(p.configured, p.examiner) {
		if o == nil {
			continue // nothing was asked
		}
		_ = o.conn.Close()
		_ = o.cmd.Process.Kill()
		<-o.done
	}
	_ = os.RemoveAll(p.dir)
}

// attachment is what tells Terraform where its provider is.
func (p *providerPool) attachment() string {
	text, err := json.Marshal(map[string]any{providerName: map[string]any{
		"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.Getpid(), "Test": true,
		"Addr": map[string]string{"Network": "unix", "String": p.socket()},
	}})
	if err != nil {
		panic(err)
	}
	return "TF_REATTACH_PROVIDERS=" + string(text)
}

// session is a connection of Terraform's: one for each time that it would start a provider.
type session struct {
	mu   sync.Mutex
	uses *provider // nil until it is configured
}

type sessionKey struct{}

// TagConn begins a session.
func (p *providerPool) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, sessionKey{}, new(session))
}

// HandleConn ends it.
func (p *providerPool) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); !ended {
		return
	}
	if o := ctx.Value(sessionKey{}).(*session).provider(); o != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.users--
	}
}

func (s *session) provider() *provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uses
}

// TagRPC and HandleRPC are the rest of what gRPC asks of who counts connections.
func (p *providerPool) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (p *providerPool) HandleRPC(context.Context, stats.RPCStats)                       {}

// start starts a provider as its authors do to debug it. The kernel ends it should we end without: that follows
// the thread that started it, which therefore waits for it.
func (p *providerPool) start() (*provider, error) {
	o := &provider{done: make(chan struct{})}
	o.cmd = exec.Command(p.binary, "-debug")
	o.cmd.Env = append(plainEnvironment(), "TMPDIR="+p.dir, "HOME="+p.dir)
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, address := make(chan error, 1), make(chan string, 1)
	go func() {
		runtime.LockOSThread()
		defer close(o.done)
		err := o.cmd.Start()
		started <- err
		if err == nil {
			followProvider(out, address)
			_ = o.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	where, ok := <-address
	if !ok {
		return nil, errors.New("it ended at once")
	}
	o.conn, err = grpc.NewClient("unix:"+where, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)))
	return o, err
}

// followProvider reads what a provider says: among it, its address, once.
func followProvider(out io.Reader, address chan<- string) {
	defer close(address)
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		_, attach, ok := strings.Cut(scan.Text(), "TF_REATTACH_PROVIDERS='")
		if !ok {
			continue
		}
		var told map[string]struct{ Addr struct{ String string } }
		if json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimSpace(attach), "'")), &told) == nil {
			for _, at := range told { // one: itself
				address <- at.Addr.String
			}
		}
	}
}

// plainEnvironment is ours without what it says to AWS clients and to Terraform.
func plainEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TF_") })
	return append(env, "AWS_EC2_METADATA_DISABLED=true")
}

// raw is a message as it is on the wire.
type raw []byte

type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*raw), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*raw) = slices.Clone(data); return nil }

// answering is the provider that answers a session.
func (p *providerPool) answering(s *session) (*provider, error) {
	if o := s.provider(); o != nil {
		return o, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.examiner == nil {
		o, err := p.start()
		if err != nil {
			return nil, fmt.Errorf("starting the provider: %w", err)
		}
		p.examiner = o
	}
	return p.examiner, nil
}

// forward passes a call to the session's provider and its answers back.
func (p *providerPool) forward(_ any, in grpc.ServerStream) error {
	s := in.Context().Value(sessionKey{}).(*session)
	to, err := p.answering(s)
	if err != nil {
		return err
	}
	method, _ := grpc.MethodFromServerStream(in)
	switch method {
	case schemaMethod:
		return p.tellSchema(in, to)
	case prepareMethod:
		return p.prepare(in, to)
	case configureMethod:
		return p.configure(in, s)
	}
	out, err := to.conn.NewStream(in.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the call
		for {
			var m raw
			if in.RecvMsg(&m) != nil {
				_ = out.CloseSend()
				return
			}
			if out.SendMsg(&m) != nil {
				return
			}
		}
	}()
	for {
		var m raw
		if err := out.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := in.SendMsg(&m); err != nil {
			return err
		}
	}
}

// tellSchema answers with the schema of what is named.
func (p *providerPool) tellSchema(in grpc.ServerStream, from *provider) error {
	var request raw
	if err := in.RecvMsg(&request); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.schema == nil {
		var whole raw
		if err := from.conn.Invoke(in.Context(), schemaMethod, &request, &whole); err != nil {
			return err
		}
		p.schema = cut(whole, p.named)
	}
	return in.SendMsg(&p.schema)
}

// prepare answers with the question: both messages hold the provider's block and nothing else. The first time the
// provider itself must say so.
func (p *providerPool) prepare(in grpc.ServerStream, from *provider) error {
	var block raw
	if err := in.RecvMsg(&block); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.prepared {
		var answer raw
		if err := from.conn.Invoke(in.Context(), prepareMethod, &block, &answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, block) {
			return fmt.Errorf("asked to prepare %q the provider answered %q", block, answer)
		}
		p.prepared = true
	}
	return in.SendMsg(&block)
}

// configure gives the session the provider that has its configuration, or one that is free and takes it on.
func (p *providerPool) configure(in grpc.ServerStream, s *session) error {
	var configuration, answer raw
	if err := in.RecvMsg(&configuration); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.configured, func(o *provider) bool { return bytes.Equal(o.configuration, configuration) })
	if i < 0 {
		if i = slices.IndexFunc(p.configured, func(o *provider) bool { return o.users == 0 }); i < 0 {
			o, err := p.start()
			if err != nil {
				return fmt.Errorf("starting a provider: %w", err)
			}
			i, p.configured = len(p.configured), append(p.configured, o)
		}
		p.configured[i].configuration = nil
		if err := p.configured[i].conn.Invoke(in.Context(), configureMethod, &configuration, &answer); err != nil {
			return err
		}
	}
	if len(answer) == 0 { // no complaint
		o := p.configured[i]
		o.configuration = configuration
		o.users++
		s.mu.Lock()
		defer s.mu.Unlock()
		s.uses = o
	}
	return in.SendMsg(&answer)
}

// cut leaves of a schema the resources and data sources that are named.
func cut(schema raw, named []string) raw {
	var out raw
	for len(schema) > 0 {
		field, _, n := protowire.ConsumeField(schema)
		if n < 0 {
			panic("the provider's schema is broken: " + protowire.ParseError(n).Error())
		}
		if field != namedSchemaField && field != dataSchemaField || slices.Contains(named, entryName(schema[:n])) {
			out = append(out, schema[:n]...)
		}
		schema = schema[n:]
	}
	return out
}

// entryName is the key of a map's entry.
func entryName(entry []byte) string {
	_, _, n := protowire.ConsumeTag(entry)
	body, _ := protowire.ConsumeBytes(entry[n:])
	_, _, n = protowire.ConsumeTag(body)
	key, _ := protowire.ConsumeBytes(body[n:])
	return string(key)
}
