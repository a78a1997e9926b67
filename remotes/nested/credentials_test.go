package nested_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// tenants is a scene whose parent and children web and worker have a user
// each, who may pull from that repository and from no other.
func tenants(t *testing.T, source func(*testing.T, string) auth.Source, options ...registrytest.Option) (s *scene, web, worker clienttest.Image) {
	t.Helper()
	s = newScene(t, nested.Options{})
	s.registry = clienttest.NewRegistry(t, append(options, registrytest.WithTokenAuth())...)
	for _, suffix := range []string{"", "/web", "/worker"} {
		s.registry.Allow(userOf(suffix), passwordOf(suffix), parent+suffix)
	}
	s.source = &lookups{Source: source(t, s.registry.Host())}
	s.resolver = nested.New(s.registries(), nested.Options{})
	web = clienttest.PutImage(s.registry, parent+"/web", "layer of web")
	worker = clienttest.PutImage(s.registry, parent+"/worker", "layer of worker")
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(web.Descriptor, "web"), registrytest.Member(worker.Descriptor, "worker")))
	return s, web, worker
}

func userOf(suffix string) string { return "user" + strings.ReplaceAll(suffix, "/", "-") }

func passwordOf(suffix string) string { return "secret" + strings.ReplaceAll(suffix, "/", "-") }

// pathKeys holds the tenants' credentials under the repositories' names.
func pathKeys(t *testing.T, host string) auth.Source {
	auths := object{}
	for _, suffix := range []string{"", "/web", "/worker"} {
		auths[host+"/"+parent+suffix] = clienttest.Entry(userOf(suffix), passwordOf(suffix))
	}
	return clienttest.Stores(t, object{"auths": auths})
}

// helperKeys has them in a helper, of which it knows for which keys to ask.
func helperKeys(t *testing.T, host string) auth.Source {
	logins, keys := map[string]login{}, object{}
	for _, suffix := range []string{"", "/web", "/worker"} {
		logins[host+"/"+parent+suffix] = login{userOf(suffix), passwordOf(suffix)}
		keys[host+"/"+parent+suffix] = "fake"
	}
	installHelper(t, logins)
	return clienttest.Stores(t, object{"credHelpers": keys})
}

func TestACredentialPerRepository(t *testing.T) {
	for name, source := range map[string]func(*testing.T, string) auth.Source{"in auths": pathKeys, "in a helper": helperKeys} {
		t.Run(name, func(t *testing.T) {
			s, web, worker := tenants(t, source)
			_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
			clienttest.NoError(t, err)
			s.want(clienttest.TagGet(parent), web.All(parent+"/web"), worker.All(parent+"/worker"))
			s.wantSecrets(map[string]string{"": "", "/web": "", "/worker": ""})
		})
	}
}

// wantSecrets fails unless each repository was asked with its own user's
// tokens, and each password went to the token endpoint for the scope of the
// repository that it was chosen for, and nowhere else.
func (s *scene) wantSecrets(suffixes map[string]string) {
	s.t.Helper()
	for _, q := range s.registry.Log() {
		if q.Repository != parent && !strings.HasPrefix(q.Repository, parent+"/") && q.Kind != registrytest.KindToken {
			s.t.Errorf("asked for %s", q.Path)
		}
		repository := q.Repository
		if q.Kind == registrytest.KindToken {
			repository = strings.TrimSuffix(strings.TrimPrefix(q.Scopes[0], "repository:"), ":pull")
		}
		suffix := strings.TrimPrefix(repository, parent)
		if _, ok := suffixes[suffix]; !ok {
			s.t.Errorf("nothing was expected about %s: %s", repository, q)
		}
		if q.Host != s.registry.Host() || q.User != "" && q.User != userOf(suffix) {
			s.t.Errorf("%s was asked by %s", repository, q.User)
		}
		s.wantNoSecret(q, suffix)
	}
}

// wantNoSecret fails when a request holds a password that it should not.
func (s *scene) wantNoSecret(q registrytest.Request, suffix string) {
	s.t.Helper()
	text := q.Path + q.Query + q.Form.Encode()
	for name, values := range q.Header {
		text += name + strings.Join(values, "")
	}
	for _, other := range []string{"", "/web", "/worker"} {
		pair := base64.StdEncoding.EncodeToString([]byte(userOf(other) + ":" + passwordOf(other)))
		own := q.Kind == registrytest.KindToken && other == suffix
		given := q.Form.Get("password") == passwordOf(other) || strings.Contains(text, pair)
		if given && !own {
			s.t.Errorf("the password for %q is in %s", other, q)
		}
	}
}

