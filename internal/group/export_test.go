package group

import (
	"maps"
	"slices"
)

// FilterNames are the filters of DescribeSecurityGroups but those on tags.
func FilterNames() []string { return slices.Collect(maps.Keys(groupListing.Attributes)) }
