package acl

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func aclActions() []call.Operation {
	return []call.Operation{
		call.Writes(createNetworkAcl),
		call.Writes(deleteNetworkAcl),
		call.Reads(describeNetworkAcls),
	}
}

// The numbers of the entries that a default ACL is born with (AWS VPC guide, "Default network ACL").
const (
	allowIPv4 = 100
	allowIPv6 = 101
)

// Surround gives a VPC its default ACL, which lets everything pass.
func Surround(tx *state.Tx, c call.Call, v *vpc.VPC) {
	a := vpc.NetworkACL{VPC: v.ID, Default: true}
	for _, d := range directions() {
		a.Entries = withEntry(a.Entries, vpc.ACLEntry{Direction: d, Number: allowIPv4, Block: vpc.AllIPv4})
	}
	putACL(tx, c, a)
	if len(v.IPv6Blocks) > 0 {
		OpenIPv6(tx, v.ID)
	}
}

// OpenIPv6 is called when a VPC gets an IPv6 block: its default ACL admits that family too in each direction whose
// entries are still those it was born with (AWS VPC guide, "Default network ACL").
func OpenIPv6(tx *state.Tx, id vpc.VPCID) {
	a := tx.DefaultNetworkACL(id)
	if a == nil {
		return
	}
	next := *a
	for _, d := range directions() {
		mine := slices.DeleteFunc(slices.Clone(a.Entries), func(e vpc.ACLEntry) bool { return e.Direction != d })
		if len(mine) == 1 && mine[0].Number == allowIPv4 && mine[0].Block == vpc.AllIPv4 {
			next.Entries = withEntry(next.Entries, vpc.ACLEntry{Direction: d, Number: allowIPv6, Block: vpc.AllIPv6})
		}
	}
	tx.Put(&next)
}

// Remove deletes what went with a VPC: its ACLs. Whoever deletes the VPC has seen to it that only the default one is
// left.
func Remove(tx *state.Tx, id vpc.VPCID) {
	for a := range tx.NetworkACLsOf(id) {
		tx.Delete(a)
	}
}

// Dependents lists the ACLs that must leave a VPC before it can be deleted: those that users made.
func Dependents(w *state.Snapshot, id vpc.VPCID) []string {
	var out []string
	for a := range w.NetworkACLsOf(id) {
		if !a.Default {
			out = append(out, string(a.ID))
		}
	}
	return out
}

func putACL(tx *state.Tx, c call.Call, a vpc.NetworkACL) *vpc.NetworkACL {
	a.ID, a.Scope, a.Created = vpc.NetworkACLID(c.IDs.New("acl")), c.Scope, c.Now
	tx.Put(&a)
	return &a
}

func findACL(tx *state.Tx, c call.Call, id *string) (*vpc.NetworkACL, error) {
	return call.Find[*vpc.NetworkACL](tx, c, &call.NetworkACLForm, call.Text(id))
}

func createNetworkAcl(tx *state.Tx, c call.Call, in *ec2.CreateNetworkAclRequest) (*ec2.CreateNetworkAclResult, error) {
	same := *in
	same.ClientToken, same.DryRun = nil, nil
	answer := func(a *vpc.NetworkACL) *ec2.CreateNetworkAclResult {
		out := wireACL(tx.Snapshot, a)
		return &ec2.CreateNetworkAclResult{NetworkAcl: &out, ClientToken: in.ClientToken}
	}
	first := func() (*ec2.CreateNetworkAclResult, []string, error) {
		a, err := newACL(tx, c, in)
		if err != nil {
			return nil, nil, err
		}
		return answer(a), []string{string(a.ID)}, nil
	}
	again := func(ids []string) (*ec2.CreateNetworkAclResult, error) {
		a, err := findACL(tx, c, &ids[0])
		if err != nil {
			return nil, err
		}
		return answer(a), nil
	}
	return call.Once(tx, c, in.ClientToken, &same, first, again)
}

// newACL makes an ACL without entries: it denies everything, and is over no subnet.
func newACL(tx *state.Tx, c call.Call, in *ec2.CreateNetworkAclRequest) (*vpc.NetworkACL, error) {
	v, err := call.FindVPC(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeNetworkAcl)
	if err != nil {
		return nil, err
	}
	n, most := tx.CountNetworkACLs(v.ID), call.Quotas(tx, c.Scope.Account).NetworkACLsPerVPC
	if n >= most {
		return nil, apierr.New(apierr.CodeNetworkAclLimitExceeded,
			"The maximum number of network ACLs for VPC '%s' has been reached. It has %d of %d.", v.ID, n, most)
	}
	return putACL(tx, c, vpc.NetworkACL{VPC: v.ID, Tags: tags[ec2.ResourceTypeNetworkAcl]}), nil
}

