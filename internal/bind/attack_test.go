//go:build linux

package bind

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// victim is a process of the host with a secret in its environment.
func victim(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"SECRET=hostsecret"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// call is a command that succeeds unless the system call is refused for want of
// permission: any other error means that its code was reached.
func call(nr int, args ...int) string {
	list := fmt.Sprint(nr)
	for _, a := range append(args, make([]int, 6-len(args))...) {
		list += fmt.Sprintf(",%d", a)
	}
	return "perl -e 'syscall(" + list + "); exit($!+0==1?1:0)'"
}

// TestUserDataCannot runs a list of attacks; each line says BREACH if it got
// through. The line's name stands in the output when it was tried.
func TestUserDataCannot(t *testing.T) {
	w := newWorld(t)
	if _, err := os.Stat("/usr/bin/perl"); err != nil {
		t.Skip("needs perl, for system calls without a tool")
	}
	pid := victim(t)
	secret := filepath.Join(w.state, "secret")
	if err := os.WriteFile(secret, []byte("hostsecret"), 0o644); err != nil {
		t.Fatal(err)
	}
	attacks := []struct{ name, command string }{
		{"read shadow", "cat /etc/shadow"},
		{"read host passwd", "grep -q daemon /etc/passwd"},
		{"read a host key", "ls /etc/ssl/private || ls /etc/ssh"},
		{"list root's home", "ls /root"},
		{"list other homes", "ls /home | grep -v ec2-user"},
		{"list run", "test -n \"$(ls -A /run)\""},
		{"list var", "ls /var/lib/dpkg || ls /var/log || ls /srv || ls /opt || ls /boot || ls /mnt"},
		{"see sys", "ls /sys"},
		{"read the state", "cat " + secret + " || ls " + w.state},
		{"read environments", "grep -l hostsecret /proc/[0-9]*/environ"},
		{"see the host's processes", fmt.Sprintf("ls -d /proc/%d/cwd/. || test $(ls -d /proc/[0-9]* | wc -l) -gt 12", pid)},
		{"inherit descriptors", "ls -l /proc/$$/fd | grep -e '->' | grep -vE -e '-> (/dev/null|pipe:.*|/tmp/out|.*user-data( .deleted.)?)$'"},
		{"kill a host process", fmt.Sprintf("kill -9 %d", pid)},
		{"load a module", "modprobe dummy || insmod /usr/lib/modules/x.ko || " + call(unix.SYS_FINIT_MODULE)},
		{"write to usr", "touch /usr/x || echo x > /usr/bin/x"},
		{"write to etc", "echo x >> /etc/passwd || touch /etc/x"},
		{"write to the root", "touch /x || mkdir /y"},
		{"write to dev", "touch /dev/x"},
		{"write a sysctl", "echo 1 > /proc/sys/net/ipv4/ip_forward || echo x > /proc/sys/kernel/hostname || echo x > /proc/sys/kernel/core_pattern"},
		{"press sysrq", "echo h > /proc/sysrq-trigger"},
		{"make a device", "mknod /tmp/d b 8 0 || mknod /tmp/d c 1 1"},
		{"read a disk", "cat /dev/vda /dev/sda /dev/mem | head -c1 | grep -q ."},
		{"mount", "mount -t tmpfs none /tmp || mount --bind /usr /tmp || mount -o remount,rw /usr"},
		{"unmount", "umount /tmp || umount /etc/passwd"},
		{"make a user namespace", "unshare -U true || unshare -Ur true"},
		{"make a namespace", "unshare -n true || unshare -m true || unshare -p true"},
		{"enter a namespace", "nsenter -t 1 -m true"},
		{"chroot", "chroot /usr /bin/true"},
		{"become root", "su -c true || sudo -n true || perl -e '$<=0;$>=0; exit($>==0?0:1)'"},
		{"give a file away", "touch /tmp/f && chown 0:0 /tmp/f"},
		{"have a capability", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/self/status"},
		{"gain privileges", "grep -E '^NoNewPrivs:.*0' /proc/self/status"},
		{"be unfiltered", "grep -E '^Seccomp:.*0' /proc/self/status"},
		{"change the interface", "ip link set eth0 down || ip addr add 10.0.0.99/32 dev eth0 || ip link add d0 type dummy"},
		{"change the routes", "ip route add 1.2.3.4 dev eth0 || ip rule add from 1.1.1.1 lookup 7"},
		{"open a raw socket", call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"open a packet socket", call(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 768)},
		{"reach the hypervisor", call(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM)},
		{"read the kernel's log", "dmesg"},
		{"keep keys", call(unix.SYS_KEYCTL, 0, -3)},
		{"load a program", call(unix.SYS_BPF, 0, 0, 0)},
		{"watch the kernel", call(unix.SYS_PERF_EVENT_OPEN) + " || " + call(unix.SYS_IO_URING_SETUP, 1) + " || " + call(unix.SYS_USERFAULTFD)},
		{"use the other ABI", call(unix.SYS_GETPID | x32Bit)},
		{"set the clock", "date -s 2001-01-01"},
		{"set the name", "hostname x"},
		{"dump core to the host", "test \"$(ulimit -c)\" != 0"},
	}
	var script strings.Builder
	script.WriteString("#!/bin/bash\n")
	for _, a := range attacks {
		fmt.Fprintf(&script, "echo %q; if { %s; } >/tmp/out 2>&1; then echo %q; cat /tmp/out; fi\n", "try: "+a.name, a.command, "BREACH: "+a.name)
	}
	script.WriteString("echo 'all tried'\n")
	out := w.run(script.String())
	if strings.Contains(out, "BREACH") || !strings.HasSuffix(out, "all tried\n") {
		t.Errorf("console:\n%s", out)
	}
	for _, a := range attacks {
		if !strings.Contains(out, "try: "+a.name+"\n") {
			t.Errorf("not tried: %s", a.name)
		}
	}
	if dead(pid) {
		t.Error("the victim died")
	}
}

// TestUserDataCannotKillAll: even "kill everybody" reaches only its own.
func TestUserDataCannotKillAll(t *testing.T) {
	w := newWorld(t)
	pid := victim(t)
	w.start(instance("i-b", 21, "sleep 1000"))
	out := w.run("#!/bin/bash\nsleep 1000 & \nkill -9 -1; echo alone")
	if dead(pid) {
		t.Error("the victim died")
	}
	if s, err := w.Status("i-b"); err != nil || s.UserData != UserDataRunning {
		t.Errorf("the other instance: %+v, %v; console:\n%s", s, err, out)
	}
}

// mustHold skips where the host cannot hold a limit: then Status has said so.
func (w *world) mustHold(limit string) {
	w.t.Helper()
	for _, u := range w.groups.ensure("probe", w.Lab.limits) {
		if strings.HasPrefix(u, limit) {
			w.t.Skipf("needs the control group controller %s", u)
		}
	}
	if err := w.groups.remove("probe"); err != nil {
		w.t.Fatal(err)
	}
}

func TestForkBombIsContained(t *testing.T) {
	w := newWorld(t)
	w.mustHold("pids")
	w.start(instance("i-bomb", 22, "#!/bin/bash\nb() { b | b & }\nwhile :; do b; sleep 0.05; done 2>/dev/null"))
	most := 0
	w.until("the bomb fills its limit", func() bool {
		pids, err := w.members("i-bomb")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(pids))
		return most >= int(w.limits.Processes)*3/4
	})
	for range 20 {
		pids, err := w.members("i-bomb")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(pids))
	}
	if most > int(w.limits.Processes) {
		t.Errorf("%d processes, limit %d", most, w.limits.Processes)
	}
	if err := exec.Command("true").Run(); err != nil {
		t.Errorf("the host cannot start processes: %v", err)
	}
	begin := time.Now()
	if err := w.Stop("i-bomb"); err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d processes, stopped in %v", most, time.Since(begin))
}

