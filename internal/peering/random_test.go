package peering_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/store"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestStaleIsWhatCanMatchNobody makes random worlds of two accounts, and compares DescribeStaleSecurityGroups after
// each step with a naive reading of what a reference means: whether an interface that carries the group could be
// anywhere that the rule's VPC is connected to.
func TestStaleIsWhatCanMatchNobody(t *testing.T) {
	r := opstest.Random(t)
	seen := map[string]int{}
	for range 8 {
		s := opstest.NewStory(t)
		w := newRandomWorld(s)
		for range 300 {
			w.step(r)
			compareStale(t, s, seen)
		}
		if err := opstest.CheckNetworks(s.World); err != nil {
			t.Error(err)
		}
	}
	for _, what := range []string{"the group is gone", "nothing connects them", "own VPC", "associated", "peer", "associated with a peer"} {
		if seen[what] == 0 {
			t.Errorf("no world had a reference of which this holds: %s", what)
		}
	}
}

// randomWorld calls at random, in the name of the owner of what is called about.
type randomWorld struct {
	s    *opstest.Story
	vpcs []*vpc.VPC
	made int
}

func newRandomWorld(s *opstest.Story) *randomWorld {
	w := &randomWorld{s: s}
	for i, account := range []vpc.AccountID{"000000000001", "000000000001", "000000000001", "000000000002"} {
		s.Scope.Account = account
		s.VPC(fmt.Sprintf("10.%d.0.0/16", i), nil)
	}
	for e := range s.World.All(vpc.KindVPC) {
		w.vpcs = append(w.vpcs, e.(*vpc.VPC))
	}
	return w
}

func pick[E any](r *rand.Rand, all []E) (e E, ok bool) {
	if len(all) == 0 {
		return e, false
	}
	return all[r.IntN(len(all))], true
}

func kept[E vpc.Entity](s *opstest.Story, kind vpc.Kind) []E {
	var out []E
	for e := range s.World.All(kind) {
		out = append(out, e.(E))
	}
	return out
}

// try calls as an account; what is refused is refused.
func (w *randomWorld) try(as vpc.AccountID, action string, params ...string) {
	w.s.Scope.Account = as
	_, _ = w.s.Do(action, params)
}

func (w *randomWorld) step(r *rand.Rand) {
	v, _ := pick(r, w.vpcs)
	peer, _ := pick(r, w.vpcs)
	p, _ := pick(r, kept[*vpc.Peering](w.s, vpc.KindPeering))
	groups := kept[*vpc.SecurityGroup](w.s, vpc.KindGroup)
	g, _ := pick(r, groups)
	source, _ := pick(r, groups)
	switch r.IntN(14) {
	case 0, 1:
		w.made++
		w.try(v.Scope.Account, "CreateSecurityGroup", fmt.Sprintf("GroupName=g%d", w.made), "GroupDescription=d", "VpcId="+string(v.ID))
	case 2:
		w.try(g.Scope.Account, "DeleteSecurityGroup", "GroupId="+string(g.ID))
	case 3, 4:
		w.try(v.Scope.Account, "CreateVpcPeeringConnection", "VpcId="+string(v.ID), "PeerVpcId="+string(peer.ID), "PeerOwnerId="+string(peer.Scope.Account))
	case 5, 6:
		if p != nil {
			w.try(p.Accepter.Scope.Account, "AcceptVpcPeeringConnection", "VpcPeeringConnectionId="+p.Key())
		}
	case 7:
		if p != nil {
			w.try(p.Requester.Scope.Account, "DeleteVpcPeeringConnection", "VpcPeeringConnectionId="+p.Key())
		}
	case 8, 9:
		w.try(g.Scope.Account, "AssociateSecurityGroupVpc", "GroupId="+string(g.ID), "VpcId="+string(v.ID))
	case 10:
		w.try(g.Scope.Account, "DisassociateSecurityGroupVpc", "GroupId="+string(g.ID), "VpcId="+string(v.ID))
	default:
		action := "AuthorizeSecurityGroup" + []string{"Ingress", "Egress"}[r.IntN(2)]
		w.try(g.Scope.Account, action, "GroupId="+string(g.ID), "IpPermissions.1.IpProtocol=-1", "IpPermissions.1.Groups.1.GroupId="+string(source.ID),
			"IpPermissions.1.Groups.1.UserId="+string(source.Scope.Account))
	}
}

// whyMatches says how an interface that carries a rule's group could be in a VPC that is the rule's own or has an
// active connection to it, or that none could: read off the whole world, without an index.
func whyMatches(s *opstest.Story, r *vpc.Rule) (why string, could bool) {
	home, g := s.World.Group(r.Group), s.World.Group(r.Source.Group)
	if g == nil {
		return "the group is gone", false
	}
	for _, at := range kept[*vpc.VPC](s, vpc.KindVPC) {
		associated := slices.ContainsFunc(kept[*vpc.Association](s, vpc.KindAssociation),
			func(a *vpc.Association) bool { return a.Group == g.ID && a.VPC == at.ID })
		joined := slices.ContainsFunc(kept[*vpc.Peering](s, vpc.KindPeering), func(p *vpc.Peering) bool {
			ends := [2]vpc.VPCID{p.Requester.VPC, p.Accepter.VPC}
			return p.Status == vpc.PeeringActive && (ends == [2]vpc.VPCID{home.VPC, at.ID} || ends == [2]vpc.VPCID{at.ID, home.VPC})
		})
		switch {
		case at.ID == home.VPC && at.ID == g.VPC:
			return "own VPC", true
		case at.ID == home.VPC && associated:
			return "associated", true
		case joined && at.ID == g.VPC:
			return "peer", true
		case joined && associated:
			return "associated with a peer", true
		}
	}
	return "nothing connects them", false
}

