package instance

import (
	"regexp"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// typeForm is what may be the name of an instance type. Any such name is one: a type says nothing here that a
// network namespace could have more or less of.
var typeForm = regexp.MustCompile(`^[a-z0-9-]{1,30}\.[a-z0-9-]{1,30}$`)

func checkTypeName(name string) error {
	if typeForm.MatchString(name) {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue, "Invalid value '%s' for InstanceType.", name)
}

// listedTypes are the types that are told to who asks for all.
func listedTypes() []ec2.InstanceType { return []ec2.InstanceType{"m1.small", "m5.large", "t3.micro"} }

// typesAsked are the types that names and filters choose from: those named, or those listed and those that a
// filter names.
func typesAsked(names []ec2.InstanceType, filters []ec2.Filter) ([]ec2.InstanceType, error) {
	out := names
	if len(names) == 0 {
		out = listedTypes()
		exact, _ := call.ExactValues(filters, "instance-type")
		for _, v := range exact {
			if typeForm.MatchString(v) {
				out = append(out, ec2.InstanceType(v))
			}
		}
	}
	for _, t := range out {
		if !typeForm.MatchString(string(t)) {
			return nil, apierr.New(apierr.CodeInvalidInstanceType, "The following supplied instance types do not exist: [%s]", t)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out))), nil
}

var typeListing = call.Listing[ec2.InstanceType]{
	Attributes: call.Attributes[ec2.InstanceType]{
		"bare-metal":                      call.YesNo(func(ec2.InstanceType) bool { return false }),
		"burstable-performance-supported": call.YesNo(func(ec2.InstanceType) bool { return false }),
		"current-generation":              call.YesNo(func(ec2.InstanceType) bool { return true }),
		"hibernation-supported":           call.YesNo(func(ec2.InstanceType) bool { return false }),
		"instance-storage-supported":      call.YesNo(func(ec2.InstanceType) bool { return false }),
		"instance-type":                   call.One(func(t ec2.InstanceType) string { return string(t) }),
		"network-info.ipv6-supported":     call.YesNo(func(ec2.InstanceType) bool { return true }),
		"network-info.maximum-network-interfaces": call.One(
			func(ec2.InstanceType) string { return call.Decimal(interfacesPerInstanceMax) }),
		"supported-root-device-type": call.One(func(ec2.InstanceType) string { return string(ec2.DeviceTypeInstanceStore) }),
		"supported-usage-class":      call.One(func(ec2.InstanceType) string { return string(ec2.UsageClassTypeOnDemand) }),
	},
	Key:    func(t ec2.InstanceType) string { return string(t) },
	Paging: call.Paging{Min: 5, Max: 100, Param: "maxResults"},
}

func describeInstanceTypes(tx *state.Tx, c call.Call, in *ec2.DescribeInstanceTypesRequest) (*ec2.DescribeInstanceTypesResult, error) {
	all, err := typesAsked(in.InstanceTypes, in.Filters)
	if err != nil {
		return nil, err
	}
	page, next, err := typeListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, slices.Values(all))
	if err != nil {
		return nil, err
	}
	most := call.Amount(call.Quotas(tx, c.Scope.Account).AddrsPerInterface)
	out := &ec2.DescribeInstanceTypesResult{NextToken: next}
	for _, t := range page {
		out.InstanceTypes = append(out.InstanceTypes, typeInfo(t, most))
	}
	return out, nil
}

// What bounds the processes of a lab instance, whatever its type.
const (
	labMemoryMiB  = 512
	labProcessors = 1
)

// typeInfo is what is true of a lab instance of any type. Terraform takes a type for one that does not exist if
// nothing is told of disks, processors or placement groups, and ends if nothing is told of memory.
func typeInfo(t ec2.InstanceType, addressesPerInterface *int32) ec2.InstanceTypeInfo {
	return ec2.InstanceTypeInfo{
		InstanceType:             t,
		CurrentGeneration:        new(true),
		SupportedUsageClasses:    []ec2.UsageClassType{ec2.UsageClassTypeOnDemand},
		SupportedRootDeviceTypes: []ec2.RootDeviceType{ec2.RootDeviceTypeInstanceStore},
		BareMetal:                new(false),
		ProcessorInfo:            &ec2.ProcessorInfo{SupportedArchitectures: []ec2.ArchitectureType{ec2.ArchitectureTypeX8664}},
		VCpuInfo:                 &ec2.VCpuInfo{DefaultVCpus: call.Amount(labProcessors)},
		MemoryInfo:               &ec2.MemoryInfo{SizeInMiB: new(int64(labMemoryMiB))},
		InstanceStorageSupported: new(false),
		EbsInfo: &ec2.EbsInfo{
			EbsOptimizedSupport: ec2.EbsOptimizedSupportUnsupported, EncryptionSupport: ec2.EbsEncryptionSupportUnsupported,
			NvmeSupport: ec2.EbsNvmeSupportUnsupported,
		},
		NetworkInfo: &ec2.NetworkInfo{
			MaximumNetworkInterfaces:  call.Amount(interfacesPerInstanceMax),
			MaximumNetworkCards:       call.Amount(1),
			Ipv4AddressesPerInterface: addressesPerInterface,
			Ipv6AddressesPerInterface: addressesPerInterface,
			Ipv6Supported:             new(true),
		},
		PlacementGroupInfo:            &ec2.PlacementGroupInfo{},
		HibernationSupported:          new(false),
		BurstablePerformanceSupported: new(false),
	}
}

// offering is a type at a place.
type offering struct {
	kind  ec2.InstanceType
	place string
}

