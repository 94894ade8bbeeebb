package terraform_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// What the README shows, pasted into a folder, does what it says: the provider is started by Terraform itself, in
// the environment that the credentials make.
func TestReadme(t *testing.T) {
	needsTerraform(t)
	t.Parallel()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "\n```hcl\n")
	block, _, ended := strings.Cut(block, "\n```\n")
	if !found || !ended {
		t.Fatal("the README shows no configuration")
	}
	server := programs.Install(t, installation.Server)
	server.Start()
	s := &stage{t: t, dir: t.TempDir()}
	plugins := filepath.Join(s.dir, "terraform.rc")
	s.env = append(slices.DeleteFunc(slices.Clone(server.Env), func(v string) bool { return strings.HasPrefix(v, "TF_") }),
		"TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+plugins)
	for name, content := range map[string]string{
		plugins:                         "provider_installation {\n  filesystem_mirror {\n    path = \"" + providers.folder() + "\"\n  }\n}\n",
		filepath.Join(s.dir, "main.tf"): strings.ReplaceAll(block, "http://127.0.0.1:4750", server.Endpoint),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run("init", "-input=false")
	done, _ := s.apply()
	want := changes{"aws_security_group.web": created, "aws_vpc_security_group_ingress_rule.web": created}
	if !maps.Equal(done, want) {
		t.Errorf("the README's configuration made %v, want %v", done, want)
	}
	s.settled()
	s.apply("-destroy")
}
