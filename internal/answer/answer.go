// Package answer is what the JSON API is asked and answers, as it stands on the wire: the server encodes it and the
// command line decodes it. Members are spelled as EC2's JSON output spells them where EC2 has them.
//
// It serves nothing and decides nothing (rooms api, explain): it only says in types and words what others found.
package answer

import (
	"time"

	"sallyport.dev/sallyport/internal/event"
	"sallyport.dev/sallyport/internal/vpc"
)

// Account is an account as the API shows it.
type Account struct {
	AccountID string `json:"AccountId"`
	Name      string
	Created   time.Time
	Platforms []vpc.Platform `json:",omitempty"` // EC2 and VPC; absent: VPC alone
}

// OfAccount is an account as the API shows it.
func OfAccount(a *vpc.Account) Account {
	out := Account{AccountID: string(a.ID), Name: a.Name, Created: a.Created}
	if a.Classic {
		out.Platforms = a.Platforms()
	}
	return out
}

// Accounts is a list of accounts.
type Accounts struct{ Accounts []Account }

// Quotas are how much an account may have.
type Quotas struct {
	AccountID string `json:"AccountId"`
	Profile   string // guide-2018 or aws-today
	Quotas    []Quota
}

// OfQuotas are an account's quotas.
func OfQuotas(a *vpc.Account) Quotas {
	out := Quotas{AccountID: string(a.ID), Profile: string(a.Quotas.InProfile())}
	now, profile := a.Quotas.Quotas(), a.Quotas.InProfile().Quotas()
	for _, q := range vpc.EveryQuota() {
		told := Quota{Name: q.Name, Value: q.Of(now), Profile: q.Of(profile), Max: q.Max, Source: "profile"}
		if _, ok := a.Quotas.Overrides[q.Name]; ok {
			told.Source = "override"
		}
		out.Quotas = append(out.Quotas, told)
	}
	return out
}

// Quota is one of them.
type Quota struct {
	Name    string
	Value   int
	Source  string // of the value: profile, or override where it was set
	Profile int    // what the profile says
	Max     int    // the most that it can be set to
}

// QuotaChange is what is to become of an account's quotas. What it does not name stays.
type QuotaChange struct {
	Profile  string         `json:",omitempty"`
	Set      map[string]int `json:",omitempty"` // by name
	Reset    []string       `json:",omitempty"` // names: as the profile says again
	ResetAll bool           `json:",omitempty"` // before anything is set
}

// Key is an access key; the secret is given once, when it is made.
type Key struct {
	AccountID       string `json:"AccountId"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string `json:",omitempty"`
	Created         time.Time
}

// OfKey is a key without its secret.
func OfKey(k *vpc.AccessKey) Key {
	return Key{AccountID: string(k.Account), AccessKeyID: string(k.ID), Created: k.Created}
}

// Keys is a list of access keys, without their secrets.
type Keys struct{ Keys []Key }

// Status is what is enforced where.
type Status struct {
	Revision uint64
	// Enforced says that at least one host is connected and that every
	// interface which some host should judge has its newest program in a kernel.
	Enforced bool
	Hosts    []HostStatus
}

// HostStatus is one host's part of Status.
type HostStatus struct {
	HostID     string `json:"HostId"`
	Connected  bool
	LastSeen   time.Time
	Revision   uint64 // in its kernel
	Capacity   int
	Interfaces []InterfaceStatus
}

// InterfaceStatus is one interface's part of Status.
type InterfaceStatus struct {
	NetworkInterfaceID string `json:"NetworkInterfaceId"`
	InstanceID         string `json:"InstanceId,omitempty"`
	PrivateIPAddress   string `json:"PrivateIpAddress,omitempty"`
	Status             string // enforced, pending or not-enforced
	Reason             string `json:",omitempty"`
	Revision           uint64
}

// WaitResult is the answer of wait.
type WaitResult struct {
	Revision uint64
	Reached  bool
	Lagging  string `json:",omitempty"` // who has not got it
}

// Events is a list of events, the newest first.
type Events struct{ Events []*event.Event }
