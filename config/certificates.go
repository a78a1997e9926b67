package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// Certificates authenticate containerd and the gateway to each other. All are
// PEM.
type Certificates struct {
	// CA is the certificate that signed the two others. Its key is not kept.
	// Those of earlier sets may follow.
	CA []byte
	// Gateway and Client are each a certificate with its key.
	Gateway, Client []byte
}

// The times of certificates. A clock may be a bit behind.
const (
	// The lifetime of certificates; clockSkew allows for a clock that is
	// behind.
	certificateLife = 365 * 24 * time.Hour
	clockSkew       = time.Hour
)

// NewCertificates makes a set for a gateway at a loopback address.
func NewCertificates(address string, now time.Time) (Certificates, error) {
	s, err := newSigner(address, now)
	if err != nil {
		return Certificates{}, err
	}
	c := Certificates{CA: s.caPEM()}
	server := s.template("nested gateway", x509.ExtKeyUsageServerAuth)
	server.IPAddresses, server.DNSNames = s.ips, []string{"localhost"}
	if c.Gateway, err = s.issue(server); err != nil {
		return Certificates{}, err
	}
	c.Client, err = s.issue(s.template("containerd", x509.ExtKeyUsageClientAuth))
	return c, err
}

// signer is a CA that still has its key, while a set is being made.
type signer struct {
	ips []net.IP
	now time.Time
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// newSigner makes a CA. containerd adds it to the CAs of the system when it
// verifies the gateway and the hosts that the gateway redirects to, so it is
// restricted to loopback names.
func newSigner(address string, now time.Time) (*signer, error) {
	s := &signer{now: now}
	var err error
	if s.ips, err = loopbackIPs(address); err != nil {
		return nil, err
	}
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	ca := s.template("nested CA", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	ca.KeyUsage = x509.KeyUsageCertSign
	ca.IsCA, ca.MaxPathLenZero = true, true
	ca.PermittedDNSDomainsCritical = true
	ca.PermittedDNSDomains = []string{"localhost"}
	for _, ip := range s.ips {
		bits := 8 * len(ip)
		ca.PermittedIPRanges = append(ca.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, s.key.Public(), s.key)
	if err != nil {
		return nil, err
	}
	s.ca, err = x509.ParseCertificate(der)
	return s, err
}

// loopbackIPs are the addresses of host:port.
func loopbackIPs(address string) ([]net.IP, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: must be host:port", address)
	}
	v4 := net.IPv4(127, 0, 0, 1).To4()
	if host == "localhost" {
		return []net.IP{v4, net.IPv6loopback}, nil
	}
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address %q: must be a loopback address: the gateway is for this node only", address)
	}
	if short := ip.To4(); short != nil {
		ip = short
	}
	return []net.IP{ip}, nil
}

func (s *signer) template(name string, usage ...x509.ExtKeyUsage) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             s.now.Add(-clockSkew).UTC().Truncate(time.Second),
		NotAfter:              s.now.Add(certificateLife).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
	}
}

func (s *signer) caPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw})
}

// issue signs a certificate for a new key, and returns both.
func (s *signer) issue(template *x509.Certificate) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca, key.Public(), s.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// ID is a short name of the set.
func (c Certificates) ID() string {
	return CertificateIDs(c.CA)[0]
}

// CertificateIDs are the short names of the sets whose CAs are in a text.
func CertificateIDs(cas []byte) []string {
	ids := []string{}
	for _, ca := range splitPEM(cas) {
		sum := sha256.Sum256(ca)
		ids = append(ids, hex.EncodeToString(sum[:4]))
	}
	return ids
}

// After returns the set with the CAs of earlier sets after its own, down to the
// one that signed the certificate that the gateway uses until it has the new
// set. When renewals were interrupted that need not be the latest one.
func (c Certificates) After(earlier Certificates) Certificates {
	shown, err := firstCertificate(earlier.Gateway)
	if err != nil {
		return c
	}
	cas := splitPEM(earlier.CA)
	for i, text := range cas {
		if ca, err := firstCertificate(text); err == nil && shown.CheckSignatureFrom(ca) == nil {
			c.CA = slices.Concat(c.CA, bytes.Join(cas[:i+1], nil))
			break
		}
	}
	return c
}

// splitPEM returns the certificates in a text, each as PEM.
func splitPEM(text []byte) [][]byte {
	var all [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
	return all
}

// Until is when the first of the set's certificates expires.
func (c Certificates) Until() (time.Time, error) {
	var until time.Time
	for _, text := range [][]byte{c.CA, c.Gateway, c.Client} {
		certificate, err := firstCertificate(text)
		if err != nil {
			return time.Time{}, err
		}
		if until.IsZero() || certificate.NotAfter.Before(until) {
			until = certificate.NotAfter
		}
	}
	return until, nil
}

// Due reports whether certificates that expire at a time have to be renewed:
// less than a third of their lifetime is left.
func Due(until, now time.Time) bool { return until.Sub(now) < certificateLife/3 }

func firstCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("does not begin with a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Check returns what is wrong with a set for a gateway at an address: keys that
// do not match their certificates, or certificates of another CA, for another
// address, or out of date.
func (c Certificates) Check(address string, now time.Time) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q: must be host:port", address)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return errors.New("CA: no certificate in PEM")
	}
	server := x509.VerifyOptions{Roots: pool, CurrentTime: now, DNSName: host}
	if err := checkPair(c.Gateway, server); err != nil {
		return fmt.Errorf("gateway's certificate: %w", err)
	}
	client := x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if err := checkPair(c.Client, client); err != nil {
		return fmt.Errorf("containerd's certificate: %w", err)
	}
	return nil
}

func checkPair(text []byte, options x509.VerifyOptions) error {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return err
	}
	_, err = pair.Leaf.Verify(options)
	return err
}
