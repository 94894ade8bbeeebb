package feed

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/internal/feed/feedpb"
	"sallyport.dev/sallyport/internal/feed/feedtest"
	"sallyport.dev/sallyport/internal/program"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func seed(tb testing.TB) uint64 {
	tb.Helper()
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	tb.Logf("seed %d", s)
	return s
}

var worldEqual = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

// carry sends a batch over the wire, without the wire.
func carry(t *testing.T, b Batch) (*Batch, int) {
	t.Helper()
	var a assembly
	var got *Batch
	n := 0
	err := parts(b, func(p *feedpb.Part) error {
		n++
		wire, err := proto.Marshal(p)
		if err != nil {
			return err
		}
		if len(wire) > messageBytesMax {
			return fmt.Errorf("part of %d bytes", len(wire))
		}
		var back feedpb.Part
		if err := proto.Unmarshal(wire, &back); err != nil {
			return err
		}
		if got != nil {
			return fmt.Errorf("part %d after the last", n)
		}
		got, err = a.add(&back)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, n
}

func TestBatchesArriveAsTheyWere(t *testing.T) {
	w := feedtest.NewWorld(seed(t))
	here, there := program.NewHost(), program.NewHost()
	base := program.Revision(0)
	for range 200 {
		d := w.Step()
		got, _ := carry(t, Batch{Base: base, Delta: d})
		if got == nil || got.Base != base {
			t.Fatalf("batch %+v", got)
		}
		here.Apply(d)
		there.Apply(got.Delta)
		base = d.Revision
	}
	if diff := cmp.Diff(here, there, worldEqual); diff != "" {
		t.Errorf("after deltas (-sent +read):\n%s", diff)
	}
	got, _ := carry(t, Batch{Delta: feedtest.Full(w.Host())})
	whole := program.NewHost()
	whole.Apply(got.Delta)
	if diff := cmp.Diff(w.Host(), whole, worldEqual); diff != "" {
		t.Errorf("after a full state (-sent +read):\n%s", diff)
	}
}

func TestLargeBatchComesInPartsAndWhole(t *testing.T) {
	h := program.NewHost()
	h.Revision = 9
	addr := netip.MustParseAddr("10.0.0.0")
	for range 100_000 {
		addr = addr.Next()
		h.Members[program.Member{Network: "vpc-1", Addr: addr}] = program.Groups{"sg-0123456789abcdef0"}
	}
	got, n := carry(t, Batch{Delta: feedtest.Full(h)})
	if n < 5 {
		t.Errorf("%d parts", n)
	}
	if diff := cmp.Diff(h.Members, got.Delta.Members, worldEqual); diff != "" {
		t.Error("members differ")
	}
}

func TestWhatCannotBeReadWholeIsRefused(t *testing.T) {
	valid := func() *feedpb.Part {
		w := feedtest.NewWorld(7)
		h := w.Host()
		for len(h.Policies) == 0 || len(h.Members) == 0 || len(h.Instances) == 0 || len(h.Connections) == 0 {
			w.Step()
			h = w.Host()
		}
		var out *feedpb.Part
		if err := parts(Batch{Delta: feedtest.Full(h)}, func(p *feedpb.Part) error { out = p; return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if _, err := new(assembly).add(valid()); err != nil {
		t.Fatalf("valid part: %v", err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(p *feedpb.Part)
	}{
		{"interface without id", func(p *feedpb.Part) { p.Interfaces[0].Id = "" }},
		{"interface without network", func(p *feedpb.Part) { p.Interfaces[0].Network = "" }},
		{"interface twice", func(p *feedpb.Part) { p.Interfaces = append(p.Interfaces, p.Interfaces[0]) }},
		{"interface there and removed", func(p *feedpb.Part) { p.RemovedInterfaces = []string{p.Interfaces[0].Id} }},
		{"unknown kind", func(p *feedpb.Part) { p.Interfaces[0].Kind = 7 }},
		{"kind that wraps", func(p *feedpb.Part) { p.Interfaces[0].Kind = 256 }},
		{"short address", func(p *feedpb.Part) { p.Interfaces[0].Addrs[0] = []byte{10, 0, 0} }},
		{"mapped address", func(p *feedpb.Part) {
			a := netip.MustParseAddr("::ffff:10.0.0.1").As16()
			p.Interfaces[0].Addrs[0] = a[:]
		}},
		{"MAC in capitals", func(p *feedpb.Part) { p.Interfaces[0].Mac = "02:00:00:00:00:AA" }},
		{"short hash", func(p *feedpb.Part) { p.Interfaces[0].Ingress = []byte{1} }},
		{"negative timeout", func(p *feedpb.Part) { p.Interfaces[0].UdpNs = -1 }},
		{"policy that is not its name", func(p *feedpb.Part) { p.Policies[0].Rules[0].Id = "sgr-other" }},
		{"policy that lost a rule", func(p *feedpb.Part) { p.Policies[0].Rules = p.Policies[0].Rules[1:] }},
		{"protocol beyond a byte", func(p *feedpb.Part) { p.Policies[0].Rules[0].Proto = 256 }},
		{"port beyond its range", func(p *feedpb.Part) { p.Policies[0].Rules[0].ToPort = 65536 }},
		{"type beyond a byte", func(p *feedpb.Part) { p.Policies[0].Rules[0].Type = 300 }},
		{"prefix that is not masked", func(p *feedpb.Part) { p.Networks[0].Cidrs[0].Bits = 3 }},
		{"prefix too long", func(p *feedpb.Part) { p.Networks[0].Cidrs[0].Bits = 33 }},
		{"prefix length that wraps", func(p *feedpb.Part) { p.Networks[0].Cidrs[0].Bits = 256 + 16 }},
		{"member of no network", func(p *feedpb.Part) { p.Members[0].Network = "" }},
		{"member with groups out of order", func(p *feedpb.Part) { p.Members[0].Groups = []string{"sg-2", "sg-1"} }},
		{"instance without network", func(p *feedpb.Part) { p.Instances[0].Network = "" }},
		{"NIC without interface", func(p *feedpb.Part) { p.Instances[0].Nics[0].Interface = "" }},
		{"connection without id", func(p *feedpb.Part) { p.Connections[0].Id = "" }},
		{"connection with one end", func(p *feedpb.Part) { p.Connections[0].Ends = p.Connections[0].Ends[:1] }},
		{"connection with three ends", func(p *feedpb.Part) {
			p.Connections[0].Ends = append(p.Connections[0].Ends, &feedpb.Network{Id: "vpc-z"})
		}},
		{"connection with itself", func(p *feedpb.Part) { p.Connections[0].Ends[1] = p.Connections[0].Ends[0] }},
		{"connection with ends out of order", func(p *feedpb.Part) { slices.Reverse(p.Connections[0].Ends) }},
		{"connection with nothing", func(p *feedpb.Part) { p.Connections[0].Ends[0].Id = "" }},
		{"connection with a block that is none", func(p *feedpb.Part) { p.Connections[0].Ends[1].Cidrs[0].Bits = 3 }},
		{"connection twice", func(p *feedpb.Part) { p.Connections = append(p.Connections, p.Connections[0]) }},
		{"connection with an unknown field", func(p *feedpb.Part) {
			p.Connections[0].ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		{"removed nothing", func(p *feedpb.Part) { p.RemovedNetworks = []string{""} }},
		{"unknown field", func(p *feedpb.Part) {
			p.Interfaces[0].ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := valid()
			tt.spoil(p)
			if b, err := new(assembly).add(p); err == nil || b != nil {
				t.Errorf("read as %+v, %v", b, err)
			}
		})
	}
}

func TestPartsOfTwoBatchesDoNotMix(t *testing.T) {
	var a assembly
	if _, err := a.add(&feedpb.Part{Revision: 4, Full: true}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*feedpb.Part{
		{Revision: 5, Full: true, Last: true},
		{Revision: 4, Last: true},
		{Revision: 4, Full: true, Base: 2, Last: true},
	} {
		if b, err := a.add(p); err == nil {
			t.Errorf("part %v made %+v", p, b)
		}
	}
}

func TestSquashIsApplyingInTurn(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 1))
	for range 50 {
		w := feedtest.NewWorld(r.Uint64())
		start := w.Host()
		turn, atOnce := feedtest.Clone(start), feedtest.Clone(start)
		into := &program.Delta{}
		for range 1 + r.IntN(12) {
			d := w.Step()
			if r.IntN(6) == 0 {
				d = feedtest.Full(w.Host())
			}
			turn.Apply(d)
			Squash(into, d)
		}
		atOnce.Apply(into)
		if diff := cmp.Diff(turn, atOnce, worldEqual); diff != "" {
			t.Fatalf("-in turn +squashed:\n%s", diff)
		}
	}
}

func TestReceiptsArriveAsTheyWere(t *testing.T) {
	want := Receipt{
		Revision: 12, Full: true, Problem: "map full", KernelTime: time.Unix(1, 500),
		Interfaces: map[program.InterfaceID]InterfaceStatus{}, Gone: []program.InterfaceID{"eni-x"},
	}
	for n := range statusesPerReceipt + 5 {
		want.Interfaces[program.InterfaceID(fmt.Sprintf("eni-%d", n))] = InterfaceStatus{
			State: State(n % int(stateEnd)), Reason: "because", Revision: program.Revision(n),
		}
	}
	got := Receipt{Interfaces: map[program.InterfaceID]InterfaceStatus{}}
	for i, m := range writeReceipts(want) {
		r, err := readReceipt(m)
		if err != nil {
			t.Fatal(err)
		}
		if r.Full != (i == 0) || r.Revision != 12 {
			t.Errorf("message %d: full %t, revision %d", i, r.Full, r.Revision)
		}
		maps.Copy(got.Interfaces, r.Interfaces)
		got.Gone = append(got.Gone, r.Gone...)
		got.Revision, got.Full, got.Problem, got.KernelTime = r.Revision, got.Full || r.Full, r.Problem, r.KernelTime
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := readReceipt(&feedpb.Receipt{Interfaces: []*feedpb.InterfaceStatus{{Id: "eni-1", State: 9}}}); err == nil {
		t.Error("unknown state was read")
	}
}

// FuzzPart holds that no bytes make the reader panic, and that what it accepts
// says the same when it is written again.
func FuzzPart(f *testing.F) {
	w := feedtest.NewWorld(3)
	for range 8 {
		if err := parts(Batch{Base: 1, Delta: w.Step()}, func(p *feedpb.Part) error {
			wire, err := proto.Marshal(p)
			f.Add(wire)
			return err
		}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var p feedpb.Part
		if proto.Unmarshal(wire, &p) != nil {
			return
		}
		p.Last = true
		b, err := new(assembly).add(&p)
		if err != nil {
			return
		}
		again, _ := carry(t, *b)
		if diff := cmp.Diff(b.Delta, again.Delta, worldEqual); diff != "" {
			t.Errorf("-read +read again:\n%s", diff)
		}
	})
}
