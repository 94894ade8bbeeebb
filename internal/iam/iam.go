// Package iam is who may speak to the API: accounts, their quotas and access keys, and
// the principal that a key stands for. Its operations are functions of a
// transaction, like those of package ops; time and randomness are arguments.
//
// It verifies no signature (package sigv4) and serves no IAM API. Every key
// stands for its account's root user, who may do everything in the account and
// nothing in another.
//
// Invariants: every key belongs to an account that exists; a key id names one
// key in the whole world, whatever the account.
package iam

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// FirstAccount is the account that a new world begins with, unless a Preset
// names another.
const FirstAccount vpc.AccountID = "000000000001"

const (
	accountDigits = 12
	// keysPerAccountMax is more than rotation needs for each program of a large
	// account, and few enough to list at once.
	keysPerAccountMax = 100
	// keyIDMin, keyIDMax are AWS's bounds of an access key id; secretMax keeps
	// a preset secret within reason. We make 20 and 40 characters, as AWS does.
	keyIDMin, keyIDMax = 16, 128
	secretMin          = 8
	secretMax          = 128
	accountNameMax     = 64
)

// Random bytes that a new key and a new account are made of.
type (
	// KeyRandom becomes the key's id and secret.
	KeyRandom [keyIDRandom + secretRandom]byte
	// AccountRandom becomes the account's id.
	AccountRandom [8]byte
)

const (
	keyIDRandom  = 10 // 16 characters of base32
	secretRandom = 30 // 40 characters of base64
	keyIDPrefix  = "AKIA"
)

// Principal is who makes a request. The zero Principal is nobody.
type Principal struct {
	Account vpc.AccountID
	ARN     string
	UserID  string
	Key     vpc.AccessKeyID
}

// Root is the root user of an account, as GetCallerIdentity shows it.
func Root(id vpc.AccountID) Principal {
	return Principal{Account: id, ARN: "arn:aws:iam::" + string(id) + ":root", UserID: string(id)}
}

// Authenticate is the secret that a key signs with and the principal it stands
// for; ok is false if there is no such key.
func Authenticate(s *state.Snapshot, id vpc.AccessKeyID) (p Principal, secret string, ok bool) {
	key := s.AccessKey(id)
	if key == nil || s.Account(key.Account) == nil {
		return Principal{}, "", false
	}
	p = Root(key.Account)
	p.Key = id
	return p, key.Secret, true
}

// NewAccount is what an account is to be.
type NewAccount struct {
	ID        vpc.AccountID  // empty: made of Random
	Name      string         // for people
	Platforms []vpc.Platform // empty: VPC alone
	Random    AccountRandom
}

// CreateAccount makes an account.
func CreateAccount(tx *state.Tx, n NewAccount, now time.Time) (*vpc.Account, error) {
	if len(n.Name) > accountNameMax || strings.ContainsFunc(n.Name, func(r rune) bool { return r < ' ' }) {
		return nil, apierr.New(apierr.CodeInvalidParameterValue,
			"An account's name has at most %d bytes and no control characters", accountNameMax)
	}
	a := &vpc.Account{ID: n.ID, Name: n.Name, Created: now, Classic: slices.Contains(n.Platforms, vpc.PlatformClassic)}
	if err := checkPlatforms(n.Platforms, a); err != nil {
		return nil, err
	}
	if a.ID == "" {
		a.ID = freeAccount(tx, n.Random)
	}
	if err := checkAccountID(a.ID); err != nil {
		return nil, err
	}
	if tx.Account(a.ID) != nil {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "The account %s exists already", a.ID)
	}
	tx.Put(a)
	return a, nil
}

// checkPlatforms refuses platforms that are not exactly those of an account.
func checkPlatforms(wanted []vpc.Platform, a *vpc.Account) error {
	if len(wanted) == 0 || slices.Equal(slices.Sorted(slices.Values(wanted)), a.Platforms()) {
		return nil
	}
	return apierr.New(apierr.CodeInvalidParameterValue, "An account has the platforms EC2 and VPC, or VPC alone, not %v", wanted)
}

// freeAccount is the first free id at or after the one that random names.
func freeAccount(tx *state.Tx, random AccountRandom) vpc.AccountID {
	const ids = 1_000_000_000_000
	for n := binary.BigEndian.Uint64(random[:]) % ids; ; n = (n + 1) % ids {
		id := vpc.AccountID(fmt.Sprintf("%0*d", accountDigits, n))
		if n != 0 && tx.Account(id) == nil {
			return id
		}
	}
}

func checkAccountID(id vpc.AccountID) error {
	if len(id) != accountDigits || strings.Trim(string(id), "0123456789") != "" {
		return apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for an account is invalid. An account id is twelve digits.", id)
	}
	return nil
}

// DeleteAccount deletes an account that owns nothing, and its keys.
func DeleteAccount(tx *state.Tx, id vpc.AccountID) error {
	a, err := Account(tx.Snapshot, id)
	if err != nil {
		return err
	}
	own := leftovers(tx, id)
	for _, kind := range slices.Sorted(maps.Keys(state.Kinds())) {
		for e := range tx.All(kind) {
			if s, ok := e.(vpc.Scoped); ok && s.In().Account == id && !slices.Contains(own, e) {
				return apierr.New(apierr.CodeDependencyViolation, "The account %s has a dependent object: %s %s in %s",
					id, kind, e.Key(), s.In().Region)
			}
		}
	}
	for _, e := range own {
		tx.Delete(e)
	}
	tx.Delete(a)
	return nil
}

