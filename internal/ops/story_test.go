package ops

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/story")

// TestStories plays each text of testdata/story: calls as clients make them, and what they are answered.
//
// A story is a sequence of stanzas: lines of directives, a line of four hyphens, the answers, an empty line.
//
//	call Action Name=value Name="two words"   one request; the answer is its response or its error
//	repeat 50 Action Name=value-%d            many requests, numbered from 1; the answer is the first error
//	vpc 10.0.0.0/16 [default] [ipv6]          a VPC with its default group
//	interface sg-1 [sg-2 …] [of i-1]          an interface that carries groups, in the VPC of the first one
//	as 000000000002 [eu-west-1]               who calls from here on
//	world                                     the groups and rules there are, of all accounts
//	region                                    what EnsureRegion does, and the default VPC that there is then
//	host h1 4 [eu-west-1]                     a host with room for four instances
//	placed                                    which instances each host has
//	no-host h1                                the host exists no more
//	report h1 i-1 up [2]                      what a host tells of an instance, and of which start
//	later 2h                                  the clock goes on, and what is old is reaped
//	console i-1 "text"                        what an instance's console said
//	user-data off                             whether user data is allowed
//
// Identifiers are numbered as they appear: sg-1, sgr-2. $token is the last NextToken that was answered. -update
// rewrites the answers; commit them only if you understand them.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/story/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory(t).play(string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-file +played):\n%s", file, d)
			}
		})
	}
}

// story is a world and who calls in it.
type story struct {
	t     *testing.T
	world *state.Snapshot
	scope vpc.Scope
	calls int
	short map[string]string // identifier → as the story writes it
	long  map[string]string
	count map[string]int
	token string
	lab   lab
}

func newStory(t *testing.T) *story {
	t.Helper()
	return &story{
		t: t, world: state.NewSnapshot(),
		scope: vpc.Scope{Region: "us-east-1", Account: "000000000001"},
		short: map[string]string{}, long: map[string]string{}, count: map[string]int{},
	}
}

