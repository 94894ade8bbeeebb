package terraform_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once; providers are those that Terraform is lent, nil without a provider.
var (
	programs  installation.Programs
	providers *providerPool
)

// parallelMin is how many configurations are applied at a time: the provider sleeps for most of its time, ten
// seconds before it looks at a new instance.
const parallelMin = 8

func TestMain(m *testing.M) {
	os.Exit(func() int {
		flag.Parse()
		if err := flag.Set("test.parallel", fmt.Sprint(max(parallelMin, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
		if binary := findProvider(); binary != "" {
			named, err := namedTypes()
			if err == nil {
				providers, err = newPool(binary, named)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer providers.end()
		}
		return installation.Main(m, &programs)
	}())
}

// needsTerraform skips where Terraform or its provider is missing.
func needsTerraform(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes, of which the provider sleeps most: not with -short")
	}
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("needs terraform, which is not installed")
	}
	if providers == nil {
		t.Skip("needs Terraform's AWS provider " + providerVersion + " in a folder of plugins, such as ~/.terraform.d/plugins")
	}
}

// pluginFolders are where Terraform looks for plugins before it downloads them, and where systems keep mirrors.
func pluginFolders() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.DevNull
	}
	mirrors, _ := filepath.Glob("/opt/*") // the pattern is well-formed
	return append([]string{
		filepath.Join(home, ".terraform.d/plugins"), filepath.Join(home, ".local/share/terraform/plugins"),
		"/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", os.Getenv("TF_PLUGIN_CACHE_DIR"),
	}, mirrors...)
}

// findProvider finds the provider's program; "" is none.
func findProvider() string {
	for _, folder := range pluginFolders() {
		found, err := filepath.Glob(filepath.Join(folder, "*", providerName, providerVersion, runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-aws_v*"))
		if err == nil && len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

var typeName = regexp.MustCompile(`(?m)^(?:resource|data) "(aws_\w+)"`)

// namedTypes are the resources and data sources that some configuration has.
func namedTypes() ([]string, error) {
	files, err := filepath.Glob("testdata/*/*.tf")
	if err != nil {
		return nil, err
	}
	deeper, err := filepath.Glob("testdata/*/*/*.tf")
	if err != nil {
		return nil, err
	}
	var named []string
	for _, f := range append(files, deeper...) {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range typeName.FindAllSubmatch(text, -1) {
			named = append(named, string(m[1]))
		}
	}
	slices.Sort(named)
	return slices.Compact(named), nil
}
