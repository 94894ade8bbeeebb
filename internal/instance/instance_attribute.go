package instance

import (
	"encoding/base64"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// valueOf turns the old form of ModifyInstanceAttribute, Attribute and Value, into the member of today's.
func valueOf(in *ec2.ModifyInstanceAttributeRequest) (*ec2.ModifyInstanceAttributeRequest, error) {
	if in.Attribute == "" {
		return in, nil
	}
	if in.Value == nil {
		return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter value")
	}
	out := *in
	flag := &ec2.AttributeBooleanValue{Value: new(*in.Value == "true")}
	switch in.Attribute {
	case ec2.InstanceAttributeNameDisableApiTermination:
		out.DisableApiTermination = flag
	case ec2.InstanceAttributeNameDisableApiStop:
		out.DisableApiStop = flag
	case ec2.InstanceAttributeNameSourceDestCheck:
		out.SourceDestCheck = flag
	case ec2.InstanceAttributeNameEbsOptimized:
		out.EbsOptimized = flag
	case ec2.InstanceAttributeNameInstanceType:
		out.InstanceType = &ec2.AttributeValue{Value: in.Value}
	case ec2.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		out.InstanceInitiatedShutdownBehavior = &ec2.AttributeValue{Value: in.Value}
	case ec2.InstanceAttributeNameUserData:
		raw, err := base64.StdEncoding.DecodeString(*in.Value)
		if err != nil {
			return nil, apierr.New(apierr.CodeInvalidUserDataMalformed, "Invalid BASE64 encoding of user data.")
		}
		out.UserData = &ec2.BlobAttributeValue{Value: raw}
	default:
		return nil, call.BadAttribute(string(in.Attribute))
	}
	return &out, nil
}

// ofStopped is a change that only a stopped instance can have.
func ofStopped(name string, named bool, set func(*vpc.Instance) error) call.Change[*vpc.Instance] {
	if !named {
		return call.Change[*vpc.Instance]{Name: name}
	}
	return call.Change[*vpc.Instance]{Name: name, Set: func(i *vpc.Instance) error {
		if i.State != vpc.Stopped {
			return wrongState(i, "The instance '%s' is not in the 'stopped' state.")
		}
		return set(i)
	}}
}

func instanceChanges(tx *state.Tx, c call.Call, in *ec2.ModifyInstanceAttributeRequest) []call.Change[*vpc.Instance] {
	// setPrimary changes the primary interface, and the instance not at all. EC2-Classic has none to be changed (G81).
	setPrimary := func(attribute string, set func(*vpc.Interface) error) func(*vpc.Instance) error {
		return func(i *vpc.Instance) error {
			if err := onlyInVPC(i, "modify", attribute); err != nil {
				return err
			}
			p, err := onlyInterface(tx, i)
			if err != nil {
				return err
			}
			changed := *p
			if err := set(&changed); err != nil {
				return err
			}
			tx.Put(&changed)
			return nil
		}
	}
	groups := call.Change[*vpc.Instance]{Name: "groupSet"}
	if in.Groups != nil {
		groups.Set = setPrimary(groups.Name, func(p *vpc.Interface) error { return setGroups(tx, c, p, in.Groups) }) // G123
	}
	check := call.Change[*vpc.Instance]{Name: "sourceDestCheck"}
	if in.SourceDestCheck != nil {
		check.Set = setPrimary(check.Name, func(p *vpc.Interface) error {
			p.SourceCheck = call.Yes(in.SourceDestCheck.Value)
			return nil
		})
	}
	behavior := call.Change[*vpc.Instance]{Name: "instanceInitiatedShutdownBehavior"}
	if in.InstanceInitiatedShutdownBehavior != nil {
		behavior.Set = func(i *vpc.Instance) (err error) {
			i.ShutdownBehavior, err = readShutdownBehavior(call.Text(in.InstanceInitiatedShutdownBehavior.Value))
			return err
		}
	}
	return []call.Change[*vpc.Instance]{
		groups, check, behavior,
		call.Toggle("disableApiTermination", in.DisableApiTermination, func(i *vpc.Instance, on bool) { i.DisableAPITermination = on }),
		call.Toggle("disableApiStop", in.DisableApiStop, func(i *vpc.Instance, on bool) { i.DisableAPIStop = on }),
		ofStopped("ebsOptimized", in.EbsOptimized != nil, func(i *vpc.Instance) error {
			i.EBSOptimized = call.Yes(in.EbsOptimized.Value)
			return nil
		}),
		ofStopped("instanceType", in.InstanceType != nil, func(i *vpc.Instance) error {
			i.Type = call.Text(in.InstanceType.Value)
			if err := checkTypeName(i.Type); err != nil || !i.VPC.Classic() {
				return err
			}
			return checkClassicType(i.Type)
		}),
		ofStopped("userData", in.UserData != nil, func(i *vpc.Instance) error {
			i.UserData = in.UserData.Value
			return checkUserData(c, i.UserData)
		}),
		call.Refusal[*vpc.Instance]("kernel", in.Kernel != nil || in.Ramdisk != nil, "kernels or RAM disks of instances' own"),
		call.Refusal[*vpc.Instance]("sriovNetSupport", in.SriovNetSupport != nil || in.EnaSupport != nil, "virtual network adapters"),
		call.Refusal[*vpc.Instance]("blockDeviceMapping", in.BlockDeviceMappings != nil, "volumes"),
	}
}

// onlyInterface is the interface whose groups are an instance's: the primary one, as long as there is no other
// that could be meant.
func onlyInterface(tx *state.Tx, i *vpc.Instance) (*vpc.Interface, error) {
	if i.State != vpc.Running && i.State != vpc.Stopped { // G121, G122
		return nil, wrongState(i, "The instance '%s' is not in a valid state for this operation.")
	}
	all := interfacesOf(tx.Snapshot, i.ID)
	if len(all) > 1 {
		return nil, apierr.New(apierr.CodeInvalidInstanceID,
			"There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", i.ID)
	}
	return all[0], nil
}

func modifyInstanceAttribute(tx *state.Tx, c call.Call, in *ec2.ModifyInstanceAttributeRequest) (ec2.Return, error) {
	i, err := findInstance(tx, c, call.Text(in.InstanceId))
	if err != nil {
		return ec2.Return{}, err
	}
	if in, err = valueOf(in); err != nil {
		return ec2.Return{}, err
	}
	ch, err := call.OnlyChange(instanceChanges(tx, c, in))
	if err != nil {
		return ec2.Return{}, err
	}
	if i.State == vpc.Terminated {
		return ec2.Return{}, wrongState(i, "The instance '%s' is not in a valid state for this operation.")
	}
	changed := *i
	if err := ch.Set(&changed); err != nil {
		return ec2.Return{}, err
	}
	tx.Put(&changed)
	return ec2.Return{}, nil
}

func describeInstanceAttribute(tx *state.Tx, c call.Call, in *ec2.DescribeInstanceAttributeRequest) (*ec2.InstanceAttribute, error) {
	i, err := findInstance(tx, c, call.Text(in.InstanceId))
	if err != nil {
		return nil, err
	}
	yesNo := func(b bool) *ec2.AttributeBooleanValue { return &ec2.AttributeBooleanValue{Value: &b} }
	out := &ec2.InstanceAttribute{InstanceId: new(string(i.ID))}
	switch in.Attribute {
	case ec2.InstanceAttributeNameInstanceType:
		out.InstanceType = &ec2.AttributeValue{Value: &i.Type}
	case ec2.InstanceAttributeNameKernel:
		out.KernelId = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameRamdisk:
		out.RamdiskId = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameUserData:
		out.UserData = &ec2.AttributeValue{}
		if len(i.UserData) > 0 {
			out.UserData.Value = new(base64.StdEncoding.EncodeToString(i.UserData))
		}
	case ec2.InstanceAttributeNameDisableApiTermination:
		out.DisableApiTermination = yesNo(i.DisableAPITermination)
	case ec2.InstanceAttributeNameDisableApiStop:
		out.DisableApiStop = yesNo(i.DisableAPIStop)
	case ec2.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		out.InstanceInitiatedShutdownBehavior = &ec2.AttributeValue{Value: &i.ShutdownBehavior}
	case ec2.InstanceAttributeNameRootDeviceName:
		out.RootDeviceName = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameBlockDeviceMapping:
		out.BlockDeviceMappings = []ec2.InstanceBlockDeviceMapping{}
	case ec2.InstanceAttributeNameProductCodes:
		out.ProductCodes = []ec2.ProductCode{}
	case ec2.InstanceAttributeNameSourceDestCheck:
		if err := onlyInVPC(i, "describe", "sourceDestCheck"); err != nil {
			return nil, err
		}
		p := primaryOf(tx.Snapshot, i.ID)
		out.SourceDestCheck = yesNo(p != nil && p.SourceCheck)
	case ec2.InstanceAttributeNameGroupSet:
		out.Groups = []ec2.GroupIdentifier{}
		if p := primaryOf(tx.Snapshot, i.ID); p != nil {
			out.Groups = groupIdentifiers(tx.Snapshot, p.Groups)
		}
	case ec2.InstanceAttributeNameEbsOptimized:
		out.EbsOptimized = yesNo(i.EBSOptimized)
	case ec2.InstanceAttributeNameSriovNetSupport:
		out.SriovNetSupport = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameEnaSupport:
		out.EnaSupport = yesNo(false)
	case ec2.InstanceAttributeNameEnclaveOptions:
		out.EnclaveOptions = &ec2.EnclaveOptions{Enabled: new(false)}
	default:
		return nil, call.BadAttribute(string(in.Attribute))
	}
	return out, nil
}

// getConsoleOutput tells what the host last told of an instance's console. Before anything is known the output is
// absent.
func getConsoleOutput(tx *state.Tx, c call.Call, in *ec2.GetConsoleOutputRequest) (*ec2.GetConsoleOutputResult, error) {
	i, err := findInstance(tx, c, call.Text(in.InstanceId))
	if err != nil {
		return nil, err
	}
	out := &ec2.GetConsoleOutputResult{InstanceId: new(string(i.ID)), Timestamp: &i.Launched}
	if c.Console == nil {
		return out, nil
	}
	if raw, at, ok := c.Console(i.ID); ok {
		raw = raw[max(0, len(raw)-consoleMax):]
		out.Timestamp = new(at.UTC().Truncate(time.Millisecond))
		out.Output = new(base64.StdEncoding.EncodeToString(raw))
	}
	return out, nil
}

// consoleMax is how much of a console's end is told, in bytes, as EC2 does.
const consoleMax = 64 << 10