func (s *story) play(text string) string {
	var out strings.Builder
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		out.WriteString(line)
		if i < len(lines)-1 {
			out.WriteByte('\n')
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var directives []string
		for ; i < len(lines) && lines[i] != "----"; i++ {
			if len(directives) > 0 {
				out.WriteString(lines[i] + "\n")
			}
			directives = append(directives, lines[i])
		}
		out.WriteString("----\n")
		for i++; i < len(lines) && lines[i] != ""; i++ {
		}
		for _, d := range directives {
			out.WriteString(s.shorten(s.directive(d)))
		}
		if i < len(lines) {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func (s *story) directive(line string) string {
	words := fields(s.lengthen(line))
	switch words[0] {
	case "call":
		return s.call(words[1], words[2:])
	case "repeat":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range n {
			params := slices.Clone(words[3:])
			for j := range params {
				params[j] = strings.ReplaceAll(params[j], "%d", strconv.Itoa(i+1))
			}
			if got := s.call(words[2], params); strings.HasPrefix(got, "error") {
				return fmt.Sprintf("call %d: %s", i+1, got)
			}
		}
		return fmt.Sprintf("ok, %d times\n", n)
	case "vpc":
		return s.vpc(words[1], words[2:])
	case "interface":
		return s.networkInterface(words[1:])
	case "as":
		s.scope.Account = vpc.AccountID(words[1])
		if len(words) > 2 {
			s.scope.Region = vpc.Region(words[2])
		}
		return ""
	case "world":
		return printWorld(s.world)
	}
	return s.hostDirective(words)
}

func (s *story) newCall(action string) Call {
	s.calls++
	return Call{
		Scope: s.scope, Action: action, Version: ec2.VersionCurrent, RequestID: "request",
		Principal: Principal{ARN: "arn:aws:iam::" + string(s.scope.Account) + ":root", UserID: string(s.scope.Account)},
		Now:       time.Date(2026, 1, 1, 0, 0, s.calls, 0, time.UTC).Add(s.lab.later),
		IDs:       s.ids(),
		Endpoint:  "127.0.0.1:4750",
		UserData:  !s.lab.noUserData,
		Console:   s.lab.console,
	}
}

func (s *story) ids() *IDs {
	return NewIDs(sha256.Sum256([]byte(strconv.Itoa(s.calls))))
}

func (s *story) call(action string, params []string) string {
	res, err := s.do(action, params)
	if err != nil {
		e := apierr.From(err)
		if e.Code == apierr.CodeInternalError {
			s.t.Errorf("%s: %v", action, err)
		}
		return fmt.Sprintf("error %d %s: %s\n", ec2.Status(e.Code), e.Code, e.Message)
	}
	a, err := ec2.Lookup(action)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.print(ec2.AppendResponse(nil, a, ec2.VersionCurrent, "request", res))
}

// do decodes a request, runs it twice on the same world, since that must not make a difference, and commits it.
func (s *story) do(action string, params []string) (ec2.Response, error) {
	form := make([]string, len(params))
	for i, p := range params {
		name, value, _ := strings.Cut(p, "=")
		form[i] = url.QueryEscape(name) + "=" + url.QueryEscape(value)
	}
	parsed, err := ec2.ParseForm(strings.Join(form, "&"))
	if err != nil {
		return nil, err
	}
	req, err := ec2.Decode(action, parsed)
	if err != nil {
		return nil, err
	}
	op, ok := Lookup(action)
	if !ok {
		return nil, NotServed(action)
	}
	c := s.newCall(action)
	tx, again := s.world.Begin(), s.world.Begin()
	res, err := op.Run(tx, c, req)
	c.IDs = s.ids()
	res2, err2 := op.Run(again, c, req)
	if d := cmp.Diff(res, res2); d != "" || fmt.Sprint(err) != fmt.Sprint(err2) {
		s.t.Errorf("%s answers otherwise when it is run again: %v, %v\n%s", action, err, err2, d)
	}
	if d := cmp.Diff(tx.Changes(), again.Changes(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		s.t.Errorf("%s writes otherwise when it is run again:\n%s", action, d)
	}
	if !op.Writes && len(tx.Changes()) > 0 {
		s.t.Errorf("%s only reads, but changed %v", action, tx.Changes())
	}
	if err == nil {
		s.world = tx.Next(s.world.Revision() + 1)
	}
	return res, err
}

// commit runs f on the world, for what no operation of this room makes.
func (s *story) commit(f func(tx *state.Tx, c Call)) {
	tx := s.world.Begin()
	f(tx, s.newCall(""))
	s.world = tx.Next(s.world.Revision() + 1)
}

func (s *story) vpc(cidr string, options []string) string {
	v := &vpc.VPC{
		Scope:   s.scope,
		Blocks:  []vpc.Block{{Prefix: netip.MustParsePrefix(cidr)}},
		Default: slices.Contains(options, "default"),
	}
	if slices.Contains(options, "ipv6") {
		v.IPv6Blocks = []vpc.Block{{Prefix: netip.MustParsePrefix("2001:db8::/56")}}
	}
	var g *vpc.SecurityGroup
	s.commit(func(tx *state.Tx, c Call) {
		v.ID = vpc.VPCID(c.IDs.New("vpc"))
		tx.Put(v)
		g = newDefaultGroup(tx, c, v)
	})
	return fmt.Sprintf("%s with %s\n", v.ID, g.ID)
}

func (s *story) networkInterface(words []string) string {
	i := &vpc.Interface{Scope: s.scope}
	for n, w := range words {
		if w == "of" {
			i.Attachment = &vpc.Attachment{Instance: vpc.InstanceID(words[n+1])}
			break
		}
		i.Groups = append(i.Groups, vpc.GroupID(w))
	}
	i.VPC = s.world.Group(i.Groups[0]).VPC
	s.commit(func(tx *state.Tx, c Call) {
		i.ID = vpc.InterfaceID(c.IDs.New("eni"))
		tx.Put(i)
	})
	return string(i.ID) + "\n"
}

// printWorld writes the VPCs, their groups and rules, and who carries the groups.
func printWorld(w *state.Snapshot) string {
	var out strings.Builder
	for e := range w.All(vpc.KindVPC) {
		v := e.(*vpc.VPC)
		fmt.Fprintf(&out, "%s %s of %s in %s\n", v.ID, v.Blocks[0].Prefix, v.Scope.Account, v.Scope.Region)
		for g := range w.GroupsOf(v.ID) {
			fmt.Fprintf(&out, "  %s %q %q%s\n", g.ID, g.Name, g.Description, printTags(g.Tags))
			for r := range w.RulesOf(g.ID) {
				fmt.Fprintf(&out, "    %s %s %s", r.ID, r.Direction, r.Identity().Describe())
				if r.Description != "" {
					fmt.Fprintf(&out, " %q", r.Description)
				}
				fmt.Fprintf(&out, "%s\n", printTags(r.Tags))
			}
			for i := range w.InterfacesWith(g.ID) {
				fmt.Fprintf(&out, "    on %s\n", i.ID)
			}
		}
	}
	return out.String()
}

func printTags(tags vpc.Tags) string {
	var out strings.Builder
	for _, t := range tags {
		fmt.Fprintf(&out, " %s=%q", t.Key, t.Value)
	}
	return out.String()
}

// Identifiers in stories.
const idKinds = `(sgr|sg|vpc-cidr-assoc|vpc|subnet-cidr-assoc|subnet|eni-attach|eni|dopt|i|r|vol|igw|rtb|acl)`

var (
	longID  = regexp.MustCompile(`\b` + idKinds + `-0[0-9a-f]{16}\b`)
	shortID = regexp.MustCompile(`\b` + idKinds + `-[0-9]{1,3}\b`)
)

func (s *story) shorten(text string) string {
	if s.token != "" {
		text = strings.ReplaceAll(text, s.token, "$token")
	}
	return longID.ReplaceAllStringFunc(text, func(id string) string {
		if _, ok := s.short[id]; !ok {
			kind := id[:strings.LastIndexByte(id, '-')]
			s.count[kind]++
			s.short[id] = fmt.Sprintf("%s-%d", kind, s.count[kind])
			s.long[s.short[id]] = id
		}
		return s.short[id]
	})
}

func (s *story) lengthen(text string) string {
	text = strings.ReplaceAll(text, "$token", s.token)
	return shortID.ReplaceAllStringFunc(text, func(id string) string {
		if long, ok := s.long[id]; ok {
			return long
		}
		return id
	})
}

// fields splits a line at blanks that are not in double quotes.
func fields(line string) []string {
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
func (s *story) print(raw []byte) string {
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

func (s *story) printElement(out *strings.Builder, e *element, indent string) {
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
