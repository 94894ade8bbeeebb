package gen

// What the model does not say. Each entry needs a reason; keep these tables short.

// stsOperations are the operations of STS that exist here.
func stsOperations() []string { return []string{"GetCallerIdentity"} }

// enumValuesMax bounds the enumerations that get constants. Only InstanceType is larger (1,212 names that
// nobody switches over); it is a typed string all the same.
const enumValuesMax = 200

// absentWhenNil names the response lists whose element is left out when the slice is nil and written, empty,
// when the slice is empty. Every other list is always written, because boto3 leaves out the key of an absent
// element and its users index it. "Structure.*" stands for all lists of a structure.
func absentWhenNil() map[string]bool {
	return map[string]bool{
		// Recorded answers: tagSet only when tags were given, or only when there are tags.
		"CreateSecurityGroupResult.Tags": true,
		"SecurityGroup.Tags":             true,
		"Subnet.Tags":                    true,
		// AWS's CLI examples: Authorize answers rules without tags, DescribeSecurityGroupRules with an empty set.
		"SecurityGroupRule.Tags": true,
		// Recorded answers: of an accepter that has not accepted only owner, VPC and region; stale permissions without
		// ranges and prefix lists.
		"VpcPeeringConnectionVpcInfo.*":   true,
		"StaleIpPermission.IpRanges":      true,
		"StaleIpPermission.PrefixListIds": true,
		// Older clients expect only <return>; the newer element appears when there is something to say.
		"RevokeSecurityGroupIngressResult.UnknownIpPermissions": true,
		"RevokeSecurityGroupEgressResult.UnknownIpPermissions":  true,
		// These answer the one attribute that was asked for.
		"InstanceAttribute.*":                       true,
		"DescribeNetworkInterfaceAttributeResult.*": true,
		// Descriptions with dozens of optional lists of which one or two apply.
		"Explanation.*":          true,
		"PathComponent.*":        true,
		"AnalysisPacketHeader.*": true,
		"InstanceTypeInfo.*":     true,
		"NetworkInfo.*":          true,
		"ProcessorInfo.*":        true,
		"PlacementGroupInfo.*":   true,
	}
}

// requiredSpelling gives the name under which EC2 reports a missing required member where it is not the
// member's name in the request.
func requiredSpelling() map[string]string {
	return map[string]string{
		"CreateTagsRequest.Resources": "resourceIdSet",
		"CreateTagsRequest.Tags":      "tagSet",
		"DeleteTagsRequest.Resources": "resourceIdSet",
	}
}

// notMembers are the parameters that belong to the protocol and not to an operation; no request may have a
// member of that name. It repeats ec2.reserved, which the generator cannot import.
func notMembers() []string {
	return []string{
		"Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion",
		"Timestamp", "Expires", "SecurityToken",
	}
}