func TestMemoryBombIsContained(t *testing.T) {
	w := newWorld(t)
	w.mustHold("memory")
	for name, command := range map[string]string{
		"processes":     "head -c 300M /dev/zero | tail -c 250M >/dev/null",
		"tmp":           "head -c 300M /dev/zero >/tmp/f",
		"shared memory": "head -c 300M /dev/zero >/dev/shm/f",
		"home":          "head -c 300M /dev/zero >~/f",
		"all of them":   "for d in /tmp /var/tmp /dev/shm /run ~; do head -c 31M /dev/zero >$d/f || exit 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			out := w.run("#!/bin/bash\nset -o pipefail\n" + command + " && echo BREACH")
			if strings.Contains(out, "BREACH") {
				t.Errorf("console:\n%s", out)
			}
		})
	}
}

// TestBusyLoopIsContained: half a processor is half a processor.
func TestBusyLoopIsContained(t *testing.T) {
	w := newWorld(t)
	w.limits.CPUMillis = 500
	w.restart()
	w.mustHold("cpu")
	// Two loops for 2 s of wall time; what they used, in hundredths of a second.
	out := w.run(`#!/bin/bash
end=$((SECONDS+2))
for i in 1 2; do (while [ $SECONDS -lt $end ]; do :; done) & done
wait
read -r -a f </proc/$$/stat
echo used $((f[15]+f[16]))`)
	var used int
	_, after, _ := strings.Cut(out, "used ")
	if _, err := fmt.Sscan(after, &used); err != nil || used == 0 || used > 160 {
		t.Errorf("used %d hundredths of a second of at most about 100: %v; console:\n%s", used, err, out)
	}
}
