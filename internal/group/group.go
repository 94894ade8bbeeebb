package group

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func groupActions() []call.Operation {
	return []call.Operation{
		call.Writes(createSecurityGroup),
		call.Writes(deleteSecurityGroup),
		call.Reads(describeSecurityGroups),
	}
}

func createSecurityGroup(tx *state.Tx, c call.Call, in *ec2.CreateSecurityGroupRequest) (*ec2.CreateSecurityGroupResult, error) {
	create := createVPCGroup
	if call.Text(in.VpcId) == "" && call.MeansClassic(tx, c) {
		create = createClassicGroup
	}
	g, err := create(tx, c, strings.TrimRight(call.Text(in.GroupName), " "), in)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateSecurityGroupResult{
		GroupId:          new(string(g.ID)),
		SecurityGroupArn: new(call.ARN(c.Scope, g.ResourceType(), string(g.ID))),
		Tags:             call.WireTags(g.Tags),
	}, nil
}

// createVPCGroup makes a group without inbound rules, from which all traffic may leave (G12, G13).
func createVPCGroup(tx *state.Tx, c call.Call, name string, in *ec2.CreateSecurityGroupRequest) (*vpc.SecurityGroup, error) {
	if err := checkGroupTexts(name, call.Text(in.Description)); err != nil {
		return nil, err
	}
	v, err := vpcOrDefault(tx, c, call.Text(in.VpcId))
	if err != nil {
		return nil, err
	}
	tags, err := call.NewTags(tx, c, in.TagSpecifications, ec2.ResourceTypeSecurityGroup)
	if err != nil {
		return nil, err
	}
	if other := tx.GroupNamed(v.ID, name); other != nil { // G28
		return nil, apierr.New(apierr.CodeInvalidGroupDuplicate,
			"The security group '%s' already exists for VPC '%s'. It is %s, named '%s'.", name, v.ID, other.ID, other.Name)
	}
	if err := checkGroupQuota(tx, c, v); err != nil {
		return nil, err
	}
	return newGroup(tx, c, v, name, call.Text(in.Description), tags[ec2.ResourceTypeSecurityGroup]), nil
}

// checkGroupTexts refuses a name or a description that the guide forbids (G24 to G27).
func checkGroupTexts(name, description string) error {
	if err := checkTextsGiven(name, description); err != nil {
		return err
	}
	if err := vpc.CheckGroupName(name); err != nil {
		return err
	}
	return vpc.CheckGroupDescription(description)
}

// checkTextsGiven refuses a group without a name or a description (G24).
func checkTextsGiven(name, description string) error {
	switch {
	case name == "":
		return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter GroupName")
	case description == "":
		return apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter GroupDescription")
	}
	return nil
}

func vpcOrDefault(tx *state.Tx, c call.Call, id string) (*vpc.VPC, error) {
	if id == "" {
		return defaultVPC(tx, c)
	}
	return call.FindVPC(tx, c, id)
}

// checkGroupQuota refuses one more group than a VPC (G7) and a region may have; default groups count.
func checkGroupQuota(tx *state.Tx, c call.Call, v *vpc.VPC) error {
	n, most := tx.CountGroups(v.ID), call.Quotas(tx, c.Scope.Account).GroupsPerVPC
	if n >= most {
		return apierr.New(apierr.CodeSecurityGroupLimitExceeded,
			"The maximum number of security groups for VPC '%s' has been reached. It has %d of %d.", v.ID, n, most)
	}
	return CheckRegionQuota(tx, c)
}

// CheckRegionQuota refuses one more group than an account may have in a region over all its VPCs.
func CheckRegionQuota(tx *state.Tx, c call.Call) error {
	n, most := tx.CountGroupsIn(c.Scope), call.Quotas(tx, c.Scope.Account).Groups
	if n < most {
		return nil
	}
	return apierr.New(apierr.CodeSecurityGroupLimitExceeded,
		"The maximum number of security groups for region '%s' has been reached. There are %d of %d.", c.Scope.Region, n, most)
}