// compareStale asks for the stale rules of every VPC, five groups a page, and counts the reasons of all references.
func compareStale(t *testing.T, s *opstest.Story, seen map[string]int) {
	t.Helper()
	got, want := map[string]bool{}, map[string]bool{}
	for _, r := range kept[*vpc.Rule](s, vpc.KindRule) {
		if r.Source.Group == "" {
			continue
		}
		why, could := whyMatches(s, r)
		seen[why]++
		if !could {
			want[fmt.Sprint(r.Group, r.Direction, r.Source.Group)] = true
		}
	}
	for _, v := range kept[*vpc.VPC](s, vpc.KindVPC) {
		s.Scope.Account = v.Scope.Account
		for token := ""; ; {
			params := []string{"VpcId=" + string(v.ID), "MaxResults=5"}
			if token != "" {
				params = append(params, "NextToken="+token)
			}
			page := s.MustDo("DescribeStaleSecurityGroups", params...).(*ec2.DescribeStaleSecurityGroupsResult)
			for _, g := range page.StaleSecurityGroupSet {
				for direction, permissions := range [2][]ec2.StaleIpPermission{g.StaleIpPermissions, g.StaleIpPermissionsEgress} {
					for _, p := range permissions {
						for _, pair := range p.UserIdGroupPairs {
							got[fmt.Sprint(*g.GroupId, []string{"ingress", "egress"}[direction], *pair.GroupId)] = true
						}
					}
				}
			}
			if page.NextToken == nil {
				break
			}
			token = *page.NextToken
		}
	}
	if len(got) != len(want) {
		t.Fatalf("stale are %v, and match nobody %v", got, want)
	}
	for rule := range want {
		if !got[rule] {
			t.Fatalf("%s matches nobody and is not stale", rule)
		}
	}
}

// TestOneConnectionBetweenTwoVPCs has many callers ask, accept and delete at once, on a real store: two VPCs never
// have two connections that are pending or active, nor do VPCs whose blocks overlap have an active one.
func TestOneConnectionBetweenTwoVPCs(t *testing.T) {
	const callers, calls = 8, 40
	r := opstest.Random(t)
	st, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ids := putVPCs(t, st, 3)
	var all sync.WaitGroup
	for n := range callers {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(n)))
		all.Go(func() {
			for i := range calls {
				if err := randomCall(t.Context(), st, own, ids, now, fmt.Sprint(n, " ", i)); err != nil {
					t.Error(err)
				}
				checkConnections(t, st.Snapshot(), now)
			}
		})
	}
	all.Wait()
	n := 0
	for range st.Snapshot().All(vpc.KindPeering) {
		n++
	}
	if n == 0 {
		t.Error("nobody made a connection")
	}
}

func putVPCs(t *testing.T, st *store.Store, n int) []vpc.VPCID {
	t.Helper()
	var ids []vpc.VPCID
	_, err := st.Do(t.Context(), func(tx *state.Tx) error {
		ids = nil
		for i := range n {
			v := &vpc.VPC{
				ID:     vpc.VPCID(fmt.Sprintf("vpc-%017d", i)),
				Scope:  vpc.Scope{Region: "us-east-1", Account: vpc.AccountID(fmt.Sprintf("%012d", 1+i%2))},
				Blocks: []vpc.Block{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}},
			}
			tx.Put(v)
			ids = append(ids, v.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// randomCall runs one operation as the server does: again and again until its world is the newest. It fails only
// with what is not an answer to a client.
func randomCall(ctx context.Context, st *store.Store, r *rand.Rand, ids []vpc.VPCID, now time.Time, seed string) error {
	w := st.Snapshot()
	from, _ := pick(r, ids)
	to, _ := pick(r, ids)
	as := w.VPC(from).Scope
	peerings := slices.Collect(w.PeeringsOf(from))
	p, _ := pick(r, peerings)
	var req ec2.Request
	id := new("pcx-0")
	if p != nil {
		id = new(p.Key())
	}
	switch r.IntN(4) {
	case 0, 1:
		req = &ec2.CreateVpcPeeringConnectionRequest{
			VpcId: new(string(from)), PeerVpcId: new(string(to)), PeerOwnerId: new(string(w.VPC(to).Scope.Account)),
		}
	case 2:
		req = &ec2.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: id}
	case 3:
		req = &ec2.DeleteVpcPeeringConnectionRequest{VpcPeeringConnectionId: id}
	}
	op, _ := ops.Lookup(req.ActionName())
	_, err := st.Do(ctx, func(tx *state.Tx) error {
		_, err := op.Run(tx, call.Call{
			Scope: as, Action: op.Name, Version: ec2.VersionCurrent, Now: now, IDs: call.NewIDs(sha256.Sum256([]byte(seed))),
		}, req)
		return err
	})
	if err != nil && apierr.From(err).Code == apierr.CodeInternalError {
		return fmt.Errorf("%s: %w", op.Name, err)
	}
	return nil
}

func checkConnections(t *testing.T, w *state.Snapshot, now time.Time) {
	t.Helper()
	live := map[[2]vpc.VPCID]vpc.PeeringID{}
	for e := range w.All(vpc.KindPeering) {
		p := e.(*vpc.Peering)
		if !p.Live(now) {
			continue
		}
		pair := [2]vpc.VPCID{min(p.Requester.VPC, p.Accepter.VPC), max(p.Requester.VPC, p.Accepter.VPC)}
		if other, ok := live[pair]; ok {
			t.Errorf("revision %d: %s and %s connect %v", w.Revision(), other, p.ID, pair)
		}
		live[pair] = p.ID
		if pair[0] == pair[1] {
			t.Errorf("%s connects %s with itself", p.ID, pair[0])
		}
	}
}
