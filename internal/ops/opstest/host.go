package opstest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/group"
	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/ops"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// lab is what a story says of hosts and of what they tell.
type lab struct {
	later      time.Duration
	noUserData bool
	consoles   map[vpc.InstanceID]string
}

func (l *lab) console(id vpc.InstanceID) ([]byte, time.Time, bool) {
	text, ok := l.consoles[id]
	return []byte(text), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), ok
}

// hostDirective plays the directives of what happens without a client.
func (s *Story) hostDirective(words []string) string {
	switch words[0] {
	case "region":
		return s.Try(func(tx *state.Tx, c call.Call) error {
			return network.EnsureRegion(tx, c)
		}) + s.printDefaults()
	case "host":
		h := vpc.Host{ID: vpc.HostID(words[1]), Capacity: s.number(words[2])}
		if len(words) > 3 {
			h.Region = vpc.Region(words[3])
		}
		return s.Try(func(tx *state.Tx, c call.Call) error { return instance.RegisterHost(tx, c, h) })
	case "placed":
		var out strings.Builder
		for h := range s.World.Hosts() {
			fmt.Fprintf(&out, "%s with room for %d:", h.ID, h.Capacity)
			for i := range s.World.InstancesOn(h.ID) {
				fmt.Fprintf(&out, " %s", i.ID)
			}
			out.WriteByte('\n')
		}
		return out.String()
	case "no-host":
		s.Commit(func(tx *state.Tx, _ call.Call) { tx.Delete(tx.Host(vpc.HostID(words[1]))) })
		return ""
	case "report":
		r := instance.Report{ID: vpc.InstanceID(words[2]), Condition: instance.Condition(words[3]), Boot: 1}
		if len(words) > 4 {
			r.Boot = int64(s.number(words[4]))
		}
		if len(words) > 5 {
			r.Reason = words[5]
		}
		out := s.Try(func(tx *state.Tx, c call.Call) error {
			return instance.ReportInstances(tx, c, vpc.HostID(words[1]), []instance.Report{r})
		})
		if i := s.World.Instance(r.ID); i != nil {
			out += fmt.Sprintf("%s %s\n", i.ID, i.State)
		}
		return out
	case "later":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.lab.later += d
		s.Commit(func(tx *state.Tx, c call.Call) { ops.Reap(tx, c.Now) })
		return ""
	case "console":
		if s.lab.consoles == nil {
			s.lab.consoles = map[vpc.InstanceID]string{}
		}
		s.lab.consoles[vpc.InstanceID(words[1])] = words[2]
		return ""
	case "user-data":
		s.lab.noUserData = words[1] == "off"
		return ""
	}
	s.t.Fatalf("no directive %q", words[0])
	return ""
}

func (s *Story) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// Try commits what f does unless it fails.
func (s *Story) Try(f func(tx *state.Tx, c call.Call) error) string {
	tx := s.World.Begin()
	if err := f(tx, s.NewCall("")); err != nil {
		e := apierr.From(err)
		return fmt.Sprintf("error %s: %s\n", e.Code, e.Message)
	}
	s.World = tx.Next(s.World.Revision() + 1)
	return ""
}

func (s *Story) printDefaults() string {
	v := s.World.DefaultVPC(s.Scope)
	if v == nil {
		out := "no default VPC\n"
		if g := s.World.ClassicGroupNamed(s.Scope, vpc.DefaultGroupName); g != nil {
			out += fmt.Sprintf("EC2-Classic with %s\n", g.ID)
		}
		return out
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s with %s\n", v.ID, v.Blocks[0].Prefix, group.DefaultOf(s.World.Begin(), v.ID).ID)
	for _, z := range network.Zones(s.Scope.Region) {
		for e := range s.World.SubnetsOf(v.ID) {
			if e.Zone == z {
				fmt.Fprintf(&out, "  %s %s %s\n", e.ID, e.Zone, e.Block)
			}
		}
	}
	return out.String()
}
