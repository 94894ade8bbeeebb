package opstest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// printWorld writes the VPCs and then the groups of EC2-Classic by their owners.
func printWorld(w *state.Snapshot) string {
	var out strings.Builder
	for e := range w.All(vpc.KindVPC) {
		v := e.(*vpc.VPC)
		fmt.Fprintf(&out, "%s %s of %s in %s\n", v.ID, v.Blocks[0].Prefix, v.Scope.Account, v.Scope.Region)
		for g := range w.GroupsOf(v.ID) {
			printGroup(&out, w, g)
		}
	}
	owner := vpc.Scope{}
	for _, g := range classicGroups(w) {
		if g.Scope != owner {
			owner = g.Scope
			fmt.Fprintf(&out, "EC2-Classic of %s in %s\n", owner.Account, owner.Region)
		}
		printGroup(&out, w, g)
	}
	return out.String()
}

func classicGroups(w *state.Snapshot) []*vpc.SecurityGroup {
	var out []*vpc.SecurityGroup
	for e := range w.All(vpc.KindGroup) {
		if g := e.(*vpc.SecurityGroup); g.VPC.Classic() {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b *vpc.SecurityGroup) int {
		return cmp.Or(cmp.Compare(a.Scope.Account, b.Scope.Account), cmp.Compare(a.Scope.Region, b.Scope.Region))
	})
	return out
}

// printGroup writes a group with its rules, and who carries it.
func printGroup(out *strings.Builder, w *state.Snapshot, g *vpc.SecurityGroup) {
	fmt.Fprintf(out, "  %s %q %q%s\n", g.ID, g.Name, g.Description, printTags(g.Tags))
	for r := range w.RulesOf(g.ID) {
		fmt.Fprintf(out, "    %s %s %s", r.ID, r.Direction, r.Identity().Describe())
		if r.Description != "" {
			fmt.Fprintf(out, " %q", r.Description)
		}
		fmt.Fprintf(out, "%s\n", printTags(r.Tags))
	}
	for i := range w.InterfacesWith(g.ID) {
		fmt.Fprintf(out, "    on %s\n", i.ID)
	}
}

func printTags(tags vpc.Tags) string {
	var out strings.Builder
	for _, t := range tags {
		fmt.Fprintf(&out, " %s=%q", t.Key, t.Value)
	}
	return out.String()
}

// Identifiers in stories.
const idKinds = `(sgr|sg|vpc-cidr-assoc|vpc|subnet-cidr-assoc|subnet|eni-attach|eni|dopt|i|r|vol|igw|rtbassoc|rtb|aclassoc|acl|ami|pl|pcx)`

var (
	longID  = regexp.MustCompile(`\b` + idKinds + `-0[0-9a-f]{16}\b`)
	shortID = regexp.MustCompile(`\b` + idKinds + `-[0-9]{1,3}\b`)
)

func (s *Story) shorten(text string) string {
	if s.token != "" {
		text = strings.ReplaceAll(text, s.token, "$token")
	}
	return longID.ReplaceAllStringFunc(text, func(id string) string {
		if id == string(instance.LabImage) {
			return id
		}
		if _, ok := s.short[id]; !ok {
			kind := id[:strings.LastIndexByte(id, '-')]
			s.count[kind]++
			s.short[id] = fmt.Sprintf("%s-%d", kind, s.count[kind])
			s.long[s.short[id]] = id
		}
		return s.short[id]
	})
}

// Long is the identifier that a story writes as short.
func (s *Story) Long(short string) string { return s.long[short] }

// Lengthen puts the identifiers of this world in for those that a story writes.
func (s *Story) Lengthen(text string) string {
	text = strings.ReplaceAll(text, "$token", s.token)
	return shortID.ReplaceAllStringFunc(text, func(id string) string {
		if long, ok := s.long[id]; ok {
			return long
		}
		return id
	})
}

// Fields splits a line at blanks that are not in double quotes.
func Fields(line string) []string {
	var out []string
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		out = append(out, word.String())
	}
	return out
}

// element is XML as a tree.
type element struct {
	name, text string
	children   []*element
}

// print writes a response for people: an element a line, or all in one line where that is short.
func (s *Story) print(raw []byte) string {
	root := &element{}
	stack := []*element{root}
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatalf("%v in %s", err, raw)
		}
		top := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &element{name: tok.Name.Local}
			top.children = append(top.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			if top.name == "nextToken" {
				s.token, top.text = top.text, "…"
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(tok)
		}
	}
	var out strings.Builder
	for _, e := range root.children[0].children {
		if e.name != "requestId" {
			s.printElement(&out, e, "")
		}
	}
	return out.String()
}

const lineMax = 150

func (s *Story) printElement(out *strings.Builder, e *element, indent string) {
	name := e.name + ": "
	if e.name == "item" {
		name = "- "
	}
	if line := indent + name + s.shorten(oneLine(e)); len(line) <= lineMax || len(e.children) == 0 {
		out.WriteString(line + "\n")
		return
	}
	out.WriteString(strings.TrimRight(indent+name, " ") + "\n")
	for _, c := range e.children {
		s.printElement(out, c, indent+"  ")
	}
}

func oneLine(e *element) string {
	if len(e.children) == 0 {
		if strings.TrimSpace(e.text) != e.text || e.text == "" {
			return strconv.Quote(e.text)
		}
		return e.text
	}
	var parts []string
	for _, c := range e.children {
		if c.name == "item" {
			parts = append(parts, oneLine(c))
		} else {
			parts = append(parts, c.name+": "+oneLine(c))
		}
	}
	if e.children[0].name == "item" {
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
