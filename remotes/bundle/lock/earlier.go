package lock

import (
	"context"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
)

// Earlier says that readers have what a lock lists: whoever has copied a bundle
// by its lock has all of it.
func (l *Lock) Earlier() delta.Earlier { return earlier{l} }

type earlier struct{ lock *Lock }

// Has implements [delta.Earlier].
func (e earlier) Has(d digest.Digest) (delta.Had, bool) {
	_, ok := e.lock.Content[d]
	return delta.Had{In: filepath.Base(e.lock.name)}, ok
}

// HasIn implements [delta.Earlier]. Of content below a member a lock does not
// say which member's it is.
func (e earlier) HasIn(at auth.Repository, d digest.Digest) bool {
	for _, m := range e.lock.Members {
		if m.Digest == d && e.lock.repo.String()+"/"+m.Namespace == at.String() {
			return true
		}
	}
	return false
}

// Children implements [delta.Earlier]: a lock has no manifests, but all that
// they name.
func (e earlier) Children(context.Context, ocispec.Descriptor) ([]nested.Entry, bool, error) {
	return nil, false, nil
}
