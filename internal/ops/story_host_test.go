package ops

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
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
func (s *story) hostDirective(words []string) string {
	switch words[0] {
	case "region":
		return s.try(func(tx *state.Tx, c Call) error {
			return EnsureRegion(tx, c)
		}) + s.printDefaults()
	case "host":
		h := vpc.Host{ID: vpc.HostID(words[1]), Capacity: s.number(words[2])}
		if len(words) > 3 {
			h.Region = vpc.Region(words[3])
		}
		return s.try(func(tx *state.Tx, c Call) error { return RegisterHost(tx, c, h) })
	case "placed":
		var out strings.Builder
		for h := range s.world.Hosts() {
			fmt.Fprintf(&out, "%s with room for %d:", h.ID, h.Capacity)
			for i := range s.world.InstancesOn(h.ID) {
				fmt.Fprintf(&out, " %s", i.ID)
			}
			out.WriteByte('\n')
		}
		return out.String()
	case "no-host":
		s.commit(func(tx *state.Tx, _ Call) { tx.Delete(tx.Host(vpc.HostID(words[1]))) })
		return ""
	case "report":
		r := InstanceReport{ID: vpc.InstanceID(words[2]), Condition: InstanceCondition(words[3]), Boot: 1}
		if len(words) > 4 {
			r.Boot = int64(s.number(words[4]))
		}
		if len(words) > 5 {
			r.Reason = words[5]
		}
		out := s.try(func(tx *state.Tx, c Call) error {
			return ReportInstances(tx, c, vpc.HostID(words[1]), []InstanceReport{r})
		})
		if i := s.world.Instance(r.ID); i != nil {
			out += fmt.Sprintf("%s %s\n", i.ID, i.State)
		}
		return out
	case "later":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.lab.later += d
		s.commit(func(tx *state.Tx, c Call) { Reap(tx, c.Now) })
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

func (s *story) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// try commits what f does unless it fails.
func (s *story) try(f func(tx *state.Tx, c Call) error) string {
	tx := s.world.Begin()
	if err := f(tx, s.newCall("")); err != nil {
		e := apierr.From(err)
		return fmt.Sprintf("error %s: %s\n", e.Code, e.Message)
	}
	s.world = tx.Next(s.world.Revision() + 1)
	return ""
}

func (s *story) printDefaults() string {
	v := s.world.DefaultVPC(s.scope)
	if v == nil {
		return "no default VPC\n"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s with %s\n", v.ID, v.Blocks[0].Prefix, defaultGroupOf(s.world.Begin(), v.ID).ID)
	for _, z := range zones(s.scope.Region) {
		for e := range s.world.SubnetsOf(v.ID) {
			if e.Zone == z {
				fmt.Fprintf(&out, "  %s %s %s\n", e.ID, e.Zone, e.Block)
			}
		}
	}
	return out.String()
}
