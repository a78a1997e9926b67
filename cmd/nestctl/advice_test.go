package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAdvice: an error of the network ends in the next step, and one that says it itself is left as it is.
func TestAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"tls: a; the registry answers without TLS: --plain-http asks it so, or server in its hosts.toml":                                             tls.RecordHeaderError{Msg: "a"},
		"b: http: server gave HTTP response to HTTPS client; the registry answers without TLS: --plain-http asks it so, or server in its hosts.toml": fmt.Errorf("b: %w", http.ErrSchemeMismatch),
		"c: tls: failed to verify certificate: x509: certificate signed by unknown authority; name the CA of its certificate as ca in the registry's hosts.toml": fmt.Errorf("c: %w",
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"d: lookup reg.test: no such host; check the registry's name and this machine's DNS": fmt.Errorf("d: %w", &net.DNSError{Err: "no such host", Name: "reg.test"}),
		"e: not found; push it there": errors.New("e: not found; push it there"),
	} {
		if got := advise(err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestNobodyListens is about an error as it comes from a command.
func TestNobodyListens(t *testing.T) {
	ownCredentials(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	noError(t, closed.Close())
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"tree", "--hosts-dir=", "--plain-http", closed.Addr().String() + "/org/app:v1"}, &stdout, &stderr)
	if said := strings.TrimSpace(stderr.String()); status != failure || !strings.HasSuffix(said, "connection refused; check the registry's address, and that it runs") {
		t.Errorf("exit status %d: %s", status, said)
	}
}
