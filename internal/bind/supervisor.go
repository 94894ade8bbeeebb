//go:build linux

package bind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/vpcnet"
)

// LabInitCommand is the hidden subcommand that the programs lead to LabInit.
const LabInitCommand = "lab-init"

const (
	// orderBytesMax bounds what a supervisor reads: user data is at most 16 KiB,
	// in base64 here.
	orderBytesMax = 1 << 20
	// startWaitMax is how long a supervisor may take to start the sandbox.
	startWaitMax = 20 * time.Second
)

// order is what a supervisor is told to run.
type order struct {
	ID       program.InstanceID
	Hostname string
	Address  string // its first, for /etc/hosts; empty: none
	UserData []byte
	Space    string // path of its namespace
	Cgroup   string // parent control group
	Limits   Limits
	Record   record
}

// answer is what it says when the sandbox runs or does not.
type answer struct {
	Problem string // empty: it runs
}

// runUserData starts the instance's supervisor, which outlives this process, and
// returns when it has started the sandbox.
func (l *Lab) runUserData(inst *program.Instance, rec record) error {
	dir := l.instanceDir(inst.ID)
	fail := func(err error) error {
		rec.UserData, rec.Problem = UserDataFailed, err.Error()
		return errors.Join(err, rec.write(dir))
	}
	if err := runnable(inst.UserData); err != nil {
		return fail(err)
	}
	rec.UserData = UserDataRunning
	rec.Unlimited = l.groups.ensure(string(inst.ID), l.limits)
	if len(rec.Unlimited) > 0 {
		l.log.Warn("instance limits that this host cannot hold", "instance", inst.ID, "unlimited", rec.Unlimited)
	}
	o := order{
		ID: inst.ID, Hostname: inst.Hostname, UserData: inst.UserData, Space: l.net.InstancePath(inst.ID),
		Cgroup: l.groups.parent, Limits: l.limits, Record: rec,
	}
	if o.Hostname == "" {
		o.Hostname = string(inst.ID)
	}
	if len(inst.NICs) > 0 && len(inst.NICs[0].Addrs) > 0 {
		o.Address = inst.NICs[0].Addrs[0].String()
	}
	if err := l.supervise(dir, o); err != nil {
		return fail(err)
	}
	return nil
}

// supervise starts a supervisor and waits for its answer.
func (l *Lab) supervise(dir string, o order) error {
	in, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	stdin, orders, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	answers, stdout, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("start supervisor: %w", err), stdin.Close(), orders.Close())
	}
	defer answers.Close() //nolint:errcheck // nothing is written there
	cmd := exec.Command(l.selfExe, LabInitCommand, dir)
	cmd.Stdin, cmd.Stdout = stdin, stdout
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(cmd.Start(), stdin.Close(), stdout.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("start supervisor: %w", err), orders.Close())
	}
	// It lives as long as the instance's processes. This goroutine holds nothing
	// and waits for nothing else: it is there to lay the child to rest.
	go cmd.Wait() //nolint:errcheck // what became of it stands in its record
	_, err = orders.Write(in)
	if err = errors.Join(err, orders.Close()); err != nil {
		return fmt.Errorf("instruct supervisor: %w", err)
	}
	if err := answers.SetReadDeadline(time.Now().Add(startWaitMax)); err != nil {
		return fmt.Errorf("hear supervisor: %w", err)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(answers, orderBytesMax)).Decode(&a); err != nil {
		return fmt.Errorf("hear supervisor: %w", err)
	}
	if a.Problem != "" {
		return errors.New(a.Problem)
	}
	return nil
}

// LabInit is the main of an instance's supervisor: args is the instance's
// folder, standard input an order. It runs the user data in its sandbox, keeps
// its output, and ends when the last process of the instance has. The result is
// the process's exit code.
func LabInit(args []string) int {
	if len(args) != 1 {
		return 2
	}
	// The daemon may be gone when we answer it: the instance runs all the same. A
	// broken pipe must be an error then, not the end; and it must not be ignored
	// either, for the sandbox would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	s := supervision{dir: args[0]}
	err := s.start()
	var a answer
	if err != nil {
		a.Problem = err.Error()
	}
	encodeErr := json.NewEncoder(os.Stdout).Encode(a)
	if err != nil {
		return 1
	}
	if encodeErr = errors.Join(encodeErr, s.detach()); encodeErr != nil {
		_, _ = fmt.Fprintf(s.console, "sallyport: %v\n", encodeErr)
	}
	s.run()
	return 0
}

// supervision is the state of a supervisor.
type supervision struct {
	dir     string
	order   order
	lock    *os.File
	console *console
	output  *os.File // the sandbox's standard output and error
	status  *os.File // what bubblewrap says about it
	cmd     *exec.Cmd
}