// newGroup puts a group into a VPC, with the outbound rules that every group is born with.
func newGroup(tx *state.Tx, c call.Call, v *vpc.VPC, name, description string, tags vpc.Tags) *vpc.SecurityGroup {
	g := &vpc.SecurityGroup{
		ID:            vpc.GroupID(c.IDs.New("sg")),
		Scope:         v.Scope,
		VPC:           v.ID,
		Name:          name,
		Description:   description,
		Tags:          tags,
		Created:       c.Now,
		DefaultEgress: true,
	}
	tx.Put(g)
	all := packet.Service{Proto: packet.AllProtos}
	putRule(tx, c, g, draft{direction: packet.Egress, service: all, source: vpc.Source{CIDR: vpc.AllIPv4}}, nil)
	if len(v.IPv6Blocks) > 0 {
		putRule(tx, c, g, draft{direction: packet.Egress, service: all, source: vpc.Source{CIDR: vpc.AllIPv6}}, nil)
	}
	return g
}

// NewDefault puts the group that every VPC comes with: its members reach each other (G29 to G32).
func NewDefault(tx *state.Tx, c call.Call, v *vpc.VPC) *vpc.SecurityGroup {
	g := newGroup(tx, c, v, vpc.DefaultGroupName, "default VPC security group", nil)
	putRule(tx, c, g, draft{
		direction: packet.Ingress,
		service:   packet.Service{Proto: packet.AllProtos},
		source:    vpc.Source{Group: g.ID, GroupAccount: g.Scope.Account},
	}, nil)
	return g
}

// NewLegacy puts the group that VPCs made with old API versions have besides the default one (G131, G132). Nothing
// comes in by it, so that it allows nothing that the default group does not.
func NewLegacy(tx *state.Tx, c call.Call, v *vpc.VPC) error {
	if err := checkGroupQuota(tx, c, v); err != nil {
		return err
	}
	newGroup(tx, c, v, vpc.LegacyGroupName, "2009-07-15 default VPC security group", nil)
	return nil
}

