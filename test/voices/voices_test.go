package voices

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/compile"
	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var (
	seed    = flag.Uint64("seed", 0, "seed of the random worlds; 0 takes one at random")
	packets = flag.Int("packets", 100_000, "packets to judge")
)

// packetsPerWorld is how many packets one world judges before the next is made.
const packetsPerWorld = 1500

// stages is how often a world is judged: as it is made, with other prefix lists,
// with other peerings.
const stages = 3

// apart is longer than any flow lives that saw one packet: each packet is the
// first of its flow.
const apart = program.OtherTimeout + time.Second

// opinion is what a voice says of a packet.
type opinion struct {
	Verdict packet.Verdict
	Rule    program.RuleID
	Reason  program.Reason
}

// explained is explain's opinion in the words of the other two voices.
func explained(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p explain.Packet) opinion {
	j := explain.Judge(s, i, d, p)
	o := opinion{Verdict: j.Verdict}
	if j.Rule != nil {
		o.Rule = program.RuleID(j.Rule.ID)
	}
	switch j.Why {
	case explain.WhyNoRule:
		o.Reason = program.ReasonNoRule
	case explain.WhySpoofed:
		o.Reason = program.ReasonSpoofed
	case explain.WhyUnfiltered:
		o.Reason = program.ReasonUnfiltered
	case explain.WhyReply:
		o.Reason = program.ReasonUntrackedReply
	case explain.WhyRule:
		o.Reason = program.ReasonUntracked
		if j.Tracked {
			o.Reason = program.ReasonRule
		}
	}
	return o
}

func flagsOf(p explain.Packet) program.TCPFlags {
	switch {
	case p.Proto != packet.TCP:
		return 0
	case p.Midway:
		return program.ACK
	}
	return program.SYN
}

// voice judges a packet that belongs to no flow.
type voice struct {
	name  string
	judge func(id program.InterfaceID, d packet.Direction, p explain.Packet) opinion
	// turn goes over to what the host enforces next; flows live on.
	turn func(t *testing.T, h *program.Host)
}

// tally counts opinions, so that a test that saw too few of a kind can say so.
type tally struct {
	reasons map[program.Reason]int
	classic int // packets in EC2-Classic that a rule admitted
	leaving int // … of which no group has: they leave
	lists   listsTally
	across  int // packets to or from another VPC that a reference admitted
	guests  int // packets that a rule admitted of a group that is of another VPC than the interface
	ways    int // from one VPC to another
}

func (n *tally) add(s *state.Snapshot, i *vpc.Interface, d packet.Direction, p explain.Packet, o opinion) {
	n.reasons[o.Reason]++
	remote := p.Dst
	if d == packet.Ingress {
		remote = p.Src
	}
	if rule := s.Rule(vpc.RuleID(o.Rule)); rule != nil {
		if rule.Source.Group != "" && s.InterfaceAt(i.VPC, remote) == nil {
			n.across++
		}
		if s.Group(rule.Group).VPC != i.VPC {
			n.guests++
		}
	}
	if i.VPC.Classic() && o.Rule != "" {
		n.classic++
		if o.Rule == program.RuleID(vpc.ClassicOutbound) {
			n.leaving++
		}
	}
}

