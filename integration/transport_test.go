package integration

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	gcrtransport "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme/reg"
	"github.com/regclient/regclient/types/errs"
	"github.com/regclient/regclient/types/manifest"
	"github.com/regclient/regclient/types/ref"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	orasremote "oras.land/oras-go/v2/registry/remote"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/nestedoci/nested/remotes/auth"
	registryclient "github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport"
)

// following is a transport whose members are fetched with the credentials of all repositories.
func following(t *testing.T, a *app) http.RoundTripper {
	t.Helper()
	stores := auth.NewStores(auth.StoresOptions{Files: []string{filepath.Join(dockerConfig(t, a.logins, nil), "config.json")}})
	members := registryclient.Options{Credentials: stores}
	base := http.DefaultTransport.(*http.Transport).Clone()
	follows, err := transport.New(base, members, transport.Options{SearchRequests: 100, Prefetch: 64})
	must(t, err)
	t.Cleanup(func() {
		follows.CloseIdleConnections()
		must(t, follows.Close())
	})
	return follows
}

// startGoTokenServer is startTokenServer for one of the clients.
func startGoTokenServer(t *testing.T, client string, users map[string]user) *tokenServer {
	t.Helper()
	tokens := startTokenServer(t, users)
	if client == "go-containerregistry" { // which refuses addresses, as oras-go does this name
		tokens.realm = strings.Replace(tokens.realm, "127.0.0.1", "localhost", 1)
	}
	return tokens
}

func gcrOptions(own login, transport http.RoundTripper) []remote.Option {
	return []remote.Option{remote.WithTransport(transport), remote.WithAuth(&authn.Basic{Username: own.username, Password: own.password})}
}

func orasRepository(t *testing.T, a *app, own login, transport http.RoundTripper) *orasremote.Repository {
	t.Helper()
	repository, err := orasremote.NewRepository(a.host + "/org/app")
	must(t, err)
	repository.PlainHTTP = true
	repository.Client = &orasauth.Client{Client: &http.Client{Transport: transport}, Credential: orasauth.StaticCredential(a.host, orasauth.Credential{Username: own.username, Password: own.password})}
	return repository
}

func newRegclient(a *app, own login, transport http.RoundTripper) *regclient.RegClient {
	return regclient.New(
		regclient.WithConfigHost(config.Host{Name: a.host, Hostname: a.host, TLS: config.TLSDisabled, User: own.username, Pass: own.password}),
		regclient.WithRegOpts(reg.WithHTTPClient(&http.Client{Transport: transport})))
}

// goClients pull all of a bundle into a layout with the credential of its own repository alone.
var goClients = map[string]func(t *testing.T, a *app, own login, transport http.RoundTripper, dir string){
	"go-containerregistry": func(t *testing.T, a *app, own login, transport http.RoundTripper, dir string) {
		from, err := name.ParseReference(a.ref, name.Insecure)
		must(t, err)
		index, err := remote.Index(from, gcrOptions(own, transport)...)
		must(t, err)
		path, err := layout.Write(dir, empty.Index)
		must(t, err)
		must(t, path.AppendIndex(index))
	},
	"oras-go": func(t *testing.T, a *app, own login, transport http.RoundTripper, dir string) {
		to, err := oci.New(dir)
		must(t, err)
		_, err = oras.Copy(t.Context(), orasRepository(t, a, own, transport), "v1", to, "v1", oras.DefaultCopyOptions)
		must(t, err)
	},
	"regclient": func(t *testing.T, a *app, own login, transport http.RoundTripper, dir string) {
		client := newRegclient(a, own, transport)
		from, err := ref.New(a.ref)
		must(t, err)
		to, err := ref.New("ocidir://" + dir + ":v1")
		must(t, err)
		must(t, client.ImageCopy(t.Context(), from, to))
	},
}

// TestTransport: clients written in Go pull a bundle through a transport, each member with a user of its own.
func TestTransport(t *testing.T) {
	for name, pull := range goClients {
		for _, strict := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " strict", false: ""}[strict], func(t *testing.T) {
				bundle := newApp(t)
				users := userPerRepository(repositories("org/app", bundle)...)
				published := bundle
				if strict {
					published = carriedNode(t, bundle)
				}
				a := publishAt(t, registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startGoTokenServer(t, name, users)), published)
				own := a.logins[a.host+"/org/app"]
				dir := t.TempDir()
				pull(t, a, own, following(t, a), dir)
				checkBlobs(t, dir)
				a.checkTokens(t)
			})
		}
	}
}