// OpenIPv6Egress is called when a VPC gets an IPv6 block: groups whose outbound rules are still those they were
// born with get the one for IPv6 too (G33, G36). It refuses what an interface has no room for.
func OpenIPv6Egress(tx *state.Tx, c call.Call, v *vpc.VPC) error {
	d := draft{
		direction: packet.Egress,
		service:   packet.Service{Proto: packet.AllProtos},
		source:    vpc.Source{CIDR: vpc.AllIPv6},
	}
	for g := range tx.GroupsOf(v.ID) {
		if g.DefaultEgress && ruleLike(tx, g, d) == nil {
			putRule(tx, c, g, d, nil)
			if err := CheckRules(tx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// DefaultOf is a VPC's default group.
func DefaultOf(tx *state.Tx, id vpc.VPCID) *vpc.SecurityGroup {
	return tx.GroupNamed(id, vpc.DefaultGroupName)
}

// ForInterface reads the groups that are to be put on an interface in a subnet: each once, in the order
// given, of the subnet's VPC or associated with it, and not too many. form says in which words an unknown one is refused.
func ForInterface(tx *state.Tx, c call.Call, form *call.IDForm, ids []string, s *vpc.Subnet) ([]vpc.GroupID, error) {
	var out []vpc.GroupID
	for _, id := range ids {
		g, err := call.Find[*vpc.SecurityGroup](tx, c, form, id)
		if err != nil {
			return nil, err
		}
		if g.VPC != s.VPC && tx.Association(g.ID, s.VPC) == nil {
			return nil, apierr.New(apierr.CodeInvalidParameter,
				"Security group %s and subnet %s belong to different networks. The group is of %s, the subnet of %s.",
				g.ID, s.ID, g.VPC, s.VPC)
		}
		if !slices.Contains(out, g.ID) {
			out = append(out, g.ID)
		}
	}
	if err := checkInterfaceGroups(tx, c, out); err != nil {
		return nil, err
	}
	return out, nil
}

// targetGroup is the group that a request is about, by identifier or, in the default VPC, by name. A name is
// looked up even if there is an identifier too.
func targetGroup(tx *state.Tx, c call.Call, id, name *string) (*vpc.SecurityGroup, error) {
	var byName *vpc.SecurityGroup
	if call.Text(name) != "" {
		g, err := FindNamed(tx, c, *name)
		if err != nil {
			return nil, err
		}
		byName = g
	}
	switch {
	case call.Text(id) != "":
		return findGroup(tx, c, *id)
	case byName != nil:
		return byName, nil
	}
	return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter groupName or groupId")
}

func deleteSecurityGroup(tx *state.Tx, c call.Call, in *ec2.DeleteSecurityGroupRequest) (*ec2.DeleteSecurityGroupResult, error) {
	g, err := targetGroup(tx, c, in.GroupId, in.GroupName)
	if err != nil {
		return nil, err
	}
	deletable := deletableInVPC
	if g.VPC.Classic() {
		deletable = deletableClassic
	}
	if err := deletable(tx, g); err != nil {
		return nil, err
	}
	Remove(tx, g)
	return &ec2.DeleteSecurityGroupResult{Return: new(true), GroupId: new(string(g.ID))}, nil
}

// deletableInVPC refuses to delete the default group (G35), and one that something depends on.
func deletableInVPC(tx *state.Tx, g *vpc.SecurityGroup) error {
	if g.IsDefault() {
		return apierr.New(apierr.CodeCannotDelete,
			`the specified group: "%s" name: "%s" cannot be deleted by a user`, g.ID, g.Name)
	}
	if holders := dependents(tx, g); holders != nil {
		return apierr.New(apierr.CodeDependencyViolation,
			"resource %s has a dependent object (%s)", g.ID, call.SomeOf(holders))
	}
	return nil
}

// Remove deletes a group with its rules.
func Remove(tx *state.Tx, g *vpc.SecurityGroup) {
	for _, r := range slices.Collect(tx.RulesOf(g.ID)) {
		tx.Delete(r)
	}
	tx.Delete(g)
}

// dependents says what keeps a group from being deleted: interfaces that carry it, attached or not (G126), rules of
// other groups of its VPC that reference it, and its associations with other VPCs. Its own rules do not, nor those of
// groups in other VPCs, which become stale (G91).
func dependents(tx *state.Tx, g *vpc.SecurityGroup) []string {
	var out []string
	for i := range tx.InterfacesWith(g.ID) {
		what := string(i.ID)
		if i.Attachment != nil {
			what += " of " + string(i.Attachment.Instance)
		}
		out = append(out, what)
	}
	out = append(out, referencesTo(tx, g)...)
	for a := range tx.AssociationsOf(g.ID) {
		out = append(out, "association with "+string(a.VPC))
	}
	return out
}

// referencesTo are the rules of other groups in the same network that reference a group.
func referencesTo(tx *state.Tx, g *vpc.SecurityGroup) (out []string) {
	for r := range tx.RulesAbout(g.ID) {
		if r.Group != g.ID && r.Source.GroupVPC == "" {
			out = append(out, "rule "+string(r.ID)+" of "+string(r.Group))
		}
	}
	return out
}

var groupListing = call.Listing[*vpc.SecurityGroup]{
	Attributes: groupAttributes(),
	Tags:       call.TagsOf[*vpc.SecurityGroup],
	Key:        (*vpc.SecurityGroup).Key,
	Paging: call.Paging{
		Min: 5, Max: 1000, Param: "maxResults",
		Together: "The parameter securityGroupIdSet cannot be used with the parameter maxResults",
		BadToken: apierr.CodeInvalidPaginationToken,
	},
}

func groupAttributes() call.Attributes[*vpc.SecurityGroup] {
	out := call.Attributes[*vpc.SecurityGroup]{
		"description": call.One(func(g *vpc.SecurityGroup) string { return g.Description }),
		"group-id":    call.One((*vpc.SecurityGroup).Key),
		"group-name":  call.One(func(g *vpc.SecurityGroup) string { return g.Name }),
		"owner-id":    call.One(func(g *vpc.SecurityGroup) string { return string(g.Scope.Account) }),
		"vpc-id": func(_ *state.Snapshot, g *vpc.SecurityGroup, is func(string) bool) bool {
			return !g.VPC.Classic() && is(string(g.VPC))
		},
	}
	for name, value := range permissionAttributes() {
		for prefix, d := range map[string]packet.Direction{"": packet.Ingress, "egress.": packet.Egress} {
			out[prefix+"ip-permission."+name] = func(w *state.Snapshot, g *vpc.SecurityGroup, is func(string) bool) bool {
				for r := range w.RulesOf(g.ID) {
					if r.Direction == d {
						if v, ok := value(w, r); ok && is(v) {
							return true
						}
					}
				}
				return false
			}
		}
	}
	return out
}

// permissionAttributes are what filters ask of the rules of a group; ok is false if the rule has no such thing.
func permissionAttributes() map[string]func(w *state.Snapshot, r *vpc.Rule) (value string, ok bool) {
	block := func(r *vpc.Rule, v4 bool) (string, bool) {
		p := r.Source.CIDR
		if !p.IsValid() || p.Addr().Is4() != v4 {
			return "", false
		}
		return p.String(), true
	}
	return map[string]func(w *state.Snapshot, r *vpc.Rule) (string, bool){
		"cidr":      func(_ *state.Snapshot, r *vpc.Rule) (string, bool) { return block(r, true) },
		"ipv6-cidr": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) { return block(r, false) },
		"from-port": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) {
			from, _, ok := vpc.PortsOf(r.Service)
			return strconv.Itoa(int(from)), ok
		},
		"to-port": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) {
			_, to, ok := vpc.PortsOf(r.Service)
			return strconv.Itoa(int(to)), ok
		},
		"protocol": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) { return r.Service.Proto.String(), true },
		"group-id": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) {
			return string(r.Source.Group), r.Source.Group != ""
		},
		"user-id": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) {
			return string(r.Source.GroupAccount), r.Source.Group != ""
		},
		"group-name": func(w *state.Snapshot, r *vpc.Rule) (string, bool) {
			if g := w.Group(r.Source.Group); g != nil {
				return g.Name, true
			}
			return "", false
		},
		"prefix-list-id": func(_ *state.Snapshot, r *vpc.Rule) (string, bool) {
			return string(r.Source.PrefixList), r.Source.PrefixList != ""
		},
	}
}

