package network_test

import (
	"testing"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }

// TestWhatAnOlderVersionMadeIsCompleted takes from a world what versions before route tables and ACLs did not know.
// Everything that they could do is still done with it, and the account's next call in the region gives each VPC
// what it is born with now.
func TestWhatAnOlderVersionMadeIsCompleted(t *testing.T) {
	s := opstest.NewStory(t)
	s.Play("region\nhost h1 4\ncall CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true\n" +
		"call CreateSubnet VpcId=vpc-2 CidrBlock=10.0.1.0/24\ncall CreateVpc CidrBlock=10.1.0.0/16\n----\n")
	subnet, own, empty := s.Long("subnet-4"), vpc.VPCID(s.Long("vpc-2")), s.Long("vpc-3")
	s.Commit(func(tx *state.Tx, _ call.Call) {
		for _, kind := range []vpc.Kind{vpc.KindInternetGateway, vpc.KindRouteTable, vpc.KindNetworkACL, vpc.KindDHCPOptions} {
			for e := range tx.All(kind) {
				tx.Delete(e)
			}
		}
		for e := range tx.All(vpc.KindSubnet) {
			old := *e.(*vpc.Subnet)
			old.ACL, old.ACLAssociation = "", ""
			tx.Put(&old)
		}
		r := *tx.RegionState(s.Scope)
		r.Surrounded = false
		tx.Put(&r)
	})
	s.MustDo("RunInstances", "ImageId=ami-00000000000000001", "MinCount=1", "MaxCount=1", "SubnetId="+subnet)
	s.MustDo("CreateSubnet", "VpcId="+string(own), "CidrBlock=10.0.2.0/24")
	s.MustDo("AssociateVpcCidrBlock", "VpcId="+empty, "AmazonProvidedIpv6CidrBlock=true")
	s.MustDo("DeleteVpc", "VpcId="+empty)
	s.MustDo("DescribeRouteTables")
	s.MustDo("DescribeNetworkAcls")
	if opstest.CheckNetworks(s.World) == nil || network.IsReady(s.World, s.Scope) {
		t.Fatal("this is no world of an older version")
	}
	ensure := func() {
		s.Commit(func(tx *state.Tx, c call.Call) {
			if err := network.EnsureRegion(tx, c); err != nil {
				t.Fatal(err)
			}
		})
	}
	ensure()
	if err := opstest.CheckNetworks(s.World); err != nil {
		t.Error(err)
	}
	if v := s.World.DefaultVPC(s.Scope); s.World.InternetGatewayOf(v.ID) == nil || len(s.World.MainRouteTable(v.ID).Routes) != 1 {
		t.Error("the default VPC has no gateway, or no route to it")
	}
	if n := len(s.World.DefaultNetworkACL(own).Entries); n != 4 {
		t.Errorf("the ACL of a VPC with both families has %d entries", n)
	}
	options := s.World.RegionState(s.Scope).DHCPOptions
	if s.World.Get(vpc.KindDHCPOptions, options) == nil {
		t.Errorf("%s is not", options)
	}
	completed := s.World.MainRouteTable(own)
	ensure()
	if s.World.MainRouteTable(own) != completed || s.World.CountRouteTables(own) != 1 {
		t.Error("a world that is complete was changed")
	}
}