func deleteNetworkAcl(tx *state.Tx, c call.Call, in *ec2.DeleteNetworkAclRequest) (ec2.Return, error) {
	a, err := findACL(tx, c, in.NetworkAclId)
	if err != nil {
		return ec2.Return{}, err
	}
	if a.Default {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"cannot delete default network ACL %s. It goes with %s.", a.ID, a.VPC)
	}
	var others []string
	for s := range tx.SubnetsUnder(a.ID) {
		others = append(others, string(s.ACLAssociation)+" with "+string(s.ID))
	}
	if len(others) > 0 {
		return ec2.Return{}, call.InTheWay("networkAcl", string(a.ID), others)
	}
	tx.Delete(a)
	return ec2.Return{}, nil
}

var aclListing = call.Listing[*vpc.NetworkACL]{
	Attributes: aclAttributes(),
	Tags:       call.TagsOf[*vpc.NetworkACL],
	Key:        (*vpc.NetworkACL).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "MaxResults", OrEqual: true,
		Together: "The parameter NetworkAclIds cannot be used with the parameter MaxResults",
	},
}

func aclAttributes() call.Attributes[*vpc.NetworkACL] {
	association := func(value func(*vpc.Subnet) string) call.Attribute[*vpc.NetworkACL] {
		return func(w *state.Snapshot, a *vpc.NetworkACL, is func(string) bool) bool {
			for s := range w.SubnetsUnder(a.ID) {
				if is(value(s)) {
					return true
				}
			}
			return false
		}
	}
	of := func(value func(entry) string) call.Attribute[*vpc.NetworkACL] {
		return func(w *state.Snapshot, a *vpc.NetworkACL, is func(string) bool) bool {
			return slices.ContainsFunc(entries(w, a), func(e entry) bool {
				v := value(e)
				return v != "" && is(v)
			})
		}
	}
	none := func(entry) string { return "" } // no entry is for a part of the traffic
	return call.Attributes[*vpc.NetworkACL]{
		"association.association-id": association(func(s *vpc.Subnet) string { return string(s.ACLAssociation) }),
		"association.network-acl-id": association(func(s *vpc.Subnet) string { return string(s.ACL) }),
		"association.subnet-id":      association((*vpc.Subnet).Key),
		"default":                    call.YesNo(func(a *vpc.NetworkACL) bool { return a.Default }),
		"entry.cidr": of(func(e entry) string {
			if e.Block.Addr().Is6() {
				return ""
			}
			return e.Block.String()
		}),
		"entry.egress": of(func(e entry) string {
			if e.Direction == packet.Egress {
				return "true"
			}
			return "false"
		}),
		"entry.icmp.code": of(none),
		"entry.icmp.type": of(none),
		"entry.ipv6-cidr": of(func(e entry) string {
			if e.Block.Addr().Is4() {
				return ""
			}
			return e.Block.String()
		}),
		"entry.port-range.from": of(none),
		"entry.port-range.to":   of(none),
		"entry.protocol":        of(func(entry) string { return packet.AllProtos.String() }),
		"entry.rule-action":     of(func(e entry) string { return string(e.action) }),
		"entry.rule-number":     of(func(e entry) string { return call.Decimal(int(e.Number)) }),
		"network-acl-id":        call.One((*vpc.NetworkACL).Key),
		"owner-id":              call.One(func(a *vpc.NetworkACL) string { return string(a.Scope.Account) }),
		"vpc-id":                call.One(func(a *vpc.NetworkACL) string { return string(a.VPC) }),
	}
}

func describeNetworkAcls(tx *state.Tx, c call.Call, in *ec2.DescribeNetworkAclsRequest) (*ec2.DescribeNetworkAclsResult, error) {
	all, err := call.FindOrAll(tx, c, &call.NetworkACLForm, in.NetworkAclIds, tx.NetworkACLsIn(c.Scope))
	if err != nil {
		return nil, err
	}
	page, next, err := aclListing.Run(tx, c,
		call.Query{IDs: in.NetworkAclIds, Filters: in.Filters, MaxResults: in.MaxResults, NextToken: in.NextToken}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkAclsResult{NextToken: next, NetworkAcls: make([]ec2.NetworkAcl, len(page))}
	for i, a := range page {
		out.NetworkAcls[i] = wireACL(tx.Snapshot, a)
	}
	return out, nil
}

func wireACL(w *state.Snapshot, a *vpc.NetworkACL) ec2.NetworkAcl {
	out := ec2.NetworkAcl{
		IsDefault:    &a.Default,
		NetworkAclId: new(string(a.ID)),
		Tags:         call.WireTags(a.Tags),
		VpcId:        new(string(a.VPC)),
		OwnerId:      new(string(a.Scope.Account)),
	}
	for s := range w.SubnetsUnder(a.ID) {
		out.Associations = append(out.Associations, ec2.NetworkAclAssociation{
			NetworkAclAssociationId: new(string(s.ACLAssociation)), NetworkAclId: out.NetworkAclId, SubnetId: new(string(s.ID)),
		})
	}
	for _, e := range entries(w, a) {
		out.Entries = append(out.Entries, e.wire())
	}
	return out
}
