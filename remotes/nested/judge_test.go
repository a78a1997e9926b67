package nested_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

const page = "<!DOCTYPE html>\n<html><title>Sign in</title></html>"

// headFirst hides that the base resolves by GET, as the plugin does.
type headFirst struct{ remotes.ResolverWithOptions }

// each runs a test with a resolver that resolves by GET, and with one that asks with HEAD first.
func each(t *testing.T, run func(t *testing.T, s *scene)) {
	t.Run("by GET", func(t *testing.T) { run(t, newScene(t, nested.Options{})) })
	t.Run("by HEAD", func(t *testing.T) {
		s := newScene(t, nested.Options{})
		s.resolver = nested.New(headFirst{s.registries()}, nested.Options{})
		run(t, s)
	})
}

// TestNoManifest: 200 with what cannot be a manifest is an error that says what came.
func TestNoManifest(t *testing.T) {
	for name, test := range map[string]struct{ mediaType, body, says string }{
		"a login page":          {"text/html; charset=utf-8", page, "200 text/html, which is not a manifest; check for a login page or proxy"},
		"XHTML":                 {"application/xhtml+xml", page, "200 application/xhtml+xml, which"},
		"a page without a type": {"", page, "200 without a media type with a page"},
		"a page as octets":      {"application/octet-stream", "\n\n " + page, "200 application/octet-stream with a page"},
		"a page as a manifest":  {ocispec.MediaTypeImageManifest, page, "with a page"},
		"a page further down":   {ocispec.MediaTypeImageManifest, "\r\n\t " + page, "with a page"},
		"an empty page":         {"text/html", "", "200 text/html with nothing"},
		"nothing":               {"", "", "with nothing"},
		"an empty manifest":     {ocispec.MediaTypeImageManifest, "", "with nothing"},
		"an empty object":       {"application/json", "{}", "200 application/json with other JSON"},
		"an empty list":         {"application/json", "[]", "with other JSON"},
		"an error":              {"application/json", `{"errors":[{"code":"UNAUTHORIZED"}]}`, "with other JSON"},
		"an error as a problem": {"application/problem+json", `{"title":"no"}`, "200 application/problem+json with other JSON"},
		"an error as an index":  {ocispec.MediaTypeImageIndex, `{"errors":[{"code":"UNAUTHORIZED"}]}`, "with other JSON"},
		"a hostile type":        {"image/\u202e" + strings.Repeat("x", 200), page, "which is not a manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *scene) {
				s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(clienttest.PutBundle(s.registry, parent).Descriptor, "web")))
				s.registry.Intercept(registrytest.Say(http.StatusOK, test.mediaType, test.body, registrytest.WithCredentials, not(registrytest.Of(registrytest.KindToken))))
				_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
				if name == "an error as an index" && strings.HasSuffix(t.Name(), "HEAD") {
					return // which containerd takes for an index of nothing
				}
				clienttest.WantError(t, err, test.says, s.registry.Host())
				var stray *registry.AnswerError
				if !errors.As(err, &stray) || errdefs.IsNotFound(err) || len(digests(s.store)) > 0 {
					t.Errorf("%v, and in the store: %v", err, digests(s.store))
				}
				if n := s.registry.Count(registrytest.Of(registrytest.KindManifest), registrytest.WithCredentials); n > 3 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

func not(f registrytest.Filter) registrytest.Filter {
	return func(q registrytest.Request) bool { return !f(q) }
}

// TestManifestOfAnyType: a registry that serves all as octets, or without a type, is pulled from.
func TestManifestOfAnyType(t *testing.T) {
	for _, mediaType := range []string{"", "application/octet-stream", "binary/octet-stream", "application/json", "application/json; charset=utf-8", "text/plain", "text/html"} {
		for _, stated := range []bool{true, false} {
			t.Run(mediaType+" "+strconv.FormatBool(stated), func(t *testing.T) {
				each(t, func(t *testing.T, s *scene) {
					i := clienttest.PutImage(s.registry, parent, "a layer")
					body := i.Bytes[i.Digest]
					if !stated {
						body = []byte(strings.Replace(string(body), `"mediaType":"`+ocispec.MediaTypeImageManifest+`",`, "", 1))
						s.registry.Put(parent, ocispec.MediaTypeImageManifest, body, "v1")
					}
					s.registry.Intercept(registrytest.Say(http.StatusOK, mediaType, string(body), registrytest.WithCredentials, registrytest.Of(registrytest.KindManifest)))
					root, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
					clienttest.NoError(t, err)
					if root.MediaType != ocispec.MediaTypeImageManifest || root.Digest != digest.FromBytes(body) || !clienttest.Stored(s.store, i.Layers[0]) {
						t.Errorf("%+v, and in the store: %v", root, digests(s.store))
					}
				})
			})
		}
	}
}

// TestRedirectedToPage: most login pages are where a redirect leads.
func TestRedirectedToPage(t *testing.T) {
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/sso" {
			http.Redirect(w, req, "/login", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(login.Close)
	for name, to := range map[string]string{"at once": login.URL + "/login?next=x", "in two steps": login.URL + "/sso", "to the root": login.URL} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *scene) {
				s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(clienttest.PutBundle(s.registry, parent).Descriptor, "web")))
				s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					if registrytest.Describe(req).Kind == registrytest.KindToken {
						return false
					}
					http.Redirect(w, req, to, http.StatusFound)
					return true
				})
				_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
				clienttest.WantError(t, err, "200 text/html, which is not a manifest; check for a login page or proxy in front of it")
				var stray *registry.AnswerError
				if !errors.As(err, &stray) || len(digests(s.store)) > 0 {
					t.Errorf("%v, and in the store: %v", err, digests(s.store))
				}
			})
		})
	}
}

