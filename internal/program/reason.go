package program

// Reason says why a packet was passed or dropped. The numbers are shared with
// the kernel program (internal/datapath/datapath.c). The zero value is none.
type Reason uint8

// The reasons. Those from ReasonNoRule on are drops.
const (
	ReasonNone           Reason = iota
	ReasonKnownFlow             // belongs to a tracked flow, in either direction
	ReasonRule                  // admitted by a rule as the beginning of a tracked flow
	ReasonUntracked             // admitted by an all-address rule whose other direction is open
	ReasonUntrackedReply        // answers such a flow
	ReasonStateless             // TCP without a beginning, admitted by a rule, not recorded
	ReasonUnfiltered            // ARP, neighbour discovery, DHCP, the VPC's own services
	ReasonICMPError             // quotes a flow that may pass
	ReasonFragment              // follows its first fragment
	ReasonNoRule                // no rule admits it
	ReasonNoProgram             // the direction has no policy
	ReasonUnbound               // the interface has no program
	ReasonSpoofed               // does not carry the interface's own address
	ReasonMalformed             // could not be read
	ReasonOrphanFragment        // its first fragment was not seen or not passed
	ReasonBudget                // the interface has no room for a new flow
	ReasonEtherType             // neither IPv4, IPv6 nor ARP
	ReasonHeaders               // too many extension headers
	reasonEnd
)

// Reasons is how many reasons there are; Reason values are below it.
const Reasons = int(reasonEnd)

var reasonNames = [Reasons]string{
	"none", "known-flow", "rule", "untracked", "untracked-reply", "stateless", "unfiltered", "icmp-error",
	"fragment", "no-rule", "no-program", "unbound", "spoofed", "malformed", "orphan-fragment", "budget",
	"ether-type", "headers",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "none"
}

// Allows says whether packets pass for this reason.
func (r Reason) Allows() bool { return r > ReasonNone && r < ReasonNoRule }
