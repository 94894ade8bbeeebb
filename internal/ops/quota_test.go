package ops_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/compile"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestWhatIsAcceptedCanBeCompiled sets quotas to whatever they can be set to, over and over, and fills groups and
// interfaces up to them: no interface ever has more rules than one can hold.
func TestWhatIsAcceptedCanBeCompiled(t *testing.T) {
	w := fullWorld{Story: opstest.NewStory(t), r: opstest.Random(t)}
	w.begin(t)
	refused := map[apierr.Code]int{}
	for range 400 {
		if err := w.step(); err != nil {
			refused[apierr.From(err).Code]++
		}
		for id, i := range compile.Host(w.World, "h1").Interfaces {
			if i.Refused != "" {
				t.Fatalf("%s: %s", id, i.Refused)
			}
		}
	}
	for _, code := range []apierr.Code{apierr.CodeRulesPerSecurityGroupLimitExceeded, apierr.CodeSecurityGroupsPerInterfaceLimitExceeded} {
		if refused[code] == 0 {
			t.Errorf("nothing was refused as %s: %v", code, refused)
		}
	}
}

// fullWorld is a VPC with instances that random calls fill.
type fullWorld struct {
	*opstest.Story
	r          *rand.Rand
	vpc        string
	groups     []string
	interfaces []string
	next       int // of the addresses that rules name
}

func (w *fullWorld) begin(t *testing.T) {
	t.Helper()
	w.Commit(func(tx *state.Tx, c call.Call) {
		tx.Put(&vpc.Account{ID: c.Scope.Account})
		if err := instance.RegisterHost(tx, c, vpc.Host{ID: "h1", Capacity: 10}); err != nil {
			t.Fatal(err)
		}
	})
	w.vpc = *w.MustDo("CreateVpc", "CidrBlock=10.0.0.0/16").(*ec2.CreateVpcResult).Vpc.VpcId
	subnet := *w.MustDo("CreateSubnet", "VpcId="+w.vpc, "CidrBlock=10.0.1.0/24").(*ec2.CreateSubnetResult).Subnet.SubnetId
	for n := range 12 {
		made := w.MustDo("CreateSecurityGroup", fmt.Sprint("GroupName=g", n), "GroupDescription=x", "VpcId="+w.vpc)
		w.groups = append(w.groups, *made.(*ec2.CreateSecurityGroupResult).GroupId)
	}
	for range 3 {
		made := w.MustDo("RunInstances", "ImageId=ami-00000000000000001", "MinCount=1", "MaxCount=1", "SubnetId="+subnet)
		w.interfaces = append(w.interfaces, *made.(*ec2.Reservation).Instances[0].NetworkInterfaces[0].NetworkInterfaceId)
	}
}

func (w *fullWorld) step() error {
	some := func(of []string) string { return of[w.r.IntN(len(of))] }
	switch w.r.IntN(8) {
	case 0, 1:
		groups := 1 + w.r.IntN(16)
		w.Try(func(tx *state.Tx, c call.Call) error {
			_, err := iam.ChangeQuotas(tx, c.Scope.Account, iam.QuotaChange{Set: map[string]int{
				"groups-per-interface": groups, "rules-per-group": 1 + w.r.IntN(1000/groups), "cidr-blocks-per-vpc": 50,
			}})
			return err
		})
		return nil
	case 2, 3:
		params := []string{"NetworkInterfaceId=" + some(w.interfaces)}
		for n, i := range w.r.Perm(len(w.groups))[:1+w.r.IntN(len(w.groups))] {
			params = append(params, fmt.Sprintf("SecurityGroupId.%d=%s", n+1, w.groups[i]))
		}
		_, err := w.Do("ModifyNetworkInterfaceAttribute", params)
		return err
	case 4:
		_, err := w.Do("AssociateVpcCidrBlock", []string{"VpcId=" + w.vpc, "AmazonProvidedIpv6CidrBlock=true"})
		return err
	}
	params := []string{"GroupId=" + some(w.groups), "IpPermissions.1.IpProtocol=-1"}
	form := some([]string{"IpRanges.%d.CidrIp=11.%d.%d.%d/32", "Ipv6Ranges.%d.CidrIpv6=2001:db8:%d:%d::%d/128"})
	for n := range 1 + w.r.IntN(300) {
		w.next++
		params = append(params, "IpPermissions.1."+fmt.Sprintf(form, n+1, w.next>>16, w.next>>8&255, w.next&255))
	}
	action := some([]string{"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"})
	_, err := w.Do(action, params)
	return err
}
