package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// newPEM is a certificate for a name, and its key.
func newPEM(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// TestCertificateIsReplaced: without a clients' CA anybody may connect. They are shown the certificate that the file has now,
// and the one before while it has none.
func TestCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pem")
	if err := CheckServer(path, ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	write := func(data []byte) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	first, second := newPEM(t, "first.test"), newPEM(t, "second.test")
	write(first)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(http.NotFoundHandler(), path, "")
	go func() { _ = s.Serve(listener) }()
	defer func() {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = s.End(ended, listener)
	}()
	for _, step := range []struct {
		what   string
		change func()
		want   string
	}{
		{"at the start", func() {}, "first.test"},
		{"half of one", func() { write(second[:len(second)/2]) }, "first.test"},
		{"another key", func() { write(append(first[:len(first)/2:len(first)/2], second[len(second)/2:]...)) }, "first.test"},
		{"another one", func() { write(second) }, "second.test"},
		{"none", func() { _ = os.Remove(path) }, "second.test"},
		{"the first one", func() { write(first) }, "first.test"},
	} {
		step.change()
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // which one it is shows below
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if names := conn.ConnectionState().PeerCertificates[0].DNSNames; names[0] != step.want {
			t.Errorf("%s: %v, want %s", step.what, names, step.want)
		}
		_ = conn.Close()
	}
}
