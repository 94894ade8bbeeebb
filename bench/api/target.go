package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/sigv4"
)

const (
	startMax = time.Minute      // a server that is not ready by then has failed
	callMax  = 2 * time.Minute  // moto needs seconds for the largest answers under load
	stopMax  = 10 * time.Second // then it is killed
)

// target is a server under test.
type target struct {
	name, url, data string
	creds           sigv4.Credentials
	client          *http.Client
	world           world
	stop            func() error
}

func newTarget(name string) *target {
	return &target{name: name, client: &http.Client{
		Timeout:   callMax,
		Transport: &http.Transport{MaxIdleConnsPerHost: clients[len(clients)-1], DisableCompression: true},
	}}
}

// call sends one signed request and returns the answer's body.
func (t *target) call(ctx context.Context, params []string) (string, error) {
	form := url.Values{"Version": {"2016-11-15"}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url+"/", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := sigv4.Sign(r, body, t.creds, "us-east-1", "ec2", time.Now()); err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return t.send(r)
}

func (t *target) send(r *http.Request) (string, error) {
	res, err := t.client.Do(r)
	if err != nil {
		return "", fmt.Errorf("sending: %w", err)
	}
	var text strings.Builder
	text.Grow(max(0, int(res.ContentLength)))
	_, err = io.Copy(&text, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %.500s", res.Status, text.String())
	}
	return text.String(), nil
}

func startSallyport(ctx context.Context, program string) (*target, error) {
	data, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a data folder: %w", err)
	}
	t := newTarget("sallyport")
	t.data = data
	cmd := exec.Command(program, "up", "--data", data, "--listen", "127.0.0.1:0", "--capacity", "0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", program, err), os.RemoveAll(data))
	}
	t.stop = func() error {
		end(cmd)
		down := exec.Command(program, "down", "--data", data)
		if text, err := down.CombinedOutput(); err != nil && os.Geteuid() == 0 {
			return fmt.Errorf("sallyport down: %w: %s", err, text)
		}
		return os.RemoveAll(data)
	}
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		if _, rest, ok := strings.Cut(scan.Text(), "sallyport is ready at "); ok {
			t.url, _, _ = strings.Cut(rest, " ")
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
	text, err := os.ReadFile(filepath.Join(data, "credentials.env"))
	if err == nil && t.url == "" {
		err = errors.New("it does not say where it is ready")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", program, err), t.stop())
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			t.creds.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			t.creds.SecretAccessKey = value
		}
	}
	return t, t.ready(ctx)
}

// end asks a process to stop, and kills it if it does not.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(os.Interrupt)
	late := time.AfterFunc(stopMax, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // how it ended does not matter any more
	late.Stop()
}

func startMoto(ctx context.Context) (*target, error) {
	path, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, fmt.Errorf("looking for it: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("finding a port: %w", err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("finding a port: %w", err)
	}
	cmd := exec.Command(path, "-H", host, "-p", port)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting: %w", err)
	}
	t := newTarget("moto")
	t.url = "http://" + net.JoinHostPort(host, port)
	t.creds = sigv4.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	t.stop = func() error {
		end(cmd)
		return nil
	}
	if err := t.ready(ctx); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// ready waits until the server answers.
func (t *target) ready(ctx context.Context) error {
	for until := time.Now().Add(startMax); ; time.Sleep(100 * time.Millisecond) {
		_, err := t.call(ctx, []string{"Action", "DescribeRegions"})
		if err == nil {
			return nil
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("waiting for %s: %w", t.name, err)
		}
	}
}

// motoVersion asks the Python that the program runs under.
func motoVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "python3", "-c", "import moto; print(moto.__version__)").Output()
	if err != nil {
		return "of unknown version"
	}
	return strings.TrimSpace(string(out))
}