// goPushers push an index, read it by tag and by digest, and delete it.
var goPushers = map[string]func(t *testing.T, a *app, own login, transport http.RoundTripper, index content){
	"go-containerregistry": func(t *testing.T, a *app, own login, transport http.RoundTripper, index content) {
		tag, err := name.NewTag(a.ref, name.Insecure)
		must(t, err)
		options := gcrOptions(own, transport)
		must(t, remote.Put(tag, rawIndex(index), options...))
		for _, ref := range []name.Reference{tag, tag.Context().Digest(index.desc.Digest.String())} {
			got, failed := remote.Get(ref, options...)
			must(t, failed)
			if string(got.Manifest) != string(index.data) {
				t.Errorf("%s: %s", ref, got.Manifest)
			}
			head, failed := remote.Head(ref, options...)
			must(t, failed)
			if head.Digest.String() != index.desc.Digest.String() {
				t.Errorf("%s: %s", ref, head.Digest)
			}
		}
		must(t, remote.Delete(tag.Context().Digest(index.desc.Digest.String()), options...))
		for _, ref := range []name.Reference{tag, tag.Context().Digest(index.desc.Digest.String())} {
			if _, err = remote.Get(ref, options...); !isStatus(err, http.StatusNotFound) {
				t.Errorf("%s: %v", ref, err)
			}
		}
	},
	"oras-go": func(t *testing.T, a *app, own login, transport http.RoundTripper, index content) {
		repository := orasRepository(t, a, own, transport)
		must(t, repository.PushReference(t.Context(), index.desc, bytes.NewReader(index.data), "v1"))
		for _, ref := range []string{"v1", index.desc.Digest.String()} {
			d, failed := repository.Resolve(t.Context(), ref)
			must(t, failed)
			if d.Digest != index.desc.Digest || d.MediaType != index.desc.MediaType {
				t.Errorf("%s: %+v", ref, d)
			}
			_, got, failed := oras.FetchBytes(t.Context(), repository, ref, oras.DefaultFetchBytesOptions)
			must(t, failed)
			if string(got) != string(index.data) {
				t.Errorf("%s: %s", ref, got)
			}
		}
		must(t, repository.Delete(t.Context(), index.desc))
		for _, ref := range []string{"v1", index.desc.Digest.String()} {
			if _, err := repository.Resolve(t.Context(), ref); !errors.Is(err, errdef.ErrNotFound) {
				t.Errorf("%s: %v", ref, err)
			}
		}
	},
	"regclient": func(t *testing.T, a *app, own login, transport http.RoundTripper, index content) {
		client := newRegclient(a, own, transport)
		to, err := ref.New(a.ref)
		must(t, err)
		m, err := manifest.New(manifest.WithRaw(index.data))
		must(t, err)
		must(t, client.ManifestPut(t.Context(), to, m))
		byDigest := to.SetDigest(index.desc.Digest.String())
		for _, r := range []ref.Ref{to, byDigest} {
			got, failed := client.ManifestGet(t.Context(), r)
			must(t, failed)
			body, failed := got.RawBody()
			must(t, failed)
			if string(body) != string(index.data) {
				t.Errorf("%s: %s", r.CommonName(), body)
			}
			head, failed := client.ManifestHead(t.Context(), r)
			must(t, failed)
			if d := head.GetDescriptor().Digest; d != index.desc.Digest {
				t.Errorf("%s: %s", r.CommonName(), d)
			}
		}
		must(t, client.ManifestDelete(t.Context(), byDigest))
		for _, r := range []ref.Ref{to, byDigest} {
			if _, err = client.ManifestGet(t.Context(), r); !errors.Is(err, errs.ErrNotFound) {
				t.Errorf("%s: %v", r.CommonName(), err)
			}
		}
	},
}

// rawIndex is an index as go-containerregistry takes it.
type rawIndex content

func (i rawIndex) RawManifest() ([]byte, error)        { return i.data, nil }
func (i rawIndex) MediaType() (types.MediaType, error) { return types.MediaType(i.desc.MediaType), nil }

func isStatus(err error, status int) bool {
	var answered *gcrtransport.Error
	return errors.As(err, &answered) && answered.StatusCode == status
}

// TestTransportTakes: clients written in Go push a nested index to registries that check and to such that do not, read
// it as if the registry had it, and delete it.
func TestTransportTakes(t *testing.T) {
	for name, push := range goPushers {
		for _, strict := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " strict", false: ""}[strict], func(t *testing.T) {
				bundle := newApp(t)
				users := userPerRepository(repositories("org/app", bundle)...)
				for _, u := range users {
					for repository := range u.rights {
						u.rights[repository] = []string{"pull", "push", "delete"}
					}
				}
				reg := registryOptions{serve: (*httptest.Server).Start, strict: strict, deletes: true}.start(t, startGoTokenServer(t, name, users))
				a := appAt(reg, bundle)
				for _, m := range bundle.members {
					reg.pushNode(t, "org/app/"+m.namespace, "latest", m.node)
				}
				push(t, a, a.logins[reg.host+"/org/app"], following(t, a), bundle.content)
			})
		}
	}
}
