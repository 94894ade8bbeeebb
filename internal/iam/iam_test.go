package iam_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func random(seed byte) (r iam.KeyRandom) {
	for i := range r {
		r[i] = seed + byte(i)*7
	}
	return r
}

func with(t *testing.T, accounts ...vpc.AccountID) *state.Tx {
	t.Helper()
	tx := state.NewSnapshot().Begin()
	for _, id := range accounts {
		if _, err := iam.CreateAccount(tx, iam.NewAccount{ID: id}, now); err != nil {
			t.Fatal(err)
		}
	}
	return tx
}

func refused(t *testing.T, err error, code apierr.Code) {
	t.Helper()
	if !apierr.HasCode(err, code) {
		t.Errorf("err = %v, want %s", err, code)
	}
}

func TestAKeyAuthenticatesItsAccount(t *testing.T) {
	tx := with(t, "000000000001", "000000000002")
	k, err := iam.CreateKey(tx, "000000000002", random(1), now)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(string(k.ID)) || !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(k.Secret) {
		t.Errorf("key %q, secret %q", k.ID, k.Secret)
	}
	p, secret, ok := iam.Authenticate(tx.Snapshot, k.ID)
	want := iam.Principal{Account: "000000000002", ARN: "arn:aws:iam::000000000002:root", UserID: "000000000002", Key: k.ID}
	if !ok || secret != k.Secret || cmp.Diff(want, p) != "" {
		t.Errorf("Authenticate = %+v, %q, %t", p, secret, ok)
	}
	refused(t, iam.DeleteKey(tx, "000000000001", k.ID), apierr.CodeInvalidParameterValue)
	if err := iam.DeleteKey(tx, "000000000002", k.ID); err != nil {
		t.Fatal(err)
	}
	if p, secret, ok := iam.Authenticate(tx.Snapshot, k.ID); ok || secret != "" || p != (iam.Principal{}) {
		t.Errorf("a deleted key authenticates %+v", p)
	}
}

func TestKeysAreBoundedAndListedByAge(t *testing.T) {
	tx := with(t, "000000000001")
	var want []vpc.AccessKeyID
	for i := range 100 {
		r := random(3)
		r[0] = byte(i * 37)
		r[1] = byte(i)
		k, err := iam.CreateKey(tx, "000000000001", r, now.Add(time.Duration(i)))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, k.ID)
	}
	var got []vpc.AccessKeyID
	for k := range iam.Keys(tx.Snapshot, "000000000001") {
		got = append(got, k.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys are listed as %v, made as %v", got, want)
	}
	_, err := iam.CreateKey(tx, "000000000001", random(200), now)
	refused(t, err, apierr.CodeInvalidParameterValue)
	_, err = iam.CreateKey(tx, "000000000009", random(201), now)
	refused(t, err, apierr.CodeInvalidParameterValue)
}

func TestAccountIDs(t *testing.T) {
	tx := with(t)
	for i := range 3 { // the same random bytes lead to neighbours
		a, err := iam.CreateAccount(tx, iam.NewAccount{Name: fmt.Sprint("team-", i), Random: iam.AccountRandom{7: 41}}, now)
		if err != nil {
			t.Fatal(err)
		}
		if want := vpc.AccountID(fmt.Sprintf("%012d", 41+i)); a.ID != want {
			t.Errorf("account %s, want %s", a.ID, want)
		}
	}
	for _, id := range []vpc.AccountID{"000000000041", "1", "00000000000x", "0000000000011"} {
		_, err := iam.CreateAccount(tx, iam.NewAccount{ID: id}, now)
		refused(t, err, apierr.CodeInvalidParameterValue)
	}
	_, err := iam.CreateAccount(tx, iam.NewAccount{Name: "a\nb"}, now)
	refused(t, err, apierr.CodeInvalidParameterValue)
}

func TestPlatforms(t *testing.T) {
	tx := with(t)
	for _, row := range []struct {
		id     vpc.AccountID
		asked  []vpc.Platform
		wanted []vpc.Platform // none: it is refused
	}{
		{"000000000001", nil, []vpc.Platform{"VPC"}},
		{"000000000002", []vpc.Platform{"VPC"}, []vpc.Platform{"VPC"}},
		{"000000000003", []vpc.Platform{"VPC", "EC2"}, []vpc.Platform{"EC2", "VPC"}},
		{"000000000004", []vpc.Platform{"EC2"}, nil},
		{"000000000005", []vpc.Platform{"VPC", "VPC"}, nil},
		{"000000000006", []vpc.Platform{"vpc"}, nil},
	} {
		a, err := iam.CreateAccount(tx, iam.NewAccount{ID: row.id, Platforms: row.asked}, now)
		if row.wanted == nil {
			refused(t, err, apierr.CodeInvalidParameterValue)
			continue
		}
		if err != nil || cmp.Diff(row.wanted, a.Platforms()) != "" {
			t.Errorf("%v: %+v, %v", row.asked, a, err)
		}
	}
}

