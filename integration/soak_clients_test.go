package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"oras.land/oras-go/v2"
	orascontent "oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	orasregistry "oras.land/oras-go/v2/registry"
	orasremote "oras.land/oras-go/v2/registry/remote"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"
	orasretry "oras.land/oras-go/v2/registry/remote/retry"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	registryclient "github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport"
)

// trusting is a transport that trusts a certificate.
func trusting(t testing.TB, ca string) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// startClients starts what clients that know nothing of child namespaces pull and push through.
func (s *soak) startClients(t testing.TB, logins map[string]login) {
	t.Helper()
	stores := auth.NewStores(auth.StoresOptions{Files: []string{filepath.Join(dockerConfig(t, logins, nil), "config.json")}})
	follows, err := transport.New(trusting(t, s.ca), registryclient.Options{Credentials: stores, HostsDir: s.certsD}, transport.Options{SearchRequests: 1000, Prefetch: 64})
	must(t, err)
	front, err := gateway.NewFront(gateway.FrontOptions{Registries: map[string]string{"127.0.0.1": s.host}, HostsDir: s.certsD, SearchRequests: 1000, Prefetch: 64})
	must(t, err)
	server := httptest.NewUnstartedServer(front)
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(func() {
		server.Close()
		front.Close()
		follows.CloseIdleConnections()
		must(t, follows.Close())
	})
	s.follows, s.front = follows, server.Listener.Addr().String()
}

// clientDoors are those of oras through the transport of nestctl exec, with a user for each repository, and through a front
// as nestctl serve has it, with one for all. What was pulled is pushed, under a tag of their own.
func (s *soak) clientDoors(t testing.TB, worker int) []*soakDoor {
	t.Helper()
	client := trusting(t, s.ca)
	return []*soakDoor{
		s.clientDoor(t, fmt.Sprint("pushed-by-exec-", worker), "oras, exec's transport", s.follows, func(at orasregistry.Reference) (string, login) { return at.Registry, loginOf(at.Repository) }),
		s.clientDoor(t, fmt.Sprint("pushed-by-serve-", worker), "oras, serve", client, func(orasregistry.Reference) (string, login) { return s.front, soakUser }),
	}
}

func (s *soak) clientDoor(t testing.TB, tag, name string, through http.RoundTripper, as func(orasregistry.Reference) (host string, who login)) *soakDoor {
	dir := filepath.Join(t.TempDir(), "layout")
	return &soakDoor{
		name: name,
		pull: func(ref string) (string, error) {
			at, err := orasregistry.ParseReference(ref)
			if err != nil {
				return "", err
			}
			host, who := as(at)
			repository, err := orasremote.NewRepository(host + "/" + at.Repository)
			if err != nil {
				return "", err
			}
			credential := orasauth.Credential{Username: who.username, Password: who.password}
			repository.Client = &orasauth.Client{Client: &http.Client{Transport: orasretry.NewTransport(through)}, Credential: orasauth.StaticCredential(host, credential)}
			if err = pullAndPush(t.Context(), repository, dir, at.Reference, tag); err != nil {
				return fmt.Sprintf("%s: %v", ref, err), err // a digest that is another one is oras's own finding
			}
			return "", nil
		},
		check:  func(string) error { return spoilt(filepath.Join(dir, "blobs", "sha256")) },
		remove: func(string) error { return os.RemoveAll(dir) },
	}
}

// pullAndPush pulls all of a bundle into a layout, and pushes its index under another tag, where it has to be as it was.
func pullAndPush(ctx context.Context, repository *orasremote.Repository, dir, from, to string) error {
	layout, err := oci.New(dir)
	if err != nil {
		return err
	}
	desc, err := oras.Copy(ctx, repository, from, layout, from, oras.DefaultCopyOptions)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	data, err := orascontent.FetchAll(ctx, layout, desc)
	if err != nil {
		return err
	}
	if err = repository.PushReference(ctx, desc, bytes.NewReader(data), to); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	pushed, body, err := repository.FetchReference(ctx, to)
	if err != nil {
		return fmt.Errorf("pull what was pushed: %w", err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("pull what was pushed: %w", err)
	}
	if pushed.Digest != desc.Digest || !bytes.Equal(got, data) {
		return fmt.Errorf("%s is not what was pushed", to)
	}
	return nil
}
