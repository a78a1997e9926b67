package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestSkipVerify: it covers what else is on the registry's host, and where
// blobs are.
func TestSkipVerify(t *testing.T) {
	cdn := clienttest.NewRegistry(t, registrytest.WithTLS())
	reg, credentials := privateRegistry(t, registrytest.WithTLS(), registrytest.TokenOnOwnServer())
	member := clienttest.PutBundle(reg, parent)
	member.BlobsIn(cdn, parent+"/web")
	reg.Intercept(registrytest.Redirect(strings.Replace(cdn.URL(), "127.0.0.1", "localhost", 1), registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("[host.%q]\nskip_verify = true\n", reg.URL())),
		Credentials: credentials,
	}))
	clienttest.WantLog(t, cdn, member.Blobs(parent+"/web"))
}

func TestRegistryOverTLSIsPulledFrom(t *testing.T) {
	reg, credentials := privateRegistry(t, registrytest.WithTLS())
	member := clienttest.PutBundle(reg, parent)
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    clienttest.Trusting(t, reg.Host(), reg.CA()),
		Credentials: credentials,
	}))
	clienttest.WantLog(t, reg, clienttest.TagGet(parent), member.All(parent+"/web"))
	t.Run("another CA", func(t *testing.T) {
		reg.ResetLog()
		other := clienttest.NewRegistry(t, registrytest.WithTLS())
		clienttest.WantError(t, pullFrom(t, reg.Host(), registry.Options{
			HostsDir: clienttest.Trusting(t, reg.Host(), other.CA()),
		}), "certificate")
		clienttest.WantLog(t, reg)
	})
}

// wantsCertificate starts a server that talks to nobody without a client certificate, and asks another one.
func wantsCertificate(t *testing.T, server string) *httptest.Server {
	t.Helper()
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(clienttest.Must(url.Parse(server))))
	front.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	front.StartTLS()
	t.Cleanup(func() {
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // of the reverse proxy
	})
	return front
}

// TestClientCertificate: a registry that asks for one gets it, and so does its token service elsewhere; what it
// redirects to does not.
func TestClientCertificate(t *testing.T) {
	var realm *httptest.Server
	reg, _ := privateRegistry(t)
	realm = wantsCertificate(t, reg.URL())
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); q.Kind == registrytest.KindToken || q.Authorization != "" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registrytest"`, realm.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	clienttest.PutBundle(reg, parent)
	front := wantsCertificate(t, reg.URL())

	host := strings.TrimPrefix(front.URL, "https://")
	key := clienttest.Must(x509.MarshalPKCS8PrivateKey(front.TLS.Certificates[0].PrivateKey))
	file := clienttest.File(t, slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	toml := fmt.Sprintf("[host.%q]\nskip_verify = true\n", front.URL)
	pullWith := func(toml string) error {
		return pullFrom(t, host, registry.Options{
			HostsDir: clienttest.HostsDir(t, host, toml), Credentials: clienttest.UserPassword(t, host, "all", "secret"), Realms: []string{"127.0.0.1"},
		})
	}
	clienttest.WantError(t, pullWith(toml), "certificate required")
	toml += fmt.Sprintf("client = %q\n", file)
	clienttest.NoError(t, pullWith(toml))
	reg.Intercept(registrytest.Redirect(realm.URL, registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
	clienttest.WantError(t, pullWith(toml), "certificate required")
}

// TestNoWay: why a registry is not reached is told, with its name and the repository's, and each reason is another.
func TestNoWay(t *testing.T) {
	secure := clienttest.NewRegistry(t, registrytest.WithTLS())
	ended := clienttest.NewRegistry(t, registrytest.WithExpiredTLS())
	closed := registrytest.New()
	closed.Close()
	localhost := strings.Replace(secure.Host(), "127.0.0.1", "localhost", 1)
	for name, test := range map[string]struct {
		host, hostsDir, want string
		typed                any // for errors.As
	}{
		"no such name":        {"nowhere.invalid:443", clienttest.HostsDir(t, "nowhere.invalid:443", ""), "nowhere.invalid", new(*net.DNSError)},
		"refused":             {closed.Host(), clienttest.PlainHTTP(t, closed.Host()), "connection refused", new(syscall.Errno)},
		"unknown CA":          {secure.Host(), clienttest.Trusting(t, secure.Host(), ended.CA()), "unknown authority", new(x509.UnknownAuthorityError)},
		"ended":               {ended.Host(), clienttest.Trusting(t, ended.Host(), ended.CA()), "expired", new(x509.CertificateInvalidError)},
		"name of another one": {localhost, clienttest.Trusting(t, localhost, secure.CA()), "valid for", new(x509.HostnameError)},
	} {
		t.Run(name, func(t *testing.T) {
			err := pullFrom(t, test.host, registry.Options{HostsDir: test.hostsDir})
			clienttest.WantError(t, err, test.want, test.host)
			if !strings.Contains(err.Error(), parent) {
				t.Errorf("error %q does not name the repository", err)
			}
			if !errors.As(err, test.typed) {
				t.Errorf("error %q is no %T", err, test.typed)
			}
		})
	}
	clienttest.WantLog(t, secure)
	clienttest.WantLog(t, ended)
}
