package instance

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// newAttachment binds an interface to an instance.
func newAttachment(c call.Call, id vpc.InstanceID, index int, deleteOnTermination bool) *vpc.Attachment {
	return &vpc.Attachment{
		ID: vpc.AttachmentID(c.IDs.New("eni-attach")), Instance: id, DeviceIndex: index,
		DeleteOnTermination: deleteOnTermination, Attached: c.Now,
	}
}

// notAttached refuses an interface that is in use.
func notAttached(i *vpc.Interface) error {
	if i.Attachment == nil {
		return nil
	}
	return apierr.New(apierr.CodeInvalidNetworkInterfaceInUse,
		"Interface: [%s] in use. It is attached to %s.", i.ID, i.Attachment.Instance)
}

func attachNetworkInterface(tx *state.Tx, c call.Call, in *ec2.AttachNetworkInterfaceRequest) (*ec2.AttachNetworkInterfaceResult, error) {
	i, err := findInterface(tx, c, call.Text(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	inst, err := findInstance(tx, c, call.Text(in.InstanceId))
	if err != nil {
		return nil, err
	}
	if in.EnaSrdSpecification != nil || in.EnaQueueCount != nil || in.NetworkCardIndex != nil && *in.NetworkCardIndex != 0 {
		return nil, call.Unsupported("further network cards or ENA settings")
	}
	if err := notAttached(i); err != nil {
		return nil, err
	}
	if inst.State != vpc.Running && inst.State != vpc.Stopped {
		return nil, wrongState(inst, "Instance '%s' is not in the 'running' or 'stopped' state.")
	}
	switch {
	case i.Zone != inst.Zone:
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"You may not attach a network interface to an instance if they are not in the same availability zone. %s is in %s, %s in %s.",
			i.ID, i.Zone, inst.ID, inst.Zone)
	case i.VPC != inst.VPC:
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"You may not attach a network interface to an instance if they are not in the same VPC. %s is in %s, %s in %s.",
			i.ID, i.VPC, inst.ID, inst.VPC)
	}
	if err := checkDevice(tx, inst.ID, *in.DeviceIndex); err != nil {
		return nil, err
	}
	changed := *i
	changed.Attachment = newAttachment(c, inst.ID, int(*in.DeviceIndex), false)
	tx.Put(&changed)
	return &ec2.AttachNetworkInterfaceResult{
		AttachmentId: new(string(changed.Attachment.ID)), NetworkCardIndex: call.Amount(0),
	}, nil
}

func detachNetworkInterface(tx *state.Tx, c call.Call, in *ec2.DetachNetworkInterfaceRequest) (ec2.Return, error) {
	i, err := attachedAs(tx, c, vpc.AttachmentID(call.Text(in.AttachmentId)))
	if err != nil {
		return ec2.Return{}, err
	}
	if i.Attachment.DeviceIndex == 0 {
		return ec2.Return{}, apierr.New(apierr.CodeOperationNotPermitted,
			"The network interface at device index 0 and networkCard index 0 cannot be detached. It is %s.", network.Holder(i))
	}
	changed := *i
	changed.Attachment = nil
	tx.Put(&changed)
	return ec2.Return{}, nil
}

// attachmentForm is how attachments' identifiers look; they are parts of interfaces and have no table.
var attachmentForm = call.IDForm{
	Prefix:    "eni-attach-",
	Malformed: apierr.CodeInvalidNetworkInterfaceAttachmentIdMalformed,
	Missing:   apierr.CodeInvalidAttachmentIDNotFound, MissingText: "The attachment ID '%s' does not exist",
}

// attachedAs is the interface with an attachment.
func attachedAs(tx *state.Tx, c call.Call, id vpc.AttachmentID) (*vpc.Interface, error) {
	if err := attachmentForm.Fits(string(id)); err != nil {
		return nil, err
	}
	for i := range tx.InterfacesIn(c.Scope) {
		if i.Attachment != nil && i.Attachment.ID == id {
			return i, nil
		}
	}
	return nil, attachmentForm.NotFound(string(id))
}
