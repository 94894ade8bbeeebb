package ops

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func imageActions() []Operation { return []Operation{reads(describeImages), reads(describeVolumes)} }

// labImage is the one image there is, the same in every region: what runs from it is a network namespace with
// the host's own system in it.
const labImage vpc.ImageID = "ami-00000000000000001"

const (
	labImageName        = "sallyport-lab"
	labImageDescription = "sallyport lab: a network namespace with a sandboxed shell"
	labImageOwner       = "000000000000" // the system itself; no account has this number
	labImageAlias       = "sallyport"
	labImageCreated     = "2026-01-01T00:00:00.000Z"
)

// imageForm is how images' identifiers look. There is no table of images.
var imageForm = idForm{
	prefix:    "ami-",
	malformed: apierr.CodeInvalidAMIIDMalformed,
	missing:   apierr.CodeInvalidAMIIDNotFound, missingText: "The image id '[%s]' does not exist",
	missingMany: "The image ids '[%s]' do not exist",
}

// findImage refuses what is no image that instances can be launched from.
func findImage(id string) (vpc.ImageID, error) {
	if err := imageForm.fits(id); err != nil {
		return "", err
	}
	if vpc.ImageID(id) != labImage {
		return "", apierr.New(apierr.CodeInvalidAMIIDNotFound, "The image id '[%s]' does not exist. Launch from %s.", id, labImage)
	}
	return labImage, nil
}

var imageListing = listing[vpc.ImageID]{
	attributes: attributes[vpc.ImageID]{
		"architecture":        one(func(vpc.ImageID) string { return string(ec2.ArchitectureValuesX8664) }),
		"creation-date":       one(func(vpc.ImageID) string { return labImageCreated }),
		"description":         one(func(vpc.ImageID) string { return labImageDescription }),
		"image-id":            one(func(i vpc.ImageID) string { return string(i) }),
		"image-type":          one(func(vpc.ImageID) string { return string(ec2.ImageTypeValuesMachine) }),
		"is-public":           yesNo(func(vpc.ImageID) bool { return true }),
		"name":                one(func(vpc.ImageID) string { return labImageName }),
		"owner-alias":         one(func(vpc.ImageID) string { return labImageAlias }),
		"owner-id":            one(func(vpc.ImageID) string { return labImageOwner }),
		"root-device-type":    one(func(vpc.ImageID) string { return string(ec2.DeviceTypeInstanceStore) }),
		"state":               one(func(vpc.ImageID) string { return string(ec2.ImageStateAvailable) }),
		"virtualization-type": one(func(vpc.ImageID) string { return string(ec2.VirtualizationTypeHvm) }),
	},
	tags:   func(vpc.ImageID) vpc.Tags { return nil },
	key:    func(i vpc.ImageID) string { return string(i) },
	paging: paging{min: 1, max: 1000, param: "MaxResults", orEqual: true},
}

func describeImages(tx *state.Tx, c Call, in *ec2.DescribeImagesRequest) (*ec2.DescribeImagesResult, error) {
	for _, id := range in.ImageIds {
		if _, err := findImage(id); err != nil {
			return nil, err
		}
	}
	var all []vpc.ImageID
	if len(in.Owners) == 0 || slices.ContainsFunc(in.Owners, func(o string) bool { return o == labImageOwner || o == labImageAlias }) {
		if len(in.ExecutableUsers) == 0 || slices.Contains(in.ExecutableUsers, "all") {
			all = append(all, labImage)
		}
	}
	page, next, err := imageListing.run(tx, c,
		query{ids: in.ImageIds, filters: in.Filters, maxResults: in.MaxResults, nextToken: in.NextToken}, slices.Values(all))
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
func describeVolumes(tx *state.Tx, c Call, in *ec2.DescribeVolumesRequest) (*ec2.DescribeVolumesResult, error) {
	if len(in.VolumeIds) > 0 {
		return nil, apierr.New(apierr.CodeInvalidVolumeNotFound, "The volume '%s' does not exist.", in.VolumeIds[0])
	}
	_, next, err := volumeListing.run(tx, c,
		query{filters: in.Filters, maxResults: in.MaxResults, nextToken: in.NextToken}, func(func(struct{}) bool) {})
	return &ec2.DescribeVolumesResult{NextToken: next}, err
}

var volumeListing = listing[struct{}]{
	attributes: noValues("attachment.attach-time", "attachment.delete-on-termination", "attachment.device",
		"attachment.instance-id", "attachment.status", "availability-zone", "availability-zone-id", "create-time",
		"encrypted", "fast-restored", "multi-attach-enabled", "operator.managed", "operator.principal", "size",
		"snapshot-id", "status", "volume-id", "volume-type"),
	tags:   func(struct{}) vpc.Tags { return nil },
	key:    func(struct{}) string { return "" },
	paging: paging{min: 5, max: 1000, param: "maxResults"},
}

// noValues are filters that nothing passes.
func noValues(names ...string) attributes[struct{}] {
	out := attributes[struct{}]{}
	for _, n := range names {
		out[n] = func(*state.Snapshot, struct{}, func(string) bool) bool { return false }
	}
	return out
}
