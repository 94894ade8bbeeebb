package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/sigv4"
)

// Names inside the data folder.
const (
	controlSocket   = "sallyport.sock"  // JSON API of the host's operator, mode 0600
	feedSocket      = "feed.sock"       // agents on this host
	credentialsFile = "credentials.env" // what a shell sources
	caFolder        = "fleet"           // the authority that vouches for hosts
)

// dataFlag adds --data; the default is SALLYPORT_DATA, else root's
// /var/lib/sallyport or the user's own state folder.
func dataFlag(f *flag.FlagSet, env *environment) *string {
	return f.String("data", defaultData(env), "the data folder")
}

func defaultData(env *environment) string {
	if dir := env.getenv("SALLYPORT_DATA"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/sallyport"
	}
	if dir := env.getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "sallyport")
	}
	return filepath.Join(env.getenv("HOME"), ".local", "state", "sallyport")
}

// client speaks the JSON API: through the unix socket in the data folder, or,
// when AWS_ENDPOINT_URL is set and the socket is not there, signed over the network.
type client struct {
	http   *http.Client
	base   string
	sign   func(r *http.Request, body []byte) error
	params url.Values // added to every request: account and region
}

// newClient finds the server.
func newClient(env *environment, data, account, region string) (*client, error) {
	socket := filepath.Join(data, controlSocket)
	params := url.Values{}
	if account != "" {
		params.Set("account", account)
	}
	if region != "" {
		params.Set("region", region)
	}
	if _, err := os.Stat(socket); err == nil {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		return &client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://sallyport", params: params}, nil
	}
	endpoint := env.getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		return nil, fmt.Errorf("no server: %s is not there and AWS_ENDPOINT_URL is not set; is `sallyport up` running?", socket)
	}
	creds := sigv4.Credentials{
		AccessKeyID:     env.getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: env.getenv("AWS_SECRET_ACCESS_KEY"),
	}
	if region == "" {
		region = env.getenv("AWS_REGION")
	}
	return &client{http: &http.Client{}, base: endpoint, params: url.Values{}, sign: func(r *http.Request, body []byte) error {
		return sigv4.Sign(r, body, creds, region, "sallyport", time.Now())
	}}, nil
}

// answerMax bounds what is read of an answer.
const answerMax = 64 << 20

// call sends a request and decodes the answer into out.
func (c *client) call(ctx context.Context, method, path string, params url.Values, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
	}
	query := url.Values{}
	for _, set := range []url.Values{c.params, params} {
		maps.Copy(query, set)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1/"+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	if c.sign != nil {
		if err := c.sign(r, body); err != nil {
			return fmt.Errorf("signing the request: %w", err)
		}
	}
	res, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMax))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(text, res.Status)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	return nil
}

func refusal(text []byte, status string) error {
	var e struct{ Code, Message string }
	if json.Unmarshal(text, &e) == nil && e.Message != "" {
		return errors.New(e.Message)
	}
	return fmt.Errorf("the server answered %s", status)
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
