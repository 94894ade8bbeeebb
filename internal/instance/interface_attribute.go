package instance

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// setGroups changes the groups of an interface to those given, all at once (G136); at least one.
func setGroups(tx *state.Tx, c call.Call, i *vpc.Interface, ids []string) error {
	groups, err := group.ForInterface(tx, c, &call.GroupForm, ids, &vpc.Subnet{ID: i.Subnet, VPC: i.VPC})
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return apierr.New(apierr.CodeInvalidParameterValue, "You must specify at least one security group. %s would have none.", i.ID)
	}
	i.Groups = groups
	return nil
}

// interfaceChanges are what ModifyNetworkInterfaceAttribute can change.
func interfaceChanges(tx *state.Tx, c call.Call, in *ec2.ModifyNetworkInterfaceAttributeRequest) []call.Change[*vpc.Interface] {
	description := call.Change[*vpc.Interface]{Name: "description"}
	if in.Description != nil {
		description.Set = func(i *vpc.Interface) error {
			i.Description = call.Text(in.Description.Value)
			return nil
		}
	}
	groups := call.Change[*vpc.Interface]{Name: "groupSet"}
	if in.Groups != nil {
		groups.Set = func(i *vpc.Interface) error { return setGroups(tx, c, i, in.Groups) }
	}
	attachment := call.Change[*vpc.Interface]{Name: "attachment"}
	if in.Attachment != nil {
		attachment.Set = func(i *vpc.Interface) error { return changeAttachment(i, in.Attachment) }
	}
	tracking := call.Change[*vpc.Interface]{Name: "connectionTrackingSpecification"}
	if in.ConnectionTrackingSpecification != nil {
		tracking.Set = func(i *vpc.Interface) (err error) {
			i.Tracking, err = readTracking(in.ConnectionTrackingSpecification)
			return err
		}
	}
	primary6 := call.Change[*vpc.Interface]{Name: "enablePrimaryIpv6"}
	if in.EnablePrimaryIpv6 != nil {
		primary6.Set = func(i *vpc.Interface) error {
			switch {
			case !*in.EnablePrimaryIpv6 && i.PrimaryIPv6:
				return apierr.New(apierr.CodeInvalidParameterValue, "The primary IPv6 address of %s cannot be disabled.", i.ID)
			case *in.EnablePrimaryIpv6 && len(i.IPv6Addrs) == 0:
				return apierr.New(apierr.CodeInvalidParameterValue, "%s has no IPv6 address.", i.ID)
			}
			i.PrimaryIPv6 = *in.EnablePrimaryIpv6
			return nil
		}
	}
	return []call.Change[*vpc.Interface]{
		description, groups, attachment, tracking, primary6,
		call.Toggle("sourceDestCheck", in.SourceDestCheck, func(i *vpc.Interface, on bool) { i.SourceCheck = on }),
		call.Refusal[*vpc.Interface]("associatePublicIpAddress", in.AssociatePublicIpAddress != nil, "public addresses"),
		call.Refusal[*vpc.Interface]("associatedSubnetIds", in.AssociatedSubnetIds != nil, "associated subnets"),
		call.Refusal[*vpc.Interface]("enaSrdSpecification", in.EnaSrdSpecification != nil, "ENA settings"),
	}
}

func changeAttachment(i *vpc.Interface, in *ec2.NetworkInterfaceAttachmentChanges) error {
	switch {
	case in.DefaultEnaQueueCount != nil || in.EnaQueueCount != nil:
		return call.Unsupported("ENA settings")
	case in.AttachmentId == nil:
		return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter attachment.attachmentId")
	case in.DeleteOnTermination == nil:
		return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter attachment.deleteOnTermination")
	}
	if i.Attachment == nil || string(i.Attachment.ID) != *in.AttachmentId {
		return apierr.New(apierr.CodeInvalidAttachmentIDNotFound,
			"The attachment ID '%s' does not exist. %s is not attached by it.", *in.AttachmentId, i.ID)
	}
	changed := *i.Attachment
	changed.DeleteOnTermination = *in.DeleteOnTermination
	i.Attachment = &changed
	return nil
}

func modifyNetworkInterfaceAttribute(tx *state.Tx, c call.Call, in *ec2.ModifyNetworkInterfaceAttributeRequest) (ec2.Return, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return ec2.Return{}, err
	}
	ch, err := call.OnlyChange(interfaceChanges(tx, c, in))
	if err != nil {
		return ec2.Return{}, err
	}
	changed := *i
	if err := ch.Set(&changed); err != nil {
		return ec2.Return{}, err
	}
	tx.Put(&changed)
	return ec2.Return{}, nil
}

func describeNetworkInterfaceAttribute(tx *state.Tx, c call.Call, in *ec2.DescribeNetworkInterfaceAttributeRequest) (*ec2.DescribeNetworkInterfaceAttributeResult, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkInterfaceAttributeResult{NetworkInterfaceId: new(string(i.ID))}
	switch in.Attribute {
	case ec2.NetworkInterfaceAttributeDescription:
		out.Description = &ec2.AttributeValue{Value: &i.Description}
	case ec2.NetworkInterfaceAttributeGroupSet:
		out.Groups = groupIdentifiers(tx.Snapshot, i.Groups)
	case ec2.NetworkInterfaceAttributeSourceDestCheck:
		out.SourceDestCheck = &ec2.AttributeBooleanValue{Value: &i.SourceCheck}
	case ec2.NetworkInterfaceAttributeAttachment:
		out.Attachment = wireAttachment(i)
	case ec2.NetworkInterfaceAttributeAssociatePublicIpAddress:
		out.AssociatePublicIpAddress = new(false)
	default:
		return nil, call.BadAttribute(string(in.Attribute))
	}
	return out, nil
}

// resetNetworkInterfaceAttribute sets the source/destination check back to on; nothing else can be reset.
func resetNetworkInterfaceAttribute(tx *state.Tx, c call.Call, in *ec2.ResetNetworkInterfaceAttributeRequest) (ec2.Return, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return ec2.Return{}, err
	}
	if in.SourceDestCheck == nil {
		return ec2.Return{}, call.BadAttribute("")
	}
	changed := *i
	changed.SourceCheck = true
	tx.Put(&changed)
	return ec2.Return{}, nil
}