// start does all that can fail before the sandbox runs.
func (s *supervision) start() error {
	in := io.LimitReader(os.Stdin, orderBytesMax)
	if err := json.NewDecoder(in).Decode(&s.order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	var err error
	if s.lock, err = takeLock(s.dir); err != nil {
		return err
	}
	groups, err := findCgroups(s.order.Cgroup)
	if err != nil {
		return err
	}
	if err := groups.joinSupervisors(); err != nil {
		s.order.Record.Unlimited = append(s.order.Record.Unlimited, "supervisor: shares the daemon's fate: "+err.Error())
	}
	// Whatever loses its parent becomes our child: we end when we have none.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	if s.console, err = openConsole(s.dir); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.console, "sallyport: %s boot %d\n", s.order.ID, s.order.Record.Boot); err != nil {
		return fmt.Errorf("write console: %w", err)
	}
	if err := s.order.Record.write(s.dir); err != nil {
		return err
	}
	return s.sandbox(groups)
}

// sandbox starts bubblewrap in the instance's network namespace and control
// groups, as the root of a user namespace that is nobody on the host.
func (s *supervision) sandbox(groups cgroups) error {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return fmt.Errorf("find bubblewrap: %w", err)
	}
	var box sandbox
	defer box.close()
	output, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make output pipe: %w", err)
	}
	defer write.Close() //nolint:errcheck // the sandbox has its own
	status, report, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make status pipe: %w", err)
	}
	box.add("--json-status-fd", box.pass(report))
	if err := box.build(s.order); err != nil {
		return err
	}
	if err := setLimits(s.order.Limits); err != nil {
		return err
	}
	// A host that runs out of memory ends instances before anything of its own;
	// what we start inherits this, and we take it back.
	if err := setOOMScore(sandboxOOMScore); err != nil {
		return err
	}
	uid := hostUID(string(s.order.ID))
	cmd := exec.Command(path, box.args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.Dir, cmd.Env = write, write, box.files, "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:                     true,
		Cloneflags:                 unix.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
		GidMappingsEnableSetgroups: true, // so that root's supplementary groups can be left behind
		Credential:                 &syscall.Credential{},
	}
	err = vpcnet.Inside(s.order.Space, func() error {
		unified, err := groups.join(string(s.order.ID))
		if err != nil {
			return err
		}
		if unified != nil {
			defer unified.Close() //nolint:errcheck // nothing was written
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(unified.Fd())
		}
		return cmd.Start()
	})
	if err = errors.Join(err, setOOMScore(0)); err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	s.cmd, s.output, s.status = cmd, output, status
	return nil
}

// sandboxOOMScore is halfway to "end this first".
const sandboxOOMScore = 500

// setOOMScore sets how readily the kernel ends this process for want of memory.
func setOOMScore(score int) error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0); err != nil {
		return fmt.Errorf("set out-of-memory score: %w", err)
	}
	return nil
}

// setLimits sets what children inherit. The process limit counts per user, and
// each instance is a user: it holds where no control group does.
func setLimits(lim Limits) error {
	for _, r := range []struct {
		resource int
		value    uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NPROC, uint64(lim.Processes)},
	} {
		if err := unix.Setrlimit(r.resource, &unix.Rlimit{Cur: r.value, Max: r.value}); err != nil {
			return fmt.Errorf("set process limits: %w", err)
		}
	}
	return nil
}

// detach lets go of the daemon that started us.
func (s *supervision) detach() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return null.Close()
}

// run keeps the output and lays children to rest until there are none.
func (s *supervision) run() {
	done := make(chan struct{})
	go func() {
		s.console.drain(s.output)
		close(done)
	}()
	_ = s.cmd.Wait() // its status is in ProcessState
	if !s.killed() {
		s.recordEnd()
	}
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if s.killed() {
		s.recordEnd() // what it watched may have outlived it until now
	}
	<-done
	_ = s.console.close() // nobody is left to tell
	_ = s.lock.Close()
}

// killed says whether bubblewrap itself was ended by a signal, as when the
// instance is out of memory and the kernel chooses among all its processes.
func (s *supervision) killed() bool {
	w, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && w.Signaled()
}

// recordEnd writes what became of the user data.
func (s *supervision) recordEnd() {
	rec := s.order.Record
	rec.UserData, rec.ExitCode = UserDataEnded, exitCode(s.cmd.ProcessState)
	if !s.ran() {
		rec.UserData, rec.Problem = UserDataFailed, "the sandbox did not start; its words are in the console output"
	}
	// Removed by a Stop meanwhile: then there is nothing to say.
	if _, err := os.Stat(filepath.Join(s.dir, recordName)); err != nil {
		return
	}
	if err := rec.write(s.dir); err != nil {
		_, _ = fmt.Fprintf(s.console, "sallyport: %v\n", err)
	}
}

// ran reads from what bubblewrap reported whether the user data ran: it tells an
// exit code only of what it could start. One that was killed tells none; that it
// had a child must do. It has ended, so what it had to say is in the pipe.
func (s *supervision) ran() bool {
	buf := make([]byte, 4096)
	if err := unix.SetNonblock(int(s.status.Fd()), true); err != nil {
		return true
	}
	n, err := unix.Read(int(s.status.Fd()), buf)
	if err != nil {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(buf[:n]))
	for {
		var doc map[string]any
		if dec.Decode(&doc) != nil {
			return false
		}
		_, ended := doc["exit-code"]
		_, begun := doc["child-pid"]
		if ended || begun && s.killed() {
			return true
		}
	}
}

// exitCode is a process's exit code as a shell tells it.
func exitCode(p *os.ProcessState) int {
	if w, ok := p.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return p.ExitCode()
}
