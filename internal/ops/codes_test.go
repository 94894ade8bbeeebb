package ops_test

import (
	"strings"
	"testing"
)

// documentedCodes are the codes of EC2's error code page that have to do with groups and what surrounds them.
const documentedCodes = `
InvalidAction MissingAction NoSuchVersion InvalidParameter UnknownParameter MissingParameter InvalidParameterValue
InvalidParameterCombination InvalidParameterDependency InvalidQueryParameter MalformedQueryString InvalidCharacter
ValidationError UnsupportedProtocol AuthFailure InvalidClientTokenId SignatureDoesNotMatch IncompleteSignature
MissingAuthenticationToken RequestExpired OptInRequired PendingVerification Blocked UnauthorizedOperation
DryRunOperation RequestLimitExceeded InternalError InternalFailure ServerInternal Unavailable ServiceUnavailable
UnsupportedOperation IdempotentParameterMismatch InvalidPaginationToken InvalidNextToken InvalidMaxResults
FilterLimitExceeded InvalidFilter

InvalidGroup.NotFound InvalidGroupId.Malformed InvalidSecurityGroupID.NotFound InvalidSecurityGroupId.Malformed
InvalidGroup.Duplicate InvalidGroup.InUse InvalidGroup.Reserved CannotDelete DependencyViolation
InvalidPermission.Duplicate InvalidPermission.NotFound InvalidPermission.Malformed
InvalidSecurityGroupRuleId.NotFound InvalidSecurityGroupRuleId.Malformed RulesPerSecurityGroupLimitExceeded
SecurityGroupLimitExceeded SecurityGroupsPerInterfaceLimitExceeded SecurityGroupsPerInstanceLimitExceeded
VPCIdNotSpecified VPCResourceNotSpecified LegacySecurityGroup InvalidTagKey.Malformed TagLimitExceeded
TagPolicyViolation InvalidID

InvalidNetworkInterfaceID.NotFound InvalidNetworkInterfaceId.Malformed InvalidNetworkInterface.InUse
InvalidNetworkInterface.NotFound InvalidAttachmentID.NotFound InvalidNetworkInterfaceAttachmentId.Malformed
AttachmentLimitExceeded NetworkInterfaceLimitExceeded OperationNotPermitted InvalidInstanceID
InvalidInstanceID.NotFound InvalidInstanceID.Malformed IncorrectInstanceState IncorrectState InvalidIPAddress.InUse
InsufficientFreeAddressesInSubnet PrivateIpAddressLimitExceeded Resource.AlreadyAssigned IdempotentInstanceTerminated

InvalidVpcID.NotFound InvalidVpcID.Malformed InvalidVpc.Range InvalidVpcRange VpcLimitExceeded CidrLimitExceeded
DefaultVpcAlreadyExists DefaultVpcDoesNotExist DefaultSubnetAlreadyExistsInAvailabilityZone
InvalidVpcCidrBlockAssociationID.NotFound InvalidSubnetID.NotFound InvalidSubnetID.Malformed InvalidSubnet.Range
InvalidSubnet.Conflict InvalidSubnet SubnetLimitExceeded InvalidInternetGatewayID.NotFound
InvalidInternetGatewayId.Malformed Gateway.NotAttached Resource.AlreadyAssociated InternetGatewayLimitExceeded
InvalidVpcPeeringConnectionID.NotFound InvalidVpcPeeringConnectionId.Malformed InvalidStateTransition
VpcPeeringConnectionAlreadyExists ActiveVpcPeeringConnectionPerVpcLimitExceeded
OutstandingVpcPeeringConnectionLimitExceeded PendingVpcPeeringConnectionLimitExceeded
VpcPeeringConnectionsPerVpcLimitExceeded InvalidVpcPeeringConnectionState.DnsHostnamesDisabled
InvalidPrefixListID.NotFound InvalidPrefixListId.Malformed PrefixListVersionMismatch ResourceCountExceeded
ResourceLimitExceeded`

// neverAnswered are documented codes that no client of ours sees, and why.
var neverAnswered = map[string]string{
	"InvalidParameterDependency":               "MissingParameter and InvalidParameterCombination say more",
	"ValidationError":                          "the codes for parameters say more",
	"OptInRequired":                            "there is nothing to opt in to",
	"PendingVerification":                      "accounts are not verified",
	"Blocked":                                  "accounts are not blocked",
	"RequestLimitExceeded":                     "calls are not throttled",
	"InternalFailure":                          "a fault of ours is InternalError",
	"ServerInternal":                           "a fault of ours is InternalError",
	"Unavailable":                              "a store that does not answer is InternalError, which clients try again too",
	"ServiceUnavailable":                       "it would be Unavailable",
	"InvalidNextToken":                         "it is InvalidPaginationToken or InvalidParameterValue, as seen for each operation",
	"InvalidMaxResults":                        "it is InvalidParameterValue",
	"InvalidFilter":                            "it is InvalidParameterValue",
	"InvalidSecurityGroupId.Malformed":         "other services spell it so; EC2's own is InvalidGroupId.Malformed",
	"InvalidPermission.Malformed":              "seen until 2015; it is InvalidParameterValue since",
	"InvalidTagKey.Malformed":                  "it is InvalidParameterValue",
	"TagPolicyViolation":                       "there are no tag policies",
	"InvalidNetworkInterface.NotFound":         "it is InvalidNetworkInterfaceID.NotFound",
	"InvalidVpcRange":                          "it is InvalidVpc.Range",
	"InvalidSubnet":                            "it is InvalidSubnet.Range or InvalidSubnet.Conflict",
	"PendingVpcPeeringConnectionLimitExceeded": "it is OutstandingVpcPeeringConnectionLimitExceeded",
	"ResourceCountExceeded":                    "each kind of resource has a code of its own",
	"IncorrectState":                           "prefix lists and connections change at once: none is caught on the way",
	"UnauthorizedOperation":                    "every key may do everything in its account",
}

// TestDocumentedCodesAreTold holds that each code of EC2's page is told by a story, awaited by a test, or left out for
// a reason that is given.
func TestDocumentedCodesAreTold(t *testing.T) {
	var told strings.Builder
	for _, room := range roomsOfOperations() {
		told.WriteString(contents(t, "../"+room+"/testdata/story/*.txt"))
		if room != "ops" { // this file is no witness
			told.WriteString(contents(t, "../"+room+"/*_test.go"))
		}
	}
	for _, room := range []string{"api", "iam", "sigv4", "store"} {
		told.WriteString(contents(t, "../"+room+"/*_test.go"))
	}
	constants := map[string]string{}
	for name, code := range codeConstants(t) {
		constants[code] = name
	}
	for code := range strings.FieldsSeq(documentedCodes) {
		why, left := neverAnswered[code]
		known := strings.Contains(told.String(), " "+code+": ") || strings.Contains(told.String(), `"`+code+`"`) ||
			constants[code] != "" && strings.Contains(told.String(), constants[code])
		switch {
		case left && known:
			t.Errorf("%s is told, although %s", code, why)
		case !left && !known:
			t.Errorf("no story and no test tells %s", code)
		}
	}
	for code := range neverAnswered {
		if !strings.Contains(documentedCodes, code) {
			t.Errorf("%s is not documented", code)
		}
	}
}
