package instance

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func imageActions() []call.Operation {
	return []call.Operation{call.Reads(describeImages), call.Reads(describeVolumes)}
}

// LabImage is the one image there is, the same in every region: what runs from it is a network namespace with
// the host's own system in it.
const LabImage vpc.ImageID = "ami-00000000000000001"

const (
	labImageName        = "sallyport-lab"
	labImageDescription = "sallyport lab: a network namespace with a sandboxed shell"
	labImageOwner       = "000000000000" // the system itself; no account has this number
	labImageAlias       = "sallyport"
	labImageCreated     = "2026-01-01T00:00:00.000Z"
)

// imageForm is how images' identifiers look. There is no table of images.
var imageForm = call.IDForm{
	Prefix:    "ami-",
	Malformed: apierr.CodeInvalidAMIIDMalformed,
	Missing:   apierr.CodeInvalidAMIIDNotFound, MissingText: "The image id '[%s]' does not exist",
	MissingMany: "The image ids '[%s]' do not exist",
}

// findImage refuses what is no image that instances can be launched from.
func findImage(id string) (vpc.ImageID, error) {
	if err := imageForm.Fits(id); err != nil {
		return "", err
	}
	if vpc.ImageID(id) != LabImage {
		return "", apierr.New(apierr.CodeInvalidAMIIDNotFound, "The image id '[%s]' does not exist. Launch from %s.", id, LabImage)
	}
	return LabImage, nil
}

var imageListing = call.Listing[vpc.ImageID]{
	Attributes: call.Attributes[vpc.ImageID]{
		"architecture":        call.One(func(vpc.ImageID) string { return string(ec2.ArchitectureValuesX8664) }),
		"creation-date":       call.One(func(vpc.ImageID) string { return labImageCreated }),
		"description":         call.One(func(vpc.ImageID) string { return labImageDescription }),
		"image-id":            call.One(func(i vpc.ImageID) string { return string(i) }),
		"image-type":          call.One(func(vpc.ImageID) string { return string(ec2.ImageTypeValuesMachine) }),
		"is-public":           call.YesNo(func(vpc.ImageID) bool { return true }),
		"name":                call.One(func(vpc.ImageID) string { return labImageName }),
		"owner-alias":         call.One(func(vpc.ImageID) string { return labImageAlias }),
		"owner-id":            call.One(func(vpc.ImageID) string { return labImageOwner }),
		"root-device-type":    call.One(func(vpc.ImageID) string { return string(ec2.DeviceTypeInstanceStore) }),
		"state":               call.One(func(vpc.ImageID) string { return string(ec2.ImageStateAvailable) }),
		"virtualization-type": call.One(func(vpc.ImageID) string { return string(ec2.VirtualizationTypeHvm) }),
	},
	Tags:   func(vpc.ImageID) vpc.Tags { return nil },
	Key:    func(i vpc.ImageID) string { return string(i) },
	Paging: call.Paging{Min: 1, Max: 1000, Param: "MaxResults", OrEqual: true},
}

func describeImages(tx *state.Tx, c call.Call, in *ec2.DescribeImagesRequest) (*ec2.DescribeImagesResult, error) {
	for _, id := range in.ImageIds {
		if _, err := findImage(id); err != nil {
			return nil, err
		}
	}
	var all []vpc.ImageID
	if len(in.Owners) == 0 || slices.ContainsFunc(in.Owners, func(o string) bool { return o == labImageOwner || o == labImageAlias }) {
		if len(in.ExecutableUsers) == 0 || slices.Contains(in.ExecutableUsers, "all") {
			all = append(all, LabImage)
		}
	}
	page, next, err := imageListing.Run(tx, c,
		call.Query{IDs: in.ImageIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, slices.Values(all))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeImagesResult{NextToken: next}
	for _, id := range page {
		out.Images = append(out.Images, ec2.Image{
			ImageId:            new(string(id)),
			Name:               new(labImageName),
			Description:        new(labImageDescription),
			ImageLocation:      new(labImageAlias + "/" + labImageName),
			OwnerId:            new(labImageOwner),
			ImageOwnerAlias:    new(labImageAlias),
			CreationDate:       new(labImageCreated),
			State:              ec2.ImageStateAvailable,
			Public:             new(true),
			Architecture:       ec2.ArchitectureValuesX8664,
			ImageType:          ec2.ImageTypeValuesMachine,
			RootDeviceType:     ec2.DeviceTypeInstanceStore,
			VirtualizationType: ec2.VirtualizationTypeHvm,
			PlatformDetails:    new("Linux/UNIX"),
		})
	}
	return out, nil
}

// describeVolumes tells the truth: lab instances have no disks, so there are no volumes.
func describeVolumes(tx *state.Tx, c call.Call, in *ec2.DescribeVolumesRequest) (*ec2.DescribeVolumesResult, error) {
	if len(in.VolumeIds) > 0 {
		return nil, apierr.New(apierr.CodeInvalidVolumeNotFound, "The volume '%s' does not exist.", in.VolumeIds[0])
	}
	_, next, err := volumeListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, func(func(struct{}) bool) {})
	return &ec2.DescribeVolumesResult{NextToken: next}, err
}

var volumeListing = call.Listing[struct{}]{
	Attributes: noValues("attachment.attach-time", "attachment.delete-on-termination", "attachment.device",
		"attachment.instance-id", "attachment.status", "availability-zone", "availability-zone-id", "create-time",
		"encrypted", "fast-restored", "multi-attach-enabled", "operator.managed", "operator.principal", "size",
		"snapshot-id", "status", "volume-id", "volume-type"),
	Tags:   func(struct{}) vpc.Tags { return nil },
	Key:    func(struct{}) string { return "" },
	Paging: call.Paging{Min: 5, Max: 1000, Param: "maxResults"},
}

// noValues are filters that nothing passes.
func noValues(names ...string) call.Attributes[struct{}] {
	out := call.Attributes[struct{}]{}
	for _, n := range names {
		out[n] = func(*state.Snapshot, struct{}, func(string) bool) bool { return false }
	}
	return out
}
