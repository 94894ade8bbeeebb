package instance

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// userDataMax is EC2's bound on user data, in bytes before base64.
const userDataMax = 16 << 10

// defaultInstanceType is the type of an instance that is launched without one, as EC2's.
const defaultInstanceType = "m1.small"

// launch is what RunInstances is asked for, read.
type launch struct {
	min, max   int
	model      vpc.Instance // what all instances of the call have in common
	interfaces []device     // the primary one first
	tags       map[ec2.ResourceType]vpc.Tags
}

// device is an interface that each instance is to have.
type device struct {
	index               int
	existing            *vpc.Interface // nil: it is made
	deleteOnTermination bool
	newInterface
}

func runInstances(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest) (*ec2.Reservation, error) {
	same := *in
	same.ClientToken, same.DryRun = nil, nil
	answer := func(list []*vpc.Instance) *ec2.Reservation { return &reservations(tx.Snapshot, list)[0] }
	first := func() (*ec2.Reservation, []string, error) {
		l, err := readLaunch(tx, c, in)
		if err != nil {
			return nil, nil, err
		}
		made, err := l.run(tx, c)
		if err != nil {
			return nil, nil, err
		}
		ids := make([]string, len(made))
		for i := range made {
			ids[i] = string(made[i].ID)
		}
		return answer(made), ids, nil
	}
	again := func(ids []string) (*ec2.Reservation, error) {
		var made []*vpc.Instance
		for _, id := range ids {
			i := tx.Instance(vpc.InstanceID(id))
			if i == nil || i.State == vpc.Terminated {
				return nil, apierr.New(apierr.CodeIdempotentInstanceTerminated,
					"The client token '%s' was used by an instance that is terminated: %s", call.Text(in.ClientToken), id)
			}
			made = append(made, i)
		}
		return answer(made), nil
	}
	return call.Once(tx, c, in.ClientToken, &same, first, again)
}

// readLaunch reads a request to launch, but for what depends on the number of instances.
func readLaunch(tx *state.Tx, c call.Call, in *ec2.RunInstancesRequest) (*launch, error) {
	if err := launchable(in); err != nil {
		return nil, err
	}
	l := &launch{min: int(*in.MinCount), max: int(*in.MaxCount)}
	if l.min < 1 || l.max < l.min {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%d) for parameter minCount is invalid. It must be from 1 to maxCount (%d).", l.min, l.max)
	}
	if in.ImageId == nil {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter ImageId")
	}
	image, err := findImage(tx, c, *in.ImageId)
	if err != nil {
		return nil, err
	}
	data, err := readUserData(c, in.UserData)
	if err != nil {
		return nil, err
	}
	behavior, err := readShutdownBehavior(string(cmp.Or(in.InstanceInitiatedShutdownBehavior, ec2.ShutdownBehaviorStop)))
	if err != nil {
		return nil, err
	}
	l.tags, err = call.NewTags(tx, c, in.TagSpecifications,
		ec2.ResourceTypeInstance, ec2.ResourceTypeNetworkInterface, ec2.ResourceTypeVolume)
	if err != nil {
		return nil, err
	}
	l.model = vpc.Instance{
		Scope: c.Scope, Image: image.ID, Type: cmp.Or(string(in.InstanceType), defaultInstanceType),
		KeyName: call.Text(in.KeyName), State: vpc.Pending, Boot: 1, UserData: data, ClientToken: call.Text(in.ClientToken),
		DisableAPITermination: call.Yes(in.DisableApiTermination), DisableAPIStop: call.Yes(in.DisableApiStop),
		ShutdownBehavior: behavior, Monitoring: in.Monitoring != nil && call.Yes(in.Monitoring.Enabled),
		EBSOptimized: call.Yes(in.EbsOptimized), Launched: c.Now, Tags: l.tags[ec2.ResourceTypeInstance],
	}
	if err := checkTypeName(l.model.Type); err != nil {
		return nil, err
	}
	if l.interfaces, err = readDevices(tx, c, in); err != nil {
		return nil, err
	}
	if l.interfaces[0].vpc().Classic() {
		if err := checkClassicType(l.model.Type); err != nil {
			return nil, err
		}
	}
	return l, l.checkCount()
}

