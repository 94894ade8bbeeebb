package group

import (
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// What limits rules: the quota of each group, and the number that one direction of an interface can have over all its
// groups, which no quota can raise. Quotas may be lowered below what there is, so only what grew is refused.

// CheckRules refuses what the transaction did to a group's rules if there are now more than the group may have (G8),
// or than an interface that carries it can have.
func CheckRules(tx *state.Tx, g *vpc.SecurityGroup) error {
	before, after := countRules(tx.Before(), g.ID), countRules(tx.Snapshot, g.ID)
	quotas := call.Quotas(tx, g.Scope.Account)
	if g.VPC.Classic() {
		quotas = quotas.OfClassic() // G72
	}
	if err := after.weight.Check(quotas, before.weight); err != nil {
		return err
	}
	if after.number[packet.Ingress] <= before.number[packet.Ingress] && after.number[packet.Egress] <= before.number[packet.Egress] {
		return nil
	}
	return checkCarriers(tx, g)
}

// ruleCount is how many rules a group has, and what they weigh.
type ruleCount struct {
	number [2]int // by direction
	weight vpc.RuleCount
}

func countRules(w *state.Snapshot, id vpc.GroupID) (out ruleCount) {
	for r := range w.RulesOf(id) {
		out.number[r.Direction]++
		out.weight.Add(r.Direction, w.Weight(r.Source))
	}
	return out
}

// checkCarriers refuses more rules for a group than the interfaces that carry it can have.
func checkCarriers(tx *state.Tx, g *vpc.SecurityGroup) error {
	for i := range tx.GroupSetsWith(g.ID) {
		most, who := ruleRoom(tx, i), string(i.ID)
		if i.VPC.Classic() {
			who = string(i.Attachment.Instance)
		}
		if n, d := rulesOver(tx, i.Groups); n > most {
			return apierr.New(apierr.CodeRulesPerSecurityGroupLimitExceeded,
				"The maximum number of rules per security group has been reached. %s would have %d %s rules of %d over its groups.",
				who, n, d, most)
		}
	}
	return nil
}

// ruleRoom is how many rules in one direction an interface can have.
func ruleRoom(tx *state.Tx, i *vpc.Interface) int {
	if i.VPC.Classic() {
		return call.Quotas(tx, i.Scope.Account).ClassicRulesPerInstance
	}
	return vpc.RulesPerDirectionMax
}

// rulesOver is how many rules groups have together in the direction in which they have more.
func rulesOver(tx *state.Tx, groups []vpc.GroupID) (int, packet.Direction) {
	var n [2]int
	for _, g := range groups {
		for r := range tx.RulesOf(g) {
			n[r.Direction]++
		}
	}
	if n[packet.Egress] > n[packet.Ingress] {
		return n[packet.Egress], packet.Egress
	}
	return n[packet.Ingress], packet.Ingress
}

// checkInterfaceGroups refuses more groups for an interface than the account may have on one (G9), and those that
// have more rules together than an interface can have.
func checkInterfaceGroups(tx *state.Tx, c call.Call, groups []vpc.GroupID) error {
	if most := call.Quotas(tx, c.Scope.Account).GroupsPerInterface; len(groups) > most {
		return apierr.New(apierr.CodeSecurityGroupsPerInterfaceLimitExceeded,
			"The maximum number of security groups per interface has been reached. There would be %d of %d.", len(groups), most)
	}
	if n, d := rulesOver(tx, groups); n > vpc.RulesPerDirectionMax {
		return apierr.New(apierr.CodeSecurityGroupsPerInterfaceLimitExceeded,
			"The maximum number of security groups per interface has been reached. Those asked for, %d, have %d %s rules of %d that an interface can have.",
			len(groups), n, d, vpc.RulesPerDirectionMax)
	}
	return nil
}
