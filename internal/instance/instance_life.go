package instance

import (
	"slices"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// EC2's codes of why an instance is in its state.
const (
	reasonUser = "Client.UserInitiatedShutdown"
	reasonHost = "Server.InternalError"
)

// userReason is why a user's call put an instance into its state, as EC2 words it.
func userReason(c call.Call) string {
	return "User initiated (" + c.Now.UTC().Format("2006-01-02 15:04:05") + " GMT)"
}

// reasonMessage is the reason of a state beside its code, which EC2 words otherwise than the reason alone.
func reasonMessage(i *vpc.Instance) string {
	if i.ReasonCode == reasonUser {
		return reasonUser + ": User initiated shutdown"
	}
	return i.Reason
}

// stateChange tells what a call did to an instance.
func stateChange(before, after *vpc.Instance) ec2.InstanceStateChange {
	return ec2.InstanceStateChange{
		InstanceId: new(string(after.ID)), CurrentState: wireState(after.State), PreviousState: wireState(before.State),
	}
}

// changeStates does to each of the instances what step says, to all or to none.
func changeStates(tx *state.Tx, c call.Call, ids []string, step func(*vpc.Instance) (*vpc.Instance, error)) ([]ec2.InstanceStateChange, error) {
	found, err := call.FindAll[*vpc.Instance](tx, c, &call.InstanceForm, ids)
	if err != nil {
		return nil, err
	}
	var out []ec2.InstanceStateChange
	for _, before := range found {
		after, err := step(before)
		if err != nil {
			return nil, err
		}
		if after != before {
			tx.Put(after)
		}
		out = append(out, stateChange(before, after))
	}
	return out, nil
}

// hostGone says whether the host of an instance exists no more, so that nobody will report of it.
func hostGone(tx *state.Tx, i *vpc.Instance) bool { return tx.Host(i.Host) == nil }

func startInstances(tx *state.Tx, c call.Call, in *ec2.StartInstancesRequest) (*ec2.StartInstancesResult, error) {
	done, err := changeStates(tx, c, in.InstanceIds, func(i *vpc.Instance) (*vpc.Instance, error) {
		switch i.State {
		case vpc.Pending, vpc.Running:
			return i, nil
		case vpc.Stopped:
		default:
			return nil, wrongState(i, "The instance '%s' is not in a state from which it can be started.")
		}
		next := *i
		if hostGone(tx, i) {
			hosts := roomyHosts(tx, c)
			if hosts.room() == 0 {
				return nil, hosts.insufficient(c, i.Type, i.Zone, 1)
			}
			next.Host = hosts.take()
		}
		next.State, next.Boot, next.Launched = vpc.Pending, i.Boot+1, c.Now
		next.Reason, next.ReasonCode = "", ""
		return &next, nil
	})
	return &ec2.StartInstancesResult{StartingInstances: done}, err
}

func stopInstances(tx *state.Tx, c call.Call, in *ec2.StopInstancesRequest) (*ec2.StopInstancesResult, error) {
	if call.Yes(in.Hibernate) {
		return nil, call.Unsupported("hibernating instances")
	}
	done, err := changeStates(tx, c, in.InstanceIds, func(i *vpc.Instance) (*vpc.Instance, error) {
		switch {
		case i.State == vpc.Stopping || i.State == vpc.Stopped:
			return i, nil
		case i.State != vpc.Running:
			return nil, wrongState(i, "The instance '%s' is not in a state from which it can be stopped.")
		case i.DisableAPIStop:
			return nil, apierr.New(apierr.CodeOperationNotPermitted,
				"The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID)
		}
		next := *i
		next.State = vpc.Stopping
		if hostGone(tx, i) {
			next.State = vpc.Stopped
		}
		next.Reason, next.ReasonCode = userReason(c), reasonUser
		return &next, nil
	})
	return &ec2.StopInstancesResult{StoppingInstances: done}, err
}

func rebootInstances(tx *state.Tx, c call.Call, in *ec2.RebootInstancesRequest) (ec2.Return, error) {
	_, err := changeStates(tx, c, in.InstanceIds, func(i *vpc.Instance) (*vpc.Instance, error) {
		if i.State != vpc.Running {
			return nil, wrongState(i, "The instance '%s' is not in a state from which it can be rebooted.")
		}
		next := *i
		next.Boot++
		return &next, nil
	})
	return ec2.Return{}, err
}

func terminateInstances(tx *state.Tx, c call.Call, in *ec2.TerminateInstancesRequest) (*ec2.TerminateInstancesResult, error) {
	done, err := changeStates(tx, c, in.InstanceIds, func(i *vpc.Instance) (*vpc.Instance, error) {
		switch {
		case i.State == vpc.Terminated || i.State == vpc.ShuttingDown:
			return i, nil
		case i.DisableAPITermination:
			return nil, apierr.New(apierr.CodeOperationNotPermitted,
				"The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
		}
		next := *i
		next.Reason, next.ReasonCode = userReason(c), reasonUser
		if i.State == vpc.Stopped || hostGone(tx, i) {
			end(tx, c, &next)
			return &next, nil
		}
		next.State = vpc.ShuttingDown
		return &next, nil
	})
	return &ec2.TerminateInstancesResult{TerminatingInstances: done}, err
}

// end makes an instance terminated: its interfaces go or, if they are to outlive it, become available and keep
// their groups. The caller puts the instance.
func end(tx *state.Tx, c call.Call, i *vpc.Instance) {
	i.State, i.Ended = vpc.Terminated, c.Now
	for _, e := range slices.Collect(tx.InterfacesOfInstance(i.ID)) {
		if e.Attachment.DeleteOnTermination {
			tx.Delete(e)
			continue
		}
		left := *e
		left.Attachment = nil
		tx.Put(&left)
	}
}
