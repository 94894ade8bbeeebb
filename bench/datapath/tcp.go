//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/vpcnet"
)

const (
	connections = 3000 // a sample: some 0.2 s
	connectors  = 4    // clients at a time: more than processors, so that none of them is idle
	acceptors   = 2
)

// iperf is the throughput of one TCP connection in Gbit/s, as iperf3 has it.
func iperf(seconds int) measurement {
	return func(ctx context.Context, s *stage) (gbits float64, err error) {
		port := strconv.Itoa(portServed + portsServed)
		server := exec.CommandContext(ctx, "ip", "netns", "exec", s.server, "iperf3", "-s", "-1", "-B", serverAddr, "-p", port)
		if err := server.Start(); err != nil {
			return 0, fmt.Errorf("starting iperf3: %w", err)
		}
		defer func() {
			_ = server.Process.Kill() // it has ended by itself after one client
			_ = server.Wait()
		}()
		if err := s.listening(portServed + portsServed); err != nil {
			return 0, err
		}
		out, err := exec.CommandContext(ctx, "ip", "netns", "exec", s.client,
			"iperf3", "-c", serverAddr, "-p", port, "-t", strconv.Itoa(seconds), "-J").Output()
		if err != nil {
			return 0, fmt.Errorf("iperf3: %w: %s", err, out)
		}
		var result struct {
			End struct {
				Received struct {
					BitsPerSecond float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal(out, &result); err != nil {
			return 0, fmt.Errorf("reading iperf3's result: %w", err)
		}
		return result.End.Received.BitsPerSecond / 1e9, nil
	}
}

// listening waits until the server has a socket at port, without connecting to it: binding it fails then.
func (s *stage) listening(port int) error {
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		err := vpcnet.Inside(path(s.server), func() error {
			fd, err := listen(port)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		})
		if errors.Is(err, unix.EADDRINUSE) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("nobody listens at port %d", port)
}

func listen(port int) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("opening a socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{10, 9, 1, 2}})
	}
	if err == nil {
		err = unix.Listen(fd, 1024)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("listening: %w", err)
	}
	return fd, nil
}

// connects is how many connections a second are made, accepted, closed by the
// server and then by the client, which has seen the end.
func connects(_ context.Context, s *stage) (rate float64, err error) {
	var listener int
	err = vpcnet.Inside(path(s.server), func() (err error) {
		listener, err = listen(portServed)
		return err
	})
	if err != nil {
		return 0, err
	}
	var servers, clients errgroup.Group
	for range acceptors {
		servers.Go(func() error { return accept(listener) })
	}
	begun := time.Now()
	for range connectors {
		clients.Go(func() error {
			return vpcnet.Inside(path(s.client), func() error { return connect(connections / connectors) })
		})
	}
	err = clients.Wait()
	rate = connections / time.Since(begun).Seconds()
	_ = unix.Shutdown(listener, unix.SHUT_RD) // wakes the acceptors
	return rate, errors.Join(err, servers.Wait(), unix.Close(listener))
}

// accept closes what it accepts until the listener is shut down.
func accept(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			_ = unix.Close(fd) // nothing was written
		case errors.Is(err, unix.EINVAL):
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("accepting: %w", err)
		}
	}
}

func connect(n int) error {
	buf := make([]byte, 1)
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		// A bound on waiting: a lost SYN would come again after a second.
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: portServed, Addr: [4]byte{10, 9, 1, 2}})
		}
		if err == nil {
			_, err = unix.Read(fd, buf) // the end
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("connecting to %s: %w", net.JoinHostPort(serverAddr, strconv.Itoa(portServed)), err)
		}
	}
	return nil
}
