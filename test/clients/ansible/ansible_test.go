// Package ansible_test keeps groups with Ansible's amazon.aws collection, as Debian packages it.
package ansible_test

import (
	"os"
	"os/exec"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) { os.Exit(installation.Main(m, &programs)) }

// python is the one that Debian's Ansible runs with, and finds Debian's boto3 with.
const python = "/usr/bin/python3"

// A playbook that makes, finds, changes, purges and deletes, and says itself what should have changed.
func TestSecurityGroupModule(t *testing.T) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs Ansible, which make clients installs and make test does not, since that takes minutes")
	}
	if err := exec.CommandContext(t.Context(), python, "-c", "import boto3, ansible_collections.amazon.aws").Run(); err != nil {
		t.Skip("needs Ansible's amazon.aws and boto3 for " + python)
	}
	s := programs.Install(t, installation.Server)
	s.Start()
	vpc := s.AWS("create-vpc", "--cidr-block", "10.0.0.0/16", "--amazon-provided-ipv6-cidr-block", "--query", "Vpc.VpcId")
	cmd := exec.CommandContext(t.Context(), "ansible-playbook", "-i", "localhost,", "-e", "vpc_id="+vpc, "testdata/groups.yml")
	cmd.Env = append(s.Env, "ANSIBLE_HOME="+t.TempDir(), "ANSIBLE_LOCAL_TEMP="+t.TempDir(), "ANSIBLE_PYTHON_INTERPRETER="+python,
		"ANSIBLE_DEPRECATION_WARNINGS=false", "ANSIBLE_NOCOLOR=true", "ANSIBLE_DUPLICATE_YAML_DICT_KEY=ignore") // what a merged key overrides is no mistake
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ansible-playbook: %v\n%s", err, out)
	}
}
