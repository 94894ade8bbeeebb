package terraform_test

// withoutHost are the configurations that need no instance.
var withoutHost = []configuration{
	{name: "inline", steps: []step{
		{name: "create", outputs: map[string]any{"rules": 11.0}},
		{name: "another port", set: variables{"web_port": 8080}, want: changes{"aws_security_group.web": updated}},
		{
			name: "another description and source", set: variables{"office": "198.51.100.0/24", "office_description": "the new office"},
			want: changes{"aws_security_group.web": updated},
		},
		{
			name: "tags", set: variables{"environment": "production"},
			want: changes{"aws_security_group.web": updated, "aws_security_group.bastion": updated},
		},
		{
			name: "a description cannot change", set: variables{"bastion_description": "the way in"},
			want: changes{"aws_security_group.bastion": replaced, "aws_security_group.web": updated},
		},
		{
			name: "a referenced group goes", set: variables{"with_guest": false},
			before: letGuestIn, want: changes{"aws_security_group.guest[0]": removed},
		},
	}},
	{name: "rules", steps: []step{
		{name: "create"},
		{name: "another port", set: variables{"web_port": 8080}, want: changes{"aws_vpc_security_group_ingress_rule.web": updated, "aws_vpc_security_group_ingress_rule.web6": updated}},
		{name: "another description", set: variables{"office_description": "the new office"}, want: changes{"aws_vpc_security_group_ingress_rule.office": updated}},
		{name: "another CIDR", set: variables{"office": "198.51.100.0/24"}, want: changes{"aws_vpc_security_group_ingress_rule.office": updated}},
		{name: "all traffic", set: variables{"backend_protocol": "-1"}, want: changes{"aws_vpc_security_group_egress_rule.backend": updated}},
		{name: "tags", set: variables{"environment": "production"}, want: changes{
			"aws_vpc_security_group_ingress_rule.office": updated, "aws_vpc_security_group_egress_rule.backend": updated,
		}},
	}},
	{name: "legacy", steps: []step{
		{name: "create"},
		{name: "other descriptions", set: variables{"description": "changed"}, want: changes{
			"aws_security_group_rule.web": updated, "aws_security_group_rule.members": updated,
			"aws_security_group_rule.database": updated, "aws_security_group_rule.out": updated,
		}},
		{name: "another port", set: variables{"web_port": 8080}, want: changes{"aws_security_group_rule.web": replaced}},
	}},
	{name: "network", steps: []step{
		{name: "create"},
		{
			name: "attributes", set: variables{"dns_hostnames": true, "usage_metrics": true, "public_subnet": true},
			want: changes{"aws_vpc.main": updated, "aws_subnet.a": updated},
		},
		{name: "IPv6 arrives", set: variables{"ipv6": true}, want: changes{"aws_vpc.main": updated, "aws_subnet.b": updated}},
		{name: "tags", set: variables{"environment": "production"}, want: changes{
			"aws_vpc.main": updated, "aws_subnet.a": updated, "aws_subnet.b": updated, "aws_ec2_tag.vpc": updated,
		}},
	}},
	{name: "interfaces", steps: []step{
		{name: "create"},
		{name: "other groups", set: variables{"groups": []string{"b"}}, want: changes{"aws_network_interface.one": updated}},
		{
			name: "attributes", set: variables{"description": "changed", "source_dest_check": false},
			want: changes{"aws_network_interface.one": updated},
		},
		{name: "more addresses", set: variables{"secondary": 3}, want: changes{"aws_network_interface.many": updated}},
		{name: "fewer addresses", set: variables{"secondary": 1}, want: changes{"aws_network_interface.many": updated}},
	}},
	{name: "lists", steps: []step{
		{name: "create"},
		{
			name: "another entry", set: variables{"offices": []string{"203.0.113.0/24", "198.51.100.0/24"}},
			want: changes{"aws_ec2_managed_prefix_list.offices": updated},
		},
		{name: "another size", set: variables{"size": 7}, want: changes{"aws_ec2_managed_prefix_list.offices": updated}},
		{name: "another name", set: variables{"name": "places"}, want: changes{"aws_ec2_managed_prefix_list.offices": updated}},
	}},
	{name: "defaults", leaves: []string{"DescribeTags"}, steps: []step{
		{name: "adopt"},
	}},
	{name: "lookups", steps: []step{
		{name: "read"},
	}},
	{name: "peering", partner: true, leaves: []string{"DescribeTags"}, steps: []step{
		{name: "create", outputs: map[string]any{"active": 2.0, "peer": "10.2.0.0/16"}},
		{name: "options", set: variables{"resolve": true}, want: changes{
			"aws_vpc_peering_connection.inside": updated, "aws_vpc_peering_connection_options.ours": updated,
		}},
		{name: "tags", set: variables{"environment": "production"}, want: changes{"aws_vpc_peering_connection.inside": updated}},
	}},
	{name: "association", steps: []step{
		{name: "create", outputs: map[string]any{"state": "associated"}},
		{name: "out of use", set: variables{"used": false}, want: changes{"aws_network_interface.second[0]": removed}},
	}},
	{name: "gateways", steps: []step{
		{name: "create", outputs: map[string]any{"found": map[string]any{"acls": 3.0, "gateway": true, "table": true, "routes": 1.0}}},
		{name: "another route", set: variables{"to": "198.51.100.0/24"}, want: changes{"aws_route_table.public": updated}},
		{name: "tags", set: variables{"environment": "production"}, want: changes{
			"aws_route_table.public": updated, "aws_internet_gateway.main": updated,
		}},
	}},
	{name: "guide", steps: []step{
		{name: "create", outputs: map[string]any{"rules_of_web": 8.0}},
		{name: "another network", set: variables{"network": "198.51.100.0/24"}, want: changes{
			`aws_vpc_security_group_ingress_rule.administration["ssh"]`: updated, `aws_vpc_security_group_ingress_rule.administration["rdp"]`: updated,
		}},
	}},
	{name: "tiers", steps: []step{
		{name: "create"},
		{
			name: "another office", set: variables{"offices": []string{"203.0.113.0/24", "198.51.100.0/24"}},
			want: changes{"aws_ec2_managed_prefix_list.offices": updated},
		},
		{name: "another port", set: variables{"application_port": 9090}, want: changes{
			`module.front.aws_vpc_security_group_egress_rule.group["application"]`:  updated,
			`module.application.aws_vpc_security_group_ingress_rule.group["front"]`: updated,
		}},
	}},
}

// withHost are those whose instances run.
var withHost = []configuration{
	{name: "instances", notImported: []string{"aws_instance.two"}, leaves: []string{"DescribeTags"}, steps: []step{
		{name: "create", outputs: map[string]any{"found": map[string]any{"address": "10.0.1.10", "of_a": 2.0}}},
		{name: "other groups", set: variables{"groups": []string{"b"}}, want: changes{"aws_instance.one": updated}},
		{name: "an interface goes", set: variables{"second": false}, want: changes{"aws_network_interface_attachment.second[0]": removed}},
		{name: "attributes", set: variables{"source_dest_check": false, "environment": "production"}, want: changes{"aws_instance.one": updated}},
		{name: "another type", set: variables{"type": "t3.small"}, want: changes{"aws_instance.one": updated}},
	}},
}
