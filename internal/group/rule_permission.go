package group

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// permissionReader makes drafts of a request's permissions.
type permissionReader struct {
	tx        *state.Tx
	c         call.Call
	group     *vpc.SecurityGroup // the one whose rules they are
	direction packet.Direction
	// existing says that the drafts are looked for among the group's rules: a source that is gone or of another
	// network is then only one that is not found, and descriptions do not matter.
	existing bool

	drafts []draft
}

// read makes one draft of each source of each permission, in the request's order, and refuses two that are the
// same rule.
func (p *permissionReader) read(in []ec2.IpPermission) ([]draft, error) {
	if p.group.VPC.Classic() {
		full, err := classicPermissions(in)
		if err != nil {
			return nil, err
		}
		in = full
	}
	for i := range in {
		if err := p.permission(&in[i]); err != nil {
			return nil, err
		}
	}
	seen := make(map[vpc.Identity]struct{}, len(p.drafts))
	for _, d := range p.drafts {
		k := d.identity()
		if _, twice := seen[k]; twice {
			return nil, apierr.New(apierr.CodeInvalidParameterValue,
				"The same permission must not appear multiple times. The request has %s twice.", k.Describe())
		}
		seen[k] = struct{}{}
	}
	return p.drafts, nil
}

func (p *permissionReader) permission(in *ec2.IpPermission) error {
	service, err := vpc.NewService(in.IpProtocol, in.FromPort, in.ToPort)
	if err != nil {
		return err
	}
	if len(in.IpRanges)+len(in.Ipv6Ranges)+len(in.PrefixListIds)+len(in.UserIdGroupPairs) == 0 {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"missing mandatory parameter: exactly one of remote-security-group, remote-ip-range, remote-ipv6-range, "+
				"or prefix-list-id must be present. The permission for %s has none.", vpc.ServiceText(service))
	}
	add := func(source vpc.Source, description *string, err error) error {
		if err != nil {
			return err
		}
		if description != nil && !p.existing {
			if err := vpc.CheckRuleDescription(*description); err != nil {
				return err
			}
		}
		p.drafts = append(p.drafts, draft{p.direction, service, source, description})
		return nil
	}
	for _, r := range in.IpRanges {
		block, err := vpc.ParseCIDR(call.Text(r.CidrIp))
		if err := add(vpc.Source{CIDR: block}, r.Description, err); err != nil {
			return err
		}
	}
	for _, r := range in.Ipv6Ranges {
		block, err := vpc.ParseCIDR6(call.Text(r.CidrIpv6))
		if err := add(vpc.Source{CIDR: block}, r.Description, err); err != nil {
			return err
		}
	}
	for _, l := range in.PrefixListIds {
		source, err := p.prefixList(call.Text(l.PrefixListId))
		if err := add(source, l.Description, err); err != nil {
			return err
		}
	}
	for i := range in.UserIdGroupPairs {
		source, err := p.pair(&in.UserIdGroupPairs[i])
		if err := add(source, in.UserIdGroupPairs[i].Description, err); err != nil {
			return err
		}
	}
	return nil
}

// prefixList is the source that a prefix list is; one without entries is as good as another.
func (p *permissionReader) prefixList(id string) (vpc.Source, error) {
	source := vpc.Source{PrefixList: vpc.PrefixListID(id)}
	if p.existing {
		return source, call.PrefixListForm.Fits(id)
	}
	_, err := call.Find[*vpc.PrefixList](p.tx, p.c, &call.PrefixListForm, id)
	return source, err
}

// pair is the group that a pair of account and group names. The account need not be given, not even that of a peer.
// What Describe answers about peerings may be sent back and says nothing new.
func (p *permissionReader) pair(in *ec2.UserIdGroupPair) (vpc.Source, error) {
	if p.group.VPC.Classic() {
		return p.classicPair(in)
	}
	if call.Text(in.GroupId) == "" {
		if call.Text(in.GroupName) == "" {
			return vpc.Source{}, apierr.New(apierr.CodeMissingParameter, "Source group ID missing.")
		}
		g, err := FindNamed(p.tx, p.c, *in.GroupName)
		if err != nil {
			return vpc.Source{}, err
		}
		return p.reference(g, call.Text(in.UserId))
	}
	if err := call.GroupForm.Fits(*in.GroupId); err != nil {
		return vpc.Source{}, err
	}
	if p.existing {
		return vpc.Source{Group: vpc.GroupID(*in.GroupId)}, nil
	}
	g := p.tx.Group(vpc.GroupID(*in.GroupId))
	if g == nil {
		return vpc.Source{}, call.GroupForm.NotFound(*in.GroupId)
	}
	return p.reference(g, call.Text(in.UserId))
}