// launchable refuses what no lab instance can have. Settings of virtual hardware (processor, credits, disks,
// metadata service) are let through: there is none that they could be wrong about.
func launchable(in *ec2.RunInstancesRequest) error {
	switch {
	case in.LaunchTemplate != nil:
		return call.Unsupported("launch templates")
	case in.InstanceMarketOptions != nil:
		return call.Unsupported("spot instances")
	case in.HibernationOptions != nil && call.Yes(in.HibernationOptions.Configured):
		return call.Unsupported("hibernating instances")
	case in.EnclaveOptions != nil && call.Yes(in.EnclaveOptions.Enabled):
		return call.Unsupported("enclaves")
	case len(in.ElasticGpuSpecification) > 0 || len(in.ElasticInferenceAccelerators) > 0:
		return call.Unsupported("accelerators")
	case in.IamInstanceProfile != nil:
		return call.Unsupported("instance profiles")
	case in.KernelId != nil || in.RamdiskId != nil:
		return call.Unsupported("kernels or RAM disks of instances' own")
	case len(in.SecondaryInterfaces) > 0:
		return call.Unsupported("secondary networks")
	}
	if p := in.Placement; p != nil {
		switch {
		case p.Tenancy != "" && p.Tenancy != ec2.TenancyDefault:
			return call.Unsupported("dedicated hosts")
		case call.Text(p.GroupName) != "" || call.Text(p.GroupId) != "" || p.PartitionNumber != nil:
			return call.Unsupported("placement groups")
		case call.Text(p.HostId) != "" || call.Text(p.HostResourceGroupArn) != "" || call.Text(p.Affinity) != "":
			return call.Unsupported("dedicated hosts")
		}
	}
	return nil
}

// readUserData reads the script that an instance is to run.
func readUserData(c call.Call, in *string) ([]byte, error) {
	if call.Text(in) == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(*in)) // line ends inside it are skipped
	if err != nil {
		return nil, apierr.New(apierr.CodeInvalidUserDataMalformed, "Invalid BASE64 encoding of user data.")
	}
	return raw, checkUserData(c, raw)
}

func checkUserData(c call.Call, raw []byte) error {
	switch {
	case len(raw) > userDataMax:
		return apierr.New(apierr.CodeInvalidUserDataMalformed,
			"User data is limited to %d bytes. There are %d.", userDataMax, len(raw))
	case len(raw) > 0 && !c.UserData:
		return apierr.New(apierr.CodeUnsupportedOperation,
			"User data is not run here: the API listens beyond this machine, and the server was not started with --lab-user-data.")
	}
	return nil
}

func readShutdownBehavior(s string) (string, error) {
	switch ec2.ShutdownBehavior(s) {
	case ec2.ShutdownBehaviorStop, ec2.ShutdownBehaviorTerminate:
		return s, nil
	}
	return "", call.BadValue("instanceInitiatedShutdownBehavior", s)
}

// checkCount refuses what only one instance can have, for several.
func (l *launch) checkCount() error {
	if l.max == 1 {
		return nil
	}
	for _, d := range l.interfaces {
		switch {
		case d.existing != nil:
			return apierr.New(apierr.CodeInvalidParameterCombination,
				"Network interface %s cannot be given to more than one instance; maxCount is %d.", d.existing.ID, l.max)
		case d.addresses.primary.IsValid() || len(d.addresses.others) > 0 || len(d.addresses.addrs6) > 0:
			return apierr.New(apierr.CodeInvalidParameterCombination,
				"An address cannot be given to more than one instance; maxCount is %d.", l.max)
		}
	}
	return nil
}

