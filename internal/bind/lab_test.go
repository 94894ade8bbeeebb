//go:build linux

package bind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
	"sallyport.dev/sallyport/internal/vpcnet"
)

// TestMain lets the test binary be an instance's supervisor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == LabInitCommand {
		os.Exit(LabInit(os.Args[2:]))
	}
	if len(os.Args) == 4 && os.Args[1] == "test-daemon" {
		os.Exit(testDaemon(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// world is a lab of a test's own.
type world struct {
	*Lab
	t      *testing.T
	state  string
	name   string
	limits Limits
	fabric *vpcnet.Fabric
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN): namespaces and control groups")
	}
	for _, tool := range []string{"bwrap", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	w := &world{
		t: t, state: t.TempDir(), name: fmt.Sprintf("spt%d-%d", os.Getpid(), time.Now().UnixNano()%1_000_000),
		limits: Limits{MemoryBytes: 64 << 20, Processes: 40},
	}
	before := trace(t)
	w.restart()
	t.Cleanup(func() {
		if err := w.RemoveAll(); err != nil {
			t.Errorf("remove all: %v", err)
		}
		if diff := cmp.Diff(before, trace(t)); strings.Contains(diff, w.name) {
			t.Errorf("left on the host (-before +after):\n%s", diff)
		}
	})
	if err := w.fabric.EnsureVPC(&program.Network{ID: "vpc-a", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}); err != nil {
		t.Fatal(err)
	}
	return w
}

// trace lists what a lab could leave on its host: namespaces and control groups.
func trace(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"/run/netns/*", "/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// restart forgets everything, as a new process would.
func (w *world) restart() {
	w.t.Helper()
	var err error
	if w.Lab, w.fabric, err = openLab(w.state, w.name, w.limits); err != nil {
		w.t.Fatal(err)
	}
}

func openLab(state, name string, limits Limits) (*Lab, *vpcnet.Fabric, error) {
	log := slog.New(slog.DiscardHandler)
	fabric := vpcnet.New(log, vpcnet.Options{Prefix: name + "-"})
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	lab, err := NewLab(Options{StateDir: state, SelfExe: exe, Cgroup: name, Limits: limits, Net: fabric, Log: log})
	return lab, fabric, err
}

const countingScript = "#!/bin/bash\ni=0; while :; do i=$((i+1)); echo count $i; sleep 0.01; done"

// testDaemon is a daemon that starts an instance and is killed at once.
func testDaemon(state, name string) int {
	lab, _, err := openLab(state, name, Limits{})
	if err != nil {
		return 3
	}
	inst := instance("i-a", 12, countingScript)
	if _, err := lab.Prepare(inst); err != nil {
		return 4
	}
	if err := lab.Start(inst); err != nil {
		return 5
	}
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	return 6
}

// TestDaemonKilled: the instance and its output go on, and the next daemon
// neither starts it again nor loses it.
func TestDaemonKilled(t *testing.T) {
	w := newWorld(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(exe, "test-daemon", w.state, w.name)
	if err := daemon.Run(); exitCode(daemon.ProcessState) != 137 {
		t.Fatalf("daemon: %v", err)
	}
	w.start(instance("i-a", 12, countingScript))
	first := w.console("i-a")
	w.until("the output goes on", func() bool { return len(w.console("i-a")) > len(first)+50 })
	if out := w.console("i-a"); strings.Count(out, "boot") != 1 || strings.Count(out, "count 1\n") != 1 {
		t.Errorf("started twice:\n%s", out)
	}
	if s, err := w.Status("i-a"); err != nil || !s.Running || s.UserData != UserDataRunning {
		t.Errorf("status %+v, %v", s, err)
	}
}

// TestHostRestarted: nothing of an earlier boot of the host counts as running.
func TestHostRestarted(t *testing.T) {
	w := newWorld(t)
	inst := instance("i-a", 13, "echo ran")
	w.start(inst)
	w.ended("i-a")
	// What a restart of the machine leaves: the state folder alone.
	rec, _, err := w.readRecord("i-a")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	rec.Place, rec.UserData = "another boot/4:1", UserDataRunning
	if err := rec.write(w.instanceDir("i-a")); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Status("i-a"); err != nil || s.Running || s.UserData == UserDataRunning {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := w.fabric.EnsureVPC(&program.Network{ID: "vpc-a"}); err != nil {
		t.Fatal(err)
	}
	w.start(inst)
	w.ended("i-a")
	if out := w.console("i-a"); strings.Count(out, "ran") != 2 {
		t.Errorf("user data after a restart:\n%s", out)
	}
}

// instance describes an instance with one interface, whose address ends in last.
func instance(id program.InstanceID, last int, userData string) *program.Instance {
	return &program.Instance{
		ID: id, Network: "vpc-a", Running: true, Boot: 1, Hostname: fmt.Sprintf("ip-10-0-0-%d", last), UserData: []byte(userData),
		NICs: []program.NIC{{
			Interface: program.InterfaceID(fmt.Sprintf("eni-%017x", last)),
			Addrs:     []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(last)}), netip.MustParseAddr(fmt.Sprintf("fd00::%d", last))},
			Gateway:   netip.MustParseAddr("10.0.0.1"),
		}},
	}
}

func (w *world) start(inst *program.Instance) []Bound {
	w.t.Helper()
	bound, err := w.Prepare(inst)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Start(inst); err != nil {
		w.t.Fatal(err)
	}
	return bound
}

// ended waits for the end of the user data and returns the console.
func (w *world) ended(id program.InstanceID) (Status, string) {
	w.t.Helper()
	var s Status
	w.until("the user data of "+string(id)+" has ended", func() bool {
		var err error
		if s, err = w.Status(id); err != nil {
			w.t.Fatalf("status: %v; console:\n%s", err, w.console(id))
		}
		return s.UserData != UserDataRunning
	})
	return s, w.console(id)
}

func (w *world) console(id program.InstanceID) string {
	w.t.Helper()
	out, _, err := w.Console(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// run runs user data to its end and wants it to succeed.
func (w *world) run(script string) string {
	w.t.Helper()
	inst := instance("i-run", 200, script)
	if err := w.Terminate(inst.ID); err != nil {
		w.t.Fatal(err)
	}
	w.start(inst)
	s, out := w.ended(inst.ID)
	if s.UserData != UserDataEnded {
		w.t.Errorf("status %+v, console:\n%s", s, out)
	}
	return out
}

func TestUserDataRuns(t *testing.T) {
	w := newWorld(t)
	out := w.run("#!/bin/bash\necho bash $BASH_VERSION; id -un; id -G; cat /proc/self/oom_score_adj; hostname; pwd; echo $HOME; cat /etc/resolv.conf; getent hosts $(hostname); echo err >&2; echo x > ~/f && cat ~/f /tmp/../etc/hostname; exit 3")
	for _, want := range []string{"sallyport: i-run boot 1\nbash 5", "ec2-user\n1000\n500\nip-10-0-0-200\n/home/ec2-user\n/home/ec2-user\n10.0.0.200", "\nerr\nx\nip-10-0-0-200\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("console lacks %q:\n%s", want, out)
		}
	}
	s, err := w.Status("i-run")
	if err != nil || s.ExitCode != 3 || !s.Running || s.Boot != 1 || len(s.Unlimited) != 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	if out := w.run("echo plain sh $0"); !strings.Contains(out, "plain sh /var/lib/cloud/instance/user-data") {
		t.Errorf("without an interpreter line:\n%s", out)
	}
	bad := instance("i-cc", 201, "#cloud-config\npackages: [x]\n")
	if _, err := w.Prepare(bad); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(bad); err == nil || !strings.Contains(err.Error(), "cloud-config") {
		t.Errorf("a cloud-config document: %v", err)
	}
	if s, err := w.Status("i-cc"); err != nil || s.UserData != UserDataFailed || !s.Running {
		t.Errorf("status %+v, %v", s, err)
	}
}

// TestUserDataServes: low ports and ping without capabilities, background
// processes that outlive the script, reached from another instance.
func TestUserDataServes(t *testing.T) {
	w := newWorld(t)
	w.start(instance("i-web", 5, "#!/bin/sh\nping -c1 -W2 10.0.0.1 && echo pinged\n(while :; do echo hello | nc -l -q0 -p 80 ; done) >/dev/null 2>&1 &\necho served\n"))
	w.start(instance("i-client", 6, ""))
	s, out := w.ended("i-web")
	if s.ExitCode != 0 || !strings.Contains(out, "pinged") || !strings.Contains(out, "served") {
		t.Fatalf("status %+v, console:\n%s", s, out)
	}
	var got bytes.Buffer
	w.until("the server answers", func() bool {
		got.Reset()
		code, err := w.Exec(t.Context(), "i-client", []string{"nc", "-w2", "10.0.0.5", "80"}, nil, &got, &got)
		return err == nil && code == 0 && got.String() == "hello\n"
	})
	// A new process finds it running, and does not run it again.
	w.restart()
	w.start(instance("i-web", 5, "#!/bin/sh\necho again\n"))
	if s, err := w.Status("i-web"); err != nil || !s.Running || s.UserData != UserDataEnded {
		t.Errorf("status after restart %+v, %v", s, err)
	}
	if out := w.console("i-web"); strings.Contains(out, "again") {
		t.Errorf("user data ran twice in one boot:\n%s", out)
	}
	members, err := w.members("i-web")
	if err != nil || len(members) == 0 {
		t.Fatalf("members %v, %v", members, err)
	}
	if err := w.Stop("i-web"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range members {
		if !dead(pid) {
			t.Errorf("process %d outlived its instance", pid)
		}
	}
	if s, err := w.Status("i-web"); err != nil || s.Running {
		t.Errorf("status after stop %+v, %v", s, err)
	}
}

func TestRebootRunsAgain(t *testing.T) {
	w := newWorld(t)
	inst := instance("i-a", 7, "echo here in boot; sleep 1000 &")
	first := w.start(inst)
	w.ended("i-a")
	again := *inst
	again.Boot = 2
	second := w.start(&again)
	w.ended("i-a")
	if diff := cmp.Diff([]bool{true, true}, []bool{first[0].IfName == second[0].IfName, first[0].NetNS == second[0].NetNS}); diff != "" {
		t.Error(diff)
	}
	want := "sallyport: i-a boot 1\nhere in boot\nsallyport: i-a boot 2\nhere in boot\n"
	if diff := cmp.Diff(want, w.console("i-a")); diff != "" {
		t.Errorf("console (-want +got):\n%s", diff)
	}
	if err := w.Terminate("i-a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.instanceDir("i-a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder after terminate: %v", err)
	}
	if all, err := w.List(); err != nil || len(all) != 0 {
		t.Errorf("list after terminate: %+v, %v", all, err)
	}
}

func TestExec(t *testing.T) {
	w := newWorld(t)
	w.start(instance("i-a", 8, "sleep 1000"))
	exe := func(args ...string) (string, int) {
		t.Helper()
		var out bytes.Buffer
		code, err := w.Exec(t.Context(), "i-a", args, strings.NewReader("in"), &out, &out)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.String()), code
	}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"sh", "-c", "cat; exit 7"}, "in", 7},
		{[]string{"ls", "/sys/class/net"}, "eth0\nlo", 0},
		{[]string{"sh", "-c", "kill -9 $$"}, "", 137},
		{[]string{"id", "-u"}, "0", 0},
	} {
		if out, code := exe(c.args...); out != c.want || code != c.code {
			t.Errorf("%v: got %q, %d; want %q, %d", c.args, out, code, c.want, c.code)
		}
	}
	if out, _ := exe("cat", "/proc/self/cgroup"); !strings.Contains(out, w.name+"/i-a") {
		t.Errorf("not in the instance's control group:\n%s", out)
	}
	if _, err := w.Exec(t.Context(), "i-none", []string{"true"}, nil, nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("exec without an instance: %v", err)
	}
	if _, err := w.Exec(t.Context(), "i-../../x", []string{"true"}, nil, nil, nil); err == nil {
		t.Error("an id with a path in it was taken")
	}
	// Stop ends it.
	before, err := w.members("i-a")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		code, _ := w.Exec(context.Background(), "i-a", []string{"sleep", "1000"}, nil, nil, nil)
		done <- code
	}()
	w.until("sleep runs", func() bool {
		now, err := w.members("i-a")
		return err == nil && len(now) > len(before)
	})
	if err := w.Stop("i-a"); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		if code != 137 {
			t.Errorf("exec ended with %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("exec outlived its instance")
	}
}