func describeSecurityGroups(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupsRequest) (*ec2.DescribeSecurityGroupsResult, error) {
	all, err := groupsAsked(tx, c, in)
	if err != nil {
		return nil, err
	}
	page, next, err := groupListing.Run(tx, c, call.Query{
		IDs:        slices.Concat(in.GroupIds, in.GroupNames),
		Filters:    in.Filters,
		MaxResults: in.MaxResults,
		NextToken:  in.NextToken,
	}, all)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupsResult{NextToken: next, SecurityGroups: make([]ec2.SecurityGroup, len(page))}
	var scratch permissionScratch
	for i, g := range page {
		wireGroup(tx.Snapshot, g, &scratch, &out.SecurityGroups[i])
	}
	return out, nil
}

// groupsAsked walks the groups that identifiers and names choose, and those that filters may accept, by
// identifier.
func groupsAsked(tx *state.Tx, c call.Call, in *ec2.DescribeSecurityGroupsRequest) (iter.Seq[*vpc.SecurityGroup], error) {
	ids := slices.Clone(in.GroupIds)
	for _, name := range in.GroupNames {
		named, err := groupsNamed(tx, c, name)
		if err != nil {
			return nil, err
		}
		for _, g := range named {
			ids = append(ids, string(g.ID))
		}
	}
	all := tx.GroupsIn(c.Scope)
	if exact, ok := call.ExactValues(in.Filters, "group-id"); ok {
		all = call.Entities[*vpc.SecurityGroup](tx, c, &call.GroupForm, exact)
	} else if exact, ok := call.ExactValues(in.Filters, "vpc-id"); ok && len(exact) == 1 {
		if v, _ := call.VPCForm.Visible(tx, c, exact[0]).(*vpc.VPC); v != nil {
			all = tx.GroupsOf(v.ID)
		}
	}
	return call.FindOrAll(tx, c, &call.GroupForm, ids, all)
}

