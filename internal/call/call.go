// Package call is the frame of every action of the EC2 API: who calls, and what all operations have in common –
// identifiers and how they are looked up, filters, pages, tag specifications, client tokens, dry runs, changes of
// one attribute, and the words in which EC2 refuses.
//
// It is not the meaning of any action: it knows how identifiers of each kind of resource look, and nothing else
// of what the resources are. An operation is a function from a world, a caller and a request to an answer and a
// changed world. It reads and writes the world only through its state.Tx; time, identifiers and the caller come
// in [Call]; it has no clock, no randomness and no I/O, and may be run again on a newer world. What a client may
// not do (signature, policy) was decided before; that a request is well formed was decided by package ec2.
// Everything else about a request is checked by its operation, in EC2's order where it is known.
//
// Invariants: an operation that answers an error, DryRunOperation included, means that its transaction is to be
// discarded; it may hold half of the writes. Reads do not write. An object of another account or region, unless it is shared, is
// answered as if it did not exist. Messages begin with AWS's words and then name the culprit.
package call

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// Principal is who calls, already authenticated.
type Principal struct {
	ARN    string
	UserID string
}

// Call is everything an operation knows besides the world and the request.
type Call struct {
	Scope     vpc.Scope // whose objects, and in which region
	Principal Principal
	Action    string
	Version   ec2.Version
	RequestID string
	Now       time.Time
	IDs       *IDs
	ClientIP  netip.Addr // invalid: not over the network
	// Regions are those that are served; none: any.
	Regions []vpc.Region
	// Endpoint is the host and port at which the caller reached the API; empty: unknown.
	Endpoint string
	// UserData says that instances may be given scripts to run.
	UserData bool
	// Console is what the host last told of an instance's console and when; nil, or false: nothing yet.
	Console func(vpc.InstanceID) (output []byte, at time.Time, ok bool)
}

// IDs makes identifiers from a seed: the same ones in the same order for the same seed, so that an operation
// that is run again makes the same objects. Who runs it again gives it a new IDs of the same seed.
type IDs struct {
	seed  [32]byte
	count uint64
}

// NewIDs starts the sequence of a seed, which must be new and random for each request.
func NewIDs(seed [32]byte) *IDs { return &IDs{seed: seed} }

// idBytes is the random part of an identifier in bytes: 16 hexadecimal digits.
const idBytes = 8

// New is the next identifier: kind, a hyphen, and 17 hexadecimal digits of which the first is 0, as EC2's are.
func (s *IDs) New(kind string) string {
	sum := s.next()
	buf := make([]byte, 0, len(kind)+2+2*idBytes)
	buf = append(buf, kind...)
	buf = append(buf, '-', '0')
	return string(hex.AppendEncode(buf, sum[:idBytes]))
}

// MAC is a next hardware address: locally administered, unicast, in EC2's spelling.
func (s *IDs) MAC() string {
	sum := s.next()
	const digits = "0123456789abcdef"
	buf := []byte("02")
	for _, b := range sum[:5] {
		buf = append(buf, ':', digits[b>>4], digits[b&15])
	}
	return string(buf)
}

// Bytes is the next random-looking block, for whatever else an operation has to choose.
func (s *IDs) Bytes() [32]byte { return s.next() }

func (s *IDs) next() [32]byte {
	s.count++
	return sha256.Sum256(binary.BigEndian.AppendUint64(s.seed[:len(s.seed):len(s.seed)], s.count))
}

// Quotas are the limits of an account.
func Quotas(tx *state.Tx, id vpc.AccountID) vpc.Quotas {
	if a := tx.Account(id); a != nil {
		return a.Quotas.Quotas()
	}
	return vpc.GuideQuotas()
}

// HasClassic says whether the caller's account has EC2-Classic.
func HasClassic(tx *state.Tx, c Call) bool {
	a := tx.Account(c.Scope.Account)
	return a != nil && a.Classic
}

// MeansClassic says whether a call that names no VPC is about EC2-Classic: the account has it, and no default VPC
// in the region, which would be meant instead.
func MeansClassic(tx *state.Tx, c Call) bool {
	return HasClassic(tx, c) && tx.DefaultVPC(c.Scope) == nil
}
