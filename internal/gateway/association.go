package gateway

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

func associationActions() []call.Operation {
	return []call.Operation{
		call.Writes(associateRouteTable),
		call.Writes(disassociateRouteTable),
		call.Writes(replaceRouteTableAssociation),
	}
}

func newAssociation(c call.Call) vpc.AssociationID { return vpc.AssociationID(c.IDs.New("rtbassoc")) }

// association is what an identifier of one stands for: a subnet with a table of its own, or the main table of a VPC.
type association struct {
	subnet *vpc.Subnet
	main   *vpc.RouteTable
}

func findAssociation(tx *state.Tx, c call.Call, id string) (association, error) {
	for s := range tx.SubnetsIn(c.Scope) {
		if s.RouteAssociation != "" && string(s.RouteAssociation) == id {
			return association{subnet: s}, nil
		}
	}
	for t := range tx.RouteTablesIn(c.Scope) {
		if t.Main != "" && string(t.Main) == id {
			return association{main: t}, nil
		}
	}
	return association{}, apierr.New(apierr.CodeInvalidAssociationIDNotFound, "The association ID '%s' does not exist", id)
}

func associateRouteTable(tx *state.Tx, c call.Call, in *ec2.AssociateRouteTableRequest) (*ec2.AssociateRouteTableResult, error) {
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	switch {
	case in.GatewayId != nil:
		return nil, call.Unsupported("associations of route tables with gateways")
	case in.PublicIpv4Pool != nil:
		return nil, call.Unsupported("address pools")
	case in.SubnetId == nil:
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter subnetId or gatewayId")
	}
	s, err := call.Find[*vpc.Subnet](tx, c, &call.SubnetForm, *in.SubnetId)
	if err != nil {
		return nil, err
	}
	if err := sameNetwork(t, "subnet "+string(s.ID), s.VPC); err != nil {
		return nil, err
	}
	switch s.RouteTable {
	case "":
		s = setTable(tx, c, s, t.ID)
	case t.ID: // asked for again
	default:
		return nil, apierr.New(apierr.CodeResourceAlreadyAssociated,
			"the specified association for route table %s conflicts with an existing association. %s is associated with %s (%s).",
			t.ID, s.ID, s.RouteTable, s.RouteAssociation)
	}
	return &ec2.AssociateRouteTableResult{AssociationId: new(string(s.RouteAssociation)), AssociationState: associated()}, nil
}

// setTable gives a subnet a table of its own, by a new association.
func setTable(tx *state.Tx, c call.Call, s *vpc.Subnet, id vpc.RouteTableID) *vpc.Subnet {
	next := *s
	next.RouteTable, next.RouteAssociation = id, newAssociation(c)
	tx.Put(&next)
	return &next
}

// sameNetwork refuses what is of another VPC than a route table.
func sameNetwork(t *vpc.RouteTable, what string, id vpc.VPCID) error {
	if id == t.VPC {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue,
		"route table %s and %s belong to different networks. The table is of %s.", t.ID, what, t.VPC)
}

func disassociateRouteTable(tx *state.Tx, c call.Call, in *ec2.DisassociateRouteTableRequest) (ec2.Return, error) {
	a, err := findAssociation(tx, c, call.Text(in.AssociationId))
	if err != nil {
		return ec2.Return{}, err
	}
	if a.main != nil {
		return ec2.Return{}, apierr.New(apierr.CodeInvalidParameterValue,
			"cannot disassociate the main route table association %s. It makes %s the main route table of %s.",
			a.main.Main, a.main.ID, a.main.VPC)
	}
	next := *a.subnet
	next.RouteTable, next.RouteAssociation = "", ""
	tx.Put(&next)
	return ec2.Return{}, nil
}

func replaceRouteTableAssociation(tx *state.Tx, c call.Call, in *ec2.ReplaceRouteTableAssociationRequest) (*ec2.ReplaceRouteTableAssociationResult, error) {
	a, err := findAssociation(tx, c, call.Text(in.AssociationId))
	if err != nil {
		return nil, err
	}
	t, err := findTable(tx, c, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	var id vpc.AssociationID
	if a.main != nil {
		if err := sameNetwork(t, "route table "+string(a.main.ID), a.main.VPC); err != nil {
			return nil, err
		}
		id = setMain(tx, c, a.main, t)
	} else {
		if err := sameNetwork(t, "subnet "+string(a.subnet.ID), a.subnet.VPC); err != nil {
			return nil, err
		}
		id = setTable(tx, c, a.subnet, t.ID).RouteAssociation
	}
	return &ec2.ReplaceRouteTableAssociationResult{NewAssociationId: new(string(id)), AssociationState: associated()}, nil
}

// setMain makes a table the main one of its VPC in place of another, which may be itself.
func setMain(tx *state.Tx, c call.Call, old, t *vpc.RouteTable) vpc.AssociationID {
	former := *old
	former.Main = ""
	tx.Put(&former)
	next := *tx.RouteTable(t.ID)
	next.Main = newAssociation(c)
	tx.Put(&next)
	return next.Main
}

func associated() *ec2.RouteTableAssociationState {
	return &ec2.RouteTableAssociationState{State: ec2.RouteTableAssociationStateCodeAssociated}
}

// wireAssociations are a table's associations: as the main one of its VPC first, then with subnets.
func wireAssociations(w *state.Snapshot, t *vpc.RouteTable) []ec2.RouteTableAssociation {
	var out []ec2.RouteTableAssociation
	if t.Main != "" {
		out = append(out, ec2.RouteTableAssociation{
			Main: new(true), RouteTableAssociationId: new(string(t.Main)), RouteTableId: new(string(t.ID)),
			AssociationState: associated(),
		})
	}
	for s := range w.SubnetsRoutedBy(t.ID) {
		out = append(out, ec2.RouteTableAssociation{
			Main: new(false), RouteTableAssociationId: new(string(s.RouteAssociation)), RouteTableId: new(string(t.ID)),
			SubnetId: new(string(s.ID)), AssociationState: associated(),
		})
	}
	return out
}