var offeringListing = call.Listing[offering]{
	Attributes: call.Attributes[offering]{
		"instance-type": call.One(func(o offering) string { return string(o.kind) }),
		"location":      call.One(func(o offering) string { return o.place }),
	},
	Key:    func(o offering) string { return string(o.kind) + "\x00" + o.place },
	Paging: call.Paging{Min: 5, Max: 1000, Param: "maxResults"},
}

func describeInstanceTypeOfferings(tx *state.Tx, c call.Call, in *ec2.DescribeInstanceTypeOfferingsRequest) (*ec2.DescribeInstanceTypeOfferingsResult, error) {
	types, err := typesAsked(nil, in.Filters)
	if err != nil {
		return nil, err
	}
	kind := in.LocationType
	var places []string
	switch kind {
	case "", ec2.LocationTypeRegion:
		kind, places = ec2.LocationTypeRegion, []string{string(c.Scope.Region)}
	case ec2.LocationTypeAvailabilityZone:
		for _, z := range network.Zones(c.Scope.Region) {
			places = append(places, string(z))
		}
	case ec2.LocationTypeAvailabilityZoneId:
		for _, z := range network.Zones(c.Scope.Region) {
			places = append(places, network.ZoneID(z))
		}
	case ec2.LocationTypeOutpost:
	default:
		return nil, call.BadValue("locationType", string(kind))
	}
	var all []offering
	for _, t := range types {
		for _, p := range places {
			all = append(all, offering{t, p})
		}
	}
	page, next, err := offeringListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, slices.Values(all))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceTypeOfferingsResult{NextToken: next}
	for _, o := range page {
		out.InstanceTypeOfferings = append(out.InstanceTypeOfferings,
			ec2.InstanceTypeOffering{InstanceType: o.kind, LocationType: kind, Location: &o.place})
	}
	return out, nil
}

// describeInstanceCreditSpecifications: no instance earns or spends CPU credits, so there is none to tell of, and
// one that is named is refused as EC2 refuses those that are not burstable.
func describeInstanceCreditSpecifications(tx *state.Tx, c call.Call, in *ec2.DescribeInstanceCreditSpecificationsRequest) (*ec2.DescribeInstanceCreditSpecificationsResult, error) {
	found, err := call.FindAll[*vpc.Instance](tx, c, &call.InstanceForm, in.InstanceIds)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, apierr.New(apierr.CodeUnsupportedOperation, "The instance type of %s does not have CPU credits.", found[0].ID)
	}
	_, next, err := creditListing.Run(tx, c,
		call.Query{Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, func(func(struct{}) bool) {})
	return &ec2.DescribeInstanceCreditSpecificationsResult{NextToken: next}, err
}

var creditListing = call.Listing[struct{}]{
	Attributes: noValues("instance-id"),
	Key:        func(struct{}) string { return "" },
	Paging:     call.Paging{Min: 5, Max: 1000, Param: "maxResults"},
}

// health is what status checks tell of an instance: that its namespace is up is all that there is to check.
func health(i *vpc.Instance) (ec2.SummaryStatus, ec2.StatusType) {
	switch i.State {
	case vpc.Running:
		return ec2.SummaryStatusOk, ec2.StatusTypePassed
	case vpc.Pending:
		return ec2.SummaryStatusInitializing, ec2.StatusTypeInitializing
	case vpc.ShuttingDown, vpc.Terminated, vpc.Stopping, vpc.Stopped:
	}
	return ec2.SummaryStatusNotApplicable, ""
}

var statusListing = call.Listing[*vpc.Instance]{
	Attributes: statusAttributes(),
	Key:        (*vpc.Instance).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "maxResults",
		Together: "The parameter instancesSet cannot be used with the parameter maxResults",
	},
}

func statusAttributes() call.Attributes[*vpc.Instance] {
	out := call.Attributes[*vpc.Instance]{}
	of := instanceAttributes()
	for _, name := range []string{"availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name"} {
		out[name] = of[name]
	}
	for _, name := range []string{"event.code", "event.description", "event.not-after", "event.not-before", "event.not-before-deadline"} {
		out[name] = func(*state.Snapshot, *vpc.Instance, func(string) bool) bool { return false }
	}
	for _, who := range []string{"instance-status", "system-status"} {
		out[who+".status"] = call.One(func(i *vpc.Instance) string { s, _ := health(i); return string(s) })
		out[who+".reachability"] = func(_ *state.Snapshot, i *vpc.Instance, is func(string) bool) bool {
			_, t := health(i)
			return t != "" && is(string(t))
		}
	}
	return out
}

func describeInstanceStatus(tx *state.Tx, c call.Call, in *ec2.DescribeInstanceStatusRequest) (*ec2.DescribeInstanceStatusResult, error) {
	all, err := call.FindOrAll(tx, c, &call.InstanceForm, in.InstanceIds, tx.InstancesIn(c.Scope))
	if err != nil {
		return nil, err
	}
	chosen := func(yield func(*vpc.Instance) bool) {
		for i := range all {
			if (call.Yes(in.IncludeAllInstances) || i.State == vpc.Running) && !yield(i) {
				return
			}
		}
	}
	page, next, err := statusListing.Run(tx, c,
		call.Query{IDs: in.InstanceIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, chosen)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceStatusResult{NextToken: next}
	for _, i := range page {
		status, check := health(i)
		summary := &ec2.InstanceStatusSummary{Status: status}
		if check != "" {
			summary.Details = []ec2.InstanceStatusDetails{{Name: ec2.StatusNameReachability, Status: check}}
		}
		out.InstanceStatuses = append(out.InstanceStatuses, ec2.InstanceStatus{
			AvailabilityZone:   new(string(i.Zone)),
			AvailabilityZoneId: new(network.ZoneID(i.Zone)),
			InstanceId:         new(string(i.ID)),
			InstanceState:      wireState(i.State),
			InstanceStatus:     summary,
			SystemStatus:       summary,
		})
	}
	return out, nil
}
