package call_test

import (
	"crypto/sha256"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ops/opstest"
)

func TestIDs(t *testing.T) {
	seed := sha256.Sum256([]byte("a"))
	a, b := call.NewIDs(seed), call.NewIDs(seed)
	form := regexp.MustCompile(`^sg-0[0-9a-f]{16}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := a.New("sg")
		if again := b.New("sg"); again != id {
			t.Fatalf("%s and %s from one seed", id, again)
		}
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%s, seen before: %v", id, seen[id])
		}
		seen[id] = true
	}
	if mac := a.MAC(); mac != b.MAC() || !regexp.MustCompile(`^02(:[0-9a-f]{2}){5}$`).MatchString(mac) {
		t.Errorf("MAC %s", mac)
	}
	if a.Bytes() != b.Bytes() {
		t.Error("two blocks from one seed")
	}
	if call.NewIDs(sha256.Sum256([]byte("b"))).New("sg") == call.NewIDs(seed).New("sg") {
		t.Error("one identifier from two seeds")
	}
}

// TestClientTokens sends a request again: alike, changed, and with another token.
func TestClientTokens(t *testing.T) {
	s := opstest.NewStory(t)
	made := 0
	send := func(token, parameter string) (string, error) {
		tx := s.World.Begin()
		out, err := call.Once(tx, s.NewCall("CreateThing"), &token, struct{ P string }{parameter},
			func() (string, []string, error) {
				made++
				id := "x-" + strconv.Itoa(made)
				return "new " + id, []string{id}, nil
			},
			func(ids []string) (string, error) { return "old " + ids[0], nil })
		if err == nil {
			s.World = tx.Next(s.World.Revision() + 1)
		}
		return out, err
	}
	for _, test := range []struct{ token, parameter, want string }{
		{"a", "p", "new x-1"},
		{"a", "p", "old x-1"},
		{"b", "p", "new x-2"},
		{"", "p", "new x-3"},
		{"", "p", "new x-4"},
	} {
		if got, err := send(test.token, test.parameter); got != test.want || err != nil {
			t.Errorf("token %q, parameter %q: %q, %v; want %q", test.token, test.parameter, got, err, test.want)
		}
	}
	if _, err := send("a", "q"); !apierr.HasCode(err, apierr.CodeIdempotentParameterMismatch) || !strings.Contains(err.Error(), "x-1") {
		t.Errorf("other parameters: %v", err)
	}
	if _, err := send(strings.Repeat("a", 65), "q"); !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
		t.Errorf("long token: %v", err)
	}
	s.Scope.Account = "000000000002"
	if got, err := send("a", "q"); got != "new x-5" || err != nil {
		t.Errorf("another account's token: %q, %v", got, err)
	}
}

// TestTagLengths tries the bounds of tags, which count characters and not bytes.
func TestTagLengths(t *testing.T) {
	for _, test := range []struct {
		key, value int
		ok         bool
	}{{128, 256, true}, {129, 0, false}, {1, 257, false}} {
		_, err := call.ParseTags([]ec2.Tag{{Key: new(strings.Repeat("ä", test.key)), Value: new(strings.Repeat("ß", test.value))}})
		if test.ok != (err == nil) {
			t.Errorf("%d and %d characters: %v", test.key, test.value, err)
		}
	}
}