// TestTheWrongUser: the error says which repository refused which credential.
func TestTheWrongUser(t *testing.T) {
	s, _, _ := tenants(t, func(t *testing.T, host string) auth.Source {
		return clienttest.Stores(t, object{"auths": object{
			host + "/" + parent:             clienttest.Entry(userOf(""), passwordOf("")),
			host + "/" + parent + "/web":    clienttest.Entry(userOf("/web"), passwordOf("/web")),
			host + "/" + parent + "/worker": clienttest.Entry(userOf("/web"), passwordOf("/web")),
		}})
	})
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	denied := wantDenied(t, err, errdefs.IsPermissionDenied)
	repository := s.registry.Host() + "/" + parent + "/worker"
	if denied.Repository.String() != repository || denied.Scope != "repository:"+parent+"/worker:pull" ||
		!strings.Contains(denied.Credential, `key "`+repository+`"`) || denied.Anonymous || denied.Refused {
		t.Errorf("denied: %+v", denied)
	}
	clienttest.WantError(t, err, "child "+repository+"@", denied.Credential, denied.Scope)
	if n := s.registry.Count(registrytest.Of(registrytest.KindToken), func(q registrytest.Request) bool {
		return slices.Contains(q.Scopes, denied.Scope)
	}); n > 2 {
		t.Errorf("%d tokens for what is denied", n)
	}
	// The parent has nothing to say about what the child denied.
	if n := s.registry.Count(registrytest.In(parent), registrytest.Of(registrytest.KindManifest), registrytest.WithCredentials); n != 1 {
		t.Errorf("the parent was asked %d times", n)
	}
}

func wantDenied(t *testing.T, err error, class func(error) bool) *auth.DeniedError {
	t.Helper()
	var denied *auth.DeniedError
	if !errors.As(err, &denied) || !class(err) {
		t.Fatalf("got %v, want a DeniedError", err)
	}
	return denied
}

// TestChildButNotParent: who may read a child and not the parent learns that
// the parent denies; the children are not asked.
func TestChildButNotParent(t *testing.T) {
	s, _, _ := tenants(t, func(t *testing.T, host string) auth.Source {
		return clienttest.UserPassword(t, host, userOf("/web"), passwordOf("/web"))
	})
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	denied := wantDenied(t, err, errdefs.IsPermissionDenied)
	if denied.Repository.String() != s.registry.Host()+"/"+parent {
		t.Errorf("denied: %+v", denied)
	}
	if got := s.source.names(); !slices.Equal(got, []string{parent}) {
		t.Errorf("credentials were looked up for %q", got)
	}
}

// TestNoCredential: what has none is asked for anonymously.
func TestNoCredential(t *testing.T) {
	s, _, _ := tenants(t, func(t *testing.T, host string) auth.Source {
		return clienttest.UserPassword(t, host+"/"+parent+"/web", userOf("/web"), passwordOf("/web"))
	})
	s.registry.AllowAnonymous(parent)
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	denied := wantDenied(t, err, errdefs.IsUnauthorized)
	if denied.Repository.String() != s.registry.Host()+"/"+parent+"/worker" || !denied.Anonymous {
		t.Errorf("denied: %+v", denied)
	}
	clienttest.WantError(t, err, "docker login")
}

// TestRefusedCredential: the token endpoint's 401 ends the pull at once. No
// other repository is asked for the member.
func TestRefusedCredential(t *testing.T) {
	s := newScene(t, nested.Options{})
	s.source.Source = clienttest.Stores(t, object{"auths": object{
		s.registry.Host():                       clienttest.Entry("all", "secret"),
		s.registry.Host() + "/" + parent + "/a": clienttest.Entry("all", "outdated"),
	}})
	member := clienttest.PutImage(s.registry, parent, "layer").In(s.registry, parent+"/a")
	member.In(s.registry, parent+"/b")
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(member.Descriptor, "a"), registrytest.Member(member.Descriptor, "b"))))
	denied := wantDenied(t, err, errdefs.IsUnauthorized)
	if !denied.Refused || denied.Repository.String() != s.registry.Host()+"/"+parent+"/a" {
		t.Errorf("denied: %+v", denied)
	}
	s.want(clienttest.TagGet(parent))
	if n := s.registry.Count(registrytest.Of(registrytest.KindToken), func(q registrytest.Request) bool { return q.Status == 401 }); n != 2 {
		t.Errorf("%d tokens were asked for with it", n) // by POST and, as containerd does, by GET
	}
}

// TestFailingHelper ends the pull: nobody is asked anonymously.
func TestFailingHelper(t *testing.T) {
	s := newScene(t, nested.Options{})
	t.Setenv("PATH", t.TempDir())
	s.source.Source = clienttest.Stores(t, object{
		"auths":       object{s.registry.Host(): clienttest.Entry("all", "secret")},
		"credHelpers": object{s.registry.Host() + "/" + parent + "/web": "missing"},
	})
	member := clienttest.PutImage(s.registry, parent+"/web", "layer").In(s.registry, parent)
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
	var helper *auth.HelperError
	if !errors.As(err, &helper) {
		t.Fatalf("got %v, want a HelperError", err)
	}
	clienttest.WantError(t, err, "docker-credential-missing", parent+"/web")
	s.want(clienttest.TagGet(parent))
}

// TestForbidden: a registry that answers 403 to a good token.
func TestForbidden(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member", "layer")
	s.answer(member, "/web", http.StatusForbidden)
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
	denied := wantDenied(t, err, errdefs.IsPermissionDenied)
	clienttest.WantError(t, err, "403 Forbidden", denied.Credential)
}

// TestExpiredTokens are renewed.
func TestExpiredTokens(t *testing.T) {
	s := newScene(t, nested.Options{})
	root, web, worker := bundle(t, s)
	s.registry.ExpireTokens()
	s.store = clienttest.NewStore(t)
	s.registry.ResetLog()
	clienttest.NoError(t, s.pull(root))
	s.want(clienttest.TagGet(parent), web.All(parent+"/web"), worker.All(parent+"/worker"))
}
