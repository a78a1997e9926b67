package login

import (
	"context"
	"strings"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// Key is what a credential is for: a registry, or a repository with those below it.
// It comes from [Parse].
type Key struct {
	own  auth.Repository // of a registry's key any
	path string          // "" for a registry
}

// hub is the key of Docker Hub, as docker writes it.
const hub = "https://index.docker.io/v1/"

// Parse reads HOST[:PORT][/PATH], and the repository to verify a credential with: the
// path's own if verify is empty, and of a key without a path any. A scheme and a slash
// at the end are ignored, as docker does. The class of errors is
// errdefs.ErrInvalidArgument.
func Parse(s, verify string) (k Key, at auth.Repository, err error) {
	host, path, _ := auth.SplitKey(strings.TrimSuffix(s, "/"))
	if k, err = newKey(host, path); err != nil || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return k, at, usage.Errorf("%.300q: must be a registry, such as registry.example.com, or a repository on one, registry.example.com/org/app", s)
	}
	if verify == "" {
		return k, k.own, nil
	}
	at, err = auth.ParseRepository(verify)
	if err != nil || at.Host() != host || path != "" && at != k.own && len(at.Above(k.own)) == 0 {
		return k, at, usage.Optionf("verify", " %.300q: must be a repository of %s/%s or below", verify, host, path)
	}
	return k, at, nil
}

func newKey(host, path string) (Key, error) {
	name := path
	if path == "" {
		name = "any"
	}
	own, err := auth.ParseRepository(host + "/" + name)
	return Key{own, path}, err
}

// String is the key as it is written to the file.
func (k Key) String() string {
	switch {
	case k.path != "":
		return k.own.String()
	case k.own.Host() == "docker.io":
		return hub
	}
	return k.own.Host()
}

// is reports whether a key of a file is this one, in any spelling.
func (k Key) is(spelling string) bool {
	host, path, _ := auth.SplitKey(spelling) // without a scheme, /v2 is a repository
	return host == k.own.Host() && path == k.path
}

// Only is a source that knows one credential, for the key's registry.
func (k Key) Only(c auth.Credential) auth.Source { return only{k.own.Host(), c} }

type only struct {
	host       string
	credential auth.Credential
}

// Lookup implements [auth.Source].
func (o only) Lookup(_ context.Context, r auth.Repository) (auth.Credential, error) {
	if host, _, _ := auth.SplitKey(r.Host()); host != o.host {
		return auth.Credential{Source: "none: it is for " + o.host}, nil
	}
	return o.credential, nil
}