// TestPageForMember: a page in place of a member's manifest, or of a blob, is called one; a blob that is a page is taken.
func TestPageForMember(t *testing.T) {
	for _, kind := range []registrytest.Kind{registrytest.KindManifest, registrytest.KindBlob} {
		s := newScene(t, nested.Options{})
		member := clienttest.PutBundle(s.registry, parent)
		s.registry.Intercept(registrytest.Say(http.StatusOK, "text/html", page, registrytest.WithCredentials, registrytest.In(parent+"/web"), registrytest.Of(kind)))
		err := s.pull(clienttest.Describe(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
		clienttest.WantError(t, err, "answered 200 text/html, which is ", "check for a login page or proxy in front of it")
	}
	s := newScene(t, nested.Options{})
	i := clienttest.NewImage("page", page).In(s.registry, parent)
	s.registry.Tag(parent, "v1", i.Digest)
	s.registry.Intercept(registrytest.Say(http.StatusOK, "text/html", page, registrytest.WithCredentials, func(q registrytest.Request) bool { return q.Reference == i.Layers[0].Digest.String() }))
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	clienttest.NoError(t, err)
}

// TestHeadIsRefused: where HEAD is refused, or said to be something else, and GET is fine, GET decides.
func TestHeadIsRefused(t *testing.T) {
	head := []registrytest.Filter{registrytest.Method(http.MethodHead)}
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, req, "", time.Time{}, strings.NewReader("a layer"))
	}))
	t.Cleanup(storage.Close)
	for name, fault := range map[string]func(*registrytest.Registry) registrytest.Interceptor{
		"405":                  func(*registrytest.Registry) registrytest.Interceptor { return registrytest.Answer(405, nil, head...) },
		"501":                  func(*registrytest.Registry) registrytest.Interceptor { return registrytest.Answer(501, nil, head...) },
		"403":                  func(*registrytest.Registry) registrytest.Interceptor { return registrytest.Answer(403, nil, head...) },
		"400":                  func(*registrytest.Registry) registrytest.Interceptor { return registrytest.Answer(400, nil, head...) },
		"401 and no challenge": func(*registrytest.Registry) registrytest.Interceptor { return registrytest.Answer(401, nil, head...) },
		"401 to a token": func(r *registrytest.Registry) registrytest.Interceptor {
			return registrytest.Answer(401, http.Header{"Www-Authenticate": {`Bearer realm="` + r.Realm() + `",service="registrytest",error="insufficient_scope"`}}, append(head, registrytest.WithCredentials)...)
		},
		"a page": func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Say(200, "text/html", page, append(head, registrytest.WithCredentials)...)
		},
		"signed for GET": func(r *registrytest.Registry) registrytest.Interceptor {
			return func(w http.ResponseWriter, req *http.Request) bool {
				if q := registrytest.Describe(req); q.Kind != registrytest.KindBlob || q.Authorization == "" {
					return false
				}
				http.Redirect(w, req, storage.URL+"/bucket?signature=1", http.StatusTemporaryRedirect)
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			registries := s.registries()
			s.resolver = nested.New(headFirst{registries}, nested.Options{})
			layer := s.registry.PutBlob(parent, ocispec.MediaTypeImageLayer, []byte("a layer"))
			i := s.registry.Artifact(parent, "application/x-test", layer)
			s.registry.Tag(parent, "v1", i.Digest)
			s.registry.Intercept(fault(s.registry))
			if name != "signed for GET" {
				_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
				clienttest.NoError(t, err)
			}
			repository := clienttest.Repository(t, s.registry.Host()+"/"+parent)
			for path, size := range map[string]int64{"blobs/" + layer.Digest.String(): layer.Size, "manifests/" + i.Digest.String(): i.Size} {
				header, err := registries.Head(context.Background(), repository, path, "*/*")
				clienttest.NoError(t, err)
				if got := header.Get("Content-Length"); got != strconv.FormatInt(size, 10) {
					t.Errorf("%s: Content-Length %q, want %d", path, got, size)
				}
			}
			fetcher, err := registries.Fetcher(context.Background(), repository.String()+"@"+layer.Digest.String())
			clienttest.NoError(t, err)
			body, desc, err := fetcher.(remotes.FetcherByDigest).FetchByDigest(context.Background(), layer.Digest)
			clienttest.NoError(t, err)
			if data := clienttest.Must(io.ReadAll(body)); string(data) != "a layer" || desc.Size != int64(len(data)) {
				t.Errorf("by digest: %q, %+v", data, desc)
			}
			clienttest.NoError(t, body.Close())
		})
	}
}

