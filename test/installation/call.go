package installation

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/sallyport/internal/sigv4"
)

// Call sends a signed request to the EC2 API, as no client of a vendor's would, and returns the status and the
// answer's body. Parameters are names and values in turn.
func (s *Installation) Call(as Credentials, action string, parameters ...string) (int, string) {
	s.t.Helper()
	form := url.Values{"Version": {"2016-11-15"}, "Action": {action}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	key := sigv4.Credentials{AccessKeyID: as.AccessKeyID, SecretAccessKey: as.SecretAccessKey}
	if err := sigv4.Sign(r, body, key, "us-east-1", "ec2", time.Now()); err != nil {
		s.t.Fatal(err)
	}
	res, err := new(http.Client).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}
