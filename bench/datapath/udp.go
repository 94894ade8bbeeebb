//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/vpcnet"
)

const (
	knownPackets = 50_000 // of an established flow, a sample: some 0.1 s
	firstPackets = 20_000 // first packets of flows, a sample; all their ports differ
	firstPort    = 2000
	begunFlows   = 10_000 // flows that have a socket each, a sample
	payload      = 22     // a 64-byte Ethernet frame
	arriveShare  = 0.999
	senderCPU    = 1 // where the sending thread stays, if there are two
)

// threadTime is what this thread has used so far; between veths, forwarding runs in the sender.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(t.Nano())
}

// stay keeps this thread on one processor, which it ends with.
func stay() {
	var set unix.CPUSet
	set.Set(senderCPU)
	_ = unix.SchedSetaffinity(0, &set) // with one processor there is no choice
}

// knownFlow is the sender's CPU time in ns for each packet of a flow whose first packet was answered.
//
// The sockets are bare: those of package net are watched by the runtime's
// poller, which every packet would wake.
func knownFlow(_ context.Context, s *stage) (cost float64, err error) {
	sink, err := s.sink()
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(sink) }() // it has read what it was to read
	return cost, s.counted(knownPackets, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }() // nothing was buffered
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: portServed, Addr: [4]byte{10, 9, 1, 2}}); err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		buf := make([]byte, payload)
		if err := exchange(fd, sink, buf); err != nil {
			return err
		}
		stay()
		for range knownPackets / 50 { // fills the sink's buffer
			_ = unix.Send(fd, buf, 0)
		}
		begun := threadTime()
		for range knownPackets {
			_ = unix.Send(fd, buf, 0) // what did not arrive is counted afterwards
		}
		cost = float64(threadTime()-begun) / knownPackets
		return nil
	})
}

// exchange sends one packet from the client to the server and one back.
func exchange(client, server int, buf []byte) error {
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
			return fmt.Errorf("bounding the wait: %w", err)
		}
	}
	if err := unix.Send(client, buf, 0); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	n, from, err := unix.Recvfrom(server, buf, 0)
	if err != nil {
		return fmt.Errorf("the first packet does not arrive: %w", err)
	}
	if err := unix.Sendto(server, buf[:n], 0, from); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	if _, _, err := unix.Recvfrom(client, buf, 0); err != nil {
		return fmt.Errorf("the answer does not arrive: %w", err)
	}
	return nil
}

// newFlows is how many flows one bare sender begins in a second of its CPU: a raw
// socket, every packet with another source port. What is filtered weighs most here.
func newFlows(_ context.Context, s *stage) (rate float64, err error) {
	sink, err := s.sink()
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(sink) }() // it only kept the port open
	return rate, s.counted(firstPackets, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		if err != nil {
			return fmt.Errorf("opening a raw socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }() // nothing was buffered
		to := &unix.SockaddrInet4{Addr: [4]byte{10, 9, 1, 2}}
		b := make([]byte, 8+payload) // a UDP header without checksum
		b[2], b[3], b[5] = portServed>>8, portServed&0xff, byte(len(b))
		stay()
		begun := threadTime()
		for i := range firstPackets {
			port := firstPort + i
			b[0], b[1] = byte(port>>8), byte(port)
			_ = unix.Sendto(fd, b, 0, to) // what did not arrive is counted afterwards
		}
		rate = firstPackets / (threadTime() - begun).Seconds()
		return nil
	})
}

// begunFlowsRate is how many flows a second of CPU begins as a program begins
// them: a socket for each, one packet, and the socket closed.
func begunFlowsRate(_ context.Context, s *stage) (rate float64, err error) {
	sink, err := s.sink()
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(sink) }() // it only kept the port open
	return rate, s.counted(begunFlows, func() error {
		to := &unix.SockaddrInet4{Port: portServed, Addr: [4]byte{10, 9, 1, 2}}
		buf := make([]byte, payload)
		stay()
		begun := threadTime()
		for i := range begunFlows {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("opening a socket: %w", err)
			}
			err = unix.Bind(fd, &unix.SockaddrInet4{Port: firstPort + i}) // one that was not used yet
			if err == nil {
				err = unix.Sendto(fd, buf, 0, to)
			}
			if err := errors.Join(err, unix.Close(fd)); err != nil {
				return fmt.Errorf("beginning a flow: %w", err)
			}
		}
		rate = begunFlows / (threadTime() - begun).Seconds()
		return nil
	})
}

// sink is a socket that nobody reads: packets to it are dropped when it is full, without an answer.
func (s *stage) sink() (fd int, err error) {
	err = vpcnet.Inside(path(s.server), func() error {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("opening the sink: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: portServed}); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("binding the sink: %w", err)
		}
		return nil
	})
	return fd, err
}

// counted runs send inside the client and fails when fewer packets arrived than
// were sent: a firewall that drops would look fast.
func (s *stage) counted(packets int, send func() error) error {
	before, err := s.arrived()
	if err != nil {
		return err
	}
	if err := vpcnet.Inside(path(s.client), send); err != nil {
		return err
	}
	after, err := s.arrived()
	if err != nil {
		return err
	}
	if got := after - before; float64(got) < arriveShare*float64(packets) {
		return fmt.Errorf("only %d of %d packets arrived", got, packets)
	}
	return nil
}
