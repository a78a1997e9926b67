package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/nestedoci/nested/remotes/gateway"
)

// frontCertificate is that of a front, which has signed it itself.
type frontCertificate struct {
	ca   string // the certificate
	file string // certificate and key
}

// newFrontCertificate makes one for 127.0.0.1 and a name.
func newFrontCertificate(t testing.TB, name string) frontCertificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return frontCertificate{ca, ca + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}
}

// client is one that trusts the certificate alone. All of its connections go to an address, or to that of the URL when it
// is "".
func (c frontCertificate) client(t testing.TB, address string) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 100}
	if address != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// sealKey is a file with a new seal key.
func sealKey(t testing.TB) string {
	t.Helper()
	key := make([]byte, gateway.SealKeySize)
	_, _ = rand.Read(key) // never fails
	return writeFile(t, filepath.Join(tempDir(t), "seal-key"), base64.StdEncoding.EncodeToString(key)+"\n")
}

// replica is `nestctl serve` before a registry.
type replica struct {
	*process
	certificate      frontCertificate
	address, metrics string
	args             []string
}

// startReplica starts one with a certificate for 127.0.0.1, whatever the port, and more of its flags.
func startReplica(t testing.TB, reg *registry, certificate frontCertificate, flags ...string) *replica {
	t.Helper()
	r := &replica{certificate: certificate, address: freeAddress(t), metrics: freeAddress(t)}
	hosts := t.TempDir()
	writeHosts(t, hosts, reg.host, reg.hostsOf())
	r.args = append([]string{
		"serve", "--listen", r.address, "--metrics-address", r.metrics, "--hosts-dir", hosts, "--registry", "127.0.0.1=" + reg.host,
		"--certificate", writeFile(t, filepath.Join(tempDir(t), "front.pem"), certificate.file),
	}, flags...)
	r.boot(t)
	return r
}

// boot starts it, for the first time or again.
func (r *replica) boot(t testing.TB) {
	t.Helper()
	needs(t, "nestctl")
	r.process = start(t, "nestctl", r.args...)
	r.await(t, func() bool { return answersPlainly(t, "http://"+r.metrics+"/readyz") })
}

func answersPlainly(t testing.TB, url string) bool {
	status, _, err := getOver(t, http.DefaultTransport, url)
	return err == nil && status == http.StatusOK
}