func TestConsoleIsBounded(t *testing.T) {
	w := newWorld(t)
	w.start(instance("i-a", 9, "#!/bin/sh\necho first\ni=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done\necho last"))
	path := filepath.Join(w.instanceDir("i-a"), consoleName)
	largest := int64(0)
	w.until("the end of the output", func() bool {
		if st, err := os.Stat(path); err == nil {
			largest = max(largest, st.Size())
		}
		return strings.HasSuffix(w.console("i-a"), "last\n")
	})
	if out := w.console("i-a"); len(out) != consoleBytesMax || strings.Contains(out, "first") {
		t.Errorf("kept %d bytes", len(out))
	}
	if largest > 2*consoleBytesMax {
		t.Errorf("the file grew to %d bytes", largest)
	}
}

// TestSupervisorGone: the instance goes on without its supervisor, and Stop
// still finds all of it.
func TestSupervisorGone(t *testing.T) {
	w := newWorld(t)
	w.start(instance("i-a", 10, "sleep 1000"))
	pid, err := supervisor(w.instanceDir("i-a"))
	if err != nil || pid == 0 {
		t.Fatalf("supervisor %d, %v", pid, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("it is gone", func() bool { p, err := supervisor(w.instanceDir("i-a")); return err == nil && p == 0 })
	members, err := w.members("i-a")
	if err != nil || len(members) == 0 {
		t.Fatalf("members %v, %v", members, err)
	}
	if s, err := w.Status("i-a"); err != nil || !s.Running || s.UserData != UserDataLost {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := w.Stop("i-a"); err != nil {
		t.Fatal(err)
	}
	for _, p := range members {
		if !dead(p) {
			t.Errorf("process %s outlived its instance", strconv.Itoa(p))
		}
	}
}

// TestSandboxKilled: the kernel may end bubblewrap itself when an instance is out
// of memory. The user data then ran, and ends with what it had begun.
func TestSandboxKilled(t *testing.T) {
	w := newWorld(t)
	w.start(instance("i-a", 12, "echo begun; sleep 2"))
	w.until("it has begun", func() bool { return strings.Contains(w.console("i-a"), "begun") })
	parent, err := supervisor(w.instanceDir("i-a"))
	if err != nil || parent == 0 {
		t.Fatalf("supervisor %d, %v", parent, err)
	}
	members, err := w.members("i-a")
	if err != nil {
		t.Fatal(err)
	}
	var children []int // before anything is killed: the supervisor adopts what its child leaves
	for _, pid := range members {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err == nil && strings.Contains(string(status), "\nPPid:\t"+strconv.Itoa(parent)+"\n") {
			children = append(children, pid)
		}
	}
	if len(children) != 1 {
		t.Fatalf("%v of the members %v are the supervisor's children, want bubblewrap alone", children, members)
	}
	if err := unix.Kill(children[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.ended("i-a"); s.UserData != UserDataEnded || s.ExitCode != 128+int(unix.SIGKILL) || s.Problem != "" {
		t.Errorf("status %+v, want one that has ended by SIGKILL", s)
	}
}

// TestInterfacesFollow: an interface that the instance has no longer goes at
// the next Prepare, the user data goes on.
func TestInterfacesFollow(t *testing.T) {
	w := newWorld(t)
	inst := instance("i-a", 11, "sleep 1000")
	w.start(inst)
	more := *inst
	more.NICs = append(more.NICs[:1:1], program.NIC{
		Interface: "eni-0000000000000ffff", DeviceIndex: 1,
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.9")}, Gateway: netip.MustParseAddr("10.0.1.1"),
	})
	if bound := w.start(&more); len(bound) != 2 {
		t.Errorf("bound %+v", bound)
	}
	var out bytes.Buffer
	if code, err := w.Exec(t.Context(), "i-a", []string{"ping", "-c1", "-W2", "-I", "10.0.1.9", "10.0.1.1"}, nil, &out, &out); err != nil || code != 0 {
		t.Errorf("ping from the new interface: %d, %v\n%s", code, err, out.String())
	}
	w.start(inst)
	out.Reset()
	if _, err := w.Exec(t.Context(), "i-a", []string{"ls", "/sys/class/net"}, nil, &out, &out); err != nil || out.String() != "eth0\nlo\n" {
		t.Errorf("after detaching: %q, %v", out.String(), err)
	}
	if s, err := w.Status("i-a"); err != nil || s.UserData != UserDataRunning {
		t.Errorf("status %+v, %v", s, err)
	}
}
