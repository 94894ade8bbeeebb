package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"

	"sallyport.dev/sallyport/internal/program"
)

// Sweep removes expired flows, inside the kernel, and frees policies and
// identities that nothing uses any more. The agent calls it every few seconds:
// an expired flow passes nothing, but it counts against its interface's budget.
func (d *Datapath) Sweep(ctx context.Context) error {
	out, err := d.sweepFlows()
	if err != nil {
		return fmt.Errorf("sweep flows: %w", err)
	}
	d.opts.Log.DebugContext(ctx, "swept flows", "flows", out.Flows, "expired", out.Expired)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.synced {
		return nil
	}
	return d.free()
}

// sweepFlows has the kernel look at every flow once.
func (d *Datapath) sweepFlows() (out kernelSwept, err error) {
	it, err := link.AttachIter(link.IterOptions{Program: d.k.Sweep})
	if err != nil {
		return out, fmt.Errorf("attach iterator: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	r, err := it.Open()
	if err != nil {
		return out, fmt.Errorf("open iterator: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := binary.Read(r, binary.NativeEndian, &out); err != nil {
		return out, fmt.Errorf("read iterator: %w", err)
	}
	return out, nil
}

// free deletes policies and identities without use, and gives back the numbers
// of interfaces that are neither bound nor attached.
func (d *Datapath) free() error {
	var policies []program.PolicyHash
	for hash, p := range d.policies {
		if p.refs == 0 {
			policies = append(policies, hash)
		}
	}
	var identities []string
	for key, i := range d.identities {
		if i.refs == 0 {
			identities = append(identities, key)
		}
	}
	if len(policies)+len(identities) > 0 {
		if err := barrier(); err != nil {
			return err
		}
	}
	t := d.k.tables()
	for _, hash := range policies {
		p := d.policies[hash]
		if err := errors.Join(d.keepHits(p), t.erase(p, d.identities), d.k.dropName(kindPolicy, p.num)); err != nil {
			return fmt.Errorf("free policy %s: %w", hash, err)
		}
		delete(d.policies, hash)
	}
	for _, key := range identities {
		i := d.identities[key]
		for _, p := range d.policies {
			if err := t.groups.remove(kernelGroupKey{Policy: p.num, Identity: i.num}); err != nil {
				return err
			}
		}
		if err := d.k.dropName(kindIdentity, i.num); err != nil {
			return err
		}
		delete(d.identities, key)
		delete(d.byNumber, i.num)
	}
	for id, i := range d.ifaces {
		if i.prog == nil && !i.attached && d.k.ifaces[i.num].Flows == 0 {
			if err := d.k.dropName(kindInterface, i.num); err != nil {
				return err
			}
			delete(d.ifaces, id)
		}
	}
	return nil
}
