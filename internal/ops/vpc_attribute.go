package ops

import (
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// change is one attribute that a Modify…Attribute call can change: its name and, if the call names it, how.
type change[E any] struct {
	name string
	set  func(E) error // nil: the call does not name it
}

// onlyChange is the one attribute that a call changes; EC2 takes exactly one.
func onlyChange[E any](all []change[E]) (change[E], error) {
	var named []string
	var chosen change[E]
	for _, ch := range all {
		if ch.set != nil {
			named = append(named, ch.name)
			chosen = ch
		}
	}
	switch len(named) {
	case 1:
		return chosen, nil
	case 0:
		return chosen, apierr.New(apierr.CodeInvalidParameterCombination, "No attributes specified.")
	}
	return chosen, apierr.New(apierr.CodeInvalidParameterCombination,
		"Fields for multiple attribute types specified: %s", strings.Join(named, ", "))
}

// toggle is a change of a boolean of an entity.
func toggle[E any](name string, in *ec2.AttributeBooleanValue, set func(E, bool)) change[E] {
	if in == nil {
		return change[E]{name: name}
	}
	return change[E]{name, func(e E) error {
		if in.Value == nil {
			return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter %s.Value", name)
		}
		set(e, *in.Value)
		return nil
	}}
}

// refusal is an attribute that is part of the API and not of this system.
func refusal[E any](name string, named bool, what string) change[E] {
	if !named {
		return change[E]{name: name}
	}
	return change[E]{name, func(E) error { return unsupported(what) }}
}

func modifyVpcAttribute(tx *state.Tx, c Call, in *ec2.ModifyVpcAttributeRequest) (ec2.Return, error) {
	v, err := findVPC(tx, c, text(in.VpcId))
	if err != nil {
		return ec2.Return{}, err
	}
	ch, err := onlyChange([]change[*vpc.VPC]{
		toggle("enableDnsSupport", in.EnableDnsSupport, func(v *vpc.VPC, on bool) { v.DNSSupport = on }),
		toggle("enableDnsHostnames", in.EnableDnsHostnames, func(v *vpc.VPC, on bool) { v.DNSHostnames = on }),
		toggle("enableNetworkAddressUsageMetrics", in.EnableNetworkAddressUsageMetrics,
			func(v *vpc.VPC, on bool) { v.AddressUsageMetrics = on }),
	})
	if err != nil {
		return ec2.Return{}, err
	}
	next := *v
	if err := ch.set(&next); err != nil {
		return ec2.Return{}, err
	}
	tx.Put(&next)
	return ec2.Return{}, nil
}

func describeVpcAttribute(tx *state.Tx, c Call, in *ec2.DescribeVpcAttributeRequest) (*ec2.DescribeVpcAttributeResult, error) {
	v, err := findVPC(tx, c, text(in.VpcId))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcAttributeResult{VpcId: new(string(v.ID))}
	switch in.Attribute {
	case ec2.VpcAttributeNameEnableDnsSupport:
		out.EnableDnsSupport = &ec2.AttributeBooleanValue{Value: &v.DNSSupport}
	case ec2.VpcAttributeNameEnableDnsHostnames:
		out.EnableDnsHostnames = &ec2.AttributeBooleanValue{Value: &v.DNSHostnames}
	case ec2.VpcAttributeNameEnableNetworkAddressUsageMetrics:
		out.EnableNetworkAddressUsageMetrics = &ec2.AttributeBooleanValue{Value: &v.AddressUsageMetrics}
	default:
		return nil, badAttribute(string(in.Attribute))
	}
	return out, nil
}

// badAttribute is the answer to an attribute that does not exist, or was not named.
func badAttribute(name string) error {
	if name == "" {
		return apierr.New(apierr.CodeInvalidParameterCombination, "No attributes specified.")
	}
	return apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for parameter attribute is invalid. Unknown attribute.", name)
}
