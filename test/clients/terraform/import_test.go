package terraform_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// importIDs are the identifiers by which resources are imported, where it is not their id.
var importIDs = map[string]func(attributes) string{
	"aws_ec2_managed_prefix_list_entry":      join(",", "prefix_list_id", "cidr"),
	"aws_internet_gateway_attachment":        join(":", "internet_gateway_id", "vpc_id"),
	"aws_network_acl_rule":                   join(":", "network_acl_id", "rule_number", "protocol", "egress"),
	"aws_network_interface_attachment":       join("", "attachment_id"),
	"aws_network_interface_sg_attachment":    join("_", "network_interface_id", "security_group_id"),
	"aws_route":                              join("_", "route_table_id", "destination_cidr_block"),
	"aws_route_table_association":            join("/", "subnet_id", "route_table_id"),
	"aws_vpc_security_group_vpc_association": join(",", "security_group_id", "vpc_id"),
	"aws_default_security_group":             join("", "id"),
	"aws_security_group_rule":                legacyRule,
}

// notImported are resources that the provider cannot import, or adopts anyway.
var notImported = []string{"aws_main_route_table_association", "aws_default_route_table", "aws_vpc_peering_connection_accepter"}

// untold are attributes that stand in a configuration alone: no call tells them, on EC2 either.
var untold = map[string][]string{
	"aws_security_group":         {"revoke_rules_on_delete"},
	"aws_default_security_group": {"revoke_rules_on_delete"},
	"aws_default_vpc":            {"force_destroy"},
	"aws_default_subnet":         {"force_destroy"},
	"aws_instance":               {"force_destroy", "user_data_replace_on_change", "get_password_data", "user_data"},
	"aws_vpc_peering_connection": {"auto_accept"},
}

func join(by string, names ...string) func(attributes) string {
	return func(a attributes) string {
		var parts []string
		for _, n := range names {
			parts = append(parts, a.text(n))
		}
		return strings.Join(parts, by)
	}
}

// legacyRule is group_direction_protocol_from_to_source…, the source being all there is.
func legacyRule(a attributes) string {
	parts := []string{join("_", "security_group_id", "type", "protocol", "from_port", "to_port")(a)}
	for _, name := range []string{"cidr_blocks", "ipv6_cidr_blocks", "prefix_list_ids"} {
		list, _ := a[name].([]any)
		for _, v := range list {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	switch {
	case a["self"] == true:
		parts = append(parts, "self")
	case a["source_security_group_id"] != nil:
		parts = append(parts, a.text("source_security_group_id"))
	}
	return strings.Join(parts, "_")
}

// imported plans the import of everything in from's state but some into an empty one, and fails the test where
// something would be left to do.
func (s *stage) imported(from *stage, but []string) {
	s.t.Helper()
	left := func(kind, address string) bool {
		return slices.Contains(notImported, kind) || slices.Contains(but, address)
	}
	var blocks []any
	for _, r := range from.state() {
		if left(r.Type, r.Address) {
			continue
		}
		id := r.Values.text("id")
		if f := importIDs[r.Type]; f != nil {
			id = f(r.Values)
		}
		blocks = append(blocks, map[string]any{"to": r.Address, "id": id})
	}
	s.set(from.vars)
	s.write("import.tf.json", map[string]any{"import": blocks})
	s.run("plan", "-input=false", "-out=plan")
	var plan struct {
		Changes []struct {
			Address, Type, Mode string
			Change              struct {
				Actions   []string
				Before    attributes
				After     attributes
				Importing *struct{ ID string }
			}
		} `json:"resource_changes"`
	}
	s.decode(&plan, "show", "-json", "plan")
	found := 0
	for _, c := range plan.Changes {
		if c.Mode == "data" || left(c.Type, c.Address) {
			continue
		}
		if c.Change.Importing == nil {
			s.t.Errorf("%s is not imported: %v", c.Address, c.Change.Actions)
			continue
		}
		found++
		for name, after := range c.Change.After {
			before := c.Change.Before[name]
			unknownPort := before == nil && after == -1.0 // which the provider leaves out where it did not set it
			if !slices.Contains(untold[c.Type], name) && !unknownPort && !reflect.DeepEqual(before, after) {
				s.t.Errorf("%s, imported as %s, has %s %v, the configuration %v", c.Address, c.Change.Importing.ID, name, before, after)
			}
		}
	}
	if found != len(blocks) {
		s.t.Errorf("%d of %d resources were imported", found, len(blocks))
	}
}
