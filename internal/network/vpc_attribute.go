package network

import (
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func modifyVpcAttribute(tx *state.Tx, c call.Call, in *ec2.ModifyVpcAttributeRequest) (ec2.Return, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return ec2.Return{}, err
	}
	ch, err := call.OnlyChange([]call.Change[*vpc.VPC]{
		call.Toggle("enableDnsSupport", in.EnableDnsSupport, func(v *vpc.VPC, on bool) { v.DNSSupport = on }),
		call.Toggle("enableDnsHostnames", in.EnableDnsHostnames, func(v *vpc.VPC, on bool) { v.DNSHostnames = on }),
		call.Toggle("enableNetworkAddressUsageMetrics", in.EnableNetworkAddressUsageMetrics,
			func(v *vpc.VPC, on bool) { v.AddressUsageMetrics = on }),
	})
	if err != nil {
		return ec2.Return{}, err
	}
	next := *v
	if err := ch.Set(&next); err != nil {
		return ec2.Return{}, err
	}
	tx.Put(&next)
	return ec2.Return{}, nil
}

func describeVpcAttribute(tx *state.Tx, c call.Call, in *ec2.DescribeVpcAttributeRequest) (*ec2.DescribeVpcAttributeResult, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
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
		return nil, call.BadAttribute(string(in.Attribute))
	}
	return out, nil
}
