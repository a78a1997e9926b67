package pin

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

func TestImagesOfBundlesArePinned(t *testing.T) {
	repository := func(s string) auth.Repository {
		r, err := auth.ParseRepository(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	member := func(target, at string) Member {
		return Member{"x", repository(target), repository(at), digest.FromString(target), nil}
	}
	bundle := func(tag, at string, members ...Member) Bundle {
		return Bundle{Ref: at, Tag: tag, Repository: repository(at), Digest: digest.FromString(at), Members: members}
	}
	web, cli := member("docker.io/org/app/web", "docker.io/org/app/web"), member("r.example.com:5000/a/b/cli", "r.example.com:5000/a")
	app := bundle("latest", "docker.io/org/app", web)
	a := bundle("v1", "r.example.com:5000/a", cli)
	bundles := []Bundle{app, a, bundle("", "r.example.com:5000/p")}
	strict, lax := NewPinner(bundles, false), NewPinner(bundles, true)
	const unmatched = "error"
	for image, want := range map[string]string{
		"org/app/web":                           web.Ref(),
		"org/app/web:v3":                        web.Ref(),
		"docker.io/org/app/web":                 web.Ref(),
		"index.docker.io/org/app/web:v1":        web.Ref(),
		" org/app/web\n":                        web.Ref(),
		"r.example.com:5000/a/b/cli":            cli.Ref(),
		"r.example.com/a/b/cli":                 "",
		"r.example.com:5000/org/app/web":        "",
		"org/app":                               app.root(),
		"docker.io/org/app:latest":              app.root(),
		"org/app:v1":                            "",
		"r.example.com:5000/a:v1":               a.root(),
		"r.example.com:5000/a":                  "",
		"r.example.com:5000/p":                  "",
		"r.example.com:5000/p:latest":           "",
		"org/app/web@" + cli.Digest.String():    "",
		"org/app/web:v1@" + cli.Digest.String(): "",
		"org/app@" + cli.Digest.String():        "",
		"org/app/other@" + cli.Digest.String():  "",
		"org/app/other":                         unmatched,
		"org/app/web/below":                     unmatched,
		"docker.io/org/app/other:v1":            unmatched,
		"org/app/{{ .Name }}":                   unmatched,
		"docker.io/org/app/web:{{ .Tag }}":      unmatched,
		"org/app/web@sha256:0123":               unmatched,
		"org/app/Web":                           unmatched,
		"r.example.com:5000/p/x":                unmatched,
		"org/apps/web":                          "",
		"library/org/app/web":                   "",
		"app/web":                               "",
		"{{ .Image }}":                          "",
		"":                                      "",
		strings.Repeat("0", 64):                 "",
	} {
		got, err := strict.Pin(image)
		if err != nil {
			got = unmatched
		}
		if got != want || err != nil && !errdefs.IsNotFound(err) {
			t.Errorf("%q becomes %q, want %q: %v", image, got, want, err)
		}
		if got, err = lax.Pin(image); err != nil || got != strings.TrimPrefix(want, unmatched) {
			t.Errorf("%q becomes %q when it need not match: %v", image, got, err)
		}
	}
}
