package gateway

import (
	"slices"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func dhcpActions() []call.Operation {
	return []call.Operation{call.Reads(describeDhcpOptions)}
}

// dhcpOption is one option of the set that all VPCs have.
type dhcpOption struct{ key, value string }

// dhcpOptions are AWS's defaults for a region (AWS VPC guide, "DHCP option sets").
func dhcpOptions(r vpc.Region) []dhcpOption {
	return []dhcpOption{{"domain-name", r.Domain()}, {"domain-name-servers", "AmazonProvidedDNS"}}
}

var dhcpListing = call.Listing[*vpc.DHCPOptions]{
	Attributes: call.Attributes[*vpc.DHCPOptions]{
		"dhcp-options-id": call.One((*vpc.DHCPOptions).Key),
		"key":             dhcpAttribute(func(o dhcpOption) string { return o.key }),
		"owner-id":        call.One(func(d *vpc.DHCPOptions) string { return string(d.Scope.Account) }),
		"value":           dhcpAttribute(func(o dhcpOption) string { return o.value }),
	},
	Tags: call.TagsOf[*vpc.DHCPOptions],
	Key:  (*vpc.DHCPOptions).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter DhcpOptionsIds cannot be used with the parameter MaxResults",
	},
}

func dhcpAttribute(value func(dhcpOption) string) call.Attribute[*vpc.DHCPOptions] {
	return func(_ *state.Snapshot, d *vpc.DHCPOptions, is func(string) bool) bool {
		return slices.ContainsFunc(dhcpOptions(d.Scope.Region), func(o dhcpOption) bool { return is(value(o)) })
	}
}

func describeDhcpOptions(tx *state.Tx, c call.Call, in *ec2.DescribeDhcpOptionsRequest) (*ec2.DescribeDhcpOptionsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.DHCPOptionsForm, in.DhcpOptionsIds, tx.DHCPOptionsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := dhcpListing.Run(tx, c,
		call.Query{IDs: in.DhcpOptionsIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeDhcpOptionsResult{NextToken: next, DhcpOptions: make([]ec2.DhcpOptions, len(page))}
	for i, d := range page {
		out.DhcpOptions[i] = ec2.DhcpOptions{
			DhcpOptionsId: &d.ID, OwnerId: new(string(d.Scope.Account)), Tags: call.WireTags(d.Tags),
		}
		for _, o := range dhcpOptions(d.Scope.Region) {
			out.DhcpOptions[i].DhcpConfigurations = append(out.DhcpOptions[i].DhcpConfigurations,
				ec2.DhcpConfiguration{Key: &o.key, Values: []ec2.AttributeValue{{Value: &o.value}}})
		}
	}
	return out, nil
}
