package datapath

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"sallyport.dev/sallyport/internal/program"
)

// PinDirDefault is where maps, programs and links outlive the agent.
const PinDirDefault = "/sys/fs/bpf/sallyport"

// Sizes of the tables when Options says nothing. Tables that exist already keep theirs.
const (
	interfacesDefault        = 1024    // AWS-sized hosts have tens, labs hundreds
	flowsDefault             = 1 << 20 // 130 bytes each when used; 16 MiB of buckets
	flowsPerInterfaceDefault = 1 << 16
	membersDefault           = 1 << 20
	policyEntriesDefault     = 1 << 19 // prefixes, services, groups and hits, each
)

// Options of Open. A zero field means the default.
type Options struct {
	PinDir            string
	Interfaces        int // most interfaces, attached or bound
	Flows             int // most tracked flows of the host
	FlowsPerInterface int // each interface's budget; less when there are many, so that Flows is never exceeded
	Members           int
	PolicyEntries     int
	Log               *slog.Logger // nil: silent

	clsact bool // do without tcx, as old kernels must
}

func (o Options) withDefaults() Options {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	if o.PinDir == "" {
		o.PinDir = PinDirDefault
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	set(&o.Interfaces, interfacesDefault)
	set(&o.Flows, flowsDefault)
	set(&o.FlowsPerInterface, flowsPerInterfaceDefault)
	set(&o.Members, membersDefault)
	set(&o.PolicyEntries, policyEntriesDefault)
	return o
}

// Errors that callers tell apart.
var (
	// ErrFull: a table or the numbering has no room.
	ErrFull = errors.New("no room")
	// ErrOtherVersion: the pinned maps have another layout than this program.
	ErrOtherVersion = errors.New("pinned maps are of another version")
)

// Datapath is this host's packet filter. Its methods may be called at the same
// time; changes take turns.
type Datapath struct {
	opts Options
	k    *kernel

	mu         sync.Mutex
	synced     bool // a full Apply has succeeded; what follows is bookkeeping of what the kernel holds
	ifaces     map[program.InterfaceID]*iface
	policies   map[program.PolicyHash]*policy
	identities map[string]*identity // by Groups.Key
	byNumber   map[uint32]*identity
	networks   map[program.NetworkID]uint32
	gone       map[program.RuleID]Hit // credit of policies that are freed
	recovered  map[[16]byte]uint32    // identities found at Open, by hash, not claimed yet
}

// iface is an interface that has a number.
type iface struct {
	num      uint32
	prog     *program.Interface // nil: not bound
	addrs    map[kernelIp]uint32
	use      [2]*policy // by direction; nil: none
	attached bool
}

// policy is a policy that has a number. Its entries stay in the kernel until a
// Sweep finds it unused.
type policy struct {
	num     uint32
	tables  *program.Tables // rules and groups only, once written
	written bool
	refs    int // interface directions that use it

	prefixes []kernelPrefixKey // its entries
	services []kernelServiceKey
}

// identity is a set of groups that addresses carry.
type identity struct {
	num    uint32
	groups program.Groups
	refs   int // members that carry it
}

// Open loads the programs, finds or makes the pinned maps, and learns the
// numbering of an earlier process. It changes nothing that is enforced, except
// that programs which differ from this build's are replaced.
func Open(opts Options) (*Datapath, error) {
	opts = opts.withDefaults()
	if err := Probe(); err != nil {
		return nil, err
	}
	k, err := openKernel(opts)
	if err != nil {
		return nil, fmt.Errorf("open datapath at %s: %w", opts.PinDir, err)
	}
	d := &Datapath{
		opts: opts, k: k,
		ifaces:     map[program.InterfaceID]*iface{},
		policies:   map[program.PolicyHash]*policy{},
		identities: map[string]*identity{},
		byNumber:   map[uint32]*identity{},
		networks:   map[program.NetworkID]uint32{},
		gone:       map[program.RuleID]Hit{},
		recovered:  map[[16]byte]uint32{},
	}
	if err := d.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the numbering at %s: %w", opts.PinDir, err), k.close())
	}
	return d, nil
}

// Close lets go of the kernel's objects, which go on working.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.k.close()
}

// Remove detaches every interface and removes every trace: after it nothing is
// filtered. The Datapath is closed.
func (d *Datapath) Remove() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for id, i := range d.ifaces {
		errs = append(errs, d.detach(id, i))
	}
	errs = append(errs, d.k.close(), removePins(d.opts.PinDir))
	return errors.Join(errs...)
}
