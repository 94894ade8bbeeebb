package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The probe is this test binary inside an instance: it serves ports, and tries
// whether others can be reached.

// reachMax is how long a connection that should succeed may take; a dropped one
// is known by the silence that follows.
const reachMax = 1500 * time.Millisecond

func probe(args []string) int {
	switch args[0] {
	case "serve":
		return probeServe(args[1:])
	case "reach":
		return probeReach(args[1:])
	case "hold":
		return probeHold(args[1])
	case "stream":
		return probeStream(args[1])
	case "count":
		return probeCount(args[1])
	}
	return 2
}

// streamEvery is the pace of a stream: enough packets that a gap of a few
// milliseconds loses one.
const streamEvery = 2 * time.Millisecond

// probeStream sends numbered datagrams to an echo server until its input ends,
// and prints how many it sent and how many never came back.
func probeStream(addr string) int {
	c, err := net.Dial("udp", addr)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var back atomic.Int64
	go func() {
		b := make([]byte, 64)
		for {
			if _, err := c.Read(b); err == nil {
				back.Add(1)
			}
		}
	}()
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	sent := int64(0)
	for {
		select {
		case <-tick.C:
			if _, err := fmt.Fprintf(c, "%d", sent); err == nil {
				sent++
			}
			continue
		case <-stop:
		}
		break
	}
	deadline := time.Now().Add(2 * time.Second)
	for back.Load() < sent && time.Now().Before(deadline) {
		<-tick.C
	}
	fmt.Println(sent, sent-back.Load())
	return 0
}

// probeCount counts the datagrams that reach a port until its input ends.
func probeCount(port string) int {
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var n atomic.Int64
	go func() {
		b := make([]byte, 64)
		for {
			if _, _, err := c.ReadFrom(b); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	fmt.Println("counting")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(n.Load())
	return 0
}

// probeServe echoes on each of the ports ("tcp/80") until it is ended.
func probeServe(ports []string) int {
	for _, p := range ports {
		network, port, _ := strings.Cut(p, "/")
		switch network {
		case "tcp":
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			go echoTCP(l)
		case "udp":
			c, err := net.ListenPacket("udp", ":"+port)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			go echoUDP(c)
		}
	}
	fmt.Println("serving")
	select {}
}

func echoTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

func echoUDP(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(b[:n], from)
	}
}

// probeReach tries all targets ("tcp/10.0.0.5:80") at once, one line each: the target and yes or no.
func probeReach(targets []string) int {
	var wg sync.WaitGroup
	answers := make([]string, len(targets))
	for i, target := range targets {
		wg.Go(func() {
			answers[i] = "no"
			if reaches(target) {
				answers[i] = "yes"
			}
		})
	}
	wg.Wait()
	for i, target := range targets {
		fmt.Println(target, answers[i])
	}
	return 0
}

func reaches(target string) bool {
	network, addr, _ := strings.Cut(target, "/")
	if network == "ping" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*reachMax)
		defer cancel()
		return exec.CommandContext(ctx, "ping", "-c", "1", "-W", "1", addr).Run() == nil
	}
	c, err := net.DialTimeout(network, addr, reachMax)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(reachMax))
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	b := make([]byte, 5)
	_, err = io.ReadFull(c, b)
	return err == nil && string(b) == "hello"
}

// probeHold keeps one TCP connection and echoes each line of its input over it:
// what comes back is printed, or "lost".
func probeHold(addr string) int {
	c, err := net.DialTimeout("tcp", addr, reachMax)
	if err != nil {
		fmt.Println("lost", err)
		return 1
	}
	fmt.Println("connected")
	b := make([]byte, 256)
	for {
		n, err := os.Stdin.Read(b)
		if err != nil {
			return 0
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(b[:n]); err != nil {
			fmt.Println("lost", err)
			continue
		}
		if _, err := io.ReadFull(c, b[:n]); err != nil {
			fmt.Println("lost", err)
			continue
		}
		fmt.Print("echo " + string(b[:n]))
	}
}

// self is this test binary, for use inside instances.
func self(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// inside is a probe inside an instance.
func (s *host) inside(instance string, args ...string) *exec.Cmd {
	return s.Command(append([]string{"exec", instance, "--", self(s.t), "probe"}, args...)...)
}

// serve makes an instance echo on ports for the rest of the test.
func (s *host) serve(instance string, ports ...string) {
	s.t.Helper()
	cmd := s.inside(instance, append([]string{"serve"}, ports...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "serving") {
		s.t.Fatalf("serving %v in %s: %v %q", ports, instance, err, line[:n])
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// expectation is one cell of a connectivity matrix.
type expectation struct {
	from   string // instance
	target string // "tcp/10.0.0.5:80", "udp/[::1]:53", "ping/10.0.0.5"
	want   bool
}

func allowed(from string, targets ...string) []expectation { return expect(from, true, targets) }
func dropped(from string, targets ...string) []expectation { return expect(from, false, targets) }

func expect(from string, want bool, targets []string) []expectation {
	var out []expectation
	for _, target := range targets {
		out = append(out, expectation{from, target, want})
	}
	return out
}

// connectivity tries the whole matrix and shows every cell that is not as wanted.
func (s *host) connectivity(lists ...[]expectation) {
	s.t.Helper()
	byFrom := map[string][]expectation{}
	for _, list := range lists {
		for _, e := range list {
			byFrom[e.from] = append(byFrom[e.from], e)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for from, list := range byFrom {
		wg.Go(func() {
			got, err := s.reach(from, list)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.t.Errorf("probing from %s: %v", from, err)
				return
			}
			for _, e := range list {
				if got[e.target] != e.want {
					s.t.Errorf("%s to %s: reached %v, want %v", e.from, e.target, got[e.target], e.want)
				}
			}
		})
	}
	wg.Wait()
}

func (s *host) reach(from string, list []expectation) (map[string]bool, error) {
	args := []string{"reach"}
	for _, e := range list {
		args = append(args, e.target)
	}
	cmd := s.inside(from, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if target, answer, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			got[target] = answer == "yes"
		}
	}
	return got, nil
}