// reference is the source that a group is, if the rule's group may reference it: a group of the same VPC (G40), or
// one of another VPC, of whatever account, that it reaches (G79, G80). Of other groups of other accounts the
// caller learns nothing.
func (p *permissionReader) reference(g *vpc.SecurityGroup, account string) (vpc.Source, error) {
	source := vpc.Source{Group: g.ID, GroupAccount: g.Scope.Account}
	if account != "" && account != string(g.Scope.Account) {
		return vpc.Source{}, apierr.New(apierr.CodeInvalidGroupNotFound,
			"The security group '%s' does not exist in account '%s'", g.ID, account)
	}
	if p.existing {
		return source, nil
	}
	link, ok := Reaches(p.tx.Snapshot, p.group.VPC, g)
	switch {
	case ok:
	case g.Scope == p.c.Scope || known(p.tx, p.c, p.group.VPC, g.VPC):
		return vpc.Source{}, differentNetworks(p.group, g)
	default:
		return vpc.Source{}, call.GroupForm.NotFound(string(g.ID))
	}
	if g.VPC != p.group.VPC {
		source.GroupVPC = g.VPC
	}
	if link != nil {
		source.Peering = link.ID
	}
	return source, nil
}

// differentNetworks is the answer to a reference of a group's rule to another group that it cannot reach.
func differentNetworks(of, to *vpc.SecurityGroup) error {
	return apierr.New(apierr.CodeInvalidGroupNotFound,
		"You have specified two resources that belong to different networks. %s is of %s, %s of %s.",
		of.ID, of.VPC, to.ID, to.VPC)
}

// wire is the draft as a permission of one source, as it was asked for.
func (d draft) wire(w *state.Snapshot) ec2.IpPermission {
	out := wireService(d.service)
	addSource(w, &out, &vpc.Rule{Source: d.source, Description: call.Text(d.description)})
	for i := range out.UserIdGroupPairs {
		out.UserIdGroupPairs[i].UserId = call.Optional(call.Text(out.UserIdGroupPairs[i].UserId))
	}
	return out
}

// flatForm is the older way to say one permission, in parameters of the request itself.
type flatForm struct {
	protocol         *string
	from, to         *int32
	cidr             *string
	sourceGroup      *string // by name, in the default VPC
	sourceGroupOwner *string
}

func (f flatForm) empty() bool { return f == flatForm{} }

// orFlat is the permissions of a request that says them in one way or the other.
func orFlat(in []ec2.IpPermission, f flatForm) ([]ec2.IpPermission, error) {
	switch {
	case f.empty():
		return in, nil
	case len(in) > 0:
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter ipPermissions cannot be used with the parameters ipProtocol, fromPort, toPort, cidrIp, "+
				"sourceSecurityGroupName and sourceSecurityGroupOwnerId")
	case call.Text(f.sourceGroup) == "" && f.sourceGroupOwner != nil:
		return nil, apierr.New(apierr.CodeMissingParameter, "Source group ID missing.")
	case call.Text(f.sourceGroup) == "":
		p := ec2.IpPermission{IpProtocol: f.protocol, FromPort: f.from, ToPort: f.to}
		if f.cidr != nil {
			p.IpRanges = []ec2.IpRange{{CidrIp: f.cidr}}
		}
		return []ec2.IpPermission{p}, nil
	case f.protocol != nil || f.from != nil || f.to != nil || f.cidr != nil:
		return nil, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter sourceSecurityGroupName cannot be used with the parameters ipProtocol, fromPort, toPort and cidrIp")
	}
	// A source group by name grants everything that it could in EC2-Classic: all of TCP, UDP and ICMP.
	pairs := []ec2.UserIdGroupPair{{GroupName: f.sourceGroup, UserId: f.sourceGroupOwner}}
	return []ec2.IpPermission{
		{IpProtocol: new("tcp"), FromPort: new(int32(0)), ToPort: new(int32(65535)), UserIdGroupPairs: pairs},
		{IpProtocol: new("udp"), FromPort: new(int32(0)), ToPort: new(int32(65535)), UserIdGroupPairs: pairs},
		{IpProtocol: new("icmp"), FromPort: new(int32(-1)), ToPort: new(int32(-1)), UserIdGroupPairs: pairs},
	}, nil
}