// wireGroup writes a group as DescribeSecurityGroups tells it.
func wireGroup(w *state.Snapshot, g *vpc.SecurityGroup, scratch *permissionScratch, out *ec2.SecurityGroup) {
	name := call.ARN(g.Scope, g.ResourceType(), string(g.ID))
	texts := &[...]string{string(g.ID), string(g.Scope.Account), string(g.VPC)}
	*out = ec2.SecurityGroup{
		GroupId: &texts[0], OwnerId: &texts[1], VpcId: &texts[2], SecurityGroupArn: &name,
		GroupName: &g.Name, Description: &g.Description, Tags: call.WireTags(g.Tags),
	}
	if g.VPC.Classic() {
		out.VpcId = nil
	}
	scratch.rules = slices.AppendSeq(scratch.rules[:0], w.RulesOf(g.ID))
	out.IpPermissions = scratch.permissions(w, packet.Ingress)
	out.IpPermissionsEgress = scratch.permissions(w, packet.Egress)
}

// Permissions are rules of a group, those of one direction, as permissions.
func Permissions(w *state.Snapshot, rules []*vpc.Rule, d packet.Direction) []ec2.IpPermission {
	return (&permissionScratch{rules: rules}).permissions(w, d)
}

// permissionScratch gathers the rules of one group after another into permissions. It keeps its room from group
// to group: telling a thousand groups is the most frequent large answer.
type permissionScratch struct {
	rules    []*vpc.Rule
	services []packet.Service
}

// permissions are the rules of a direction as permissions: one for each protocol and ports, in the order in
// which the first rule of each was added.
func (s *permissionScratch) permissions(w *state.Snapshot, d packet.Direction) []ec2.IpPermission {
	s.services = s.services[:0]
	for _, r := range s.rules {
		if r.Direction == d && !slices.Contains(s.services, r.Service) {
			s.services = append(s.services, r.Service)
		}
	}
	out := make([]ec2.IpPermission, len(s.services))
	for i, service := range s.services {
		out[i] = wireService(service)
	}
	for _, r := range s.rules {
		if r.Direction == d {
			addSource(w, &out[slices.Index(s.services, r.Service)], r)
		}
	}
	return out
}

func findGroup(tx *state.Tx, c call.Call, id string) (*vpc.SecurityGroup, error) {
	return call.Find[*vpc.SecurityGroup](tx, c, &call.GroupForm, id)
}

// defaultVPC is the caller's default VPC, in which names of groups are looked up.
func defaultVPC(tx *state.Tx, c call.Call) (*vpc.VPC, error) {
	v := tx.DefaultVPC(c.Scope)
	if v == nil {
		return nil, apierr.New(apierr.CodeVPCIdNotSpecified,
			"No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
	}
	return v, nil
}

// FindNamed is the group with a name that a call without a VPC means: of the default VPC, else of EC2-Classic.
func FindNamed(tx *state.Tx, c call.Call, name string) (*vpc.SecurityGroup, error) {
	found, err := groupsNamed(tx, c, name)
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// groupsNamed are the groups with a name, at least one: of the default VPC, and of EC2-Classic where the account has
// it. Case counts here, unlike for uniqueness: EC2's names are compared as they are when something is looked up.
func groupsNamed(tx *state.Tx, c call.Call, name string) ([]*vpc.SecurityGroup, error) {
	var out []*vpc.SecurityGroup
	v := tx.DefaultVPC(c.Scope)
	if v != nil {
		if g := tx.GroupNamed(v.ID, name); g != nil && g.Name == name {
			out = append(out, g)
		}
	}
	classic := call.HasClassic(tx, c)
	if classic {
		if g := tx.ClassicGroupNamed(c.Scope, name); g != nil && g.Name == name {
			out = append(out, g)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case v != nil:
		return nil, apierr.New(apierr.CodeInvalidGroupNotFound,
			"The security group '%s' does not exist in default VPC '%s'", name, v.ID)
	case classic:
		return nil, apierr.New(apierr.CodeInvalidGroupNotFound, "The security group '%s' does not exist", name)
	}
	_, err := defaultVPC(tx, c)
	return nil, err
}
