// Package opstest plays stories for the tests of every room of operations: calls as clients make them, against the
// whole table of actions, and what is answered. It checks on the way that an operation that is run again answers
// and writes the same, and that one that only reads writes nothing.
//
// It is not part of any program: only tests import it.
package opstest

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/acl"
	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/gateway"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/story")

// PlayStories plays each text of testdata/story: calls as clients make them, and what they are answered.
//
// A story is a sequence of stanzas: lines of directives, a line of four hyphens, the answers, an empty line.
//
//	call Action Name=value Name="two words"   one request; the answer is its response or its error
//	repeat 50 Action Name=value-%d            many requests, numbered from 1; the answer is the first error
//	vpc 10.0.0.0/16 [default] [ipv6]          a VPC with all that it is born with
//	interface sg-1 [sg-2 …] [of i-1]          an interface that carries groups, in the VPC of the first one
//	as 000000000002 [eu-west-1]               who calls from here on
//	account 000000000002 [classic]            an account, with EC2-Classic or without
//	version 2010-11-15                        the API version of the calls from here on
//	quota [profile=aws-today] [vpcs-per-region=3 …]   what the caller may have from here on; nothing: as the profile says
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
func PlayStories(t *testing.T) {
	t.Helper()
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
			got := NewStory(t).Play(string(want))
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

// Story is a world and who calls in it.
type Story struct {
	World *state.Snapshot
	Scope vpc.Scope // whose calls the next ones are
	// Answered, if it is set, is told the body of each answer that was no error, with short identifiers.
	Answered func(action, body string)

	t     *testing.T
	calls int
	short map[string]string // identifier → as the story writes it
	long  map[string]string
	count map[string]int
	token string
	lab   lab

	version ec2.Version
}

// NewStory begins with an empty world, in which one account calls.
func NewStory(t *testing.T) *Story {
	t.Helper()
	return &Story{
		t: t, World: state.NewSnapshot(),
		Scope:   vpc.Scope{Region: "us-east-1", Account: "000000000001"},
		version: ec2.VersionCurrent,
		short:   map[string]string{}, long: map[string]string{}, count: map[string]int{},
	}
}

// Play plays a text and returns it with the answers that there were.
func (s *Story) Play(text string) string {
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

func (s *Story) directive(line string) string {
	words := Fields(s.Lengthen(line))
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
		return s.VPC(words[1], words[2:])
	case "interface":
		return s.networkInterface(words[1:])
	case "as":
		s.Scope.Account = vpc.AccountID(words[1])
		if len(words) > 2 {
			s.Scope.Region = vpc.Region(words[2])
		}
		return ""
	case "version":
		s.version = ec2.Version(words[1])
		return ""
	case "account":
		s.Commit(func(tx *state.Tx, _ call.Call) {
			tx.Put(&vpc.Account{ID: vpc.AccountID(words[1]), Classic: slices.Contains(words, "classic")})
		})
		return ""
	case "quota":
		return s.quota(words[1:])
	case "world":
		return printWorld(s.World)
	}
	return s.hostDirective(words)
}

// NewCall is the next call of the story, a second after the last one and with identifiers of its own.
func (s *Story) NewCall(action string) call.Call {
	s.calls++
	return call.Call{
		Scope: s.Scope, Action: action, Version: s.version, RequestID: "request",
		Principal: call.Principal{ARN: "arn:aws:iam::" + string(s.Scope.Account) + ":root", UserID: string(s.Scope.Account)},
		Now:       time.Date(2026, 1, 1, 0, 0, s.calls, 0, time.UTC).Add(s.lab.later),
		IDs:       s.ids(),
		Endpoint:  "127.0.0.1:4750",
		UserData:  !s.lab.noUserData,
		Console:   s.lab.console,
	}
}

func (s *Story) ids() *call.IDs {
	return call.NewIDs(sha256.Sum256([]byte(strconv.Itoa(s.calls))))
}

func (s *Story) call(action string, params []string) string {
	res, err := s.Do(action, params)
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
	body := ec2.AppendResponse(nil, a, ec2.VersionCurrent, "request", res)
	if s.Answered != nil {
		s.Answered(action, s.shorten(string(body)))
	}
	return s.print(body)
}

// Do decodes a request, runs it twice on the same world, since that must not make a difference, and commits it.
func (s *Story) Do(action string, params []string) (ec2.Response, error) {
	form := make([]string, len(params))
	for i, p := range params {
		name, value, _ := strings.Cut(p, "=")
		form[i] = url.QueryEscape(name) + "=" + url.QueryEscape(value)
	}
	parsed, err := ec2.ParseForm(strings.Join(form, "&"))
	if err != nil {
		return nil, err
	}
	op, ok := ops.Lookup(action)
	if !ok {
		return nil, ops.NotServed(action)
	}
	req, err := ec2.Decode(action, parsed)
	if err != nil {
		return nil, err
	}
	c := s.NewCall(action)
	tx, again := s.World.Begin(), s.World.Begin()
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
		s.World = tx.Next(s.World.Revision() + 1)
	}
	return res, err
}

// MustDo is Do for what cannot be refused.
func (s *Story) MustDo(action string, params ...string) ec2.Response {
	s.t.Helper()
	res, err := s.Do(action, params)
	if err != nil {
		s.t.Fatalf("%s %q: %v", action, params, err)
	}
	return res
}

// Commit runs f on the world, for what no action makes.
func (s *Story) Commit(f func(tx *state.Tx, c call.Call)) {
	tx := s.World.Begin()
	f(tx, s.NewCall(""))
	s.World = tx.Next(s.World.Revision() + 1)
}

// VPC puts a VPC, with what every one is born with, into the world, as the directive vpc does.
func (s *Story) VPC(cidr string, options []string) string {
	v := &vpc.VPC{
		Scope:   s.Scope,
		Blocks:  []vpc.Block{{Prefix: netip.MustParsePrefix(cidr)}},
		Default: slices.Contains(options, "default"),
	}
	if slices.Contains(options, "ipv6") {
		v.IPv6Blocks = []vpc.Block{{Prefix: netip.MustParsePrefix("2001:db8::/56")}}
	}
	var g *vpc.SecurityGroup
	s.Commit(func(tx *state.Tx, c call.Call) {
		v.ID = vpc.VPCID(c.IDs.New("vpc"))
		tx.Put(v)
		g = group.NewDefault(tx, c, v)
		gateway.Surround(tx, c, v)
		acl.Surround(tx, c, v)
	})
	return fmt.Sprintf("%s with %s\n", v.ID, g.ID)
}

func (s *Story) networkInterface(words []string) string {
	i := &vpc.Interface{Scope: s.Scope}
	for n, w := range words {
		if w == "of" {
			i.Attachment = &vpc.Attachment{Instance: vpc.InstanceID(words[n+1])}
			break
		}
		i.Groups = append(i.Groups, vpc.GroupID(w))
	}
	i.VPC = s.World.Group(i.Groups[0]).VPC
	s.Commit(func(tx *state.Tx, c call.Call) {
		i.ID = vpc.InterfaceID(c.IDs.New("eni"))
		tx.Put(i)
	})
	return string(i.ID) + "\n"
}