// TestClassicDefaultGroupsHoldNoAccount: nobody could delete them first.
func TestClassicDefaultGroupsHoldNoAccount(t *testing.T) {
	scope, others := vpc.Scope{Account: "000000000001", Region: "us-east-1"}, vpc.Scope{Account: "000000000002", Region: "us-east-1"}
	tx := with(t, scope.Account, others.Account)
	tx.Put(&vpc.SecurityGroup{ID: "sg-1", Scope: scope, VPC: vpc.ClassicNetwork(scope.Region), Name: "default"})
	tx.Put(&vpc.Rule{ID: "sgr-1", Scope: scope, Group: "sg-1", Source: vpc.Source{Group: "sg-1"}})
	used := &vpc.Rule{ID: "sgr-2", Scope: others, Group: "sg-2", Source: vpc.Source{Group: "sg-1"}}
	tx.Put(used)
	refused(t, iam.DeleteAccount(tx, scope.Account), apierr.CodeDependencyViolation)
	tx.Delete(used)
	own := &vpc.SecurityGroup{ID: "sg-3", Scope: scope, VPC: vpc.ClassicNetwork(scope.Region), Name: "web"}
	tx.Put(own)
	refused(t, iam.DeleteAccount(tx, scope.Account), apierr.CodeDependencyViolation)
	tx.Delete(own)
	if err := iam.DeleteAccount(tx, scope.Account); err != nil || tx.Group("sg-1") != nil || tx.Rule("sgr-1") != nil {
		t.Errorf("%v; left %v, %v", err, tx.Group("sg-1"), tx.Rule("sgr-1"))
	}
}

func TestOnlyAnEmptyAccountIsDeleted(t *testing.T) {
	scope := vpc.Scope{Account: "000000000001", Region: "us-east-1"}
	tx := with(t, "000000000001", "000000000002")
	for i, id := range []vpc.AccountID{"000000000001", "000000000002"} {
		if _, err := iam.CreateKey(tx, id, random(byte(i)), now); err != nil {
			t.Fatal(err)
		}
		tx.Put(&vpc.RegionState{Scope: vpc.Scope{Account: id, Region: "us-east-1"}})
		tx.Put(&vpc.Token{Scope: vpc.Scope{Account: id}, Action: "a", Value: "b"})
	}
	v := &vpc.VPC{ID: "vpc-1", Scope: scope}
	tx.Put(v)
	refused(t, iam.DeleteAccount(tx, "000000000001"), apierr.CodeDependencyViolation)
	refused(t, iam.DeleteAccount(tx, "000000000003"), apierr.CodeInvalidParameterValue)
	tx.Delete(v)
	if err := iam.DeleteAccount(tx, "000000000001"); err != nil {
		t.Fatal(err)
	}
	for kind := range state.Kinds() {
		for e := range tx.All(kind) {
			switch e := e.(type) {
			case *vpc.Account:
				if e.ID == "000000000001" {
					t.Error("the account is still there")
				}
			case *vpc.AccessKey:
				if e.Account == "000000000001" {
					t.Error("its key is still there")
				}
			case *vpc.RegionState:
				if e.Scope == scope {
					t.Error("its region is still there")
				}
			case *vpc.Token:
				if e.Scope.Account == "000000000001" {
					t.Error("its token is still there")
				}
			}
		}
	}
	if n := len(slices.Collect(tx.AccessKeysOf("000000000002"))); n != 1 {
		t.Errorf("the other account has %d keys", n)
	}
}

func TestSetup(t *testing.T) {
	tx := with(t)
	setup := func(p iam.Preset) *vpc.AccessKey {
		t.Helper()
		k, err := iam.Setup(tx, p, random(9), now)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := setup(iam.Preset{})
	if first.Account != iam.FirstAccount {
		t.Errorf("the first account is %s", first.Account)
	}
	if again := setup(iam.Preset{}); again != first {
		t.Errorf("a second start has key %s, the first had %s", again.ID, first.ID)
	}
	preset := iam.Preset{Account: "123456789012", Key: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	k := setup(preset)
	if k.ID != preset.Key || k.Secret != preset.Secret || k.Account != preset.Account {
		t.Errorf("preset key = %+v", k)
	}
	if again := setup(preset); again != k {
		t.Error("the same preset changed the key")
	}
	preset.Secret += "2"
	if again := setup(preset); again.Secret != preset.Secret || again.Created != k.Created {
		t.Errorf("another secret: %+v", again)
	}
	for _, p := range []iam.Preset{
		{Account: "000000000001", Key: preset.Key, Secret: preset.Secret}, // another account's
		{Key: "short", Secret: preset.Secret},
		{Key: "AKIAIOSFODNN7EXAMPL2"},
		{Secret: preset.Secret},
		{Key: "AKIAIOSFODNN7 EXAMPLE", Secret: preset.Secret},
		{Key: "AKIAIOSFODNN7EXAMPL2", Secret: "with a blank"},
		{Account: "12"},
	} {
		_, err := iam.Setup(tx, p, random(10), now)
		refused(t, err, apierr.CodeInvalidParameterValue)
	}
}
