package network

import (
	"slices"
	"strconv"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func accountActions() []call.Operation {
	return []call.Operation{call.Reads(describeAccountAttributes)}
}

// accountAttribute is one attribute of an account.
type accountAttribute struct {
	name   ec2.AccountAttributeName
	values func(tx *state.Tx, c call.Call) []string
}

// single is the value of an attribute that has one.
func single(value func(tx *state.Tx, c call.Call) string) func(tx *state.Tx, c call.Call) []string {
	return func(tx *state.Tx, c call.Call) []string { return []string{value(tx, c)} }
}

// accountAttributes are what describe-account-attributes tells, from the account's quotas and default VPC.
// There are no elastic addresses.
func accountAttributes() []accountAttribute {
	return []accountAttribute{
		{ec2.AccountAttributeNameSupportedPlatforms, platforms},
		{ec2.AccountAttributeNameDefaultVpc, single(func(tx *state.Tx, c call.Call) string {
			if v := tx.DefaultVPC(c.Scope); v != nil {
				return string(v.ID)
			}
			return "none"
		})},
		{"max-instances", single(func(tx *state.Tx, c call.Call) string {
			return strconv.Itoa(call.Quotas(tx, c.Scope.Account).Instances)
		})},
		{"max-elastic-ips", single(func(*state.Tx, call.Call) string { return "0" })},
		{"vpc-max-elastic-ips", single(func(*state.Tx, call.Call) string { return "0" })},
		{"vpc-max-security-groups-per-interface", single(func(tx *state.Tx, c call.Call) string {
			return strconv.Itoa(call.Quotas(tx, c.Scope.Account).GroupsPerInterface)
		})},
	}
}

func platforms(tx *state.Tx, c call.Call) []string {
	if call.HasClassic(tx, c) {
		return []string{string(vpc.PlatformClassic), string(vpc.PlatformVPC)}
	}
	return []string{string(vpc.PlatformVPC)}
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
		told := ec2.AccountAttribute{AttributeName: new(string(a.name))}
		for _, v := range a.values(tx, c) {
			told.AttributeValues = append(told.AttributeValues, ec2.AccountAttributeValue{AttributeValue: &v})
		}
		out.AccountAttributes = append(out.AccountAttributes, told)
	}
	return out, nil
}
