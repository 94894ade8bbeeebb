//go:build linux

package bind

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLimitsAreWritten: the files of both versions, on a folder that stands for
// a hierarchy. The kernel makes those files in a real one.
func TestLimitsAreWritten(t *testing.T) {
	lim := Limits{MemoryBytes: 1 << 20, Processes: 7, CPUMillis: 1500}
	for name, c := range map[string]struct {
		tree tree
		want map[string]string
	}{
		"version 1": {tree{controllers: controllers}, map[string]string{
			"memory.limit_in_bytes": "1048576", "memory.memsw.limit_in_bytes": "1048576",
			"pids.max": "7", "cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000",
		}},
		"version 2": {tree{unified: true, controllers: controllers}, map[string]string{
			"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "7", "cpu.max": "150000 100000",
			"../cgroup.subtree_control": "+cpu", "../../cgroup.subtree_control": "+cpu", // the last one written
		}},
		"no swap accounting": {tree{unified: true, controllers: controllers[:1]}, map[string]string{
			"memory.max":                "1048576",
			"../cgroup.subtree_control": "+memory", "../../cgroup.subtree_control": "+memory",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.tree.mount = t.TempDir()
			g := cgroups{parent: "p", trees: []tree{c.tree}}
			dir := g.path(c.tree, "i-a")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for f := range c.want {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			unlimited := g.ensure("i-a", lim)
			got := map[string]string{}
			for f := range c.want {
				b, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				got[f] = string(b)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if want := len(controllers) - len(c.tree.controllers); len(unlimited) != want {
				t.Errorf("unlimited %q, want %d", unlimited, want)
			}
		})
	}
}

// TestTreesAreFound: the mount tables of the three kinds of host.
func TestTreesAreFound(t *testing.T) {
	v2 := t.TempDir()
	if err := os.WriteFile(filepath.Join(v2, "cgroup.controllers"), []byte("cpuset cpu io memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bare := t.TempDir()
	if err := os.WriteFile(filepath.Join(bare, "cgroup.controllers"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		table string
		want  []tree
	}{
		"none": {"22 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n", nil},
		"version 2": {"30 22 0:26 / " + v2 + " rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n", []tree{
			{mount: v2, unified: true, controllers: []string{"memory", "pids", "cpu"}},
		}},
		"version 2 mounted twice": {"30 22 0:26 / " + v2 + " rw - cgroup2 cgroup2 rw\n31 22 0:26 / /mnt rw - cgroup2 cgroup2 rw\n", []tree{
			{mount: v2, unified: true, controllers: []string{"memory", "pids", "cpu"}},
		}},
		"mixed": {
			"30 22 0:26 / " + bare + " rw - cgroup2 cgroup rw\n" +
				"31 22 0:27 / /c/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n" +
				"32 22 0:28 / /c/freezer rw - cgroup cgroup rw,freezer\n" +
				"33 22 0:29 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				"34 22 0:30 / /c/memory rw - cgroup cgroup rw,memory\n",
			[]tree{
				{mount: bare, unified: true},
				{mount: "/c/cpu,cpuacct", controllers: []string{"cpu"}},
				{mount: "/c/systemd"},
				{mount: "/c/memory", controllers: []string{"memory"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseTrees(c.table)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(tree{})); diff != "" {
				t.Errorf("trees (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLimitsThatCannotHold are said, each with its reason.
func TestLimitsThatCannotHold(t *testing.T) {
	g := cgroups{parent: "p", trees: []tree{{mount: t.TempDir(), controllers: []string{"memory", "pids"}}}}
	dir := g.path(g.trees[0], "i-a")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"memory: set limit: open " + dir + "/memory.limit_in_bytes: no such file or directory",
		"cpu: no such control group controller on this host",
	}
	if diff := cmp.Diff(want, g.ensure("i-a", Limits{MemoryBytes: 1, Processes: 1, CPUMillis: 1})); diff != "" {
		t.Errorf("unlimited (-want +got):\n%s", diff)
	}
}
