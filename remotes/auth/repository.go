package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/distribution/reference"
)

// maxRepository is the limit for host[:port]/name. The distribution spec says
// that many clients impose it; no library checks it.
const maxRepository = 255

// Repository is a registry, host[:port], and the name of a repository on it.
// The zero value is no repository; others come from [ParseRepository], so
// that one that exists is well formed.
type Repository struct {
	host, name string
}

// ParseRepository reads host[:port]/name. The name has to match the
// distribution spec's grammar, and the string may have at most 255 characters.
// The host is kept byte for byte.
func ParseRepository(s string) (Repository, error) {
	if len(s) > maxRepository {
		return Repository{}, fmt.Errorf("repository %.64q…: longer than %d characters", s, maxRepository)
	}
	named, err := reference.WithName(s)
	if err != nil {
		return Repository{}, fmt.Errorf("repository %q: %w", s, err)
	}
	host, name, found := strings.Cut(named.Name(), "/")
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, _, _ = strings.Cut(literal, "]")
		if ip, err := netip.ParseAddr(literal); err != nil || !ip.Is6() {
			return Repository{}, fmt.Errorf("repository %q: %w", s, errors.New("no address in the brackets"))
		}
	}
	if !found || reference.Domain(named) != host {
		return Repository{}, fmt.Errorf("repository %q: %w", s, errors.New("no registry in front of the name"))
	}
	return Repository{host, name}, nil
}

// Host returns the registry, host[:port].
func (r Repository) Host() string { return r.host }

// Name returns the repository's name on its registry.
func (r Repository) Name() string { return r.name }

// Above returns the repositories above r up to and including top, nearest
// first; none when r is not below top.
func (r Repository) Above(top Repository) []Repository {
	var above []Repository
	for name := r.name; r.host == top.host && strings.HasPrefix(name, top.name+"/"); {
		name = name[:strings.LastIndexByte(name, '/')]
		above = append(above, Repository{r.host, name})
	}
	return above
}

// Below returns the repository at a relative path below one. Errors are those
// of [ParseRepository].
func (r Repository) Below(path string) (Repository, error) {
	below := Repository{r.host, r.name + "/" + path}
	if isComponent(path) && r != (Repository{}) && len(below.host)+1+len(below.name) <= maxRepository {
		return below, nil
	}
	return ParseRepository(below.String())
}

// isComponent reports whether a path is one component of the grammar, in its
// simplest form. It saves a regular expression for each entry of an index.
func isComponent(path string) bool {
	for _, c := range []byte(path) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return path != ""
}

// String returns host[:port]/name, which [ParseRepository] reads back.
func (r Repository) String() string { return r.host + "/" + r.name }

// pullScope is the one scope that a token for fetching has.
func (r Repository) pullScope() string { return "repository:" + r.name + ":pull" }
