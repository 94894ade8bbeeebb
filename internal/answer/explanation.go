package answer

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/internal/explain"
	"sallyport.dev/sallyport/internal/packet"
	"sallyport.dev/sallyport/internal/vpc"
)

// Explanation is the answer of explain.
type Explanation struct {
	Reachable bool
	Flow      Flow
	NoWay     string `json:",omitempty"` // why there is no path whatever the groups say
	Sides     []Side
}

// Flow is the packet that was asked about.
type Flow struct {
	Protocol            string
	Source, Destination string
	Port                *uint16 `json:",omitempty"`
	IcmpType, IcmpCode  *uint8  `json:",omitempty"`
}

// Side is what one interface says of the flow. Of another account's it tells address, owner and verdict.
type Side struct {
	NetworkInterfaceID string   `json:"NetworkInterfaceId,omitempty"` // absent: another account's
	InstanceID         string   `json:"InstanceId,omitempty"`
	OwnerID            string   `json:"OwnerId"`
	PrivateIPAddress   string   `json:"PrivateIpAddress"` // the one that the flow has
	Direction          string   // egress at the sender, ingress at the receiver
	Verdict            string   // allow or deny
	Reason             string   `json:",omitempty"` // rule, no-rule, unfiltered, spoofed, reply
	Groups             []string `json:",omitempty"` // the interface's
	Rule               *Rule    `json:",omitempty"` // the rule that is credited
	AlsoAdmitting      []Rule   `json:",omitempty"` // others that would do
	Tracked            bool     // the flow outlives its rule, and its answers pass
	Missing            string   `json:",omitempty"` // what would have to be there
}

// Rule is a rule in an explanation.
type Rule struct {
	SecurityGroupRuleID string `json:"SecurityGroupRuleId"`
	GroupID             string `json:"GroupId"`
	Text                string
	Description         string `json:",omitempty"`
}

// Explain is the explanation of an answer.
func Explain(a explain.Answer) Explanation {
	out := Explanation{Reachable: a.Reachable, NoWay: a.NoWay, Sides: []Side{}, Flow: Flow{
		Protocol: a.Tuple.Proto.String(), Source: a.Tuple.Src.String(), Destination: a.Tuple.Dst.String(),
	}}
	switch {
	case a.Tuple.Proto.HasPorts():
		out.Flow.Port = new(a.Tuple.DstPort)
	case a.Tuple.Proto.HasTypes():
		out.Flow.IcmpType, out.Flow.IcmpCode = new(a.Tuple.Type), new(a.Tuple.Code)
	}
	for _, s := range a.Sides {
		side := Side{
			OwnerID:          string(s.Owner),
			PrivateIPAddress: s.Local.String(),
			Direction:        s.Direction.String(),
			Verdict:          s.Judgement.Verdict.String(),
			Reason:           string(s.Judgement.Why),
			Tracked:          s.Judgement.Tracked,
			Missing:          s.Missing,
		}
		if i := s.Interface; i != nil {
			side.NetworkInterfaceID = string(i.ID)
			if i.Attachment != nil {
				side.InstanceID = string(i.Attachment.Instance)
			}
			for _, g := range i.Groups {
				side.Groups = append(side.Groups, string(g))
			}
		}
		for _, r := range s.Judgement.Admitting {
			if r == s.Judgement.Rule {
				side.Rule = new(ruleOf(r))
			} else {
				side.AlsoAdmitting = append(side.AlsoAdmitting, ruleOf(r))
			}
		}
		out.Sides = append(out.Sides, side)
	}
	return out
}

func ruleOf(r *vpc.Rule) Rule {
	return Rule{
		SecurityGroupRuleID: string(r.ID), GroupID: string(r.Group),
		Text: r.Identity().Describe(), Description: r.Description,
	}
}

// name says which rule it is; what EC2-Classic lets out is no rule of a group.
func (r *Rule) name() string {
	if r.GroupID == "" {
		return r.SecurityGroupRuleID
	}
	return r.SecurityGroupRuleID + " of " + r.GroupID
}

// Text is the explanation for people.
func (e Explanation) Text() string {
	var b strings.Builder
	word := "NOT REACHABLE"
	if e.Reachable {
		word = "REACHABLE"
	}
	fmt.Fprintf(&b, "%s: %s\n", word, e.Flow)
	if e.NoWay != "" {
		fmt.Fprintf(&b, "  no way: %s\n", e.NoWay)
	}
	for _, s := range e.Sides {
		who := s.NetworkInterfaceID
		switch {
		case who == "":
			who = s.PrivateIPAddress + " of account " + s.OwnerID
		case s.InstanceID != "":
			who += " of " + s.InstanceID
		}
		fmt.Fprintf(&b, "  %s at %s: %s", s.Direction, who, s.Verdict)
		switch {
		case s.Rule != nil:
			tracked := "tracked"
			if !s.Tracked {
				tracked = "untracked"
			}
			fmt.Fprintf(&b, " by %s (%s), %s", s.Rule.name(), s.Rule.Text, tracked)
		case s.Missing != "":
			fmt.Fprintf(&b, ": %s", s.Missing)
		case s.Reason != "":
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (f Flow) String() string {
	what := f.Protocol
	switch {
	case f.Port != nil:
		what = fmt.Sprintf("%s %d", f.Protocol, *f.Port)
	case f.IcmpType != nil:
		what = fmt.Sprintf("%s type %d code %d", f.Protocol, *f.IcmpType, *f.IcmpCode)
	}
	return fmt.Sprintf("%s from %s to %s", what, f.Source, f.Destination)
}

// ParseService reads protocol and port as the command line gives them: a port,
// or for ICMP a type or type-code (an echo request where neither is given).
func ParseService(protocol, port string) (packet.Service, error) {
	proto, err := packet.ParseProto(protocol)
	if err != nil || proto == packet.AllProtos {
		return packet.Service{}, fmt.Errorf("protocol %q: name one protocol, or its number", protocol)
	}
	s := packet.Service{Proto: proto}
	switch {
	case proto.HasPorts():
		var n uint16
		if _, err := fmt.Sscanf(port, "%d", &n); err != nil || fmt.Sprint(n) != port {
			return packet.Service{}, fmt.Errorf("port %q: %s needs one port, 0 to 65535", port, proto)
		}
		s.Ports = packet.PortRange{From: n, To: n}
	case proto.HasTypes():
		return parseType(s, port)
	case port != "":
		return packet.Service{}, fmt.Errorf("port %q: protocol %s has none", port, proto)
	}
	return s, nil
}

func parseType(s packet.Service, text string) (packet.Service, error) {
	if text == "" {
		if s.Type = 8; s.Proto == packet.ICMPv6 {
			s.Type = 128
		}
		return s, nil
	}
	kind, code, both := strings.Cut(text, "-")
	if !both {
		code = "0"
	}
	var t, c uint8
	if _, err := fmt.Sscanf(kind+" "+code, "%d %d", &t, &c); err != nil || fmt.Sprintf("%d %d", t, c) != kind+" "+code {
		return packet.Service{}, fmt.Errorf("port %q: for %s give a type, or type-code, each 0 to 255", text, s.Proto)
	}
	s.Type, s.Code = int16(t), int16(c)
	return s, nil
}
