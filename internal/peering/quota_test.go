package peering_test

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestQuotas asks for as many connections as one may, and for one more.
func TestQuotas(t *testing.T) {
	s := opstest.NewStory(t)
	q := vpc.GuideQuotas()
	for i := range q.PeeringsPerVPC + 3 {
		s.VPC(fmt.Sprintf("10.%d.0.0/16", i), nil)
	}
	var ids []string
	for v := range s.World.VPCsIn(s.Scope) {
		ids = append(ids, string(v.ID))
	}
	hub, ids := ids[0], ids[1:]
	request := func(from, to string) (string, error) {
		res, err := s.Do("CreateVpcPeeringConnection", []string{"VpcId=" + from, "PeerVpcId=" + to})
		if err != nil {
			return "", err
		}
		return *res.(*ec2.CreateVpcPeeringConnectionResult).VpcPeeringConnection.VpcPeeringConnectionId, nil
	}
	wants := func(what string, err error, code apierr.Code) {
		t.Helper()
		if !apierr.HasCode(err, code) {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	var waiting []string
	for _, to := range ids[:q.PeeringRequests] {
		id, err := request(hub, to)
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, id)
	}
	_, err := request(ids[0], ids[1])
	wants("one more request", err, apierr.CodeOutstandingVpcPeeringConnectionLimitExceeded)
	for _, id := range waiting {
		s.MustDo("AcceptVpcPeeringConnection", "VpcPeeringConnectionId="+id)
	}
	for _, to := range ids[q.PeeringRequests : q.PeeringsPerVPC-1] {
		id, err := request(hub, to)
		if err != nil {
			t.Fatal(err)
		}
		s.MustDo("AcceptVpcPeeringConnection", "VpcPeeringConnectionId="+id)
	}
	last, err := request(hub, ids[q.PeeringsPerVPC-1])
	if err != nil {
		t.Fatal(err)
	}
	one, err := request(ids[q.PeeringsPerVPC], hub)
	if err != nil {
		t.Fatal(err)
	}
	s.MustDo("AcceptVpcPeeringConnection", "VpcPeeringConnectionId="+last)
	_, err = s.Do("AcceptVpcPeeringConnection", []string{"VpcPeeringConnectionId=" + one})
	wants("accept one more", err, apierr.CodeActiveVpcPeeringConnectionPerVpcLimitExceeded)
	_, err = request(hub, ids[q.PeeringsPerVPC+1])
	wants("request one more", err, apierr.CodeActiveVpcPeeringConnectionPerVpcLimitExceeded)
}

// TestWhatIsOverIsBounded has a client ask in a loop for what cannot be.
func TestWhatIsOverIsBounded(t *testing.T) {
	const most = 1000
	s := opstest.NewStory(t)
	s.VPC("10.0.0.0/16", nil)
	var id string
	for v := range s.World.VPCsIn(s.Scope) {
		id = string(v.ID)
	}
	for range most {
		s.MustDo("CreateVpcPeeringConnection", "VpcId="+id, "PeerVpcId="+id)
	}
	_, err := s.Do("CreateVpcPeeringConnection", []string{"VpcId=" + id, "PeerVpcId=" + id})
	if !apierr.HasCode(err, apierr.CodeVpcPeeringConnectionsPerVpcLimitExceeded) {
		t.Errorf("one more: %v", err)
	}
}
