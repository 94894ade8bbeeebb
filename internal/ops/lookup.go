package ops

import (
	"iter"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// idForm is how identifiers of one kind of resource look, and what EC2 says of one that is wrong. A text holds
// %s where the identifier belongs.
type idForm struct {
	kind          vpc.Kind
	prefix        string
	lenMax        int // of what follows the prefix; 0: any length is taken for one that does not exist
	malformed     apierr.Code
	malformedText string // empty: Invalid id: "x" (expecting "sg-...")
	missing       apierr.Code
	missingText   string
	missingMany   string // for several at once; empty: the first is named by missingText
}

// The forms of identifiers (ec2-behaviour 1.9, 10). What EC2 says depends on the operation for groups only.
var (
	groupForm = idForm{
		kind: vpc.KindGroup, prefix: "sg-",
		malformed: apierr.CodeInvalidGroupIdMalformed,
		missing:   apierr.CodeInvalidGroupNotFound, missingText: "The security group '%s' does not exist",
		missingMany: "The security groups '%s' do not exist",
	}
	// usedGroupForm is for groups that are put on an interface or an instance.
	usedGroupForm = idForm{
		kind: vpc.KindGroup, prefix: "sg-",
		malformed: apierr.CodeInvalidGroupIdMalformed,
		missing:   apierr.CodeInvalidSecurityGroupIDNotFound, missingText: "The securityGroup ID '%s' does not exist",
		missingMany: "The securityGroup IDs '%s' do not exist",
	}
	ruleForm = idForm{
		kind: vpc.KindRule, prefix: "sgr-", lenMax: 17,
		malformed:     apierr.CodeInvalidSecurityGroupRuleIdMalformed,
		malformedText: "The security group rule ID '%s' is malformed",
		missing:       apierr.CodeInvalidSecurityGroupRuleIdNotFound,
		missingText:   "The security group rule ID '%s' does not exist",
		missingMany:   "The security group rule IDs '%s' do not exist",
	}
	vpcForm = idForm{
		kind: vpc.KindVPC, prefix: "vpc-",
		malformed: apierr.CodeInvalidVpcIDMalformed,
		missing:   apierr.CodeInvalidVpcIDNotFound, missingText: "The vpc ID '%s' does not exist",
		missingMany: "The vpc IDs '%s' do not exist",
	}
	subnetForm = idForm{
		kind: vpc.KindSubnet, prefix: "subnet-",
		malformed: apierr.CodeInvalidSubnetIDMalformed,
		missing:   apierr.CodeInvalidSubnetIDNotFound, missingText: "The subnet ID '%s' does not exist",
		missingMany: "The subnet IDs '%s' do not exist",
	}
	interfaceForm = idForm{
		kind: vpc.KindInterface, prefix: "eni-",
		malformed: apierr.CodeInvalidNetworkInterfaceIdMalformed,
		missing:   apierr.CodeInvalidNetworkInterfaceIDNotFound, missingText: "The networkInterface ID '%s' does not exist",
		missingMany: "The networkInterface IDs '%s' do not exist",
	}
	instanceForm = idForm{
		kind: vpc.KindInstance, prefix: "i-",
		malformed: apierr.CodeInvalidInstanceIDMalformed,
		missing:   apierr.CodeInvalidInstanceIDNotFound, missingText: "The instance ID '%s' does not exist",
		missingMany: "The instance IDs '%s' do not exist",
	}
)

// taggableForms are the forms of everything that carries tags. No prefix here begins another one.
func taggableForms() []*idForm {
	return []*idForm{&interfaceForm, &instanceForm, &groupForm, &ruleForm, &subnetForm, &vpcForm}
}

// fits answers EC2's error for an identifier that is none of this kind.
func (f *idForm) fits(id string) error {
	rest, ok := strings.CutPrefix(id, f.prefix)
	if ok && (f.lenMax == 0 || len(rest) <= f.lenMax) && rest != "" {
		return nil
	}
	if f.malformedText == "" {
		return apierr.New(f.malformed, `Invalid id: "%s" (expecting "%s...")`, id, f.prefix)
	}
	return apierr.New(f.malformed, f.malformedText, id)
}

func (f *idForm) notFound(ids ...string) error {
	if len(ids) > 1 && f.missingMany != "" {
		return apierr.New(f.missing, f.missingMany, strings.Join(ids, ", "))
	}
	return apierr.New(f.missing, f.missingText, ids[0])
}

// visible is the entity if the caller may know of it.
func (f *idForm) visible(tx *state.Tx, c Call, id string) vpc.Entity {
	e := tx.Get(f.kind, id)
	if s, ok := e.(vpc.Scoped); !ok || s.In() != c.Scope {
		return nil
	}
	return e
}

// find is the entity with an identifier, in the caller's account and region, or EC2's error.
func find[E vpc.Scoped](tx *state.Tx, c Call, f *idForm, id string) (E, error) {
	var none E
	if err := f.fits(id); err != nil {
		return none, err
	}
	e := f.visible(tx, c, id)
	if e == nil {
		return none, f.notFound(id)
	}
	return e.(E), nil
}

// findAll is the entities with the identifiers, each once, in the order of their identifiers. If some do not
// exist, the error names them all.
func findAll[E vpc.Scoped](tx *state.Tx, c Call, f *idForm, ids []string) ([]E, error) {
	for _, id := range ids {
		if err := f.fits(id); err != nil {
			return nil, err
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
	out := make([]E, 0, len(sorted))
	var missing []string
	for _, id := range sorted {
		if e := f.visible(tx, c, id); e != nil {
			out = append(out, e.(E))
		} else {
			missing = append(missing, id)
		}
	}
	if missing != nil {
		return nil, f.notFound(missing...)
	}
	return out, nil
}

// findOrAll walks the entities with the identifiers, or all if there are none.
func findOrAll[E vpc.Scoped](tx *state.Tx, c Call, f *idForm, ids []string, all iter.Seq[E]) (iter.Seq[E], error) {
	if len(ids) == 0 {
		return all, nil
	}
	list, err := findAll[E](tx, c, f, ids)
	return slices.Values(list), err
}

func findVPC(tx *state.Tx, c Call, id string) (*vpc.VPC, error) {
	return find[*vpc.VPC](tx, c, &vpcForm, id)
}

func findGroup(tx *state.Tx, c Call, id string) (*vpc.SecurityGroup, error) {
	return find[*vpc.SecurityGroup](tx, c, &groupForm, id)
}

// defaultVPC is the caller's default VPC, in which names of groups are looked up.
func defaultVPC(tx *state.Tx, c Call) (*vpc.VPC, error) {
	v := tx.DefaultVPC(c.Scope)
	if v == nil {
		return nil, apierr.New(apierr.CodeVPCIdNotSpecified,
			"No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
	}
	return v, nil
}

// findGroupNamed is the group of the default VPC with a name. Case counts here, unlike for uniqueness: EC2's
// names are compared as they are when something is looked up.
func findGroupNamed(tx *state.Tx, c Call, name string) (*vpc.SecurityGroup, error) {
	v, err := defaultVPC(tx, c)
	if err != nil {
		return nil, err
	}
	g := tx.GroupNamed(v.ID, name)
	if g == nil || g.Name != name {
		return nil, apierr.New(apierr.CodeInvalidGroupNotFound,
			"The security group '%s' does not exist in default VPC '%s'", name, v.ID)
	}
	return g, nil
}

// entities walks those of the identifiers that exist and that the caller may see, in the order of identifiers.
func entities[E vpc.Scoped](tx *state.Tx, c Call, f *idForm, ids []string) iter.Seq[E] {
	return func(yield func(E) bool) {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			if e, ok := f.visible(tx, c, id).(E); ok && !yield(e) {
				return
			}
		}
	}
}
