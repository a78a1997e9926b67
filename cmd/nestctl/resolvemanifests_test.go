package main

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestInstead(t *testing.T) {
	pinOf := func(target, at string) pin {
		d := digest.FromString(target)
		return pin{Namespace: "x", Digest: d, Ref: at + "@" + d.String(), target: target}
	}
	web, cli := pinOf("docker.io/org/app/web", "docker.io/org/app/web"), pinOf("r.example.com:5000/a/b/cli", "r.example.com:5000/a")
	pins := manifestPins{bundles: []bundlePins{
		{ref: "org/app", repository: "docker.io/org/app", own: ownImage("org/app"), root: "root-of-app", members: []pin{web}},
		{ref: "r.example.com:5000/a:v1", repository: "r.example.com:5000/a", own: ownImage("r.example.com:5000/a:v1@" + web.Digest.String()), root: "root-of-a", members: []pin{cli}},
		{ref: "r.example.com:5000/p", repository: "r.example.com:5000/p", own: ownImage("r.example.com:5000/p@" + web.Digest.String()), root: "root-of-p"},
	}}
	const unmatched = "error"
	for image, want := range map[string]string{
		"org/app/web":                           web.Ref,
		"org/app/web:v3":                        web.Ref,
		"docker.io/org/app/web":                 web.Ref,
		"index.docker.io/org/app/web:v1":        web.Ref,
		" org/app/web\n":                        web.Ref,
		"r.example.com:5000/a/b/cli":            cli.Ref,
		"r.example.com/a/b/cli":                 "",
		"r.example.com:5000/org/app/web":        "",
		"org/app":                               "root-of-app",
		"docker.io/org/app:latest":              "root-of-app",
		"org/app:v1":                            "",
		"r.example.com:5000/a:v1":               "root-of-a",
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
		got, err := pins.instead(image)
		if err != nil {
			got = unmatched
		}
		if got != want || err != nil && exitStatus(err) != notFound {
			t.Errorf("%q becomes %q, want %q: %v", image, got, want, err)
		}
		pins.allowUnmatched = true
		if got, err = pins.instead(image); err != nil || got != strings.TrimPrefix(want, unmatched) {
			t.Errorf("%q becomes %q when it need not match: %v", image, got, err)
		}
		pins.allowUnmatched = false
	}
}
