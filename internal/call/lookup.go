package call

import (
	"iter"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// IDForm is how identifiers of one kind of resource look, and what EC2 says of one that is wrong. A text holds
// %s where the identifier belongs.
type IDForm struct {
	Kind          vpc.Kind // zero: of things that have no table
	Prefix        string
	LenMax        int // of what follows the prefix; 0: any length is taken for one that does not exist
	Malformed     apierr.Code
	MalformedText string // empty: Invalid id: "x" (expecting "sg-...")
	Missing       apierr.Code
	MissingText   string
	MissingMany   string // for several at once; empty: the first is named by missingText
}

// The forms of identifiers; nobody writes to them. What EC2 says depends on the operation for groups only.
var (
	GroupForm = IDForm{
		Kind: vpc.KindGroup, Prefix: "sg-",
		Malformed: apierr.CodeInvalidGroupIdMalformed,
		Missing:   apierr.CodeInvalidGroupNotFound, MissingText: "The security group '%s' does not exist",
		MissingMany: "The security groups '%s' do not exist",
	}
	// UsedGroupForm is for groups that are put on an interface or an instance.
	UsedGroupForm = IDForm{
		Kind: vpc.KindGroup, Prefix: "sg-",
		Malformed: apierr.CodeInvalidGroupIdMalformed,
		Missing:   apierr.CodeInvalidSecurityGroupIDNotFound, MissingText: "The securityGroup ID '%s' does not exist",
		MissingMany: "The securityGroup IDs '%s' do not exist",
	}
	RuleForm = IDForm{
		Kind: vpc.KindRule, Prefix: "sgr-", LenMax: 17,
		Malformed:     apierr.CodeInvalidSecurityGroupRuleIdMalformed,
		MalformedText: "The security group rule ID '%s' is malformed",
		Missing:       apierr.CodeInvalidSecurityGroupRuleIdNotFound,
		MissingText:   "The security group rule ID '%s' does not exist",
		MissingMany:   "The security group rule IDs '%s' do not exist",
	}
	// PrefixListForm is for prefix lists that rules and routes name.
	PrefixListForm = IDForm{
		Kind: vpc.KindPrefixList, Prefix: "pl-",
		Malformed: apierr.CodeInvalidPrefixListIdMalformed,
		Missing:   apierr.CodeInvalidPrefixListIDNotFound, MissingText: "The prefix list ID '%s' does not exist",
		MissingMany: "The prefix list IDs '%s' do not exist",
	}
	// ManagedPrefixListForm is for prefix lists of which the call is about.
	ManagedPrefixListForm = IDForm{
		Kind: vpc.KindPrefixList, Prefix: "pl-",
		Malformed: apierr.CodeInvalidPrefixListIdMalformed,
		Missing:   apierr.CodeInvalidPrefixListIDNotFound, MissingText: "The prefix list (%s) does not exist.",
		MissingMany: "The prefix lists (%s) do not exist.",
	}
	VPCForm = IDForm{
		Kind: vpc.KindVPC, Prefix: "vpc-",
		Malformed: apierr.CodeInvalidVpcIDMalformed,
		Missing:   apierr.CodeInvalidVpcIDNotFound, MissingText: "The vpc ID '%s' does not exist",
		MissingMany: "The vpc IDs '%s' do not exist",
	}
	SubnetForm = IDForm{
		Kind: vpc.KindSubnet, Prefix: "subnet-",
		Malformed: apierr.CodeInvalidSubnetIDMalformed,
		Missing:   apierr.CodeInvalidSubnetIDNotFound, MissingText: "The subnet ID '%s' does not exist",
		MissingMany: "The subnet IDs '%s' do not exist",
	}
	InterfaceForm = IDForm{
		Kind: vpc.KindInterface, Prefix: "eni-",
		Malformed: apierr.CodeInvalidNetworkInterfaceIdMalformed,
		Missing:   apierr.CodeInvalidNetworkInterfaceIDNotFound, MissingText: "The networkInterface ID '%s' does not exist",
		MissingMany: "The networkInterface IDs '%s' do not exist",
	}
	InstanceForm = IDForm{
		Kind: vpc.KindInstance, Prefix: "i-",
		Malformed: apierr.CodeInvalidInstanceIDMalformed,
		Missing:   apierr.CodeInvalidInstanceIDNotFound, MissingText: "The instance ID '%s' does not exist",
		MissingMany: "The instance IDs '%s' do not exist",
	}
	PeeringForm = IDForm{
		Kind: vpc.KindPeering, Prefix: "pcx-",
		Malformed: apierr.CodeInvalidVpcPeeringConnectionIdMalformed,
		Missing:   apierr.CodeInvalidVpcPeeringConnectionIDNotFound, MissingText: "The vpcPeeringConnection ID '%s' does not exist",
		MissingMany: "The vpcPeeringConnection IDs '%s' do not exist",
	}
	InternetGatewayForm = IDForm{
		Kind: vpc.KindInternetGateway, Prefix: "igw-",
		Malformed: apierr.CodeInvalidInternetGatewayIdMalformed,
		Missing:   apierr.CodeInvalidInternetGatewayIDNotFound, MissingText: "The internetGateway ID '%s' does not exist",
		MissingMany: "The internetGateway IDs '%s' do not exist",
	}
	RouteTableForm = IDForm{
		Kind: vpc.KindRouteTable, Prefix: "rtb-",
		Malformed: apierr.CodeInvalidRouteTableIdMalformed,
		Missing:   apierr.CodeInvalidRouteTableIDNotFound, MissingText: "The routeTable ID '%s' does not exist",
		MissingMany: "The routeTable IDs '%s' do not exist",
	}
	NetworkACLForm = IDForm{
		Kind: vpc.KindNetworkACL, Prefix: "acl-",
		Malformed: apierr.CodeInvalidNetworkAclIdMalformed,
		Missing:   apierr.CodeInvalidNetworkAclIDNotFound, MissingText: "The networkAcl ID '%s' does not exist",
		MissingMany: "The networkAcl IDs '%s' do not exist",
	}
	DHCPOptionsForm = IDForm{
		Kind: vpc.KindDHCPOptions, Prefix: "dopt-",
		Malformed: apierr.CodeInvalidDhcpOptionsIdMalformed,
		Missing:   apierr.CodeInvalidDhcpOptionIDNotFound, MissingText: "The dhcpOption ID '%s' does not exist",
		MissingMany: "The dhcpOption IDs '%s' do not exist",
	}
	ImageForm = IDForm{
		Kind: vpc.KindImage, Prefix: "ami-",
		Malformed: apierr.CodeInvalidAMIIDMalformed,
		Missing:   apierr.CodeInvalidAMIIDNotFound, MissingText: "The image id '[%s]' does not exist",
		MissingMany: "The image ids '[%s]' do not exist",
	}
)

// Fits answers EC2's error for an identifier that is none of this kind.
func (f *IDForm) Fits(id string) error {
	rest, ok := strings.CutPrefix(id, f.Prefix)
	if ok && (f.LenMax == 0 || len(rest) <= f.LenMax) && rest != "" {
		return nil
	}
	if f.MalformedText == "" {
		return apierr.New(f.Malformed, `Invalid id: "%s" (expecting "%s...")`, id, f.Prefix)
	}
	return apierr.New(f.Malformed, f.MalformedText, id)
}

// NotFound is EC2's error for identifiers of nothing that the caller may know of.
func (f *IDForm) NotFound(ids ...string) error {
	if len(ids) > 1 && f.MissingMany != "" {
		return apierr.New(f.Missing, f.MissingMany, strings.Join(ids, ", "))
	}
	return apierr.New(f.Missing, f.MissingText, ids[0])
}

// Visible is the entity if the caller may know of it. An instance of EC2-Classic has no interface that anybody
// knows of.
func (f *IDForm) Visible(tx *state.Tx, c Call, id string) vpc.Entity {
	switch e := tx.Get(f.Kind, id).(type) {
	case vpc.Shared:
		return e.SeenBy(c.Scope, c.Now)
	case *vpc.Interface:
		if e.Scope == c.Scope && !e.VPC.Classic() {
			return e
		}
	case vpc.Scoped:
		if e.In() == c.Scope {
			return e.(vpc.Entity)
		}
	}
	return nil
}

// Find is the entity with an identifier, in the caller's account and region, or EC2's error.
func Find[E vpc.Scoped](tx *state.Tx, c Call, f *IDForm, id string) (E, error) {
	var none E
	if err := f.Fits(id); err != nil {
		return none, err
	}
	e := f.Visible(tx, c, id)
	if e == nil {
		return none, f.NotFound(id)
	}
	return e.(E), nil
}

// FindAll is the entities with the identifiers, each once, in the order of their identifiers. If some do not
// exist, the error names them all.
func FindAll[E vpc.Scoped](tx *state.Tx, c Call, f *IDForm, ids []string) ([]E, error) {
	for _, id := range ids {
		if err := f.Fits(id); err != nil {
			return nil, err
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
	out := make([]E, 0, len(sorted))
	var missing []string
	for _, id := range sorted {
		if e := f.Visible(tx, c, id); e != nil {
			out = append(out, e.(E))
		} else {
			missing = append(missing, id)
		}
	}
	if missing != nil {
		return nil, f.NotFound(missing...)
	}
	return out, nil
}

// FindOrAll walks the entities with the identifiers, or all if there are none.
func FindOrAll[E vpc.Scoped](tx *state.Tx, c Call, f *IDForm, ids []string, all iter.Seq[E]) (iter.Seq[E], error) {
	if len(ids) == 0 {
		return all, nil
	}
	list, err := FindAll[E](tx, c, f, ids)
	return slices.Values(list), err
}

// FindVPC is the VPC with an identifier.
func FindVPC(tx *state.Tx, c Call, id string) (*vpc.VPC, error) {
	return Find[*vpc.VPC](tx, c, &VPCForm, id)
}

// Entities walks those of the identifiers that exist and that the caller may see, in the order of identifiers.
func Entities[E vpc.Scoped](tx *state.Tx, c Call, f *IDForm, ids []string) iter.Seq[E] {
	return func(yield func(E) bool) {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			if e, ok := f.Visible(tx, c, id).(E); ok && !yield(e) {
				return
			}
		}
	}
}
