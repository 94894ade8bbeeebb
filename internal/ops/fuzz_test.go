package ops_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/ops/opstest"
	"sallyport.dev/sallyport/internal/vpc"
)

// furnished is a world with something of each kind, and its identifiers in stories' short form.
func furnished(t *testing.T) *opstest.Story {
	t.Helper()
	s := opstest.NewStory(t)
	s.Play(strings.Join([]string{
		"region",
		"host h1 100",
		"call CreateVpc CidrBlock=10.0.0.0/16 AmazonProvidedIpv6CidrBlock=true",
		"call CreateSubnet VpcId=vpc-2 CidrBlock=10.0.1.0/24",
		"call CreateSecurityGroup GroupName=web GroupDescription=x VpcId=vpc-2",
		"call CreateNetworkInterface SubnetId=subnet-4 SecurityGroupId.1=sg-2",
		"call RunInstances ImageId=ami-00000000000000001 MinCount=1 MaxCount=1 SubnetId=subnet-4 SecurityGroupId.1=sg-2",
		"report h1 i-1 up",
		"call CreateInternetGateway",
		"call AttachInternetGateway InternetGatewayId=igw-1 VpcId=vpc-2",
		"call CreateRouteTable VpcId=vpc-2",
		"call AssociateRouteTable RouteTableId=rtb-1 SubnetId=subnet-4",
		"call CreateNetworkAcl VpcId=vpc-2",
		"call DescribeNetworkAcls",
		"call CreateVpc CidrBlock=10.1.0.0/16",
		"call CreateVpcPeeringConnection VpcId=vpc-2 PeerVpcId=vpc-3",
		"call AcceptVpcPeeringConnection VpcPeeringConnectionId=pcx-1",
		"call AssociateSecurityGroupVpc GroupId=sg-2 VpcId=vpc-3",
		"----", "",
	}, "\n"))
	if s.World.Interface(vpc.InterfaceID(s.Long("eni-2"))) == nil || s.World.Instance(vpc.InstanceID(s.Long("i-1"))) == nil ||
		s.World.Association(vpc.GroupID(s.Long("sg-2")), vpc.VPCID(s.Long("vpc-3"))) == nil {
		t.Fatal("the world is not furnished")
	}
	return s
}

// judge runs a request as a story does, twice, and holds that it is answered or refused, not broken, and leaves a
// world in which all holds that must.
func judge(t *testing.T, s *opstest.Story, action string, params []string) {
	t.Helper()
	before := s.World
	_, err := s.Do(action, params)
	if err != nil && apierr.From(err).Code == apierr.CodeInternalError {
		t.Errorf("%s %v: %v", action, params, err)
	}
	if err := opstest.CheckNetworks(s.World); err != nil {
		t.Errorf("after %s %v: %v", action, params, err)
	}
	s.World = before
}

// TestRecordedRequests runs what real clients sent, with identifiers of this world put in for theirs.
func TestRecordedRequests(t *testing.T) {
	s := furnished(t)
	file, err := os.Open("../ec2/testdata/golden_requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	served := 0
	lines := bufio.NewScanner(file)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var r struct {
			Action string            `json:"action"`
			Params map[string]string `json:"params"`
		}
		if strings.HasPrefix(lines.Text(), "#") || json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		if _, ok := ops.Lookup(r.Action); !ok {
			continue
		}
		served++
		var foreign, own []string
		for name, value := range r.Params {
			foreign = append(foreign, name+"="+value)
			kind, _, found := strings.Cut(value, "-")
			for _, known := range []string{"vpc-2", "subnet-4", "sg-2", "eni-1", "i-1", "pcx-1", "igw-1", "rtb-1", "rtbassoc-1", "acl-1", "aclassoc-1"} {
				if found && strings.HasPrefix(known, kind+"-") {
					value = s.Long(known)
				}
			}
			own = append(own, name+"="+value)
		}
		judge(t, s, r.Action, foreign)
		judge(t, s, r.Action, own)
	}
	if err := lines.Err(); err != nil || served < 100 {
		t.Errorf("%d requests were served: %v", served, err)
	}
}

// FuzzOperations runs any request whatever: an action and its parameters, a line each, with the identifiers of
// a furnished world.
func FuzzOperations(f *testing.F) {
	for _, room := range roomsOfOperations() {
		text := contents(f, "../"+room+"/testdata/story/*.txt")
		for line := range strings.Lines(text) {
			if words := opstest.Fields(strings.TrimSpace(line)); len(words) > 1 && words[0] == "call" {
				f.Add(words[1], strings.Join(words[2:], "\n"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, action, params string) {
		if _, ok := ops.Lookup(action); !ok {
			return
		}
		s := furnished(t)
		judge(t, s, action, strings.Split(s.Lengthen(params), "\n"))
	})
}

// TestEveryActionWithoutParameters runs each operation in a world that the account never was in.
func TestEveryActionWithoutParameters(t *testing.T) {
	s := opstest.NewStory(t)
	for _, o := range ops.Operations() {
		judge(t, s, o.Name, nil)
	}
}
