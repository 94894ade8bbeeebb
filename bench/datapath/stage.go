//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"sallyport.dev/sallyport/internal/vpcnet"
)

// The addresses of every stage.
const (
	clientAddr = "10.9.0.2"
	serverAddr = "10.9.1.2"
)

// stage is a client and a server in namespaces of their own, and a router
// between them in a third. Every candidate has a stage for itself, for the
// whole run: no candidate meets what another left behind.
type stage struct {
	client, server, router string
}

// sides are the router's devices, to the client and to the server.
var sides = [2]string{"veth0", "veth1"}

func newStage(n int) *stage {
	p := fmt.Sprintf("spb%d-%d", os.Getpid(), n)
	return &stage{p + "c", p + "s", p + "r"}
}

// command runs a program and says what it complained about.
func command(input string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (s *stage) namespaces() []string { return []string{s.client, s.server, s.router} }

func (s *stage) build() error {
	for _, ns := range s.namespaces() {
		if err := command("", "ip", "netns", "add", ns); err != nil {
			return err
		}
	}
	for i, ns := range []string{s.client, s.server} {
		for _, line := range []string{
			fmt.Sprintf("-n %s link add %s type veth peer name eth0 netns %s", s.router, sides[i], ns),
			fmt.Sprintf("-n %s addr add 10.9.%d.1/24 dev %s", s.router, i, sides[i]),
			fmt.Sprintf("-n %s link set %s up", s.router, sides[i]),
			fmt.Sprintf("-n %s addr add 10.9.%d.2/24 dev eth0", ns, i),
			fmt.Sprintf("-n %s link set eth0 up", ns),
			fmt.Sprintf("-n %s route add default via 10.9.%d.1", ns, i),
		} {
			if err := command("", append([]string{"ip"}, strings.Fields(line)...)...); err != nil {
				return err
			}
		}
	}
	return s.inRouter("", "sysctl", "-qw", "net.ipv4.ip_forward=1")
}

func (s *stage) inRouter(input string, args ...string) error {
	return command(input, append([]string{"ip", "netns", "exec", s.router}, args...)...)
}

func (s *stage) remove() error {
	var errs []error
	for _, ns := range s.namespaces() {
		if _, err := os.Stat(path(ns)); err == nil {
			errs = append(errs, command("", "ip", "netns", "del", ns))
		}
	}
	return errors.Join(errs...)
}

func path(ns string) string { return filepath.Join("/run/netns", ns) }

// device is the index of one of the router's devices.
func (s *stage) device(name string) (index int, err error) {
	err = vpcnet.Inside(path(s.router), func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("looking for %s: %w", name, err)
		}
		index = i.Index
		return nil
	})
	return index, err
}

// arrived is how many packets the server's device has received so far.
func (s *stage) arrived() (packets uint64, err error) {
	err = vpcnet.Inside(path(s.server), func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return fmt.Errorf("reading counters: %w", err)
		}
		packets = l.Attrs().Statistics.RxPackets
		return nil
	})
	return packets, err
}

// forgetConntrack empties the kernel's connection table of the router.
func (s *stage) forgetConntrack() error {
	return vpcnet.Inside(path(s.router), func() error {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			return fmt.Errorf("flushing conntrack: %w", err)
		}
		return nil
	})
}
