package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// nodeCerts are a CA's certificate, and files of certificate and key for the gateway and for its caller.
type nodeCerts struct{ ca, server, client string }

func newNodeCerts(t *testing.T, dir string) nodeCerts {
	t.Helper()
	key := newKey(t)
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	issued := issue(t, ca, ca, key, key)
	leaf := func(name string, usage x509.ExtKeyUsage) string {
		own := newKey(t)
		c := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature}
		der, err := x509.MarshalPKCS8PrivateKey(own)
		must(t, err)
		return writeFile(t, filepath.Join(dir, name), issue(t, c, ca, own, key)+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	return nodeCerts{writeFile(t, filepath.Join(dir, "ca.pem"), issued), leaf("gateway.pem", x509.ExtKeyUsageServerAuth), leaf("client.pem", x509.ExtKeyUsageClientAuth)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// issue signs a certificate and returns it as PEM.
func issue(t *testing.T, c, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) string {
	t.Helper()
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: rand.Text()}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, &key.PublicKey, issuerKey)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
