package network

import (
	"slices"
	"strconv"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
)

func accountActions() []call.Operation {
	return []call.Operation{call.Reads(describeAccountAttributes)}
}

// accountAttribute is one attribute of an account.
type accountAttribute struct {
	name  ec2.AccountAttributeName
	value func(tx *state.Tx, c call.Call) string
}

// accountAttributes are what describe-account-attributes tells, from the account's quotas and default VPC.
// There are no elastic addresses.
func accountAttributes() []accountAttribute {
	return []accountAttribute{
		{ec2.AccountAttributeNameSupportedPlatforms, func(*state.Tx, call.Call) string { return "VPC" }},
		{ec2.AccountAttributeNameDefaultVpc, func(tx *state.Tx, c call.Call) string {
			if v := tx.DefaultVPC(c.Scope); v != nil {
				return string(v.ID)
			}
			return "none"
		}},
		{"max-instances", func(tx *state.Tx, c call.Call) string {
			return strconv.Itoa(call.Quotas(tx, c.Scope.Account).Instances)
		}},
		{"max-elastic-ips", func(*state.Tx, call.Call) string { return "0" }},
		{"vpc-max-elastic-ips", func(*state.Tx, call.Call) string { return "0" }},
		{"vpc-max-security-groups-per-interface", func(tx *state.Tx, c call.Call) string {
			return strconv.Itoa(call.Quotas(tx, c.Scope.Account).GroupsPerInterface)
		}},
	}
}

func describeAccountAttributes(tx *state.Tx, c call.Call, in *ec2.DescribeAccountAttributesRequest) (*ec2.DescribeAccountAttributesResult, error) {
	known := accountAttributes()
	for _, n := range in.AttributeNames {
		if !slices.ContainsFunc(known, func(a accountAttribute) bool { return a.name == n }) {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"Value (%s) for parameter attributeName is invalid. Unknown attribute name.", n)
		}
	}
	out := &ec2.DescribeAccountAttributesResult{}
	for _, a := range known {
		if len(in.AttributeNames) > 0 && !slices.Contains(in.AttributeNames, a.name) {
			continue
		}
		out.AccountAttributes = append(out.AccountAttributes, ec2.AccountAttribute{
			AttributeName:   new(string(a.name)),
			AttributeValues: []ec2.AccountAttributeValue{{AttributeValue: new(a.value(tx, c))}},
		})
	}
	return out, nil
}
