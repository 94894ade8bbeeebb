package awscli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/sallyport/test/installation"
)

// programs are those under test, built once.
var programs installation.Programs

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "aws" {
		status, err := ask(os.Getenv(socketName))
		if err != nil {
			fmt.Fprintln(os.Stderr, "aws:", err)
			status = 1
		}
		os.Exit(status)
	}
	os.Exit(installation.Main(m, &programs))
}

// socketName is the variable that names the socket of the loaded CLI.
const socketName = "AWSCLI_SOCKET"

// command is one run of the CLI; the other half is testdata/aws.py.
type command struct {
	Args []string          `json:"args"`
	Env  map[string]string `json:"env"`
	Dir  string            `json:"dir"`
}

// ask has the loaded CLI run this process's arguments with this process's files, and returns the exit status.
func ask(socket string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	c := command{Args: os.Args[1:], Env: map[string]string{}, Dir: dir}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		c.Env[name] = value
	}
	text, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: socket})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix(text, syscall.UnixRights(0, 1, 2), nil); err != nil {
		return 0, err
	}
	answer := make([]byte, 16)
	n, err := conn.Read(answer)
	if err != nil {
		return 0, errors.New("the CLI ended without a status")
	}
	return strconv.Atoi(string(answer[:n]))
}

// newEnough ends with success where python3 has the CLI, with the botocore that our model was cut from or a later one:
// what an older one leaves out of an answer, the transcripts would miss.
const newEnough = `import sys, awscli.clidriver, botocore; sys.exit(tuple(map(int, botocore.__version__.split("."))) < (1, 43, 11))`

// needsCLI skips where the transcripts cannot be played, and where little time is to be taken.
func needsCLI(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute of processor: not with -short")
	}
	if err := exec.CommandContext(t.Context(), "python3", "-c", newEnough).Run(); err != nil {
		t.Skip("needs version 1 of the AWS CLI in python3, with botocore 1.43.11 or newer")
	}
}

// loadCLI returns an environment in which the command aws is run by a process that has the CLI loaded, and sallyport
// is the program under test.
func loadCLI(t *testing.T, env []string) []string {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command("python3", "testdata/aws.py", socket)
	cmd.Env, cmd.Stderr = env, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("loading the CLI: %q, %v", line, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "aws")); err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{dir, string(programs), os.Getenv("PATH")}, string(os.PathListSeparator))
	return append(env, socketName+"="+socket, "PATH="+path)
}
