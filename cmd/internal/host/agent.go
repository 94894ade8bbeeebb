//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"

	"sallyport.dev/sallyport/internal/agent"
	"sallyport.dev/sallyport/internal/bind"
	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/feed"
	"sallyport.dev/sallyport/internal/program"
)

// AgentOptions are what a host's agent is told.
type AgentOptions struct {
	ID       feed.HostID
	Server   feed.Endpoint
	Region   string // empty: the host serves every region
	Capacity int
	Build    string
}

// Agent opens the kernel's side and gives what runs this host's agent until its
// context ends. It fails if another process is the installation's host side, or
// if the kernel cannot enforce.
func (h *Host) Agent(o AgentOptions) (run func(context.Context) error, err error) {
	release, err := h.Lock()
	if err != nil {
		return nil, err
	}
	d, err := h.Datapath()
	if err != nil {
		release()
		return nil, err
	}
	a := agent.New(agent.Options{
		Hello:  feed.Hello{Host: o.ID, Build: o.Build, Region: o.Region, Capacity: o.Capacity},
		Server: o.Server, Datapath: kernel{d}, Lab: carried{h}, Log: h.log,
	})
	return func(ctx context.Context) error {
		defer release()
		return errors.Join(a.Run(ctx), d.Close())
	}, nil
}

// kernel is the datapath as the agent sees it.
type kernel struct{ *datapath.Datapath }

func (k kernel) Attach(id program.InterfaceID, at agent.Attachment) error {
	return k.Datapath.Attach(id, datapath.Attachment{NetNS: at.NetNS, IfIndex: at.IfIndex, Reversed: at.Reversed})
}

// carried is the lab as the agent sees it.
type carried struct{ *Host }

func (c carried) List() (agent.Inventory, error) {
	inv, err := c.Fabric.List()
	if err != nil {
		return agent.Inventory{}, err
	}
	all, err := c.Lab.List()
	if err != nil {
		return agent.Inventory{}, err
	}
	out := agent.Inventory{Networks: inv.Networks}
	for _, c := range inv.Connections {
		out.Connections = append(out.Connections, agent.Connected(c))
	}
	for _, s := range all {
		out.Instances = append(out.Instances, s.ID)
	}
	return out, nil
}

func (c carried) EnsureNetwork(n *program.Network) error { return c.Fabric.EnsureVPC(n) }

func (c carried) RemoveNetwork(id program.NetworkID) error { return c.Fabric.RemoveVPC(id) }

func (c carried) EnsureConnection(way *program.Connection) error {
	return c.Fabric.EnsureConnection(way)
}

func (c carried) RemoveConnection(id program.ConnectionID) error {
	return c.Fabric.RemoveConnection(id)
}

func (c carried) Prepare(i *program.Instance) (map[program.InterfaceID]agent.Attachment, error) {
	bound, err := c.Lab.Prepare(i)
	if err != nil {
		return nil, err
	}
	out := map[program.InterfaceID]agent.Attachment{}
	for _, b := range bound {
		out[b.Interface] = agent.Attachment{NetNS: b.NetNS, IfIndex: b.IfIndex, Reversed: b.Reversed}
	}
	return out, nil
}

// Start runs the instance; a host that cannot hold one of its limits says so.
// User data that could not be run leaves the instance up.
func (c carried) Start(i *program.Instance) error {
	failed := c.Lab.Start(i)
	s, err := c.Lab.Status(i.ID)
	switch {
	case err != nil:
		return errors.Join(failed, fmt.Errorf("reading back %s: %w", i.ID, err))
	case failed != nil && (!s.Running || s.Boot != i.Boot):
		return failed
	}
	for _, limit := range s.Unlimited {
		c.log.Warn("an instance runs without a limit", "instance", i.ID, "limit", limit)
	}
	if s.UserData == bind.UserDataFailed {
		c.log.Warn("user data did not run", "instance", i.ID, "reason", s.Problem)
	}
	return nil
}

func (c carried) Stop(id program.InstanceID) error { return c.Lab.Stop(id) }

func (c carried) Terminate(id program.InstanceID) error { return c.Lab.Terminate(id) }

func (c carried) Console(id program.InstanceID) ([]byte, error) {
	out, _, err := c.Lab.Console(id)
	return out, err
}
