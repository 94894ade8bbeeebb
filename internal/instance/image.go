package instance

import (
	"cmp"
	"regexp"
	"slices"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func imageActions() []call.Operation {
	return []call.Operation{
		call.Writes(registerImage),
		call.Writes(deregisterImage),
		call.Reads(describeImages),
		call.Reads(describeVolumes),
		call.Reads(describeIamInstanceProfileAssociations),
	}
}

// LabImage is the one image that is there from the start, the same in every region: what runs from it is a network
// namespace with the host's own system in it. Images that users register are other names for the same.
const LabImage vpc.ImageID = "ami-00000000000000001"

const (
	labImageName        = "sallyport-lab"
	labImageDescription = "sallyport lab: a network namespace with a sandboxed shell"
	labImageOwner       = "000000000000" // the system itself; no account has this number
	labImageAlias       = "sallyport"
	labImageCreated     = "2026-01-01T00:00:00.000Z"
)

// labImage is that image as one of an account that does not exist, which shares it with everybody.
func labImage() *vpc.Image {
	return &vpc.Image{ID: LabImage, Scope: vpc.Scope{Account: labImageOwner}, Name: labImageName, Description: labImageDescription}
}

// isLab says whether an image is the system's own.
func isLab(i *vpc.Image) bool { return i.Scope.Account == labImageOwner }

// findImage refuses what is no image that the caller can launch instances from.
func findImage(tx *state.Tx, c call.Call, id string) (*vpc.Image, error) {
	if err := call.ImageForm.Fits(id); err != nil {
		return nil, err
	}
	if vpc.ImageID(id) == LabImage {
		return labImage(), nil
	}
	if i, ok := call.ImageForm.Visible(tx, c, id).(*vpc.Image); ok {
		return i, nil
	}
	return nil, apierr.New(apierr.CodeInvalidAMIIDNotFound, "The image id '[%s]' does not exist. Launch from %s.", id, LabImage)
}

// The bounds of an image's texts (EC2's API reference, RegisterImage), in characters.
const (
	imageNameMin        = 3
	imageNameMax        = 128
	imageDescriptionMax = 255
)

// imageNameForm is the characters of an image's name.
var imageNameForm = regexp.MustCompile(`^[a-zA-Z0-9()\[\] ./\-'@_]*$`)

// registerImage gives the lab's one system another name: an image of disks, bundles or firmware would hold what no
// instance here could run.
func registerImage(tx *state.Tx, c call.Call, in *ec2.RegisterImageRequest) (*ec2.RegisterImageResult, error) {
	name := call.Text(in.Name)
	switch {
	case in.BlockDeviceMappings != nil || in.RootDeviceName != nil || in.ImageLocation != nil || in.KernelId != nil || in.RamdiskId != nil:
		return nil, call.Unsupported("disks, snapshots, bundles or kernels to make images of")
	case in.UefiData != nil || in.TpmSupport != "" || in.BootMode != "" || in.ImdsSupport != "" || in.SriovNetSupport != nil || in.BillingProducts != nil:
		return nil, call.Unsupported("images with firmware, devices or billing products of their own")
	case in.Architecture != "" && in.Architecture != ec2.ArchitectureValuesX8664:
		return nil, call.Unsupported("images of architecture " + string(in.Architecture))
	case in.VirtualizationType != nil && *in.VirtualizationType != string(ec2.VirtualizationTypeHvm):
		return nil, call.Unsupported("images of virtualization type " + *in.VirtualizationType)
	case len(name) < imageNameMin || len(name) > imageNameMax || !imageNameForm.MatchString(name):
		return nil, apierr.New(apierr.CodeInvalidAMINameMalformed,
			"AMI names must be between %d and %d characters long, and may contain letters, numbers, and ()[] ./-'@_", imageNameMin, imageNameMax)
	case utf8.RuneCountInString(call.Text(in.Description)) > imageDescriptionMax:
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"Value for parameter description is invalid. It has more than %d characters.", imageDescriptionMax)
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeImage)
	if err != nil {
		return nil, err
	}
	if other := tx.ImageNamed(c.Scope, name); other != nil {
		return nil, apierr.New(apierr.CodeInvalidAMINameDuplicate, "AMI name %s is already in use by AMI %s", name, other.ID)
	}
	if n, most := tx.CountImages(c.Scope), call.Quotas(tx, c.Scope.Account).Images; n >= most {
		return nil, apierr.New(apierr.CodeResourceLimitExceeded,
			"The maximum number of images has been reached. There are %d of %d in %s.", n, most, c.Scope.Region)
	}
	i := &vpc.Image{
		ID: vpc.ImageID(c.IDs.New("ami")), Scope: c.Scope, Name: name, Description: call.Text(in.Description),
		ENASupport: call.Yes(in.EnaSupport), Tags: tags[ec2.ResourceTypeImage], Created: c.Now,
	}
	tx.Put(i)
	return &ec2.RegisterImageResult{ImageId: new(string(i.ID))}, nil
}

// deregisterImage takes a name away again; instances that were launched by it keep telling it.
func deregisterImage(tx *state.Tx, c call.Call, in *ec2.DeregisterImageRequest) (*ec2.DeregisterImageResult, error) {
	i, err := findImage(tx, c, call.Text(in.ImageId))
	if err != nil {
		return nil, err
	}
	if isLab(i) {
		return nil, apierr.New(apierr.CodeAuthFailure, "Not authorized for image:%s. It is the system's own.", i.ID)
	}
	tx.Delete(i)
	return &ec2.DeregisterImageResult{Return: new(true)}, nil
}

