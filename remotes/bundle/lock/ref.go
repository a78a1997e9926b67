package lock

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// ByNewLock is what avoids errors about a bundle that has changed: [New].
const ByNewLock usage.Choice = "lock.New"

// port is what follows the name of a host.
var port = regexp.MustCompile(`^\d+/`)

// Path returns the file when a user names a lock: lock:FILE, a path that begins
// with /, ./ or ../, or a name that ends in .lock, or is lock.json or ends in
// .lock.json. The string alone decides, whichever files there are. A repository
// whose name ends so is named with its tag.
func Path(s string) (string, bool) {
	if path, ok := strings.CutPrefix(s, "lock:"); ok && !port.MatchString(path) {
		return path, path != ""
	}
	for _, prefix := range []string{"/", "./", "../"} {
		if strings.HasPrefix(filepath.ToSlash(s), prefix) || filepath.IsAbs(s) {
			return s, true
		}
	}
	base := filepath.Base(s)
	return s, strings.HasSuffix(base, ".lock") || base == "lock.json" || strings.HasSuffix(base, ".lock.json")
}

// Ref is what a user names in place of a bundle: a reference, or a lock. The
// reference is then the lock's.
type Ref struct {
	auth.Reference
	Written string // the tag that was written, even beside a digest, or the lock's; "" for none
	Lock    *Lock  // nil for a reference
}

// ReadRef reads a reference as docker does, or the lock that a string names.
// Errors: usage.Error for what is neither, and those of [ReadFile].
func ReadRef(ctx context.Context, s string) (Ref, error) {
	if path, ok := Path(s); ok {
		l, err := ReadFile(ctx, path)
		if err != nil {
			return Ref{}, err
		}
		ref, err := l.Ref()
		return Ref{ref, l.Tag, l}, err
	}
	ref, tag, err := auth.ParseWritten(s)
	if err != nil {
		return Ref{}, usage.Error{Err: err}
	}
	return Ref{ref, tag, nil}, nil
}

// Ref is the reference that is asked for: by the tag, so that one that has moved
// is noticed, or by digest.
func (l *Lock) Ref() (auth.Reference, error) {
	switch {
	case l.Tag != "":
		return l.repo.WithTag(l.Tag)
	case l.Carrier != "":
		return l.repo.WithDigest(l.Carrier)
	}
	return l.repo.WithDigest(l.Root.Digest)
}

// Open opens the bundle. With a lock, it is an [InvalidError] when the root is
// another one, and every walk of the bundle ends with one when the members are
// not those of the lock: before a blob is fetched. Other errors are those of
// [bundle.Open].
func (r Ref) Open(ctx context.Context, resolver *nested.Resolver) (*bundle.Bundle, error) {
	b, err := bundle.Open(ctx, resolver, r.Reference)
	if err != nil || r.Lock == nil {
		return b, err
	}
	if err := r.Lock.moved(b); err != nil {
		return nil, err
	}
	b.Expected = r.Lock.verify
	return b, nil
}

// moved is the error for another root.
func (l *Lock) moved(b *bundle.Bundle) error {
	if b.Root.Digest == l.Root.Digest {
		return nil
	}
	ref, err := l.Ref()
	if err != nil {
		return err
	}
	what := fmt.Errorf("%s has moved: %s is locked, it is %s now; %s@%s is what was locked", ref, l.Root.Digest, b.Root.Digest, l.Repository, l.Root.Digest)
	if l.Tag == "" { // its carrier is named by digest
		what = fmt.Errorf("%s carries %s, and %s is locked", ref, b.Root.Digest, l.Root.Digest)
	}
	return &usage.Avoidable{Err: l.invalid(what), By: ByNewLock}
}

func (l *Lock) invalid(err error) error { return &InvalidError{Name: l.name, Err: err} }
