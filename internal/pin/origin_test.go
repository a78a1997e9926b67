package pin

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/clienttest"
)

// copiesOf is a bundle r.example.com/prod/app with members that were copied.
func copiesOf(t *testing.T, origins map[string]string) Bundle {
	b := Bundle{Ref: "r.example.com/prod/app:v1", Tag: "v1", Repository: clienttest.Repository(t, "r.example.com/prod/app"), Digest: digest.FromString("app")}
	for name, origin := range origins {
		namespace, content, _ := strings.Cut(name, "=")
		at := clienttest.Repository(t, "r.example.com/prod/app/"+namespace)
		o := Origin{}
		from, d, _ := strings.Cut(origin, "@")
		o.Digest = digest.Digest(d)
		if i := strings.LastIndexByte(from, ':'); i > strings.LastIndexByte(from, '/') {
			from, o.Tag = from[:i], from[i+1:]
		}
		o.Repository = clienttest.Repository(t, from)
		b.Members = append(b.Members, Member{Namespace: namespace, Target: at, Repository: at, Digest: digest.FromString(content), Origins: []Origin{o}})
	}
	return b
}

func TestImagesArePinnedToTheirCopies(t *testing.T) {
	nginx, other := digest.FromString("nginx"), digest.FromString("other")
	b := copiesOf(t, map[string]string{
		"nginx=nginx":     "docker.io/library/nginx:1.27@" + nginx.String(),
		"redis=redis":     "docker.io/bitnami/redis:7.4.1",
		"again=redis":     "docker.io/bitnami/redis:7.4.1",
		"old=old":         "quay.io/argoproj/argocd:v2.12.0",
		"new=new":         "quay.io/argoproj/argocd:v2.13.0",
		"bare=bare":       "ghcr.io/org/bare@" + other.String(),
		"liar-a=one":      "ghcr.io/org/lie:v1",
		"liar-b=two":      "ghcr.io/org/lie:v1",
		"within=within":   "r.example.com/prod/app/nginx:1.27",
		"itself=itself":   "r.example.com/prod/app:v1",
		"port=port":       "localhost:5000/x:v1",
		"digest-of=wrong": "ghcr.io/org/wrong:v1@" + other.String(),
	})
	ref := func(namespace, content string) string {
		return "r.example.com/prod/app/" + namespace + "@" + digest.FromString(content).String()
	}
	const unmatched, ambiguous = "unmatched", "ambiguous"
	for image, want := range map[string]string{
		"nginx:1.27":                                   ref("nginx", "nginx"),
		"library/nginx:1.27":                           ref("nginx", "nginx"),
		"docker.io/nginx:1.27":                         ref("nginx", "nginx"),
		"docker.io/library/nginx:1.27":                 ref("nginx", "nginx"),
		"index.docker.io/library/nginx:1.27":           ref("nginx", "nginx"),
		"index.docker.io/nginx:1.27":                   ref("nginx", "nginx"),
		" nginx:1.27\n":                                ref("nginx", "nginx"),
		"nginx@" + nginx.String():                      ref("nginx", "nginx"),
		"nginx:1.26@" + nginx.String():                 ref("nginx", "nginx"),
		"nginx@" + other.String():                      "",
		"nginx:1.27@" + other.String():                 "",
		"nginx":                                        unmatched,
		"nginx:1.26":                                   unmatched,
		"nginx:1.27-alpine":                            unmatched,
		"docker.io/other/nginx:1.27":                   "",
		"quay.io/library/nginx:1.27":                   "",
		"registry.example.com/library/nginx:1.27":      "",
		"quay.io/argoproj/argocd:v2.12.0":              ref("old", "old"),
		"quay.io/argoproj/argocd:v2.13.0":              ref("new", "new"),
		"quay.io/argoproj/argocd":                      unmatched,
		"ghcr.io/org/bare:v1":                          unmatched,
		"ghcr.io/org/bare@" + other.String():           "", // the copy has another digest
		"ghcr.io/org/lie:v1":                           ambiguous,
		"ghcr.io/org/lie:v2":                           unmatched,
		"r.example.com/prod/app/nginx:1.27":            ref("nginx", "nginx"), // it is a member
		"r.example.com/prod/app:v1":                    b.root(),
		"r.example.com/prod/app/itself":                ref("itself", "itself"),
		"localhost:5000/x:v1":                          ref("port", "port"),
		"localhost/x:v1":                               "",
		"ghcr.io/org/wrong:v1@" + other.String():       "",
		"ghcr.io/org/wrong:v1":                         ref("digest-of", "wrong"),
		"ghcr.io/org/wrong@" + digestOf("wrong"):       ref("digest-of", "wrong"),
		"bitnami/redis@" + digestOf("nginx"):           "",
		"r.example.com/prod/app/nginx@" + digestOf(""): "",
	} {
		got, err := NewPinner([]Bundle{b}, false).Pin(image)
		switch {
		case err != nil && strings.Contains(err.Error(), " may be "):
			got = ambiguous
		case err != nil:
			got = unmatched
		}
		if got != want {
			t.Errorf("%q becomes %q, want %q: %v", image, got, want, err)
		}
		if got, err = NewPinner([]Bundle{b}, true).Pin(image); want == unmatched && (got != "" || err != nil) {
			t.Errorf("%q becomes %q when it need not match: %v", image, got, err)
		}
	}
	// Copies of the same content are as good as each other; the bundle's order decides.
	if got, err := NewPinner([]Bundle{b}, false).Pin("bitnami/redis:7.4.1"); err != nil || got != ref("redis", "redis") && got != ref("again", "redis") {
		t.Errorf("%s, %v", got, err)
	}
	// Another bundle's repositories are not for this one to name.
	theirs := Bundle{Ref: "quay.io/argoproj:v1", Tag: "v1", Repository: clienttest.Repository(t, "quay.io/argoproj")}
	if got, err := NewPinner([]Bundle{b, theirs}, false).Pin("quay.io/argoproj/argocd:v2.13.0"); err == nil {
		t.Errorf("becomes %s", got)
	}
}

func digestOf(content string) string { return digest.FromString(content).String() }

func TestErrorsNameTheCopies(t *testing.T) {
	b := copiesOf(t, map[string]string{"a=a": "quay.io/org/x:v1", "b=b": "quay.io/org/x:v2"})
	_, err := NewPinner([]Bundle{b}, false).Pin("quay.io/org/x:v3")
	want := "image quay.io/org/x:v3: r.example.com/prod/app:v1 has other copies from there: a (quay.io/org/x:v1), b (quay.io/org/x:v2)"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
