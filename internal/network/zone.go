package network

import (
	"regexp"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func zoneActions() []call.Operation {
	return []call.Operation{call.Reads(describeRegions), call.Reads(describeAvailabilityZones)}
}

// zonesPerRegion is how many zones every region has: a, b and c, enough for whoever spreads over three. A zone
// is a label here; it does not choose a host.
const zonesPerRegion = 3

// Zones are the zones of a region, in order.
func Zones(r vpc.Region) []vpc.Zone {
	out := make([]vpc.Zone, zonesPerRegion)
	for i := range out {
		out[i] = vpc.Zone(string(r) + string(rune('a'+i)))
	}
	return out
}

// zoneRegion is the region that a zone belongs to.
func zoneRegion(z vpc.Zone) vpc.Region { return vpc.Region(z[:len(z)-1]) }

// ZoneID is a zone's identifier as AWS forms them: use1-az1 for us-east-1a. What is in no zone has none.
func ZoneID(z vpc.Zone) string {
	if z == "" {
		return ""
	}
	return regionCode(zoneRegion(z)) + "-az" + string(z[len(z)-1]-'a'+'1')
}

// regionCode is a region's short form: use1 for us-east-1, apse2 for ap-southeast-2. The first word stays, of
// the words between its letters that stand for directions, and the number. A name that is not formed like
// AWS's stays whole.
func regionCode(r vpc.Region) string {
	words := strings.Split(string(r), "-")
	if len(words) < 3 {
		return string(r)
	}
	var b strings.Builder
	b.WriteString(words[0])
	for _, w := range words[1 : len(words)-1] {
		switch w {
		case "northeast", "northwest", "southeast", "southwest":
			b.WriteByte(w[0])
			b.WriteByte(w[5])
		case "":
			return string(r)
		default:
			b.WriteByte(w[0])
		}
	}
	b.WriteString(words[len(words)-1])
	return b.String()
}

// FindZone is the zone of the caller's region with the name or the identifier; the first one if neither is given.
func FindZone(c call.Call, name, id *string) (vpc.Zone, error) {
	all := Zones(c.Scope.Region)
	if call.Text(name) != "" && call.Text(id) != "" {
		return "", apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter availabilityZone cannot be used with the parameter availabilityZoneId")
	}
	if call.Text(name) == "" && call.Text(id) == "" {
		return all[0], nil
	}
	for _, z := range all {
		if string(z) == call.Text(name) || ZoneID(z) == call.Text(id) {
			return z, nil
		}
	}
	param, value := "availabilityZone", call.Text(name)
	if value == "" {
		param, value = "availabilityZoneId", call.Text(id)
	}
	return "", apierr.New(apierr.CodeInvalidParameterValue,
		"Value (%s) for parameter %s is invalid. Subnets can currently only be created in the following availability zones: %s.",
		value, param, call.Joined(all))
}

// wellKnownRegions are those that describe-regions lists if the server serves any name: those that every AWS
// account has. A client that knows another name uses it all the same.
func wellKnownRegions() []vpc.Region {
	return []vpc.Region{
		"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1",
		"us-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
}

// regionForm is how regions' names look: they become part of zones' and hosts' names.
var regionForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// IsRegionName says whether a text may be the name of a region where any is served.
func IsRegionName(r vpc.Region) bool { return regionForm.MatchString(string(r)) }

var regionFilters = call.Attributes[vpc.Region]{
	"endpoint":      func(*state.Snapshot, vpc.Region, func(string) bool) bool { return false },
	"opt-in-status": call.One(func(vpc.Region) string { return "opt-in-not-required" }),
	"region-name":   call.One(func(r vpc.Region) string { return string(r) }),
}

// describeRegions lists the regions that are served. All are at the address that the client called: AWS's names
// would lead it away from here.
func describeRegions(tx *state.Tx, c call.Call, in *ec2.DescribeRegionsRequest) (*ec2.DescribeRegionsResult, error) {
	served := c.Regions
	if len(served) == 0 {
		served = wellKnownRegions()
		if !slices.Contains(served, c.Scope.Region) {
			served = append(served, c.Scope.Region)
		}
	}
	served = slices.Sorted(slices.Values(served))
	if len(in.RegionNames) > 0 {
		var named []vpc.Region
		for _, n := range slices.Compact(slices.Sorted(slices.Values(in.RegionNames))) {
			r := vpc.Region(n)
			if !slices.Contains(served, r) && (len(c.Regions) > 0 || !IsRegionName(r)) {
				return nil, apierr.New(apierr.CodeInvalidParameterValue, "Region not found: %s", n)
			}
			named = append(named, r)
		}
		served = named
	}
	fs, err := call.ParseFilters(regionFilters, nil, in.Filters)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeRegionsResult{}
	for _, r := range served {
		if !fs.Accept(tx.Snapshot, r) {
			continue
		}
		out.Regions = append(out.Regions, ec2.Region{
			RegionName:  new(string(r)),
			Endpoint:    call.Optional(c.Endpoint),
			OptInStatus: new("opt-in-not-required"),
		})
	}
	return out, nil
}

var zoneFilters = call.Attributes[vpc.Zone]{
	"group-name":       call.One(zoneGroup),
	"message":          func(*state.Snapshot, vpc.Zone, func(string) bool) bool { return false },
	"opt-in-status":    call.One(func(vpc.Zone) string { return "opt-in-not-required" }),
	"parent-zone-id":   func(*state.Snapshot, vpc.Zone, func(string) bool) bool { return false },
	"parent-zone-name": func(*state.Snapshot, vpc.Zone, func(string) bool) bool { return false },
	"region-name":      call.One(func(z vpc.Zone) string { return string(zoneRegion(z)) }),
	"state":            call.One(func(vpc.Zone) string { return string(ec2.AvailabilityZoneStateAvailable) }),
	"zone-id":          call.One(ZoneID),
	"zone-name":        call.One(func(z vpc.Zone) string { return string(z) }),
	"zone-type":        call.One(func(vpc.Zone) string { return zoneType }),
}

const zoneType = "availability-zone"

// zoneGroup is the group of zones that a zone is in: its region's only one.
func zoneGroup(z vpc.Zone) string { return string(zoneRegion(z)) + "-zg-1" }

func describeAvailabilityZones(tx *state.Tx, c call.Call, in *ec2.DescribeAvailabilityZonesRequest) (*ec2.DescribeAvailabilityZonesResult, error) {
	all := Zones(c.Scope.Region)
	for _, n := range in.ZoneNames {
		if !slices.Contains(all, vpc.Zone(n)) {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Invalid availability zone: [%s]", n)
		}
	}
	for _, id := range in.ZoneIds {
		if !slices.ContainsFunc(all, func(z vpc.Zone) bool { return ZoneID(z) == id }) {
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Invalid availability zone-id: [%s]", id)
		}
	}
	fs, err := call.ParseFilters(zoneFilters, nil, in.Filters)
	if err != nil {
		return nil, err
	}
	asked := len(in.ZoneNames) + len(in.ZoneIds)
	out := &ec2.DescribeAvailabilityZonesResult{}
	for _, z := range all {
		named := slices.Contains(in.ZoneNames, string(z)) || slices.Contains(in.ZoneIds, ZoneID(z))
		if asked > 0 && !named || !fs.Accept(tx.Snapshot, z) {
			continue
		}
		r := zoneRegion(z)
		out.AvailabilityZones = append(out.AvailabilityZones, ec2.AvailabilityZone{
			OptInStatus:        ec2.AvailabilityZoneOptInStatusOptInNotRequired,
			RegionName:         new(string(r)),
			ZoneName:           new(string(z)),
			ZoneId:             new(ZoneID(z)),
			GroupName:          new(zoneGroup(z)),
			NetworkBorderGroup: new(string(r)),
			ZoneType:           new(zoneType),
			State:              ec2.AvailabilityZoneStateAvailable,
		})
	}
	return out, nil
}