// G10 G11 G18 G19 G41 G63 G74 G78: in random worlds all voices agree on every packet, within VPCs and between them.
func TestVoicesAgree(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	r := rand.New(rand.NewPCG(s, 1))
	kernel := openKernelVoice(t)
	seen := &tally{reasons: map[program.Reason]int{}}
	for judged := 0; judged < *packets; {
		sc := newScene(t, newWorld(r), kernel)
		for _, edit := range [stages]func(*testing.T, *rand.Rand){nothing, sc.editLists, sc.editPeerings} {
			edit(t, r)
			judged += sc.judge(t, r, s, seen)
			sc.judgeWays(t, s, seen)
		}
	}
	t.Logf("opinions: %v", *seen)
	if most := *packets; min(seen.across, seen.guests, seen.ways) < most/2000 {
		t.Errorf("%d packets were admitted by a reference to another VPC, %d by a group of another VPC, %d ways were there: the worlds prove nothing about peering",
			seen.across, seen.guests, seen.ways)
	}
	if most := *packets; seen.leaving < most/100 || seen.classic-seen.leaving < most/100 {
		t.Errorf("%d packets left EC2-Classic, %d came in there: the worlds prove nothing about it", seen.leaving, seen.classic-seen.leaving)
	}
	if l := seen.lists; min(l.hits, l.misses, l.emptied) < *packets/200 || l.edits < *packets/500 {
		t.Errorf("of packets that rules with prefix lists are about: %+v: the worlds prove nothing about them", l)
	}
	for _, reason := range []program.Reason{
		program.ReasonNoRule, program.ReasonRule, program.ReasonUntracked, program.ReasonUntrackedReply,
		program.ReasonSpoofed, program.ReasonUnfiltered,
	} {
		if seen.reasons[reason] < *packets/1000 {
			t.Errorf("only %d packets were judged %s: the worlds prove nothing about it", seen.reasons[reason], reason)
		}
	}
}

// scene is a world with all who judge in it.
type scene struct {
	world    *state.Snapshot
	before   *state.Snapshot // before its prefix lists were edited; nil: they were not
	compiler *compile.Compiler
	host     *program.Host
	voices   []voice
	known    map[flowKey]bool // of the packets that were judged
}

func newScene(t *testing.T, world *state.Snapshot, kernel *kernelVoice) *scene {
	t.Helper()
	sc := &scene{world: world, compiler: compile.New(host), host: program.NewHost(), known: map[flowKey]bool{}}
	sc.host.Apply(sc.compiler.Update(world, nil))
	sc.voices = []voice{interpreterVoice(sc.host)}
	if kernel != nil {
		sc.voices = append(sc.voices, kernel.with(t, sc.host))
	}
	return sc
}

// nothing is no edit.
func nothing(*testing.T, *rand.Rand) {}

// editLists changes what prefix lists hold.
func (sc *scene) editLists(t *testing.T, r *rand.Rand) {
	t.Helper()
	before := sc.world
	sc.edit(t, editLists(r, before))
	sc.before = before
}

// editPeerings lets peering connections begin and end.
func (sc *scene) editPeerings(t *testing.T, r *rand.Rand) {
	t.Helper()
	sc.edit(t, editPeerings(r, sc.world))
	sc.before = nil
}

// edit moves the world on; the other voices hear of it by the difference that is compiled.
func (sc *scene) edit(t *testing.T, tx *state.Tx) {
	t.Helper()
	h := compile.Host(sc.world, host)
	sc.world = tx.Next(sc.world.Revision() + 1)
	h.Apply(sc.compiler.Update(sc.world, tx.Changes()))
	sc.host = h
	for _, v := range sc.voices {
		v.turn(t, h)
	}
}

// judge lets all voices judge packets, and says how many.
func (sc *scene) judge(t *testing.T, r *rand.Rand, seed uint64, seen *tally) int {
	t.Helper()
	here := sc.carried()
	if len(here) == 0 {
		return 0
	}
	g := gen{r: r}
	for range packetsPerWorld / stages {
		i, d := pick(r, here), packet.Direction(r.IntN(2))
		tuple, midway := g.packet(i, d)
		p := explain.Packet{Tuple: tuple, Midway: midway}
		if key := flowOf(i.ID, d, tuple); sc.known[key] {
			continue // the kernel may know this flow: its clock cannot be moved on
		} else {
			sc.known[key] = true
		}
		want := explained(sc.world, i, d, p)
		seen.add(sc.world, i, d, p, want)
		seen.lists.add(sc.world, sc.before, i, d, p)
		for _, v := range sc.voices {
			got := v.judge(program.InterfaceID(i.ID), d, p)
			if settle(got) != settle(want) {
				t.Fatalf("seed %d: %s %s at %s (groups %v), midway %v:\nexplain says %v\n%s says %v",
					seed, d, tuple, i.ID, i.Groups, midway, want, v.name, got)
			}
		}
	}
	return packetsPerWorld / stages
}

