package vpc

import (
	"fmt"
	"net/netip"
	"time"
)

// PrefixListID is a managed prefix list's id, pl-….
type PrefixListID string

// PrefixListEntry is one block of a prefix list.
type PrefixListEntry struct {
	Prefix      netip.Prefix // canonical, of the list's family
	Description string
}

// PrefixList is a named set of blocks that rules and routes can stand on. A rule follows the newest version.
type PrefixList struct {
	ID           PrefixListID
	Scope        Scope
	Name         string
	IPv6         bool // the family of its entries
	MaxEntries   int  // what a rule that names it weighs in the quota of rules
	Version      int64
	Entries      []PrefixListEntry // of the newest version, by prefix, each once
	StateMessage string            // why the last resize was refused; empty: it was not
	Tags         Tags
	Created      time.Time
}

// Kind says that it is a prefix list.
func (l *PrefixList) Kind() Kind { return KindPrefixList }

// Key is its id.
func (l *PrefixList) Key() string { return string(l.ID) }

// In is its partition.
func (l *PrefixList) In() Scope { return l.Scope }

// GetTags are its tags.
func (l *PrefixList) GetTags() Tags { return l.Tags }

// ResourceType is what TagSpecification calls it.
func (l *PrefixList) ResourceType() string { return "prefix-list" }

// WithTags is a copy with other tags.
func (l *PrefixList) WithTags(t Tags) Entity { c := *l; c.Tags = t; return &c }

// PrefixListVersion is what a prefix list held at one of its versions, the newest included.
type PrefixListVersion struct {
	List    PrefixListID
	Version int64
	Entries []PrefixListEntry
}

// Kind says that it is a version of a prefix list.
func (v *PrefixListVersion) Kind() Kind { return KindPrefixListVersion }

// Key is the list and the version.
func (v *PrefixListVersion) Key() string { return PrefixListVersionKey(v.List, v.Version) }

// PrefixListVersionKey is the key of a version of a list.
func PrefixListVersionKey(id PrefixListID, version int64) string {
	return fmt.Sprintf("%s/%010d", id, version)
}