// run launches the instances: as many of max as there is room for, and none if that is less than min.
func (l *launch) run(tx *state.Tx, c call.Call) ([]*vpc.Instance, error) {
	if err := checkInstanceQuota(tx, c, l.min); err != nil {
		return nil, err
	}
	hosts := roomyHosts(tx, c)
	count := min(l.max, hosts.room(), call.Quotas(tx, c.Scope.Account).Instances-tx.CountLiveInstances(c.Scope))
	zone := l.interfaces[0].zone()
	if count < l.min {
		return nil, hosts.insufficient(c, l.model.Type, zone, l.min)
	}
	reservation := vpc.ReservationID(c.IDs.New("r"))
	out := make([]*vpc.Instance, 0, count)
	for n := range count {
		i := l.model
		i.ID, i.Reservation, i.LaunchIndex = vpc.InstanceID(c.IDs.New("i")), reservation, n
		i.Host, i.Zone = hosts.take(), zone
		for _, d := range l.interfaces {
			e, err := d.attach(tx, c, i.ID, l.tags[ec2.ResourceTypeNetworkInterface])
			if err != nil {
				return nil, err
			}
			if d.index == 0 {
				i.VPC, i.Subnet = e.VPC, e.Subnet
				i.PrivateDNS = privateName(c.Scope.Region, e.Primary())
			}
		}
		tx.Put(&i)
		out = append(out, &i)
	}
	return out, nil
}

func (d *device) zone() vpc.Zone {
	if d.existing != nil {
		return d.existing.Zone
	}
	return d.subnet.Zone
}

func (d *device) vpc() vpc.VPCID {
	if d.existing != nil {
		return d.existing.VPC
	}
	return d.subnet.VPC
}

// attach gives an instance the interface, which is made unless it exists.
func (d *device) attach(tx *state.Tx, c call.Call, id vpc.InstanceID, tags vpc.Tags) (*vpc.Interface, error) {
	a := newAttachment(c, id, d.index, d.deleteOnTermination)
	if d.existing == nil {
		n := d.newInterface
		n.attachment, n.tags = a, tags
		return makeInterface(tx, c, n)
	}
	changed := *d.existing
	changed.Attachment = a
	tx.Put(&changed)
	return &changed, nil
}

func checkInstanceQuota(tx *state.Tx, c call.Call, wanted int) error {
	n, most := tx.CountLiveInstances(c.Scope), call.Quotas(tx, c.Scope.Account).Instances
	if n+wanted <= most {
		return nil
	}
	return apierr.New(apierr.CodeInstanceLimitExceeded,
		"Your quota allows for %d more running instance(s). You requested at least %d. There are %d of %d in %s.",
		max(most-n, 0), wanted, n, most, c.Scope.Region)
}

// devices sorts interfaces so that the primary one comes first, and refuses a list without one.
func devices(list []device) ([]device, error) {
	slices.SortStableFunc(list, func(a, b device) int { return cmp.Compare(a.index, b.index) })
	if list[0].index != 0 {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"When specifying network interfaces, you must include a device at index 0.")
	}
	for i := 1; i < len(list); i++ {
		switch a, b := list[i-1], list[i]; {
		case a.index == b.index:
			return nil, apierr.New(apierr.CodeInvalidParameterValue, "Each network interface requires a unique device index. Two have %d.", a.index)
		case list[0].zone() != b.zone():
			return nil, apierr.New(apierr.CodeInvalidParameterCombination,
				"Network interfaces of an instance must be in the same availability zone. They are in %s and %s.", list[0].zone(), b.zone())
		case list[0].vpc() != b.vpc():
			return nil, apierr.New(apierr.CodeInvalidParameterCombination,
				"Network interfaces of an instance must be in the same VPC. They are in %s and %s.", list[0].vpc(), b.vpc())
		}
	}
	return list, nil
}