// TestPublicWithoutHead: HEAD is for those who log in, GET for all.
func TestPublicWithoutHead(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	clienttest.PutImage(reg, parent, "a layer")
	d := reg.Image(parent, registrytest.TarLayer(map[string]string{"a": "b"}))
	reg.Tag(parent, "v1", d.Digest)
	reg.Intercept(registrytest.Answer(401, http.Header{"Www-Authenticate": {`Basic realm="x"`}}, registrytest.Method(http.MethodHead)))
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	_, err := clienttest.Pull(nested.New(headFirst{registries}, nested.Options{}), clienttest.NewStore(t), reg.Host()+"/"+parent+":v1")
	clienttest.NoError(t, err)
	_, err = registries.Head(context.Background(), clienttest.Repository(t, reg.Host()+"/"+parent), "manifests/v1", "*/*")
	clienttest.NoError(t, err)
}

// TestRefusedElsewhere: what storage refuses is no denial of the registry, and no login helps.
func TestRefusedElsewhere(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotImplemented} {
		s := newScene(t, nested.Options{})
		storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(storage.Close)
		member := clienttest.PutBundle(s.registry, parent)
		s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if q := registrytest.Describe(req); q.Kind != registrytest.KindBlob || q.Authorization == "" {
				return false
			}
			http.Redirect(w, req, storage.URL+"/bucket?X-Signature=secret", http.StatusTemporaryRedirect)
			return true
		})
		err := s.pull(clienttest.Describe(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
		clienttest.WantError(t, err, strconv.Itoa(status), "the registry redirects there", "ask who runs the registry")
		for _, wrong := range []string{"denied", "log in:", "not implemented", "Head "} {
			if strings.Contains(err.Error(), wrong) {
				t.Errorf("%d: %v", status, err)
			}
		}
		if errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) || errdefs.IsNotImplemented(err) {
			t.Errorf("%d: class of %v", status, err)
		}
	}
}

// TestGetIsCalledGet: errors of a reference that was resolved by GET do not say HEAD.
func TestGetIsCalledGet(t *testing.T) {
	s := newScene(t, nested.Options{})
	s.registry.Intercept(registrytest.Reset(registrytest.Of(registrytest.KindManifest)))
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	clienttest.WantError(t, err, `Get "http`)
	if strings.Contains(err.Error(), "Head") {
		t.Error(err)
	}
}

// TestRedirectedRegistryIsPulledFrom: a registry whose host redirects everything to another, which asks for tokens, is pulled from, with what is
// held for the other.
func TestRedirectedRegistryIsPulledFrom(t *testing.T) {
	for _, credential := range []bool{true, false} {
		each(t, func(t *testing.T, s *scene) {
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				http.Redirect(w, req, s.registry.URL()+req.URL.RequestURI(), http.StatusPermanentRedirect)
			}))
			t.Cleanup(front.Close)
			host := strings.TrimPrefix(front.URL, "http://")
			auths := object{host: clienttest.Entry("first", "canary")}
			if credential {
				auths[s.registry.Host()+"/"+parent] = clienttest.Entry("all", "secret")
			} else {
				s.registry.AllowAnonymous(parent, parent+"/web")
			}
			auths[s.registry.Host()+"/"+parent+"/web"] = clienttest.Entry("all", "secret")
			registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.Stores(t, object{"auths": auths})})
			s.resolver = nested.New(registries, nested.Options{})
			if strings.HasSuffix(t.Name(), "HEAD") {
				s.resolver = nested.New(headFirst{registries}, nested.Options{})
			}
			member := clienttest.PutBundle(s.registry, parent)
			s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
			_, err := clienttest.Pull(s.resolver, s.store, host+"/"+parent+":v1")
			clienttest.NoError(t, err)
			if !clienttest.Stored(s.store, member.Layers[0]) {
				t.Error("the member's layer is not there")
			}
			if n := s.registry.Count(registrytest.Of(registrytest.KindToken)); n != 2 {
				t.Errorf("%d tokens for two repositories", n)
			}
			for _, q := range s.registry.Log() {
				if q.User == "first" || strings.Contains(q.Form.Encode()+q.Authorization, "canary") {
					t.Errorf("the first host's credential went to the other: %s", q)
				}
			}
		})
	}
}
