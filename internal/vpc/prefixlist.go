package vpc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
)

// PrefixListID is a managed prefix list's id, pl-….
type PrefixListID string

// Limits of texts (EC2's API reference, CreateManagedPrefixList and AddPrefixListEntry), in characters.
const (
	prefixListNameMax        = 255
	prefixListDescriptionMax = 255 // of an entry
	prefixListReserved       = "com.amazonaws"
)

// CheckPrefixListName refuses a name that a prefix list may not have. Two lists may have the same one.
func CheckPrefixListName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case n > prefixListNameMax:
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter prefixListName is invalid. It has %d characters of %d.", name, n, prefixListNameMax)
	case strings.HasPrefix(name, prefixListReserved):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter prefixListName is invalid. Names that begin with %s are AWS's own.", name, prefixListReserved)
	}
	return nil
}

// PrefixListEntry is one block of a prefix list.
type PrefixListEntry struct {
	Prefix      netip.Prefix // canonical, of the list's family
	Description string
}

// ParsePrefixListBlock reads a block of a list; host bits are cleared as EC2 does with those of rules.
func ParsePrefixListBlock(s string, ipv6 bool) (netip.Prefix, error) {
	block, err := parseBlock(s, !ipv6)
	if err != nil {
		return block, apierr.New(apierr.CodeInvalidParameterValue,
			"CIDR block %s is malformed. The prefix list is one of %s blocks.", s, Family(ipv6))
	}
	return block, nil
}

// NewPrefixListEntry reads an entry of a list.
func NewPrefixListEntry(block, description string, ipv6 bool) (PrefixListEntry, error) {
	p, err := ParsePrefixListBlock(block, ipv6)
	if err != nil {
		return PrefixListEntry{}, err
	}
	if n := utf8.RuneCountInString(description); n > prefixListDescriptionMax {
		return PrefixListEntry{}, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for parameter description is invalid. That of the entry %s has %d characters of %d.",
			description, p, n, prefixListDescriptionMax)
	}
	return PrefixListEntry{p, description}, nil
}

// Order is a text by which entries of a family sort as blocks do: by address, then what covers before what it covers.
func (e PrefixListEntry) Order() string {
	addr := e.Prefix.Addr().As16()
	return fmt.Sprintf("%x/%03d", addr, e.Prefix.Bits())
}

// PrefixListState is how the last change of a prefix list ended, in EC2's words. Changes are done at once: a state in
// which one is under way is answered by the change itself and never kept.
type PrefixListState string

// The states of prefix lists.
const (
	PrefixListCreated      PrefixListState = "create-complete"
	PrefixListModified     PrefixListState = "modify-complete"
	PrefixListModifyFailed PrefixListState = "modify-failed"
	PrefixListRestored     PrefixListState = "restore-complete"
)

// PrefixList is a named set of blocks that rules and routes can stand on. A rule follows the newest version.
type PrefixList struct {
	ID           PrefixListID
	Scope        Scope
	Name         string
	IPv6         bool // the family of its entries
	MaxEntries   int  // what a rule that names it weighs in the quota of rules
	Version      int64
	Entries      []PrefixListEntry // of the newest version, by prefix, each prefix once
	State        PrefixListState
	StateMessage string // why the last change failed; empty: it did not
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

// Family is a family of addresses as EC2 spells it.
func Family(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// Holds says whether an address is in one of the entries.
func (l *PrefixList) Holds(a netip.Addr) bool {
	return slices.ContainsFunc(l.Entries, func(e PrefixListEntry) bool { return e.Prefix.Contains(a) })
}
