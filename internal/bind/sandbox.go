//go:build linux

package bind

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// hostUIDBase begins the range of host user ids that instances run as, one
	// of 2^24 each, by hash of the id: above what systemd and container engines
	// hand out, below 2^31. Per-user limits of the kernel then hold per instance.
	hostUIDBase = 0x7000_0000
	hostUIDMask = 0x00ff_ffff

	// insideUID is who user data is, inside.
	insideUID  = 1000
	insideUser = "ec2-user"
	insideHome = "/home/" + insideUser

	// scriptPath is where user data stands inside, near where cloud-init has it.
	scriptPath = "/var/lib/cloud/instance/user-data"
)

// hostUID is the user that an instance's processes are on the host.
func hostUID(id string) int {
	return hostUIDBase | int(hash(id)&hostUIDMask)
}

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum32()
}

// systemFolders are shown to an instance, read-only. Those that are links on the
// host (merged /usr) are links inside.
var systemFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// systemFiles are what programs need of /etc and cannot abuse. Nothing else of
// the host's /etc is shown.
var systemFiles = []string{
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
	"/etc/mime.types", "/etc/protocols", "/etc/services", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
}

// sandbox is a bubblewrap command line in the making. Files that it makes inside
// are handed over as descriptors: bubblewrap runs as a user who can read nothing
// of ours.
type sandbox struct {
	args  []string
	files []*os.File // from descriptor 3 on
}

func (s *sandbox) add(args ...string) { s.args = append(s.args, args...) }

// file makes a read-only file inside.
func (s *sandbox) file(path, mode string, content []byte) error {
	number, err := s.memory(filepath.Base(path), content)
	s.add("--perms", mode, "--ro-bind-data", number, path)
	return err
}

// memory passes content as a descriptor, and says its number.
func (s *sandbox) memory(name string, content []byte) (string, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	number := s.pass(f)
	if _, err := f.Write(content); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return number, nil
}

// pass gives the process one more descriptor and says its number there.
func (s *sandbox) pass(f *os.File) string {
	s.files = append(s.files, f)
	return strconv.Itoa(2 + len(s.files))
}

func (s *sandbox) close() {
	for _, f := range s.files {
		_ = f.Close() // memory files and pipes: nothing can be lost
	}
}

// build is the command line that runs script as an instance of the given name.
// It is the whole list of what an instance can see.
func (s *sandbox) build(o order) error {
	s.add(
		"--unshare-user", "--uid", strconv.Itoa(insideUID), "--gid", strconv.Itoa(insideUID),
		"--disable-userns",
		"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
		"--hostname", o.Hostname,
		"--new-session",
		"--cap-drop", "ALL",
		"--clearenv",
		"--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"--setenv", "HOME", insideHome, "--setenv", "USER", insideUser, "--setenv", "LOGNAME", insideUser,
		"--setenv", "SHELL", "/bin/sh", "--setenv", "LANG", "C.UTF-8",
	)
	for _, dir := range systemFolders {
		if to, err := os.Readlink(dir); err == nil {
			s.add("--symlink", to, dir)
		} else if st, err := os.Stat(dir); err == nil && st.IsDir() {
			s.add("--ro-bind", dir, dir)
		}
	}
	s.add("--proc", "/proc", "--dev", "/dev")
	// Files in memory are the instance's memory, as far as that is bounded; a
	// host that cannot bound it still bounds each of these.
	size := strconv.FormatInt(o.Limits.MemoryBytes/2, 10)
	for _, t := range []struct{ mode, path string }{
		{"1777", "/tmp"},
		{"1777", "/var/tmp"},
		{"1777", "/dev/shm"},
		{"0755", "/run"},
		{"0700", insideHome},
	} {
		s.add("--perms", t.mode, "--size", size, "--tmpfs", t.path)
	}
	for _, f := range systemFiles {
		s.add("--ro-bind-try", f, f)
	}
	user := fmt.Sprintf(":x:%d:%d:", insideUID, insideUID)
	for _, f := range []struct{ path, content string }{
		{"/etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n" + insideUser + user + "EC2 user:" + insideHome + ":/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"/etc/group", "root:x:0:\n" + insideUser + fmt.Sprintf(":x:%d:\n", insideUID) + "nogroup:x:65534:\n"},
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + o.hostsLine()},
		{"/etc/hostname", o.Hostname + "\n"},
		{"/etc/resolv.conf", ""},
		{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"},
	} {
		if err := s.file(f.path, "0444", []byte(f.content)); err != nil {
			return err
		}
	}
	if err := s.file(scriptPath, "0555", o.UserData); err != nil {
		return err
	}
	filter, err := seccompFilter()
	if err != nil {
		return err
	}
	number, err := s.memory("seccomp", filter)
	if err != nil {
		return err
	}
	s.add("--seccomp", number)
	// Last, so that what was made above could be made. The pieces of the root
	// that are not named above are nobody's to write.
	s.add("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", insideHome, "--")
	if !bytes.HasPrefix(o.UserData, []byte("#!")) {
		s.add("/bin/sh")
	}
	s.add(scriptPath)
	return nil
}

func (o *order) hostsLine() string {
	if o.Address == "" {
		return ""
	}
	return o.Address + " " + o.Hostname + "\n"
}

// runnable says why user data cannot be run, if it is of a kind that we know and
// do not run. Anything else is a script.
func runnable(data []byte) error {
	head := strings.ToLower(string(data[:min(len(data), 64)]))
	switch {
	case strings.HasPrefix(head, "#cloud-config"):
		return fmt.Errorf("it is a cloud-config document; only scripts are run")
	case strings.HasPrefix(head, "content-type:"), strings.HasPrefix(head, "mime-version:"):
		return fmt.Errorf("it is a MIME archive; only scripts are run")
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return fmt.Errorf("it is compressed; only scripts are run")
	}
	return nil
}
