package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

// PrefixList is the prefix list with the id, or nil.
func (s *Snapshot) PrefixList(id vpc.PrefixListID) *vpc.PrefixList {
	return lookup[*vpc.PrefixList](s, vpc.KindPrefixList, string(id))
}

// PrefixListsIn walks the prefix lists of a scope.
func (s *Snapshot) PrefixListsIn(scope vpc.Scope) iter.Seq[*vpc.PrefixList] {
	return tableOf[*vpc.PrefixList](s, vpc.KindPrefixList).by(prefixListsByScope, string(scope.Account), string(scope.Region))
}

// CountPrefixLists is how many prefix lists a scope has.
func (s *Snapshot) CountPrefixLists(scope vpc.Scope) int {
	return tableOf[*vpc.PrefixList](s, vpc.KindPrefixList).count(prefixListsByScope, string(scope.Account), string(scope.Region))
}

// PrefixListVersion is what a list held at a version, or nil.
func (s *Snapshot) PrefixListVersion(id vpc.PrefixListID, version int64) *vpc.PrefixListVersion {
	return lookup[*vpc.PrefixListVersion](s, vpc.KindPrefixListVersion, vpc.PrefixListVersionKey(id, version))
}

// PrefixListVersions walks the versions of a list, the oldest first.
func (s *Snapshot) PrefixListVersions(id vpc.PrefixListID) iter.Seq[*vpc.PrefixListVersion] {
	return tableOf[*vpc.PrefixListVersion](s, vpc.KindPrefixListVersion).by(versionsByPrefixList, string(id))
}

// RulesNaming walks the rules that name a prefix list.
func (s *Snapshot) RulesNaming(id vpc.PrefixListID) iter.Seq[*vpc.Rule] {
	return tableOf[*vpc.Rule](s, vpc.KindRule).by(rulesByList, string(id))
}

// Weight is what a rule with the source counts for in its group's quota.
func (s *Snapshot) Weight(src vpc.Source) vpc.Weight {
	return src.Weight(s.PrefixList(src.PrefixList))
}