// carried is the interfaces that the host judges.
func (sc *scene) carried() []*vpc.Interface {
	var here []*vpc.Interface
	for e := range sc.world.All(vpc.KindInterface) {
		if i := e.(*vpc.Interface); sc.host.Interfaces[program.InterfaceID(i.ID)] != nil {
			here = append(here, i)
		}
	}
	return here
}

// judgeWays holds that explain and the host's connections are of one opinion on who has a way to whom.
func (sc *scene) judgeWays(t *testing.T, seed uint64, seen *tally) {
	t.Helper()
	joined := map[[2]program.NetworkID]bool{}
	for _, c := range sc.host.Connections {
		a, b := c.Ends[0].ID, c.Ends[1].ID
		joined[[2]program.NetworkID{a, b}], joined[[2]program.NetworkID{b, a}] = true, true
	}
	one := map[vpc.VPCID]*vpc.Interface{} // of each VPC: ways are those of the VPC
	for _, i := range sc.carried() {
		one[i.VPC] = i
	}
	for _, from := range one {
		for _, to := range one {
			if from == to {
				continue
			}
			a, err := explain.Reach(sc.world, explain.Query{
				Scope: scope, From: string(from.ID), To: string(to.ID), Service: packet.Service{Proto: 47}, AnyAccount: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			way := joined[[2]program.NetworkID{program.NetworkID(from.VPC), program.NetworkID(to.VPC)}]
			if way != (a.NoWay == "") {
				t.Fatalf("seed %d: from %s to %s the host has a way: %v; explain says %q", seed, from.VPC, to.VPC, way, a.NoWay)
			}
			if way {
				seen.ways++
			}
		}
	}
}

// flowKey names a flow at an interface, whoever of its ends speaks.
type flowKey struct {
	id    vpc.InterfaceID
	tuple packet.Tuple
}

func flowOf(id vpc.InterfaceID, d packet.Direction, t packet.Tuple) flowKey {
	if d == packet.Ingress {
		t = t.Reverse()
	}
	return flowKey{id, t}
}

// settle folds what explain does not distinguish: whether a TCP packet in the
// middle of an unknown connection, which a rule admits, makes a flow.
func settle(o opinion) opinion {
	if o.Reason == program.ReasonStateless {
		o.Reason = program.ReasonRule
	}
	return o
}

func interpreterVoice(h *program.Host) voice {
	in := program.NewInterpreter()
	in.SetHost(h)
	var now time.Duration
	return voice{"interpreter", func(id program.InterfaceID, d packet.Direction, p explain.Packet) opinion {
		now += apart
		in.Sweep(now)
		var o opinion
		o.Verdict, o.Rule, o.Reason = in.Judge(id, d, program.Packet{Tuple: p.Tuple, Flags: flagsOf(p)}, now)
		return o
	}, func(_ *testing.T, h *program.Host) { in.SetHost(h) }}
}

// The worlds must hold what the test is about.
func TestWorldsAreRich(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var rules, refs, two, v6, classics, foreign int
	for range 50 {
		w := newWorld(r)
		for i := range w.InterfacesOf(classic) {
			classics += len(i.Groups)
		}
		for e := range w.All(vpc.KindRule) {
			rule := e.(*vpc.Rule)
			if g := w.Group(rule.Source.Group); g != nil && g.Scope != rule.Scope {
				foreign++
			}
		}
		for rule := range w.RulesIn(scope) {
			rules++
			if rule.Source.Group != "" {
				refs++
			}
		}
		for i := range w.InterfacesIn(scope) {
			if len(i.Groups) > 1 {
				two++
			}
			v6 += len(i.IPv6Addrs)
		}
	}
	if slices.Min([]int{rules, refs, two, v6, classics, foreign}) < 100 {
		t.Errorf("rules %d, references %d, interfaces with several groups %d, IPv6 addresses %d, groups of Classic instances %d, references to another account %d",
			rules, refs, two, v6, classics, foreign)
	}
}