var imageListing = call.Listing[*vpc.Image]{
	Attributes: call.Attributes[*vpc.Image]{
		"architecture":  call.One(func(*vpc.Image) string { return string(ec2.ArchitectureValuesX8664) }),
		"creation-date": call.One(imageCreated),
		"description":   call.One(func(i *vpc.Image) string { return i.Description }),
		"ena-support":   call.YesNo(func(i *vpc.Image) bool { return i.ENASupport }),
		"image-id":      call.One((*vpc.Image).Key),
		"image-type":    call.One(func(*vpc.Image) string { return string(ec2.ImageTypeValuesMachine) }),
		"is-public":     call.YesNo(isLab),
		"name":          call.One(func(i *vpc.Image) string { return i.Name }),
		"owner-alias": func(_ *state.Snapshot, i *vpc.Image, is func(string) bool) bool {
			return isLab(i) && is(labImageAlias)
		},
		"owner-id":            call.One(func(i *vpc.Image) string { return string(i.Scope.Account) }),
		"root-device-type":    call.One(func(*vpc.Image) string { return string(ec2.DeviceTypeInstanceStore) }),
		"state":               call.One(func(*vpc.Image) string { return string(ec2.ImageStateAvailable) }),
		"virtualization-type": call.One(func(*vpc.Image) string { return string(ec2.VirtualizationTypeHvm) }),
	},
	Tags:   call.TagsOf[*vpc.Image],
	Key:    (*vpc.Image).Key,
	Paging: call.Paging{Min: 1, Max: 1000, Param: "MaxResults", OrEqual: true},
}

func imageCreated(i *vpc.Image) string {
	if isLab(i) {
		return labImageCreated
	}
	return call.TimeText(i.Created)
}

// imagesAsked are the images that identifiers, owners and permissions choose, by identifier. Everybody may launch the
// system's own, nobody but their owner the others.
func imagesAsked(tx *state.Tx, c call.Call, in *ec2.DescribeImagesRequest) ([]*vpc.Image, error) {
	all := append(slices.Collect(tx.ImagesIn(c.Scope)), labImage())
	if len(in.ImageIds) > 0 {
		all = nil
		for _, id := range slices.Compact(slices.Sorted(slices.Values(in.ImageIds))) {
			i, err := findImage(tx, c, id)
			if err != nil {
				return nil, err
			}
			all = append(all, i)
		}
	}
	all = slices.DeleteFunc(all, func(i *vpc.Image) bool {
		owned := len(in.Owners) == 0 || slices.ContainsFunc(in.Owners, func(o string) bool {
			return o == string(i.Scope.Account) || o == "self" && !isLab(i) || o == labImageAlias && isLab(i)
		})
		shared := len(in.ExecutableUsers) == 0 || isLab(i) && slices.Contains(in.ExecutableUsers, "all")
		return !owned || !shared
	})
	slices.SortFunc(all, func(a, b *vpc.Image) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

func describeImages(tx *state.Tx, c call.Call, in *ec2.DescribeImagesRequest) (*ec2.DescribeImagesResult, error) {
	all, err := imagesAsked(tx, c, in)
	if err != nil {
		return nil, err
	}
	page, next, err := imageListing.Run(tx, c,
		call.Query{IDs: in.ImageIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, slices.Values(all))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeImagesResult{NextToken: next}
	for _, i := range page {
		out.Images = append(out.Images, wireImage(i))
	}
	return out, nil
}

func wireImage(i *vpc.Image) ec2.Image {
	out := ec2.Image{
		ImageId:            new(string(i.ID)),
		Name:               &i.Name,
		Description:        call.Optional(i.Description),
		ImageLocation:      new(string(i.Scope.Account) + "/" + i.Name),
		OwnerId:            new(string(i.Scope.Account)),
		CreationDate:       new(imageCreated(i)),
		State:              ec2.ImageStateAvailable,
		Public:             new(isLab(i)),
		Architecture:       ec2.ArchitectureValuesX8664,
		ImageType:          ec2.ImageTypeValuesMachine,
		RootDeviceType:     ec2.DeviceTypeInstanceStore,
		VirtualizationType: ec2.VirtualizationTypeHvm,
		PlatformDetails:    new("Linux/UNIX"),
		Tags:               call.WireTags(i.Tags),
	}
	if isLab(i) {
		out.ImageLocation, out.ImageOwnerAlias = new(labImageAlias+"/"+i.Name), new(labImageAlias)
	}
	if i.ENASupport {
		out.EnaSupport = &i.ENASupport
	}
	return out
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

// describeIamInstanceProfileAssociations tells the truth: no instance has a profile, since launches that ask for one
// are refused.
func describeIamInstanceProfileAssociations(tx *state.Tx, c call.Call, in *ec2.DescribeIamInstanceProfileAssociationsRequest) (*ec2.DescribeIamInstanceProfileAssociationsResult, error) {
	if len(in.AssociationIds) > 0 {
		return nil, apierr.New(apierr.CodeInvalidAssociationIDNotFound, "The association ID '%s' does not exist", in.AssociationIds[0])
	}
	_, next, err := profileListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, func(func(struct{}) bool) {})
	return &ec2.DescribeIamInstanceProfileAssociationsResult{NextToken: next}, err
}

var profileListing = call.Listing[struct{}]{
	Attributes: noValues("instance-id", "state"),
	Key:        func(struct{}) string { return "" },
	Paging:     call.Paging{Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true},
}

// noValues are filters that nothing passes.
func noValues(names ...string) call.Attributes[struct{}] {
	out := call.Attributes[struct{}]{}
	for _, n := range names {
		out[n] = func(*state.Snapshot, struct{}, func(string) bool) bool { return false }
	}
	return out
}