// leftovers are an account's entities that are nothing to its owner, or that he cannot delete: the default groups
// of EC2-Classic, unless another account's rules reference them.
func leftovers(tx *state.Tx, id vpc.AccountID) (out []vpc.Entity) {
	for k := range tx.AccessKeysOf(id) {
		out = append(out, k)
	}
	for e := range tx.All(vpc.KindRegion) {
		if e.(*vpc.RegionState).Scope.Account == id {
			out = append(out, e)
		}
	}
	for e := range tx.All(vpc.KindToken) {
		if e.(*vpc.Token).Scope.Account == id {
			out = append(out, e)
		}
	}
	for e := range tx.All(vpc.KindGroup) {
		g := e.(*vpc.SecurityGroup)
		if g.Scope.Account != id || !g.VPC.Classic() || !g.IsDefault() || referencedByOthers(tx, g) {
			continue
		}
		out = append(out, g)
		for r := range tx.RulesOf(g.ID) {
			out = append(out, r)
		}
	}
	return out
}

func referencedByOthers(tx *state.Tx, g *vpc.SecurityGroup) bool {
	for r := range tx.RulesAbout(g.ID) {
		if r.Scope.Account != g.Scope.Account {
			return true
		}
	}
	return false
}

// Account is the account with the id.
func Account(s *state.Snapshot, id vpc.AccountID) (*vpc.Account, error) {
	if err := checkAccountID(id); err != nil {
		return nil, err
	}
	a := s.Account(id)
	if a == nil {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "The account %s does not exist", id)
	}
	return a, nil
}

// CreateKey makes an access key for the account.
func CreateKey(tx *state.Tx, id vpc.AccountID, random KeyRandom, now time.Time) (*vpc.AccessKey, error) {
	k := &vpc.AccessKey{
		ID:      vpc.AccessKeyID(keyIDPrefix + base32.StdEncoding.EncodeToString(random[:keyIDRandom])),
		Secret:  base64.StdEncoding.EncodeToString(random[keyIDRandom:]),
		Account: id,
		Created: now,
	}
	if tx.AccessKey(k.ID) != nil {
		return nil, apierr.New(apierr.CodeInternalError, "The random bytes for a new access key were used before")
	}
	return k, putKey(tx, k)
}

func putKey(tx *state.Tx, k *vpc.AccessKey) error {
	if _, err := Account(tx.Snapshot, k.Account); err != nil {
		return err
	}
	n := 0
	for range tx.AccessKeysOf(k.Account) {
		n++
	}
	if n >= keysPerAccountMax {
		return apierr.New(apierr.CodeInvalidParameterValue, "The account %s has %d access keys of %d", k.Account, n, keysPerAccountMax)
	}
	tx.Put(k)
	return nil
}

// Keys walks an account's keys, the oldest first.
func Keys(s *state.Snapshot, id vpc.AccountID) iter.Seq[*vpc.AccessKey] {
	keys := slices.Collect(s.AccessKeysOf(id))
	slices.SortStableFunc(keys, func(a, b *vpc.AccessKey) int { return a.Created.Compare(b.Created) })
	return slices.Values(keys)
}

// DeleteKey deletes an account's key.
func DeleteKey(tx *state.Tx, owner vpc.AccountID, id vpc.AccessKeyID) error {
	if _, err := Account(tx.Snapshot, owner); err != nil {
		return err
	}
	k := tx.AccessKey(id)
	if k == nil || k.Account != owner {
		return apierr.New(apierr.CodeInvalidParameterValue, "The access key %s does not exist in the account %s", id, owner)
	}
	tx.Delete(k)
	return nil
}

// Preset is what an installation wants to begin with, and to find at every
// start. Empty members are chosen: FirstAccount, and a random key.
type Preset struct {
	Account vpc.AccountID
	Key     vpc.AccessKeyID // with Secret or not at all
	Secret  string
}

// Setup makes sure that the preset account and its key are there, and returns
// the key: the preset one; else the account's oldest; else a new one. A key
// whose preset secret is another than the stored one gets the preset one.
func Setup(tx *state.Tx, p Preset, random KeyRandom, now time.Time) (*vpc.AccessKey, error) {
	if p.Account == "" {
		p.Account = FirstAccount
	}
	if tx.Account(p.Account) == nil {
		if _, err := CreateAccount(tx, NewAccount{ID: p.Account}, now); err != nil {
			return nil, err
		}
	}
	if p.Key != "" || p.Secret != "" {
		return presetKey(tx, p, now)
	}
	for k := range Keys(tx.Snapshot, p.Account) {
		return k, nil
	}
	return CreateKey(tx, p.Account, random, now)
}

func presetKey(tx *state.Tx, p Preset, now time.Time) (*vpc.AccessKey, error) {
	if err := checkPreset(p); err != nil {
		return nil, err
	}
	old := tx.AccessKey(p.Key)
	if old == nil {
		k := &vpc.AccessKey{ID: p.Key, Secret: p.Secret, Account: p.Account, Created: now}
		return k, putKey(tx, k)
	}
	if old.Account != p.Account {
		return nil, apierr.New(apierr.CodeInvalidParameterValue, "The access key %s belongs to the account %s, not to %s", p.Key, old.Account, p.Account)
	}
	if old.Secret == p.Secret {
		return old, nil
	}
	k := *old
	k.Secret = p.Secret
	tx.Put(&k)
	return &k, nil
}

func checkPreset(p Preset) error {
	id := string(p.Key)
	if len(id) < keyIDMin || len(id) > keyIDMax || strings.ContainsFunc(id, func(r rune) bool { return !wordRune(r) }) {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Value (%s) for an access key id is invalid. It has %d to %d letters, digits and underscores.", id, keyIDMin, keyIDMax)
	}
	if len(p.Secret) < secretMin || len(p.Secret) > secretMax || strings.ContainsFunc(p.Secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"The secret of the access key %s is invalid. It has %d to %d printable ASCII characters without blanks.", id, secretMin, secretMax)
	}
	return nil
}

func wordRune(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
