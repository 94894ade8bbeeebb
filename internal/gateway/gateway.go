package gateway

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func gatewayActions() []call.Operation {
	return []call.Operation{
		call.Writes(createInternetGateway),
		call.Writes(deleteInternetGateway),
		call.Reads(describeInternetGateways),
		call.Writes(attachInternetGateway),
		call.Writes(detachInternetGateway),
	}
}

func findGateway(tx *state.Tx, c call.Call, id *string) (*vpc.InternetGateway, error) {
	return call.Find[*vpc.InternetGateway](tx, c, &call.InternetGatewayForm, call.Text(id))
}

func createInternetGateway(tx *state.Tx, c call.Call, in *ec2.CreateInternetGatewayRequest) (*ec2.CreateInternetGatewayResult, error) {
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeInternetGateway)
	if err != nil {
		return nil, err
	}
	n, most := tx.CountInternetGateways(c.Scope), call.Quotas(tx, c.Scope.Account).InternetGateways
	if n >= most {
		return nil, apierr.New(apierr.CodeInternetGatewayLimitExceeded,
			"The maximum number of internet gateways has been reached. There are %d of %d in %s.", n, most, c.Scope.Region)
	}
	g := putGateway(tx, c, vpc.InternetGateway{Tags: tags[ec2.ResourceTypeInternetGateway]})
	out := wireGateway(g)
	return &ec2.CreateInternetGatewayResult{InternetGateway: &out}, nil
}

func putGateway(tx *state.Tx, c call.Call, g vpc.InternetGateway) *vpc.InternetGateway {
	g.ID, g.Scope, g.Created = vpc.InternetGatewayID(c.IDs.New("igw")), c.Scope, c.Now
	tx.Put(&g)
	return &g
}

func deleteInternetGateway(tx *state.Tx, c call.Call, in *ec2.DeleteInternetGatewayRequest) (ec2.Return, error) {
	g, err := findGateway(tx, c, in.InternetGatewayId)
	if err != nil {
		return ec2.Return{}, err
	}
	if g.VPC != "" {
		return ec2.Return{}, call.InTheWay("internetGateway", string(g.ID), []string{"an attachment to " + string(g.VPC)})
	}
	tx.Delete(g)
	return ec2.Return{}, nil
}

// attachInternetGateway refuses a VPC with the group of old VPCs, whose instances nobody expects to be on the
// Internet (G133, G134).
func attachInternetGateway(tx *state.Tx, c call.Call, in *ec2.AttachInternetGatewayRequest) (ec2.Return, error) {
	g, err := findGateway(tx, c, in.InternetGatewayId)
	if err != nil {
		return ec2.Return{}, err
	}
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return ec2.Return{}, err
	}
	if g.VPC != "" {
		return ec2.Return{}, apierr.New(apierr.CodeResourceAlreadyAssociated,
			"resource %s is already attached to network %s", g.ID, g.VPC)
	}
	if other := tx.InternetGatewayOf(v.ID); other != nil {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Network %s already has an internet gateway attached. It is %s.", v.ID, other.ID)
	}
	if legacy := tx.GroupNamed(v.ID, vpc.LegacyGroupName); legacy != nil {
		return ec2.Return{}, apierr.New(apierr.CodeLegacySecurityGroup,
			"The VPC %s has a %s security group: %s. Delete it before you attach an internet gateway.", v.ID, legacy.Name, legacy.ID)
	}
	next := *g
	next.VPC = v.ID
	tx.Put(&next)
	return ec2.Return{}, nil
}

func detachInternetGateway(tx *state.Tx, c call.Call, in *ec2.DetachInternetGatewayRequest) (ec2.Return, error) {
	g, err := findGateway(tx, c, in.InternetGatewayId)
	if err != nil {
		return ec2.Return{}, err
	}
	id := call.Text(in.VpcId)
	if err := call.VPCForm.Fits(id); err != nil {
		return ec2.Return{}, err
	}
	if string(g.VPC) != id { // a VPC that is gone is one that it is not attached to: who takes both away at once is done
		return ec2.Return{}, apierr.New(apierr.CodeGatewayNotAttached, "resource %s is not attached to network %s", g.ID, id)
	}
	next := *g
	next.VPC = ""
	tx.Put(&next)
	return ec2.Return{}, nil
}

var gatewayListing = call.Listing[*vpc.InternetGateway]{
	Attributes: call.Attributes[*vpc.InternetGateway]{
		"attachment.state": func(_ *state.Snapshot, g *vpc.InternetGateway, is func(string) bool) bool {
			return g.VPC != "" && is(string(attachedState))
		},
		"attachment.vpc-id": func(_ *state.Snapshot, g *vpc.InternetGateway, is func(string) bool) bool {
			return g.VPC != "" && is(string(g.VPC))
		},
		"internet-gateway-id": call.One((*vpc.InternetGateway).Key),
		"owner-id":            call.One(func(g *vpc.InternetGateway) string { return string(g.Scope.Account) }),
	},
	Tags: call.TagsOf[*vpc.InternetGateway],
	Key:  (*vpc.InternetGateway).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter InternetGatewayIds cannot be used with the parameter MaxResults",
	},
}

// attachedState is the state of every attachment; EC2 calls it available, against its own model's attached.
const attachedState ec2.AttachmentStatus = "available"

func describeInternetGateways(tx *state.Tx, c call.Call, in *ec2.DescribeInternetGatewaysRequest) (*ec2.DescribeInternetGatewaysResult, error) {
	all, err := call.FindOrAll(tx, c, &call.InternetGatewayForm, in.InternetGatewayIds, tx.InternetGatewaysIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := gatewayListing.Run(tx, c,
		call.Query{IDs: in.InternetGatewayIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInternetGatewaysResult{NextToken: next, InternetGateways: make([]ec2.InternetGateway, len(page))}
	for i, g := range page {
		out.InternetGateways[i] = wireGateway(g)
	}
	return out, nil
}

func wireGateway(g *vpc.InternetGateway) ec2.InternetGateway {
	out := ec2.InternetGateway{
		InternetGatewayId: new(string(g.ID)), OwnerId: new(string(g.Scope.Account)), Tags: call.WireTags(g.Tags),
	}
	if g.VPC != "" {
		out.Attachments = []ec2.InternetGatewayAttachment{{State: attachedState, VpcId: new(string(g.VPC))}}
	}
	return out
}
