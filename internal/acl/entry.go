package acl

import (
	"cmp"
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func entryActions() []call.Operation {
	return []call.Operation{
		call.Writes(createNetworkAclEntry),
		call.Writes(replaceNetworkAclEntry),
		call.Writes(deleteNetworkAclEntry),
	}
}

// The numbers that users can give to entries, and those of the entries that every ACL ends with (AWS VPC guide,
// "Network ACL rules").
const (
	numberMin = 1
	numberMax = 32766
	lastIPv4  = 32767
	lastIPv6  = 32768
)

// entry is an entry as it is told: those that are stored allow, those that an ACL ends with deny.
type entry struct {
	vpc.ACLEntry
	action ec2.RuleAction
}

// entries are what an ACL is told to have: outbound ones first, by number, and in each direction at the end what
// denies the rest of a family that the VPC has.
func entries(w *state.Snapshot, a *vpc.NetworkACL) []entry {
	var out []entry
	for _, d := range directions() {
		for _, e := range a.Entries {
			if e.Direction == d {
				out = append(out, entry{e, ec2.RuleActionAllow})
			}
		}
		out = append(out, entry{vpc.ACLEntry{Direction: d, Number: lastIPv4, Block: vpc.AllIPv4}, ec2.RuleActionDeny})
		if v := w.VPC(a.VPC); v != nil && len(v.IPv6Blocks) > 0 {
			out = append(out, entry{vpc.ACLEntry{Direction: d, Number: lastIPv6, Block: vpc.AllIPv6}, ec2.RuleActionDeny})
		}
	}
	return out
}

func (e entry) wire() ec2.NetworkAclEntry {
	out := ec2.NetworkAclEntry{
		Egress:     new(e.Direction == packet.Egress),
		Protocol:   new(packet.AllProtos.String()),
		RuleAction: e.action,
		RuleNumber: new(e.Number),
	}
	if e.Block.Addr().Is4() {
		out.CidrBlock = new(e.Block.String())
	} else {
		out.Ipv6CidrBlock = new(e.Block.String())
	}
	return out
}

func compareEntries(a, b vpc.ACLEntry) int {
	return cmp.Or(cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Number, b.Number))
}

// withEntry is the entries with one more, in order.
func withEntry(list []vpc.ACLEntry, e vpc.ACLEntry) []vpc.ACLEntry {
	at, _ := slices.BinarySearchFunc(list, e, compareEntries)
	return slices.Insert(slices.Clone(list), at, e)
}

// readEntry reads an entry whole, as EC2 would, and then refuses what is not enforced: everything but an entry that
// lets all traffic of a family pass.
func readEntry(in *ec2.CreateNetworkAclEntryRequest) (vpc.ACLEntry, error) {
	e := vpc.ACLEntry{Direction: direction(in.Egress)}
	var err error
	if e.Number, err = readNumber(in.RuleNumber); err != nil {
		return e, err
	}
	if in.RuleAction != ec2.RuleActionAllow && in.RuleAction != ec2.RuleActionDeny {
		return e, call.BadValue("ruleAction", string(in.RuleAction))
	}
	if e.Block, err = readBlock(in.CidrBlock, in.Ipv6CidrBlock); err != nil {
		return e, err
	}
	service, err := readService(in)
	if err != nil {
		return e, err
	}
	if in.RuleAction == ec2.RuleActionDeny || service.Proto != packet.AllProtos || e.Block.Bits() != 0 {
		return e, apierr.New(apierr.CodeUnsupportedOperation,
			"The requested operation is not supported. Network ACLs are not enforced yet: an entry can only allow all protocols with %s or %s, and this would %s %s with %s.",
			vpc.AllIPv4, vpc.AllIPv6, in.RuleAction, vpc.ServiceText(service), e.Block)
	}
	return e, nil
}

func direction(egress *bool) packet.Direction {
	if call.Yes(egress) {
		return packet.Egress
	}
	return packet.Ingress
}

func readNumber(n *int32) (int32, error) {
	if *n < numberMin || *n > numberMax {
		return 0, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter ruleNumber is invalid. It must be from %d to %d.", *n, numberMin, numberMax)
	}
	return *n, nil
}

func readBlock(block, block6 *string) (netip.Prefix, error) {
	switch {
	case block == nil && block6 == nil:
		return netip.Prefix{}, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter cidrBlock or ipv6CidrBlock")
	case block != nil && block6 != nil:
		return netip.Prefix{}, apierr.New(apierr.CodeInvalidParameterCombination,
			"The parameter cidrBlock cannot be used with the parameter ipv6CidrBlock")
	}
	param, text, parse := "cidrBlock", block, vpc.ParseCIDR
	if block6 != nil {
		param, text, parse = "ipv6CidrBlock", block6, vpc.ParseCIDR6
	}
	p, err := parse(*text)
	if err != nil {
		return p, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", *text, param)
	}
	return p, nil
}

