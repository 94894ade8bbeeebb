package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var at = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func meta() event.Meta {
	return event.Meta{
		ID: "e-1", Time: at, Account: "000000000001", Region: "us-east-1", Principal: "arn:aws:iam::000000000001:root",
		AccessKey: "AKIA1", SourceIP: "127.0.0.1", UserAgent: "aws-cli", Action: "CreateSecurityGroup", RequestID: "r-1",
		Request: map[string]string{"GroupName": "web", "VpcId": "vpc-1"},
	}
}

func TestAppendTellsWhatTheTransactionChanged(t *testing.T) {
	tx := state.NewSnapshot().Begin()
	tx.Put(&vpc.SecurityGroup{ID: "sg-1", Name: "old"})
	base := tx.Next(7)

	tx = base.Begin()
	if err := event.Append(tx, meta()); err != nil || len(tx.Records()) != 0 {
		t.Errorf("an empty transaction has %d records, %v", len(tx.Records()), err)
	}
	tx.Put(&vpc.SecurityGroup{ID: "sg-1", Name: "new"})
	tx.Put(&vpc.SecurityGroup{ID: "sg-2"})
	if err := event.Append(tx, meta()); err != nil || len(tx.Records()) != 1 {
		t.Fatalf("%d records, %v", len(tx.Records()), err)
	}
	e, err := event.Decode(tx.Records()[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.Revision != 8 || len(e.Changes) != 2 || !e.Changes[1].Made || e.Changes[0].Made || e.Changes[0].Gone {
		t.Errorf("event = %+v", e)
	}
	if c := e.Changes[0]; !strings.Contains(string(c.Before), `"old"`) || !strings.Contains(string(c.After), `"new"`) {
		t.Errorf("change = %s → %s", c.Before, c.After)
	}
	if diff := cmp.Diff(meta(), e.Meta); diff != "" {
		t.Error(diff)
	}
}

func TestNoSecretIsKept(t *testing.T) {
	m := meta()
	m.Request = map[string]string{
		"UserData": "c2VjcmV0", "UserData.Value": "c2VjcmV0", "LaunchTemplateData.UserData": "c2VjcmV0",
		"X-Amz-Signature": "c2VjcmV0", "X-Amz-Security-Token": "c2VjcmV0", "InstanceType": "t3.micro",
	}
	e, err := event.Make(m, 1, []state.Change{
		{Kind: vpc.KindAccessKey, Key: "AKIA1", After: &vpc.AccessKey{ID: "AKIA1", Secret: "c2VjcmV0"}},
		{Kind: vpc.KindInstance, Key: "i-1", Before: &vpc.Instance{ID: "i-1", UserData: []byte("secret")}}, // base64: c2VjcmV0
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "c2VjcmV0") {
		t.Errorf("the secret is in %s", data)
	}
	if e.Request["UserData"] != event.Removed || e.Request["InstanceType"] != "t3.micro" {
		t.Errorf("request = %v", e.Request)
	}
}

func TestAnEventIsBounded(t *testing.T) {
	const bound = 256 << 10
	m := meta()
	m.UserAgent = strings.Repeat("ü", 1<<20)
	m.Request = map[string]string{}
	for i := range 10_000 {
		m.Request[fmt.Sprintf("Filter.%05d", i)] = strings.Repeat("x", 5000)
	}
	var changes []state.Change
	for i := range 5000 {
		id := fmt.Sprintf("sg-%017d", i)
		changes = append(changes, state.Change{
			Kind: vpc.KindGroup, Key: id, After: &vpc.SecurityGroup{ID: vpc.GroupID(id), Description: strings.Repeat("<", 255)},
		})
	}
	e, err := event.Make(m, 1, changes)
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > bound {
		t.Errorf("%d bytes, more than %d", len(data), bound)
	}
	if e.ChangesOmitted+len(e.Changes) != len(changes) || e.RequestOmitted+len(e.Request) != len(m.Request) {
		t.Errorf("%d+%d changes, %d+%d parameters: the sums do not tell what was left out",
			len(e.Changes), e.ChangesOmitted, len(e.Request), e.RequestOmitted)
	}
	if e.Changes[0].Truncated || !e.Changes[len(e.Changes)-1].Truncated || e.Changes[len(e.Changes)-1].After != nil {
		t.Error("the first change is kept whole and the last is flagged")
	}
}

func TestFilter(t *testing.T) {
	e, err := event.Make(meta(), 1, []state.Change{{Kind: vpc.KindGroup, Key: "sg-1", After: &vpc.SecurityGroup{ID: "sg-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    event.Filter
		want bool
	}{
		{"everything", event.Filter{}, true},
		{"its account", event.Filter{Account: "000000000001"}, true},
		{"another account", event.Filter{Account: "000000000002"}, false},
		{"another region", event.Filter{Region: "eu-west-1"}, false},
		{"its action", event.Filter{Action: "CreateSecurityGroup"}, true},
		{"another action", event.Filter{Action: "DeleteSecurityGroup"}, false},
		{"what it changed", event.Filter{Resource: "sg-1"}, true},
		{"what its request named", event.Filter{Resource: "vpc-1"}, true},
		{"another resource", event.Filter{Resource: "sg-2"}, false},
		{"since then", event.Filter{Since: at}, true},
		{"since later", event.Filter{Since: at.Add(1)}, false},
		{"all but one", event.Filter{Account: "000000000001", Resource: "sg-1", Region: "eu-west-1"}, false},
	} {
		if got := c.f.Match(e); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	e, err := event.Make(meta(), 1, nil)
	if err != nil {
		f.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"Changes":[{"Before":{}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.Decode(data)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil {
			t.Skip() // a time outside the years that JSON can say
		}
		if _, err := event.Decode(again); err != nil {
			t.Errorf("does not decode again: %v", err)
		}
	})
}
