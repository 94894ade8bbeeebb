// Package feed is the protocol between the server and the agent of a host: one
// gRPC stream per host, on which the server sends what the host should have in
// place, by revision, and the agent answers what its kernel has. Here are the
// messages, their reading and writing, the transports with their proof of who
// speaks, enrolment, the server's end of a stream and the agent's.
//
// It does not decide what a host should have (package publish) nor what to do
// about it (package agent).
//
// Invariants: a batch that cannot be read whole is refused whole; a batch in
// many parts is handed on at once or not at all; a batch that is not full is
// handed on only if it starts from the revision that the reader holds; nothing
// queues without bound: a slow reader slows its own stream, and both ends keep
// only their newest state.
package feed

import (
	"errors"
	"maps"
	"time"

	"sallyport.dev/sallyport/internal/program"
)

// Protocol is the version of the protocol that this build speaks. A server
// serves this version and older ones down to protocolMin; upgrade servers first.
//
//	1 (2026-11): the first.
//	2 (2026-11): connections between networks. An agent that knows none of them would leave peered networks apart and
//	call them enforced.
const Protocol = 2

const protocolMin = 2

// ErrRefused marks an end of a stream that trying again will not mend: a wrong
// name, a protocol too new. It is tried again at the slowest pace all the same,
// since the other side may be upgraded.
var ErrRefused = errors.New("refused")

// HostID is the name of a host, chosen by its operator, proved by its certificate.
type HostID string

// Position is a point in what one process of a server sent to a host. Epochs
// keep a restarted server from trusting the revision of its predecessor's world.
type Position struct {
	Epoch    string
	Revision program.Revision // 0: nothing
}

// Hello is what an agent says of its host first.
type Hello struct {
	Host     HostID
	Protocol int // read from the stream; a client always says Protocol
	Build    string
	Region   string // empty: serves every region
	Capacity int    // lab instances it has room for; 0: none
	Has      Position
}

// State says how a host enforces an interface. The zero value claims nothing.
type State uint8

// The states of an interface on its host.
const (
	Pending     State = iota // not in the kernel yet; what passes is what was enforced before, else nothing
	Enforced                 // the kernel has the receipt's revision
	NotEnforced              // the kernel could not be given it; see the reason
	Unbound                  // no link here, so nothing can pass: its instance is stopped, say
	stateEnd
)

func (s State) String() string {
	switch s {
	case Enforced:
		return "enforced"
	case NotEnforced:
		return "not-enforced"
	case Unbound:
		return "unbound"
	default:
		return "pending"
	}
}

// InterfaceStatus is what a host says of one interface.
type InterfaceStatus struct {
	State    State
	Reason   string           // why it is not enforced; empty if it is
	Revision program.Revision // the last one enforced, kept while State is another; 0: none
}

// Receipt is what changed in a host's kernel since the stream's last receipt.
type Receipt struct {
	Revision   program.Revision // that the kernel has; 0: none yet
	Full       bool             // names every interface, the first of a stream
	Problem    string           // why a newer revision is not in the kernel; empty: none
	KernelTime time.Time        // when the kernel had Revision; zero: never
	Interfaces map[program.InterfaceID]InterfaceStatus
	Gone       []program.InterfaceID // no longer this host's
}

// InstanceState says how a lab instance fares on its host.
type InstanceState uint8

// The states that a host reports of an instance.
const (
	InstanceUp     InstanceState = iota + 1 // it runs this boot
	InstanceGone                            // nothing of it runs here
	InstanceFailed                          // it could not be started or stopped; tried again
	instanceStateEnd
)

func (s InstanceState) String() string {
	switch s {
	case InstanceUp:
		return "up"
	case InstanceGone:
		return "gone"
	case InstanceFailed:
		return "failed"
	default:
		return "unknown"
	}
}

// InstanceReport is what a host says of one lab instance.
type InstanceReport struct {
	Boot   int64 // the start that State is about
	State  InstanceState
	Reason string // why it failed; empty otherwise
}

// Report is all that an agent has to say: its whole state, of which a client
// sends what the server has not heard yet. It is not changed once handed over.
type Report struct {
	Revision   program.Revision
	Problem    string
	KernelTime time.Time
	Interfaces map[program.InterfaceID]InterfaceStatus
	Instances  map[program.InstanceID]InstanceReport
}

// Question is something a server wants to know now.
type Question struct {
	ID      uint64
	Console program.InstanceID // whose console output
}

// Answer is what an agent says to a question.
type Answer struct {
	Output  []byte
	Problem string // empty: answered
}

// Batch is a change of what a host should have, and where it starts from.
type Batch struct {
	Base  program.Revision // meaningless if Delta is full
	Delta *program.Delta
}

// Squash adds next to into, as if next had been part of it: a host that applies
// into then is as if it had applied both. The caller owns into; next is only read.
func Squash(into, next *program.Delta) {
	if next.Full {
		*into = program.Delta{
			Revision: next.Revision, Full: true,
			Interfaces: maps.Clone(next.Interfaces), Policies: maps.Clone(next.Policies),
			Members: maps.Clone(next.Members), Networks: maps.Clone(next.Networks),
			Instances: maps.Clone(next.Instances), Connections: maps.Clone(next.Connections),
		}
		return
	}
	into.Revision = next.Revision
	squash(&into.Interfaces, next.Interfaces, into.Full)
	squash(&into.Policies, next.Policies, into.Full)
	squash(&into.Networks, next.Networks, into.Full)
	squash(&into.Instances, next.Instances, into.Full)
	squash(&into.Connections, next.Connections, into.Full)
	for m, groups := range next.Members {
		if into.Full && len(groups) == 0 {
			delete(into.Members, m)
			continue
		}
		if into.Members == nil {
			into.Members = map[program.Member]program.Groups{}
		}
		into.Members[m] = groups
	}
}

func squash[K comparable, V any](into *map[K]*V, next map[K]*V, full bool) {
	for k, v := range next {
		if full && v == nil {
			delete(*into, k)
			continue
		}
		if *into == nil {
			*into = map[K]*V{}
		}
		(*into)[k] = v
	}
}