// readService reads protocol, ports, type and code by the rules for those of groups. Ports and types that belong to
// another protocol are passed over, as EC2 does.
func readService(in *ec2.CreateNetworkAclEntryRequest) (packet.Service, error) {
	var from, to *int32
	p, err := packet.ParseProto(call.Text(in.Protocol))
	switch {
	case err != nil:
		return packet.Service{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid value '%s' for IP protocol. Unknown protocol.", call.Text(in.Protocol))
	case p.HasPorts() && in.PortRange == nil:
		return packet.Service{}, apierr.New(apierr.CodeMissingParameter,
			"The request must contain the parameter portRange. Protocol %s has ports.", p)
	case p.HasPorts():
		from, to = in.PortRange.From, in.PortRange.To
	case p.HasTypes() && in.IcmpTypeCode == nil:
		return packet.Service{}, apierr.New(apierr.CodeMissingParameter,
			"The request must contain the parameter icmpTypeCode. Protocol %s has types.", p)
	case p.HasTypes():
		from, to = in.IcmpTypeCode.Type, in.IcmpTypeCode.Code
	}
	return vpc.NewService(in.Protocol, from, to)
}

// entryAt is the place of an ACL's entry with a number in a direction, or -1.
func entryAt(a *vpc.NetworkACL, d packet.Direction, number int32) int {
	return slices.IndexFunc(a.Entries, func(e vpc.ACLEntry) bool { return e.Direction == d && e.Number == number })
}

func createNetworkAclEntry(tx *state.Tx, c call.Call, in *ec2.CreateNetworkAclEntryRequest) (ec2.Return, error) {
	a, err := findACL(tx, c, in.NetworkAclId)
	if err != nil {
		return ec2.Return{}, err
	}
	e, err := readEntry(in)
	if err != nil {
		return ec2.Return{}, err
	}
	if entryAt(a, e.Direction, e.Number) >= 0 {
		return ec2.Return{}, apierr.New(apierr.CodeNetworkAclEntryAlreadyExists,
			"The network acl entry identified by %d already exists. It is an %s entry of %s.", e.Number, e.Direction, a.ID)
	}
	next := *a
	next.Entries = withEntry(a.Entries, e)
	tx.Put(&next)
	return ec2.Return{}, checkQuota(tx, c, &next, e)
}

// checkQuota refuses too many entries like e: of its direction and family, with the one that denies the rest.
func checkQuota(tx *state.Tx, c call.Call, a *vpc.NetworkACL, e vpc.ACLEntry) error {
	n := 1
	for _, o := range a.Entries {
		if o.Direction == e.Direction && o.Block == e.Block {
			n++
		}
	}
	most := call.Quotas(tx, c.Scope.Account).EntriesPerACL
	if n <= most {
		return nil
	}
	return apierr.New(apierr.CodeNetworkAclEntryLimitExceeded,
		"The maximum number of network acl entries has been reached. %s would have %d %s entries of %d for %s, with the one that denies the rest.",
		a.ID, n, e.Direction, most, e.Block)
}

func replaceNetworkAclEntry(tx *state.Tx, c call.Call, in *ec2.ReplaceNetworkAclEntryRequest) (ec2.Return, error) {
	a, err := findACL(tx, c, in.NetworkAclId)
	if err != nil {
		return ec2.Return{}, err
	}
	same := ec2.CreateNetworkAclEntryRequest(*in)
	e, err := readEntry(&same)
	if err != nil {
		return ec2.Return{}, err
	}
	i := entryAt(a, e.Direction, e.Number)
	if i < 0 {
		return ec2.Return{}, noEntry(a, e.Direction, e.Number)
	}
	next := *a
	next.Entries = slices.Clone(a.Entries)
	next.Entries[i] = e
	tx.Put(&next)
	if e.Block != a.Entries[i].Block {
		if err := checkQuota(tx, c, &next, e); err != nil {
			return ec2.Return{}, err
		}
	}
	return ec2.Return{}, checkACL(tx.Snapshot, &next)
}

func deleteNetworkAclEntry(tx *state.Tx, c call.Call, in *ec2.DeleteNetworkAclEntryRequest) (ec2.Return, error) {
	a, err := findACL(tx, c, in.NetworkAclId)
	if err != nil {
		return ec2.Return{}, err
	}
	number, err := readNumber(in.RuleNumber)
	if err != nil {
		return ec2.Return{}, err
	}
	i := entryAt(a, direction(in.Egress), number)
	if i < 0 {
		return ec2.Return{}, noEntry(a, direction(in.Egress), number)
	}
	next := *a
	next.Entries = slices.Delete(slices.Clone(a.Entries), i, i+1)
	tx.Put(&next)
	return ec2.Return{}, checkACL(tx.Snapshot, &next)
}

func noEntry(a *vpc.NetworkACL, d packet.Direction, number int32) error {
	return apierr.New(apierr.CodeInvalidNetworkAclEntryNotFound,
		"The network acl entry identified by %d does not exist. %s has no such %s entry.", number, a.ID, d)
}
