package datapath

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
)

// dump is what the kernel holds of the programs: every entry of every table, and the interfaces' pairs of policies.
func dump(t *testing.T, d *Datapath) map[string]string {
	t.Helper()
	tt := d.k.tables()
	if err := tt.load(); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	add := func(name string, k, v any) { out[fmt.Sprintf("%s %v", name, k)] = fmt.Sprint(v) }
	for k, v := range tt.addrs.have {
		add("addrs", k, v)
	}
	for k, v := range tt.policies.have {
		add("policies", k, v)
	}
	for k, v := range tt.prefixes.have {
		add("prefixes", k, v)
	}
	for k, v := range tt.services.have {
		add("services", k, v)
	}
	for k, v := range tt.members.have {
		add("members", k, v)
	}
	for k, v := range tt.groups.have {
		add("groups", k, v)
	}
	for id, i := range d.ifaces {
		add("iface", id, d.k.ifaces[i.num].Policies)
	}
	return out
}

// TestRestart: a process that knows nothing finds everything, changes nothing, and flows live on.
func TestRestart(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	maps.Copy(w.host.Interfaces, hostOf(nil, nil).Interfaces)
	h := hostOf([]program.Rule{rule("sgr-1", ports(packet.TCP, 22, 22), peer+"/32")}, nil)
	maps.Copy(w.host.Interfaces, h.Interfaces)
	maps.Copy(w.host.Policies, h.Policies)
	opts := testOptions(pinDir(t))
	d := open(t, opts)
	if err := d.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, d, "syn", packet.Ingress, to(tcp(peer, self, 9, 22, program.SYN)).bytes(), program.ReasonRule)
	before := dump(t, d)

	again, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, again, "before the first apply", packet.Egress, from(tcp(self, peer, 22, 9, program.SYN|program.ACK)).bytes(), program.ReasonKnownFlow)
	if diff := cmp.Diff(before, dump(t, again)); diff != "" {
		t.Errorf("opening changes the kernel:\n%s", diff)
	}
	if err := again.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, dump(t, again)); diff != "" {
		t.Errorf("the same host changes the kernel:\n%s", diff)
	}
	expect(t, again, "after it", packet.Ingress, to(tcp(peer, self, 9, 22, program.ACK)).bytes(), program.ReasonKnownFlow)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHalfAnApply: a process dies after some of a change's writes; the next one
// finds garbage and gaps, and ends with what a clean start would have.
func TestHalfAnApply(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(rand.New(rand.NewPCG(seed, 3)))
		opts := testOptions(pinDir(t))
		d := open(t, opts)
		if err := d.Apply(w.host, nil); err != nil {
			t.Fatal(err)
		}
		want := len(dump(t, d))
		// Dying before the policies are named: their entries are nobody's.
		c := &change{d: d, h: w.host, t: d.k.tables()}
		lost := &policy{num: 999, tables: program.Build(w.host.Policies[w.policy()])}
		if err := c.t.writePolicy(lost, lost.tables, d.identities); err != nil {
			t.Fatal(err)
		}
		// And gaps: entries that a change had not written yet.
		tt := d.k.tables()
		if err := tt.load(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for k := range tt.services.have {
			if n++; n%3 == 0 {
				if err := d.k.Services.Delete(k); err != nil {
					t.Fatal(err)
				}
			}
		}
		for k := range tt.members.have {
			if err := d.k.Members.Put(k, uint32(4242)); err != nil {
				t.Fatal(err)
			}
		}
		w.compact()
		again, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Apply(w.host, nil); err != nil {
			t.Fatal(err)
		}
		if err := again.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(dump(t, again)); got != want {
			t.Errorf("seed %d: %d entries, want %d", seed, got, want)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrderDoesNotMatter: changes one by one end in the same verdict tables as all at once; nothing is left behind.
func TestOrderDoesNotMatter(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(*seedFlag, 4)))
	t.Logf("seed %d", *seedFlag)
	d := open(t, testOptions(pinDir(t)))
	if err := d.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		delta := w.mutate()
		if err := d.Apply(w.host, delta); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	stepwise := dump(t, d)
	fresh := open(t, testOptions(pinDir(t)))
	if err := fresh.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	if a, b := len(stepwise), len(dump(t, fresh)); a != b {
		t.Errorf("%d entries step by step, %d at once", a, b)
	}
	if err := d.Apply(w.host, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stepwise, dump(t, d)); diff != "" {
		t.Errorf("a full apply finds differences:\n%s", diff)
	}
}
