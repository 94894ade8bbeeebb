package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"
)

// Listener is where a server waits for agents, with the way in which they prove
// who they are. Close it, or end the context of Serve.
type Listener struct {
	net.Listener
	creds credentials.TransportCredentials
}

// Endpoint is a way from an agent to a server.
type Endpoint struct {
	target string
	dial   func(ctx context.Context) (net.Conn, error)
	creds  credentials.TransportCredentials
}

func (e Endpoint) String() string { return e.target }

func (e Endpoint) connect() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+e.target,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return e.dial(ctx) }),
		grpc.WithTransportCredentials(e.creds),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithKeepaliveParams(clientKeepalive))
}

// memoryBytes is what a stream inside one process buffers: a part in flight.
const memoryBytes = 1 << 20

// Memory connects a server and an agent of one process: the same protocol over
// a buffer. Who can reach it is the process itself, so any host's name is taken.
func Memory() (*Listener, Endpoint) {
	l := bufconn.Listen(memoryBytes)
	return &Listener{Listener: l, creds: localCredentials{}},
		Endpoint{target: "memory", dial: l.DialContext, creds: localCredentials{}}
}

// socketMode keeps the socket to its owner; who connects is asked of the kernel besides.
const socketMode = 0o600

// ListenUnix makes a socket at path for agents of this machine: root's and
// those of the server's own user, whatever host they name. A socket that a dead
// server left there is replaced.
func ListenUnix(path string) (*Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: a server listens there already", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the socket of a dead server: %w", err)
	}
	// Bound under a name of its own until its mode is right, so that nobody
	// connects in between.
	early := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: early, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(early, socketMode), os.Rename(early, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: %w", path, err), l.Close())
	}
	return &Listener{Listener: unlinking{l, path}, creds: localCredentials{unix: true}}, nil
}

// unlinking removes the socket's name when it closes.
type unlinking struct {
	*net.UnixListener
	path string
}

func (u unlinking) Close() error {
	err := u.UnixListener.Close()
	if rmErr := os.Remove(u.path); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}

// UnixEndpoint reaches the server on this machine that listens at path.
func UnixEndpoint(path string) Endpoint {
	return Endpoint{
		target: "unix:" + path,
		dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		creds: localCredentials{},
	}
}

// ListenTLS waits for enrolled agents of other machines at addr. An agent's
// certificate is its name.
func ListenTLS(addr string, ca *CA) (*Listener, error) {
	cert, err := ca.serverCertificate()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for agents: %w", err)
	}
	return &Listener{Listener: l, creds: credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool(),
		MinVersion:   tls.VersionTLS13,
	})}, nil
}

// TLSEndpoint reaches the server at addr (host:port) as the host that bundle was
// made for. The server proves to be of the bundle's CA, whatever its address.
func TLSEndpoint(addr string, bundle *Bundle) (Endpoint, error) {
	cert, err := tls.X509KeyPair(bundle.Cert, bundle.Key)
	if err != nil {
		return Endpoint{}, fmt.Errorf("reading the enrolment: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle.CA) {
		return Endpoint{}, errors.New("reading the enrolment: no certificate of the CA")
	}
	return Endpoint{
		target: addr,
		dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		creds: credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{cert},
			RootCAs:      roots,
			ServerName:   serverName,
			MinVersion:   tls.VersionTLS13,
		}),
	}, nil
}

// ParseEndpoint reads a server's address as a command line gives it: the path of
// its socket, with or without "unix:", or host:port, which needs a bundle.
func ParseEndpoint(s string, bundle *Bundle) (Endpoint, error) {
	path, isUnix := strings.CutPrefix(s, "unix:")
	switch {
	case isUnix || strings.HasPrefix(s, "/"):
		return UnixEndpoint(strings.TrimPrefix(path, "//")), nil
	case bundle == nil:
		return Endpoint{}, fmt.Errorf("server %s: an address of another machine needs an enrolment bundle", s)
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return Endpoint{}, fmt.Errorf("server %s: %w", s, err)
	}
	return TLSEndpoint(s, bundle)
}

// localCredentials are those of one machine: the kernel says whose the other
// end of a unix socket is; within a process nobody needs to ask.
type localCredentials struct{ unix bool }

type localAuth struct{ credentials.CommonAuthInfo }

// AuthType names the way in which the peer was recognised.
func (localAuth) AuthType() string { return "local" }

func newLocalAuth() localAuth {
	return localAuth{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
}

// ClientHandshake has nothing to prove: the kernel knows the caller.
func (localCredentials) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, newLocalAuth(), nil
}

// ServerHandshake lets in root and the server's own user.
func (l localCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if l.unix {
		uid, err := peerUID(c)
		if err != nil {
			return nil, nil, fmt.Errorf("asking whose the connection is: %w", err)
		}
		if uid != 0 && int(uid) != os.Geteuid() {
			return nil, nil, fmt.Errorf("connection of user %d, who is neither root nor the server's", uid)
		}
	}
	return c, newLocalAuth(), nil
}

// Info describes the transport to gRPC.
func (localCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "local"}
}

// Clone is l: it has no state.
func (l localCredentials) Clone() credentials.TransportCredentials { return l }

// OverrideServerName is of no use here.
func (localCredentials) OverrideServerName(string) error { return nil }

func peerUID(c net.Conn) (uint32, error) {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
