package datapath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// wire is two namespaces joined by a veth pair: the instance in one, the host's
// side, where the programs go, and the peer's address in the other.
type wire struct {
	host, inst string // paths of the namespaces
	ifindex    int    // of the host's side
	name       string
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func newWire(t *testing.T) *wire {
	t.Helper()
	name := fmt.Sprintf("spt%d", time.Now().UnixNano()%1e8)
	w := &wire{name: name, host: "/run/netns/" + name + "h", inst: "/run/netns/" + name + "i"}
	for _, ns := range []string{name + "h", name + "i"} {
		ip(t, "netns", "add", ns)
		t.Cleanup(func() { ip(t, "netns", "del", ns) })
	}
	ip(t, "-n", name+"h", "link", "add", "host0", "type", "veth", "peer", "name", "eth0", "netns", name+"i")
	ip(t, "-n", name+"h", "addr", "add", "10.0.0.1/24", "dev", "host0")
	ip(t, "-n", name+"h", "addr", "add", "2001:db8::1/64", "dev", "host0", "nodad")
	ip(t, "-n", name+"i", "addr", "add", "10.0.0.5/24", "dev", "eth0")
	ip(t, "-n", name+"i", "addr", "add", "2001:db8::5/64", "dev", "eth0", "nodad")
	for _, side := range [][]string{{name + "h", "host0"}, {name + "i", "eth0"}} {
		ip(t, "-n", side[0], "link", "set", side[1], "up")
		ip(t, "-n", side[0], "link", "set", "lo", "up")
	}
	if err := inNetNS(w.host, func() error {
		l, err := netlink.LinkByName("host0")
		if err == nil {
			w.ifindex = l.Attrs().Index
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve answers every connection in the instance with a byte.
func (w *wire) serve(t *testing.T, address string) {
	t.Helper()
	var l net.Listener
	err := inNetNS(w.inst, func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						_ = c.Close()
						return
					}
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
}

func (w *wire) dial(address string) (c net.Conn, err error) {
	err = inNetNS(w.host, func() (err error) {
		c, err = net.DialTimeout("tcp", address, 500*time.Millisecond)
		return err
	})
	return c, err
}

// ready waits until both families pass with nothing attached: IPv6 comes up some time after the link.
func (w *wire) ready(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, address := range []string{"10.0.0.5:22", "[2001:db8::5]:22"} {
		for {
			c, err := w.dial(address)
			if err == nil {
				err = c.Close()
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s with nothing attached: %v", address, err)
			}
		}
	}
}

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	b := []byte{7}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := c.Read(b)
	return err
}

// wireHost lets the peer reach a port of the instance.
func wireHost(port uint16) *program.Host {
	h := hostOf([]program.Rule{rule("sgr-1", ports(packet.TCP, port, port), "10.0.0.1/32", "2001:db8::1/128")}, nil)
	h.Interfaces[eni].MAC = ""
	return h
}

func TestRealPackets(t *testing.T) {
	for _, c := range []struct {
		name   string
		clsact bool
	}{{"tcx", false}, {"clsact", true}} {
		t.Run(c.name, func(t *testing.T) {
			opts := testOptions(pinDir(t))
			opts.clsact = c.clsact
			realPackets(t, open(t, opts), opts)
		})
	}
}

func realPackets(t *testing.T, d *Datapath, opts Options) {
	t.Helper()
	w := newWire(t)
	at := Attachment{NetNS: w.host, IfIndex: w.ifindex}
	for _, address := range []string{"10.0.0.5:22", "[2001:db8::5]:22", "10.0.0.5:23"} {
		w.serve(t, address)
	}
	w.ready(t)
	if err := d.Attach(eni, at); err != nil {
		t.Fatal(err)
	}
	if _, err := w.dial("10.0.0.5:22"); err == nil {
		t.Error("attached without a program, and passes")
	}
	if err := d.Apply(wireHost(22), nil); err != nil {
		t.Fatal(err)
	}
	live, err := w.dial("10.0.0.5:22")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := w.dial("[2001:db8::5]:22"); err != nil {
		t.Errorf("ipv6: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.dial("10.0.0.5:23"); err == nil {
		t.Error("port 23 passes")
	}
	again, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Attach(eni, at); err != nil {
		t.Errorf("attach again: %v", err)
	}
	if err := again.Apply(wireHost(23), nil); err != nil {
		t.Fatal(err)
	}
	if err := echo(live); err != nil {
		t.Errorf("the tracked connection: %v", err)
	}
	if _, err := w.dial("10.0.0.5:22"); err == nil {
		t.Error("a new connection passes after its rule is gone")
	}
	if c, err := w.dial("10.0.0.5:23"); err != nil {
		t.Errorf("the new rule: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := again.Detach(eni); err != nil {
		t.Fatal(err)
	}
	if c, err := w.dial("10.0.0.5:22"); err != nil {
		t.Errorf("detached, and filtered: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(live.Close(), again.Close()); err != nil {
		t.Error(err)
	}
}

// TestDropsAreSampled: a dropped packet tells who, which way and why.
func TestDropsAreSampled(t *testing.T) {
	d := withHost(t, hostOf(nil, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got := make(chan Drop, 1)
	done := make(chan error, 1)
	go func() {
		done <- d.Drops(ctx, func(x Drop) {
			select {
			case got <- x:
			default:
			}
		})
	}()
	expect(t, d, "drop", packet.Ingress, to(udp(peer, self, 1, 53)).bytes(), program.ReasonNoRule)
	select {
	case x := <-got:
		x.At = time.Time{}
		want := Drop{Interface: eni, Direction: packet.Ingress, Reason: program.ReasonNoRule, Tuple: udp(peer, self, 1, 53).Tuple, Bytes: 42}
		if diff := cmp.Diff(want, x, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
	case <-ctx.Done():
		t.Error("no sample")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFlowsAndHits: what is tracked can be read, with the rule that let it in.
func TestFlowsAndHits(t *testing.T) {
	d := withHost(t, hostOf([]program.Rule{rule("sgr-0", ports(packet.TCP, 1, 1), peer+"/32"), rule("sgr-1", ports(packet.TCP, 22, 22), peer+"/32")}, nil))
	for _, f := range []program.TCPFlags{program.SYN, program.ACK} {
		v, _, id, err := d.Test(packet.Ingress, eni, to(tcp(peer, self, 9, 22, f)).bytes())
		if err != nil || v != packet.Allow || f == program.SYN && id != "sgr-1" {
			t.Fatal(v, id, err)
		}
	}
	n := 0
	for f, err := range d.Flows(eni) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if f.Rule != "sgr-1" || f.Tuple != tcp(peer, self, 9, 22, 0).Tuple || f.Packets != [2]uint64{2, 0} || f.Initiator != packet.Ingress {
			t.Errorf("%+v", f)
		}
	}
	hits, err := d.Hits()
	if err != nil || n != 1 || hits["sgr-1"].Flows != 1 || time.Since(hits["sgr-1"].Last) > time.Minute {
		t.Errorf("%d flows, hits %+v, %v", n, hits, err)
	}
}
