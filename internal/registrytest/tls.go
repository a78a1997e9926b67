package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// keyPair is a server certificate and the PEM of the CA that signed it.
type keyPair struct {
	ca          []byte
	certificate tls.Certificate
}

func newKeyPair(names []string, ended time.Duration) *keyPair {
	caKey, serverKey := newKey(), newKey()
	ca := template("registrytest CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER := sign(ca, ca, caKey, caKey)

	server := template("registrytest")
	server.NotBefore, server.NotAfter = server.NotBefore.Add(-ended), server.NotAfter.Add(-ended)
	server.DNSNames, server.IPAddresses = names, []net.IP{net.IPv4(127, 0, 0, 1)}
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return &keyPair{
		ca:          pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		certificate: tls.Certificate{Certificate: [][]byte{sign(server, ca, serverKey, caKey)}, PrivateKey: serverKey},
	}
}

func (p *keyPair) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.ca)
	return pool
}

func template(name string) *x509.Certificate {
	now := time.Now()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func sign(certificate, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, certificate, issuer, &key.PublicKey, issuerKey)
	must(err)
	return der
}

// must panics on errors that only a mistake in the program can cause.
func must(err error) {
	if err != nil {
		panic("registrytest: " + err.Error())
	}
}
