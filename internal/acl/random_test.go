package acl_test

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestNoInterfaceIsUnderAnACLThatBlocks plays random calls that change ACLs, what is under them and how VPCs are
// connected. After each, no interface is under an ACL that blocks, and all else holds that must.
func TestNoInterfaceIsUnderAnACLThatBlocks(t *testing.T) {
	r := opstest.Random(t)
	s := opstest.NewStory(t)
	s.Play("region\ncall CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true\n----\n")
	network := "VpcId=" + s.Long("vpc-2")
	s.MustDo("CreateSubnet", network, "CidrBlock=10.0.0.0/24")
	s.MustDo("CreateInternetGateway")
	pick := func(kind vpc.Kind) string {
		var ids []string
		for e := range s.World.All(kind) {
			ids = append(ids, e.Key())
		}
		if len(ids) == 0 {
			return "none"
		}
		return ids[r.IntN(len(ids))]
	}
	association := func() string {
		subnet := s.World.Subnet(vpc.SubnetID(pick(vpc.KindSubnet)))
		if subnet == nil {
			return "none"
		}
		return string(subnet.ACLAssociation)
	}
	block6 := func() string {
		for v := range s.World.VPCsIn(s.Scope) {
			if len(v.IPv6Blocks) > 0 {
				return v.IPv6Blocks[0].Prefix.Addr().String() + "/64"
			}
		}
		return "none"
	}
	entry := func() []string {
		block := []string{"CidrBlock=0.0.0.0/0", "Ipv6CidrBlock=::/0"}[r.IntN(2)]
		return []string{
			"NetworkAclId=" + pick(vpc.KindNetworkACL), fmt.Sprint("RuleNumber=", 100+r.IntN(3)), "Protocol=-1",
			"RuleAction=allow", fmt.Sprint("Egress=", r.IntN(2) == 0), block,
		}
	}
	calls := []func() (string, []string){
		func() (string, []string) { return "CreateNetworkAcl", []string{"VpcId=" + pick(vpc.KindVPC)} },
		func() (string, []string) {
			return "DeleteNetworkAcl", []string{"NetworkAclId=" + pick(vpc.KindNetworkACL)}
		},
		func() (string, []string) { return "CreateNetworkAclEntry", entry() },
		func() (string, []string) { return "ReplaceNetworkAclEntry", entry() },
		func() (string, []string) {
			e := entry()
			return "DeleteNetworkAclEntry", []string{e[0], e[1], e[4]}
		},
		func() (string, []string) {
			return "ReplaceNetworkAclAssociation", []string{"AssociationId=" + association(), "NetworkAclId=" + pick(vpc.KindNetworkACL)}
		},
		func() (string, []string) {
			return "CreateNetworkInterface", []string{"SubnetId=" + pick(vpc.KindSubnet)}
		},
		func() (string, []string) {
			return "DeleteNetworkInterface", []string{"NetworkInterfaceId=" + pick(vpc.KindInterface)}
		},
		func() (string, []string) {
			return "CreateSubnet", []string{"VpcId=" + pick(vpc.KindVPC), fmt.Sprintf("CidrBlock=10.0.%d.0/24", r.IntN(9))}
		},
		func() (string, []string) { return "DeleteSubnet", []string{"SubnetId=" + pick(vpc.KindSubnet)} },
		func() (string, []string) {
			return "AssociateSubnetCidrBlock", []string{"SubnetId=" + pick(vpc.KindSubnet), "Ipv6CidrBlock=" + block6()}
		},
		func() (string, []string) { return "CreateRouteTable", []string{"VpcId=" + pick(vpc.KindVPC)} },
		func() (string, []string) {
			return "DeleteRouteTable", []string{"RouteTableId=" + pick(vpc.KindRouteTable)}
		},
		func() (string, []string) {
			return "AssociateRouteTable", []string{"RouteTableId=" + pick(vpc.KindRouteTable), "SubnetId=" + pick(vpc.KindSubnet)}
		},
		func() (string, []string) {
			t := s.World.RouteTable(vpc.RouteTableID(pick(vpc.KindRouteTable)))
			return "ReplaceRouteTableAssociation", []string{"AssociationId=" + string(t.Main), "RouteTableId=" + pick(vpc.KindRouteTable)}
		},
		func() (string, []string) {
			return "AttachInternetGateway", []string{"InternetGatewayId=" + pick(vpc.KindInternetGateway), "VpcId=" + pick(vpc.KindVPC)}
		},
		func() (string, []string) {
			return "DetachInternetGateway", []string{"InternetGatewayId=" + pick(vpc.KindInternetGateway), "VpcId=" + pick(vpc.KindVPC)}
		},
		func() (string, []string) {
			return "CreateRoute", []string{
				"RouteTableId=" + pick(vpc.KindRouteTable), fmt.Sprintf("DestinationCidrBlock=8.%d.0.0/16", r.IntN(4)),
				"GatewayId=" + pick(vpc.KindInternetGateway),
			}
		},
	}
	done := map[string]int{}
	for range 1500 {
		action, params := calls[r.IntN(len(calls))]()
		_, err := s.Do(action, params)
		switch {
		case err == nil:
			done[action]++
		case apierr.From(err).Code == apierr.CodeInternalError:
			t.Fatalf("%s %v: %v", action, params, err)
		case apierr.HasCode(err, apierr.CodeUnsupportedOperation):
			done["refused"]++
		}
		if err := opstest.CheckNetworks(s.World); err != nil {
			t.Fatalf("after %s %v: %v", action, params, err)
		}
	}
	for _, action := range []string{"refused", "DeleteNetworkAclEntry", "ReplaceNetworkAclAssociation", "CreateNetworkInterface", "CreateRoute"} {
		if done[action] == 0 {
			t.Errorf("%s: never, of %v", action, done)
		}
	}
}
