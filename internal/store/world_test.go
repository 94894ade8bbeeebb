package store

import (
	"fmt"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/vpc"
)

// fullWorld has an entity of each kind, with every sort of value in it.
func fullWorld() []vpc.Entity {
	scope := vpc.Scope{Region: "us-east-1", Account: "000000000001"}
	at := time.Date(2030, 1, 2, 3, 4, 5, 600, time.UTC)
	tags := vpc.Tags{{Key: "Name", Value: "<a> & b"}}
	block := netip.MustParsePrefix("10.0.0.0/16")
	block6 := netip.MustParsePrefix("2001:db8::/56")
	return []vpc.Entity{
		&vpc.Account{ID: "000000000001", Name: "main", Created: at},
		&vpc.Account{ID: "000000000002", Name: "gone"},
		&vpc.AccessKey{ID: "AKIA0000000000000001", Secret: "secret/+", Account: "000000000001", Created: at},
		&vpc.RegionState{Scope: scope, Created: at},
		&vpc.Host{ID: "host-1", Region: "us-east-1", Capacity: 7, Created: at},
		&vpc.Token{Scope: scope, Action: "RunInstances", Value: "a/b c", Digest: "d", Resources: []string{"i-1"}, Created: at},
		&vpc.VPC{
			ID: "vpc-1", Scope: scope, Blocks: []vpc.Block{{Association: "a", Prefix: block}},
			IPv6Blocks: []vpc.Block{{Association: "b", Prefix: block6}}, Default: true, Tags: tags, Created: at,
		},
		&vpc.Subnet{ID: "subnet-1", Scope: scope, VPC: "vpc-1", Zone: "us-east-1a", Block: block, Created: at},
		&vpc.Subnet{ID: "subnet-2", Scope: scope, VPC: "vpc-1", IPv6Blocks: []vpc.Block{{Prefix: block6}}},
		&vpc.SecurityGroup{ID: "sg-1", Scope: scope, VPC: "vpc-1", Name: "Web", Tags: tags, DefaultEgress: true, Created: at},
		&vpc.Rule{
			ID: "sgr-1", Scope: scope, Group: "sg-1", Direction: packet.Egress,
			Service: packet.Service{Proto: packet.ICMP, Type: 8, Code: packet.Any},
			Source:  vpc.Source{CIDR: vpc.AllIPv6}, Seq: 1<<63 + 1,
		},
		&vpc.Rule{ID: "sgr-2", Scope: scope, Group: "sg-1", Source: vpc.Source{Group: "sg-1", GroupAccount: "000000000001"}},
		&vpc.Interface{
			ID: "eni-1", Scope: scope, VPC: "vpc-1", Subnet: "subnet-1", Groups: []vpc.GroupID{"sg-1"},
			Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, IPv6Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::4")},
			Tracking: &vpc.ConnectionTracking{UDP: 30}, Attachment: &vpc.Attachment{ID: "eni-attach-1", Instance: "i-1", Attached: at},
		},
		&vpc.Peering{
			ID: "pcx-1", Requester: vpc.PeeringEnd{Scope: scope, VPC: "vpc-1", Blocks: []netip.Prefix{block}, Tags: tags},
			Accepter: vpc.PeeringEnd{Scope: scope, VPC: "vpc-2", AllowDNS: true}, Status: vpc.PeeringActive, Since: at, Expires: at,
		},
		&vpc.Association{Group: "sg-1", Scope: scope, VPC: "vpc-2", Created: at},
		&vpc.PrefixList{
			ID: "pl-1", Scope: scope, Name: "offices", MaxEntries: 3, Version: 1, Tags: tags, Created: at,
			Entries: []vpc.PrefixListEntry{{Prefix: block, Description: "one"}},
		},
		&vpc.InternetGateway{ID: "igw-1", Scope: scope, VPC: "vpc-1", Tags: tags, Created: at},
		&vpc.RouteTable{
			ID: "rtb-1", Scope: scope, VPC: "vpc-1", Main: "rtbassoc-1", Tags: tags, Created: at,
			Routes: []vpc.Route{
				{Destination: vpc.Destination{Block: vpc.AllIPv4}, Target: vpc.Target{InternetGateway: "igw-1"}},
				{Destination: vpc.Destination{PrefixList: "pl-1"}, Target: vpc.Target{Peering: "pcx-1"}},
			},
		},
		&vpc.NetworkACL{
			ID: "acl-1", Scope: scope, VPC: "vpc-1", Default: true, Tags: tags, Created: at,
			Entries: []vpc.ACLEntry{{Direction: packet.Egress, Number: 100, Block: vpc.AllIPv6}},
		},
		&vpc.DHCPOptions{ID: "dopt-1", Scope: scope, Tags: tags, Created: at},
		&vpc.Image{ID: "ami-1", Scope: scope, Name: "web", ENASupport: true, Tags: tags, Created: at},
		&vpc.PrefixListVersion{List: "pl-1", Version: 1, Entries: []vpc.PrefixListEntry{{Prefix: block}}},
		&vpc.Instance{ID: "i-1", Scope: scope, State: vpc.Running, UserData: []byte("#!/bin/sh\n\x00\xff"), Boot: 2, Launched: at},
	}
}

// largeWorld has n interfaces, n rules and n/10 groups.
func largeWorld(n int) []vpc.Entity {
	scope := vpc.Scope{Region: "us-east-1", Account: "000000000001"}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	group := func(i int) vpc.GroupID { return vpc.GroupID(fmt.Sprintf("sg-%017x", i%(n/10))) }
	var out []vpc.Entity
	for i := range n / 10 {
		out = append(out, &vpc.SecurityGroup{
			ID: group(i), Scope: scope, VPC: "vpc-1", Name: fmt.Sprint("group-", i), Description: "one of many", Created: at,
		})
	}
	for i := range n {
		out = append(out, &vpc.Rule{
			ID: vpc.RuleID(fmt.Sprintf("sgr-%017x", i)), Scope: scope, Group: group(i), Seq: uint64(i), Created: at,
			Service: packet.Service{Proto: packet.TCP, Ports: packet.PortRange{From: 443, To: 443}},
			Source:  vpc.Source{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		}, &vpc.Interface{
			ID: vpc.InterfaceID(fmt.Sprintf("eni-%017x", i)), Scope: scope, VPC: "vpc-1", Subnet: "subnet-1", Zone: "us-east-1a",
			Type: "interface", MAC: "02:00:00:00:00:01", Groups: []vpc.GroupID{group(i), group(i + 1)}, SourceCheck: true, Created: at,
			Addrs:      []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			Attachment: &vpc.Attachment{ID: "eni-attach-1", Instance: vpc.InstanceID(fmt.Sprintf("i-%017x", i)), Attached: at},
			Tags:       vpc.Tags{{Key: "Name", Value: fmt.Sprint("interface-", i)}},
		})
	}
	return out
}
