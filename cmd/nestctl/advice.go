package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// advise returns the text of an error that ended a command, with the next step
// behind it where the error does not say one itself.
func advise(err error) string {
	text := err.Error()
	if step := advice(err); step != "" && !strings.Contains(text, step) {
		return text + "; " + step
	}
	return text
}

// advice is what to do about an error that comes from below all that knows the
// command.
func advice(err error) string {
	var plain tls.RecordHeaderError
	var untrusted *tls.CertificateVerificationError
	var unknown *net.DNSError
	switch {
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return "the registry answers without TLS: --plain-http asks it so, or server in its hosts.toml"
	case errors.As(err, &untrusted):
		return "name the CA of its certificate as ca in the registry's hosts.toml"
	case errors.As(err, &unknown):
		return "check the registry's name and this machine's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the registry's address, and that it runs"
	}
	return ""
}
