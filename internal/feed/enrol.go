package feed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

const (
	// serverName is the name in every server's certificate. Agents ask for it
	// and not for an address, so that a server may move.
	serverName = "server.sallyport"
	// certValidity is as long as a fleet may live: an agent that is cut off by
	// the calendar protects nobody. A host is expelled by name, not by waiting.
	certValidity = 20 * 365 * 24 * time.Hour
	// clockSkew is how far a host's clock may be behind the server's.
	clockSkew   = 24 * time.Hour
	keyFileMode = 0o600
	serialBits  = 127
)

// hostName is what a host may be called: a label or several, as in DNS.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// Valid says whether h can name a host.
func (h HostID) Valid() bool { return hostName.MatchString(string(h)) }

// CA is the authority of one installation: it makes the certificates by which
// servers and hosts know each other. It lies in the server's data folder.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Bundle is what an enrolled host has: the authority's certificate, its own, and its key, in PEM.
type Bundle struct{ CA, Cert, Key []byte }

// OpenCA reads the authority that lies in dir, or makes it there the first time.
func OpenCA(dir string) (*CA, error) {
	path := filepath.Join(dir, "agents-ca.pem")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return createCA(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the agents' authority: %w", err)
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("reading the agents' authority %s: %w", path, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("reading the agents' authority %s: not an authority of ours", path)
	}
	return &CA{cert: pair.Leaf, key: key}, nil
}

func createCA(path string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the agents' authority: %w", err)
	}
	template := certTemplate("Sallyport agents")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the agents' authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making the agents' authority: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := writeWhole(path, slices.Concat(encodeCert(der), keyPEM)); err != nil {
		return nil, fmt.Errorf("keeping the agents' authority: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// Enrol makes the certificate of a host. Enrolling a name again makes another
// one; both are valid.
func (ca *CA) Enrol(host HostID) (*Bundle, error) {
	if !host.Valid() {
		return nil, fmt.Errorf("enrolling %q: a host's name is letters, digits, dots, hyphens and underscores, at most 63", host)
	}
	cert, key, err := ca.issue(string(host), x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, fmt.Errorf("enrolling %s: %w", host, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("enrolling %s: %w", host, err)
	}
	return &Bundle{CA: encodeCert(ca.cert.Raw), Cert: encodeCert(cert), Key: keyPEM}, nil
}

func (ca *CA) serverCertificate() (tls.Certificate, error) {
	cert, key, err := ca.issue(serverName, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the server's certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}, nil
}

// issue makes a certificate for one purpose: a host's is no use to pose as a server.
func (ca *CA) issue(name string, purpose x509.ExtKeyUsage) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := certTemplate(name)
	template.DNSNames = []string{name}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{purpose}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	return der, key, err
}

func (ca *CA) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

func certTemplate(name string) *x509.Certificate {
	serial := make([]byte, serialBits/8)
	rand.Read(serial) // never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(certValidity),
	}
}

// Host is the name that the bundle proves.
func (b *Bundle) Host() (HostID, error) {
	block, _ := pem.Decode(b.Cert)
	if block == nil {
		return "", errors.New("reading the enrolment: no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("reading the enrolment: %w", err)
	}
	return HostID(cert.Subject.CommonName), nil
}

// Marshal is the bundle as one PEM text: the authority, the certificate, the key.
func (b *Bundle) Marshal() []byte { return slices.Concat(b.CA, b.Cert, b.Key) }

// ParseBundle reads what Marshal wrote.
func ParseBundle(text []byte) (*Bundle, error) {
	var blocks [][]byte
	for rest := bytes.TrimSpace(text); len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, errors.New("reading the enrolment: not PEM")
		}
		blocks = append(blocks, pem.EncodeToMemory(block))
		rest = bytes.TrimSpace(after)
	}
	if len(blocks) != 3 {
		return nil, fmt.Errorf("reading the enrolment: %d blocks instead of authority, certificate and key", len(blocks))
	}
	b := &Bundle{CA: blocks[0], Cert: blocks[1], Key: blocks[2]}
	if _, err := tls.X509KeyPair(b.Cert, b.Key); err != nil {
		return nil, fmt.Errorf("reading the enrolment: %w", err)
	}
	return b, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeWhole leaves the file whole or not there, and on disk before it is used:
// hosts enrolled by an authority that is lost can never come back.
func writeWhole(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, keyFileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
